#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Writing streamOptimized disks over NBD: new ones and ones that qemu-img
# made, by many requests at once and by pieces of grains; qemu-img reads the
# same.  A server that is killed leaves what was flushed.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires qemu-img --version
requires nbdcopy --version
nbdkit_flags=

cd "$tmp"

# Data that compress and that do not, zeros, and an end within a grain.
make_raw ()
{
  "$PYTHON" - <<'END'
import random

rng = random.Random(3)
with open("raw", "wb") as f:
    f.truncate(24 * 1024 * 1024 + 1536)
    for i in range(200):
        f.seek(rng.randrange(24 * 1024 * 1024 - 100000))
        f.write(rng.choice((rng.randbytes(70000), b"text " * 9999, b"x")))
END
}

# scribble: random small writes to the export, and to raw.
scribble ()
{
  "$PYTHON" - "$uri" <<'END'
import random
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
size = h.get_size()
if h.is_read_only():
    sys.exit(77)
rng = random.Random(11)
with open("raw", "r+b") as raw:
    for i in range(400):
        offset = rng.randrange(size)
        count = min(rng.choice((1, 512, 4096, 70000, 300000)), size - offset)
        what = rng.randrange(5)
        if what == 3:
            h.zero(count, offset)
            data = bytes(count)
        else:
            data = rng.randbytes(count)
            h.pwrite(data, offset, nbd.CMD_FLAG_FUA if what == 2 else 0)
        if what == 4:
            assert h.pread(count, offset) == data
        raw.seek(offset)
        raw.write(data)
if h.pread(24 << 20, 0) != open("raw", "rb").read(24 << 20):
    raise SystemExit("what is read is not what was written")
h.shutdown()
END
}

# is_right DISK: for qemu-img, and for us without a word.
is_right ()
{
  qemu-img compare -q -f vmdk -F raw "$1" raw || fail "compare: $1"
  served_as raw "$1"
  ! grep warning "$tmp/log" || fail "$1 is not as it should be"
}

make_raw
size=$(stat -c %s raw)

# A copy in, and back out.
nbdkit_vmdk new.vmdk create=true create-size="$size" \
  create-type=stream-optimized || fail "create"
nbdcopy --flush raw "$uri" || fail "nbdcopy in"
stop_nbdkit
nbdkit_vmdk new.vmdk || fail "refused: new.vmdk"
nbdcopy "$uri" back || fail "nbdcopy out"
cmp raw back || fail "what comes back is not what went in"
stop_nbdkit
is_right new.vmdk
qemu-img info new.vmdk | grep -q 'create type: streamOptimized' || fail "info"

# Changing it, and what qemu-img made.
qemu-img convert -f raw -O vmdk -o subformat=streamOptimized raw qemu.vmdk
cp raw raw.first
for disk in new.vmdk qemu.vmdk; do
  cp raw.first raw
  nbdkit_vmdk $disk || fail "refused: $disk"
  status=0
  scribble || status=$?
  stop_nbdkit
  # Some versions of qemu write redundant tables.
  if test $disk-$status = qemu.vmdk-77; then
    continue
  fi
  test $status -eq 0 || fail "scribble: $disk"
  is_right $disk
done

# A server that is killed leaves what was flushed, and the next one goes on.
nbdkit_vmdk killed.vmdk create=true create-size="$size" \
  create-type=stream-optimized || fail "create"
"$PYTHON" - "$uri" "$nbdkit_pid" <<'END' || fail "kill"
import os
import signal
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.pwrite(b"k" * 200000, 12345)
h.flush()
h.pwrite(b"lost" * 20000, 1000000)
os.kill(int(sys.argv[2]), signal.SIGKILL)
END
wait "$nbdkit_pid" || :
nbdkit_vmdk killed.vmdk || fail "refused after a crash"
grep -q 'was not closed cleanly' "$tmp/log" || fail "it does not say so"
truncate -s 0 raw
truncate -s "$size" raw
"$PYTHON" - "$uri" <<'END' || fail "after a crash"
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
assert h.pread(200000, 12345) == b"k" * 200000
h.zero(h.get_size(), 0)
h.pwrite(b"l", 1)
h.shutdown()
END
printf l | dd of=raw bs=1 seek=1 conv=notrunc 2> dd.log
stop_nbdkit
is_right killed.vmdk
