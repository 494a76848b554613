#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# vmdkit create makes each type: qemu-img reads it, finds the size and zeros;
# adapter, hardware version and grain size are as asked for; what exists is
# left alone, and nothing is left behind by a failure.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-img --version
cd "$tmp"

truncate -s 5G zeros
for type in monolithicSparse monolithicFlat twoGbMaxExtentSparse \
  twoGbMaxExtentFlat vmfs-thin streamOptimized; do
  vmdkit create -t "$type" "$type.vmdk" 5G > said || fail "$type"
  grep -q "^$type.vmdk: .*, 5 GiB\$" said || fail "$type: $(cat said)"
  test "$(qemu-img info --output=json "$type.vmdk" | json 'j["virtual-size"]')" \
    -eq 5368709120 || fail "$type: another size"
  qemu-img compare -s -f vmdk -F raw "$type.vmdk" zeros > /dev/null 2>&1 \
    || test "$type" = vmfs-thin || qemu-img compare -f vmdk -F raw \
      "$type.vmdk" zeros > /dev/null || fail "$type: not zeros"
done
qemu-img check -q monolithicSparse.vmdk || fail "qemu-img check"
vmdkit create -t vmfs-flat f.vmdk 1M > /dev/null
test "$(stat -c %b f-flat.vmdk)" -ge 2048 || fail "vmfs-flat has holes"
vmdkit create -t vmfs-sparse s.vmdk 1M > /dev/null
grep -q 'VMFSSPARSE "s-delta.vmdk"' s.vmdk || fail "no COWD"

vmdkit create --json -a ide -w esx65 --grain-size=1M w.vmdk 4096s > said
test "$(json 'j["file"], j["type"], j["capacity"]' < said)" = \
  "('w.vmdk', 'monolithicSparse', 2097152)" || fail "$(cat said)"
vmdkit info --json w.vmdk > info
test "$(json 'j["adapter"], j["hw-version"], j["grain-size"]' < info)" = \
  "('ide', 13, 1048576)" || fail "$(cat info)"
test "$(qemu-img info --output=json w.vmdk | json 'j["cluster-size"]')" \
  -eq 1048576 || fail "qemu-img finds another grain size"

# words in any letter case
vmdkit create --json -t TWOgbMAXextentFLAT -a lsiLogic -w ESX65 any.vmdk 10gib \
  > said || fail "another letter case"
test "$(json 'j["type"], j["capacity"]' < said)" = \
  "('twoGbMaxExtentFlat', 10737418240)" || fail "$(cat said)"
vmdkit unlink -q any.vmdk

# usage
tool_fails 2 "there is no type 'qcow2'; there are monolithicSparse, .*" \
  create -t qcow2 x.vmdk 1M
tool_fails 2 "no size" create x.vmdk 1X
tool_fails 2 "no size" create x.vmdk ""
tool_fails 2 "too large" create x.vmdk 16E
tool_fails 2 "too few arguments" create x.vmdk
tool_fails 2 "too many arguments: 'z'" create x.vmdk 1M z
tool_fails 2 "adapter" create -a virtio x.vmdk 1M
tool_fails 2 "hardware version" create -w esx99 x.vmdk 1M

# refusals leave nothing
tool_fails 1 "^vmdkit: x.vmdk: a size of 1000 bytes is not a multiple of 512" \
  create x.vmdk 1000
tool_fails 1 "^vmdkit: nowhere/x.vmdk: there is no folder nowhere" \
  create nowhere/x.vmdk 1M
touch y-flat.vmdk
tool_fails 1 "y-flat.vmdk exists already" create -t vmfs-thin y.vmdk 1M
tool_fails 1 "^vmdkit: w.vmdk: .*exists already" create w.vmdk 1M
test ! -e x.vmdk && test ! -e y.vmdk && test ! -s y-flat.vmdk \
  || fail "something was left"
vmdkit info --json w.vmdk | cmp -s - info || fail "w.vmdk was changed"
