# SPDX-License-Identifier: BSD-3-Clause
"""Images that must be served right, some with a warning."""

import struct
import tarfile
import zlib

from casebook import case
from vmdkgen import (ABSENT, DDB, FLAG_NEWLINES, FLAG_REDUNDANT,
                     SECTOR, ZERO, Cowd, KdmvHeader, Layer, SeSparse, Sparse,
                     Stream, descriptor, extent, join, tar)

MIB = 2048  # sectors


def mono_text(sectors, name="disk.vmdk", **more):
    return descriptor("monolithicSparse",
                      [extent("RW", sectors, "SPARSE", name)], **more)


def stream_text(sectors, name="disk.vmdk", **more):
    return descriptor("streamOptimized",
                      [extent("RW", sectors, "SPARSE", name)], **more)


def mono(layer, text_args=None, **more):
    return Sparse(layer, text=mono_text(layer.sectors, **(text_args or {})),
                  **more)


# Hosted sparse, one file.

@case("good-sparse-grain-%d", 8, 16, 32, 64, 128, 256, 512)
def sparse_grain(c, value):
    layer = Layer(MIB * 2).scatter(c.rng, value)
    c.put("disk.vmdk", mono(layer, grain=value))
    c.good("disk.vmdk", layer)


@case("good-sparse-odd-capacity-%d", 1, 7, 129, 2047, 4097)
def sparse_odd(c, value):
    layer = Layer(value).scatter(c.rng, 128, "DDDA")
    layer.write((value - 1) // 128 * 128,
                c.rng.randbytes(((value - 1) % 128 + 1) * SECTOR))
    c.put("disk.vmdk", mono(layer))
    c.good("disk.vmdk", layer)


@case("good-sparse-cut-last-grain")
def sparse_cut_last(c):
    # The last grain is stored only as far as the capacity goes.
    layer = Layer(1000).fill(c.rng)
    c.put("disk.vmdk", mono(layer, cut_last=True))
    c.good("disk.vmdk", layer)


@case("good-sparse-shuffled-grain-%d", 8, 128)
def sparse_shuffled(c, value):
    layer = Layer(MIB * 2 + 5).scatter(c.rng, value)
    c.put("disk.vmdk", mono(layer, grain=value, order=c.rng))
    c.good("disk.vmdk", layer)


@case("good-sparse-unaligned-grains")
def sparse_unaligned(c):
    layer = Layer(MIB).scatter(c.rng, 16)
    c.put("disk.vmdk", mono(layer, grain=16, aligned=False, order=c.rng))
    c.good("disk.vmdk", layer)


@case("good-sparse-zero-entries-version-%d", 1, 2, 3)
def sparse_zero_entries(c, value):
    # The flag decides, whatever the version says.
    layer = Layer(MIB * 2).scatter(c.rng, 16, "DDAZ")
    c.put("disk.vmdk", mono(layer, grain=16, version=value))
    c.good("disk.vmdk", layer)


@case("good-sparse-missing-tables")
def sparse_missing_tables(c):
    # 4096 sectors a table; the second and the last have no entry.
    layer = Layer(4096 * 3 + 100).scatter(c.rng, 8)
    layer.mark(4096, 4096, ABSENT).mark(4096 * 3, 4096, ABSENT)
    c.put("disk.vmdk", mono(layer, grain=8, lazy=True))
    c.good("disk.vmdk", layer)


@case("good-sparse-many-tables")
def sparse_many_tables(c):
    # More directory entries than one sector holds.
    layer = Layer(1024 * 140)
    for table in (0, 1, 127, 128, 139):
        layer.write(table * 1024 + 1016, c.rng.randbytes(8 * SECTOR))
    c.put("disk.vmdk", mono(layer, grain=8, per_table=128))
    c.good("disk.vmdk", layer)


@case("good-sparse-all-absent")
def sparse_all_absent(c):
    layer = Layer(MIB * 64)
    c.put("disk.vmdk", mono(layer))
    c.good("disk.vmdk", layer)


@case("good-sparse-all-data")
def sparse_all_data(c):
    layer = Layer(MIB * 2).fill(c.rng)
    c.put("disk.vmdk", mono(layer))
    c.good("disk.vmdk", layer)


@case("good-sparse-zeros-stored-as-data")
def sparse_stored_zeros(c):
    layer = Layer(MIB).scatter(c.rng, 128, "DNA")
    c.put("disk.vmdk", mono(layer))
    c.good("disk.vmdk", layer)


@case("good-sparse-no-redundant-directory")
def sparse_no_redundant(c):
    layer = Layer(MIB).scatter(c.rng, 128)
    c.put("disk.vmdk", mono(layer, redundant=False))
    c.good("disk.vmdk", layer)


@case("good-sparse-table-of-%d-entries", 128, 1024)
def sparse_table_size(c, value):
    layer = Layer(MIB * 4).scatter(c.rng, 8, "DAA")
    c.put("disk.vmdk", mono(layer, grain=8, per_table=value))
    c.good("disk.vmdk", layer)


@case("good-sparse-overhead-unaligned")
def sparse_overhead(c):
    # open-vmdk: overHead need not be a multiple of the grain.
    layer = Layer(MIB).scatter(c.rng, 128)
    image = mono(layer)
    c.put("disk.vmdk", image.set(overHead=image.header.overHead - 37))
    c.good("disk.vmdk", layer)


@case("good-sparse-compatible-flags")
def sparse_compatible_flags(c):
    # Unknown bits of the compatible half are ignored.
    layer = Layer(MIB).scatter(c.rng, 128)
    image = mono(layer)
    c.put("disk.vmdk", image.set(flags=image.header.flags | 0x8008))
    c.good("disk.vmdk", layer)


@case("good-sparse-newlines-not-flagged")
def sparse_no_newlines(c):
    # Without flag bit 0 the four bytes mean nothing.
    layer = Layer(MIB).scatter(c.rng, 128)
    c.put("disk.vmdk", mono(layer).set(flags=FLAG_REDUNDANT,
                                       newlines=b"\0\0\0\0"))
    c.good("disk.vmdk", layer)


@case("good-sparse-capacity-rounded-up")
def sparse_rounded(c):
    # VirtualBox rounds the header's capacity up; the line is exact.
    layer = Layer(MIB + 77).scatter(c.rng, 128)
    layer.write(MIB, c.rng.randbytes(77 * SECTOR))
    c.put("disk.vmdk", mono(layer, capacity=MIB + 128))
    c.good("disk.vmdk", layer)


@case("good-sparse-unclean")
def sparse_unclean(c):
    layer = Layer(MIB).scatter(c.rng, 128)
    c.put("disk.vmdk", mono(layer).set(uncleanShutdown=1))
    c.warn("disk.vmdk", layer, "unclean")


