# SPDX-License-Identifier: BSD-3-Clause
"""Malformed images: refused, or served with EIO where the damage is.

Above each case stands the condition it shows.  The words are what a good
message must hold: the file's or the field's name, and the value.
"""

import gzip
import io
import os
import socket
import struct
import tarfile
import zlib

from casebook import case
from good_cases import base_flat, delta, mono, mono_text, stream
from vmdkgen import (DDB, FLAG_COMPRESSED, FLAG_MARKERS, FLAG_NEWLINES,
                     GD_AT_END, MARKER_EOS, MARKER_GD, MARKER_OTHER, SECTOR,
                     Cowd, KdmvHeader, Layer, SeSparse, Sparse, descriptor,
                     extent, marker, tar)

MIB = 2048


# Files that are no disk.

WHOLE = {
    # Shorter than a magic.
    "empty": (b"", "disk.vmdk"),
    "three-bytes": (b"KDM", "disk.vmdk"),
    # A magic, but not a whole header.
    "header-cut": (KdmvHeader(capacity=128).pack()[:300], "disk.vmdk"),
    "cowd-header-cut": (b"COWD" + bytes(100), "disk.vmdk"),
    # No known magic and no text descriptor.
    "garbage": (bytes(range(256)) * 16, "disk.vmdk & not a VMDK"),
    "zeros": (bytes(8192), "disk.vmdk & not a VMDK"),
    "utf-16": (descriptor("vmfs", ["RW 1 ZERO"]).decode().encode("utf-16"),
               "disk.vmdk & not a VMDK"),
    "qcow2": (b"QFI\xfb\0\0\0\3".ljust(65536, b"\0"),
              "disk.vmdk & not a VMDK"),
    "java-class": (b"\xca\xfe\xba\xbe\0\0\0\x34".ljust(2048, b"\0"),
                   "disk.vmdk & not a VMDK"),
    "shell-script": (b"#!/bin/sh\nexit 0\n", "disk.vmdk & not a VMDK"),
    "key-without-type": (b"version=1\nname=x\n", "disk.vmdk & not a VMDK"),
    "gzip": (gzip.compress(bytes(4096), mtime=0), "disk.vmdk"),
    # A stream whose writer did not finish: the magic is in lower case.
    "unfinished": (b"kdmv" + KdmvHeader(capacity=128).pack()[4:],
                   "disk.vmdk & incomplete"),
    # A change-tracking file has the suffix but is no disk.
    "change-tracking-file": (bytes.fromhex("a27219f6010000000000000000020000")
                             .ljust(2048, b"\0"),
                             "disk.vmdk & change"),
}


@case("bad-file-%s", *WHOLE)
def whole_files(c, value):
    data, words = WHOLE[value]
    c.put("disk.vmdk", data)
    c.reject("disk.vmdk", words)


# Descriptors.

FLAT = extent("RW", 64, "FLAT", "disk-flat.vmdk", 0)


def flat_text(lines=(FLAT,), **more):
    return descriptor("monolithicFlat", lines, **more)


def edit(old, new, **more):
    text = flat_text(**more)
    assert old in text
    return text.replace(old, new)


