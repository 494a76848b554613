#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 8: Grow adds sectors to a disk that is not open; its
# geometry follows on request.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-io --version
cd "$tmp"

for type in monolithicSparse monolithicFlat twoGbMaxExtentSparse \
  twoGbMaxExtentFlat; do
  rm -f disk*
  vmdkit create -q -t $type disk.vmdk 1G
  qemu-io -f vmdk -c 'write -P 3 0 3M' -c 'write -P 4 1023M 1M' disk.vmdk \
    > /dev/null
  qemu-img convert -f vmdk -O raw disk.vmdk wanted
  before=$(vmdkit meta get disk.vmdk geometry.cylinders)
  vmdkit grow -q disk.vmdk 5G || fail "$type"
  truncate -s 5G wanted
  qemu-img compare -q -f raw -F vmdk wanted disk.vmdk || fail "$type: contents"
  test "$(vmdkit meta get disk.vmdk geometry.cylinders)" = "$before" \
    || fail "$type: the geometry was changed"
  vmdkit grow -q --geometry disk.vmdk 6G
  truncate -s 6G wanted
  test "$(vmdkit meta get disk.vmdk geometry.cylinders)" -gt "$before" \
    || fail "$type: the geometry was not changed"
  qemu-io -f vmdk -c 'write -P 5 5500M 100M' disk.vmdk > /dev/null
  qemu-io -f raw -c 'write -P 5 5500M 100M' wanted > /dev/null
  qemu-img compare -q -f raw -F vmdk wanted disk.vmdk || fail "$type: written"
  case $type in *Sparse) qemu-img check -q disk.vmdk || fail "$type" ;; esac
  tool_fails 1 "disk.vmdk" grow disk.vmdk 1G
  vmdkit grow -q disk.vmdk 6G || fail "$type: the same size"
done

vmdkit child disk.vmdk child.vmdk
tool_fails 1 "child.vmdk" grow child.vmdk 7G
tool_fails 1 "child.vmdk" grow disk.vmdk 7G