@case("good-sparse-bad-entry-good-copy")
def sparse_bad_primary(c):
    # A primary table entry out of bounds: the redundant one is used.
    layer = Layer(MIB).scatter(c.rng, 128).write(
        256, c.rng.randbytes(128 * SECTOR))
    image = mono(layer)
    image.poke32(image.gte_at(2), 0x7fffff00)
    c.put("disk.vmdk", image)
    c.warn("disk.vmdk", layer, "redundant")


@case("good-sparse-bad-table-good-copy")
def sparse_bad_primary_table(c):
    # A primary directory entry out of bounds, the redundant one good.
    layer = Layer(4096 * 2).scatter(c.rng, 8)
    image = mono(layer, grain=8)
    image.poke32(image.gde_at(1), 0x7fffff00)
    c.put("disk.vmdk", image)
    c.warn("disk.vmdk", layer, "redundant")


@case("good-sparse-redundant-directory-bad")
def sparse_bad_redundant(c):
    # A bad rgdOffset alone: the copy is ignored.
    layer = Layer(MIB).scatter(c.rng, 128)
    c.put("disk.vmdk", mono(layer).set(rgdOffset=1 << 40))
    c.warn("disk.vmdk", layer, "redundant")


@case("good-sparse-duplicate-entry")
def sparse_duplicate(c):
    # Two entries name one grain: reported by a check, served here.
    layer = Layer(MIB).fill(c.rng)
    image = mono(layer)
    image.set_gte(3, image.entries[5])
    layer.write(3 * 128, layer.grain(128, 5)[1])
    c.put("disk.vmdk", image)
    c.good("disk.vmdk", layer)


@case("good-sparse-entry-overlaps-another")
def sparse_overlap(c):
    # A grain that begins within another.
    layer = Layer(MIB).fill(c.rng)
    image = mono(layer)
    image.set_gte(3, image.entries[5] + 64)
    layer.write(3 * 128, layer.part(5 * 128 + 64, 128).data)
    c.put("disk.vmdk", image)
    c.good("disk.vmdk", layer)


@case("good-sparse-copies-differ")
def sparse_copies_differ(c):
    # Both valid, but not the same: the primary counts.
    layer = Layer(MIB).fill(c.rng)
    image = mono(layer)
    image.poke32(image.gte_at(1, True), image.entries[4])
    c.put("disk.vmdk", image)
    c.good("disk.vmdk", layer)


@case("good-sparse-two-extents-embedded")
def sparse_embedded_two(c):
    # Extent 0 is the file itself; further ones are found by their names.
    one, two = Layer(MIB).scatter(c.rng, 128), Layer(500).scatter(c.rng, 8)
    text = descriptor("monolithicSparse", [
        extent("RW", MIB, "SPARSE", "stale.vmdk"),
        extent("RW", 500, "SPARSE", "more.vmdk")])
    c.put("disk.vmdk", Sparse(one, text=text))
    c.put("more.vmdk", Sparse(two, grain=8))
    c.good("disk.vmdk", join(one, two))


@case("good-sparse-size-not-whole-sectors")
def sparse_ragged(c):
    layer = Layer(MIB).scatter(c.rng, 128)
    image = mono(layer)
    image.bytes += b"tail"
    c.put("disk.vmdk", image)
    c.good("disk.vmdk", layer)


@case("good-sparse-odd-metadata")
def sparse_odd_metadata(c):
    # Nothing is computed from geometry or the like.
    layer = Layer(MIB).scatter(c.rng, 128)
    ddb = ('ddb.geometry.cylinders = "99999999999999999999999"',
           'ddb.geometry.heads = "0"', 'ddb.geometry.sectors = "-1"',
           'ddb.uuid = "not a uuid"', 'ddb.longContentID = ""',
           'ddb.virtualHWVersion = "4294967296"')
    c.put("disk.vmdk", mono(layer, dict(ddb=ddb)))
    c.good("disk.vmdk", layer)


@case("good-sparse-change-tracking")
def sparse_change_tracking(c):
    # version=3 means that changes are tracked; the file is not opened.
    layer = Layer(MIB).scatter(c.rng, 128)
    c.put("disk.vmdk", mono(layer, dict(
        version="3", more=['changeTrackPath="absent-ctk.vmdk"'])))
    c.good("disk.vmdk", layer)


@case("good-sparse-descriptor-one-sector")
def sparse_small_descriptor(c):
    layer = Layer(MIB).scatter(c.rng, 128)
    c.put("disk.vmdk", mono(layer, dict(ddb=()), area=1))
    c.good("disk.vmdk", layer)


# Split disks and flat extents.

def split(c, kind, parts, make, letter):
    """Extents of the given sizes; MAKE writes one and gives its line."""
    lines, layers = [], []
    for i, sectors in enumerate(parts):
        name = "disk-%s%03d.vmdk" % (letter, i + 1)
        line, layer = make(name, sectors)
        lines.append(line)
        layers.append(layer)
    c.put("disk.vmdk", descriptor(kind, lines))
    return join(*layers)


@case("good-split-sparse")
def split_sparse(c):
    # Extents in the middle that are not whole grains.  qemu 7.2 reads the
    # rest of their last grains in place of the next extent's first sectors.
    def make(name, sectors):
        layer = Layer(sectors).scatter(c.rng, 128)
        c.put(name, Sparse(layer))
        return extent("RW", sectors, "SPARSE", name), layer
    c.good("disk.vmdk", split(c, "twoGbMaxExtentSparse",
                              (MIB, 1000, 1, 300, MIB), make, "s"))


@case("good-split-sparse-qemu")
def split_sparse_qemu(c):
    # qemu reserves a descriptor area in each extent and leaves it empty.
    def make(name, sectors):
        layer = Layer(sectors).scatter(c.rng, 128)
        c.put(name, Sparse(layer, text=b"\0"))
        return extent("RW", sectors, "SPARSE", name), layer
    c.good("disk.vmdk", split(c, "twoGbMaxExtentSparse", (MIB, 999), make,
                              "s"))


@case("good-split-flat")
def split_flat(c):
    def make(name, sectors):
        layer = Layer(sectors).fill(c.rng)
        c.put(name, layer.data)
        return extent("RW", sectors, "FLAT", name, 0), layer
    c.good("disk.vmdk", split(c, "twoGbMaxExtentFlat", (MIB, 3, MIB), make,
                              "f"), absent=False)


@case("good-flat")
def flat(c):
    layer = Layer(MIB * 2).fill(c.rng)
    c.put("disk-flat.vmdk", layer.data)
    c.put("disk.vmdk", descriptor("monolithicFlat", [
        extent("RW", MIB * 2, "FLAT", "disk-flat.vmdk", 0)]))
    c.good("disk.vmdk", layer)


