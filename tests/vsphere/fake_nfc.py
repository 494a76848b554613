#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause

"""A host's port 902 for tests: the authentication daemon and the disk
service, over one raw file, with misbehaviour on demand.

    fake_nfc.py DISK [PORT]

says "port N sha1 AB:.. sha256 AB:.." and obeys lines from its standard input,
answering each with one:

    set NAME VALUE      an option, see class Options
    clear               all options as at the beginning
    stats               what was seen, as JSON
    quit

Tickets are words that begin with "ticket-"; each opens one connection, and
writing needs one that begins with "ticket-rw-".

Written from the description of the protocol, not from the client.
"""

import heapq
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

MAGIC = 0xA100DA7A
TEXTS = {
    "lock": (16392, b"DiskLib error 16392: Failed to lock the file"),
    "multiwriter": (13, b"cannot be opened in multiwriter mode"),
    "permission": (11, b"permission check failed"),
    "memory": (5, b"Failed to allocate the requested 66048 bytes"),
    "io": (13, b"read failed"),
}
DDB = {
    b"adapterType": b"lsilogic",
    b"uuid": b"60 00 C2 9f 1b 2c 3d 4e-5f 60 71 82 93 a4 b5 c6",
    b"geometry.cylinders": b"2088",
}


class Options:
    """What can be set.  Faults that hit an operation are "KIND FIRST TIMES":
    the FIRST-th (from 1) operation on data, and TIMES - 1 after it."""

    def __init__(self):
        self.delay = 0.0  # seconds before an answer goes out
        self.order = "straight"  # fragments: straight, reversed, mixed
        self.fragment = 0  # bytes of each; 0: as the client asks
        self.split = 0  # bytes a segment; 0: no matter
        self.pack = "asked"  # or plain, or labelled (plain called skipz)
        self.sha256 = 1
        self.nfcssl = 1
        self.ssl = 1
        self.version = 11
        self.early36 = 0
        self.greeting = ""  # another greeting
        self.authd = ""  # a line that answers PROXY
        self.digest = ""  # another answer to THUMBPRINT_SHA2
        self.tag = ""  # close, or complete: what a host does that knows none
        self.handshake = ""  # error: a classic error instead of a version;
        #                      newer: unless it is the newer version
        self.mute = 0  # no greeting
        self.end = ""  # silent: no answer to the end of a session
        self.second_certificate = 0  # within the second TLS
        self.session = ""  # refuse: sizes of buffers
        self.open = ""  # KIND TIMES of TEXTS
        self.capacity = 0  # another answer to OPEN_FILE
        self.io = ""  # KIND FIRST TIMES
        self.cut = -1  # close after so many bytes of a connection
        self.cuts = 1 << 30  # for so many connections
        self.bitmap = ""  # refuse, unpadded, count
        self.lock = 1  # a writer keeps others out
        self.memory = 0  # refuse operations longer than that
        self.refuse = 0  # that many connections: closed at once


class Closed(Exception):
    pass


