#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 9: Shrink gives back blocks of zeros.  First the unused space
# is zeroed, then there is more free space on the host; the capacity stays.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-io --version
cd "$tmp"

for type in monolithicSparse twoGbMaxExtentSparse; do
  rm -f disk*
  vmdkit create -q -t $type disk.vmdk 3G
  qemu-io -f vmdk -c 'write -P 3 0 32M' -c 'write -P 4 2100M 32M' disk.vmdk \
    > /dev/null
  qemu-io -f vmdk -c 'write -P 0 0 16M' -c 'write -P 0 2100M 16M' disk.vmdk \
    > /dev/null
  qemu-img convert -f vmdk -O raw disk.vmdk wanted
  before=$(du -cb disk* | tail -1 | cut -f1)
  vmdkit shrink -q disk.vmdk || fail "$type"
  after=$(du -cb disk* | tail -1 | cut -f1)
  test $((before - after)) -ge 33554432 || fail "$type: $before, $after"
  qemu-img compare -q -f raw -F vmdk wanted disk.vmdk || fail "$type: contents"
  qemu-img check -q disk.vmdk || fail "$type: qemu-img check"
  test "$(vmdkit info --json disk.vmdk | json 'j["capacity"]')" = 3221225472 \
    || fail "$type: the capacity was changed"
done
vmdkit create -q -t streamOptimized packed.vmdk 1G
tool_fails 1 "convert" shrink packed.vmdk