@case("good-flat-without-offset")
def flat_without_offset(c):
    layer = Layer(MIB).fill(c.rng)
    c.put("disk-flat.vmdk", layer.data)
    c.put("disk.vmdk", descriptor("monolithicFlat", [
        extent("RW", MIB, "FLAT", "disk-flat.vmdk")]))
    c.good("disk.vmdk", layer)


@case("good-flat-with-offset")
def flat_with_offset(c):
    # Two ranges of one file, in the other order, and the file is longer.
    whole = Layer(MIB * 2).fill(c.rng)
    c.put("disk-flat.vmdk", whole.data)
    c.put("disk.vmdk", descriptor("twoGbMaxExtentFlat", [
        extent("RW", 1000, "FLAT", "disk-flat.vmdk", 2000),
        extent("RW", 777, "FLAT", "disk-flat.vmdk", 63)]))
    c.good("disk.vmdk", join(whole.part(2000, 1000), whole.part(63, 777)))


@case("good-vmfs-%s", "thick", "thin")
def vmfs(c, value):
    layer = Layer(MIB * 2)
    if value == "thick":
        layer.fill(c.rng)
    else:
        layer.scatter(c.rng, 256, "DA")
    ddb = DDB + (('ddb.thinProvisioned = "1"',) if value == "thin" else ())
    c.put("disk-flat.vmdk", layer.data)
    c.put("disk.vmdk", descriptor("vmfs", [
        extent("RW", MIB * 2, "VMFS", "disk-flat.vmdk")], ddb=ddb))
    c.good("disk.vmdk", layer, absent=False)


@case("good-vmfs-longer-file")
def vmfs_longer(c):
    # ESXi rounds the file up; the tail is not part of the disk.
    layer = Layer(1500).fill(c.rng)
    c.put("disk-flat.vmdk", bytes(layer.data) + b"\xff" * 100000)
    c.put("disk.vmdk", descriptor("vmfs", [
        extent("RW", 1500, "VMFS", "disk-flat.vmdk")]))
    c.good("disk.vmdk", layer)


@case("good-vmfs-names-%s", "vmfsThin", "vmfsEagerZeroedThick",
      "vmfsPreallocated")
def vmfs_names(c, value):
    layer = Layer(1500).fill(c.rng)
    c.put("disk-flat.vmdk", layer.data)
    c.put("disk.vmdk", descriptor(value, [
        extent("RW", 1500, "VMFS", "disk-flat.vmdk")]))
    c.good("disk.vmdk", layer)


@case("good-flat-subfolder-name")
def flat_dot_name(c):
    layer = Layer(700).fill(c.rng)
    c.put("disk-flat.vmdk", layer.data)
    c.put("disk.vmdk", descriptor("monolithicFlat", [
        extent("RW", 700, "FLAT", "./disk-flat.vmdk", 0)]))
    c.good("disk.vmdk", layer)


@case("good-zero-extents")
def zero_extents(c):
    # Also without any blank behind, with one, and with an empty name.
    layer = Layer(300).fill(c.rng)
    c.put("part.bin", layer.data)
    c.put("disk.vmdk", descriptor("custom", [
        "RW 64 ZERO", extent("RW", 300, "FLAT", "part.bin", 0),
        "RW 100 ZERO ", 'RW 28 ZERO ""']))
    c.good("disk.vmdk", join(Layer(64), layer, Layer(128)))


@case("good-readonly-extents")
def readonly_extents(c):
    one, two = Layer(512).fill(c.rng), Layer(600).scatter(c.rng, 8)
    c.put("one.bin", one.data)
    c.put("two.vmdk", Sparse(two, grain=8))
    c.put("disk.vmdk", descriptor("custom", [
        extent("RDONLY", 512, "FLAT", "one.bin", 0),
        extent("RDONLY", 600, "SPARSE", "two.vmdk"),
        "RDONLY 8 ZERO"]))
    c.good("disk.vmdk", join(one, two, Layer(8)))


@case("good-noaccess-extent")
def noaccess(c):
    one, two = Layer(512).fill(c.rng), Layer(600).fill(c.rng)
    hidden = Layer(256).fill(c.rng)
    c.put("one.bin", one.data)
    c.put("hidden.bin", hidden.data)
    c.put("two.bin", two.data)
    c.put("disk.vmdk", descriptor("custom", [
        extent("RW", 512, "FLAT", "one.bin", 0),
        extent("NOACCESS", 256, "FLAT", "hidden.bin", 0),
        extent("RW", 600, "FLAT", "two.bin", 0)]))
    c.eio("disk.vmdk", join(one, hidden, two),
          [(512 * SECTOR, 256 * SECTOR)])


@case("good-noaccess-placeholder")
def noaccess_placeholder(c):
    # VirtualBox's "NOACCESS 0 ZERO " is skipped.
    layer = Layer(700).fill(c.rng)
    c.put("disk-flat.vmdk", layer.data)
    c.put("disk.vmdk", descriptor("monolithicFlat", [
        extent("RW", 700, "FLAT", "disk-flat.vmdk", 0),
        "NOACCESS 0 ZERO "]))
    c.good("disk.vmdk", layer)


@case("good-mixed-extents")
def mixed(c):
    flat_part = Layer(63).fill(c.rng)
    sparse_part = Layer(1001).scatter(c.rng, 32, "DAZ")
    vmfs_part = Layer(129).fill(c.rng)
    packed = Layer(900).scatter(c.rng, 128, "DTA")
    redo = Layer(500).scatter(c.rng, 1, "DA")
    se = Layer(805).scatter(c.rng, 8, "DAZ")
    at = 63 + 1001 + 129
    c.put("p1.bin", flat_part.data)
    c.put("p2.vmdk", Sparse(sparse_part, grain=32))
    c.put("p3.bin", vmfs_part.data)
    c.put("p4.vmdk", Stream(packed, first_lba=at))
    c.put("p5.vmdk", Cowd(redo))
    c.put("p6.vmdk", SeSparse(se, order=c.rng))
    c.put("disk.vmdk", descriptor("custom", [
        extent("RW", 63, "FLAT", "p1.bin", 0),
        extent("RW", 1001, "SPARSE", "p2.vmdk"),
        extent("RW", 129, "VMFS", "p3.bin"),
        extent("RW", 900, "SPARSE", "p4.vmdk"), "RW 11 ZERO",
        extent("RW", 500, "VMFSSPARSE", "p5.vmdk"),
        extent("RW", 805, "SESPARSE", "p6.vmdk")]))
    c.good("disk.vmdk", join(flat_part, sparse_part, vmfs_part, packed,
                             Layer(11), redo, se))


