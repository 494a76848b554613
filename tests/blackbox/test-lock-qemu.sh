#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A disk that qemu has open for writing is refused, and qemu refuses to write
# to one that we serve; lock=off looks away.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires nbdcopy --version
requires nbdinfo --version
requires qemu-nbd --version
requires qemu-img --version
requires qemu-io --version

cd "$tmp"
for kind in monolithicSparse twoGbMaxExtentSparse monolithicFlat; do
  mkdir "$kind"
  qemu-img create -q -f vmdk -o subformat="$kind" "$kind/disk.vmdk" 2M
  qemu-io -f vmdk -c 'write -P 77 64k 100k' "$kind/disk.vmdk" > /dev/null
  qemu-img convert -f vmdk -O raw "$kind/disk.vmdk" "$kind/raw"

  # qemu is there first.
  qemu-nbd -f vmdk -t -k "$tmp/qemu.sock" "$kind/disk.vmdk" &
  qemu_pid=$!
  pids="$pids $qemu_pid"
  until nbdinfo --size "nbd+unix:///?socket=$tmp/qemu.sock" \
    > /dev/null 2>&1; do
    kill -0 "$qemu_pid" || fail "qemu-nbd ended"
    sleep 0.05
  done
  refused 'disk.*lock\|disk.*in use\|disk.*open' "$kind/disk.vmdk"
  served_as "$kind/raw" "$kind/disk.vmdk" lock=off
  kill "$qemu_pid"
  wait "$qemu_pid" || :

  # We are there first: qemu may read, but not write.
  nbdkit_vmdk "$kind/disk.vmdk" || fail "refused: $kind"
  if qemu-io -f vmdk -c 'write 0 512' "$kind/disk.vmdk" > qemu.log 2>&1; then
    fail "qemu writes to $kind while we read"
  fi
  grep -qi 'lock' qemu.log || fail "another reason: $(cat qemu.log)"
  qemu-io -r -f vmdk -c 'read -P 77 64k 100k' "$kind/disk.vmdk" > qemu.log \
    || fail "qemu cannot read $kind while we do: $(cat qemu.log)"
  stop_nbdkit

  # Nobody is hindered by lock=off, nor by a server that ended.
  nbdkit_vmdk "$kind/disk.vmdk" lock=off || fail "refused: $kind"
  qemu-io -f vmdk -c 'write -P 78 0 512' "$kind/disk.vmdk" > /dev/null \
    || fail "lock=off locks $kind"
  stop_nbdkit
  qemu-io -f vmdk -c 'write -P 79 0 512' "$kind/disk.vmdk" > /dev/null \
    || fail "a lock on $kind outlives its server"
done

# A parent is guarded like the disk itself.
mkdir chain
qemu-img create -q -f vmdk chain/base.vmdk 2M
qemu-img create -q -f vmdk -b base.vmdk -F vmdk chain/disk.vmdk
nbdkit_vmdk chain/disk.vmdk || fail "refused: a chain"
if qemu-io -f vmdk -c 'write 0 512' chain/base.vmdk > qemu.log 2>&1; then
  fail "qemu writes to a parent while we read"
fi
stop_nbdkit

# Two readers of one disk.
nbdkit_vmdk chain/disk.vmdk || fail "refused"
timeout 20 nbdkit -U - "$VMDKIT_PLUGIN" chain/disk.vmdk --run : \
  || fail "a second reader is refused"
stop_nbdkit
