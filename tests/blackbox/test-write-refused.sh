#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# What cannot be written is refused for what it is, in one line, and stays as
# it is: extents that say so, files that nobody may write, children whose
# parent has changed or is not there.  Of locks see test-lock-writing.sh, of
# children test-children.sh, of room test-full-file-system.sh.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version
requires nbdinfo --version
requires qemu-img --version
requires qemu-io --version
nbdkit_flags=

cd "$tmp"

# Extents of all kinds side by side.  Only to the second can be written; a
# request that touches others fails, and changes nothing, not even the CID.
mkdir access
for name in a b c; do
  head -c 4096 /dev/zero | tr '\0' $name > access/$name
done
cat > access/disk.vmdk << 'END_OF_TEXT'
# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="custom"
# Extent description
RDONLY 8 FLAT "a" 0
RW 8 FLAT "b" 0
RW 8 ZERO
NOACCESS 8 FLAT "c" 0
END_OF_TEXT
nbdkit_vmdk access/disk.vmdk || fail "refused: access"
"$PYTHON" - "$uri" <<'END_OF_PYTHON' || fail "access"
import errno
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
for offset, count in ((0, 512), (4095, 2), (8191, 2), (8192, 1),
                      (12288, 4096)):
    for operation in (lambda: h.pwrite(b"w" * count, offset),
                      lambda: h.zero(count, offset)):
        try:
            operation()
        except nbd.Error as e:
            assert e.errnum == errno.EPERM, e
        else:
            raise SystemExit("written at %d" % offset)
assert h.pread(4096, 4096) == b"b" * 4096
assert "CID=12345678" in open("access/disk.vmdk").read()
h.trim(12288, 0)
h.pwrite(b"w" * 4096, 4096)
h.flush()
assert h.pread(12288, 0) == b"a" * 4096 + b"w" * 4096 + bytes(4096)
h.shutdown()
END_OF_PYTHON
stop_nbdkit
grep -v 'warning: ' log > said || :
test "$(grep -c . said)" -eq 10 || fail "not 10 lines: $(cat log)"
test "$(grep -c ' a: cannot be written: its extent line says RDONLY$' said)" \
  -eq 4 || fail "RDONLY: $(cat log)"
test "$(grep -c ' ZERO: cannot be written: it is a ZERO extent$' said)" \
  -eq 4 || fail "ZERO: $(cat log)"
test "$(grep -c ' c: cannot be written: its extent line says NOACCESS$' \
  said)" -eq 2 || fail "NOACCESS: $(cat log)"
test "$(cat access/a access/c)" = "$(head -c 4096 /dev/zero | tr '\0' a
  head -c 4096 /dev/zero | tr '\0' c)" || fail "what is not RW was changed"

# Zeros that cannot be fast in all of the range: all of it stays as it was.
mkdir fast
qemu-img create -q -f vmdk fast/base.vmdk 2M
qemu-io -f vmdk -c 'write -P 3 0 2M' fast/base.vmdk > /dev/null
for type in monolithic-sparse vmfs-sparse stream-optimized; do
  case $type in
    stream-optimized)
      set -- fast/$type.vmdk create=true create-size=2M create-type=$type ;;
    *)
      set -- fast/base.vmdk overlay=fast/$type.vmdk overlay-type=$type ;;
  esac
  nbdkit_vmdk "$@" || fail "refused: $type"
  "$PYTHON" - "$uri" fast/$type.vmdk <<'END_OF_PYTHON' || fail "fast: $type"
import errno
import sys
import nbd

def zero_fast(count, offset):
    before = h.pread(2 << 20, 0), open(sys.argv[2], "rb").read()
    try:
        h.zero(count, offset, nbd.CMD_FLAG_FAST_ZERO)
    except nbd.Error as e:
        assert e.errnum == errno.ENOTSUP, e
        after = h.pread(2 << 20, 0), open(sys.argv[2], "rb").read()
        assert after == before, "changed"
    else:
        raise SystemExit("zeros at %d" % offset)

h = nbd.NBD()
h.connect_uri(sys.argv[1])
is_child = h.pread(1, 0) == b"\3"
if is_child:
    zero_fast(1 << 20, 0)
