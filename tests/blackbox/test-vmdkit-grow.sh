#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# vmdkit grow gives each type more capacity in place: qemu-img finds the size,
# the old contents and zeros behind them, and no errors; what is written to
# the new part stays; the geometry follows when asked for.  Children and
# parents, smaller sizes and types that cannot grow are refused and stay as
# they are.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-img --version
requires qemu-io --version
cd "$tmp"

capacity ()
{
  qemu-img info --output=json "$1" | json 'j["virtual-size"]'
}

# grown DISK SIZE: from its raw contents in "before", and to be written at the
# end
grown ()
{
  vmdkit grow "$1" "$2" > said || fail "$1: grow to $2"
  truncate -s "$2" before
  test "$(capacity "$1")" -eq "$(stat -c %s before)" || fail "$1: another size"
  qemu-img compare -q -f vmdk -F raw "$1" before || fail "$1: contents"
  vmdkit grow "$1" "$2" | grep -q "has .* already" || fail "$1: again"
  qemu-io -f raw -c "write -q -P 77 $(($(stat -c %s before) - 70000)) 70000" \
    before || fail "before"
  qemu-io -f vmdk \
    -c "write -q -P 77 $(($(stat -c %s before) - 70000)) 70000" "$1" \
    || fail "$1: write at the end"
  qemu-img compare -q -f vmdk -F raw "$1" before || fail "$1: written"
}

# Odd sizes, in steps: within a grain, a table, a directory's sector, and more.
for type in monolithicSparse monolithicFlat vmfs-flat vmfs-thin; do
  rm -f d*.vmdk before
  vmdkit create -t "$type" d.vmdk 3147264 > /dev/null
  for at in 0 1000000 3000000; do
    qemu-io -f vmdk -c "write -q -P 5 $at 140000" d.vmdk
  done
  qemu-img convert -f vmdk -O raw d.vmdk before
  for size in 3149824 20M 33M 64M 1000M 9G; do
    test "$type" != vmfs-flat -o "$size" != 9G || continue
    grown d.vmdk "$size"
    test "$type" != monolithicSparse || qemu-img check -q d.vmdk \
      || fail "$size: qemu-img check"
  done
done
test "$(stat -c %b d-flat.vmdk)" -lt 100000 || fail "thin is thick"

# A full file: there are grains where the new tables go.
qemu-img create -q -f vmdk full.vmdk 4M
qemu-io -f vmdk -c 'write -q -P 9 0 4M' full.vmdk
qemu-img convert -f vmdk -O raw full.vmdk before
vmdkit grow --json --geometry full.vmdk 2000G > said || fail "2000G"
test "$(json 'j["capacity"], j["moved"] > 0' < said)" = \
  "(2147483648000, True)" || fail "$(cat said)"
qemu-img check -q full.vmdk || fail "2000G: qemu-img check"
qemu-io -r -f vmdk -c 'read -q -P 9 0 4M' -c 'read -q -P 0 4M 40M' \
  -c 'read -q -P 0 1999G 64M' full.vmdk > lines || fail "2000G: contents"
test ! -s lines || fail "2000G: contents: $(cat lines)"
grep -a -q '^ddb.geometry.cylinders = "16383"' full.vmdk || fail "geometry"
sum=$(sha256sum < full.vmdk)
tool_fails 1 "^vmdkit: full.vmdk: a sparse extent .* has at most" \
  grow full.vmdk 2T
tool_fails 1 "^vmdkit: full.vmdk: 1048576 bytes are less than" \
  grow full.vmdk 1M
test "$(sha256sum < full.vmdk)" = "$sum" || fail "refused, and changed"

# Split disks: the last piece, then more of them.
for options in split-sparse split-flat; do
  rm -f s*.vmdk before
  vmdkit create -t "$options" s.vmdk 100M > /dev/null
  qemu-io -f vmdk -c "write -q -P 5 99M 512k" s.vmdk
  qemu-img convert -f vmdk -O raw s.vmdk before
  sum=$(cat s*.vmdk | sha256sum)
  vmdkit grow -n --json s.vmdk 9G > said || fail "$options: dry run"
  test "$(json 'j["new-extents"]' < said)" -eq 4 || fail "$(cat said)"
  test "$(cat s*.vmdk | sha256sum)" = "$sum" || fail "$options: not a dry run"
  for size in 101M 2046M 2049M 9G; do
    grown s.vmdk "$size"
  done
  test "$(grep -c '^RW 4192256 ' s.vmdk)" -eq 4 || fail "$(cat s.vmdk)"
done
echo mine > s-f006.vmdk
tool_fails 1 "^vmdkit: s.vmdk: s-f006.vmdk exists already" grow s.vmdk 11G
test "$(cat s-f006.vmdk)" = mine || fail "a stranger's file was overwritten"
grown s.vmdk 9500M

# Nor is a small disk that is called like the next piece.
rm -f s*.vmdk before
vmdkit create -t split-sparse s.vmdk 2047M > /dev/null
vmdkit create s-s002.vmdk 64K > /dev/null
qemu-io -f vmdk -c "write -q -P 5 0 64k" s-s002.vmdk
sum=$(sha256sum < s-s002.vmdk)
tool_fails 1 "^vmdkit: s.vmdk: s-s002.vmdk exists already" grow s.vmdk 3G
test "$(sha256sum < s-s002.vmdk)" = "$sum" || fail "a small disk was removed"
vmdkit create -t split-sparse t.vmdk 1M > /dev/null
mv t-s001.vmdk s-s002.vmdk
qemu-img convert -f vmdk -O raw s.vmdk before
grown s.vmdk 3G

# refusals
vmdkit create base.vmdk 1M > /dev/null
vmdkit child base.vmdk child.vmdk > /dev/null
cat base.vmdk child.vmdk > two
tool_fails 1 "^vmdkit: child.vmdk: is a child.*commit it" grow child.vmdk 2M
tool_fails 1 "^vmdkit: base.vmdk: cannot grow: has a child child.vmdk" \
  grow base.vmdk 2M
tool_fails 1 "^vmdkit: base.vmdk: cannot grow: has a child child.vmdk" \
  grow -n base.vmdk 2M
cat base.vmdk child.vmdk | cmp -s - two || fail "refused, and changed"
vmdkit create -t streamOptimized o.vmdk 1M > /dev/null
tool_fails 1 "^vmdkit: o.vmdk: .*convert the disk" grow o.vmdk 2M
vmdkit create -t vmfs-sparse c.vmdk 1M > /dev/null
tool_fails 1 "^vmdkit: c.vmdk: .*convert the disk" grow c.vmdk 2M
tool_fails 1 "^vmdkit: o.vmdk: " grow o.vmdk 1000001
tool_fails 2 "no size" grow full.vmdk 1X
tool_fails 2 "too few arguments" grow full.vmdk
