#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 12: snapshots and chains.  Each child holds the changes from
# its parent's state to its own; the parent is read-only from then on.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-io --version
cd "$tmp"

vmdkit create -q vm.vmdk 50M
previous=vm.vmdk
for n in 1 2 3; do
  qemu-io -f vmdk -c "write -P $n ${n}M 2M" $previous > /dev/null
  qemu-img convert -f vmdk -O raw $previous state-$n
  vmdkit child $previous vm-00000$n.vmdk
  previous=vm-00000$n.vmdk
done
qemu-io -f vmdk -c "write -P 9 0 1M" $previous > /dev/null

vmdkit chain . > said
cat > wanted <<'END'
vm.vmdk  monolithicSparse, 50 MiB
  - vm-000001.vmdk  monolithicSparse, 50 MiB
    - vm-000002.vmdk  monolithicSparse, 50 MiB
      - vm-000003.vmdk  monolithicSparse, 50 MiB
END
cmp wanted said || fail "$(cat said)"

# every moment can still be read
qemu-img compare -q -f raw -F vmdk state-1 vm.vmdk || fail "moment 1"
qemu-img compare -q -f raw -F vmdk state-2 vm-000001.vmdk || fail "moment 2"
qemu-img compare -q -f raw -F vmdk state-3 vm-000002.vmdk || fail "moment 3"

# a child holds only what was written to it
test "$(vmdkit map --json --single-link vm-000001.vmdk \
  | json 'sum (p["length"] for p in j if p["data"])')" -eq 2097152 \
  || fail "more than the changes"

# a parent that was changed is noticed
cp -r . ../copy-$$ && mv ../copy-$$ copy
qemu-io -f vmdk -c "write -P 8 4M 1M" copy/vm-000001.vmdk > /dev/null
tool_fails 1 "CID" map copy/vm-000003.vmdk
vmdkit chain copy > said
grep -q "vm-000002.vmdk .*its parent was changed" said || fail "$(cat said)"
rm copy/vm.vmdk
vmdkit chain --json copy > said
test "$(json '[(l["file"], l["parent-state"]) for l in j if "parent-state" in l]' < said)" \
  = "[('vm-000001.vmdk', 'missing'), ('vm-000002.vmdk', 'mismatch'), ('vm-000003.vmdk', 'ok')]" \
  || fail "$(cat said)"
tool_fails 1 "no such" chain nowhere

vmdkit create -q large.vmdk 60M
vmdkit create -q -t vmfs-thin flat.vmdk 50M

# the middle one goes into its parent; the end reads the same
qemu-img convert -f vmdk -O raw vm-000003.vmdk end
vmdkit commit vm-000001.vmdk > /dev/null
vmdkit rebase --unsafe vm-000002.vmdk vm.vmdk
vmdkit unlink vm-000001.vmdk
qemu-img compare -q -f raw -F vmdk end vm-000003.vmdk || fail "after commit"
qemu-img compare -q -f raw -F vmdk state-2 vm.vmdk || fail "the parent"
tool_fails 1 "has no parent" commit vm.vmdk
vmdkit child vm.vmdk side.vmdk
tool_fails 1 "vm.vmdk: has a child side.vmdk" commit vm-000002.vmdk
vmdkit unlink side.vmdk
tool_fails 1 "cannot be the parent that was meant" \
  rebase --unsafe vm-000003.vmdk large.vmdk
tool_fails 1 "is of a type that cannot have a parent" \
  rebase --unsafe flat.vmdk vm.vmdk
rm large.vmdk flat*
vmdkit commit --unlink vm-000002.vmdk > /dev/null 2> said
grep -q "vm-000002.vmdk stays: it is the parent of vm-000003.vmdk" said \
  || fail "$(cat said)"
vmdkit rebase --unsafe vm-000003.vmdk vm.vmdk
vmdkit rebase vm-000003.vmdk vm-000002.vmdk > /dev/null
vmdkit commit --unlink vm-000003.vmdk > /dev/null
qemu-img compare -q -f raw -F vmdk end vm-000002.vmdk || fail "the second commit"
test ! -e vm-000003.vmdk || fail "--unlink"
vmdkit rebase --no-parent vm-000002.vmdk > /dev/null
vmdkit unlink vm.vmdk
qemu-img compare -q -f raw -F vmdk end vm-000002.vmdk || fail "--no-parent"
qemu-img check -q vm-000002.vmdk || fail "qemu-img check"
