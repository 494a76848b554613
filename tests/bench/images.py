# SPDX-License-Identifier: BSD-3-Clause

"""The benchmark's disks.

They are written here and not by qemu-img, because they must be made fast, at
sizes of GiB, and some of them (scattered chains, 62 TiB of empty tables) no
tool makes.  Nothing of the code under test is used.

Every disk holds the same kind of data: a pattern of 64 MiB that mixes text,
random bytes and zeros grain by grain, repeated, with a different number at
the start of every 4 KiB.  So no two blocks of a disk are alike, every block
is allocated, and a read from a wrong place shows.
"""

import array
import concurrent.futures
import os
import random
import struct
import zlib

SECTOR = 512
GRAIN = 65536
GRAIN_SECTORS = GRAIN // SECTOR
ENTRIES = 512                       # of a grain table
TABLE_SECTORS = ENTRIES * 4 // SECTOR
COVERAGE = ENTRIES * GRAIN          # bytes that a grain table maps
PIECE = 64 << 20
STAMP = 4096
DESCRIPTOR_SECTORS = 20
SPLIT_SECTORS = 4192256             # VMware's longest split extent
GD_AT_END = 0xffffffffffffffff

WORDS = ("the of and a to in is was he for it with as his on be at by had not "
         "are but from or have an they which one you were all her she there "
         "would their we him been has when who will no more if out so said "
         "what up its about into than them can only other time new some could "
         "these two may first then do any like my now over such our man me "
         "even most made after also well did many before must years").split()


def round_up(n, to):
    return (n + to - 1) // to * to


