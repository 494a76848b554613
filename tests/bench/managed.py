#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause

"""What reading a server's disk costs: CPU of nbdkit, by each transport.

    managed.py [--size N[M|G]] [--rounds N] [--programs DIR]

The fake servers of tests/vsphere give out the same bytes over port 902 and
over HTTPS; 'nbdkit curl' reads them over the same HTTPS.  Contenders run in
turn.  What the fake servers themselves take is not counted, but they decide
how many MiB/s there are.  README.md says more.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.parse

import report
import servers
from bench import bytes_of

MIB, GIB = 1 << 20, 1 << 30
FAKES = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir,
                     "vsphere")
DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=22222222
parentCID=ffffffff
createType="vmfs"
# Extent description
RW %d VMFS "web-flat.vmdk"
"""


def inventory(size):
    return {
        "datacenters": [{"id": "datacenter-2", "name": "DC"}],
        "datastores": [{"id": "datastore-10", "name": "ds1",
                        "datacenter": "DC",
                        "url": "ds:///vmfs/volumes/5a1b-ds1/"}],
        "hosts": [{"id": "host-20", "name": "esx1", "datacenter": "DC"}],
        "vms": [{"id": "vm-57", "name": "web", "datacenter": "DC",
                 "uuid": "42010203-0405-0607-0809-0a0b0c0d0e0f",
                 "instanceUuid": "50010203-0405-0607-0809-0a0b0c0d0e0f",
                 "power": "poweredOff", "host": "host-20",
                 "datastores": ["ds1"],
                 "disks": [{"key": 2000, "label": "Hard disk 1",
                            "capacity": size,
                            "chain": ["[ds1] web/web.vmdk"]}]}]}


