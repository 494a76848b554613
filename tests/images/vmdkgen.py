# SPDX-License-Identifier: BSD-3-Clause
"""VMDK images from an explicit model of their contents.

A Layer says what one link of a disk holds: for every sector whether it is
data, a stored zero, or absent (the parent's matter).  Each format below turns
a layer into a file and remembers where it put what, so that the cases can
then damage exactly one field.  Nothing here reads an image: what a reader must
find is known from the layer alone.

Offsets called "sector" are in units of 512 bytes; all integers on disk are
little-endian.
"""

import io
import struct
import tarfile
import zlib

SECTOR = 512
ABSENT, DATA, ZERO = 0, 1, 2

KDMV, COWD = 0x564D444B, 0x44574F43
SESPARSE, SESPARSE_VOLATILE = 0xCAFEBABE, 0xCAFECAFE
GD_AT_END = 0xFFFFFFFFFFFFFFFF

FLAG_NEWLINES, FLAG_REDUNDANT, FLAG_ZERO_GTE = 1, 2, 4
FLAG_COMPRESSED, FLAG_MARKERS = 1 << 16, 1 << 17

MARKER_EOS, MARKER_GT, MARKER_GD, MARKER_FOOTER, MARKER_OTHER = 0, 1, 2, 3, 4


def ceil(a, b):
    return (a + b - 1) // b


def round_up(a, b):
    return ceil(a, b) * b


def padded(data, unit=SECTOR):
    return bytes(data) + bytes(round_up(len(data), unit) - len(data))


class Layer:
    """What one link, or one extent of it, holds."""

    def __init__(self, sectors):
        self.sectors = sectors
        self.data = bytearray(sectors * SECTOR)
        self.state = bytearray(sectors)

    def write(self, sector, data):
        count = len(data) // SECTOR
        assert sector + count <= self.sectors and not len(data) % SECTOR
        self.data[sector * SECTOR:(sector + count) * SECTOR] = data
        self.state[sector:sector + count] = bytes([DATA]) * count
        return self

    def mark(self, sector, count, state):
        """Make sectors ABSENT or ZERO (or DATA that is all zeros)."""
        count = min(count, self.sectors - sector)
        self.data[sector * SECTOR:(sector + count) * SECTOR] = \
            bytes(count * SECTOR)
        self.state[sector:sector + count] = bytes([state]) * count
        return self

    def fill(self, rng):
        """Data everywhere, no two sectors alike."""
        return self.write(0, rng.randbytes(self.sectors * SECTOR))

    def scatter(self, rng, grain, states="DDA"):
        """Each grain in a state drawn from the letters of STATES: Data that
        deflates badly or Text that deflates well, data that is all zeros
        (N), Zero entries, Absent ones."""
        for start in range(0, self.sectors, grain):
            count = min(grain, self.sectors - start)
            letter = rng.choice(states)
            if letter == "D":
                self.write(start, rng.randbytes(count * SECTOR))
            elif letter == "T":
                text = rng.randbytes(8).hex().encode()
                self.write(start, b"".join(
                    (b"%s %016d " % (text, start + i)) .ljust(SECTOR, b".")
                    for i in range(count)))
            elif letter == "N":
                self.mark(start, count, DATA)
            elif letter == "Z":
                self.mark(start, count, ZERO)
        return self

    def part(self, start, sectors):
        part = Layer(sectors)
        part.data[:] = self.data[start * SECTOR:(start + sectors) * SECTOR]
        part.state[:] = self.state[start:start + sectors]
        return part

    def over(self, parent):
        """What is seen through this layer when PARENT lies below it.  The
        size is this layer's; past the parent's end nothing is there."""
        seen = Layer(self.sectors)
        seen.data[:] = self.data
        seen.state[:] = self.state
        for i in range(min(self.sectors, parent.sectors)):
            if seen.state[i] == ABSENT:
                seen.state[i] = parent.state[i]
                at = i * SECTOR
                seen.data[at:at + SECTOR] = parent.data[at:at + SECTOR]
        return seen

    def grain(self, grain, index):
        """The state and the bytes of a grain, which must be of one state."""
        start = index * grain
        end = min(start + grain, self.sectors)
        states = set(self.state[start:end])
        assert len(states) == 1, "a grain of several states"
        return states.pop(), bytes(self.data[start * SECTOR:end * SECTOR])

    def runs(self, state):
        """The (byte offset, length) pairs of the runs in this state."""
        runs, start = [], None
        for i in range(self.sectors + 1):
            here = i < self.sectors and self.state[i] == state
            if here and start is None:
                start = i
            elif not here and start is not None:
                runs.append((start * SECTOR, (i - start) * SECTOR))
                start = None
        return runs


