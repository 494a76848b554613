#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 13: CreateChild makes a redo log of type monolithic or split
# sparse over a disk.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-io --version
cd "$tmp"

vmdkit create -q -a ide -t split-sparse base.vmdk 3G
qemu-io -f vmdk -c 'write -P 3 1M 200k' -c 'write -P 4 2500M 1M' base.vmdk \
  > /dev/null
qemu-img convert -f vmdk -O raw base.vmdk before
sha256sum base* > sums
for type in monolithicSparse twoGbMaxExtentSparse vmfsSparse; do
  vmdkit child --json -t $type base.vmdk "$tmp/child-$type.vmdk" > said
  test "$(json 'j["type"], j["parent"], j["capacity"]' < said)" \
    = "('$type', 'base.vmdk', 3221225472)" || fail "$(cat said)"
  vmdkit info --json child-$type.vmdk > info
  test "$(json 'j["adapter"], len (j["links"])' < info)" = "('ide', 2)" \
    || fail "$(cat info)"
  sha256sum -c --quiet sums || fail "the parent was changed"
  test $type = vmfsSparse && continue
  qemu-img compare -q -f raw -F vmdk before child-$type.vmdk || fail "$type"
  qemu-io -f vmdk -c 'write -P 7 2499M 2M' child-$type.vmdk > /dev/null
  sha256sum -c --quiet sums || fail "the parent was changed"
  qemu-img check -q child-$type.vmdk || fail "qemu-img check"
done
vmdkit child --grain-size=4K child-monolithicSparse.vmdk small.vmdk
test "$(vmdkit info --json small.vmdk | json 'j["grain-size"]')" -eq 4096

# in another folder, by its path
mkdir sub
vmdkit child base.vmdk sub/child.vmdk
grep -a -q "parentFileNameHint=\"$(pwd -P)/base.vmdk\"" sub/child.vmdk \
  || fail "the hint"
qemu-img compare -q -f raw -F vmdk before sub/child.vmdk || fail "sub"

tool_fails 1 "small.vmdk exists already\|small.vmdk: .*exists already" \
  child base.vmdk small.vmdk
tool_fails 1 "cannot have a parent" child -t vmfs-flat base.vmdk x.vmdk
tool_fails 1 "nothing.vmdk: .*no such file" child nothing.vmdk x.vmdk
tool_fails 2 "there is no type" child -t raw base.vmdk x.vmdk
test ! -e x.vmdk || fail "something was left"