h.pwrite(b"w" * 65536 * 3, 65536)
h.flush()
zero_fast(4 * 65536 if is_child else 2 * 65536 + 1, 65536)
h.shutdown()
END_OF_PYTHON
  stop_nbdkit
done

# Files that we may not write; the administrator may, so he becomes somebody
# else, who may not even change the folder.
mkdir modes
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse modes/disk.vmdk 2M
qemu-io -f vmdk -c 'write -P 9 300k 1M' modes/disk.vmdk > /dev/null
qemu-img convert -f vmdk -O raw modes/disk.vmdk raw
chmod 755 "$tmp"
as=
if test "$(id -u)" -eq 0; then
  as='setpriv --reuid=65534 --regid=65534 --clear-groups'
fi
for protected in disk.vmdk disk-s001.vmdk; do
  $as test -r "$VMDKIT_PLUGIN" 2> /dev/null || break
  chmod 666 modes/*
  chmod 444 "modes/$protected"
  before=$(ls -l --time-style=full-iso modes; cksum modes/*)
  $as nbdkit -U - "$VMDKIT_PLUGIN" modes/disk.vmdk \
    --run 'nbdinfo "$uri"; nbdcopy "$uri" - | sha256sum' > info 2> log ||
    fail "$protected: $(cat log)"
  grep -q 'is_read_only: true' info || fail "$protected: $(cat info)"
  grep -q "warning: .*$protected.*: serving it read-only" log ||
    fail "$protected is silent: $(cat log)"
  grep -q "^$(sum_file raw)" info || fail "$protected: content"
  test "$(ls -l --time-style=full-iso modes; cksum modes/*)" = "$before" ||
    fail "$protected: changed"
done

# A parent that was written since, or is not there.
mkdir chain
qemu-img create -q -f vmdk chain/base.vmdk 2M
qemu-io -f vmdk -c 'write -P 7 0 1M' chain/base.vmdk > /dev/null
nbdkit_vmdk chain/base.vmdk overlay=chain/over.vmdk || fail "overlay"
"$PYTHON" - "$uri" <<'END_OF_PYTHON' || fail "overlay"
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.pwrite(b"o" * 100, 1000)
h.shutdown()
END_OF_PYTHON
stop_nbdkit
cp chain/base.vmdk old-base.vmdk
qemu-img convert -f vmdk -O raw chain/over.vmdk raw
before=$(cksum chain/over.vmdk)
mv chain/over.vmdk elsewhere.vmdk # or the base would not be written
nbdkit_vmdk chain/base.vmdk || fail "base"
"$PYTHON" - "$uri" <<'END_OF_PYTHON' || fail "base"
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.pwrite(b"n" * 100, 1 << 20)
h.shutdown()
END_OF_PYTHON
stop_nbdkit
mv elsewhere.vmdk chain/over.vmdk
stale='over.vmdk: .*CID'
refused "$stale" chain/over.vmdk
refused "$stale" chain/base.vmdk overlay=chain/over.vmdk
# With the operator's word for it the child can be read; a write would copy
# what nobody knows to be right.
nbdkit_vmdk chain/over.vmdk ignore-cid=true || fail "ignore-cid"
nbdinfo "$uri" > info
stop_nbdkit
grep -q 'is_read_only: true' info || fail "writable with ignore-cid"
rm chain/base.vmdk
refused 'over.vmdk: its parent "base.vmdk" is missing' \
  chain/over.vmdk
refused 'base.vmdk: cannot be opened: No such file' \
  chain/base.vmdk overlay=chain/over.vmdk
nbdkit_vmdk chain/over.vmdk single-link=true || fail "single-link"
nbdinfo "$uri" > info
stop_nbdkit
grep -q 'is_read_only: true' info || fail "writable with single-link"
test "$(cksum chain/over.vmdk)" = "$before" || fail "the child was changed"
# Nothing is lost: with its parent it is what it was.
cp old-base.vmdk chain/base.vmdk
served_as raw chain/over.vmdk
qemu-img check -q chain/over.vmdk || fail "qemu-img check"
