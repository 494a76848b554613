#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Writing over NBD: what was written is there for us, for qemu-img and in a
# second server; the disk is closed cleanly when the last client goes and
# when the server is told to end; -r writes nothing.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires qemu-img --version
requires qemu-io --version
nbdkit_flags=

cd "$tmp"

# write_pattern FILE [SEED]: the same writes to the export and to a raw file.
write_pattern ()
{
  "$PYTHON" "$here/write-pattern.py" "$uri" "$@"
}

# is_clean EXTENT: the header says so
is_clean ()
{
  test "$(dd if="$1" bs=1 skip=72 count=1 2> dd.log | od -An -tu1)" -eq 0
}

for kind in monolithicSparse twoGbMaxExtentSparse monolithicFlat; do
  rm -f disk*.vmdk raw
  qemu-img create -q -f vmdk -o subformat="$kind" disk.vmdk 3M
  truncate -s 3M raw
  nbdkit_vmdk disk.vmdk || fail "refused: $kind"
  write_pattern raw || fail "$kind"
  stop_nbdkit
  qemu-img check -q disk.vmdk || fail "qemu-img check: $kind"
  qemu-img compare -q -f vmdk -F raw disk.vmdk raw || fail "compare: $kind"
  served_as raw disk.vmdk
done

# A child over a base that is not touched.
qemu-img create -q -f vmdk base.vmdk 3M
qemu-io -f vmdk -c 'write -P 5 100k 2M' base.vmdk > /dev/null
qemu-img convert -f vmdk -O raw base.vmdk raw
before=$(cksum base.vmdk)
for round in new again; do
  nbdkit_vmdk base.vmdk overlay=child.vmdk || fail "overlay: $round"
  write_pattern raw || fail "overlay: $round"
  stop_nbdkit
  is_clean child.vmdk || fail "the child was not closed cleanly: $round"
  qemu-img check -q child.vmdk || fail "qemu-img check: child"
  qemu-img compare -q -f vmdk -F raw child.vmdk raw || fail "compare: child"
done
test "$(cksum base.vmdk)" = "$before" || fail "the base was changed"

# A server that is killed while a client is there leaves what was flushed.
qemu-img create -q -f vmdk killed.vmdk 3M
nbdkit_vmdk killed.vmdk || fail "refused"
"$PYTHON" - "$uri" "$nbdkit_pid" <<'END' || fail "kill"
import os
import signal
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.pwrite(b"k" * 200000, 12345)
h.flush()
os.kill(int(sys.argv[2]), signal.SIGKILL)
END
wait "$nbdkit_pid" || :
is_clean killed.vmdk && fail "it cannot have been closed cleanly"
qemu-io -r -f vmdk -c 'read -P 107 12345 200000' killed.vmdk > qemu.log ||
  fail "flushed data were lost: $(cat qemu.log)"
nbdkit_vmdk killed.vmdk || fail "refused after a crash"
"$PYTHON" - "$uri" <<'END' || fail "after a crash"
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
assert h.pread(200000, 12345) == b"k" * 200000
h.pwrite(b"l", 0)
h.shutdown()
END
stop_nbdkit
is_clean killed.vmdk || fail "not clean after the next good end"
qemu-img check -q killed.vmdk || fail "qemu-img check after a crash"

# New disks.
for type in monolithic-sparse monolithic-flat split-sparse split-flat \
  vmfs-flat vmfs-thin; do
  truncate -s 0 raw
  truncate -s 3M raw
  nbdkit_vmdk "$type.vmdk" create=true create-size=3M create-type=$type ||
    fail "create: $type"
  write_pattern raw || fail "create: $type"
  stop_nbdkit
  qemu-img compare -q -f vmdk -F raw "$type.vmdk" raw || fail "new $type"
done

# Zeros take no room.
nbdkit_vmdk zeros.vmdk create=true create-size=64M detect-zeroes=unmap ||
  fail "detect-zeroes"
"$PYTHON" - "$uri" <<'END' || fail "detect-zeroes"
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
for offset in range(0, 32 << 20, 1 << 20):
    h.pwrite(b"x" * (1 << 20), offset)
for offset in range(0, 64 << 20, 1 << 20):
    h.pwrite(bytes(1 << 20), offset)
h.flush()
assert h.pread(64 << 20, 0) == bytes(64 << 20)
h.shutdown()
END
stop_nbdkit
test "$(du -k zeros.vmdk | cut -f1)" -lt 1024 || fail "zeros take room"

# Zeros that must not make a hole make none; others may.
nbdkit_vmdk thick.vmdk create=true create-size=8M create-type=vmfs-flat ||
  fail "thick"
"$PYTHON" - "$uri" thick-flat.vmdk <<'END' || fail "thick"
import os
import sys
import nbd

def room():
    h.flush()
    return os.stat(sys.argv[2]).st_blocks * 512

h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.pwrite(b"x" * (4 << 20), 0)
before = room()
assert before >= 8 << 20
h.zero(3 << 20, 100, nbd.CMD_FLAG_NO_HOLE)
assert room() >= before
assert h.pread((3 << 20) + 200, 0) == b"x" * 100 + bytes(3 << 20) + b"x" * 100
h.zero(2 << 20, 0)
assert room() < before
h.shutdown()
END
stop_nbdkit

# A server that forks does not lock itself out.
nbdkit -U - "$VMDKIT_PLUGIN" child.vmdk --run \
  'nbdinfo "$uri" | grep "is_read_only: false"' > info.log ||
  fail "not writable with --run"

# Who comes back at once finds the disk, though it is just being closed.
nbdkit_vmdk killed.vmdk || fail "refused"
"$PYTHON" - "$uri" <<'END' || fail "coming back"
import sys
import nbd

for i in range(60):
    h = nbd.NBD()
    h.connect_uri(sys.argv[1])
    h.pwrite(b"m" * 512, i << 14)
    h.shutdown()
END
stop_nbdkit

# Read-only means that.
before=$(cksum child.vmdk; stat -c %Y child.vmdk)
nbdkit_flags=-r
nbdkit_vmdk child.vmdk || fail "refused: -r"
stop_nbdkit
test "$(cksum child.vmdk; stat -c %Y child.vmdk)" = "$before" ||
  fail "-r has written"
