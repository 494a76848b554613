#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# vmdkit convert --overwrite: old and new disks of any type; who is stopped or
# killed leaves the old disk; nothing is left behind but by who was killed; a
# disk in use, or one with children, is not overwritten; permissions stay.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-img --version
requires qemu-io --version
requires mkfifo --version
cd "$tmp"

python3 - <<'END'
import random
open("new.raw", "wb").write(random.Random(1).randbytes(3 << 20))
open("old.raw", "wb").write(random.Random(2).randbytes(2 << 20))
END

# is RAW FILE: FILE, raw or a disk, holds what RAW does
is ()
{
  case $2 in
  *.vmdk) vmdkit convert -q --lock=off -t raw "$2" - ;;
  *) cat "$2" ;;
  esac | cmp -s - "$1" || fail "$2 does not hold $1: $3"
}

mkdir d
for old in monolithicSparse monolithicFlat twoGbMaxExtentSparse raw; do
  for new in monolithicSparse monolithicFlat vmfs-thin streamOptimized raw; do
    vmdkit convert -q -f raw -t "$old" old.raw d/disk.vmdk || fail "$old"
    tool_fails 1 'disk.vmdk exists already' \
      convert -f raw -t "$new" new.raw d/disk.vmdk
    vmdkit convert -q --overwrite -f raw -t "$new" new.raw d/disk.vmdk ||
      fail "$new over $old"
    test "$new" = raw && cmp d/disk.vmdk new.raw ||
      is new.raw d/disk.vmdk "$new over $old"
    case $new in
    monolithicSparse | streamOptimized | raw) wanted=1 ;;
    *) wanted=2 ;;
    esac
    test "$(ls d | wc -l)" -eq "$wanted" ||
      fail "$new over $old: $(ls d)"
    rm d/*
  done
done

# An extent of another name is not the disk's alone to remove.
cp old.raw d/mine.raw
printf '%s\n' '# Disk DescriptorFile' 'version=1' 'CID=12345678' \
  'parentCID=ffffffff' 'createType="monolithicFlat"' \
  'RW 4096 FLAT "mine.raw" 0' > d/disk.vmdk
vmdkit convert --overwrite -f raw new.raw d/disk.vmdk > said 2>&1 || fail "mine"
grep -q 'mine.raw stays' said || fail "no warning: $(cat said)"
is new.raw d/disk.vmdk mine
cmp d/mine.raw old.raw || fail "what was not the disk's"
rm d/*

# Permissions.
vmdkit convert -q -f raw -t raw old.raw d/private.raw
chmod 600 d/private.raw
vmdkit convert -q --overwrite -f raw -t raw new.raw d/private.raw
test "$(stat -c %a d/private.raw)" = 600 || fail "who may read it now?"
rm d/*

# In use, or a parent.
vmdkit convert -q -f raw old.raw d/base.vmdk
qemu-img create -q -f vmdk -F vmdk -b base.vmdk d/child.vmdk
tool_fails 1 'child.vmdk' convert --overwrite -f raw new.raw d/base.vmdk
rm d/child.vmdk
mkfifo hold
qemu-io -f vmdk d/base.vmdk < hold > io.log 2>&1 &
qemu=$!
pids="$pids $qemu"
exec 9> hold
echo 'read 0 512' >&9
for i in $(seq 100); do
  grep -q 'read 512' io.log && break
  sleep 0.05
done
tool_fails 1 'base.vmdk' convert --overwrite -f raw new.raw d/base.vmdk
exec 9>&-
wait "$qemu"
is old.raw d/base.vmdk "in use"
test "$(ls d)" = base.vmdk || fail "left behind: $(ls d)"

# Stopped in the midst: the server takes a second for each MiB.
if nbdkit --version > nbdkit.log 2>&1 &&
  nbdkit pattern --dump-plugin > nbdkit.log 2>&1
then
  nbdkit -f -U slow.sock -P slow.pid --filter=delay pattern 256M rdelay=1 \
    2> slow.log &
  slow=$!
  pids="$pids $slow"
  while ! test -s slow.pid; do
    kill -0 "$slow" 2> /dev/null || fail "no server: $(cat slow.log)"
    sleep 0.02
  done
  for signal in INT TERM KILL; do
    # A shell's background jobs ignore SIGINT, and so would the tool.
    python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' \
      "$VMDKIT" convert --overwrite -t monolithicFlat \
      "nbd+unix:///?socket=$tmp/slow.sock" d/base.vmdk > stop.log 2>&1 &
    pid=$!
    pids="$pids $pid"
    while ! test -e d/base-flat.vmdk; do
      kill -0 "$pid" 2> /dev/null || break
      sleep 0.02
    done
    if ! test -e d/base-flat.vmdk; then
      grep -q 'without libnbd' stop.log || fail "ended: $(cat stop.log)"
      break
    fi
    is old.raw d/base.vmdk "while it is being overwritten"
    kill -"$signal" "$pid"
    status=0
    wait "$pid" || status=$?
    test "$status" -gt 128 || fail "$signal: status $status: $(cat stop.log)"
    is old.raw d/base.vmdk "$signal"
    test "$signal" = KILL || test "$(ls d)" = base.vmdk ||
      fail "$signal left behind: $(ls d)"
  done
  vmdkit convert -q --overwrite -f raw -t monolithicFlat new.raw d/base.vmdk ||
    fail "after a kill"
  is new.raw d/base.vmdk "after a kill"
fi
