# SPDX-License-Identifier: BSD-3-Clause

"""Rows that write: fresh disks for each run, on a file system that has a disk
under it, and a look at what was written.
"""

import glob
import json
import os
import random
import shutil
import subprocess
import time

import images
import report
import servers

MIB = 1 << 20
GRAIN = images.GRAIN
SAMPLES = 1000
# Of the source of the copies one piece in so many is data.
COPY_PIECE, COPY_EVERY = MIB, 16
BASE = "base.vmdk"


class Row:
    """START is the disk that a run begins with: "fresh", "allocated" or
    "child" (a fresh one over the allocated one); of the limit it is the same
    as a raw file, and for "child" a fresh one.  LIMIT_LOAD is what the limit
    does, if not the same.  COPY are the flags of nbdcopy, in rows without a
    load.
    """

    def __init__(self, name, start, unit, load=(), limit_load=None,
                 copy=None):
        self.name, self.start, self.unit = name, start, unit
        self.load, self.copy = list(load), copy
        self.limit_load = list(limit_load or load)
        self.images = []

    @property
    def sequential(self):
        return "-R" not in self.load


def sequential(name, request, depth):
    return Row(name, "fresh", "MiB/s", [
        "--write", "--once", "-c", 1, "-d", depth, "-r", request])


def at_random(name, start, request, connections, depth, *more, limit=None):
    load = ["--write", "-R", "-c", connections, "-d", depth]
    return Row(name, start, "IOPS", load + ["-r", request] + list(more),
               load + limit if limit else None)


def all_rows():
    rows = [sequential("write seq %s qd%d 1c, first" % (text, depth), request,
                       depth)
            for text, request in (("64k", 64 << 10), ("1m", MIB))
            for depth in (1, 16)]
    apart = ["--once", "--stride", GRAIN]
    rows += [
        at_random("write rand 4k qd32 4c, again", "allocated", 4096, 4, 32),
        at_random("write rand 4k qd32 4c, child", "child", 4096, 4, 32,
                  *apart, limit=["-r", GRAIN] + apart),
        at_random("write+flush 4k qd1, again", "allocated", 4096, 1, 1,
                  "--flush-each"),
        at_random("write+flush 4k qd1, first", "fresh", 4096, 1, 1,
                  "--flush-each", *apart)]
    rows += [Row("write copy " + name, "fresh", "s", copy=flags)
             for name, flags in (
                 ("zeros", []), ("zeros, allocated", ["--allocated"]),
                 ("zeros as data", ["--no-extents", "--sparse=0"]))]
    return rows


class Disks:
    """What a run begins with.  The two allocated disks are made once: what
    is written to them again changes neither their layout nor their size.
    """

    def __init__(self, folder, size, seed):
        self.folder, self.size, self.seed = folder, size, seed

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def once(self, name, make):
        path = self.path(name)
        if not os.path.exists(path):
            make(path)
        return path

    def allocated_raw(self):
        return self.once("allocated.raw", lambda path: images.write_raw(
            path, self.size, self.seed))

    def allocated_vmdk(self):
        return self.once("allocated.vmdk", lambda path: images.make_sparse(
            path, self.allocated_raw(), self.size))

    def source(self):
        """Mostly holes; its data is the allocated disk's."""
        def make(path):
            rng = random.Random(self.seed)
            with open(self.allocated_raw(), "rb") as f, \
                    open(path, "wb") as out:
                out.truncate(self.size)
                pieces = self.size // COPY_PIECE
                for i in rng.sample(range(pieces), pieces // COPY_EVERY):
                    f.seek(i * COPY_PIECE)
                    out.seek(i * COPY_PIECE)
                    out.write(f.read(COPY_PIECE))
        return self.once("source.raw", make)

    def fresh_vmdk(self, *backing):
        path = self.path("run", "disk.vmdk")
        subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", *backing,
                        path, str(self.size)], check=True)
        return path

    def start(self, kind, row):
        """The disk for a run of ROW, with nothing left of the last one."""
        shutil.rmtree(self.path("run"), ignore_errors=True)
        os.mkdir(self.path("run"))
        if row.start == "allocated":
            return (self.allocated_raw() if kind == "raw" else
                    self.allocated_vmdk())
        if kind == "raw":
            path = self.path("run", "disk.raw")
            with open(path, "wb") as f:
                f.truncate(self.size)
            return path
        if row.start == "child":
            # A parent must be in its child's folder.
            os.link(self.allocated_vmdk(), self.path("run", BASE))
            return self.fresh_vmdk("-F", "vmdk", "-b", BASE)
        return self.fresh_vmdk()

    def settle(self):
        """Nobody pays for what others wrote."""
        subprocess.run(["sync", "-f", self.folder], check=True)

    def mib(self, path):
        """What the run's disk takes up, as du counts."""
        files = [f for f in glob.glob(self.path("run", "*"))
                 if os.path.basename(f) != BASE] or [path]
        return sum(os.stat(f).st_blocks for f in files) * 512 / MIB


