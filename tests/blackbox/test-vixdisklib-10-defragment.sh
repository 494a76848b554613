#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 10: Defragment moves data to lower places within each extent;
# of use for sparse disks only.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-io --version
cd "$tmp"

fragmentation ()
{
  vmdkit info --json disk.vmdk | json 'j["fragmentation"]'
}

for type in monolithicSparse twoGbMaxExtentSparse; do
  rm -f disk*
  vmdkit create -q -t $type disk.vmdk 3G
  n=63
  while test $n -ge 0; do
    echo "write -P $((n + 1)) $((n * 64))k 64k"
    n=$((n - 1))
  done | qemu-io -f vmdk disk.vmdk > /dev/null
  qemu-img convert -f vmdk -O raw disk.vmdk wanted
  test "$(fragmentation)" != 0.0 || fail "$type: not fragmented"
  vmdkit defragment -q disk.vmdk || fail "$type"
  test "$(fragmentation)" = 0.0 || fail "$type: $(fragmentation)"
  qemu-img compare -q -f raw -F vmdk wanted disk.vmdk || fail "$type: contents"
  qemu-img check -q disk.vmdk || fail "$type: qemu-img check"
done
rm -f disk*
vmdkit create -q -t monolithicFlat disk.vmdk 10M
sha256sum disk* > sums
vmdkit defragment -q disk.vmdk || fail "flat"
sha256sum -c --quiet sums || fail "a flat disk was changed"
