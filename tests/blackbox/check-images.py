#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""check-images.py FOLDER: serve every image that FOLDER/EXPECT.tsv lists,
one server each as a user would, and compare what comes out with what is
expected.  Prints the failures and a count; ends with 1 if there were any.
"""

import concurrent.futures
import hashlib
import os
import stat
import sys
import traceback

import nbd

from served import (MAX_SECONDS, Server, Wrong, block_status, check_map, rows,
                    sha256, shell_line)

MAX_LINE = 1200


def messages(text):
    """The lines that are errors and those that are warnings; all must be
    short and printable."""
    errors, warnings = [], []
    for line in text.split(b"\n")[:-1]:
        if len(line) > MAX_LINE:
            raise Wrong("a message of %d bytes" % len(line))
        if any(byte < 0x20 or byte == 0x7f for byte in line):
            raise Wrong("control bytes in a message: %r" % line)
        (warnings if b"warning: " in line else errors).append(line)
    return errors, warnings


def expect_words(row, lines):
    if not any(all(word.encode() in line for word in row.words)
               for line in lines):
        raise Wrong("no message with %r in %r" % (row.words, lines))


def check_refused(row, server):
    if server.ready:
        raise Wrong("served, but must be refused")
    errors, _ = messages(server.said())
    if server.status != 1:
        raise Wrong("exit status %s" % server.status)
    if len(errors) != 1:
        raise Wrong("not one message but %r" % errors)
    expect_words(row, errors)


def expect_eio(client, offset, count):
    try:
        client.pread(count, offset)
    except nbd.Error as error:
        if error.errno != "EIO":
            raise Wrong("reading %d+%d gives %s, not EIO"
                        % (offset, count, error.errno)) from None
        return
    raise Wrong("%d+%d is served, but must be EIO" % (offset, count))


def read_around(client, unreadable):
    """Everything but the ranges; they must fail, also in part and together
    with a readable neighbour."""
    size = client.get_size()
    data, at = bytearray(size), 0
    for start, count in sorted(unreadable) + [(size, 0)]:
        while at < start:
            piece = min(start - at, 1 << 20)
            data[at:at + piece] = client.pread(piece, at)
            at += piece
        if count:
            expect_eio(client, start, count)
            expect_eio(client, start + count - 512, 512)
            if start >= 512:
                expect_eio(client, start - 512, count + 512)
            at = start + count
    return bytes(data)


def check_served(row, server):
    if not server.ready:
        raise Wrong("refused: %r" % server.said())
    client = server.connect()
    if client.get_size() != row.size:
        raise Wrong("%d bytes, not %d" % (client.get_size(), row.size))
    if row.sha256 == "-":
        return
    data = read_around(client, row.eio) if row.eio else server.copy()
    if sha256(data) != row.sha256:
        raise Wrong("WRONG CONTENTS")
    check_map(block_status(client), data, row.absent, row.eio)
    client.shutdown()


def check_said(row, server):
    errors, warnings = messages(server.said())
    if row.kind == "good" and errors + warnings:
        raise Wrong("nothing need be said: %r" % (errors + warnings))
    if row.kind != "good":
        expect_words(row, errors + warnings)


def check(row):
    with Server(row.path, *row.params, clients=2) as server:  # and nbdcopy
        if row.kind == "reject":
            check_refused(row, server)
        else:
            check_served(row, server)
            if server.stop() != 0:
                raise Wrong("exit status %d: %r"
                            % (server.status, server.said()))
            check_said(row, server)
        server.stop()
        if server.seconds > MAX_SECONDS:
            raise Wrong("%.1f seconds to open" % server.seconds)


def failure(row):
    try:
        check(row)
        return None
    except Wrong as wrong:
        return str(wrong)
    except Exception:  # pylint: disable=broad-except
        return traceback.format_exc()


def snapshot(root):
    """Everything about every file that a reader must not change."""
    seen = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            digest = None
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    digest = hashlib.sha1(file.read()).digest()
            seen[path] = (info.st_mode, info.st_size, info.st_mtime_ns,
                          info.st_ctime_ns, info.st_nlink, digest)
    return seen


def main(root):
    table, before, failed = rows(root), snapshot(root), 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for row, wrong in zip(table, pool.map(failure, table)):
            if wrong:
                failed += 1
                print("%s: %s: %s\n  %s" % (row.kind, row, wrong,
                                            shell_line(row)), flush=True)
    after = snapshot(root)
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            failed += 1
            print("%s: was changed, made or removed" % path)
    print("%d images, %d failed" % (len(table), failed))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
