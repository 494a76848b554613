#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 21: back to a snapshot.  Of a disk with two snapshots the
# first one's moment is read, and written, without touching what came later.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-io --version
cd "$tmp"

vmdkit create -q -t split-sparse vm.vmdk 20M
qemu-io -f vmdk -c 'write -P 1 0 1M' vm.vmdk > /dev/null
vmdkit child vm.vmdk vm-000001.vmdk
qemu-io -f vmdk -c 'write -P 2 512k 1M' vm-000001.vmdk > /dev/null
qemu-img convert -f vmdk -O raw vm-000001.vmdk moment
vmdkit child vm-000001.vmdk vm-000002.vmdk
qemu-io -f vmdk -c 'write -P 3 0 4M' vm-000002.vmdk > /dev/null
sha256sum vm* > sums

vmdkit rollback vm-000001.vmdk back.vmdk 2> said
grep -q "back.vmdk reads as vm-000001.vmdk did" said || fail "$(cat said)"
qemu-img compare -q -f raw -F vmdk moment back.vmdk || fail "another moment"
vmdkit chain . > said
cat > wanted <<'END'
vm.vmdk  twoGbMaxExtentSparse, 20 MiB
  - vm-000001.vmdk  monolithicSparse, 20 MiB
    - back.vmdk  monolithicSparse, 20 MiB
    - vm-000002.vmdk  monolithicSparse, 20 MiB
END
cmp wanted said || fail "$(cat said)"

# written, beside the others
qemu-io -f vmdk -c 'write -P 5 10M 1M' back.vmdk > /dev/null
qemu-io -f raw -c 'write -P 5 10M 1M' moment > /dev/null
qemu-img compare -q -f raw -F vmdk moment back.vmdk || fail "not written"
sha256sum -c --quiet sums || fail "a later link was changed"

tool_fails 1 "exists already" rollback vm-000001.vmdk back.vmdk
tool_fails 1 "no such file" rollback vm-000009.vmdk x.vmdk
