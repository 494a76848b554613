# SPDX-License-Identifier: BSD-3-Clause

"""Rows that convert: `vmdkit convert` and `qemu-img convert` with its fastest
flags, on the same source and into the same folder.
"""

import glob
import os
import random
import shutil
import statistics
import subprocess
import time

import images
import report
import servers

MIB = 1 << 20
PIECE = 256 << 10

# What qemu-img is fastest with; "direct" goes past the page cache.
QEMU = ["-m", "16", "-W"]
DIRECT = QEMU + ["-t", "none", "-T", "none"]
QEMU_STREAM = ["-o", "subformat=streamOptimized"]


class Row:
    """SOURCE is "raw", "sparse" or "stream"; OURS and THEIRS are flags, of
    which the last of OURS is the type.
    """

    unit = "s"
    images = []

    def __init__(self, name, source, ours, theirs):
        self.name, self.source = "convert " + name, source
        self.ours, self.theirs = ours, theirs


def all_rows():
    stream = ["-O", "vmdk", *QEMU_STREAM]  # takes no -W
    return [
        Row("sparse to raw", "sparse", ["-t", "raw"], ["-O", "raw", *QEMU]),
        Row("sparse to raw, direct", "sparse", ["-t", "raw"],
            ["-O", "raw", *DIRECT]),
        Row("raw to sparse", "raw", ["-t", "monolithicSparse"],
            ["-O", "vmdk", "-m", "16"]),
        Row("raw to stream", "raw", ["-t", "streamOptimized"], stream),
        Row("raw to stream, fast", "raw", ["-l", "fast", "-t",
                                           "streamOptimized"], stream),
        Row("stream to raw", "stream", ["-t", "raw"], ["-O", "raw", *QEMU]),
    ]


def files_of_the_system():
    """Bytes as they are on disks: what is installed here."""
    out = b""
    for folder in "/usr/bin", "/usr/lib", "/usr/share/doc":
        for path in sorted(glob.glob(folder + "/**", recursive=True)):
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as f:
                    out += f.read(MIB)
            if len(out) > 128 * MIB:
                return out
    return out


def write_source(path, size, seed):
    """Two thirds are pieces of files, some noise, some stored zeros, the rest
    holes.  No two blocks are the same.
    """
    rng = random.Random(seed)
    stock = files_of_the_system()
    with open(path, "wb") as f:
        f.truncate(size)
        for at in range(0, size, PIECE):
            kind = rng.random()
            if kind < 0.67:
                start = rng.randrange(len(stock) - PIECE)
                data = bytearray(stock[start:start + PIECE])
                for block in range(0, PIECE, 4096):
                    data[block:block + 8] = rng.randbytes(8)
            elif kind < 0.77:
                data = rng.randbytes(PIECE)
            elif kind < 0.82:
                data = bytes(PIECE)
            else:
                continue
            f.seek(at)
            f.write(data)


class Contender:
    def __init__(self, name, command, version):
        self.name, self.command, self.version = name, command, version


class Converting:
    """Runs the rows of this file for a Bench."""

    def __init__(self, bench, folder):
        self.bench, self.folder = bench, folder
        self.tool = os.environ.get("VMDKIT") or shutil.which("vmdkit")
        self.made = {}

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def source(self, kind):
        if "raw" not in self.made:
            self.made["raw"] = self.path("source.raw")
            write_source(self.made["raw"], self.bench.sizes.stream,
                         self.bench.args.seed)
        if kind not in self.made:
            self.made[kind] = self.path(kind + ".vmdk")
            flags = QEMU_STREAM if kind == "stream" else []
            self.bench.call("qemu-img", "convert", "-f", "raw", "-O", "vmdk",
                            *flags, self.made["raw"], self.made[kind])
        return self.made[kind]

    def commands(self, row):
        source = self.source(row.source)
        format = "raw" if row.source == "raw" else "vmdk"
        ours = [self.tool, "convert", "-q", "-f", format, *row.ours, source]
        qemu = ["qemu-img", "convert", "-f", format, *row.theirs, source]
        return {"vmdkit": ours, "vmdkit'": ours, "qemu": qemu,
                "one": ours[:2] + ["--threads", "1"] + ours[2:]}

    def run(self, row, command):
        target = self.path("out", "out.raw" if row.ours[-1] == "raw" else
                           "out.vmdk")
        shutil.rmtree(self.path("out"), ignore_errors=True)
        os.mkdir(self.path("out"))
        with open(self.source(row.source), "rb") as f:
            while f.read(MIB):
                pass  # from memory, for all alike
        subprocess.run(["sync", "-f", self.folder], check=True)
        start = time.monotonic()
        child = subprocess.Popen([*map(str, command), target],
                                 stderr=subprocess.PIPE)
        said = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        out = {"value": time.monotonic() - start,
               "cpu": usage.ru_utime + usage.ru_stime,
               "file": os.stat(target).st_size / MIB}
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise servers.Failed("%s: %s" % (
                row.name, said.decode(errors="replace")))
        return out, target

    def check(self, row, target):
        self.bench.call("qemu-img", "compare", "-q", "-f", "raw", "-F",
                        "raw" if target.endswith("raw") else "vmdk",
                        self.source("raw"), target)

    def row(self, row):
        if self.tool is None or shutil.which("qemu-img") is None:
            raise servers.Failed("vmdkit or qemu-img is missing")
        rounds, commands = [], self.commands(row)
        who = list(commands)
        for turn in range(self.bench.args.rounds):
            runs = {}
            for i in range(len(who)):
                name = who[(turn + i) % len(who)]
                runs[name], target = self.run(row, commands[name])
                if turn == 0:
                    self.check(row, target)
            rounds.append(runs)
        shutil.rmtree(self.path("out"))
        return Results(row, rounds)


class Results(report.Results):
    def noise(self):
        ratios = self.ratios("vmdkit", "vmdkit'")
        return "%.2f ±%.0f%%" % (statistics.median(ratios), 100 * max(
            abs(x - 1) for x in ratios))

    def cells(self):
        who = ["vmdkit", "qemu"]
        return ([self.row.name, self.row.unit] +
                [self.value(w) for w in who + ["one"]] +
                [self.ratio("vmdkit", "qemu"), self.ratio("vmdkit", "one"),
                 self.noise()] +
                [report.number(self.median(w, what))
                 for what in ("cpu", "file") for w in who])


NAMES = ["vmdkit", "qemu"]
HEAD = [["", "", "median", "", "", "vmdkit/", "", "", "cpu s", "",
         "file MiB", ""],
        ["row", "unit"] + NAMES + ["1 thread", "qemu", "1 thread", "A/A"] +
        NAMES * 2]
