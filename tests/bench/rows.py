# SPDX-License-Identifier: BSD-3-Clause

"""What is measured: the images and the rows."""

import contextlib
import os
import shutil

import converting
import images
import writing

GIB = 1 << 30
TIB = 1 << 40


class Sizes:
    def __init__(self, size, quick):
        """SIZE is the random disk's; the others follow from it."""
        self.random = size
        self.main = max(size // 4, 64 << 20)
        self.stream = max(size // 8, 32 << 20)
        self.write = max(size // 16, 32 << 20)
        self.scattered = 128 * GIB if quick else 2 * TIB
        self.empty = 2 * TIB if quick else 62 * TIB

    def need(self):
        """The most that is in use at a time."""
        return max(2 * self.random, 6 * self.main + self.stream)


def text_size(n):
    for unit, name in (TIB, "T"), (GIB, "G"), (1 << 20, "M"):
        if n % unit == 0:
            return "%d%s" % (n // unit, name)
    return str(n)


class Images:
    """Makes an image when a row first asks for it and removes it when no row
    is left that wants it.  Each has its folder, which gets its final name
    only once the image is complete, so that a kept one can be trusted.
    """

    def __init__(self, folder, seed, sizes, keep):
        self.folder, self.seed, self.keep = folder, seed, keep
        s, i = sizes, images
        self.recipes = {}
        self.add("raw", s.main, self.raw)
        self.add("flat", s.main, self.flat)
        self.add("sparse", s.main, self.from_raw(i.make_sparse, "raw"))
        self.add("split", s.main, self.from_raw(i.make_split, "raw"))
        for depth in 2, 8, 32:
            self.add("chain%d" % depth, s.main, self.from_raw(
                i.make_chain, "raw", depth, seed))
        self.add("stream", s.stream, self.from_raw(i.make_stream, "raw"))
        self.add("big-raw", s.random, self.raw)
        self.add("big-sparse", s.random, self.from_raw(
            i.make_sparse, "big-raw"))
        self.add("scattered", s.scattered, lambda path, size:
                 i.make_scattered(path, size, 256 << 20))
        self.add("fragmented", s.scattered, lambda path, size:
                 i.make_scattered(path, size, 4 << 20))
        self.add("empty-tables", s.empty,
                 lambda path, size: i.make_empty(path, size, True))
        self.add("empty-none", s.empty,
                 lambda path, size: i.make_empty(path, size, False))
        self.add("empty-sesparse", s.empty, i.make_empty_sesparse)

    def add(self, name, size, make):
        self.recipes[name] = size, make

    def raw(self, path, size):
        images.write_raw(path, size, self.seed)

    def flat(self, path, size):
        """Its extent is the raw disk itself, under a second name."""
        data = path[:-5] + "-flat.vmdk"
        os.link(self.get("raw"), data)
        images.make_flat(path, data, size)

    def from_raw(self, make, raw, *more):
        return lambda path, size: make(path, self.get(raw), size, *more)

    def size(self, name):
        return self.recipes[name][0]

    def place(self, name):
        return os.path.join(self.folder, "%s-%s-%d" % (
            name, text_size(self.size(name)), self.seed))

    def get(self, name):
        size, make = self.recipes[name]
        place = self.place(name)
        suffix = ".raw" if name.endswith("raw") else ".vmdk"
        if not os.path.isdir(place):
            shutil.rmtree(place + ".part", ignore_errors=True)
            os.mkdir(place + ".part")
            make(os.path.join(place + ".part", name + suffix), size)
            os.rename(place + ".part", place)
        return os.path.join(place, name + suffix)

    def files(self, name):
        self.get(name)
        place = self.place(name)
        return [os.path.join(place, f) for f in sorted(os.listdir(place))]

    def drop_all_but(self, names):
        if self.keep:
            return
        for name in self.recipes:
            if name not in names:
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(self.place(name))


class Row:
    """UNIT is MiB/s or IOPS (of a load) or s (of a map).  INFLATE, if it is
    not None, has bench-inflate run too, with these arguments.
    """

    def __init__(self, name, vmdk, raw, unit, load=(), inflate=None):
        self.name, self.vmdk, self.raw = name, vmdk, raw
        self.unit, self.load, self.inflate = unit, list(load), inflate

    @property
    def images(self):
        return [i for i in (self.vmdk, self.raw) if i]


def sequential(name, image, connections, inflate=None):
    return Row(name, image, "raw", "MiB/s", [
        "-c", connections, "-d", 16, "-r", 256 << 10], inflate)


def at_random(name, image, raw, connections, depth, inflate=None):
    return Row(name, image, raw, "IOPS", [
        "-R", "-c", connections, "-d", depth, "-r", 4096], inflate)


def all_rows(sizes):
    rows = [sequential("seq %s %dc" % (image, c), image, c)
            for image in ("sparse", "split", "flat") for c in (1, 4)]
    for depth in 1, 2, 8, 32:
        image = "chain%d" % depth if depth > 1 else "sparse"
        rows.append(at_random("chain of %d, rand 4k qd32 4c" % depth, image,
                              "raw", 4, 32))
    rows += [sequential("stream seq %dc" % c, "stream", c, [])
             for c in (1, 4)]
    rows.append(at_random("stream rand 4k qd32 4c", "stream", "raw", 4, 32,
                          ["--random"]))
    rows.append(at_random("rand 4k qd1 1c", "big-sparse", "big-raw", 1, 1))
    rows.append(at_random("rand 4k qd32 4c", "big-sparse", "big-raw", 4, 32))
    for image in "scattered", "fragmented":
        rows.append(Row("map %s %s" % (text_size(sizes.scattered), image),
                        image, None, "s"))
    for kind, words in (("tables", "empty"), ("none", "empty, no tables"),
                        ("sesparse", "empty seSparse")):
        rows.append(Row("map %s %s" % (text_size(sizes.empty), words),
                        "empty-" + kind, None, "s"))
    return rows + writing.all_rows() + converting.all_rows()