@case("good-magic-over-type-word")
def magic_over_word(c):
    # qemu takes COWD under SPARSE and KDMV under VMFSSPARSE; so do we.
    one, two = Layer(512).scatter(c.rng, 1, "DA"), Layer(512).scatter(
        c.rng, 8)
    c.put("one.vmdk", Cowd(one))
    c.put("two.vmdk", Sparse(two, grain=8))
    c.put("disk.vmdk", descriptor("custom", [
        extent("RW", 512, "SPARSE", "one.vmdk"),
        extent("RW", 512, "VMFSSPARSE", "two.vmdk")]))
    c.warn("disk.vmdk", join(one, two), "one.vmdk")


@case("good-rdm-full-copy")
def rdm_copy(c):
    # A mapping file that was copied through ESXi holds the data.
    layer = Layer(700).fill(c.rng)
    c.put("disk-rdm.vmdk", layer.data)
    c.put("disk.vmdk", descriptor("vmfsRDM", [
        extent("RW", 700, "VMFSRDM", "disk-rdm.vmdk")]))
    c.good("disk.vmdk", layer, params="allow-device=disk-rdm.vmdk")


@case("good-descriptor-only-kdmv")
def descriptor_only(c):
    # Capacity 0: the KDMV file only carries the text.
    layer = Layer(700).fill(c.rng)
    text = descriptor("monolithicFlat", [
        extent("RW", 700, "FLAT", "disk-flat.vmdk", 0)])
    header = KdmvHeader(capacity=0, descriptorOffset=1, descriptorSize=20,
                        flags=FLAG_NEWLINES, gdOffset=0, overHead=21)
    c.put("disk-flat.vmdk", layer.data)
    c.put("disk.vmdk", header.pack() + text.ljust(20 * SECTOR, b"\0"))
    c.good("disk.vmdk", layer)


# Descriptors as producers write them.

def flat_under(c, edit, **more):
    """A flat disk whose canonical descriptor is changed by EDIT."""
    layer = Layer(700).fill(c.rng)
    c.put("disk-flat.vmdk", layer.data)
    c.put("disk.vmdk", edit(descriptor("monolithicFlat", [
        extent("RW", 700, "FLAT", "disk-flat.vmdk", 0)], **more)))
    return layer


EDITS = {
    # qemu prints the CID with %x.
    "cid-without-zeros": lambda t: t.replace(b"12345678", b"883ac20"),
    "cid-with-0x": lambda t: t.replace(b"=12345678", b"=0x12345678"),
    "crlf": lambda t: t.replace(b"\n", b"\r\n"),
    "bom": lambda t: b"\xef\xbb\xbf" + t,
    "blank-lines-first": lambda t: b"\n\n" + t,
    "comments": lambda t: t.replace(
        b"# Extent", b"#RW 99 ZERO\n  # parentCID=1 \n# Extent"),
    "no-final-newline": lambda t: t.rstrip(b"\n"),
    "nul-and-stale-tail": lambda t: (
        t + b"\0" + b'RW 63 ZERO\ngarbage "\nCID=1').ljust(1024, b"\0"),
    "nul-padding": lambda t: t.ljust(2048, b"\0"),
    # qemu counts the extent twice; we must not.
    "blank-line-before-extent": lambda t: t.replace(
        b"description\n", b"description\n\n"),
    "lower-case": lambda t: t.replace(b"RW ", b"rw ").replace(
        b" FLAT ", b" flat ").replace(b"createType", b"CREATETYPE"),
    "spaces-around-equals": lambda t: t.replace(
        b"createType=", b"createType = ").replace(b"CID=1", b"CID =\t1"),
    "leading-and-trailing-blanks": lambda t: b"\n".join(
        b" \t" + line + b" \t" for line in t.split(b"\n")),
    "bare-values": lambda t: t.replace(b'"UTF-8"', b"UTF-8").replace(
        b'"monolithicFlat"', b"monolithicFlat"),
    "quoted-cid": lambda t: t.replace(b"=12345678", b'="12345678"'),
    "virtualbox-ddb": lambda t: t.replace(b' = "', b'="').replace(
        b"The Disk", b"The disk"),
    "unknown-keys": lambda t: t.replace(
        b"# Extent", b'foo.bar="RW 1 ZERO"\nx-y_z=\n# Extent'),
    "ddb-before-extents": lambda t: t.replace(
        b"# Extent", b'ddb.uuid = "60 00 C2 90"\n# Extent'),
    "other-first-line": lambda t: t.replace(
        b"# Disk DescriptorFile", b"# made by a converter"),
    "first-line-with-space": lambda t: t.replace(
        b"DescriptorFile", b"Descriptor File"),
    "version-2": lambda t: t.replace(b"version=1", b"version=2"),
    "extent-tail": lambda t: t.replace(
        b'vmdk" 0', b'vmdk" 0 partitionUUID 1234 device:5'),
    "extent-wide-blanks": lambda t: t.replace(
        b"RW 700 FLAT ", b"RW \t 700\tFLAT   "),
    "native-snapshot-no": lambda t: t.replace(
        b"createType", b'isNativeSnapshot="no"\ncreateType'),
    "odd-but-known-create-type": lambda t: t.replace(
        b"monolithicFlat", b"twoGbMaxExtent"),
}


@case("good-text-%s", *EDITS)
def text_edits(c, value):
    c.good("disk.vmdk", flat_under(c, EDITS[value]))


@case("good-text-cid-missing")
def cid_missing(c):
    c.warn("disk.vmdk", flat_under(c, lambda t: t, cid=None), "CID")


@case("good-text-cid-twice-the-same")
def cid_twice(c):
    c.warn("disk.vmdk", flat_under(c, lambda t: t.replace(
        b"CID=12345678\n", b"CID=12345678\nCID=12345678\n")), "CID")


@case("good-text-create-type-missing")
def type_missing(c):
    c.warn("disk.vmdk", flat_under(c, lambda t: t.replace(
        b'createType="monolithicFlat"\n', b"")), "createType")


@case("good-text-create-type-unknown")
def type_unknown(c):
    c.warn("disk.vmdk", flat_under(c, lambda t: t.replace(
        b"monolithicFlat", b"someNewKind")), "createType & someNewKind")


@case("good-text-version-missing")
def version_missing(c):
    c.warn("disk.vmdk", flat_under(c, lambda t: t, version=None), "version")


@case("good-text-hint-without-parent")
def hint_without_parent(c):
    # A hint on a base link says nothing: served, with a warning.
    c.warn("disk.vmdk", flat_under(c, lambda t: t, hint="base.vmdk"),
           "parentFileNameHint")


@case("good-text-long")
def text_long(c):
    # Many comments and keys, still below what a reader must take.
    c.good("disk.vmdk", flat_under(c, lambda t: t + b"".join(
        b'ddb.note%d = "%s"\n' % (i, b"x" * 1000) for i in range(1000))))