def join(*layers):
    """Layers end to end."""
    whole = Layer(0)
    for layer in layers:
        whole.sectors += layer.sectors
        whole.data += layer.data
        whole.state += layer.state
    return whole


# The descriptor.

def extent(access, sectors, kind, name=None, offset=None):
    line = "%s %d %s" % (access, sectors, kind)
    if name is not None:
        line += ' "%s"' % name
    if offset is not None:
        line += " %d" % offset
    return line


DDB = ('ddb.virtualHWVersion = "4"', 'ddb.geometry.cylinders = "2"',
       'ddb.geometry.heads = "16"', 'ddb.geometry.sectors = "63"',
       'ddb.adapterType = "lsilogic"')


def descriptor(kind, extents, cid=0x12345678, parent=None, hint=None,
               version="1", first="# Disk DescriptorFile", more=(), ddb=DDB,
               eol="\n"):
    """The canonical text; the cases replace in it what they want other."""
    lines = [first]
    if version is not None:
        lines.append("version=%s" % version)
    lines.append('encoding="UTF-8"')
    if cid is not None:
        lines.append("CID=%08x" % cid if isinstance(cid, int)
                     else "CID=%s" % cid)
    if parent is None:
        parent = 0xffffffff
    lines.append("parentCID=%08x" % parent if isinstance(parent, int)
                 else "parentCID=%s" % parent)
    lines.append('createType="%s"' % kind)
    if hint is not None:
        lines.append('parentFileNameHint="%s"' % hint)
    lines += more
    lines += ["# Extent description"] + list(extents)
    if ddb:
        lines += ["", "# The Disk Data Base ", "#DDB", ""] + list(ddb)
    return (eol.join(lines) + eol).encode("utf-8", "surrogateescape")


# Hosted sparse extents.

class KdmvHeader:
    FIELDS = ("magic version flags capacity grainSize descriptorOffset "
              "descriptorSize numGTEsPerGT rgdOffset gdOffset overHead "
              "uncleanShutdown newlines compressAlgorithm").split()
    LAYOUT = "<IIIQQQQIQQQB4sH433x"

    def __init__(self, **fields):
        self.magic, self.version = KDMV, 1
        self.flags = FLAG_NEWLINES | FLAG_REDUNDANT
        self.capacity, self.grainSize = 0, 128
        self.descriptorOffset = self.descriptorSize = 0
        self.numGTEsPerGT = 512
        self.rgdOffset = self.gdOffset = self.overHead = 0
        self.uncleanShutdown, self.newlines = 0, b"\n \r\n"
        self.compressAlgorithm = 0
        self.set(**fields)

    def set(self, **fields):
        for name, value in fields.items():
            assert name in self.FIELDS, name
            setattr(self, name, value)
        return self

    def pack(self):
        return struct.pack(self.LAYOUT,
                           *(getattr(self, name) for name in self.FIELDS))


class Image:
    """A file being made, with the means to damage it."""

    def __init__(self):
        self.bytes = bytearray()

    def end_sector(self):
        assert not len(self.bytes) % SECTOR
        return len(self.bytes) // SECTOR

    def pad_to(self, sector):
        self.bytes += bytes(max(0, sector * SECTOR - len(self.bytes)))

    def put(self, sector, data):
        """Write DATA at a sector, the file growing to whole sectors."""
        self.pad_to(sector)
        data = padded(data)
        self.bytes[sector * SECTOR:sector * SECTOR + len(data)] = data

    def poke32(self, offset, value):
        struct.pack_into("<I", self.bytes, offset, value)

    def poke64(self, offset, value):
        struct.pack_into("<Q", self.bytes, offset, value)

    def cut(self, offset):
        del self.bytes[offset:]
        return self