TEXTS = {
    # More text, longer lines, more extents than any reader need take.
    "too-large": (flat_text() + b"# x\n" * (9 << 20 >> 2), "disk.vmdk"),
    "line-too-long": (flat_text() + b"#" * 100000 + b"\n", "disk.vmdk"),
    "too-many-extents": (flat_text(["RW 1 ZERO"] * 40000), "disk.vmdk"),
    # Line ends of an old Macintosh; quotes that do not close.
    "lone-cr": (flat_text().replace(b"\n", b"\r"), "disk.vmdk"),
    "cr-in-line": (edit(b"CID=12", b"CID=1\r2"), "disk.vmdk & line"),
    "value-quote-open": (edit(b'Flat"\n', b"Flat\n"), "disk.vmdk & line"),
    "name-quote-open": (edit(b'flat.vmdk" 0', b"flat.vmdk"),
                        "disk.vmdk & line"),
    "text-after-quote": (edit(b'Flat"\n', b'Flat"x\n'), "disk.vmdk & line"),
    # A line that is neither blank, comment, extent nor assignment.
    "line-without-meaning": (edit(b"# Extent", b"hello world\n# Extent"),
                             "disk.vmdk & line"),
    "access-misspelt": (edit(b"# Extent", b"RDONLYY 16 ZERO\n# Extent"),
                        "disk.vmdk & line"),
    "access-cut": (edit(b"# Extent", b"R 16 ZERO\n# Extent"),
                   "disk.vmdk & line"),
    "key-with-blank": (edit(b"# Extent", b"a b=c\n# Extent"),
                       "disk.vmdk & line"),
    # No extent lines, or none before the first NUL; total capacity 0.
    "no-extents": (flat_text([]), "disk.vmdk & extent"),
    "nul-before-extents": (edit(b"# Extent", b"\0# Extent"),
                           "disk.vmdk & extent"),
    "placeholder-only": (flat_text(["NOACCESS 0 ZERO "]),
                         "disk.vmdk"),
    # Extent sizes.
    "size-0": (edit(b"RW 64", b"RW 0"), "disk.vmdk & line"),
    "size-negative": (edit(b"RW 64", b"RW -64"), "disk.vmdk & line"),
    "size-plus": (edit(b"RW 64", b"RW +64"), "disk.vmdk & line"),
    "size-hex": (edit(b"RW 64", b"RW 0x40"), "disk.vmdk & line"),
    "size-2-to-54": (edit(b"RW 64", b"RW 18014398509481984"),
                     "disk.vmdk & line"),
    "size-2-to-64": (edit(b"RW 64", b"RW 18446744073709551680"),
                     "disk.vmdk & line"),
    "size-missing": (edit(b"RW 64 FLAT", b"RW FLAT"), "disk.vmdk & line"),
    "sizes-sum-2-to-54": (flat_text(["RW 9007199254740992 ZERO"] * 2),
                          "disk.vmdk"),
    # Offsets, and the flat file's end.
    "offset-negative": (edit(b'" 0', b'" -1'), "disk.vmdk & line"),
    "offset-text": (edit(b'" 0', b'" x'), "disk.vmdk & line"),
    "offset-overflow": (edit(b'" 0', b'" 18446744073709551615'),
                        "disk.vmdk"),
    "offset-past-end": (edit(b'" 0', b'" 4096'), "disk-flat.vmdk"),
    "offset-into-end": (edit(b'" 0', b'" 1'), "disk-flat.vmdk"),
    "flat-shorter": (edit(b"RW 64", b"RW 65"), "disk-flat.vmdk"),
    "sparse-with-offset": (edit(b'FLAT "disk-flat.vmdk" 0',
                                b'SPARSE "disk-flat.vmdk" 8'), "disk.vmdk"),
    # Unknown words; no name.
    "access-unknown": (edit(b"RW 64", b"WO 64"), "disk.vmdk & line"),
    "type-unknown": (edit(b" FLAT ", b" FLATTER "), "disk.vmdk & FLATTER"),
    "name-missing": (edit(b' "disk-flat.vmdk" 0', b""), "disk.vmdk & line"),
    "name-empty": (edit(b"disk-flat.vmdk", b""), "disk.vmdk"),
    # Keys that occur twice and differ.
    "cid-twice": (edit(b"CID=1234", b"CID=99\nCID=1234"),
                  "disk.vmdk & CID"),
    "parent-cid-twice": (edit(b"parentCID=f",
                              b"parentCID=6b8b4567\nparentCID=f"),
                         "disk.vmdk & parentCID"),
    "create-type-twice": (edit(b"createType", b'createType="vmfs"\n'
                               b"createType"), "disk.vmdk & createType"),
    "hint-twice": (edit(b"# Extent", b'parentFileNameHint="a"\n'
                        b'parentFileNameHint="b"\n# Extent'),
                   "disk.vmdk & parentFileNameHint"),
    # Content IDs.
    "cid-not-hex": (edit(b"=12345678", b"=1234567g"), "disk.vmdk & CID"),
    "cid-nine-digits": (edit(b"=12345678", b"=123456789"),
                        "disk.vmdk & CID"),
    "cid-empty": (edit(b"=12345678", b"="), "disk.vmdk & CID"),
    "parent-cid-not-hex": (edit(b"=ffffffff", b"=fffffffz"),
                           "disk.vmdk & parentCID"),
    # A parent, but no word where it is.
    "hint-missing": (flat_text(parent=5), "disk.vmdk & parentFileNameHint"),
    "hint-empty": (flat_text(parent=5, hint=""),
                   "disk.vmdk & parentFileNameHint"),
    "hint-without-parent-cid": (edit(b"parentCID=ffffffff\n", b"",
                                     hint="base.vmdk"),
                                "disk.vmdk & parentCID"),
    # Versions.
    "version-0": (flat_text(version="0"), "disk.vmdk & version"),
    "version-5": (flat_text(version="5"), "disk.vmdk & version & 5"),
    "version-text": (flat_text(version="one"), "disk.vmdk & version"),
    # What files cannot serve: objects, native snapshots, encryption.
    "vsan-object": (flat_text(['RW 64 VSANSPARSE "vsan://52d4a1b2"'],
                              version="4"), "disk.vmdk & VSANSPARSE"),
    "vsan-name": (flat_text(['RW 64 VMFS "vsan://52d4a1b2"']),
                  "disk.vmdk & vsan"),
    "vvol-name": (flat_text(['RW 64 VMFS "vvol://52d4a1b2"']),
                  "disk.vmdk & vvol"),
    "native-snapshot": (flat_text(parent=5, hint="base.vmdk", more=[
        'isNativeSnapshot="yes"']), "disk.vmdk & isNativeSnapshot"),
    "encrypted": (flat_text(more=['encryptionKeys="vmware:key/list"',
                                  'keyID="abc"']), "disk.vmdk & encrypted"),
    "encrypting-filter": (flat_text(ddb=DDB + (
        'ddb.iofilters = "vmwarevmcrypt"',)), "disk.vmdk & encrypted"),
    # An all-flat link can never ask a parent.
    "flat-child": (flat_text(parent=0x0ba5e, hint="base.vmdk"),
                   "disk.vmdk & parent"),
}


@case("bad-text-%s", *TEXTS)
def texts(c, value):
    text, words = TEXTS[value]
    c.put("disk-flat.vmdk", c.rng.randbytes(64 * SECTOR))
    base_flat(c, 64)
    c.put("disk.vmdk", text)
    c.reject("disk.vmdk", words)


# Names of extents.

EXTENT_NAMES = {
    # Windows forms, absolute names, upward names.
    "backslash": ("sub\\flat.vmdk", "flat.vmdk"),
    "drive": ("C:flat.vmdk", "flat.vmdk"),
    "windows-device": ("\\\\.\\PhysicalDrive0", "PhysicalDrive0"),
    "upward": ("../flat.vmdk", "../flat.vmdk"),
    "upward-later": ("sub/../../flat.vmdk", "flat.vmdk"),
    "absolute": ("/etc/passwd", "/etc/passwd"),
    "absolute-device": ("/dev/loop0", "/dev/loop0"),
    "absolute-terminal": ("/dev/tty", "/dev/tty"),
    "dot": (".", "disk.vmdk"),
    "dot-dot": ("..", "disk.vmdk"),
    "slash-end": ("sub/", "disk.vmdk"),
    # A protocol is only ever a file name.
    "nbd-uri": ("nbd://127.0.0.1:10809/x", "nbd:"),
    "http-uri": ("http://127.0.0.1/flat.vmdk", "http:"),
    "json": ("json:{'driver':'null-co'}", "json:"),
    "fat-protocol": ("fat:sub", "fat:sub"),
    # Not there.
    "missing": ("no-such-flat.vmdk", "no-such-flat.vmdk"),
    "format-string": ("%n%n%s%s%999999d", "%n%n%s"),
    # What may block or act, or is no file at all.
    "symbolic-link": ("link.vmdk", "link.vmdk"),
    "link-in-path": ("linked/flat.vmdk", "linked"),
    "fifo": ("fifo.vmdk", "fifo.vmdk"),
    "socket": ("sock.vmdk", "sock.vmdk"),
    "folder": ("sub", "sub"),
    # The descriptor itself; another descriptor.
    "itself": ("disk.vmdk", "disk.vmdk"),
    "itself-by-path": ("./disk.vmdk", "disk.vmdk"),
    "text-descriptor": ("other.vmdk", "other.vmdk"),
    # Control bytes; names of any length.
    "control-bytes": ("a\x1b]0;title\x07b\x08.vmdk", "disk.vmdk"),
    "long": ("n" * 3000, "disk.vmdk"),
    "too-long": ("n" * 5000, "disk.vmdk"),
}


