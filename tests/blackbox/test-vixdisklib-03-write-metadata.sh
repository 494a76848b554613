#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 3: WriteMetadata.  A key is added or replaced; it can be
# empty, and then is still there.  Deleting is ours.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
cd "$tmp"

for type in monolithicSparse vmfs-thin streamOptimized; do
  rm -f disk*
  vmdkit create -q -t $type disk.vmdk 20M
  vmdkit meta list disk.vmdk > before
  vmdkit meta set disk.vmdk note "some words"
  test "$(vmdkit meta get disk.vmdk note)" = "some words" || fail "added"
  vmdkit meta set disk.vmdk note "other"
  test "$(vmdkit meta get disk.vmdk note)" = "other" || fail "replaced"
  vmdkit meta set disk.vmdk note ""
  test "$(vmdkit meta get disk.vmdk note)" = "" || fail "emptied"
  vmdkit meta list disk.vmdk | grep -q '^note = $' || fail "not listed"
  vmdkit meta delete disk.vmdk note
  vmdkit meta list disk.vmdk | cmp - before || fail "$type: other keys"

  # every key that a backup program has saved can be restored
  while IFS= read -r line; do
    vmdkit meta set disk.vmdk "${line%% = *}" "${line#* = }" \
      || fail "$type: $line"
  done < before
  vmdkit meta list disk.vmdk | cmp - before || fail "$type: restored"
  vmdkit info disk.vmdk > info || fail "$type: cannot be read"
done

tool_fails 1 "quotes and control bytes are not allowed" \
  meta set disk.vmdk note 'a"b'
tool_fails 1 "quotes and control bytes are not allowed" \
  meta set disk.vmdk note 'a
b'
tool_fails 1 "only letters, digits" meta set disk.vmdk 'a=b' c
tool_fails 1 "a key cannot be empty" meta set disk.vmdk "" c
tool_fails 1 "has no metadata of the key note" meta delete disk.vmdk note

# with the prefix that it has in the descriptor
vmdkit meta set disk.vmdk ddb.note prefixed
test "$(vmdkit meta get disk.vmdk note)" = "prefixed" || fail "ddb.note"
vmdkit meta delete disk.vmdk ddb.note

# not while somebody writes to it
vmdkit create -q open.vmdk 20M
if command -v qemu-io > /dev/null; then
  mkfifo talk
  qemu-io -f vmdk open.vmdk < talk > answer &
  pids="$pids $!"
  exec 3> talk
  echo 'write 0 512' >&3
  while ! grep -q wrote answer; do
    kill -0 $! || fail "qemu-io"
    sleep 0.02
  done
  tool_fails 1 "open.vmdk: another program has it open for writing" \
    meta set open.vmdk note x
  exec 3>&-
  wait
fi
