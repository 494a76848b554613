#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# While a client can write to a disk, qemu may neither read nor write it or
# any of its files, and may only read its parents; while qemu has it open, no
# client gets it for writing.  Two servers exclude each other, and what a
# VMware program has open is only read.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version
requires nbdinfo --version
requires qemu-nbd --version
requires qemu-img --version
requires qemu-io --version
nbdkit_flags=

cd "$tmp"

# connect [write]: a client that stays until disconnect
connect ()
{
  rm -f "$tmp/connected"
  "$PYTHON" "$here/hold-open.py" "$uri" "$tmp/connected" "$@" > client.log 2>&1 &
  client_pid=$!
  pids="$pids $client_pid"
  while ! test -e "$tmp/connected"; do
    kill -0 "$client_pid" 2> /dev/null || {
      cat client.log log >&2
      fail "no client can connect"
    }
    sleep 0.02
  done
}

# The server goes too, so that no lock is left when this returns.
disconnect ()
{
  kill "$client_pid"
  wait "$client_pid" || :
  stop_nbdkit
}

# The next two: FORMAT FILE QEMU-IO-OPTION...
qemu_refused ()
{
  format=$1 file=$2
  shift 2
  if qemu-io "$@" -f "$format" -c 'read 0 512' "$file" > qemu.log 2>&1; then
    fail "qemu-io $* opens $file"
  fi
  grep -qi lock qemu.log || fail "$file: another reason: $(cat qemu.log)"
}

qemu_allowed ()
{
  format=$1 file=$2
  shift 2
  qemu-io "$@" -f "$format" -c 'read 0 512' "$file" > qemu.log 2>&1 ||
    fail "qemu-io $* cannot open $file: $(cat qemu.log)"
}

# start_qemu_nbd OPTION... FILE
start_qemu_nbd ()
{
  rm -f "$tmp/qemu.sock"
  qemu-nbd -f vmdk -t -k "$tmp/qemu.sock" "$@" 2> qemu-nbd.log &
  qemu_pid=$!
  pids="$pids $qemu_pid"
  until nbdinfo --size "nbd+unix:///?socket=$tmp/qemu.sock" \
    > /dev/null 2>&1; do
    kill -0 "$qemu_pid" 2> /dev/null ||
      fail "qemu-nbd ended: $(cat qemu-nbd.log)"
    sleep 0.05
  done
}

stop_qemu_nbd ()
{
  kill "$qemu_pid"
  wait "$qemu_pid" || :
}

# client_refused WORDS: no client gets the disk; the server has said one line
client_refused ()
{
  if "$PYTHON" "$here/hold-open.py" "$uri" "$tmp/unused" > client.log 2>&1; then
    fail "a client gets the disk"
  fi
  grep -v 'warning: ' log > said || :
  test "$(grep -c . said)" -eq 1 || fail "not one line: $(cat log)"
  grep -q -e "$1" said || fail "no \"$1\" in: $(cat log)"
}