NAMES = {"spaces": "my disk (1) flat.vmdk", "equals": "a=b#c-flat.vmdk",
         "utf-8": "d\u00efsk-\u76d8-flat.vmdk", "percent": "%n%s-flat.vmdk",
         "latin-1": "d\udcefsk-flat.vmdk", "dots": "..disk..flat..vmdk",
         "apostrophe": "d'`$(x)-flat.vmdk", "long": "n" * 250 + ".vmdk"}


@case("good-name-%s", *NAMES)
def names(c, value):
    layer = Layer(300).fill(c.rng)
    name = NAMES[value]
    c.put(name.encode("utf-8", "surrogateescape"), layer.data)
    c.put("disk.vmdk", descriptor("vmfs", [
        extent("RW", 300, "VMFS", name)]))
    c.good("disk.vmdk", layer)


# streamOptimized.

def stream(layer, **more):
    return Stream(layer, text=stream_text(layer.sectors), **more)


@case("good-stream-%s", "front", "footer", "both")
def stream_layout(c, value):
    layer = Layer(MIB * 2).scatter(c.rng, 128, "DTNA")
    c.put("disk.vmdk", stream(layer, layout=value))
    c.good("disk.vmdk", layer)


@case("good-stream-grain-%d", 8, 16, 64, 256)
def stream_grain(c, value):
    layer = Layer(MIB * 2 + 64).scatter(c.rng, value, "DTA")
    c.put("disk.vmdk", stream(layer, grain=value))
    c.good("disk.vmdk", layer)


@case("good-stream-shuffled-%s", "front", "footer")
def stream_shuffled(c, value):
    layer = Layer(4096 * 2).scatter(c.rng, 8, "DTA")
    c.put("disk.vmdk", stream(layer, grain=8, layout=value, order=c.rng))
    c.good("disk.vmdk", layer)


@case("good-stream-last-grain-%s", "short", "padded")
def stream_last(c, value):
    layer = Layer(MIB + 3).fill(c.rng)
    c.put("disk.vmdk", stream(layer, full_last=value == "padded"))
    c.good("disk.vmdk", layer)


@case("good-stream-markers-of-type-4")
def stream_type4(c):
    layer = Layer(MIB).scatter(c.rng, 128, "DTA")
    c.put("disk.vmdk", stream(layer, others=True))
    c.good("disk.vmdk", layer)


@case("good-stream-version-%d", 1, 2)
def stream_version(c, value):
    layer = Layer(MIB).scatter(c.rng, 128, "DTA")
    c.put("disk.vmdk", stream(layer, version=value))
    c.good("disk.vmdk", layer)


@case("good-stream-small-descriptor")
def stream_small(c):
    # Converters: one sector of text, grains right behind, RDONLY.
    layer = Layer(MIB).scatter(c.rng, 128, "DTA")
    text = descriptor("streamOptimized", [
        extent("RDONLY", MIB, "SPARSE", "call-me-stream.vmdk")], ddb=(),
        first="# Description file created by VMDK stream converter")
    c.put("disk.vmdk", Stream(layer, text=text, area=1, overhead=2))
    c.good("disk.vmdk", layer)


@case("good-stream-padding-after-eos")
def stream_padding(c):
    layer = Layer(MIB).scatter(c.rng, 128, "DTA")
    c.put("disk.vmdk", stream(layer, padding=9728))
    c.warn("disk.vmdk", layer, "stream")


@case("good-stream-missing-eos")
def stream_no_eos(c):
    layer = Layer(MIB).scatter(c.rng, 128, "DTA")
    c.put("disk.vmdk", stream(layer, eos=False))
    c.warn("disk.vmdk", layer, "stream")


@case("good-stream-front-without-eos")
def stream_front_no_eos(c):
    # qemu writes neither footer nor EOS, and up to a grain of zeros.
    layer = Layer(MIB).scatter(c.rng, 128, "DTA")
    c.put("disk.vmdk", stream(layer, layout="front", eos=False,
                              padding=65024))
    c.good("disk.vmdk", layer)


@case("good-stream-front-redundant-flag")
def stream_redundant(c):
    # Old qemu: flags 0x30003; the redundant directory plays no part.
    layer = Layer(MIB).scatter(c.rng, 128, "DTA")
    image = stream(layer, layout="front")
    table, copy = image.tables[0], image.end_sector()
    image.put(copy, struct.pack("<I", copy + 1))
    image.put(copy + 1, image.bytes[table * SECTOR:(table + 4) * SECTOR])
    image.set(flags=image.header.flags | FLAG_REDUNDANT, rgdOffset=copy)
    c.put("disk.vmdk", image)
    c.good("disk.vmdk", layer)


@case("good-stream-level-%d", 0, 1, 9)
def stream_level(c, value):
    # Level 0 stores: more bytes than the grain itself has.
    layer = Layer(MIB).scatter(c.rng, 128, "DTA")
    c.put("disk.vmdk", stream(
        layer, pack=lambda data: zlib.compress(data, value)))
    c.good("disk.vmdk", layer)


@case("good-stream-missing-tables")
def stream_missing_tables(c):
    layer = Layer(4096 * 4).scatter(c.rng, 8, "DTA")
    layer.mark(4096, 8192, ABSENT)
    c.put("disk.vmdk", stream(layer, grain=8))
    c.good("disk.vmdk", layer)


@case("good-stream-empty")
def stream_empty(c):
    layer = Layer(MIB)
    c.put("disk.vmdk", stream(layer))
    c.good("disk.vmdk", layer)


@case("good-stream-two-extents-lba-of-%s", "disk", "extent")
def stream_two(c, value):
    # qemu numbers the grains from the disk's start, others from the extent's.
    layers = [Layer(MIB).scatter(c.rng, 128, "DTA") for _ in range(2)]
    for i, layer in enumerate(layers):
        c.put("disk-s%03d.vmdk" % (i + 1), Stream(
            layer, first_lba=i * MIB if value == "disk" else 0))
    c.put("disk.vmdk", descriptor("streamOptimized", [
        extent("RW", MIB, "SPARSE", "disk-s%03d.vmdk" % (i + 1))
        for i in range(2)]))
    c.good("disk.vmdk", join(*layers))


@case("good-stream-recovered-%s", "in-order", "shuffled", "type-4")
def stream_recovered(c, value):
    # The end with directory and footer was lost; every grain is there.
    layer = Layer(MIB * 2).scatter(c.rng, 128, "DTN")
    image = stream(layer, others=value == "type-4",
                   order=c.rng if value == "shuffled" else None)
    c.put("disk.vmdk", image.cut((image.gd - 1) * SECTOR))
    c.warn("disk.vmdk", layer, "disk.vmdk", params="recover=true")
    c.reject("disk.vmdk", "disk.vmdk & footer")


