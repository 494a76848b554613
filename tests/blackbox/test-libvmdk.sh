#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# libvmdk, a third reader, agrees on the images that it can read.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires nbdcopy --version
requires_python pyvmdk
PYVMDK=$PYTHON
requires_python nbd

# It knows no grains of 8 sectors, no zero entries, no offsets of extents, and
# no extents in the middle that are not whole grains.
"$PYTHON" "$make_images" "$tmp/images" 'good-sparse-grain-??' \
  'good-sparse-grain-???' good-sparse-shuffled-grain-128 \
  'good-sparse-odd-capacity-*' good-split-sparse-qemu good-split-flat \
  good-flat good-vmfs-thin good-stream-front good-stream-footer \
  good-stream-both good-stream-last-grain-short good-cowd-base

for disk in "$tmp"/images/good-*/disk.vmdk; do
  "$PYVMDK" "$here/read-libvmdk.py" "$disk" "$tmp/libvmdk.raw" \
    || fail "libvmdk: $disk"
  served_as "$tmp/libvmdk.raw" "$disk"
done