@case("bad-extent-name-%s", *EXTENT_NAMES)
def extent_names(c, value):
    name, words = EXTENT_NAMES[value]
    layer = Layer(64).fill(c.rng)
    c.put("flat.vmdk", layer.data)
    c.put("vm/flat.vmdk", layer.data)
    c.put("vm/sub/flat.vmdk", layer.data)
    c.put("vm/other.vmdk", flat_text(['RW 64 VMFS "flat.vmdk"']))
    os.symlink("flat.vmdk", c.path("vm/link.vmdk"))
    os.symlink("sub", c.path("vm/linked"))
    os.mkfifo(c.path("vm/fifo.vmdk"))
    here = os.getcwd()
    os.chdir(c.path("vm"))  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock.vmdk")
    os.chdir(here)
    # The descriptor is longer than the extent, should it be taken for one.
    c.put("vm/disk.vmdk", flat_text(['RW 1 VMFS "%s"' % name]))
    c.reject("vm/disk.vmdk", words)


@case("bad-extent-file-twice")
def extent_twice(c):
    # Ranges of one flat file that overlap.
    c.put("flat.vmdk", c.rng.randbytes(64 * SECTOR))
    c.put("disk.vmdk", flat_text(['RW 40 FLAT "flat.vmdk" 0',
                                  'RW 24 FLAT "flat.vmdk" 39']))
    c.reject("disk.vmdk", "flat.vmdk")


@case("bad-extent-sparse-file-twice")
def extent_sparse_twice(c):
    # One sparse file as two extents.
    layer = Layer(64).fill(c.rng)
    c.put("disk-s001.vmdk", Sparse(layer, grain=8))
    c.put("disk.vmdk", descriptor("twoGbMaxExtentSparse", [
        extent("RW", 64, "SPARSE", "disk-s001.vmdk")] * 2))
    c.reject("disk.vmdk", "disk-s001.vmdk")


@case("bad-extent-hard-link")
def extent_hard_link(c):
    # The same file under two names.
    layer = Layer(64).fill(c.rng)
    c.put("a.vmdk", Sparse(layer, grain=8))
    os.link(c.path("a.vmdk"), c.path("b.vmdk"))
    c.put("disk.vmdk", descriptor("twoGbMaxExtentSparse", [
        extent("RW", 64, "SPARSE", "a.vmdk"),
        extent("RW", 64, "SPARSE", "b.vmdk")]))
    c.reject("disk.vmdk", "b.vmdk")


@case("bad-extent-second-missing")
def extent_second_missing(c):
    layer = Layer(64).fill(c.rng)
    c.put("disk-s001.vmdk", Sparse(layer, grain=8))
    c.put("disk.vmdk", descriptor("twoGbMaxExtentSparse", [
        extent("RW", 64, "SPARSE", "disk-s001.vmdk"),
        extent("RW", 64, "SPARSE", "disk-s002.vmdk")]))
    c.reject("disk.vmdk", "disk-s002.vmdk")


@case("bad-extent-%s-without-magic", "SPARSE", "VMFSSPARSE", "SESPARSE")
def extent_no_magic(c, value):
    # The word promises a sparse extent; the file holds raw bytes.
    c.put("disk-s001.vmdk", c.rng.randbytes(64 * SECTOR))
    c.put("disk.vmdk", descriptor("custom", [
        extent("RW", 64, value, "disk-s001.vmdk")]))
    c.reject("disk.vmdk", "disk-s001.vmdk")


@case("bad-extent-rdm-%s", "useless", "raw")
def extent_rdm(c, value):
    # A mapping file without the data; a raw device.
    c.put("disk-rdm.vmdk", c.rng.randbytes(SECTOR))
    c.put("disk.vmdk", descriptor("vmfsRDM", [
        'RW 64 VMFSRDM "disk-rdm.vmdk"' if value == "useless"
        else 'RW 64 VMFSRAW "/vmfs/devices/disks/naa.6"']))
    c.reject("disk.vmdk", "VMFSRDM" if value == "useless" else "VMFSRAW")


# A KDMV file as the disk.

@case("bad-embedded-%s", "absent", "empty")
def embedded_none(c, value):
    # No descriptor, or an area of zeros: nobody knows what the extent is of.
    layer = Layer(MIB).scatter(c.rng, 128)
    c.put("disk-s001.vmdk", Sparse(
        layer, text=b"\0" if value == "empty" else b""))
    c.reject("disk-s001.vmdk", "disk-s001.vmdk & descriptor")


@case("bad-lone-%s", "cowd", "sesparse")
def lone(c, value):
    # An extent given as the disk: the message names its descriptor.
    layer = Layer(500).scatter(c.rng, 8, "DA")
    if value == "cowd":
        c.put("disk-delta.vmdk", Cowd(layer))
        c.put("disk.vmdk", descriptor("vmfsSparse", [
            extent("RW", 500, "VMFSSPARSE", "disk-delta.vmdk")]))
        c.reject("disk-delta.vmdk", "disk-delta.vmdk & disk.vmdk")
    else:
        c.put("disk-sesparse.vmdk", SeSparse(layer))
        c.put("disk.vmdk", descriptor("seSparse", [
            extent("RW", 500, "SESPARSE", "disk-sesparse.vmdk")]))
        c.reject("disk-sesparse.vmdk", "disk-sesparse.vmdk & disk.vmdk")


