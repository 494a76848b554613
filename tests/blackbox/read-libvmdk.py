# SPDX-License-Identifier: BSD-3-Clause

"""read-libvmdk.py DISK FILE: what libvmdk, a third reader, reads from DISK."""

import sys

import pyvmdk


def main(disk, path):
    handle = pyvmdk.handle()
    handle.open(disk)
    handle.open_extent_data_files()
    size = handle.get_media_size()
    with open(path, "wb") as out:
        while out.tell() < size:
            out.write(handle.read_buffer_at_offset(
                min(1 << 16, size - out.tell()), out.tell()))


main(*sys.argv[1:])