class Writing:
    """Runs the rows of this file for a Bench."""

    def __init__(self, bench, folder):
        self.bench = bench
        self.disks = Disks(folder, bench.sizes.write, bench.args.seed)
        self.contenders = [c for c in (
            servers.vmdk_plugin([]), servers.qemu([]),
            servers.nbdkit_file([])) if c]
        # Disks of the plugin are read back with another program.
        self.readers = {"vmdk": servers.qemu() or servers.vmdk_plugin(),
                        "raw": servers.nbdkit_file()}

    def of_row(self):
        for name in "vmdk", "file":
            for c in self.contenders:
                if c.name == name:
                    return self.contenders + [c.again(name + "'")]
        return self.contenders

    def reader(self, contender, path):
        return servers.Server(self.readers[contender.image], path,
                              self.bench.work)

    def run_load(self, contender, row, path, seed):
        b = self.bench
        load = row.limit_load if contender.image == "raw" else row.load
        with servers.Server(contender, path, b.work) as s:
            before = s.cpu()
            out = json.loads(b.call(b.load, *load, "-t", b.args.seconds,
                                    "-s", seed, s.socket))
            out["cpu"] = s.cpu() - before
            out["rss"] = s.peak_rss()
        if row.sequential:
            # All of it is on the disk then.
            out["value"] = out["bytes"] / MIB / (
                out["seconds"] + out["flush_seconds"])
        else:
            out["value"] = out["iops"]
        at = ["-R", *load] if row.sequential else load
        at = [word for word in at if word not in (
            "--write", "--once", "--flush-each")]
        with self.reader(contender, path) as s:
            b.call(b.load, "--verify", min(SAMPLES, out["requests"]), *at,
                   "-s", seed, s.socket)
        return out

    def run_copy(self, contender, row, path):
        b, source = self.bench, self.disks.source()
        with servers.Server(contender, path, b.work) as s:
            before, start = s.cpu(), time.monotonic()
            b.call("nbdcopy", "--flush", *row.copy, source,
                   "nbd+unix:///?socket=" + s.socket)
            out = {"value": time.monotonic() - start,
                   "cpu": s.cpu() - before, "rss": s.peak_rss()}
        with self.reader(contender, path) as s:
            b.call("cmp", source, "-", stdin=subprocess.Popen(
                ["nbdcopy", "nbd+unix:///?socket=" + s.socket, "-"],
                stdout=subprocess.PIPE).stdout)
        return out

    def run(self, contender, row, seed):
        path = self.disks.start(contender.image, row)
        self.disks.settle()
        if row.copy is None:
            out = self.run_load(contender, row, path, seed)
        else:
            out = self.run_copy(contender, row, path)
        if contender.image == "vmdk":
            self.bench.call("qemu-img", "check", "-q", "-f", "vmdk", path)
        self.disks.settle()
        out["file"] = self.disks.mib(path)
        return out

    def row(self, row):
        if None in (shutil.which("qemu-img"), shutil.which("nbdcopy")):
            raise servers.Failed("qemu-img or nbdcopy is missing")
        args, who = self.bench.args, self.of_row()
        rounds = []
        for turn in range(args.rounds):
            runs = {}
            for i in range(len(who)):
                c = who[(turn + i) % len(who)]
                # No two runs write the same.
                runs[c.name] = self.run(c, row, args.seed * 1000 + turn *
                                        len(who) + i)
            rounds.append(runs)
        return Results(row, rounds)


class Results(report.Results):
    def limit(self):
        return "file"

    def connections(self, who):
        runs = [r["connections"] for r in self.runs(who)
                if "connections" in r]
        return "%d" % min(runs) if runs else "-"

    def cells(self):
        who = ["vmdk", "qemu", "file"]
        return ([self.row.name, self.row.unit] +
                [self.value(w) for w in who] +
                [self.ratio("vmdk", "file"), self.ratio("vmdk", "qemu"),
                 self.noise()] +
                [report.number(self.median(w, what))
                 for what in ("cpu", "rss", "file") for w in who] +
                [self.connections(w) for w in who])


NAMES = ["vmdk", "qemu", "limit"]
HEAD = [["", "", "median", "", "", "vmdk/", "", "", "cpu s/GiB", "", "",
         "peak MiB", "", "", "disk MiB", "", "", "connections", "", ""],
        ["row", "unit"] + NAMES + ["limit", "qemu", "A/A"] + NAMES * 4]