@case("bad-embedded-first-extent-%s", "flat", "zero", "absolute")
def embedded_first(c, value):
    # The first extent of an embedded descriptor must be SPARSE.
    layer = Layer(MIB).scatter(c.rng, 128)
    c.put("flat.vmdk", c.rng.randbytes(MIB * SECTOR))
    line = {"flat": extent("RW", MIB, "FLAT", "flat.vmdk", 0),
            "zero": "RW %d ZERO" % MIB,
            "absolute": extent("RW", 1, "FLAT", "/etc/passwd", 0)}[value]
    c.put("disk.vmdk", Sparse(layer, text=descriptor("monolithicSparse",
                                                     [line])))
    c.reject("disk.vmdk", "disk.vmdk")


HEADERS = {
    # Version, incompatible flags, newline bytes.
    "version-0": (dict(version=0), "version & 0"),
    "version-4": (dict(version=4), "version & 4"),
    "incompatible-flag": (dict(flags=0x40003), "flag"),
    "incompatible-flag-31": (dict(flags=0x80000003), "flag"),
    "newlines": (dict(newlines=b"\n \n\n"), "newline"),
    "newlines-crlf": (dict(newlines=b"\r\n \r"), "newline"),
    # Compression and its flags must agree.
    "markers-uncompressed": (dict(flags=FLAG_NEWLINES | FLAG_MARKERS), "flag"),
    "compressed-no-algorithm": (dict(
        flags=FLAG_NEWLINES | FLAG_COMPRESSED | FLAG_MARKERS), "ompress"),
    "compressed-no-markers": (dict(
        flags=FLAG_NEWLINES | FLAG_COMPRESSED, compressAlgorithm=1),
        "marker"),
    "algorithm-unflagged": (dict(compressAlgorithm=1), "ompress"),
    "algorithm-2": (dict(compressAlgorithm=2), "ompress & 2"),
    # The grain.
    "grain-0": (dict(grainSize=0), "grain & 0"),
    "grain-1": (dict(grainSize=1), "grain & 1"),
    "grain-4": (dict(grainSize=4), "grain & 4"),
    "grain-100": (dict(grainSize=100), "grain & 100"),
    "grain-huge": (dict(grainSize=1 << 30), "grain & 1073741824"),
    "grain-2-to-63": (dict(grainSize=1 << 63), "grain & 9223372036854775808"),
    # Entries in a table.
    "entries-0": (dict(numGTEsPerGT=0), "numGTEsPerGT & 0"),
    "entries-500": (dict(numGTEsPerGT=500), "numGTEsPerGT & 500"),
    "entries-64": (dict(numGTEsPerGT=64), "numGTEsPerGT & 64"),
    "entries-huge": (dict(numGTEsPerGT=1 << 31), "numGTEsPerGT"),
    # Products that overflow; a directory that cannot fit into the file.
    "product-overflow": (dict(grainSize=1 << 62, numGTEsPerGT=1 << 30),
                         "grain"),
    "capacity-2-to-54": (dict(capacity=1 << 54), "capacity"),
    "capacity-all-ones": (dict(capacity=(1 << 64) - 1), "capacity"),
    "capacity-2-to-50": (dict(capacity=1 << 50), "disk.vmdk"),
    "capacity-2-to-40": (dict(capacity=1 << 40), "disk.vmdk"),
    # Where the directory is.
    "directory-0": (dict(gdOffset=0), "gdOffset"),
    "directory-past-end": (dict(gdOffset=1 << 20), "gdOffset"),
    "directory-overflow": (dict(gdOffset=1 << 60), "gdOffset"),
    "directory-in-descriptor": (dict(gdOffset=5), "gdOffset"),
    "directory-is-the-copy": (dict(gdOffset=21), "gdOffset"),
    "overhead-past-end": (dict(overHead=1 << 20), "disk.vmdk & overHead"),
    # The line says more than the header.
    "capacity-below-line": (dict(capacity=MIB - 1), "capacity & 2047"),
    # The descriptor's area.
    "descriptor-past-end": (dict(descriptorOffset=1 << 30), "descriptor"),
    "descriptor-overflow": (dict(descriptorOffset=1 << 62), "descriptor"),
    "descriptor-cut": (dict(descriptorSize=1 << 14), "descriptor"),
    "descriptor-huge": (dict(descriptorSize=1 << 60), "descriptor"),
    "descriptor-size-0": (dict(descriptorSize=0), "descriptor"),
    "descriptor-over-directory": (dict(descriptorSize=40), "descriptor"),
    # A directory at the end, but no footer.
    "directory-at-end": (dict(gdOffset=GD_AT_END), "disk.vmdk"),
}


@case("bad-header-%s", *HEADERS)
def headers(c, value):
    fields, words = HEADERS[value]
    layer = Layer(MIB).fill(c.rng)
    c.put("disk.vmdk", mono(layer).set(**fields))
    c.reject("disk.vmdk", words)


@case("bad-header-capacity-0")
def capacity_zero(c):
    # Capacity 0 without a descriptor.
    image = Sparse(Layer(MIB).fill(c.rng)).set(capacity=0)
    c.put("disk.vmdk", image)
    c.reject("disk.vmdk", "disk.vmdk")
    c.reject("disk.vmdk", "disk.vmdk", params="lone-extent=true")


@case("bad-header-huge-in-small-file")
def huge_small(c):
    # 2^50 sectors promised by a file of a few sectors.
    text = mono_text(1 << 50)
    c.put("disk.vmdk", KdmvHeader(
        capacity=1 << 50, descriptorOffset=1, descriptorSize=20, gdOffset=21,
        flags=FLAG_NEWLINES, overHead=21).pack() + text.ljust(
            21 * SECTOR, b"\0"))
    c.reject("disk.vmdk", "disk.vmdk")


@case("bad-header-of-second-extent")
def header_second(c):
    # The message names the extent, not only the disk.
    one, two = Layer(MIB).fill(c.rng), Layer(MIB).fill(c.rng)
    c.put("disk-s001.vmdk", Sparse(one))
    c.put("disk-s002.vmdk", Sparse(two).set(grainSize=100))
    c.put("disk.vmdk", descriptor("twoGbMaxExtentSparse", [
        extent("RW", MIB, "SPARSE", "disk-s001.vmdk"),
        extent("RW", MIB, "SPARSE", "disk-s002.vmdk")]))
    c.reject("disk.vmdk", "disk-s002.vmdk & 100")


