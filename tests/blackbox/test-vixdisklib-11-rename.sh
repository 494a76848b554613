#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 11: Rename, the descriptor, the extents and what the text
# says of them.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-io --version
cd "$tmp"

left ()
{
  test "$(ls)" = "$(printf '%s\n' "$@")" || fail "left: $(ls)"
}

# same: both qemu and we read from $1 what was in the disk
same ()
{
  qemu-img compare -q -f raw -F vmdk ../before "$1" || fail "qemu-img: $1"
  vmdkit info "$1" > /dev/null || fail "$1 cannot be read"
}

mkdir work
cd work
for type in monolithicSparse monolithicFlat split-sparse split-flat; do
  vmdkit create -q -t $type old.vmdk 3G
  qemu-io -f vmdk -c 'write -P 3 1M 200k' -c 'write -P 4 2500M 1M' old.vmdk \
    > /dev/null
  qemu-img convert -f vmdk -O raw old.vmdk ../before
  files=$(find . -name 'old*' | sed 's/old/new/' | sort)
  vmdkit rename --dry-run old.vmdk new.vmdk > ../said
  test -e old.vmdk && test ! -e new.vmdk || fail "dry run"
  vmdkit rename old.vmdk new.vmdk
  test "$(find . -type f | sort)" = "$files" || fail "$type: $(ls)"
  ! grep -a -q 'old[.-]' new.vmdk || fail "$type: the text has the old name"
  same new.vmdk
  mkdir sub
  vmdkit rename new.vmdk sub/other.vmdk
  left sub
  same sub/other.vmdk
  vmdkit rename sub/other.vmdk ./old.vmdk
  same old.vmdk
  rm -r ./*
done

# parents and children
vmdkit create -q base.vmdk 10M
vmdkit child base.vmdk child.vmdk
qemu-io -f vmdk -c 'write -P 5 1M 200k' child.vmdk > /dev/null
qemu-img convert -f vmdk -O raw child.vmdk ../before
vmdkit rename base.vmdk other.vmdk 2> ../said
grep -q "child.vmdk still names its parent base.vmdk" ../said \
  || fail "nobody was told: $(cat ../said)"
vmdkit rebase --unsafe child.vmdk other.vmdk
same child.vmdk
vmdkit rename --children other.vmdk base.vmdk
same child.vmdk
mkdir sub
vmdkit rename child.vmdk sub/child.vmdk
qemu-img compare -q -f raw -F vmdk ../before sub/child.vmdk \
  || fail "a child that was moved has lost its parent"
vmdkit rename sub/child.vmdk child.vmdk

# nothing is overwritten
echo mine > taken.vmdk
mkdir folder
tool_fails 1 "folder: is a folder: say what" rename disk.vmdk folder
rmdir folder
tool_fails 1 "taken.vmdk: exists already" rename child.vmdk taken.vmdk
test "$(cat taken.vmdk)" = mine || fail "overwritten"
vmdkit create -q -t vmfs-thin thin.vmdk 1M
touch fat-flat.vmdk
tool_fails 1 "fat-flat.vmdk: exists already" rename thin.vmdk fat.vmdk
test -e thin-flat.vmdk && test -e thin.vmdk && test ! -e fat.vmdk \
  || fail "half renamed"
tool_fails 1 "has that name already" rename child.vmdk child.vmdk
tool_fails 1 "no such file" rename nothing.vmdk x.vmdk