class State:
    def __init__(self, path):
        self.disk = open(path, "r+b")
        self.fd = self.disk.fileno()
        self.size = os.fstat(self.fd).st_size
        self.lock = threading.RLock()
        self.options = Options()
        self.reset()
        self.used = set()
        self.writers = self.readers = 0

    def reset(self):
        self.stats = dict(
            connections=0, opens=0, reads=0, writes=0, queries=0, closes=0,
            complete=0, outstanding=0, most_outstanding=0, operations=0,
            read_bytes=0, kinds={}, errors=[], most_requests=0, requests=0,
            tags=0, spent=0)

    def count(self, name, n=1):
        with self.lock:
            self.stats[name] += n

    def allocated(self, chunk, start, count):
        bits = bytearray((count + 7) // 8)
        for i in range(count):
            data = os.pread(self.fd, chunk, start + i * chunk)
            if data.count(0) != len(data):
                bits[i // 8] |= 1 << (i % 8)
        return bytes(bits)


# --------------------------------------------------------------------------
# Packing.

def skipz(data):
    out = [struct.pack("<II", len(data), 0)]
    at, n = 0, len(data)
    while at < n:
        if data[at] == 0:
            rest = data[at:at + 512]
            at += len(rest) - len(rest.lstrip(b"\0")) or 1
            continue
        end = data.find(bytes(8), at)
        end = n if end < 0 else end
        out.append(struct.pack("<II", at, end - at) + data[at:end])
        at = end
    return b"".join(out)


def unskipz(extra, length):
    out = bytearray(length)
    assert struct.unpack_from("<I", extra)[0] == length
    at = 8
    while at < len(extra):
        start, n = struct.unpack_from("<II", extra, at)
        assert start + n <= length and at + 8 + n <= len(extra)
        out[start:start + n] = extra[at + 8:at + 8 + n]
        at += 8 + n
    return bytes(out)


def unfastlz(data, length):
    out = bytearray()
    level2 = data[0] >> 5 == 1
    at, first = 0, True
    while at < len(data):
        b = data[at]
        at += 1
        t, lo = (0 if first else b >> 5), b & 31
        first = False
        if t == 0:
            out += data[at:at + lo + 1]
            at += lo + 1
            continue
        n = t + 2
        if t == 7:
            while True:
                n += data[at]
                at += 1
                if not level2 or data[at - 1] != 255:
                    break
        r = lo * 256 + data[at]
        at += 1
        if level2 and r == 8191:
            r += data[at] * 256 + data[at + 1]
            at += 2
        for _ in range(n):
            out.append(out[-1 - r])
    assert len(out) == length
    return bytes(out)


def fastlz(data):
    """Literals only: enough to be a block."""
    out = bytearray()
    for at in range(0, len(data), 32):
        piece = data[at:at + 32]
        out.append(len(piece) - 1)
        out += piece
    if len(data) >= 65536:
        out[0] |= 1 << 5
    return bytes(out)


def pack(kind, data):
    """-> kind, extra"""
    packed = {1: lambda d: zlib.compress(d, 1), 2: fastlz, 3: skipz}.get(kind)
    extra = packed(data) if packed else data
    # fastlz here only grows; send it all the same where it is legal
    if len(extra) >= len(data) and not (kind == 2 and len(data) >= 4096):
        return 0, data
    return kind, extra


def unpack(kind, extra, length):
    if kind == 0:
        assert len(extra) == length
        return extra
    if kind == 1:
        data = zlib.decompress(extra)
        assert len(data) == length
        return data
    return (unfastlz if kind == 2 else unskipz)(extra, length)


# --------------------------------------------------------------------------
# A connection: clear or within TLS, and back.

class Channel:
    def __init__(self, sock, options):
        self.sock = sock
        self.lock = threading.Lock()
        self.tls = None
        self.left = options.cut if options.cut >= 0 else None
        self.options = options

    def start_tls(self, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.pump()
        self.push()
        self.tls = tls

    def push(self):
        data = self.outgoing.read()
        if data:
            self.sock.sendall(data)

    def pump(self):
        self.push()
        data = self.sock.recv(65536)
        if not data:
            raise Closed()
        self.incoming.write(data)

    def abandon_tls(self):
        assert self.tls.pending() == 0 and self.incoming.pending == 0
        self.tls = None

    def read_some(self, most):
        if not self.tls:
            data = self.sock.recv(most)
            if not data:
                raise Closed()
            return data
        while True:
            with self.lock:
                try:
                    data = self.tls.read(most)
                    if not data:
                        raise Closed()
                    return data
                except ssl.SSLWantReadError:
                    pass
            data = self.sock.recv(262144)
            if not data:
                raise Closed()
            with self.lock:
                self.incoming.write(data)

    def read(self, count):
        parts = []
        while count > 0:
            data = self.read_some(min(count, 262144))
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def line(self):
        line = b""
        while not line.endswith(b"\n"):
            line += self.read(1)
        return line.decode().rstrip("\r\n")

    def write(self, data):
        cut = self.left is not None and len(data) > self.left
        if cut:
            data = data[:self.left]
        if self.left is not None:
            self.left -= len(data)
        step = self.options.split or len(data) or 1
        for at in range(0, len(data), step):
            self.write_whole(data[at:at + step])
        if cut:
            self.close()
            raise Closed()

    def write_whole(self, data):
        if not self.tls:
            self.sock.sendall(data)
            return
        with self.lock:
            self.tls.write(data)
            self.push()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def header(kind, payload, op):
    return struct.pack("<IIII", MAGIC, kind, len(payload), op) + payload


def classic(kind, *words):
    return struct.pack("<I%dI" % len(words), kind, *words).ljust(264, b"\0")


class Host:
    """One connection, from the greeting to the end."""

    def __init__(self, server, sock):
        self.server, self.state = server, server.state
        self.options = self.state.options
        with self.state.lock:
            if self.options.cut >= 0:
                self.options.cuts -= 1
                if self.options.cuts < 0:
                    self.options.cut = -1
        self.channel = Channel(sock, self.options)
        self.queue, self.wake = [], threading.Condition()
        self.sequence = 0
        self.ended = self.muted = False
        self.opened = self.writable = False
        self.partial = {}

    def run(self):
        try:
            self.greet()
            self.shake()
            threading.Thread(target=self.sender, daemon=True).start()
            while self.frame():
                pass
        except (Closed, OSError, ssl.SSLError):
            pass
        except Exception as error:  # a client's mistake: the test looks
            with self.state.lock:
                self.state.stats["errors"].append(repr(error))
            raise
        finally:
            with self.wake:
                self.ended = True
                self.wake.notify()
            self.release()
            self.channel.close()
            self.channel.sock.close()

    def release(self):
        with self.state.lock:
            if self.opened:
                self.opened = False
                if self.writable:
                    self.state.writers -= 1
                else:
                    self.state.readers -= 1

    # The daemon.

    def say(self, line):
        self.channel.write(line.encode() + b"\r\n")

    def greet(self):
        o = self.options
        if o.mute:
            self.channel.read(1)
        items = (["SSL Required"] if o.ssl else []) + \
            ["ServerDaemonProtocol:SOAP", "MKSDisplayProtocol:VNC ",
             "VMXARGS supported"] + \
            (["NFCSSL supported/t"] if o.nfcssl else []) + \
            (["SHA256 supported"] if o.sha256 else [])
        self.say(o.greeting or "220 VMware Authentication Daemon Version "
                 "1.10: " + ", ".join(items))
        self.channel.start_tls(self.server.contexts[0])
        while not self.command(self.channel.line()):
            pass

    def command(self, line):
        o = self.options
        verb, _, argument = line.partition(" ")
        if verb == "SESSION":
            self.ticket = argument
        elif verb == "BANNER":
            assert line == "BANNER "
            self.say("220 welcome")
        elif verb == "THUMBPRINT_SHA2" and o.sha256:
            self.tag = argument
            if len(argument) != 16:
                self.say("501 Invalid arguments")
            else:
                self.say("200 " + (o.digest or self.server.digests[0]))
        elif verb == "PROXY":
            return self.proxy(argument)
        else:
            self.say("530 Please login with USER and PASS")
        return False

    def proxy(self, service):
        with self.state.lock:
            spent = self.ticket in self.state.used
            self.state.used.add(self.ticket)
        if spent or not self.ticket.startswith("ticket-"):
            self.state.count("spent")
            self.say("530 Please login with USER and PASS")
            raise Closed()
        secure = service.endswith("ssl")
        if self.options.authd:
            self.say(self.options.authd.replace("{ticket}", self.ticket))
        else:
            self.say("200 Connect ha-nfc" + ("ssl" if secure else ""))
        self.channel.abandon_tls()
        if secure:
            self.channel.start_tls(
                self.server.contexts[1 if self.options.second_certificate
                                     else 0])
        return True

    # The handshake.

    def message(self):
        data = self.channel.read(264)
        return struct.unpack_from("<I", data)[0], data

    def shake(self):
        o = self.options
        kind, data = self.message()
        if kind == 43:
            self.state.count("tags")
            if o.tag == "close":
                raise Closed()
            if o.tag == "complete":
                self.channel.write(classic(4))
                raise Closed()
            assert data[4:].rstrip(b"\0").decode() == self.tag
            kind, data = self.message()
        assert kind == 33, kind
        if o.early36:
            self.channel.write(classic(36, 0, 0, 0, 1))
        kind, data = self.message()
        assert kind == 51, kind
        if o.handshake == "error" or (o.handshake == "newer"
                                      and data[4:12] != b"\x0c\0\0\0\1\0\0\0"):
            text = b"Failed to allocate.\0"
            self.channel.write(classic(20, 1, 5, len(text)) + text)
            raise Closed()
        if not o.early36:
            self.channel.write(classic(36, 0, 0, 0, 1))
        self.channel.write(classic(51, o.version))
        kind, data = self.message()
        assert kind == 54, kind
        names = struct.unpack_from("<II", data, 4)
        assert self.channel.read(sum(names)).endswith(b"nbdmode")
        kind, data = self.message()
        assert kind == 55 and data[4] == 3
        kind, data = self.message()
        assert kind == 52, kind
        self.channel.write(classic(52))

    # Frames.

    def sender(self):
        """Sends what is due, in the order that was chosen."""
        try:
            while True:
                with self.wake:
                    while not self.queue and not self.ended:
                        self.wake.wait()
                    if self.ended:
                        return
                    now = time.monotonic()
                    if self.queue[0][0] > now:
                        self.wake.wait(self.queue[0][0] - now)
                        continue
                    due = []
                    while self.queue and self.queue[0][0] <= now:
                        due.append(heapq.heappop(self.queue))
                if self.options.order == "mixed":
                    random.shuffle(due)
                for _, _, data, size, then in due:
                    self.channel.write(data)
                    with self.state.lock:
                        self.state.stats["outstanding"] -= size
                    if then:
                        then()
        except (Closed, OSError, ssl.SSLError):
            self.channel.close()

    def send(self, data, size=0, then=None):
        with self.wake:
            if self.muted:
                return
            self.sequence += 1
            heapq.heappush(self.queue, (
                time.monotonic() + self.options.delay, self.sequence, data,
                size, then))
            self.wake.notify()

    def error(self, op, name):
        code, text = TEXTS[name]
        self.send(header(1, struct.pack("<QII", code, 0, len(text)), op)
                  + text)

    def frame(self):
        first = self.channel.read(4)
        if first == struct.pack("<I", 4):
            self.channel.read(260)
            self.state.count("complete")
            return False
        magic, kind, size, op = struct.unpack(
            "<IIII", first + self.channel.read(12))
        assert magic == MAGIC, hex(magic)
        payload = self.channel.read(size)
        handler = getattr(self, "do_%d" % kind)
        handler(op, payload)
        return True

    def do_2(self, op, payload):
        zero, size, count, _ = struct.unpack("<IIII", payload)
        self.buffer = size or 65536
        if self.options.session == "refuse" and size:
            self.error(op, "memory")
        self.send(header(2, bytes(16), op))

    def do_9(self, op, payload):
        assert payload == bytes(12)
        self.send(header(9, struct.pack("<III", 1675000, 1675000, 1), op))

    def do_22(self, op, payload):
        assert payload == struct.pack("<I", 1)
        self.send(header(22, payload, op))

    def refusal_of_open(self, writable):
        kind, _, times = self.options.open.partition(" ")
        if kind and int(times or 1 << 30) > 0:
            if times:
                self.options.open = "%s %d" % (kind, int(times) - 1)
            return kind
        if writable and not self.ticket.startswith("ticket-rw-"):
            return "permission"
        with self.state.lock:
            if self.options.lock and (
                    self.state.writers or (writable and self.state.readers)):
                return "lock"
        return None

    def do_4(self, op, payload):
        length, kind, flags = (struct.unpack_from("<I", payload, at)[0]
                               for at in (0, 16, 20))
        path = self.channel.read(length).decode()
        assert kind == 2 and flags in (0x1e, 0x1a) and len(payload) == 60
        writable = not flags & 4
        self.state.count("opens")
        refused = self.refusal_of_open(writable) or (
            None if path.startswith("[ds1] ") else "permission")
        if refused:
            self.error(op, refused)
            self.send(header(4, bytes(60), op))
            return
        self.opened, self.writable = True, writable
        with self.state.lock:
            if writable:
                self.state.writers += 1
            else:
                self.state.readers += 1
        self.handle = 0x1234DEADBEEF
        answer = struct.pack("<QQIIIQIIIIQ", 0, self.handle, 2, flags, 0,
                             int(self.options.capacity) or self.state.size,
                             512, 2088, 255, 63, 0)
        self.send(header(4, answer, op))

    def do_11(self, op, payload):
        handle, length, zero = struct.unpack("<QII", payload)
        assert handle == self.handle and zero == 0
        value = DDB.get(self.channel.read(length), b"")
        self.send(header(11, struct.pack("<QII", 0, 0, len(value)), op)
                  + value)

    def do_13(self, op, payload):
        handle, zero, chunk, start, count, zero2 = struct.unpack(
            "<QQQQQQ", payload)
        assert handle == self.handle and chunk == 65536
        self.state.count("queries")
        if (self.options.bitmap == "refuse" or start % chunk
                or start + count * chunk > self.state.size):
            self.error(op, "io")
            return
        bits = self.state.allocated(chunk, start, count)
        if self.options.bitmap != "unpadded":
            bits += bytes(-len(bits) % 4)
        if self.options.bitmap == "count":
            count += 1
        self.send(header(13, struct.pack("<QQQQQQ", 0, 0, 0, 0, count, 0), op)
                  + bits)

    def do_5(self, op, payload):
        assert struct.unpack("<Q", payload[:8])[0] == self.handle
        self.state.count("closes")
        self.release()
        self.send(header(5, payload, op))

    def do_3(self, op, payload):
        if self.options.end == "silent":
            return
        self.send(header(3, payload, op))

    # Reading and writing.

    def fault(self):
        """The fault that hits this operation, or None."""
        with self.state.lock:
            self.state.stats["operations"] += 1
            kind, _, rest = self.options.io.partition(" ")
            if not kind:
                return None
            first, times = ([int(n) for n in rest.split()] + [1, 1])[:2]
            n = self.state.stats["operations"]
            return kind if first <= n < first + times else None

    def do_7(self, op, payload):
        (status, reading, kind, offset, total, start, length,
         extra) = struct.unpack_from("<QIIQIIII", payload)
        assert status == self.handle and len(payload) == 44
        assert offset % 512 == 0 and total % 512 == 0 and total <= 1 << 20
        assert offset + total <= self.state.size
        if reading:
            assert start == 0 and length == extra == total
            self.read_data(op, kind, offset, total)
        else:
            assert start + length <= total and 0 < length <= self.buffer
            self.write_data(op, kind, offset, total, start, length,
                            self.channel.read(extra))

    def fragment(self, number, pack_as, at, whole, begin, data, **wrong):
        if pack_as and self.options.pack == "labelled":
            kind, extra = pack_as, data
        elif self.options.pack == "plain":
            kind, extra = 0, data
        else:
            kind, extra = pack(pack_as, data)
        extra = wrong.get("sent", extra)
        payload = struct.pack(
            "<QIIQIIIII", wrong.get("status", 0), wrong.get("reading", 1),
            wrong.get("kind", kind), wrong.get("offset", at),
            wrong.get("total", whole), wrong.get("start", begin),
            wrong.get("length", len(data)), wrong.get("extra", len(extra)), 0)
        payload += wrong.get("more", b"")
        with self.state.lock:
            kinds = self.state.stats["kinds"]
            kinds[str(kind)] = kinds.get(str(kind), 0) + 1
        return header(wrong.get("type", 7), payload,
                      number) + extra

    def read_data(self, op, kind, offset, total):
        s = self.state
        with s.lock:
            s.stats["reads"] += 1
            s.stats["read_bytes"] += total
            s.stats["outstanding"] += total
            s.stats["most_outstanding"] = max(s.stats["most_outstanding"],
                                              s.stats["outstanding"])
        fault = self.fault()
        if self.options.memory and total > self.options.memory:
            fault = "memory"
        frames = []
        step = self.options.fragment or self.buffer
        for start in range(0, total, step):
            data = os.pread(s.fd, min(step, total - start), offset + start)
            frames.append((start, data))
        if self.options.order != "straight":
            frames.reverse()
        if fault:
            self.spoil(fault, op, kind, offset, total, frames)
            with s.lock:
                s.stats["outstanding"] -= total
            return
        for start, data in frames:
            self.send(self.fragment(op, kind, offset, total, start, data),
                      len(data))

    def spoil(self, fault, op, kind, offset, total, frames):
        """An answer with something wrong in it."""
        start, data = frames[-1]
        good = [self.fragment(op, kind, offset, total, *f) for f in frames]

        def wrong(**what):
            return self.fragment(op, 0, offset, total, start, data, **what)

        close = self.channel.close
        if fault == "drop":
            whole = b"".join(good)
            self.send(whole[:len(whole) // 2], 0, close)
        elif fault in TEXTS:
            self.error(op, fault)
        elif fault == "io-reply":
            self.error(op, "io")
            self.send(header(7, bytes(44), op))
        elif fault == "io-late":
            self.send(good[0])
            self.error(op, "io")
        elif fault == "status":
            self.send(wrong(status=13, sent=b""))
        elif fault == "garbage":
            self.send(random.Random(5).randbytes(4096))
        elif fault == "magic":
            self.send(b"\0" * 64)
        elif fault == "huge-size":
            self.send(struct.pack("<IIII", MAGIC, 7, 0xffffffff, op))
        elif fault == "huge-extra":
            self.send(wrong(extra=0xffffffff))
        elif fault == "huge-length":
            self.send(wrong(length=0xffffffff, extra=0xffffffff))
        elif fault == "huge-text":
            self.send(header(1, struct.pack("<QII", 13, 0, 0xffffffff), op))
        elif fault == "short":
            self.send(header(7, bytes(20), op))
        elif fault == "overlap":
            self.send(good[-1])
            self.send(good[-1])
        elif fault == "offset":
            self.send(wrong(offset=offset + 512))
        elif fault == "total":
            self.send(wrong(total=total + 512))
        elif fault == "start":
            self.send(wrong(start=total))
        elif fault == "unaligned":
            self.send(wrong(start=start + 1))
        elif fault == "empty":
            self.send(wrong(length=0, extra=0, sent=b""))
        elif fault == "type":
            self.send(header(5, bytes(8), op))
        elif fault == "direction":
            self.send(wrong(reading=0, sent=b""))
        elif fault == "kind":
            self.send(wrong(kind=9))
        elif fault == "unpack":
            self.send(wrong(kind=1, sent=b"x" * 100))
        elif fault == "stall":
            pass
        elif fault == "loris":
            # a byte now and then, and nothing else any more
            with self.wake:
                self.muted = True
                for at, byte in enumerate(b"".join(good)[:2000]):
                    self.sequence += 1
                    heapq.heappush(self.queue, (
                        time.monotonic() + at * 0.05, self.sequence,
                        bytes([byte]), 0, None))
                self.wake.notify()
        else:
            # harmless, and the answer follows
            if fault == "long":
                good = [self.fragment(op, kind, offset, total, *f,
                                      more=b"more") for f in frames]
            elif fault == "strange-type":
                self.send(header(77, b"maintenance", 5))
            elif fault == "strange-number":
                self.send(header(5, bytes(8), op + 100))
            elif fault == "twice":
                good.append(good[0])
            elif fault == "flood":
                for i in range(1000):
                    self.send(header(77, b"x" * 1000, i))
            else:
                raise AssertionError(fault)
            for data in good:
                self.send(data)

    def write_data(self, op, kind, offset, total, start, length, extra):
        assert self.writable
        data = unpack(kind, extra, length)
        parts = self.partial.setdefault(op, [])
        assert start == sum(len(p) for p in parts)
        parts.append(data)
        with self.state.lock:
            kinds = self.state.stats["kinds"]
            name = "w%d" % kind
            kinds[name] = kinds.get(name, 0) + 1
        if start + length < total:
            return
        data = b"".join(self.partial.pop(op))
        assert len(data) == total
        self.state.count("writes")
        fault = self.fault()
        if self.options.memory and total > self.options.memory:
            fault = "memory"
        if fault == "drop":
            self.channel.close()
            raise Closed()
        if fault in TEXTS:
            self.error(op, fault)
            return
        if fault == "half":
            os.pwrite(self.state.fd, data[:total // 2], offset)
            self.channel.close()
            raise Closed()
        os.pwrite(self.state.fd, data, offset)
        if fault == "unanswered":
            self.channel.close()
            raise Closed()
        if fault == "stall":
            return
        if fault == "offset":
            offset += 512
        self.send(header(7, struct.pack(
            "<QIIQIIIII", 0, 0, 0, offset, total, 0, total, total, 0), op))


class Server:
    def __init__(self, path, port=0):
        self.state = State(path)
        self.contexts, self.digests, self.sha1 = [], [], []
        with tempfile.TemporaryDirectory() as folder:
            for name in "first", "second":
                self.certificate(folder, name)
        self.socket = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = self.socket.getsockname()[1]

    def certificate(self, folder, name):
        key, cert = (os.path.join(folder, name + s) for s in (".key", ".pem"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
             cert, "-days", "2", "-subj", "/CN=%s.example" % name],
            check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.contexts.append(context)
        for digest, to in ("-sha256", self.digests), ("-sha1", self.sha1):
            text = subprocess.run(
                ["openssl", "x509", "-in", cert, "-noout", "-fingerprint",
                 digest], check=True, capture_output=True, text=True).stdout
            to.append(text.strip().partition("=")[2])

    def serve(self):
        while True:
            sock, _ = self.socket.accept()
            self.state.count("connections")
            with self.state.lock:
                if self.state.options.refuse > 0:
                    self.state.options.refuse -= 1
                    sock.close()
                    continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Host(self, sock).run,
                             daemon=True).start()

    def obey(self, line):
        words = line.rstrip("\n").split(" ", 2)
        if words[0] == "set":
            old = getattr(Options(), words[1])
            value = words[2] if len(words) > 2 else ""
            setattr(self.state.options, words[1], type(old)(value))
            return "ok"
        if words[0] == "clear":
            # connections that stand keep the object
            self.state.options.__init__()
            with self.state.lock:
                self.state.reset()
            return "ok"
        if words[0] == "stats":
            with self.state.lock:
                return json.dumps(self.state.stats)
        return "what?"


def main():
    server = Server(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    threading.Thread(target=server.serve, daemon=True).start()
    print("port", server.port, "sha1", server.sha1[0], "sha256",
          server.digests[0], flush=True)
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        print(server.obey(line), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
