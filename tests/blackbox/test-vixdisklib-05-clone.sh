#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 5: Clone copies one VMDK to another type, the whole chain as
# one disk, with adapter and hardware version; what exists is overwritten only
# on request.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-io --version
cd "$tmp"

vmdkit create -q -a ide -w esx65 -t split-sparse base.vmdk 2200M
qemu-io -f vmdk -c 'write -P 3 1M 200k' -c 'write -P 4 2150M 1M' base.vmdk \
  > /dev/null
vmdkit child base.vmdk child.vmdk
qemu-io -f vmdk -c 'write -P 5 1100k 3M' child.vmdk > /dev/null
qemu-img convert -f vmdk -O raw child.vmdk wanted
sha256sum base* child.vmdk > sums

for type in monolithicSparse monolithicFlat twoGbMaxExtentSparse \
  twoGbMaxExtentFlat vmfs vmfs-thin streamOptimized; do
  vmdkit convert -q -t $type -a buslogic -w 9 child.vmdk clone.vmdk \
    || fail "$type"
  vmdkit info --json clone.vmdk > info
  test "$(json 'j["adapter"], j["hw-version"], len (j["links"]), j["capacity"]' \
    < info)" = "('buslogic', 9, 1, 2306867200)" || fail "$type: $(cat info)"
  case $type in
    vmfs*) ;;
    *) qemu-img compare -q -f raw -F vmdk wanted clone.vmdk \
         || fail "$type: other contents for qemu" ;;
  esac
  vmdkit convert -q -t raw clone.vmdk back
  qemu-img compare -q -f raw -F raw wanted back \
    || fail "$type: other contents"
  rm back
  vmdkit unlink clone.vmdk
done
sha256sum -c --quiet sums || fail "the source was changed"

# type, adapter and the rest are the source's where that is asked for
vmdkit convert -q --keep-metadata child.vmdk clone.vmdk
vmdkit info --json clone.vmdk > info
test "$(json 'j["adapter"], j["hw-version"]' < info)" = "('ide', 13)" \
  || fail "$(cat info)"

# one link
vmdkit convert -q --single-link -t raw child.vmdk link
test "$(vmdkit map --json --single-link child.vmdk \
  | json 'sum (p["length"] for p in j if p["data"])')" -ge 3145728 \
  || fail "the link"
! cmp -s wanted link || fail "the whole chain"
rm link

# overwriting
echo mine > taken.vmdk
tool_fails 1 "taken.vmdk.*exist" convert child.vmdk taken.vmdk
test "$(cat taken.vmdk)" = mine || fail "overwritten"
vmdkit convert -q --overwrite child.vmdk taken.vmdk
qemu-img compare -q -f raw -F vmdk wanted taken.vmdk || fail "--overwrite"
tool_fails 1 "source" convert --overwrite child.vmdk child.vmdk
sha256sum -c --quiet sums || fail "the source was changed"

# SpaceNeededForClone, for a copy of the same name
for type in monolithicSparse monolithicFlat; do
  mkdir measured
  vmdkit convert -q -t $type child.vmdk measured/child.vmdk
  test "$(vmdkit measure --json -t $type child.vmdk | json 'j["required"]')" \
    -eq "$(cat measured/* | wc -c)" || fail "$type: measured wrong"
  rm -r measured
done
