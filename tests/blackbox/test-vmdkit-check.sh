#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# vmdkit check: what qemu-img calls clean is clean; no malformed image crashes
# it, keeps it long or is changed by it; what it has repaired, qemu-img calls
# clean, reads as before, and is as it was after --undo; a disk that is being
# written is left alone.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-img --version
requires qemu-io --version
requires_python nbd
cd "$tmp"

# check STATUS ARGUMENT...
check ()
{
  wanted=$1
  shift
  status=0
  vmdkit check "$@" > out 2> err || status=$?
  test "$status" -eq "$wanted" ||
    fail "status $status, not $wanted, of check $*: $(cat out err)"
}

# poke FILE OFFSET HEX
poke ()
{
  "$PYTHON" -c '
import sys
with open (sys.argv[1], "r+b") as f:
    f.seek (int (sys.argv[2]))
    f.write (bytes.fromhex (sys.argv[3]))' "$@"
}

sum_of ()
{
  sha256sum < "$1"
}

# What qemu-img makes is clean.
qemu-img create -q -f raw raw 40M
qemu-io -f raw -c 'write -P 7 1M 3M' -c 'write -P 9 35M 1M' raw > out
for type in monolithicSparse monolithicFlat twoGbMaxExtentSparse \
            twoGbMaxExtentFlat streamOptimized; do
  qemu-img convert -f raw -O vmdk -o subformat=$type raw $type.vmdk
  check 0 --data $type.vmdk
  grep -q ': no errors$' out || fail "$type: $(cat out)"
  ! grep -q 'note: ' out || fail "$type: $(cat out)"
done
qemu-img create -q -f vmdk -b monolithicSparse.vmdk -F vmdk child.vmdk
qemu-io -f vmdk -c 'write -P 1 0 64k' -c 'write -P 2 30M 1M' child.vmdk > out
check 0 child.vmdk
check 0 --chain child.vmdk

# Repaired, undone.  Entry 16 of the first table, which is at sector 31.
cp monolithicSparse.vmdk a.vmdk
poke a.vmdk $((31 * 512 + 16 * 4)) 55555555
before=$(sum_of a.vmdk)
check 3 a.vmdk
grep -q '^a.vmdk: error: grain 16: .*; the redundant table has 128 (byte 15936, --repair mends it)$' out ||
  fail "$(cat out)"
check 3 --repair --dry-run a.vmdk
test "$(sum_of a.vmdk)" = "$before" || fail "a rehearsal changed the disk"
check 0 --repair a.vmdk
check 0 a.vmdk
qemu-img check -q a.vmdk || fail "qemu-img does not like what was repaired"
qemu-img compare -q a.vmdk raw || fail "the repair changed the contents"
check 0 --undo a.vmdk.repair-backup
test "$(sum_of a.vmdk)" = "$before" || fail "undoing is not exact"

# JSON.
check 3 --json a.vmdk
test "$(json 'j["errors"], j["errors-left"], j["findings"][0]["kind"], j["findings"][0]["offset"], j["findings"][0]["repair"], j["kinds"]' < out)" \
     = "(1, 1, 'table-entry', 15936, 'mendable', {'table-entry': 1})" ||
  fail "$(cat out)"

# Leaks alone.
cp monolithicSparse.vmdk b.vmdk
head -c 200000 /dev/urandom >> b.vmdk
check 4 b.vmdk
check 0 --repair b.vmdk
check 0 b.vmdk
qemu-img compare -q b.vmdk raw || fail "the repair changed the contents"

# A stream that lost its end gets a new one.
"$PYTHON" "$make_images" images 'good-stream-recovered-*' > /dev/null
stream=images/good-stream-recovered-in-order/disk.vmdk
check 3 $stream
check 0 --repair $stream
check 0 --data $stream
qemu-img check -q $stream || fail "qemu-img does not like what was rebuilt"
stream=images/good-stream-recovered-cut/disk.vmdk
check 3 --repair $stream
check 0 --repair --accept-loss $stream
check 0 --data $stream

# A disk that is being written is not looked at.
if qemu-io --help | grep -q -e --image-opts; then
  mkfifo commands
  qemu-io -f vmdk child.vmdk < commands > out-io 2>&1 &
  pids="$pids $!"
  exec 3> commands
  echo 'write -P 3 0 64k' >&3
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    if grep -q wrote out-io; then break; fi
    sleep 0.2
  done
  if grep -q wrote out-io; then
    tool_fails 1 'another program has it open' check child.vmdk
    check 0 --lock=off child.vmdk
  fi
  echo quit >&3
  exec 3>&-
fi

# So is one that VMware has open.
mkdir a.vmdk.lck
printf '%-512s' 'host1 123-456 1 X 0 lc=1' > a.vmdk.lck/M00001.lck
tool_fails 1 'a.vmdk.lck' check a.vmdk
check 3 --lock=off a.vmdk
rm -r a.vmdk.lck

# A parent that was written.
sleep 1
qemu-io -f vmdk -c 'write -P 8 5M 64k' monolithicSparse.vmdk > out
check 3 --chain child.vmdk
grep -q 'was changed after the child' out || fail "$(cat out)"
check 3 --chain --repair child.vmdk
check 0 --chain --repair --force child.vmdk
check 0 child.vmdk

# Nothing malformed harms it, and nothing is changed.
"$PYTHON" "$make_images" images > /dev/null
find images -type f -exec sha256sum {} + | sort > sums
cut -f 1,2 images/EXPECT.tsv | sed 1d | sort -u | tr '\t' '/' |
  while read -r disk; do
    status=0
    timeout 60 "$VMDKIT" check --data "images/$disk" > out 2> err ||
      status=$?
    case $status in
      0 | 1 | 3 | 4) ;;
      *) fail "status $status of $disk: $(cat err)" ;;
    esac
    if LC_ALL=C grep -q '[^[:print:][:space:]]' out err; then
      LC_ALL=C.UTF-8 grep -q '[[:cntrl:]]' out err &&
        fail "control bytes from $disk"
    fi
  done
find images -type f -exec sha256sum {} + | sort > sums-after
cmp sums sums-after || fail "an image was changed"
