#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""kill-under-load.py FOLDER SEED ROUNDS: for each kind of disk, ROUNDS times,
several connections write to a server until it is killed.

Afterwards each sector holds what was last flushed there, or something written
later; what nobody wrote is as it was; qemu-img finds no errors, and reads the
same; and the next server has the same contents."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import nbd

from served import SANITIZED, Server, Wrong

SECTOR, SIZE, CLIENTS, STRIPE = 512, 8 << 20, 4, 5


class Load:
    """One connection, and the sectors that only it writes: each CLIENTS-th
    stripe in the first quarter of the disk, and a piece of the rest."""

    def __init__(self, number, disk):
        self.number, self.disk = number, disk
        self.lost = {}  # sector: versions it had since the last flush
        self.done = 0  # requests
        self.fault = None

    def place(self, rng):
        """Offset and length of a request: any bytes, or whole sectors."""
        if rng.random() < 0.5:
            stripe = STRIPE * SECTOR
            stripes = SIZE // 4 // stripe // CLIENTS
            start = (rng.randrange(stripes) * CLIENTS + self.number) * stripe
            end = start + stripe
        else:
            room = SIZE * 3 // 4 // CLIENTS
            start = SIZE // 4 + self.number * room
            end = start + room
        limit = min(end - start, rng.choice((1000, 5000, 70000, 200000)))
        count = rng.randint(1, limit)
        offset = rng.randint(start, end - count)
        if rng.random() < 0.7:
            offset -= offset % SECTOR
            count = min(end, offset + count + -count % SECTOR) - offset
        return offset, count

    def keep(self, offset, count):
        """What is there may come back until a flush."""
        for sector in range(offset // SECTOR,
                            (offset + count + SECTOR - 1) // SECTOR):
            at = sector * SECTOR
            self.lost.setdefault(sector, []).append(
                bytes(self.disk[at:at + SECTOR]))

    def change(self, offset, data):
        """The model changes before the server is asked: a request that was
        not answered may have been done."""
        self.keep(offset, len(data))
        self.disk[offset:offset + len(data)] = data

    def step(self, client, rng):
        offset, count = self.place(rng)
        fua = nbd.CMD_FLAG_FUA if rng.random() < 0.05 else 0
        what = rng.randrange(16)
        if what == 0:
            client.flush()
            self.lost.clear()
        elif what == 1:
            hole = rng.choice((0, nbd.CMD_FLAG_NO_HOLE))
            self.change(offset, bytes(count))
            client.zero(count, offset, hole | fua)
        elif what == 2:
            self.trim(client, offset, count)
            return
        elif what == 3:
            if client.pread(count, offset) != self.disk[offset:offset + count]:
                raise Wrong("reads something else in %d+%d" % (offset, count))
        else:
            data = rng.randbytes(count) if what > 4 else bytes(count)
            self.change(offset, data)
            client.pwrite(data, offset, fua)
        if fua and what not in (0, 3):
            self.lost.clear()

    def trim(self, client, offset, count):
        """A mere advice: each sector's part of it becomes zeros, or stays."""
        before = bytes(self.disk[offset:offset + count])
        self.change(offset, bytes(count))
        self.change(offset, before)
        client.trim(count, offset)
        after = client.pread(count, offset)
        if any(c not in (0, b) for b, c in zip(before, after)):
            raise Wrong("trim made something else of %d+%d" % (offset, count))
        self.disk[offset:offset + count] = after

    def run(self, server, rng):
        try:
            client = server.connect()
            while True:
                self.step(client, rng)
                self.done += 1
        except Exception as fault:  # pylint: disable=broad-except
            self.fault = fault


class Disk:
    """A disk that is served, killed, and compared with a model."""

    def __init__(self, kind, folder, make):
        self.kind = kind
        self.folder = os.path.join(folder, kind)
        os.mkdir(self.folder)
        self.params, self.top, self.checks, content = make(self)
        self.content = bytearray(content)

    def path(self, name):
        return os.path.join(self.folder, name)

    def fill(self, name, rng):
        """A sparse disk with something here and there."""
        raw = bytearray(SIZE)
        for _ in range(60):
            count = rng.randrange(1, 100000)
            offset = rng.randrange(SIZE - count)
            raw[offset:offset + count] = rng.randbytes(count)
        with open(self.path("raw"), "wb") as file:
            file.write(raw)
        run("qemu-img", "convert", "-f", "raw", "-O", "vmdk",
            self.path("raw"), self.path(name))
        return raw

    def serve(self, flags):
        server = Server(*self.params, clients=CLIENTS, flags=flags)
        if not server.ready:
            raise Wrong("refused: %r" % server.said())
        return server

    def read(self, server):
        client = server.connect()
        step = 1 << 20
        data = b"".join(client.pread(min(step, SIZE - at), at)
                        for at in range(0, SIZE, step))
        client.shutdown()
        return data

    def same(self, data, what):
        if data != self.content:
            raise Wrong("%s: sector %d is not what it was" % (
                what, differs(data, self.content) // SECTOR))

    def killed(self, seed):
        """Serve and kill; returns the loads."""
        rng = random.Random("%s" % seed)
        loads = [Load(i, self.content) for i in range(CLIENTS)]
        with self.serve(()) as server:
            self.same(self.read(server), "after the next start")
            threads = [threading.Thread(target=load.run, args=(
                server, random.Random("%s %d" % (seed, load.number))))
                for load in loads]
            for thread in threads:
                thread.start()
            wanted = rng.randrange(10, 400)
            while sum(load.done for load in loads) < wanted \
                    and not any(load.fault for load in loads):
                time.sleep(0.001)
            gone = server.process.poll() is not None
            server.stop(signal.SIGKILL)
            for thread in threads:
                thread.join()
            for load in loads:
                if not isinstance(load.fault, nbd.Error):
                    raise load.fault
            if gone or server.status != -signal.SIGKILL:
                raise Wrong("ended by itself: %r" % server.said())
            if sum(load.done for load in loads) < wanted:
                raise loads[0].fault
        return loads

    def settle(self, data, loads):
        """What was found is one of what may be there."""
        for load in loads:
            for sector, versions in load.lost.items():
                at = sector * SECTOR
                found = data[at:at + SECTOR]
                if found in versions:
                    self.content[at:at + SECTOR] = found
        self.same(data, "after the kill (nothing flushed, old, or new)")

    def ask_qemu(self):
        done = subprocess.run(["qemu-img", "check", self.path(self.top)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode not in (0, 3):  # 3: leaks
            raise Wrong("qemu-img check: %r" % done.stdout)
        run("qemu-img", "convert", "-f", "vmdk", "-O", "raw",
            self.path(self.top), self.path("raw"))
        with open(self.path("raw"), "rb") as file:
            self.same(file.read(), "qemu-img convert")

    def round(self, seed):
        loads = self.killed(seed)
        with self.serve(("-r",)) as server:
            self.settle(self.read(server), loads)
        if self.checks:
            self.ask_qemu()

    def finish(self):
        with self.serve(()) as server:
            self.same(self.read(server), "at the end")
            client = server.connect()
            client.pwrite(b"end", SIZE - 3)
            self.content[-3:] = b"end"
            client.shutdown()
            if server.stop() != 0:
                raise Wrong("exit status %d: %r" % (server.status,
                                                    server.said()))
        with self.serve(("-r",)) as server:
            self.same(self.read(server), "at the end")
        if self.checks:
            self.ask_qemu()


def differs(a, b):
    return next(i for i in range(0, len(b), SECTOR)
                if a[i:i + SECTOR] != b[i:i + SECTOR])


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


# How each kind is made: the plugin's parameters, the name for qemu-img,
# whether its check knows the kind, and the first contents.

def make_sparse(disk):
    content = disk.fill("disk.vmdk", random.Random(1))
    return [disk.path("disk.vmdk")], "disk.vmdk", True, content


def make_split(disk):
    """Two extents, which qemu-img would not make of so small a disk."""
    lines = []
    for name in "a", "b":
        run("qemu-img", "create", "-q", "-f", "vmdk", "-o",
            "subformat=twoGbMaxExtentSparse", disk.path(name + ".vmdk"),
            str(SIZE // 2))
        with open(disk.path(name + ".vmdk"), encoding="ascii") as text:
            lines.append(text.read())
    line = next(line for line in lines[1].splitlines()
                if line.startswith("RW "))
    with open(disk.path("a.vmdk"), "w", encoding="ascii") as text:
        text.write(lines[0].replace("\n\n# The Disk Data Base",
                                    "\n%s\n\n# The Disk Data Base" % line))
    os.remove(disk.path("b.vmdk"))
    return [disk.path("a.vmdk")], "a.vmdk", True, bytes(SIZE)


def make_child(disk, *params):
    content = disk.fill("base.vmdk", random.Random(2))
    return [disk.path("base.vmdk"), "overlay=" + disk.path("child.vmdk"),
            *params], "child.vmdk", True, content


def make_cowd(disk):
    made = make_child(disk, "overlay-type=vmfs-sparse",
                      "overlay-grain-size=4K")
    return made[0], made[1], True, made[3]


def make_stream(disk):
    """Without its footer qemu-img cannot read one."""
    with Server(disk.path("disk.vmdk"), "create=true", "create-size=%d" % SIZE,
                "create-type=stream-optimized", flags=()) as server:
        if not server.ready or server.stop() != 0:
            raise Wrong("create: %r" % server.said())
    return [disk.path("disk.vmdk")], "disk.vmdk", False, bytes(SIZE)


def make_flat(disk):
    run("qemu-img", "create", "-q", "-f", "vmdk", "-o",
        "subformat=monolithicFlat", disk.path("disk.vmdk"), str(SIZE))
    return [disk.path("disk.vmdk")], "disk.vmdk", True, bytes(SIZE)


KINDS = {
    "sparse": make_sparse,
    "split": make_split,
    "child": make_child,
    "cowd": make_cowd,
    "flat": make_flat,
    "stream": make_stream,
}


def main(folder, seed, rounds):
    print("seed %s, %d rounds (VMDKIT_SEED and VMDKIT_ROUNDS choose others)"
          % (seed, rounds))
    for kind, make in KINDS.items():
        started = time.monotonic()
        number = 0
        try:
            disk = Disk(kind, folder, make)
            for number in range(rounds):
                disk.round("%s %s %d" % (seed, kind, number))
            disk.finish()
        except (Wrong, nbd.Error, subprocess.CalledProcessError) as fault:
            print("%s, round %d: %s" % (kind, number, fault), file=sys.stderr)
            return 1
        print("%s: %.1f s" % (kind, time.monotonic() - started))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