@case("good-stream-recovered-whole")
def stream_recovered_whole(c):
    # Only the footer was lost: what was not found before the directory's
    # marker was never there.
    layer = Layer(MIB * 2).scatter(c.rng, 128, "DTA")
    image = stream(layer)
    c.put("disk.vmdk", image.cut((image.footer - 1) * SECTOR))
    c.warn("disk.vmdk", layer, "disk.vmdk", params="recover=true")


@case("good-stream-recovered-cut")
def stream_recovered_cut(c):
    # Cut in grain 9: what may have been lost is not served as zeros.
    layer = Layer(MIB).fill(c.rng)
    image = stream(layer)
    c.put("disk.vmdk", image.cut(image.grain_at(9) + 3000))
    c.eio("disk.vmdk", layer, [(9 * 65536, 7 * 65536)], "disk.vmdk",
          params="recover=true")


@case("good-stream-recovered-duplicate")
def stream_recovered_twice(c):
    # A resumed writer appends; the last copy of a grain counts.
    layer = Layer(MIB).fill(c.rng)
    image = stream(layer)
    image.cut((image.tables[0] - 1) * SECTOR)
    again = c.rng.randbytes(128 * SECTOR)
    packed = zlib.compress(again)
    image.put(image.end_sector(), struct.pack(
        "<QI", 3 * 128, len(packed)) + packed)
    layer.write(3 * 128, again)
    c.put("disk.vmdk", image)
    c.warn("disk.vmdk", layer, "disk.vmdk", params="recover=true")


# COWD and seSparse over flat bases.

def base_flat(c, sectors, name="base"):
    layer = Layer(sectors).fill(c.rng)
    c.put(name + "-flat.vmdk", layer.data)
    c.put(name + ".vmdk", descriptor("vmfs", [
        extent("RW", sectors, "VMFS", name + "-flat.vmdk")], cid=0x0ba5e))
    return layer


def delta(c, kind, word, name, image, parent="base.vmdk", parent_cid=0x0ba5e,
          cid=0xc01d, ddb=('ddb.longContentID = "0000c01d"',)):
    """The descriptor of an ESX snapshot: a ddb of one line."""
    c.put("%s-delta.vmdk" % name, image)
    c.put("%s.vmdk" % name, descriptor(kind, [
        extent("RW", image.layer.sectors, word, "%s-delta.vmdk" % name)],
        cid=cid, parent=parent_cid, hint=parent, ddb=ddb))


@case("good-cowd-grain-%d", 1, 8, 128, 2048)
def cowd_grain(c, value):
    base = base_flat(c, 6000)
    layer = Layer(6000).scatter(c.rng, value, "DA")
    delta(c, "vmfsSparse", "VMFSSPARSE", "disk", Cowd(layer, grain=value))
    c.good("disk.vmdk", layer.over(base), absent=False)
    c.good("base.vmdk", base)
    c.good("disk.vmdk", layer, params="single-link=true")


@case("good-cowd-shuffled")
def cowd_shuffled(c):
    base = base_flat(c, 9000)
    layer = Layer(9000).scatter(c.rng, 1, "DA")
    layer.mark(4096, 4096, ABSENT)
    delta(c, "vmfsSparse", "VMFSSPARSE", "disk", Cowd(
        layer, order=c.rng, entries=128, parent=b"/vmfs/volumes/old/x.vmdk"))
    c.good("disk.vmdk", layer.over(base), absent=False)


@case("good-cowd-short-last-grain")
def cowd_short_last(c):
    base = base_flat(c, 1003)
    layer = Layer(1003).fill(c.rng)
    image = Cowd(layer, grain=8)
    image.cut(len(image.bytes) - 5 * SECTOR)
    image.set(freeSector=image.end_sector())
    delta(c, "vmfsSparse", "VMFSSPARSE", "disk", image)
    c.good("disk.vmdk", layer.over(base), absent=False)


@case("good-cowd-free-sector-%s", "zero", "beyond")
def cowd_free(c, value):
    # Only a writer needs it; beyond the end it hints at a cut file.
    layer = Layer(5000).scatter(c.rng, 8, "DA")
    c.put("disk-delta.vmdk", Cowd(layer, grain=8).set(
        freeSector=0 if value == "zero" else 0xffffffff))
    c.put("disk.vmdk", descriptor("vmfsSparse", [
        extent("RW", 5000, "VMFSSPARSE", "disk-delta.vmdk")]))
    if value == "zero":
        c.good("disk.vmdk", layer)
    else:
        c.warn("disk.vmdk", layer, "freeSector")


@case("good-cowd-base")
def cowd_base(c):
    layer = Layer(5000).scatter(c.rng, 8, "DA")
    c.put("disk-delta.vmdk", Cowd(layer, grain=8))
    c.put("disk.vmdk", descriptor("vmfsSparse", [
        extent("RW", 5000, "VMFSSPARSE", "disk-delta.vmdk")]))
    c.good("disk.vmdk", layer)


@case("good-sesparse-%s", "in-order", "shuffled")
def sesparse(c, value):
    # Grain 0 has index 0 when in order.
    base = base_flat(c, 6001)
    layer = Layer(6001).scatter(c.rng, 8, "DAAZ")
    layer.write(0, c.rng.randbytes(8 * SECTOR))
    unmapped = {g for g in range(750) if layer.grain(8, g)[0] == ZERO
                and g % 2}
    delta(c, "seSparse", "SESPARSE", "disk", SeSparse(
        layer, unmapped=unmapped,
        order=c.rng if value == "shuffled" else None))
    c.good("disk.vmdk", layer.over(base), absent=False)
    c.good("disk.vmdk", layer, params="single-link=true")


@case("good-sesparse-tables-out-of-order")
def sesparse_tables(c):
    # Three tables of 16 MiB and a hole between them; more than 4096 grains.
    layer = Layer(4 * 32768 + 9)
    for at in (0, 32760, 2 * 32768 + 80, 4 * 32768):
        layer.write(at, c.rng.randbytes(
            min(64, layer.sectors - at) * SECTOR))
    layer.mark(3 * 32768, 4096, ZERO)
    image = SeSparse(layer, order=c.rng)
    assert image.table_index != dict(enumerate(sorted(image.table_index)))
    c.put("disk-sesparse.vmdk", image)
    c.put("disk.vmdk", descriptor("seSparse", [
        extent("RW", layer.sectors, "SESPARSE", "disk-sesparse.vmdk")]))
    c.good("disk.vmdk", layer)


@case("good-sesparse-many-grains")
def sesparse_many(c):
    # An index past 4095: the entry's bits are rotated.
    layer = Layer(4200 * 8).fill(c.rng)
    c.put("disk-sesparse.vmdk", SeSparse(layer))
    c.put("disk.vmdk", descriptor("seSparse", [
        extent("RW", layer.sectors, "SESPARSE", "disk-sesparse.vmdk")]))
    c.good("disk.vmdk", layer)


