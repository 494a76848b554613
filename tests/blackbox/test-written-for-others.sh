#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Disks of every type that are made and written over NBD read the same with
# qemu-img and with libvmdk, as far as those know the type.  A disk that is
# mostly zeros is no larger than its data and tables.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires qemu-img --version
requires nbdcopy --version
requires_python pyvmdk
PYVMDK=$PYTHON
requires_python nbd
nbdkit_flags=

cd "$tmp"

for type in monolithic-sparse monolithic-flat split-sparse split-flat \
  vmfs-flat vmfs-thin vmfs-sparse stream-optimized; do
  rm -f disk*
  rm -f raw && truncate -s 6M raw
  nbdkit_vmdk disk.vmdk create=true create-size=6M create-type=$type \
    || fail "refused: $type"
  "$PYTHON" "$here/write-pattern.py" "$uri" raw || fail "$type"
  stop_nbdkit

  "$PYVMDK" "$here/read-libvmdk.py" disk.vmdk libvmdk.raw \
    || fail "libvmdk cannot read it: $type"
  cmp raw libvmdk.raw || fail "libvmdk reads something else: $type"
  # qemu-img has no VMFSSPARSE base
  test $type = vmfs-sparse && continue
  qemu-img convert -f vmdk -O raw disk.vmdk qemu.raw \
    || fail "qemu-img cannot read it: $type"
  cmp raw qemu.raw || fail "qemu-img reads something else: $type"
done

# One MiB of data in each of 4 GiB's 64: with requests for zeros, without, and
# with the zeros sent as data.
rm -f raw && truncate -s 4G raw
for n in $(seq 0 63); do
  head -c 1048576 /dev/urandom |
    dd of=raw bs=1M seek=$((n * 64)) conv=notrunc 2> dd.log
done
for how in "" --no-extents "--destination-is-zero"; do
  rm -f disk.vmdk
  nbdkit_vmdk disk.vmdk create=true create-size=4G detect-zeroes=on \
    || fail "refused"
  nbdcopy $how --flush raw "$uri" || fail "nbdcopy $how"
  stop_nbdkit
  # data, and two sets of tables with their directories
  size=$(du --apparent-size -B1 disk.vmdk | cut -f1)
  most=$((64 * 1048576 + 2 * (4194304 / 16 + 4096) + 131072))
  test "$size" -le "$most" || fail "nbdcopy $how: $size bytes, not $most"
done
qemu-img compare -q -f vmdk -F raw disk.vmdk raw || fail "the copy"
