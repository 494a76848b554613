#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# With write-sesparse=true the allocated grains of a seSparse disk can be
# overwritten, and nothing else: what touches anything else is refused as a
# whole, with a line that says what to do.  No table changes.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version
requires nbdinfo --version
requires qemu-img --version
nbdkit_flags=

"$PYTHON" "$make_images" "$tmp/images" good-sesparse-tables-out-of-order \
  good-sesparse-journal-accepted
cd "$tmp/images/good-sesparse-tables-out-of-order"
extent=disk-sesparse.vmdk

# is_served_read_only PARAMETER...: and stays as it is
is_served_read_only ()
{
  before=$(cksum ./*)
  nbdkit_vmdk disk.vmdk "$@" || fail "refused: $*"
  nbdinfo "$uri" > "$tmp/info"
  stop_nbdkit
  grep -q 'is_read_only: true' "$tmp/info" || fail "writable: $*"
  test "$(cksum ./*)" = "$before" || fail "changed: $*"
}

is_served_read_only
nbdkit_flags=-r
is_served_read_only write-sesparse=true
nbdkit_flags=

# A backup program has been here.
touch disk-ctk.vmdk
sed -i 's/^version=1$/version=3/; /^createType/a changeTrackPath="disk-ctk.vmdk"' \
  disk.vmdk
cp "$extent" "$tmp/before"

nbdkit_vmdk disk.vmdk write-sesparse=true || fail "refused"
"$PYTHON" - "$uri" "$tmp/raw" <<'END_OF_PYTHON' || fail "writing"
import errno
import sys
import nbd

h = nbd.NBD()
h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
h.connect_uri(sys.argv[1])
h.set_strict_mode(0)
assert not h.is_read_only()
size = h.get_size()
assert size > 60 << 20

pieces = []
def note(context, offset, entries, error):
    at = offset
    for length, flags in zip(entries[::2], entries[1::2]):
        pieces.append((at, length, flags))
        at += length
    return 0
h.block_status(size, 0, note)
data = [p for p in pieces if p[2] == 0]
zero = [p for p in pieces if p[2] == 2]
hole = [p for p in pieces if p[2] == 3]
assert data[0][0] == 0 and hole[0][0] == data[0][1] and zero

with open(sys.argv[2], "wb") as raw:
    for at in range(0, size, 1 << 20):
        raw.write(h.pread(min(1 << 20, size - at), at))
raw = open(sys.argv[2], "r+b")

def expect(offset, data):
    raw.seek(offset)
    raw.write(data)

def refused(number, operation, *arguments):
    try:
        operation(*arguments)
    except nbd.Error as e:
        assert e.errnum == number, (e.errnum, number)
    else:
        raise SystemExit("not refused: %r" % (arguments[1:],))

end = hole[0][0]
for offset, count in ((0, 1), (4095, 2), (100, end - 200), (data[-1][0], 512)):
    h.pwrite(b"w" * count, offset)
    expect(offset, b"w" * count)
refused(errno.EPERM, h.pwrite, b"x" * 4096, hole[0][0])
refused(errno.EPERM, h.pwrite, b"x" * 4096, zero[0][0])
refused(errno.EPERM, h.pwrite, b"x" * (end + 1), 0)
refused(errno.EPERM, h.pwrite, bytes(512), zero[0][0])

h.zero(5000, 3000)
expect(3000, bytes(5000))
h.zero(8192, 8192, 0)  # MAY_TRIM
expect(8192, bytes(8192))
refused(errno.ENOTSUP, h.zero, 4096, 0, nbd.CMD_FLAG_FAST_ZERO)
h.zero(zero[0][1], zero[0][0], nbd.CMD_FLAG_FAST_ZERO)
h.trim(end + 8192, 0)
h.flush()
h.shutdown()
END_OF_PYTHON
stop_nbdkit
grep -v 'warning: ' "$tmp/log" > "$tmp/said" || :
test "$(grep -c . "$tmp/said")" -eq 4 || fail "not 4 lines: $(cat "$tmp/log")"
test "$(grep -c "$extent: grain [0-9]* is not allocated, .*: write to an overlay=" \
  "$tmp/said")" -eq 4 || fail "other words: $(cat "$tmp/log")"
grep -q 'warning: disk.vmdk: change tracking is dropped' "$tmp/log" ||
  fail "change tracking is not told of: $(cat "$tmp/log")"
grep -q changeTrackPath disk.vmdk && fail "changes are still tracked"
grep -q '^CID=12345678$' disk.vmdk && fail "the content ID has not changed"

served_as "$tmp/raw" disk.vmdk
served_as "$tmp/raw" disk.vmdk write-sesparse=true
qemu-img compare -q -f vmdk -F raw disk.vmdk "$tmp/raw" || fail "qemu differs"

# Headers, directory and tables are in front of the grains.
"$PYTHON" - "$tmp/before" "$extent" <<'END_OF_PYTHON' || fail "metadata"
import struct
import sys

before, after = (open(name, "rb").read() for name in sys.argv[1:])
grains = struct.unpack_from("<Q", before, 192)[0] * 512
assert len(before) == len(after)
assert before[:grains] == after[:grains]
assert before != after
END_OF_PYTHON

# An overlay takes what the disk itself does not.
nbdkit_vmdk disk.vmdk overlay="$PWD/over.vmdk" write-sesparse=true ||
  fail "refused: an overlay"
"$PYTHON" - "$uri" <<'END_OF_PYTHON' || fail "overlay"
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.pwrite(b"o" * 100000, 20000)
h.shutdown()
END_OF_PYTHON
stop_nbdkit

# That was a child: its parent is not written any more.
is_served_read_only write-sesparse=true
grep -q 'has a child over.vmdk' "$tmp/log" || fail "no child: $(cat "$tmp/log")"
rm over.vmdk

# A journal that was not replayed.
cd ../good-sesparse-journal-accepted
is_served_read_only accept-journal=true write-sesparse=true
refused 'dirty journal' disk.vmdk write-sesparse=true