@case("good-sesparse-journal-accepted")
def sesparse_journal(c):
    layer = Layer(1000).scatter(c.rng, 8, "DAZ")
    image = SeSparse(layer)
    image.poke64(image.volatile_at("replayJournal"), 1)
    c.put("disk-sesparse.vmdk", image)
    c.put("disk.vmdk", descriptor("seSparse", [
        extent("RW", 1000, "SESPARSE", "disk-sesparse.vmdk")]))
    c.warn("disk.vmdk", layer, "journal", params="accept-journal=true")
    c.reject("disk.vmdk", "disk-sesparse.vmdk & journal")


# Chains.

def chain(c, depth, sectors=1024, grains=(8, 16, 128), kinds=("sparse",),
          sizes=None, states="DAAAZ"):
    """Files disk-0.vmdk (the base) to disk-N.vmdk, disk.vmdk being the top.
    Gives the layers seen, from the base up."""
    seen = []
    for i in range(depth):
        name = "disk" if i == depth - 1 else "disk-%d" % i
        size = sizes[i] if sizes else sectors
        kind = kinds[i % len(kinds)]
        grain = grains[i % len(grains)]
        layer = Layer(size)
        relation = {} if not i else dict(parent=i, hint="disk-%d.vmdk"
                                         % (i - 1))
        if kind == "sparse":
            layer.scatter(c.rng, grain, states)
            c.put(name + ".vmdk", mono(layer, dict(
                cid=i + 1, **relation), grain=grain))
        elif kind == "stream":
            layer.scatter(c.rng, 128, "TDAA")
            c.put(name + ".vmdk", Stream(layer, text=stream_text(
                size, cid=i + 1, **relation)))
        elif kind == "cowd":
            layer.scatter(c.rng, 1, "DAAA")
            c.put(name + "-delta.vmdk", Cowd(layer))
            c.put(name + ".vmdk", descriptor("vmfsSparse", [extent(
                "RW", size, "VMFSSPARSE", name + "-delta.vmdk")],
                cid=i + 1, **relation))
        elif kind == "sesparse":
            layer.scatter(c.rng, 8, "DAAZ")
            c.put(name + "-sesparse.vmdk", SeSparse(layer, order=c.rng))
            c.put(name + ".vmdk", descriptor("seSparse", [extent(
                "RW", size, "SESPARSE", name + "-sesparse.vmdk")],
                cid=i + 1, **relation))
        elif kind == "split":
            layer.scatter(c.rng, 8, states)
            half = size // 2
            for j, (at, length) in enumerate(((0, half),
                                              (half, size - half))):
                c.put("%s-s%03d.vmdk" % (name, j + 1), Sparse(
                    layer.part(at, length), grain=8))
            c.put(name + ".vmdk", descriptor("twoGbMaxExtentSparse", [
                extent("RW", half, "SPARSE", name + "-s001.vmdk"),
                extent("RW", size - half, "SPARSE", name + "-s002.vmdk")],
                cid=i + 1, **relation))
        seen.append(layer.over(seen[-1]) if seen else layer)
    return seen


@case("good-chain-depth-%d", 2, 3, 8, 32)
def chain_depth(c, value):
    c.good("disk.vmdk", chain(c, value)[-1])


@case("good-chain-deeper-than-vsphere")
def chain_33(c):
    c.warn("disk.vmdk", chain(c, 33, sectors=256)[-1], "33")


@case("good-chain-mixed-kinds")
def chain_mixed(c):
    seen = chain(c, 10, sectors=1536, kinds=(
        "sparse", "cowd", "split", "stream", "sesparse"))
    c.good("disk.vmdk", seen[-1])
    c.good("disk-4.vmdk", seen[4])


@case("good-chain-grain-sizes")
def chain_grains(c):
    c.good("disk.vmdk", chain(c, 5, grains=(512, 8, 128, 16, 64))[-1])


@case("good-chain-sizes-%s", "growing", "shrinking", "both")
def chain_sizes(c, value):
    sizes = {"growing": (700, 1024, 1501), "shrinking": (1501, 1024, 700),
             "both": (1024, 300, 1300)}[value]
    c.warn("disk.vmdk", chain(c, 3, sizes=sizes)[-1], "disk")


@case("good-chain-zero-hides-parent")
def chain_zero(c):
    base = base_flat(c, 1024)
    layer = Layer(1024).scatter(c.rng, 128, "Z")
    layer.mark(256, 128, ABSENT)
    c.put("disk.vmdk", mono(layer, dict(parent=0x0ba5e, hint="base.vmdk")))
    c.good("disk.vmdk", layer.over(base), absent=False)


@case("good-chain-over-zero-extents")
def chain_over_zero(c):
    part = Layer(100).fill(c.rng)
    c.put("part.bin", part.data)
    c.put("base.vmdk", descriptor("custom", [
        "RW 200 ZERO", extent("RW", 100, "FLAT", "part.bin", 0)],
        cid=0x0ba5e))
    layer = Layer(300).scatter(c.rng, 8, "DA")
    c.put("disk.vmdk", mono(layer, dict(parent=0x0ba5e, hint="base.vmdk"),
                            grain=8))
    c.good("disk.vmdk", layer.over(join(Layer(200), part)), absent=False)


@case("good-chain-same-cids")
def chain_same_cids(c):
    # On ESXi a new child starts with its parent's CID.
    base = base_flat(c, 512)
    layer = Layer(512).scatter(c.rng, 8, "DA")
    c.put("disk.vmdk", mono(layer, dict(
        cid=0x0ba5e, parent=0x0ba5e, hint="base.vmdk"), grain=8))
    c.good("disk.vmdk", layer.over(base), absent=False)


@case("good-chain-no-blank-line")
def chain_no_ddb(c):
    base = base_flat(c, 512)
    layer = Layer(512).scatter(c.rng, 8, "DA")
    c.put("disk.vmdk", mono(layer, dict(
        parent="BA5E", hint="base.vmdk", ddb=()), grain=8))
    c.good("disk.vmdk", layer.over(base), absent=False)


HINTS = {
    "dot-slash": "./base.vmdk",
    "backslash": ".\\base.vmdk",
    "windows": "C:\\Users\\me\\My VMs\\..\\vm\\base.vmdk",
    "datastore": "[datastore1] vm/base.vmdk",
    "vmfs": "/vmfs/volumes/4c0ffee0-12345678/vm/base.vmdk",
}


@case("good-hint-%s", *HINTS)
def hints(c, value):
    # Foreign forms are looked for by their last component.
    base = base_flat(c, 512)
    layer = Layer(512).scatter(c.rng, 8, "DA")
    c.put("disk.vmdk", mono(layer, dict(
        parent=0x0ba5e, hint=HINTS[value]), grain=8))
    c.good("disk.vmdk", layer.over(base), absent=False)


