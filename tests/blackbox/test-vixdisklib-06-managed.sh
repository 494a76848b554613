#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 6: a managed disk is made in two steps, a local one by
# Create, which is then cloned to what the host keeps: a vmfs disk.  Whatever
# the type of the first, the second is flat.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-io --version
cd "$tmp"

mkdir datastore
for type in monolithicSparse streamOptimized; do
  vmdkit create -q -t $type step1.vmdk 2G
  test $type = streamOptimized \
    || qemu-io -f vmdk -c 'write -P 6 1M 5M' step1.vmdk > /dev/null
  vmdkit convert -q -t vmfs-thin step1.vmdk datastore/vm.vmdk
  grep -q 'createType="vmfs"' datastore/vm.vmdk || fail "another type"
  grep -q 'RW 4194304 VMFS "vm-flat.vmdk"' datastore/vm.vmdk \
    || fail "not flat"
  qemu-img convert -f vmdk -O raw step1.vmdk wanted
  cmp wanted datastore/vm-flat.vmdk || fail "other contents"
  vmdkit unlink step1.vmdk
  vmdkit unlink datastore/vm.vmdk
done
