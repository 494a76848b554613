#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 14: Attach joins a child's chain to its parent's.  To see the
# data at child1, make child1a and attach it to child1.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-io --version
cd "$tmp"

vmdkit create -q base.vmdk 20M
qemu-io -f vmdk -c 'write -P 1 1M 1M' base.vmdk > /dev/null
vmdkit child base.vmdk child1.vmdk
qemu-io -f vmdk -c 'write -P 2 2M 1M' child1.vmdk > /dev/null
qemu-img convert -f vmdk -O raw child1.vmdk moment
vmdkit child child1.vmdk child2.vmdk
qemu-io -f vmdk -c 'write -P 3 0 4M' child2.vmdk > /dev/null

# a redo log made elsewhere
mkdir elsewhere
vmdkit child child1.vmdk elsewhere/child1a.vmdk 2> said
grep -q 'child1a.vmdk: its parent is in another folder.*--allow-outside' said ||
  fail "not said how to read it: $(cat said)"
vmdkit info --allow-outside elsewhere/child1a.vmdk > said || fail "outside"
qemu-io -f vmdk -c 'write -P 4 8M 1M' elsewhere/child1a.vmdk > /dev/null
qemu-img convert -f vmdk -O raw elsewhere/child1a.vmdk wanted
mv elsewhere/child1a.vmdk .
mkdir moved
mv ./*.vmdk moved
cd moved
vmdkit attach --dry-run child1.vmdk child1a.vmdk 2> said
grep -q "child1a.vmdk can be attached to child1.vmdk" said || fail "dry run"
vmdkit attach child1.vmdk child1a.vmdk
qemu-img compare -q -f raw -F vmdk ../wanted child1a.vmdk || fail "attached"
qemu-img compare -q -f raw -F vmdk ../moment child1.vmdk || fail "child1"
test "$(vmdkit info --json child1a.vmdk | json 'len (j["links"])')" -eq 3

# what does not fit
tool_fails 1 "CID" attach base.vmdk child1a.vmdk
tool_fails 1 "cannot be its own parent" attach child1a.vmdk child1a.vmdk
tool_fails 1 "is an ancestor of" attach child1a.vmdk child1.vmdk
tool_fails 1 "is an ancestor of" attach child1.vmdk base.vmdk
vmdkit create -q whole.vmdk 20M
tool_fails 1 "has no parent and is whole by itself" \
  attach child1.vmdk whole.vmdk
vmdkit create -q other.vmdk 30M
tool_fails 1 "of one size" attach --ignore-cid other.vmdk child1a.vmdk
vmdkit create -q -t stream-optimized packed.vmdk 20M
tool_fails 1 "streamOptimized" attach --ignore-cid packed.vmdk child1a.vmdk
qemu-img compare -q -f raw -F vmdk ../wanted child1a.vmdk || fail "changed"

# on request
vmdkit attach --ignore-cid base.vmdk child1a.vmdk
test "$(vmdkit info --json child1a.vmdk | json 'len (j["links"])')" -eq 2
