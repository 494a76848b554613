#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause

"""Compare 'nbdkit vmdk' with 'qemu-nbd' and with 'nbdkit file'.

All contenders are run in turn, in an order that is rotated every round, so
that what else the machine does hits all of them alike; ratios are taken
within a round.  README.md says how to read the table.
"""

import argparse
import contextlib
import fnmatch
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import converting
import report
import rows
import servers
import writing

MIB = 1 << 20
GIB = 1 << 30
WARMUP = 0.2


def bytes_of(text):
    unit = {"M": MIB, "G": GIB, "T": 1 << 40}.get(text[-1:].upper())
    n = int(text[:-1]) * unit if unit else int(text)
    if n < 64 * MIB or n % (64 * MIB):
        raise argparse.ArgumentTypeError("not a multiple of 64M")
    return n


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--quick", action="store_true",
                   help="small images, short runs: does it work at all?")
    p.add_argument("--size", type=bytes_of, metavar="N[M|G]",
                   help="of the random disk (8G, or less if memory is short);"
                   " the others are a quarter of it")
    p.add_argument("--rounds", type=int, metavar="N", help="default 5")
    p.add_argument("--seconds", type=float, metavar="S",
                   help="of one run, default 2")
    p.add_argument("--limit", type=float, metavar="S", default=60,
                   help="give up a map after so long, default %(default)s")
    p.add_argument("--only", metavar="PATTERN", action="append",
                   help="rows whose name contains or matches PATTERN")
    p.add_argument("--list", action="store_true", help="list the rows")
    p.add_argument("--seed", type=int, default=1,
                   help="of data, scattering and random reads")
    p.add_argument("--json", metavar="FILE", help="write every run to FILE")
    p.add_argument("--keep", metavar="DIR",
                   help="keep the images in DIR and use those that are there")
    p.add_argument("--write-folder", metavar="DIR",
                   help="where the disks are that are written to; it should "
                   "not be a tmpfs (default: tmp in the build folder)")
    p.add_argument("--programs", metavar="DIR", default=os.environ.get(
        "BENCH_PROGRAMS", "."), help="where the programs of this folder are")
    a = p.parse_args()
    a.rounds = a.rounds or (2 if a.quick else 5)
    a.seconds = a.seconds or (0.4 if a.quick else 2)
    a.write_folder = os.path.abspath(
        a.write_folder or os.path.join(a.programs, "tmp"))
    return a


def room_in(folder):
    """Bytes that images in FOLDER may take."""
    free = shutil.disk_usage(folder).free
    with open("/proc/meminfo") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                # They are kept in memory wherever they are.
                return min(free, int(line.split()[1]) * 1024 - 2 * GIB)
    return free


def choose_sizes(args, folder):
    size = args.size or (256 * MIB if args.quick else 8 * GIB)
    while not args.size and size > 256 * MIB and (
            rows.Sizes(size, args.quick).need() > room_in(folder)):
        size //= 2
    return rows.Sizes(size, args.quick)