# Entries of directories and tables: EIO where they are needed.

GDES = {
    # Past the end; into the header, the descriptor, the directory, itself.
    "past-end": lambda image: 1 << 20,
    "all-ones": lambda image: 0xffffffff,
    "cut-by-end": lambda image: len(image.bytes) // SECTOR - 1,
    "one": lambda image: 1,
    "in-descriptor": lambda image: 7,
    "in-directory": lambda image: image.gd,
    "in-redundant-directory": lambda image: image.rgd,
}


@case("bad-directory-entry-%s", *GDES)
def gdes(c, value):
    # A table of 8-sector grains spans 4096 sectors; the second is damaged.
    layer = Layer(4096 * 3).scatter(c.rng, 8)
    layer.write(4096, c.rng.randbytes(4096 * SECTOR))
    image = mono(layer, grain=8)
    image.set_gde(1, GDES[value](image))
    c.put("disk.vmdk", image)
    c.eio("disk.vmdk", layer, [(4096 * SECTOR, 4096 * SECTOR)], "disk.vmdk")


@case("bad-directory-entry-equals-copy")
def gde_equals_copy(c):
    # Both directories name one table.
    layer = Layer(4096 * 2).fill(c.rng)
    image = mono(layer, grain=8)
    image.poke32(image.gde_at(1), image.rtables[1])
    c.put("disk.vmdk", image)
    c.eio("disk.vmdk", layer, [(4096 * SECTOR, 4096 * SECTOR)], "disk.vmdk")


GTES = {
    # Past the end; into metadata; a grain that the file's end cuts.
    "past-end": lambda image: 1 << 20,
    "all-ones": lambda image: 0xffffffff,
    "cut-by-end": lambda image: len(image.bytes) // SECTOR - 100,
    "at-end": lambda image: len(image.bytes) // SECTOR,
    "in-header": lambda image: 2,
    "in-descriptor": lambda image: 15,
    "in-directory": lambda image: image.gd,
    "in-redundant-directory": lambda image: image.rgd,
    "in-table": lambda image: image.tables[0] + 1,
    "in-redundant-table": lambda image: image.rtables[0],
    # 1 means a zero grain only with flag bit 2.
    "one-unflagged": lambda image: 1,
}


@case("bad-table-entry-%s", *GTES)
def gtes(c, value):
    layer = Layer(MIB).fill(c.rng)
    image = mono(layer)
    image.set_gte(5, GTES[value](image))
    c.put("disk.vmdk", image)
    c.eio("disk.vmdk", layer, [image.grain_range(5)], "disk.vmdk")


@case("bad-table-entry-in-child")
def gte_child(c):
    # Damage in a child does not let the parent shine through.
    base = base_flat(c, MIB)
    layer = Layer(MIB).scatter(c.rng, 128, "DA")
    layer.write(5 * 128, c.rng.randbytes(128 * SECTOR))
    image = mono(layer, dict(parent=0x0ba5e, hint="base.vmdk"))
    image.set_gte(5, 1 << 20)
    c.put("disk.vmdk", image)
    c.eio("disk.vmdk", layer.over(base), [image.grain_range(5)], "disk.vmdk",
          absent=False)


@case("bad-table-entry-in-parent")
def gte_parent(c):
    # Damage in a parent costs only what the child does not hold.
    base = Layer(MIB).fill(c.rng)
    image = Sparse(base, text=mono_text(MIB, "base.vmdk", cid=0x0ba5e))
    image.set_gte(5, 1 << 20).set_gte(6, 1 << 20)
    c.put("base.vmdk", image)
    layer = Layer(MIB)
    layer.write(5 * 128, c.rng.randbytes(64 * SECTOR))
    layer.write(6 * 128, c.rng.randbytes(128 * SECTOR))
    c.put("disk.vmdk", mono(layer, dict(parent=0x0ba5e, hint="base.vmdk"),
                            grain=8))
    c.eio("disk.vmdk", layer.over(base), [((5 * 128 + 64) * SECTOR,
                                           64 * SECTOR)], "base.vmdk")


@case("bad-file-cut-in-grain")
def cut_in_grain(c):
    # A copy that broke off: the last grain lacks its end.
    layer = Layer(MIB).fill(c.rng)
    image = mono(layer)
    image.cut(len(image.bytes) - 100 * SECTOR)
    c.put("disk.vmdk", image)
    c.eio("disk.vmdk", layer, [image.grain_range(15)], "disk.vmdk")


# Streams.

@case("bad-stream-footer-lost")
def footer_lost(c):
    # The directory was to be at the end, and the end is missing.
    image = stream(Layer(MIB).fill(c.rng))
    c.put("disk.vmdk", image.cut(image.gd * SECTOR))
    c.reject("disk.vmdk", "disk.vmdk & footer")


@case("bad-stream-footer-cut")
def footer_cut(c):
    # 79 bytes of a footer are not a footer.
    image = stream(Layer(MIB).fill(c.rng))
    c.put("disk.vmdk", image.cut(image.footer * SECTOR + 79))
    c.reject("disk.vmdk", "disk.vmdk & footer")


@case("bad-stream-cut-in-grains")
def stream_cut(c):
    image = stream(Layer(MIB).fill(c.rng))
    c.put("disk.vmdk", image.cut(image.grain_at(9) + 3000))
    c.reject("disk.vmdk", "disk.vmdk & footer")


FOOTERS = {
    # The footer says again "at the end", or another geometry.
    "at-end": dict(gdOffset=GD_AT_END),
    "capacity": dict(capacity=MIB - 128),
    "capacity-more": dict(capacity=MIB * 1000),
    "grain": dict(grainSize=64),
    "flags": dict(flags=FLAG_NEWLINES | FLAG_COMPRESSED),
    "entries": dict(numGTEsPerGT=1024),
    "directory-0": dict(gdOffset=0),
    "directory-past-end": dict(gdOffset=1 << 30),
}


@case("bad-stream-footer-%s", *FOOTERS)
def footers(c, value):
    image = stream(Layer(MIB).fill(c.rng))
    c.put("disk.vmdk", image.set_footer(**FOOTERS[value]))
    c.reject("disk.vmdk", "disk.vmdk")