def pattern(seed):
    """64 MiB: of 16 grains 7 are text, 5 random, 2 half of each, 2 zeros."""
    rng = random.Random(seed)
    text = " ".join(rng.choices(WORDS, k=900000)).encode()
    kinds = "tttttttrrrrrhhzz"
    out = bytearray()
    for _ in range(PIECE // GRAIN):
        kind = rng.choice(kinds)
        at = rng.randrange(len(text) - GRAIN)
        if kind == "t":
            out += text[at:at + GRAIN]
        elif kind == "r":
            out += rng.randbytes(GRAIN)
        elif kind == "h":
            out += text[at:at + GRAIN // 2] + rng.randbytes(GRAIN // 2)
        else:
            out += bytes(GRAIN)
    return out


def write_raw(path, size, seed):
    data = pattern(seed)
    stamps = memoryview(data).cast("Q")[::STAMP // 8]
    with open(path, "wb") as f:
        for start in range(0, size, PIECE):
            first = start // STAMP
            stamps[:] = memoryview(array.array(
                "Q", range(first + 1, first + 1 + len(stamps))))
            f.write(memoryview(data)[:min(PIECE, size - start)])


def descriptor(create_type, extents, cid="5eed5eed", parent=None):
    """EXTENTS are whole lines, PARENT is (cid, hint)."""
    lines = ["# Disk DescriptorFile", "version=1", "CID=" + cid,
             "parentCID=" + (parent[0] if parent else "ffffffff"),
             'createType="%s"' % create_type]
    if parent:
        lines += ['parentFileNameHint="%s"' % parent[1]]
    lines += ["# Extent description"] + extents
    lines += ["", "# The Disk Data Base", "#DDB", "",
              'ddb.virtualHWVersion = "4"',
              'ddb.geometry.cylinders = "1024"',
              'ddb.geometry.heads = "255"',
              'ddb.geometry.sectors = "63"',
              'ddb.adapterType = "lsilogic"', ""]
    return "\n".join(lines).encode()


def header(version, flags, capacity, descriptor_sectors, rgd, gd, overhead,
           compressed=0):
    raw = struct.pack("<4sIIQQQQIQQQB4sH", b"KDMV", version, flags, capacity,
                      GRAIN_SECTORS, 1 if descriptor_sectors else 0,
                      descriptor_sectors, ENTRIES, rgd, gd, overhead, 0,
                      b"\n \r\n", compressed)
    return raw.ljust(SECTOR, b"\0")


class Layout:
    """Where things stand in a hosted sparse extent with all its tables."""

    def __init__(self, capacity, descriptor_sectors):
        self.capacity = capacity
        self.descriptor_sectors = descriptor_sectors
        self.tables = -(-capacity * SECTOR // COVERAGE)
        directory = -(-self.tables * 4 // SECTOR)
        self.rgd = 1 + descriptor_sectors
        self.rgt = self.rgd + directory
        self.gd = self.rgt + self.tables * TABLE_SECTORS
        self.gt = self.gd + directory
        self.overhead = round_up(self.gt + self.tables * TABLE_SECTORS,
                                 GRAIN_SECTORS)

    def write(self, f, text, directories=True):
        f.write(header(1, 3, self.capacity, self.descriptor_sectors, self.rgd,
                       self.gd, self.overhead))
        f.write(text)
        if directories:
            for gd, gt in (self.rgd, self.rgt), (self.gd, self.gt):
                f.seek(gd * SECTOR)
                f.write(array.array("I", range(
                    gt, gt + self.tables * TABLE_SECTORS, TABLE_SECTORS)))
        f.truncate(self.overhead * SECTOR)

    def write_tables(self, f, entries):
        """Pages of zeros stay holes, as they do in files that grew."""
        data, page = memoryview(entries).cast("B"), 4096
        for gt in self.rgt, self.gt:
            for at in range(0, len(data), page):
                if any(data[at:at + page]):
                    f.seek(gt * SECTOR + at)
                    f.write(data[at:at + page])

    def no_entries(self):
        return array.array("I", bytes(4)) * (self.tables * ENTRIES)


def copy_runs(raw, start, grains, out, at):
    """Append GRAINS (ascending) of RAW, counted from START, to OUT at AT."""
    i = 0
    while i < len(grains):
        n = 1
        while (i + n < len(grains) and n < 128 and
               grains[i + n] == grains[i] + n):
            n += 1
        data = os.pread(raw, n * GRAIN, start + grains[i] * GRAIN)
        data = data.ljust(n * GRAIN, b"\0")
        os.pwrite(out, data, at)
        at += n * GRAIN
        i += n


def write_sparse(path, raw_path, start, sectors, grains=None, text=None):
    """An extent for SECTORS of the raw disk from START (bytes).  GRAINS are
    the ones it holds, all by default.  TEXT is an embedded descriptor.
    """
    layout = Layout(sectors, DESCRIPTOR_SECTORS if text else 0)
    if grains is None:
        grains = range(-(-sectors // GRAIN_SECTORS))
    entries = layout.no_entries()
    sector = layout.overhead
    for g in grains:
        entries[g] = sector
        sector += GRAIN_SECTORS
    with open(path, "wb") as f, open(raw_path, "rb") as raw:
        layout.write(f, text or b"")
        layout.write_tables(f, entries)
        f.flush()
        copy_runs(raw.fileno(), start, grains, f.fileno(),
                  layout.overhead * SECTOR)


def sparse_line(sectors, name):
    return 'RW %d SPARSE "%s"' % (sectors, os.path.basename(name))


def make_flat(path, raw_path, size):
    with open(path, "wb") as f:
        f.write(descriptor("monolithicFlat", ['RW %d FLAT "%s" 0' % (
            size // SECTOR, os.path.basename(raw_path))]))


def make_sparse(path, raw_path, size):
    sectors = size // SECTOR
    write_sparse(path, raw_path, 0, sectors, text=descriptor(
        "monolithicSparse", [sparse_line(sectors, path)]))


def make_split(path, raw_path, size):
    """At least four extents, so that a small disk is split too."""
    most = min(SPLIT_SECTORS, round_up(size // SECTOR // 4, GRAIN_SECTORS))
    lines = []
    for i, at in enumerate(range(0, size // SECTOR, most)):
        name = "%s-s%03d.vmdk" % (path[:-5], i + 1)
        sectors = min(most, size // SECTOR - at)
        write_sparse(name, raw_path, at * SECTOR, sectors)
        lines.append(sparse_line(sectors, name))
    with open(path, "wb") as f:
        f.write(descriptor("twoGbMaxExtentSparse", lines))


def make_chain(path, raw_path, size, depth, seed):
    """Each grain is in one of DEPTH links, by chance.  PATH is the top."""
    rng = random.Random(seed * 1000 + depth)
    links = [[] for _ in range(depth)]
    for g in range(size // GRAIN):
        links[rng.randrange(depth)].append(g)
    parent = None
    for i in range(depth):
        name = path if i == depth - 1 else "%s-%06d.vmdk" % (path[:-5], i)
        cid = "%08x" % (0x10000000 + i)
        sectors = size // SECTOR
        write_sparse(name, raw_path, 0, sectors, links[i], descriptor(
            "monolithicSparse", [sparse_line(sectors, name)], cid, parent))
        parent = (cid, os.path.basename(name))


def marker(sectors, kind):
    return struct.pack("<QII", sectors, 0, kind).ljust(SECTOR, b"\0")


def packed_grains(raw, size, level):
    """Each grain of RAW as it stands in a stream, in order."""
    def pack(i):
        data = os.pread(raw, GRAIN, i * GRAIN).ljust(GRAIN, b"\0")
        z = zlib.compress(data, level)
        block = struct.pack("<QI", i * GRAIN_SECTORS, len(z)) + z
        return block.ljust(round_up(len(block), SECTOR), b"\0")

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for first in range(0, size // GRAIN, ENTRIES):
            yield list(pool.map(pack, range(
                first, min(first + ENTRIES, size // GRAIN))))


def make_stream(path, raw_path, size, level=1):
    """The layout of ESXi's exports: directory and tables behind the grains,
    a footer, an end-of-stream marker.  VMware packs at level 1.
    """
    sectors = size // SECTOR
    text = descriptor("streamOptimized", [sparse_line(sectors, path)])
    directory = array.array("I")
    overhead = GRAIN_SECTORS
    with open(path, "wb") as f, open(raw_path, "rb") as raw:
        f.write(header(3, 0x30001, sectors, DESCRIPTOR_SECTORS, 0, GD_AT_END,
                       overhead, 1))
        f.write(text)
        f.seek(overhead * SECTOR)
        for blocks in packed_grains(raw.fileno(), size, level):
            table = array.array("I")
            for block in blocks:
                table.append(f.tell() // SECTOR)
                f.write(block)
            table.extend([0] * (ENTRIES - len(table)))
            f.write(marker(TABLE_SECTORS, 1))
            directory.append(f.tell() // SECTOR)
            f.write(table)
        data = directory.tobytes()
        data = data.ljust(round_up(len(data), SECTOR), b"\0")
        f.write(marker(len(data) // SECTOR, 2))
        gd = f.tell() // SECTOR
        f.write(data + marker(1, 3))
        f.write(header(3, 0x30001, sectors, DESCRIPTOR_SECTORS, 0, gd,
                       overhead, 1))
        f.write(bytes(SECTOR))


def make_scattered(path, size, every):
    """One grain in EVERY bytes.  The grains are holes in the file but for a
    number in each 256th: this disk is there to be mapped.
    """
    sectors = size // SECTOR
    layout = Layout(sectors, DESCRIPTOR_SECTORS)
    nr = size // every
    entries = layout.no_entries()
    entries[::every // GRAIN] = array.array("I", range(
        layout.overhead, layout.overhead + nr * GRAIN_SECTORS, GRAIN_SECTORS))
    with open(path, "wb") as f:
        layout.write(f, descriptor("monolithicSparse",
                                   [sparse_line(sectors, path)]))
        layout.write_tables(f, entries)
        for i in range(0, nr, 256):
            f.seek(layout.overhead * SECTOR + i * GRAIN)
            f.write(struct.pack("<Q", i + 1))
        f.truncate(layout.overhead * SECTOR + nr * GRAIN)


def make_empty(path, size, tables):
    """With TABLES, what 'qemu-img create' makes: every table is there and is
    a hole in the file.  Without, the directories are all zeros.
    """
    sectors = size // SECTOR
    text = descriptor("monolithicSparse", [sparse_line(sectors, path)])
    layout = Layout(sectors, DESCRIPTOR_SECTORS)
    with open(path, "wb") as f:
        layout.write(f, text, directories=tables)


def make_empty_sesparse(path, size):
    """No table in use: a directory of 16 MiB each, all zeros, in a hole."""
    data = path[:-5] + "-sesparse.vmdk"
    capacity = size // SECTOR
    directory = round_up(-(-capacity // (4096 * 8)) * 8 // SECTOR + 1, 2048)
    tables = 4096 + directory
    bitmap = tables + 2048
    grains = bitmap + 2 * 2048
    fields = [0xcafebabe, 0x200000001, capacity, 8, 64, 0, 0, 0, 0, 0,
              1, 1, 2, 2, 2048, 2048, 4096, directory, tables, 2048,
              bitmap, 2048, bitmap + 2048, 2048, grains, capacity]
    with open(data, "wb") as f:
        f.write(struct.pack("<26Q", *fields).ljust(SECTOR, b"\0"))
        f.write(struct.pack("<Q", 0xcafecafe).ljust(SECTOR, b"\0"))
        f.truncate(grains * SECTOR)
    with open(path, "wb") as f:
        f.write(descriptor("seSparse", ['RW %d SESPARSE "%s"' % (
            capacity, os.path.basename(data))]))
