# SPDX-License-Identifier: BSD-3-Clause
"""Random operations on a small family of disks, against a model.

usage: operations.py SEED STEPS

A disk is what it reads as, and who its parent is.  After each step every disk
must read as the model says, through vmdkit and, where it knows the type,
through qemu-img; and nothing may be wrong with its files.  Works in the
current folder, which is left as it is when something fails.
"""

import collections
import os
import random
import subprocess
import sys

import nbd

VMDKIT, PLUGIN = os.environ["VMDKIT"], os.environ["VMDKIT_PLUGIN"]
SECTOR = 512
MAX_DISKS = 7
NAMES = ["a", "b", "mail server", "a-b", "x_1", "ünï", "c.d", "e", "f-000001",
         "g=h", "i'j", "K", "l#m"]
BASE_TYPES = ["monolithicSparse", "twoGbMaxExtentSparse", "monolithicFlat",
              "vmfs-thin", "vmfsSparse", "twoGbMaxExtentFlat"]
CHILD_TYPES = ["monolithicSparse", "twoGbMaxExtentSparse", "vmfsSparse"]
CONVERT_TYPES = BASE_TYPES + ["streamOptimized"]
# what qemu-img must read; of the others it may
QEMU_READS = {"monolithicSparse", "twoGbMaxExtentSparse", "monolithicFlat",
              "streamOptimized", "twoGbMaxExtentFlat"}
QEMU_WRITES = QEMU_READS - {"streamOptimized"}
QEMU_CHECKS = {"monolithicSparse", "twoGbMaxExtentSparse"}
FLAT = {"monolithicFlat", "vmfs-thin", "twoGbMaxExtentFlat"}


class Wrong(Exception):
    """Something is not as the model has it."""


class Disk:
    """content: what is read; parent: a name or None."""

    def __init__(self, kind, content, parent=None, by_qemu=False):
        self.kind, self.content, self.parent = kind, bytearray(content), parent
        self.meta, self.by_qemu = {}, by_qemu


refusals = collections.Counter()
done = collections.Counter()


def run(*argv, stdin=None):
    return subprocess.run(argv, input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, timeout=120)


