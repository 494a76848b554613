#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A file system that is full, and one that is read-only: the request that
# meets it fails with the reason, nothing that was there is lost, nothing
# half-made is left, and writing goes on when there is room again.

# In a name space of its own a file system can be mounted.
if test -z "${VMDKIT_NAME_SPACE:-}"; then
  if ! unshare -rm sh -c 'mount -t tmpfs none /mnt' > /dev/null 2>&1; then
    echo "skipped: this needs: unshare -rm"
    exit 77
  fi
  VMDKIT_NAME_SPACE=1 exec unshare -rm sh "$0" "$@"
fi

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version
requires nbdinfo --version
requires qemu-img --version
requires qemu-io --version
nbdkit_flags=

# The logs, the socket and the like have room.
mkdir "$tmp/small"
mount -t tmpfs -o size=4M none "$tmp/small"
trap 'cd /; umount -l "$tmp/small"; cleanup' EXIT
cd "$tmp/small"

# fill: leave no room at all
fill ()
{
  head -c 10M /dev/zero > filler 2> /dev/null || :
}

# fill_disk RAW: write until there is no room; then make room, and go on.
fill_disk ()
{
  "$PYTHON" - "$uri" "$1" filler <<'END_OF_PYTHON'
import errno
import os
import random
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
size = h.get_size()
rng = random.Random(3)
raw = open(sys.argv[2], "r+b")

def write(offset, count):
    data = rng.randbytes(count)
    try:
        h.pwrite(data, offset)
    except nbd.Error as e:
        if e.errnum != errno.ENOSPC:
            raise
        # What was readable stays so.  In the range each sector is as it was
        # or as it would have become.
        now = h.pread(count, offset)
        raw.seek(offset)
        old = raw.read(count)
        for i in range(0, count, 512):
            s = slice(i, i + 512)
            assert now[s] in (old[s], data[s]), "lost at %d" % (offset + i)
        raw.seek(offset)
        raw.write(now)
        return False
    raw.seek(offset)
    raw.write(data)
    return True

def same():
    raw.seek(0)
    for at in range(0, size, 1 << 20):
        n = min(1 << 20, size - at)
        assert h.pread(n, at) == raw.read(n), "other bytes at %d" % at

def until_full():
    refused = done = 0
    while refused < 8:
        if write(rng.randrange(size // 512 - 256) * 512, 131072):
            done += 1
        else:
            refused += 1
    return done

assert until_full() > 0
same()
try:
    h.flush()
except nbd.Error as e:
    raise SystemExit("flush: %s" % e)
os.unlink(sys.argv[3])
assert until_full() > 0
same()
h.flush()
h.shutdown()
END_OF_PYTHON
}

for kind in monolithicSparse twoGbMaxExtentSparse monolithicFlat child; do
  rm -f ./*
  truncate -s 8M "$tmp/raw"
  if test "$kind" = child; then
    qemu-img create -q -f vmdk base.vmdk 8M
    qemu-io -f vmdk -c 'write -P 3 1M 500k' base.vmdk > /dev/null
    qemu-img convert -f vmdk -O raw base.vmdk "$tmp/raw"
    set -- base.vmdk overlay=disk.vmdk
  else
    rm "$tmp/raw"
    truncate -s 8M "$tmp/raw"
    qemu-img create -q -f vmdk -o subformat="$kind" disk.vmdk 8M
    set -- disk.vmdk
  fi
  head -c 1M /dev/zero > filler
  nbdkit_vmdk "$@" || fail "refused: $kind"
  fill_disk "$tmp/raw" || fail "$kind: $(tail -n 3 "$tmp/log")"
  stop_nbdkit
  grep -q 'No space left on device' "$tmp/log" ||
    fail "$kind: $(cat "$tmp/log")"
  test "$(grep -c -v 'warning: ' "$tmp/log")" -eq 16 ||
    fail "$kind: not a line for each refusal: $(cat "$tmp/log")"
  case $kind in
    *Flat) ;;
    *) qemu-img check -q disk.vmdk || fail "qemu-img check: $kind" ;;
  esac
  qemu-img compare -q -f vmdk -F raw disk.vmdk "$tmp/raw" ||
    fail "compare: $kind"
  served_as "$tmp/raw" disk.vmdk
done

# New disks and overlays that do not fit: none is left.
rm -f ./*
qemu-img create -q -f vmdk base.vmdk 8M
fill
refused 'No space left on device' new.vmdk create=true create-size=64M \
  create-type=vmfs-flat
refused 'No space left on device' new.vmdk create=true create-size=64M
refused 'No space left on device' new.vmdk create=true create-size=64M \
  create-type=split-sparse
refused 'over.vmdk: .*No space left on device' base.vmdk overlay=over.vmdk \
  overlay-grain-size=4K
test "$(echo ./*)" = './base.vmdk ./filler' || fail "left: $(ls)"

# No room for a descriptor without change tracking: the disk keeps the one
# that it has, and with it its contents.
rm filler
truncate -s 64k flat
cat > disk.vmdk << 'END_OF_TEXT'
# Disk DescriptorFile
version=1
CID=7
parentCID=ffffffff
createType="custom"
changeTrackPath="disk-ctk.vmdk"
# Extent description
RW 128 FLAT "flat" 0
END_OF_TEXT
before=$(cksum disk.vmdk flat)
fill
nbdkit_vmdk disk.vmdk || fail "refused"
if "$PYTHON" - "$uri" 2> "$tmp/client" <<'END_OF_PYTHON'; then
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.pwrite(b"w" * 512, 0)
END_OF_PYTHON
  fail "written without a new descriptor"
fi
stop_nbdkit
grep -q 'disk.vmdk: .*No space left on device' "$tmp/log" ||
  fail "descriptor: $(cat "$tmp/log")"
test "$(cksum disk.vmdk flat)" = "$before" || fail "the disk was changed"
test "$(echo ./*)" = './base.vmdk ./disk.vmdk ./filler ./flat' ||
  fail "left: $(ls)"

# A file system that is read-only.
rm filler
qemu-io -f vmdk -c 'write -P 3 1M 500k' base.vmdk > /dev/null
qemu-img convert -f vmdk -O raw base.vmdk "$tmp/raw"
before=$(ls -l --time-style=full-iso; cksum ./*)
mount -o remount,bind,ro "$tmp/small"
nbdkit_vmdk base.vmdk || fail "refused: read-only"
nbdinfo "$uri" > "$tmp/info"
test "$(sum_uri "$uri")" = "$(sum_file "$tmp/raw")" || fail "content"
stop_nbdkit
grep -q 'is_read_only: true' "$tmp/info" || fail "writable: $(cat "$tmp/info")"
refused 'over.vmdk: .*its file system is read-only' base.vmdk overlay=over.vmdk
refused 'new.vmdk: .*its file system is read-only' \
  new.vmdk create=true create-size=1M
nbdkit_vmdk base.vmdk overlay="$tmp/over.vmdk" || fail "an overlay elsewhere"
nbdinfo "$uri" > "$tmp/info"
stop_nbdkit
grep -q 'is_read_only: false' "$tmp/info" || fail "read-only: an overlay"
test "$(ls -l --time-style=full-iso; cksum ./*)" = "$before" || fail "changed"