def deflate_raw(data):
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


GRAINS = {
    # What a compressed grain claims of itself.
    "size-0": (None, lambda lba, data: (lba, 0, data)),
    "size-past-end": (None, lambda lba, data: (lba, 0x7fffffff, data)),
    "size-all-ones": (None, lambda lba, data: (lba, 0xffffffff, data)),
    "size-over-two-grains": (None, lambda lba, data: (lba, 131073, data)),
    "size-less": (None, lambda lba, data: (lba, len(data) // 2, data)),
    "other-lba": (None, lambda lba, data: (lba + 128, len(data), data)),
    "lba-huge": (None, lambda lba, data: ((1 << 64) - 1, len(data), data)),
    # What inflates to too much or too little, or does not.
    "bomb": (lambda data: zlib.compress(bytes(32 << 20)), None),
    "one-byte-more": (lambda data: zlib.compress(data + b"x"), None),
    "one-byte-less": (lambda data: zlib.compress(data[:-1]), None),
    "one-sector-less": (lambda data: zlib.compress(data[:-512]), None),
    "bad-adler": (lambda data: zlib.compress(data)[:-4] + b"\1\2\3\4", None),
    "no-end": (lambda data: zlib.compress(data)[:-6], None),
    "garbage": (lambda data: b"\xde\xad" * 500, None),
    "bits-flipped": (lambda data: bytes(
        b ^ (16 if i == 1000 else 0)
        for i, b in enumerate(zlib.compress(data))), None),
    "gzip": (lambda data: gzip.compress(data, mtime=0), None),
    "raw-deflate": (deflate_raw, None),
    "dictionary": (lambda data: b"\x78\xbb\0\0\0\1"
                   + zlib.compress(data)[2:], None),
}


@case("bad-stream-grain-%s", *GRAINS)
def grains(c, value):
    pack, claim = GRAINS[value]
    layer = Layer(MIB).scatter(c.rng, 128, "DT")
    bad = layer.grain(128, 5)[1]
    image = stream(layer, pack=lambda data: (
        pack(data) if pack and data == bad else zlib.compress(data)))
    if claim:
        lba, size, _ = claim(5 * 128, zlib.compress(bad))
        struct.pack_into("<QI", image.bytes, image.grain_at(5), lba, size)
    c.put("disk.vmdk", image)
    c.eio("disk.vmdk", layer, [image.grain_range(5)], "disk.vmdk")


@case("bad-stream-entry-%s", "past-end", "in-header", "in-directory")
def stream_entries(c, value):
    layer = Layer(MIB).scatter(c.rng, 128, "DT")
    image = stream(layer)
    image.poke32(image.gte_at(5), {"past-end": 1 << 25, "in-header": 1,
                                   "in-directory": image.gd}[value])
    c.put("disk.vmdk", image)
    c.eio("disk.vmdk", layer, [image.grain_range(5)], "disk.vmdk")


@case("bad-stream-last-grain-of-another")
def stream_swapped(c):
    # Two entries exchanged: both grains carry another's number.
    layer = Layer(MIB).scatter(c.rng, 128, "DT")
    image = stream(layer)
    image.poke32(image.gte_at(2), image.where[3])
    image.poke32(image.gte_at(3), image.where[2])
    c.put("disk.vmdk", image)
    c.eio("disk.vmdk", layer, [(256 * SECTOR, 256 * SECTOR)], "disk.vmdk")


@case("bad-stream-scan-%s", "huge-marker", "endless-markers", "no-progress")
def scans(c, value):
    # A recovery scan ends, whatever it meets, and keeps what came before;
    # what may have come behind is not served as zeros.
    layer = Layer(MIB)
    for g in range(8):
        layer.write(g * 128, c.rng.randbytes(128 * SECTOR))
    image = stream(layer)
    image.cut((image.tables[0] - 1) * SECTOR)
    image.bytes += {
        "huge-marker": marker((1 << 61) + 3, 0, MARKER_GD),
        "endless-markers": marker(0, 0, MARKER_OTHER) * 5000,
        "no-progress": marker(0, 0, MARKER_EOS) * 3
        + b"\xff" * SECTOR * 100}[value]
    c.put("disk.vmdk", image)
    c.eio("disk.vmdk", layer, [(8 * 65536, 8 * 65536)], "disk.vmdk",
          params="recover=true", absent=False)
    c.reject("disk.vmdk", "disk.vmdk & footer")


# COWD.

COWDS = {
    "version-2": (dict(version=2), "version & 2"),
    "flags-0": (dict(flags=0), "flags"),
    "flags-4": (dict(flags=4), "flags"),
    "grain-0": (dict(grainSize=0), "grain & 0"),
    "grain-3": (dict(grainSize=3), "grain & 3"),
    "grain-4096": (dict(grainSize=4096), "grain & 4096"),
    "capacity-0": (dict(numSectors=0), "disk-delta.vmdk"),
    "capacity-below-line": (dict(numSectors=4000), "disk-delta.vmdk"),
    "entries-0": (dict(numGDEntries=0), "disk-delta.vmdk"),
    "entries-too-few": (dict(numGDEntries=1), "disk-delta.vmdk"),
    "entries-huge": (dict(numGDEntries=1 << 31), "disk-delta.vmdk"),
    "directory-in-header": (dict(gdOffset=3), "disk-delta.vmdk"),
    "directory-0": (dict(gdOffset=0), "disk-delta.vmdk"),
    "directory-past-end": (dict(gdOffset=1 << 31), "disk-delta.vmdk"),
}


@case("bad-cowd-%s", *COWDS)
def cowds(c, value):
    fields, words = COWDS[value]
    base_flat(c, 9000)
    image = Cowd(Layer(9000).scatter(c.rng, 1, "DAAA")).set(**fields)
    delta(c, "vmfsSparse", "VMFSSPARSE", "disk", image)
    c.reject("disk.vmdk", words)


COWD_ENTRIES = {
    # Into the header, the directory, a table; past the end.
    "1": lambda image: 1,
    "in-header": lambda image: 3,
    "in-directory": lambda image: 4,
    "past-end": lambda image: len(image.bytes) // SECTOR,
    "all-ones": lambda image: 0xffffffff,
}


@case("bad-cowd-directory-entry-%s", *COWD_ENTRIES)
def cowd_gdes(c, value):
    base = base_flat(c, 9000)
    layer = Layer(9000).scatter(c.rng, 1, "DAAA")
    image = Cowd(layer)
    image.poke32(image.gde_at(1), COWD_ENTRIES[value](image))
    delta(c, "vmfsSparse", "VMFSSPARSE", "disk", image)
    c.eio("disk.vmdk", layer.over(base), [(4096 * SECTOR, 4096 * SECTOR)],
          "disk-delta.vmdk", absent=False)


@case("bad-cowd-table-entry-%s", "in-table", *COWD_ENTRIES)
def cowd_gtes(c, value):
    base = base_flat(c, 6000)
    layer = Layer(6000).scatter(c.rng, 8, "DA").write(
        40, c.rng.randbytes(8 * SECTOR))
    image = Cowd(layer, grain=8)
    image.poke32(image.gte_at(5), image.tables[0] + 3 if value == "in-table"
                 else COWD_ENTRIES[value](image))
    delta(c, "vmfsSparse", "VMFSSPARSE", "disk", image)
    c.eio("disk.vmdk", layer.over(base), [image.grain_range(5)],
          "disk-delta.vmdk", absent=False)


# seSparse.

SES = {
    "version-1": (dict(version=0x100000001), "version"),
    "grain-16": (dict(grainSize=16), "grain & 16"),
    "grain-0": (dict(grainSize=0), "grain & 0"),
    "table-128": (dict(grainTableSize=128), "128"),
    "flags": (dict(flags=1), "flags"),
    "reserved": (dict(reserved=1), "reserved"),
    "pad": (dict(pad=1), "header"),
    "capacity-0": (dict(capacity=0), "capacity"),
    "capacity-below-line": (dict(capacity=5000), "capacity & 5000"),
    "capacity-huge": (dict(capacity=1 << 60), "capacity"),
    # Regions that overlap each other or the header, or leave the file.
    "directory-over-header": (dict(grainDirectory=[0, 1]),
                              "disk-sesparse.vmdk"),
    "tables-over-directory": (dict(grainTables=[32, 64]),
                              "disk-sesparse.vmdk"),
    "directory-past-end": (dict(grainDirectory=[1 << 40, 1]),
                           "disk-sesparse.vmdk"),
    "directory-overflow": (dict(grainDirectory=[(1 << 64) - 1, 2]),
                           "disk-sesparse.vmdk"),
    "directory-empty": (dict(grainDirectory=[16, 0]), "disk-sesparse.vmdk"),
    "volatile-past-end": (dict(volatile=[1 << 40, 1]),
                          "disk-sesparse.vmdk"),
}


def sesparse(c, damage):
    base = base_flat(c, 6000)
    layer = Layer(6000).scatter(c.rng, 8, "DAZ")
    layer.write(40, c.rng.randbytes(8 * SECTOR))
    image = SeSparse(layer)
    damage(image)
    c.put("disk-sesparse.vmdk", image)
    c.put("disk.vmdk", descriptor("seSparse", [
        extent("RW", 6000, "SESPARSE", "disk-sesparse.vmdk")],
        cid=1, parent=0x0ba5e, hint="base.vmdk"))
    return image, layer.over(base)


@case("bad-sesparse-%s", *SES)
def sesparse_headers(c, value):
    fields, words = SES[value]
    sesparse(c, lambda image: image.set(**fields))
    c.reject("disk.vmdk", words)


@case("bad-sesparse-journal")
def sesparse_journal(c):
    sesparse(c, lambda image: image.poke64(
        image.volatile_at("replayJournal"), 1))
    c.reject("disk.vmdk", "disk-sesparse.vmdk & journal")


@case("bad-sesparse-volatile-magic")
def sesparse_volatile(c):
    sesparse(c, lambda image: image.poke64(image.volatile_at("magic"),
                                           0xcafebabe))
    c.reject("disk.vmdk", "disk-sesparse.vmdk & volatile")


SE_GDES = {
    # A tag that is not 1; an index outside the region of tables.
    "tag-0": 0x0000000000000001,
    "tag-2": 0x2000000000000000,
    "tag-low": 0x1000000100000000,
    "index-out-of-region": 0x1000000000000001,
    "index-huge": 0x10000000ffffffff,
}


@case("bad-sesparse-directory-entry-%s", *SE_GDES)
def sesparse_gdes(c, value):
    _, seen = sesparse(c, lambda image: image.poke64(image.gde_at(0),
                                                     SE_GDES[value]))
    c.eio("disk.vmdk", seen, [(0, 6000 * SECTOR)], "disk-sesparse.vmdk",
          absent=False)


SE_GTES = {
    # Types that do not exist; type 0 with bits; an index out of the region.
    "type-4": 4 << 60, "type-f": 0xf << 60, "type-0-with-bits": 7,
    "type-0-with-index": 1 << 48,
    "index-out-of-region": SeSparse.entry(751),
    "index-huge": (1 << 62) - 1,
}


@case("bad-sesparse-table-entry-%s", *SE_GTES)
def sesparse_gtes(c, value):
    image, seen = sesparse(c, lambda image: image.poke64(image.gte_at(5),
                                                         SE_GTES[value]))
    c.eio("disk.vmdk", seen, [image.grain_range(5)], "disk-sesparse.vmdk",
          absent=False)


@case("bad-sesparse-cut-in-grain")
def sesparse_cut(c):
    last = []

    def damage(image):
        last.append(max(image.where, key=image.where.get))
        image.cut(len(image.bytes) - 5 * SECTOR)
    image, seen = sesparse(c, damage)
    c.eio("disk.vmdk", seen, [image.grain_range(last[0])],
          "disk-sesparse.vmdk", absent=False)


# Chains.

def child(c, name, hint, parent=0x0ba5e, cid=0x0ba5e, sectors=512):
    layer = Layer(sectors).scatter(c.rng, 8, "DA")
    c.put(name, Sparse(layer, grain=8, text=mono_text(
        sectors, name, cid=cid, parent=parent, hint=hint)))
    return layer


@case("bad-chain-loop-of-%d", 1, 2, 3)
def loops(c, value):
    # A names B, B names A; or a link names itself.
    for i in range(value):
        child(c, "disk-%d.vmdk" % i, "disk-%d.vmdk" % ((i + 1) % value))
    c.reject("disk-0.vmdk", "loop")


@case("bad-chain-loop-of-%s", "hard-links")
def loop_links(c, value):
    # Another name for the same file.
    child(c, "disk.vmdk", "other.vmdk")
    os.link(c.path("disk.vmdk"), c.path("other.vmdk"))
    c.reject("disk.vmdk", "loop")


@case("bad-chain-cid-mismatch")
def cid_mismatch(c):
    # The parent was changed after the child was made.
    base_flat(c, 512)
    child(c, "disk.vmdk", "base.vmdk", parent=0xdeadbeef, cid=1)
    c.reject("disk.vmdk", "CID & deadbeef & 0000ba5e")


@case("bad-chain-parent-without-cid")
def parent_no_cid(c):
    # Such a link can never be anybody's parent.
    c.put("base-flat.vmdk", c.rng.randbytes(512 * SECTOR))
    c.put("base.vmdk", descriptor("vmfs", [
        'RW 512 VMFS "base-flat.vmdk"'], cid=None))
    child(c, "disk.vmdk", "base.vmdk", cid=1)
    c.reject("disk.vmdk", "base.vmdk & CID")


@case("bad-chain-extent-of-ancestor")
def shared_extent(c):
    # A child's extent is also its parent's.
    layer = Layer(512).scatter(c.rng, 8, "DA")
    c.put("disk-s001.vmdk", Sparse(layer, grain=8))
    line = extent("RW", 512, "SPARSE", "disk-s001.vmdk")
    c.put("base.vmdk", descriptor("twoGbMaxExtentSparse", [line],
                                  cid=0x0ba5e))
    c.put("disk.vmdk", descriptor("twoGbMaxExtentSparse", [line], cid=1,
                                  parent=0x0ba5e, hint="base.vmdk"))
    c.reject("disk.vmdk", "disk.vmdk & base.vmdk")


PARENTS = {
    # Unreadable, or no VMDK; the message names the parent.
    "missing": ("base.vmdk", None),
    "garbage": ("base.vmdk", b"\x7fELF" * 1000),
    "empty": ("base.vmdk", b""),
    "raw": ("base-flat.vmdk", bytes(512 * SECTOR)),
    "header-cut": ("base.vmdk", b"KDMV" + bytes(50)),
    "folder": ("folder", None),
    "fifo": ("fifo", None),
    "symbolic-link": ("link.vmdk", None),
    # The extent of the parent, not its descriptor.
    "extent": ("lone.vmdk", None),
    # Names that leave the folder or look like a protocol.
    "upward": ("../base.vmdk", None),
    "absolute": ("/etc/passwd", None),
    "nbd-uri": ("nbd://127.0.0.1:10809/", None),
    "json": ("json:{'driver':'null-co'}", None),
    "control-bytes": ("a\x1b[2Jb.vmdk", None),
    "long": ("p" * 4000, None),
    "format-string": ("%s%s%n", None),
}


@case("bad-parent-%s", *PARENTS)
def parents(c, value):
    name, data = PARENTS[value]
    if data is not None:
        c.put("vm/" + name, data)
    base = Layer(512).fill(c.rng)
    good = Sparse(base, grain=8, text=mono_text(512, cid=0x0ba5e))
    c.put("base.vmdk", good)  # one folder up
    c.put("vm/target.vmdk", good)
    c.put("vm/lone.vmdk", Sparse(base, grain=8))
    os.mkdir(c.path("vm/folder"))
    os.mkfifo(c.path("vm/fifo"))
    os.symlink("target.vmdk", c.path("vm/link.vmdk"))
    layer = Layer(512).scatter(c.rng, 8, "DA")
    c.put("vm/disk.vmdk", Sparse(layer, grain=8, text=mono_text(
        512, cid=1, parent=0x0ba5e, hint=name)))
    plain = value not in ("control-bytes", "long")
    c.reject("vm/disk.vmdk", name if plain else "disk.vmdk")


@case("bad-parent-of-parent")
def grandparent(c):
    # The link at fault is named, not only the disk that was asked for.
    child(c, "mid.vmdk", "gone.vmdk", parent=5)
    child(c, "disk.vmdk", "mid.vmdk", cid=1)
    c.reject("disk.vmdk", "gone.vmdk")


# Archives.

@case("bad-ova-%s", "empty", "no-disk", "cut", "checksum", "size-huge",
      "absolute-member", "link-member")
def ovas(c, value):
    layer = Layer(MIB).scatter(c.rng, 128, "DT")
    disk = bytes(stream(layer).bytes)
    data = bytearray(tar([("vm.ovf", b"<x/>"), ("disk.vmdk", disk)]))
    words = "vm.ova"
    if value == "empty":
        data = bytearray(10240)
    elif value == "no-disk":
        data = bytearray(tar([("vm.ovf", b"<x/>")]))
    elif value == "cut":
        del data[len(disk) // 2:]
    elif value == "checksum":
        data[1024 + 148] ^= 1  # of the second member's header
    elif value == "size-huge":
        data[1024 + 124:1024 + 136] = b"\x80" + b"\x7f" + b"\xff" * 10
        data[1024 + 148:1024 + 156] = b" " * 8
        data[1024 + 148:1024 + 156] = b"%06o\0 " % sum(data[1024:1536])
    elif value == "absolute-member":
        # A descriptor in an archive names a file outside it.
        data = bytearray(tar([("disk.vmdk", flat_text(
            ['RW 1 FLAT "/etc/passwd" 0']))]))
        words = "/etc/passwd"
    elif value == "link-member":
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w",
                          format=tarfile.USTAR_FORMAT) as out:
            info = tarfile.TarInfo("disk.vmdk")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            out.addfile(info)
        data = bytearray(archive.getvalue())
    c.put("vm.ova", data)
    c.reject("vm.ova", words)