class Sparse(Image):
    """A KDMV extent that is not compressed, laid out as VMware does: header,
    descriptor, redundant directory and tables, directory and tables, grains.

    order      a random number generator, to store the grains in disorder
    lazy       tables without an entry are not stored (directory entry 0)
    aligned    grains begin at multiples of the grain size
    cut_last   the last grain is stored only as far as the capacity goes
    capacity   what the header says, when not what the layer has
    """

    def __init__(self, layer, grain=128, text=b"", area=20, version=None,
                 flags=None, redundant=True, order=None, lazy=False,
                 aligned=True, cut_last=False, per_table=512, capacity=None):
        super().__init__()
        self.layer, self.grain, self.per_table = layer, grain, per_table
        has_zero = ZERO in layer.state
        if version is None:
            version = 2 if has_zero else 1
        if flags is None:
            flags = FLAG_NEWLINES
            flags |= FLAG_REDUNDANT if redundant else 0
            flags |= FLAG_ZERO_GTE if has_zero else 0
        self.header = KdmvHeader(
            version=version, flags=flags, grainSize=grain,
            capacity=layer.sectors if capacity is None else capacity,
            numGTEsPerGT=per_table)
        at = 1
        if text:
            assert len(text) <= area * SECTOR, "descriptor area too small"
            self.header.set(descriptorOffset=1, descriptorSize=area)
            self.put(1, text)
            at += area
        self._place_tables(at, redundant, lazy)
        self._store_grains(order, aligned, cut_last)
        self._store_tables()

    def _place_tables(self, at, redundant, lazy):
        per_table, grain = self.per_table, self.grain
        grains = ceil(self.header.capacity, grain)
        self.nr_tables = ceil(grains, per_table)
        table_sectors = ceil(4 * per_table, SECTOR)
        span = grain * per_table
        wanted = [not lazy or any(self.layer.state[i * span:(i + 1) * span])
                  for i in range(self.nr_tables)]

        def place(at):
            directory, at, tables = at, at + ceil(4 * self.nr_tables,
                                                  SECTOR), []
            for want in wanted:
                tables.append(at if want else 0)
                at += table_sectors if want else 0
            return directory, tables, at

        self.rgd, self.rtables = 0, []
        if redundant:
            self.rgd, self.rtables, at = place(at)
        self.gd, self.tables, at = place(at)
        self.header.set(rgdOffset=self.rgd, gdOffset=self.gd,
                        overHead=round_up(at, grain))

    def _store_grains(self, order, aligned, cut_last):
        layer, grain = self.layer, self.grain
        self.entries = {}
        held = [g for g in range(ceil(layer.sectors, grain))
                if layer.grain(grain, g)[0] == DATA]
        last = ceil(layer.sectors, grain) - 1
        if order is not None:
            order.shuffle(held)
        if cut_last and last in held:  # can only be cut at the file's end
            held.remove(last)
            held.append(last)
        at = self.header.overHead
        for g in held:
            if not aligned:
                at += 1 + g % 3
            data = layer.grain(grain, g)[1]
            self.put(at, data if cut_last else padded(data, grain * SECTOR))
            self.entries[g] = at
            at += grain
        for g in range(last + 1):
            if layer.grain(grain, g)[0] == ZERO:
                self.entries[g] = 1
        self.pad_to(self.header.overHead)

    def _store_tables(self):
        for gd, tables in ((self.gd, self.tables), (self.rgd, self.rtables)):
            if gd:
                self.put(gd, struct.pack("<%dI" % len(tables), *tables))
            for i, table in enumerate(tables):
                if table:
                    first = i * self.per_table
                    self.put(table, struct.pack("<%dI" % self.per_table, *(
                        self.entries.get(first + j, 0)
                        for j in range(self.per_table))))
        self.put(0, self.header.pack())

    def set(self, **fields):
        """Change header fields, nothing else."""
        self.header.set(**fields)
        self.bytes[:SECTOR] = self.header.pack()
        return self

    def gde_at(self, i, redundant=False):
        return (self.rgd if redundant else self.gd) * SECTOR + 4 * i

    def gte_at(self, g, redundant=False):
        tables = self.rtables if redundant else self.tables
        return (tables[g // self.per_table] * SECTOR
                + 4 * (g % self.per_table))

    def set_gte(self, g, value):
        """In both copies, as a disk damaged before it was copied has it."""
        self.poke32(self.gte_at(g), value)
        if self.rgd:
            self.poke32(self.gte_at(g, True), value)
        return self

    def set_gde(self, i, value):
        self.poke32(self.gde_at(i), value)
        if self.rgd:
            self.poke32(self.gde_at(i, True), value)
        return self

    def grain_range(self, g):
        return (g * self.grain * SECTOR,
                min(self.grain, self.layer.sectors - g * self.grain) * SECTOR)


def marker(value, size, kind):
    return struct.pack("<QII", value, size, kind).ljust(SECTOR, b"\0")


class Stream(Image):
    """A compressed KDMV extent with markers.

    layout     "footer": directory at the end, the footer says where;
               "front": directory and tables before the grains, no footer;
               "both": as footer, and the header says where as well
    eos        write the end-of-stream marker
    full_last  the last grain is padded with zeros to a whole one
    first_lba  added to every grain's number, as for a part of a larger disk
    others     put markers of type 4 between the grains
    pack       the function that deflates
    """

    def __init__(self, layer, grain=128, text=b"", area=20, version=3,
                 layout="footer", order=None, eos=True, full_last=True,
                 first_lba=0, others=False, pack=zlib.compress, padding=0,
                 overhead=128):
        super().__init__()
        self.layer, self.grain, self.layout = layer, grain, layout
        self.first_lba, self.full_last, self.pack = first_lba, full_last, pack
        self.others = others
        self.header = KdmvHeader(
            version=version, capacity=layer.sectors, grainSize=grain,
            flags=FLAG_NEWLINES | FLAG_COMPRESSED | FLAG_MARKERS,
            compressAlgorithm=1, gdOffset=GD_AT_END, overHead=overhead)
        self.put(0, bytes(SECTOR))
        if text:
            assert len(text) <= area * SECTOR, "descriptor area too small"
            self.header.set(descriptorOffset=1, descriptorSize=area)
            self.put(1, text)
            self.pad_to(1 + area)
        grains = ceil(layer.sectors, grain)
        self.nr_tables = ceil(grains, 512)
        self.where, self.tables, self.gd = {}, [0] * self.nr_tables, 0
        self.footer = 0
        order_of = list(range(grains))
        if order is not None:
            order.shuffle(order_of)
        if layout == "front":
            self._front(order_of, eos)
        else:
            self._streamed(order_of, eos)
        self.bytes[:SECTOR] = self.header.pack()
        self.bytes += bytes(padding)

    def _grain(self, g):
        state, data = self.layer.grain(self.grain, g)
        assert state != ZERO, "a stream has no zero entries"
        if state == ABSENT:
            return
        if self.full_last:
            data = padded(data, self.grain * SECTOR)
        packed = self.pack(data)
        self.where[g] = self.end_sector()
        self.bytes += padded(struct.pack(
            "<QI", g * self.grain + self.first_lba, len(packed)) + packed)
        if self.others:
            self.bytes += marker(0, 0, MARKER_OTHER)

    def _table(self, i):
        return struct.pack("<512I", *(self.where.get(i * 512 + j, 0)
                                      for j in range(512)))

    def _front(self, order, eos):
        self.gd = self.end_sector()
        at = self.gd + ceil(4 * self.nr_tables, SECTOR)
        for i in range(self.nr_tables):
            self.tables[i], at = at, at + 4
        self.pad_to(at)
        self.header.set(gdOffset=self.gd,
                        overHead=max(at, self.header.overHead))
        self.pad_to(self.header.overHead)
        for g in order:
            self._grain(g)
        for i, table in enumerate(self.tables):
            self.put(table, self._table(i))
        self._directory(self.gd)
        if eos:
            self.bytes += marker(0, 0, MARKER_EOS)

    def _directory(self, at):
        self.put(at, struct.pack("<%dI" % self.nr_tables, *self.tables))

    def _streamed(self, order, eos):
        self.pad_to(self.header.overHead)
        for i in range(self.nr_tables):
            # In disorder, grains are still written table by table.
            for g in (g for g in order if g // 512 == i):
                self._grain(g)
            if any(g // 512 == i for g in self.where):
                self.bytes += marker(4, 0, MARKER_GT)
                self.tables[i] = self.end_sector()
                self.bytes += self._table(i)
        sectors = ceil(4 * self.nr_tables, SECTOR)
        self.bytes += marker(sectors, 0, MARKER_GD)
        self.gd = self.end_sector()
        self._directory(self.gd)
        self.bytes += marker(1, 0, MARKER_FOOTER)
        self.footer = self.end_sector()
        real = KdmvHeader(**vars(self.header)).set(gdOffset=self.gd)
        self.footer_header = real
        self.bytes += real.pack()
        if self.layout == "both":
            self.header.set(gdOffset=self.gd)
        if eos:
            self.bytes += marker(0, 0, MARKER_EOS)

    def set(self, **fields):
        self.header.set(**fields)
        self.bytes[:SECTOR] = self.header.pack()
        return self

    def set_footer(self, **fields):
        self.footer_header.set(**fields)
        at = self.footer * SECTOR
        self.bytes[at:at + SECTOR] = self.footer_header.pack()
        return self

    def gte_at(self, g):
        return self.tables[g // 512] * SECTOR + 4 * (g % 512)

    def grain_at(self, g):
        """Byte offset of a grain's own header: lba u64, size u32."""
        return self.where[g] * SECTOR

    grain_range = Sparse.grain_range


# ESX redo logs.

class Cowd(Image):
    """Header, directory; then tables, each followed by its grains."""

    def __init__(self, layer, grain=1, order=None, flags=3, parent=b"",
                 entries=None):
        super().__init__()
        self.layer, self.grain = layer, grain
        self.nr_tables = ceil(layer.sectors, 4096 * grain)
        entries = entries or self.nr_tables
        self.put(4, bytes(4 * entries))
        self.tables, self.where = [0] * self.nr_tables, {}
        turns = list(range(self.nr_tables))
        if order is not None:
            order.shuffle(turns)
        for i in turns:
            self._table(i, order)
        self.put(4, struct.pack("<%dI" % self.nr_tables, *self.tables))
        self.fields = dict(version=1, flags=flags, numSectors=layer.sectors,
                           grainSize=grain, gdOffset=4, numGDEntries=entries,
                           freeSector=self.end_sector())
        self.parent = parent
        self.set()

    def _table(self, i, order):
        first = i * 4096
        held = [g for g in range(first, min(first + 4096, ceil(
                    self.layer.sectors, self.grain)))
                if self.layer.grain(self.grain, g)[0] == DATA]
        if not held:
            return
        if order is not None:
            order.shuffle(held)
        self.tables[i] = self.end_sector()
        at = self.tables[i] + 32
        for g in held:
            self.put(at, padded(self.layer.grain(self.grain, g)[1],
                                self.grain * SECTOR))
            self.where[g] = at
            at += self.grain
        self.put(self.tables[i], struct.pack("<4096I", *(
            self.where.get(first + j, 0) for j in range(4096))))

    def set(self, **fields):
        self.fields.update(fields)
        f = self.fields
        head = struct.pack("<IIIIIIII", f.get("magic", COWD), f["version"],
                           f["flags"], f["numSectors"], f["grainSize"],
                           f["gdOffset"], f["numGDEntries"], f["freeSector"])
        self.bytes[:2048] = (head + self.parent).ljust(2048, b"\0")
        return self

    def gde_at(self, i):
        return self.fields["gdOffset"] * SECTOR + 4 * i

    def gte_at(self, g):
        return self.tables[g // 4096] * SECTOR + 4 * (g % 4096)

    grain_range = Sparse.grain_range


# seSparse.

class SeSparse(Image):
    """Grains of 8 sectors, tables of 4096 entries; directory and tables hold
    indexes, not offsets.

    order     tables and grains get their places in disorder
    unmapped  grains (a set) whose ZERO state is stored as type 1, "unmapped"
    """

    REGIONS = ("volatile journalHeader journal grainDirectory grainTables "
               "freeBitmap backMap grains").split()

    def __init__(self, layer, order=None, unmapped=()):
        super().__init__()
        self.layer, self.grain = layer, 8
        self.nr_tables = ceil(layer.sectors, 4096 * 8)
        self._place(order, unmapped)
        self._regions()
        self._store()

    def _place(self, order, unmapped):
        grains = range(ceil(self.layer.sectors, 8))
        held = [g for g in grains if self.layer.grain(8, g)[0] == DATA]
        used = sorted({g // 4096 for g in grains
                       if self.layer.grain(8, g)[0] != ABSENT})
        if order is not None:
            order.shuffle(held)
            order.shuffle(used)
        self.table_index = {t: i for i, t in enumerate(used)}
        self.where = {g: i for i, g in enumerate(held)}
        self.entries = {g: self.entry(i) for g, i in self.where.items()}
        for g in grains:
            if self.layer.grain(8, g)[0] == ZERO:
                self.entries[g] = (0x1 << 60 | 5 if g in unmapped
                                   else 0x2 << 60)

    @staticmethod
    def entry(index):
        return 0x3 << 60 | (index & 0xfff) << 48 | index >> 12

    def _regions(self):
        sizes = dict(volatile=1, journalHeader=2, journal=8,
                     grainDirectory=ceil(self.nr_tables, 64),
                     grainTables=max(1, len(self.table_index)) * 64,
                     freeBitmap=1, backMap=1,
                     grains=round_up(self.layer.sectors, 8))
        at, self.region = 1, {}
        for name in self.REGIONS:
            if name not in ("volatile", "journalHeader"):
                at = round_up(at, 16)
            self.region[name] = [at, sizes[name]]
            at += sizes[name]

    def _store(self):
        self.header = dict(magic=SESPARSE, version=0x200000001,
                           capacity=self.layer.sectors, grainSize=8,
                           grainTableSize=64, flags=0, reserved=0, pad=0)
        self.put(self.region["volatile"][0], struct.pack(
            "<QQQQ", SESPARSE_VOLATILE, len(self.table_index), 0, 0))
        self.pad_to(self.region["grains"][0])
        for g, index in self.where.items():
            self.put(self.region["grains"][0] + index * 8,
                     padded(self.layer.grain(8, g)[1], 8 * SECTOR))
        for t, index in self.table_index.items():
            self.put(self.region["grainTables"][0] + index * 64,
                     struct.pack("<4096Q", *(self.entries.get(
                         t * 4096 + j, 0) for j in range(4096))))
            self.poke64(self.gde_at(t), 0x10000000 << 32 | index)
        self.set()

    def set(self, **fields):
        """Change header fields; a region is set to a pair by its name."""
        for name, value in fields.items():
            assert name in self.header or name in self.region, name
            if name in self.region:
                self.region[name] = value
            else:
                self.header[name] = value
        h = self.header
        head = struct.pack("<10Q", h["magic"], h["version"], h["capacity"],
                           h["grainSize"], h["grainTableSize"], h["flags"],
                           h["reserved"], 0, 0, 0)
        for name in self.REGIONS:
            head += struct.pack("<QQ", *self.region[name])
        head += struct.pack("<Q", h["pad"])
        self.bytes[:SECTOR] = head.ljust(SECTOR, b"\0")
        return self

    def volatile_at(self, field):
        return self.region["volatile"][0] * SECTOR + 8 * (
            "magic freeGTNumber nextTxnSeqNumber replayJournal".split()
            .index(field))

    def gde_at(self, t):
        return self.region["grainDirectory"][0] * SECTOR + 8 * t

    def gte_at(self, g):
        return ((self.region["grainTables"][0]
                 + self.table_index[g // 4096] * 64) * SECTOR
                + 8 * (g % 4096))

    grain_range = Sparse.grain_range


# Archives.

def tar(members, kind=tarfile.USTAR_FORMAT, base256=False):
    """An archive of (name, bytes) pairs."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=kind) as out:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    data = bytearray(archive.getvalue())
    if base256:
        _sizes_in_base256(data)
    return bytes(data)


def _sizes_in_base256(data):
    """Write each size as GNU tar does when it does not fit in octal."""
    at = 0
    while data[at:at + 1] not in (b"", b"\0"):
        size = int(bytes(data[at + 124:at + 135]), 8)
        data[at + 124:at + 136] = b"\x80" + size.to_bytes(11, "big")
        data[at + 148:at + 156] = b" " * 8
        checksum = sum(data[at:at + SECTOR])
        data[at + 148:at + 156] = b"%06o\0 " % checksum
        at += SECTOR + round_up(size, SECTOR)