for kind in monolithicSparse twoGbMaxExtentSparse monolithicFlat; do
  rm -rf "$kind"
  mkdir "$kind"
  qemu-img create -q -f vmdk -o subformat="$kind" "$kind/disk.vmdk" 2M
  qemu-io -f vmdk -c 'write -P 77 0 100k' "$kind/disk.vmdk" > /dev/null
  qemu-img convert -f vmdk -O raw "$kind/disk.vmdk" "$kind/raw"
  case $kind in
    monolithicSparse) extent= ;;
    twoGbMaxExtentSparse) extent=$kind/disk-s001.vmdk ;;
    monolithicFlat) extent=$kind/disk-flat.vmdk ;;
  esac

  # A client is there first, before it has written and after.
  for what in '' write; do
    nbdkit_vmdk "$kind/disk.vmdk" || fail "refused: $kind"
    connect $what
    qemu_refused vmdk "$kind/disk.vmdk" -r
    qemu_refused vmdk "$kind/disk.vmdk"
    # An extent too, when the descriptor is another file's.
    if test -n "$extent"; then
      qemu_refused raw "$extent"
      cp "$kind/disk.vmdk" "$kind/copy.vmdk"
      qemu_refused vmdk "$kind/copy.vmdk" -r
      qemu_refused vmdk "$kind/copy.vmdk"
    fi
    disconnect
    qemu_allowed vmdk "$kind/disk.vmdk"
  done
  qemu-img convert -f vmdk -O raw "$kind/disk.vmdk" "$kind/raw"

  # qemu reads it, or writes it, when the client comes.  A server that nobody
  # has used yet reads the disk, so that it refuses to share it with a writer.
  start_qemu_nbd -r "$kind/disk.vmdk"
  nbdkit_vmdk "$kind/disk.vmdk" || fail "refused beside a reader: $kind"
  client_refused "disk.*: another program"
  stop_nbdkit
  nbdkit_flags=-r
  served_as "$kind/raw" "$kind/disk.vmdk"
  nbdkit_flags=
  stop_qemu_nbd

  start_qemu_nbd "$kind/disk.vmdk"
  refused "disk.*: another program" "$kind/disk.vmdk"
  stop_qemu_nbd

  nbdkit_vmdk "$kind/disk.vmdk" || fail "refused: $kind"
  sum_uri "$uri" > /dev/null # from here on only clients hold it
  until qemu-io -f vmdk -c 'read 0 512' "$kind/disk.vmdk" > /dev/null 2>&1; do
    sleep 0.02
  done
  start_qemu_nbd "$kind/disk.vmdk"
  client_refused "disk.*: another program"
  stop_qemu_nbd
  connect # the reason is gone
  disconnect

  # Two servers.
  nbdkit_vmdk "$kind/disk.vmdk" || fail "refused: $kind"
  connect write
  refused "disk.*: another program" "$kind/disk.vmdk"
  nbdkit_flags=-r
  refused "disk.*: another program" "$kind/disk.vmdk"
  nbdkit_flags=
  disconnect
done

# An overlay is its client's alone; its parent may be read by everybody.
mkdir chain
qemu-img create -q -f vmdk chain/base.vmdk 2M
nbdkit_vmdk chain/base.vmdk overlay="$tmp/chain/over.vmdk" || fail "overlay"
connect write
qemu_refused vmdk chain/base.vmdk
qemu_allowed vmdk chain/base.vmdk -r
qemu_refused vmdk chain/over.vmdk -r
qemu_refused vmdk chain/over.vmdk
disconnect
qemu_allowed vmdk chain/base.vmdk

# VMware's programs.
mkdir vmware
qemu-img create -q -f vmdk vmware/disk.vmdk 2M
qemu-img convert -f vmdk -O raw vmware/disk.vmdk vmware/raw
mkdir vmware/disk.vmdk.lck
member=vmware/disk.vmdk.lck/M12345.lck
printf '%s' 'workstation-7 4711-133700 1 X 1700000000 lc=12345' > "$member"
truncate -s 512 "$member"
before=$(ls -lR --time-style=full-iso vmware; cksum vmware/disk.vmdk "$member")
nbdkit_vmdk vmware/disk.vmdk || fail "refused at once"
client_refused 'disk.*: locked by VMware (machine workstation-7, process 4711)'
stop_nbdkit
nbdkit_flags=-r
served_as vmware/raw vmware/disk.vmdk
grep -q 'warning: .*workstation-7' log || fail "no warning: $(cat log)"
nbdkit_flags=
test "$(ls -lR --time-style=full-iso vmware
  cksum vmware/disk.vmdk "$member")" = "$before" ||
  fail "the folder was changed"

# They lock each extent that they write.
mkdir pieces
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse \
  pieces/disk.vmdk 3G
mkdir pieces/disk-s002.vmdk.lck
cp "$member" pieces/disk-s002.vmdk.lck
nbdkit_vmdk pieces/disk.vmdk || fail "refused at once"
client_refused 'disk-s002.*: locked by VMware (machine workstation-7, process 4711)'
stop_nbdkit
nbdkit_flags=-r
nbdkit_vmdk pieces/disk.vmdk || fail "the lock of an extent, read-only"
stop_nbdkit
nbdkit_flags=
