#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# vmdkit defragment brings scattered grains into the disk's order: vmdkit map
# finds one stretch, qemu-img the same contents and no errors, and the file is
# no larger.  Snapshots stay what they are.  --dry-run changes nothing.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-img --version
requires qemu-io --version
cd "$tmp"

# scattered FILE: 16 MiB in grains written in another order
scattered ()
{
  qemu-img create -q -f vmdk "$@" 32M
  for last; do :; done
  python3 -c '
for i in range (256):
    g = i * 101 % 256
    print ("write -P %d %dk 64k" % (g % 250 + 1, g * 128 // 2))' > commands
  qemu-io -f vmdk "$last" < commands > /dev/null
}

for options in "" "-o subformat=twoGbMaxExtentSparse"; do
  rm -f d*.vmdk
  # shellcheck disable=SC2086
  scattered $options d.vmdk
  qemu-img convert -f vmdk -O raw d.vmdk before
  sum=$(cat d*.vmdk | sha256sum)
  size=$(cat d*.vmdk | wc -c)

  vmdkit defragment --json -n d.vmdk > said || fail "$options: dry run"
  test "$(json 'j["grains"], j["breaks-before"]' < said)" = "(256, 255)" \
    || fail "$options: $(cat said)"
  test "$(cat d*.vmdk | sha256sum)" = "$sum" || fail "$options: not a dry run"

  vmdkit defragment --json d.vmdk > said || fail "$options: defragment"
  test "$(json 'j["breaks-before"], j["breaks-after"]' < said)" = "(255, 0)" \
    || fail "$options: $(cat said)"
  test "$(json 'j["moved"] <= 2.1 * 16777216' < said)" = True \
    || fail "$options: $(cat said)"
  test "$(cat d*.vmdk | wc -c)" -le "$size" || fail "$options: it grew"
  qemu-img compare -q -f vmdk -F raw d.vmdk before || fail "$options: contents"
  qemu-img check -q d.vmdk || fail "$options: qemu-img check"
  qemu-img map --output=json d.vmdk > map
  test "$(json 'len ([m for m in j if m["data"]])' < map)" -eq 1 \
    || fail "$options: $(cat map)"
  sum=$(cat d*.vmdk | sha256sum)
  vmdkit defragment d.vmdk | grep -q 'd.vmdk: 0.0 % ' || fail "a second run"
  test "$(cat d*.vmdk | sha256sum)" = "$sum" || fail "$options: changed again"
done

scattered base.vmdk
qemu-img create -q -f vmdk -b base.vmdk -F vmdk child.vmdk
qemu-io -f vmdk -c 'write -P 7 2M 64k' -c 'write -P 8 1M 64k' child.vmdk \
  > /dev/null
qemu-img convert -f vmdk -O raw child.vmdk before
for disk in base child; do
  vmdkit defragment "$disk.vmdk" > /dev/null || fail "$disk"
  qemu-img compare -q -f vmdk -F raw child.vmdk before || fail "$disk: contents"
done

vmdkit create -t monolithicFlat flat.vmdk 1M > /dev/null
vmdkit defragment flat.vmdk | grep -q 'flat.vmdk: 0.0 % ' || fail "flat"
vmdkit create -t streamOptimized s.vmdk 1M > /dev/null
tool_fails 1 "^vmdkit: s.vmdk: .*convert the disk" defragment s.vmdk
tool_fails 2 "too few arguments" defragment