class Fakes:
    """Both servers and the disk, in FOLDER.  Use as a context."""

    def __init__(self, folder, size, seed):
        self.folder, self.size = folder, size
        self.raw = os.path.join(folder, "raw")
        self.processes = []
        rng = random.Random(seed)
        with open(self.raw, "wb") as f:
            for _ in range(0, size, MIB):
                f.write(rng.randbytes(MIB))

    def start(self, script, *arguments):
        """The words of its first line."""
        process = subprocess.Popen(
            [sys.executable, os.path.join(FAKES, script), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        words = process.stdout.readline().split()
        if not words:
            raise servers.Failed("%s does not start" % script)
        return words

    def __enter__(self):
        disk = os.path.join(self.folder, "ds", "ds1", "web")
        os.makedirs(disk)
        os.link(self.raw, os.path.join(disk, "web-flat.vmdk"))
        with open(os.path.join(disk, "web.vmdk"), "w") as f:
            f.write(DESCRIPTOR % (self.size // 512))
        listed = os.path.join(self.folder, "inventory")
        with open(listed, "w") as f:
            json.dump(inventory(self.size), f)
        _, port, _, sha1 = self.start("fake_nfc.py", self.raw)[:4]
        _, self.port, self.sha1, _ = self.start(
            "fake_vsphere.py", self.folder, "--inventory", listed, "--nfc",
            "127.0.0.1:%s:%s" % (port, sha1), "--public-folder")
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.stdin.close()  # they end then
            process.wait()


def curl(fakes):
    version = servers.output_of("nbdkit", "curl", "--version")
    if version is None:
        raise servers.Failed("this needs nbdkit with its curl plugin")
    query = urllib.parse.urlencode({"dcPath": "DC", "dsName": "ds1"})
    url = "https://127.0.0.1:%s/folder/web/web-flat.vmdk?%s" % (
        fakes.port, query)
    return servers.Contender("curl", "raw", lambda sock, _: [
        "nbdkit", "-f", "-r", "-U", sock, "curl", "url=" + url,
        "sslverify=false"], version)


def vmdk(fakes, transport):
    plugin = os.environ.get("VMDKIT_PLUGIN") or "vmdk"
    return servers.Contender(transport, "vmdk", lambda sock, _: [
        "nbdkit", "-f", "-r", "-U", sock, plugin, "server=127.0.0.1",
        "port=" + fakes.port, "user=user", "password=pass",
        "thumbprint=" + fakes.sha1, "vm=moref=vm-57",
        "transports=" + transport, "file=[ds1] web/web.vmdk"], None)


class Bench:
    def __init__(self, args, fakes, work):
        self.args, self.fakes, self.work = args, fakes, work
        self.load = servers.find_program("nbd-load", args.programs)
        if self.load is None:
            raise servers.Failed("nbd-load is not built (libnbd is needed)")

    def call(self, *command, **more):
        done = subprocess.run(command, capture_output=True, **more)
        if done.returncode != 0:
            raise servers.Failed(done.stderr.decode(errors="replace"))
        return done.stdout

    def check(self, contender):
        """Right bytes, or no number."""
        rng = random.Random(1)
        places = [(rng.randrange(self.fakes.size // 4096) * 4096, 4096)
                  for _ in range(50)]
        expected = hashlib.sha256()
        with open(self.fakes.raw, "rb") as f:
            for offset, count in places:
                f.seek(offset)
                expected.update(f.read(count))
        with servers.Server(contender, None, self.work) as s:
            got = self.call(self.load, "--sample", s.socket, input="".join(
                "%d %d\n" % p for p in places).encode())
        if hashlib.sha256(got).digest() != expected.digest():
            raise servers.Failed("%s: wrong bytes" % contender.name)

    def run(self, contender):
        """One pass from the beginning to the end."""
        with servers.Server(contender, None, self.work) as s:
            before = s.cpu()
            out = json.loads(self.call(
                self.load, "-c", "1", "-d", "16", "-r", str(256 << 10), "-b",
                str(self.fakes.size), s.socket))
            out["cpu"] = (s.cpu() - before) * GIB / out["all_bytes"]
            out["rss"] = s.peak_rss()
        return out


def table(names, rounds):
    head = ["", "cpu s/GiB", "/curl", "MiB/s", "peak MiB"]
    rows = [head]
    for name in names:
        runs = [r[name] for r in rounds]
        ratio = statistics.median(
            r[name]["cpu"] / r["curl"]["cpu"] for r in rounds)
        rows.append([name] + [report.number(x) for x in (
            statistics.median(r["cpu"] for r in runs), ratio,
            statistics.median(r["mib_per_second"] for r in runs),
            statistics.median(r["rss"] for r in runs))])
    return "\n".join("%-8s %10s %6s %6s %9s" % tuple(r) for r in rows)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--size", type=bytes_of, metavar="N[M|G]", default=GIB)
    p.add_argument("--rounds", type=int, metavar="N", default=5)
    p.add_argument("--only", metavar="TRANSPORT", action="append",
                   help="of nbdssl, nbd, https, to compare with curl")
    p.add_argument("--programs", metavar="DIR", default=".",
                   help="where the programs of this folder are")
    args = p.parse_args()
    shm = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with contextlib.ExitStack() as stack:
        folder, work = (stack.enter_context(tempfile.TemporaryDirectory(
            prefix="vmdkit-bench-", dir=d)) for d in (shm, None))
        if shutil.disk_usage(folder).free < args.size + 256 * MIB:
            raise servers.Failed("%s has no room for the disk" % folder)
        fakes = stack.enter_context(Fakes(folder, args.size, 1))
        bench = Bench(args, fakes, work)
        contenders = [curl(fakes)] + [
            vmdk(fakes, t) for t in args.only or ("nbdssl", "nbd", "https")]
        for c in contenders:
            bench.check(c)
        rounds = []
        for turn in range(args.rounds):
            turn %= len(contenders)
            rounds.append({c.name: bench.run(c) for c in
                           contenders[turn:] + contenders[:turn]})
        print(table([c.name for c in contenders], rounds))


if __name__ == "__main__":
    try:
        main()
    except servers.Failed as e:
        sys.exit("bench: %s" % e)
    except KeyboardInterrupt:
        sys.exit(130)
