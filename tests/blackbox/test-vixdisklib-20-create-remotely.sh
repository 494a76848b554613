#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 20: a virtual machine's disk is made remotely: a local disk
# of 2 GB, filled with the guest, cloned to the host.  Whatever its type was,
# it is a flat one then.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere_tool
requires qemu-io --version
make_managed_disk
start_server
cd "$tmp"

for type in monolithicSparse twoGbMaxExtentSparse monolithicFlat; do
  vmdkit create -q -t $type guest.vmdk 2G
  qemu-io -f vmdk -c 'write -P 1 0 1M' -c 'write -P 2 700M 5M' \
    -c 'write -P 3 2047M 1M' guest.vmdk > "$tmp/said"
  server convert -q --overwrite guest.vmdk '[ds1] vm/vm.vmdk'
  grep -q 'RW 4194304 VMFS "vm-flat.vmdk"' "$(datastore vm/vm.vmdk)" \
    || fail "$type: not flat"
  qemu-img compare -q -f vmdk -F raw guest.vmdk \
    "$(datastore vm/vm-flat.vmdk)" || fail "$type: other bytes"
  vmdkit unlink -q guest.vmdk
done
test "$(grep -c '"type": "preallocated"' "$work/journal")" -eq 3 \
  || fail "not flat: $(cat "$work/journal")"
logged_out