@case("good-parent-elsewhere")
def parent_elsewhere(c):
    # The hint is stale; the operator says where the parent is.
    base = base_flat(c, 512, name="store/base")
    c.put("store/base.vmdk", descriptor("vmfs", [
        extent("RW", 512, "VMFS", "base-flat.vmdk")], cid=0x0ba5e))
    layer = Layer(512).scatter(c.rng, 8, "DA")
    c.put("vm/disk.vmdk", mono(layer, dict(
        parent=0x0ba5e, hint="base.vmdk"), grain=8))
    seen = layer.over(base)
    for params in ("parent=@/store/base.vmdk", "search=@/store",
                   "search=@/vm search=@/store"):
        c.good("vm/disk.vmdk", seen, params=params, absent=False)
    c.reject("vm/disk.vmdk", "base.vmdk")
    c.reject("vm/disk.vmdk", "base.vmdk", params="search=@/vm")


@case("good-parent-up-and-down")
def parent_up(c):
    # "../store/base.vmdk" leaves the folder: the operator must agree.
    base = Layer(512).fill(c.rng)
    c.put("store/base-flat.vmdk", base.data)
    c.put("store/base.vmdk", descriptor("vmfs", [
        extent("RW", 512, "VMFS", "base-flat.vmdk")], cid=0x0ba5e))
    layer = Layer(512).scatter(c.rng, 8, "DA")
    c.put("vm/disk.vmdk", mono(layer, dict(
        parent=0x0ba5e, hint="../store/base.vmdk"), grain=8))
    c.good("vm/disk.vmdk", layer.over(base), params="allow-outside=true",
           absent=False)
    c.reject("vm/disk.vmdk", "../store/base.vmdk")


@case("good-parent-cid-ignored")
def parent_cid_ignored(c):
    base = base_flat(c, 512)
    layer = Layer(512).scatter(c.rng, 8, "DA")
    c.put("disk.vmdk", mono(layer, dict(
        parent=0xdead, hint="base.vmdk"), grain=8))
    c.warn("disk.vmdk", layer.over(base), "CID", params="ignore-cid=true",
           absent=False)
    c.good("disk.vmdk", layer, params="single-link=true")


@case("good-renamed")
def renamed(c):
    # The embedded text still has the old name.
    layer = Layer(MIB).scatter(c.rng, 128)
    c.put("new name.vmdk", mono(layer, dict(name="old-name.vmdk")))
    c.good("new name.vmdk", layer)


@case("good-extent-outside")
def extent_outside(c):
    layer = Layer(300).fill(c.rng)
    c.put("store/flat.bin", layer.data)
    c.put("vm/disk.vmdk", descriptor("vmfs", [
        extent("RW", 300, "VMFS", "../store/flat.bin")]))
    c.good("vm/disk.vmdk", layer, params="allow-outside=true")
    c.reject("vm/disk.vmdk", "../store/flat.bin")


# A lone extent, with the operator's word for it.

@case("good-lone-extent-%s", "sparse", "cowd", "sesparse", "stream")
def lone(c, value):
    layer = Layer(1000).scatter(c.rng, 8, "DA")
    image = {"sparse": lambda: Sparse(layer, grain=8),
             "cowd": lambda: Cowd(layer, grain=8),
             "sesparse": lambda: SeSparse(layer),
             "stream": lambda: Stream(layer, grain=8)}[value]()
    c.put("disk-s001.vmdk", image)
    c.good("disk-s001.vmdk", layer, params="lone-extent=true")


# Archives.

def ova_disks(c):
    one = Layer(MIB).scatter(c.rng, 128, "DTA")
    two = Layer(999).scatter(c.rng, 128, "DTA")
    return one, two, bytes(stream(one).bytes), bytes(
        Stream(two, text=stream_text(999), layout="front").bytes)


@case("good-ova-one-disk")
def ova_one(c):
    one, _, image, _ = ova_disks(c)
    c.put("vm.ova", tar([("vm.ovf", b"<Envelope/>"), ("disk.vmdk", image),
                         ("vm.mf", b"SHA1(x)= 0\n")]))
    c.good("vm.ova", one)


@case("good-ova-two-disks")
def ova_two(c):
    one, two, image1, image2 = ova_disks(c)
    c.put("vm.ova", tar([("vm.ovf", b"<Envelope/>"), ("vm-1.vmdk", image1),
                         ("vm-2.vmdk", image2)]))
    c.good("vm.ova", one, params="disk=vm-1.vmdk")
    c.good("vm.ova", two, params="disk=vm-2.vmdk")
    c.good("vm.ova", two, params="disk=2")
    c.reject("vm.ova", "vm-3.vmdk", params="disk=vm-3.vmdk")


@case("good-ova-long-name-%s", "pax", "gnu")
def ova_long(c, value):
    one, _, image, _ = ova_disks(c)
    name = "long" * 40 + "-\u76d8.vmdk"
    kind = dict(pax=tarfile.PAX_FORMAT, gnu=tarfile.GNU_FORMAT)[value]
    c.put("vm.ova", tar([("vm.ovf", b"<Envelope/>"), (name, image)], kind))
    c.good("vm.ova", one)
    c.good("vm.ova", one, params="disk=" + name)


@case("good-ova-base-256-size")
def ova_base256(c):
    one, _, image, _ = ova_disks(c)
    c.put("vm.ova", tar([("vm.ovf", b"<Envelope/>"), ("d.vmdk", image)],
                        tarfile.GNU_FORMAT, base256=True))
    c.good("vm.ova", one)


@case("good-ova-flat-disk")
def ova_flat(c):
    # A descriptor in the archive finds its extent there.
    layer = Layer(300).fill(c.rng)
    c.put("vm.ova", tar([
        ("disk.vmdk", descriptor("monolithicFlat", [
            extent("RW", 300, "FLAT", "disk-flat.vmdk", 0)])),
        ("disk-flat.vmdk", bytes(layer.data))]))
    c.good("vm.ova", layer)


# A folder of disks, for the tests of dir=.

@case("good-folder")
def folder(c):
    one = Layer(MIB).scatter(c.rng, 128)
    two = Layer(999).scatter(c.rng, 128, "DTA")
    three = Layer(300).fill(c.rng)
    c.put("one.vmdk", mono(one))
    c.put("two.vmdk", Stream(two, text=stream_text(999)))
    c.put("three-flat.vmdk", three.data)
    c.put("three.vmdk", descriptor("monolithicFlat", [
        extent("RW", 300, "FLAT", "three-flat.vmdk", 0)]))
    c.put("notes.txt", b"not a disk\n")
    for name, layer in ("one", one), ("two", two), ("three", three):
        c.good(name + ".vmdk", layer)
