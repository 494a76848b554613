#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 7: Unlink removes all extents of the named link.  A parent
# leaves orphans, so it is refused; a child leaves its parent alone.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
cd "$tmp"

# left NAME...: these files and no others
left ()
{
  test "$(ls)" = "$(printf '%s\n' "$@")" || fail "left: $(ls)"
}

mkdir work
cd work
for type in monolithicSparse monolithicFlat split-sparse vmfs-thin \
  vmfs-sparse streamOptimized; do
  vmdkit create -q -t $type disk.vmdk 3G
  touch neighbour.vmdk disk-other.vmdk
  vmdkit unlink --dry-run disk.vmdk > ../said
  grep -q disk.vmdk ../said || fail "dry run says nothing"
  test -e disk.vmdk || fail "dry run"
  vmdkit unlink disk.vmdk
  left disk-other.vmdk neighbour.vmdk
done
rm -- *

vmdkit create -q base.vmdk 10M
vmdkit child base.vmdk child.vmdk
tool_fails 1 "base.vmdk: is the parent of child.vmdk" unlink base.vmdk
left base.vmdk child.vmdk
vmdkit unlink child.vmdk
left base.vmdk
vmdkit child base.vmdk child.vmdk
vmdkit unlink --force base.vmdk 2> ../said
grep -q "child.vmdk has lost its parent" ../said || fail "$(cat ../said)"
left child.vmdk
tool_fails 1 "missing" map child.vmdk
vmdkit unlink child.vmdk
left

# an extent that is gone is no obstacle, one outside is not ours
vmdkit create -q -t split-sparse disk.vmdk 5G
rm disk-s002.vmdk
vmdkit unlink disk.vmdk
left
echo mine > ../outside
cat > evil.vmdk <<'END'
# Disk DescriptorFile
version=1
CID=0123abcd
parentCID=ffffffff
createType="monolithicFlat"
RW 1 FLAT "../outside" 0
END
vmdkit unlink evil.vmdk 2> ../said
grep -q "outside.*stays as it is" ../said || fail "$(cat ../said)"
test "$(cat ../outside)" = mine || fail "removed what is not the disk's"
left

# the text of a disk that was renamed by hand names another's file
vmdkit create -q a.vmdk 10M
mv a.vmdk b.vmdk
vmdkit create -q a.vmdk 10M
vmdkit unlink b.vmdk
left a.vmdk
vmdkit unlink a.vmdk

tool_fails 1 "no such file" unlink disk.vmdk

# not while it is used
if command -v qemu-io > /dev/null; then
  vmdkit create -q disk.vmdk 10M
  mkfifo ../talk
  qemu-io -f vmdk disk.vmdk < ../talk > ../answer &
  pids="$pids $!"
  exec 3> ../talk
  echo 'write 0 512' >&3
  while ! grep -q wrote ../answer; do
    kill -0 $! || fail "qemu-io"
    sleep 0.02
  done
  tool_fails 1 "disk.vmdk: another program has it open" unlink disk.vmdk
  test -e disk.vmdk || fail "removed under qemu"
  exec 3>&-
  wait
fi
