# SPDX-License-Identifier: BSD-3-Clause
"""Cases: named folders of files, and what a reader must make of them.

A case is a function that puts files and says once, or once for each way of
opening them, what is expected.  They are registered by name, so that a test
can make only the ones it needs.

EXPECT.tsv has one line for each expectation, with these columns:

  case, file  the image is CASE/FILE
  class       good:   served, nothing is said
              warn:   served, with a message that holds the words
              eio:    served, but for the ranges in eio
              reject: refused, with one line that holds the words
  size        bytes, or -
  sha256      of the contents, the ranges in eio being zeroed; or -
  eio         OFFSET+LENGTH,... where reading must fail; or -
  absent      ranges that no link holds: block status must say hole and zero
  words       what the message must hold, several separated by " & "; or -
  params      more parameters for the plugin, @ being the case's folder; or -
"""

import fnmatch
import functools
import hashlib
import os
import random
import shutil
import zlib

from vmdkgen import ABSENT

COLUMNS = "case file class size sha256 eio absent words params".split()
CASES = {}


def case(name, *values):
    """Register a function as a case, or as one for each of VALUES, which it
    is then given; the name is made with %."""
    def register(function):
        for value in values or (None,):
            full = name if value is None else name % value
            assert full not in CASES, full
            CASES[full] = (function if value is None
                           else functools.partial(function, value=value))
        return function
    return register


def ranges(pairs):
    return ",".join("%d+%d" % pair for pair in pairs) or "-"


class Case:
    def __init__(self, name, root):
        self.name, self.folder, self.rows = name, os.path.join(root, name), []
        self.rng = random.Random(zlib.crc32(name.encode()))
        os.makedirs(self.folder)

    def path(self, name):
        return os.path.join(os.fsencode(self.folder), os.fsencode(name))

    def put(self, name, data):
        """DATA: bytes, or an image with .bytes.  Zeros are left as holes."""
        data = memoryview(getattr(data, "bytes", data))
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        zeros, step = bytes(65536), 65536
        with open(path, "wb") as out:
            for at in range(0, len(data), step):
                piece = data[at:at + step]
                if piece != zeros[:len(piece)]:
                    out.seek(at)
                    out.write(piece)
            out.truncate(len(data))

    def _row(self, kind, file, layer=None, eio=(), words="-", params="-",
             absent=True):
        size = sha = holes = "-"
        if layer is not None:
            data = bytearray(layer.data)
            for offset, length in eio:
                data[offset:offset + length] = bytes(length)
            size = str(len(data))
            sha = hashlib.sha256(data).hexdigest()
            if absent:
                holes = ranges(layer.runs(ABSENT))
        self.rows.append((self.name, file, kind, size, sha, ranges(eio),
                          holes, words, params))

    def good(self, file, layer, params="-", absent=True):
        self._row("good", file, layer, params=params, absent=absent)

    def warn(self, file, layer, words, params="-", absent=True):
        self._row("warn", file, layer, words=words, params=params,
                  absent=absent)

    def eio(self, file, layer, bad, words="-", params="-", absent=True):
        """Ranges cover data; what the layer calls absent elsewhere is."""
        self._row("eio", file, layer, eio=bad, words=words, params=params,
                  absent=absent)

    def size_only(self, file, size, params="-"):
        """Too large to be read whole."""
        self.rows.append((self.name, file, "good", str(size), "-", "-", "-",
                          "-", params))

    def reject(self, file, words, params="-"):
        self._row("reject", file, words=words, params=params)


def make(root, patterns):
    """Write the cases whose names match one of PATTERNS, and EXPECT.tsv."""
    rows = []
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    for name, function in CASES.items():
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            made = Case(name, root)
            function(made)
            rows += made.rows
    assert rows, "no such case"
    with open(os.path.join(root, "EXPECT.tsv"), "w",
              encoding="utf-8") as out:
        for row in [COLUMNS] + rows:
            out.write("\t".join(row) + "\n")