class Family:
    def __init__(self, rng):
        self.rng = rng
        self.disks = {}
        self.trace = []

    # -- running ----------------------------------------------------------

    def say(self, *words):
        self.trace.append(" ".join(str(word) for word in words))
        if os.environ.get("OPERATIONS_VERBOSE"):
            print(self.trace[-1], flush=True)

    def vmdkit(self, *arguments, refused=None):
        """True when it was done.  refused: words with which it may refuse;
        it then must, if they are in a list."""
        self.say("vmdkit", *arguments)
        result = run(VMDKIT, *arguments)
        text = result.stderr.decode(errors="replace")
        if result.returncode == 0:
            if isinstance(refused, list):
                raise Wrong("not refused: " + " ".join(refused))
            done[arguments[0]] += 1
            return True
        words = [refused] if isinstance(refused, str) else refused or []
        errors = [line for line in text.splitlines() if "warning: " not in line]
        if result.returncode == 1 and len(errors) == 1 and any(
                word in errors[0] for word in words):
            refusals[arguments[0] + ": " + words[0]] += 1
            self.say("  refused:", text.strip())
            return False
        raise Wrong("status %d: %s" % (result.returncode, text.strip()))

    def qemu(self, *argv, stdin=None):
        self.say(*argv)
        result = run(*argv, stdin=stdin)
        if result.returncode != 0:
            raise Wrong(result.stderr.decode(errors="replace")
                        + result.stdout.decode(errors="replace"))

    # -- the family -------------------------------------------------------

    def children(self, name):
        return [n for n, d in self.disks.items() if d.parent == name]

    def ancestors(self, name):
        while name is not None:
            yield name
            name = self.disks[name].parent

    def new_name(self):
        return self.rng.choice(
            [n for n in (s + ".vmdk" for s in NAMES) if n not in self.disks])

    def pick(self, good=lambda name: True):
        names = [n for n in self.disks if good(n)]
        return self.rng.choice(names) if names else None

    def size(self):
        rng = self.rng
        sectors = rng.choice([
            rng.randrange(1, 300), rng.randrange(1, 9000), 128, 8192,
            128 * rng.randrange(1, 60), rng.randrange(1, 9000)])
        return sectors * SECTOR

    # -- content ----------------------------------------------------------

    def data(self, count):
        kind = self.rng.randrange(4)
        if kind == 0:
            return bytes(count)
        if kind == 1:
            return bytes([self.rng.randrange(1, 256)]) * count
        if kind == 2:
            return self.rng.randbytes(count)
        # some of it zeros
        data = bytearray(self.rng.randbytes(count))
        start = self.rng.randrange(count)
        end = self.rng.randrange(start, count + 1)
        data[start:end] = bytes(end - start)
        return bytes(data)

    def area(self, size, unit=1):
        rng = self.rng
        start = rng.randrange(0, size, unit)
        if rng.randrange(3) == 0:
            start -= start % 65536
        longest = rng.choice([SECTOR, 4096, 65536, 1 << 20])
        count = min(size - start, rng.randrange(1, longest + 1))
        count -= count % unit
        return start, max(count, min(unit, size - start))

    def write_nbdkit(self, name):
        disk = self.disks[name]
        size = len(disk.content)
        handle = nbd.NBD()
        options = self.rng.choice([[], ["detect-zeroes=on"],
                                   ["detect-zeroes=unmap"]])
        self.say("nbdkit", name, *options)
        with open("nbdkit.log", "wb") as log:
            saved = os.dup(2)
            os.dup2(log.fileno(), 2)
            try:
                handle.connect_systemd_socket_activation(
                    ["nbdkit", "-f", "--exit-with-parent", PLUGIN,
                     os.path.abspath(name)] + options)
            except nbd.Error:
                handle = None
            finally:
                os.dup2(saved, 2)
                os.close(saved)
        if handle is None:
            raise Wrong(open("nbdkit.log", encoding="utf8").read())
        if handle.get_size() != size:
            raise Wrong("size %d, not %d" % (handle.get_size(), size))
        if handle.is_read_only():
            handle.shutdown()
            if not self.children(name):
                raise Wrong("served read-only: " + open("nbdkit.log").read())
            refusals["write: has a child"] += 1
            return
        if self.children(name):
            raise Wrong("served for writing, and has children")
        for _ in range(self.rng.randrange(1, 7)):
            self.request(handle, disk.content)
        if self.rng.randrange(4):
            handle.flush()
        if handle.pread(size, 0) != disk.content:
            raise Wrong("other contents served")
        handle.shutdown()
        done["nbdkit"] += 1

    def request(self, handle, content):
        start, count = self.area(len(content))
        which = self.rng.randrange(5)
        self.say("  ", ["write", "write", "zero", "zero,no-hole", "trim"][which],
                 start, count)
        if which < 2:
            data = self.data(count)
            handle.pwrite(data, start, nbd.CMD_FLAG_FUA
                          if self.rng.randrange(4) == 0 else 0)
        elif which < 4:
            data = bytes(count)
            handle.zero(count, start, nbd.CMD_FLAG_NO_HOLE if which == 3 else 0)
        else:
            handle.trim(count, start)
            data = handle.pread(count, start)
            old = content[start:start + count]
            if any(n not in (0, o) for n, o in zip(data, old)):
                raise Wrong("trim made bytes up")
        content[start:start + count] = data

    def write_qemu(self, name):
        content = self.disks[name].content
        commands = []
        for _ in range(self.rng.randrange(1, 5)):
            start, count = self.area(len(content), SECTOR)
            if self.rng.randrange(3):
                byte = self.rng.randrange(1, 256)
                commands.append("write -P %d %d %d" % (byte, start, count))
            else:
                byte = 0
                commands.append("write -z %s %d %d" % (
                    self.rng.choice(["", "-u"]), start, count))
            content[start:start + count] = bytes([byte]) * count
        self.say("  ", *commands)
        self.qemu("qemu-io", "-f", "vmdk", name,
                  stdin="\n".join(commands).encode() + b"\n")
        done["qemu-io"] += 1

    def op_write(self):
        name = self.pick(lambda n: self.disks[n].kind != "streamOptimized")
        if name is None:
            return
        disk = self.disks[name]
        if (disk.kind in QEMU_WRITES and not self.children(name)
                and self.rng.randrange(4) == 0
                and len(disk.content) % 65536 == 0
                and all(self.disks[n].kind in QEMU_READS
                        for n in self.ancestors(name))):
            self.write_qemu(name)
        else:
            self.write_nbdkit(name)

    # -- operations -------------------------------------------------------

    def op_create(self):
        name, size = self.new_name(), self.size()
        kind = self.rng.choice(BASE_TYPES)
        if self.rng.randrange(3) == 0 and kind in QEMU_READS:
            options = "subformat=" + kind
            if kind in QEMU_CHECKS and self.rng.randrange(2):
                options += ",zeroed_grain=on"
            self.qemu("qemu-img", "create", "-q", "-f", "vmdk", "-o", options,
                      name, str(size))
            self.disks[name] = Disk(kind, bytes(size), by_qemu=True)
            return
        options = []
        if kind in QEMU_CHECKS and self.rng.randrange(2):
            options = ["--grain-size", self.rng.choice(
                ["4K", "8K", "32K", "128K", "1M"])]
        self.vmdkit("create", "-q", "-t", kind, *options, name, "%ds"
                    % (size // SECTOR))
        self.disks[name] = Disk(kind, bytes(size))

    def op_child(self):
        parent = self.pick()
        name, kind = self.new_name(), self.rng.choice(CHILD_TYPES)
        options = []
        if kind in QEMU_CHECKS and self.rng.randrange(2):
            options = ["--grain-size", self.rng.choice(
                ["4K", "8K", "32K", "128K", "1M"])]
        command = self.rng.choice(["child", "rollback"])
        if parent is None or len(list(self.ancestors(parent))) > 3:
            return
        if self.vmdkit(command, "-q", "-t", kind, *options, parent, name):
            self.disks[name] = Disk(kind, self.disks[parent].content, parent)

    def op_attach(self):
        child = self.pick(lambda n: self.disks[n].parent is not None)
        if child is None:
            return
        # where it is already; with the same content ID, so it is done
        parent = self.disks[child].parent
        refused = None
        if len(self.disks[parent].content) != len(self.disks[child].content):
            refused = ["of one size", "streamOptimized"]
        elif self.disks[parent].kind == "streamOptimized":
            refused = ["streamOptimized"]
        self.vmdkit("attach", parent, child, refused=refused)

    def op_commit(self):
        child = self.pick(lambda n: self.disks[n].parent is not None)
        if child is None:
            return
        disk = self.disks[child]
        parent = self.disks[disk.parent]
        unlink = (self.rng.randrange(2) == 0
                  and not self.children(child))
        refused = None
        if len(self.children(disk.parent)) > 1:
            refused = ["has a child", " only "]
        elif len(disk.content) > len(parent.content):
            refused = [" only "]
        elif parent.kind == "streamOptimized":
            refused = "streamOptimized"
        if not self.vmdkit("commit", *(["--unlink"] if unlink else []), child,
                           refused=refused):
            return
        parent.content[:len(disk.content)] = disk.content
        if not os.path.exists(child):
            if not unlink:
                raise Wrong("the child was removed")
            del self.disks[child]
        elif unlink:
            raise Wrong("the child is still there")

    def op_rebase(self):
        child = self.pick()
        new = self.pick()
        if child is None:
            return
        disk = self.disks[child]
        if self.rng.randrange(3) == 0:
            self.vmdkit("rebase", "--no-parent", child)
            disk.parent = None
            return
        refused = None
        if child in self.ancestors(new):
            refused = ["which so cannot be its", "be its own parent",
                       "streamOptimized"]
        elif self.disks[new].kind == "streamOptimized":
            refused = ["streamOptimized"]
        elif disk.kind in FLAT:
            refused = ["flat"]
        elif disk.kind == "streamOptimized":
            refused = ["cannot be a child"]
        if self.vmdkit("rebase", child, new, refused=refused):
            disk.parent = new

    def op_shrink(self):
        name = self.pick()
        if name is None:
            return
        stream = self.disks[name].kind == "streamOptimized"
        options = ["--punch"] if self.rng.randrange(3) == 0 else []
        self.vmdkit("shrink", *options, name,
                    refused=["convert the disk"] if stream else None)

    def op_defragment(self):
        name = self.pick()
        if name is None:
            return
        stream = self.disks[name].kind == "streamOptimized"
        self.vmdkit("defragment", name,
                    refused=["convert the disk"] if stream else None)

    def op_grow(self):
        name = self.pick()
        if name is None:
            return
        disk = self.disks[name]
        size = len(disk.content) + self.size()
        refused = None
        if (disk.parent is not None or self.children(name)
                or disk.kind in ("streamOptimized", "vmfsSparse")):
            refused = ["onvert", "ommit", "snapshot", "child"]
        options = ["--geometry"] if self.rng.randrange(2) else []
        if self.vmdkit("grow", *options, name, "%ds" % (size // SECTOR),
                       refused=refused):
            disk.content.extend(bytes(size - len(disk.content)))

    def op_convert(self):
        source = self.pick()
        if source is None:
            return
        kind = self.rng.choice(CONVERT_TYPES)
        options = ["-t", kind]
        if kind == "streamOptimized":
            options += ["-l", self.rng.choice(["fast", "default", "best"])]
        if self.rng.randrange(3) == 0:
            options += ["--keep-metadata"]  # but not what others added
        target = self.new_name()
        if self.rng.randrange(2) == 0:
            target = self.pick(lambda n: not self.children(n))
            if target is None:
                return
            refused = None
            if target in self.ancestors(source):
                refused = ["itself", "source", "same", "read", "ope"]
            if not self.vmdkit("convert", "--overwrite", *options, source,
                               target, refused=refused):
                return
        else:
            self.vmdkit("convert", *options, source, target)
        self.disks[target] = Disk(kind, self.disks[source].content)

    def op_rename(self):
        old = self.pick()
        if old is None:
            return
        new = self.new_name()
        children = self.children(old)
        self.vmdkit("rename", *(["--children"] if children else []), old, new)
        self.disks[new] = self.disks.pop(old)
        for child in children:
            self.disks[child].parent = new

    def op_unlink(self):
        name = self.pick()
        if name is None or (self.children(name) and self.rng.randrange(4)):
            return
        if self.vmdkit("unlink", name, refused=["is the parent of"]
                       if self.children(name) else None):
            del self.disks[name]

    def op_meta(self):
        name = self.pick()
        if name is None:
            return
        disk = self.disks[name]
        key = self.rng.choice(["comment", "tag", "longish.key.of.ours"])
        if self.rng.randrange(3):
            value = self.rng.choice(["", "x", "äöü €", "a b  c", "1" * 200])
            self.vmdkit("meta", "set", name, key, value)
            disk.meta[key] = value
        elif self.vmdkit("meta", "delete", name, key,
                         refused=None if key in disk.meta
                         else ["has no metadata"]):
            del disk.meta[key]

    def op_repair(self):
        name = self.pick()
        if name is None:
            return
        self.say("vmdkit check --repair", name)
        result = run(VMDKIT, "check", "-q", "--repair", name)
        if result.returncode not in (0, 4):
            raise Wrong("check --repair: status %d: %s %s" % (
                result.returncode, result.stdout.decode(),
                result.stderr.decode()))
        done["check --repair"] += 1
        if os.path.exists(name + ".repair-backup"):
            os.unlink(name + ".repair-backup")

    # -- after each step --------------------------------------------------

    def verify(self, name, thorough):
        disk = self.disks[name]
        result = run(VMDKIT, "convert", "-q", "-t", "raw", "--overwrite", name,
                     "raw.img")
        if result.returncode != 0:
            raise Wrong("%s: %s" % (name, result.stderr.decode()))
        with open("raw.img", "rb") as file:
            self.compare(name, "vmdkit", file.read())
        result = run(VMDKIT, "check", "-q", *(["--data"] if thorough else []),
                     name)
        # what a trim freed, and what qemu wrote last, may be room for later
        if result.returncode not in (0, 4):
            raise Wrong("%s: check: status %d: %s %s" % (
                name, result.returncode, result.stdout.decode(),
                result.stderr.decode()))
        if not thorough:
            return
        for key, value in disk.meta.items():
            got = run(VMDKIT, "meta", "get", name, key)
            if got.stdout.decode() != value + "\n":
                raise Wrong("%s: %s is %r, not %r" % (name, key, got, value))
        self.verify_qemu(name)

    def verify_qemu(self, name):
        kinds = {self.disks[n].kind for n in self.ancestors(name)}
        result = run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", name,
                     "raw.img")
        if result.returncode == 0:
            with open("raw.img", "rb") as file:
                self.compare(name, "qemu-img", file.read())
        elif kinds <= QEMU_READS:
            raise Wrong("%s: qemu-img: %s" % (name, result.stderr.decode()))
        if not self.disks[name].kind in QEMU_CHECKS or not kinds <= QEMU_READS:
            return
        result = run("qemu-img", "check", "-f", "vmdk", name)
        if result.returncode not in (0, 3):
            raise Wrong("%s: qemu-img check: %s%s" % (
                name, result.stdout.decode(), result.stderr.decode()))

    def compare(self, name, who, got):
        wanted = self.disks[name].content
        if got == wanted:
            return
        if len(got) != len(wanted):
            raise Wrong("%s: %s reads %d bytes, not %d"
                        % (name, who, len(got), len(wanted)))
        bad = [i for i in range(0, len(got), SECTOR)
               if got[i:i + SECTOR] != wanted[i:i + SECTOR]]
        raise Wrong("%s: %s reads something else in %d sectors, %d to %d"
                    % (name, who, len(bad), bad[0] // SECTOR,
                       bad[-1] // SECTOR))

    def step(self):
        operations = [
            (self.op_write, 30), (self.op_create, 6), (self.op_child, 14),
            (self.op_attach, 2), (self.op_commit, 8), (self.op_rebase, 12),
            (self.op_shrink, 10), (self.op_defragment, 8), (self.op_grow, 8),
            (self.op_convert, 8), (self.op_rename, 5), (self.op_unlink, 3),
            (self.op_meta, 4), (self.op_repair, 5)]
        while len(self.disks) > MAX_DISKS:
            name = self.pick(lambda n: not self.children(n))
            self.vmdkit("unlink", name)
            del self.disks[name]
        what = self.rng.choices([o[0] for o in operations],
                                [o[1] for o in operations])[0]
        if not self.disks:
            what = self.op_create
        before = self.files()
        what()
        changed = {f for f, state in self.files().items()
                   if before.get(f) != state}
        for name in list(self.disks):
            stems = [n[:-len(".vmdk")] for n in self.ancestors(name)]
            if self.rng.randrange(8) == 0 or any(
                    f.startswith(stem) for f in changed for stem in stems):
                self.verify(name, self.rng.randrange(3) > 0)
        self.verify_files()

    def files(self):
        """What tells whether a file was changed."""
        result = {}
        for name in os.listdir("."):
            stat = os.stat(name)
            result[name] = stat.st_mtime_ns, stat.st_size, stat.st_ino
        return result

    def verify_files(self):
        """Nothing is left behind."""
        stray = [f for f in os.listdir(".")
                 if f.endswith((".new", ".tmp", ".repair-backup"))]
        if stray:
            raise Wrong("left behind: %s" % stray)


def main():
    seed, steps = int(sys.argv[1]), int(sys.argv[2])
    family = Family(random.Random(seed))
    number = 0
    try:
        for number in range(steps):
            family.step()
        for name in family.disks:
            family.verify(name, True)
        for name in sorted(family.disks,
                           key=lambda n: -len(list(family.ancestors(n)))):
            family.vmdkit("unlink", name)
        os.unlink("raw.img")
        left = set(os.listdir(".")) - {"nbdkit.log"}
        if left:
            raise Wrong("left behind: %s" % left)
    except (Wrong, nbd.Error, subprocess.TimeoutExpired) as error:
        print("\n".join(family.trace[-60:]))
        print("seed %d, step %d: %s" % (seed, number, str(error).strip()))
        return 1
    if os.environ.get("OPERATIONS_COUNT"):
        print(dict(done), dict(refusals))
    return 0


sys.exit(main())