class Bench:
    def __init__(self, args, images, sizes, work):
        self.args, self.images, self.sizes = args, images, sizes
        self.work = work
        self.load = servers.find_program("nbd-load", args.programs)
        self.inflate = servers.find_program("bench-inflate", args.programs)
        self.map = servers.find_program("bench-map", args.programs)
        self.nbdinfo = shutil.which("nbdinfo")
        self.contenders = [c for c in (
            servers.vmdk_plugin(), servers.qemu(), servers.nbdkit_file(),
            servers.nbdkit_null()) if c]
        if self.load is None:
            raise servers.Failed("nbd-load is not built (libnbd is needed)")

    def of_row(self, row):
        """The contenders, with one of them twice."""
        wanted = "null" if row.unit == "s" else "file"
        out = [c for c in self.contenders if c.name in (
            "vmdk", "qemu", wanted)]
        for name in "vmdk", wanted:
            for c in out:
                if c.name == name:
                    return out + [c.again(name + "'")]
        return out

    def image(self, contender, row):
        if contender.image == "size":
            return self.images.size(row.vmdk)
        return self.images.get(
            row.vmdk if contender.image == "vmdk" else row.raw)

    def call(self, *command, **more):
        command = [str(c) for c in command]
        done = subprocess.run(command, capture_output=True, **more)
        if done.returncode != 0:
            raise servers.Failed("%s: %s" % (
                " ".join(command), done.stderr.decode(errors="replace")))
        return done.stdout

    def check(self, row, contenders):
        """Every server must give the bytes that the raw disk has."""
        size = self.images.size(row.vmdk)
        rng = random.Random(self.args.seed)
        places = [(rng.randrange(size // 4096) * 4096, 4096)
                  for _ in range(2000)]
        places += [(rng.randrange(size // 512 - 512) * 512, 200 * 512)
                   for _ in range(100)]
        places += [(0, 65536), (size - 65536, 65536)]
        expected = hashlib.sha256()
        with open(self.images.get(row.raw), "rb") as f:
            for offset, count in places:
                f.seek(offset)
                expected.update(f.read(count))
        asked = "".join("%d %d\n" % p for p in places).encode()
        for c in contenders:
            with servers.Server(c, self.image(c, row), self.work) as s:
                got = self.call(self.load, "--sample", s.socket, input=asked)
            if hashlib.sha256(got).digest() != expected.digest():
                raise servers.Failed("%s: %s serves wrong bytes" % (
                    row.name, c.name))

    def run_load(self, server, row, turn):
        before = server.cpu()
        out = json.loads(self.call(
            self.load, *row.load, "-t", self.args.seconds, "-w", WARMUP,
            "-s", self.args.seed * 1000 + turn,
            "-b", self.images.size(row.vmdk), server.socket))
        out["cpu"] = server.cpu() - before
        out["value"] = out["iops" if row.unit == "IOPS" else
                           "mib_per_second"]
        return out

    def run_map(self, server):
        before, start = server.cpu(), time.monotonic()
        out = {}
        try:
            text = self.call(self.nbdinfo, "--map", "--totals",
                             "nbd+unix:///?socket=" + server.socket,
                             timeout=self.args.limit).decode()
            # "SIZE PERCENT% TYPE DESCRIPTION"
            out["data"] = sum(int(line.split()[0])
                              for line in text.splitlines()
                              if "zero" not in line)
        except subprocess.TimeoutExpired:
            out["gave_up"] = True
        out["value"] = time.monotonic() - start
        out["cpu"] = server.cpu() - before
        return out

    def run(self, contender, row, turn):
        with servers.Server(contender, self.image(contender, row),
                            self.work) as s:
            if row.unit == "s":
                out = self.run_map(s)
            else:
                out = self.run_load(s, row, turn)
            out["rss"] = s.peak_rss()
        return out

    def can_be_alone(self, row):
        if row.unit == "s":
            return self.map is not None
        return row.inflate is not None and self.inflate is not None

    def run_alone(self, row):
        """The row's own work in one process, with no NBD around it."""
        path = self.images.get(row.vmdk)
        if row.unit == "s":
            out = json.loads(self.call(self.map, *os.path.split(path)))
            out["value"] = out["seconds"]
        else:
            out = json.loads(self.call(self.inflate, path,
                                       self.args.seconds, *row.inflate))
            out["value"] = out["iops" if row.unit == "IOPS" else
                               "mib_per_second"]
        return out

    def round(self, row, contenders, turn, last):
        """One run of each; who gave up once is not asked again."""
        runs = {}
        who = contenders + (["alone"] if self.can_be_alone(row) else [])
        for i in range(len(who)):
            c = who[(turn + i) % len(who)]
            if c == "alone":
                runs[c] = self.run_alone(row)
            elif last and last[c.name].get("gave_up"):
                runs[c.name] = last[c.name]
            else:
                self.pinned.warm()
                runs[c.name] = self.run(c, row, turn)
        self.check_maps(row, runs)
        return runs

    def check_maps(self, row, runs):
        mapped = {who: r["data"] for who, r in runs.items()
                  if "data" in r and not who.startswith("null")}
        if len(set(mapped.values())) > 1:
            raise servers.Failed("%s: the maps differ: %s" % (
                row.name, mapped))

    def row(self, row):
        if isinstance(row, writing.Row):
            return self.writing.row(row)
        if isinstance(row, converting.Row):
            return self.converting.row(row)
        contenders = self.of_row(row)
        paths = [p for i in row.images for p in self.images.files(i)]
        if row.unit == "s":
            if self.nbdinfo is None:
                return report.Results(row, [])
            # Holes must stay holes, so these are read and not pinned.
            self.pinned = servers.Pinned([])
        else:
            self.check(row, contenders)
            self.pinned = servers.Pinned(
                [] if servers.on_tmpfs(self.images.folder) else paths)
            if self.pinned.unlocked:
                print("cannot lock the images in memory; they are read "
                      "before each run instead", file=sys.stderr)
        rounds = []
        try:
            for turn in range(self.args.rounds):
                rounds.append(self.round(row, contenders, turn,
                                         rounds[-1] if rounds else None))
        finally:
            self.pinned.close()
        return report.Results(row, rounds)


def selected(args, sizes):
    out = rows.all_rows(sizes)
    if args.only:
        out = [r for r in out if any(
            p in r.name or fnmatch.fnmatch(r.name, p) for p in args.only)]
    return out


def about(bench):
    """What a number is worth without: who ran, and on what."""
    cpu = next((line.split(":")[1].strip()
                for line in open("/proc/cpuinfo")
                if line.startswith("model name")), platform.machine())
    out = {c.name: c.version for c in bench.contenders}
    for name in "vmdk", "qemu", "file":
        out.setdefault(name, None)
    out["libnbd"] = servers.first_line(
        servers.output_of("nbdinfo", "--version"))
    out["machine"] = "%d x %s, Linux %s" % (
        os.cpu_count(), cpu, platform.release())
    out["images"] = "%s, %s" % (bench.images.folder, "tmpfs" if
                                servers.on_tmpfs(bench.images.folder)
                                else "not a tmpfs")
    a = bench.args
    out["settings"] = "seed %d, %d rounds, runs of %g s, disks of %s" % (
        a.seed, a.rounds, a.seconds, ", ".join(
            rows.text_size(n) for n in (bench.sizes.random, bench.sizes.main,
                                        bench.sizes.stream,
                                        bench.sizes.write)))
    out["writing"] = "%s, %s" % (a.write_folder, servers.output_of(
        "stat", "-f", "-c", "%T", a.write_folder))
    return out


def run_all(bench, wanted):
    """The results, and the rows that failed: those do not stop the others."""
    results, failed = [], []
    for i, row in enumerate(wanted):
        start = time.monotonic()
        print("%2d/%d %-32s" % (i + 1, len(wanted), row.name), end="",
              file=sys.stderr, flush=True)
        try:
            results.append(bench.row(row))
            print("%6.1f s" % (time.monotonic() - start), file=sys.stderr)
        except servers.Failed as e:
            failed.append(row.name)
            print("FAILED\nbench: %s" % e, file=sys.stderr)
        bench.images.drop_all_but({
            n for later in wanted[i + 1:] for n in later.images})
    return results, failed


def main():
    args = arguments()
    shm = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
    folder = args.keep or shm
    os.makedirs(folder, exist_ok=True)
    sizes = choose_sizes(args, folder)
    if not args.keep and sizes.need() > room_in(folder):
        folder = os.environ.get("TMPDIR", "/var/tmp")
    wanted = selected(args, sizes)
    if args.list:
        print("\n".join(r.name for r in wanted))
        return
    if not wanted:
        sys.exit("bench: no such row; --list shows them")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with contextlib.ExitStack() as stack:
        def scratch(parent):
            return stack.enter_context(tempfile.TemporaryDirectory(
                prefix="vmdkit-bench-", dir=parent))
        images = rows.Images(args.keep or scratch(folder), args.seed, sizes,
                             bool(args.keep))
        bench = Bench(args, images, sizes, scratch(None))
        os.makedirs(args.write_folder, exist_ok=True)
        bench.writing = writing.Writing(bench, scratch(args.write_folder))
        bench.converting = converting.Converting(
            bench, scratch(args.write_folder))
        known = about(bench)
        for key, value in known.items():
            print("%-9s %s" % (key, value or "-"))
        sys.stdout.flush()
        results, failed = run_all(bench, wanted)
        written = [r for r in results if isinstance(r, writing.Results)]
        converted = [r for r in results if isinstance(r, converting.Results)]
        others = [r for r in results if r not in written + converted]
        if others:
            print("\n" + report.table(others))
        if written:
            print("\n" + report.table(written, writing.HEAD))
        if converted:
            print("\n" + report.table(converted, converting.HEAD))
        if args.json:
            with open(args.json, "w") as f:
                json.dump({"about": known, "rows": [
                    {"name": r.row.name, "unit": r.row.unit,
                     "rounds": r.rounds} for r in results]}, f, indent=1)
        if failed:
            sys.exit("bench: failed: " + ", ".join(failed))


if __name__ == "__main__":
    try:
        main()
    except servers.Failed as e:
        sys.exit("bench: %s" % e)
    except KeyboardInterrupt:
        sys.exit(130)
