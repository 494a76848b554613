# SPDX-License-Identifier: BSD-3-Clause
"""A server for one image, and what its clients see.

The plugin is $VMDKIT_PLUGIN; nbdkit is found in the path.
"""

import hashlib
import os
import resource
import shlex
import signal
import subprocess
import tempfile
import time

import nbd

PLUGIN = os.environ["VMDKIT_PLUGIN"]
ALLOCATION = "base:allocation"
HOLE, ZERO = 1, 2


def is_sanitized():
    with open(PLUGIN, "rb") as plugin:
        data = plugin.read()
    return b"__asan_init" in data or b"__tsan_init" in data


# What a user may expect of any image, good or bad.  The stacks of the threads
# that nbdkit starts for each client come on top.
SANITIZED = is_sanitized()
MAX_SECONDS = 60 if SANITIZED else 10
MAX_DATA = 512 << 20
STACKS = 160 << 20


class Wrong(Exception):
    """The server did not do what it must."""


class Row:
    """A line of EXPECT.tsv."""

    def __init__(self, line, root):
        (self.case, self.file, self.kind, size, self.sha256, eio, absent,
         words, params) = line.rstrip("\n").split("\t")
        self.size = None if size == "-" else int(size)
        self.eio, self.absent = self._ranges(eio), self._ranges(absent)
        self.words = [] if words == "-" else words.split(" & ")
        folder = os.path.join(root, self.case)
        self.path = os.path.join(folder, self.file)
        self.params = [] if params == "-" else [
            word.replace("@", folder) for word in params.split(" ")]

    @staticmethod
    def _ranges(text):
        return [] if text == "-" else [
            tuple(map(int, pair.split("+"))) for pair in text.split(",")]

    def __str__(self):
        return " ".join([self.case + "/" + self.file] + self.params)


def rows(root):
    with open(os.path.join(root, "EXPECT.tsv"), encoding="utf-8") as table:
        return [Row(line, root) for line in table.readlines()[1:]]


class Server:
    """nbdkit with our plugin, for so many clients at a time; read-only if
    nothing else is asked for.  `ready` says whether it serves; if it does
    not, it has ended by itself."""

    def __init__(self, *params, clients=1, flags=("-r",)):
        self.folder = tempfile.TemporaryDirectory(prefix="vmdkit-")
        self.socket = os.path.join(self.folder.name, "sock")
        self.log = open(os.path.join(self.folder.name, "log"), "w+b")
        self.pidfile = os.path.join(self.folder.name, "pid")
        self.status = None
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            ["nbdkit", *flags, "-f", "--exit-with-parent", "-U", self.socket,
             "-P", self.pidfile, PLUGIN, *params],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        if not SANITIZED:
            limit = MAX_DATA + clients * STACKS
            resource.prlimit(self.process.pid, resource.RLIMIT_DATA,
                             (limit, limit))
        self.ready = self._wait_ready()
        self.seconds = time.monotonic() - self.started

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.log.close()
        self.folder.cleanup()

    def _ended(self):
        self.status = self.process.poll()
        return self.status is not None

    def _wait_ready(self):
        while not self._ended():
            try:
                if os.path.getsize(self.pidfile):
                    return True
            except FileNotFoundError:
                pass
            if time.monotonic() - self.started > MAX_SECONDS:
                self.stop(signal.SIGKILL)
                raise Wrong("neither served nor refused after %d seconds"
                            % MAX_SECONDS)
            time.sleep(0.005)
        return False

    def stop(self, how=signal.SIGTERM):
        """End the server and give its exit status."""
        if not self._ended():
            self.process.send_signal(how)
            try:
                self.process.wait(MAX_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.status = self.process.returncode
        return self.status

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def uri(self, export=""):
        return "nbd+unix:///%s?socket=%s" % (export, self.socket)

    def connect(self, export=""):
        client = nbd.NBD()
        client.add_meta_context(ALLOCATION)
        client.set_export_name(export)
        client.connect_unix(self.socket)
        return client

    def copy(self, export=""):
        """The whole contents, as nbdcopy sees them."""
        done = subprocess.run(["nbdcopy", self.uri(export), "-"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=MAX_SECONDS * 2)
        if done.returncode:
            raise Wrong("nbdcopy: %s" % done.stderr.decode(errors="replace"))
        return done.stdout


def block_status(client):
    """(offset, length, flags) of consecutive pieces, as the server gave
    them."""
    pieces, at, size = [], 0, client.get_size()

    def extent(context, offset, entries, error):
        del error
        if context == ALLOCATION:
            if offset != at:
                raise Wrong("block status of %d, asked at %d" % (offset, at))
            pieces.extend((at + sum(entries[:i:2]), entries[i],
                           entries[i + 1])
                          for i in range(0, len(entries), 2))
    while at < size:
        before = len(pieces)
        client.block_status(min(size - at, 1 << 30), at, extent)
        if len(pieces) == before:
            raise Wrong("no block status at %d" % at)
        for offset, length, _ in pieces[before:]:
            if offset != at or length == 0:
                raise Wrong("block status leaves out or repeats %d" % at)
            at += length
    if at != size and pieces[-1][0] >= size:
        raise Wrong("block status goes on after the end")
    return pieces


def check_map(pieces, data, absent=(), unreadable=()):
    """Zeros are zeros, what is absent is a hole, damage is data."""
    for offset, length, flags in pieces:
        if flags & ZERO and data[offset:offset + length].strip(b"\0"):
            raise Wrong("%d+%d is called zero and is not" % (offset, length))
        for start, count in unreadable:
            if flags & (HOLE | ZERO) and offset < start + count \
               and start < offset + length:
                raise Wrong("unreadable %d+%d lies in %d+%d, which is called "
                            "zero or hole" % (start, count, offset, length))
    for start, count in absent:
        for offset, length, flags in pieces:
            if offset < start + count and start < offset + length \
               and flags != HOLE | ZERO:
                raise Wrong("absent %d+%d lies in %d+%d with flags %d"
                            % (start, count, offset, length, flags))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def shell_line(row):
    return shlex.join(["nbdkit", PLUGIN, row.path] + row.params)
