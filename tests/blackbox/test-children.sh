#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A disk that has a child beside it is served read-only, with a warning, and
# stays as it is; the child is written.  Without the child it is written.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version
requires qemu-img --version
nbdkit_flags=

cd "$tmp"

# write_byte: write to the export; fails when it is read-only
write_byte ()
{
  "$PYTHON" - "$uri" <<'END_OF_PYTHON'
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
if h.is_read_only():
    raise SystemExit(1)
h.pwrite(b"w", 12345)
h.shutdown()
END_OF_PYTHON
}

for kind in monolithicSparse monolithicFlat twoGbMaxExtentSparse; do
  mkdir "$kind" "$kind/other"
  qemu-img create -q -f vmdk -o subformat="$kind" "$kind/base.vmdk" 2M
  qemu-img create -q -f vmdk -b base.vmdk -F vmdk "$kind/child.vmdk" ||
    fail "qemu makes no child of $kind"
  before=$(cksum "$kind"/*.vmdk)

  nbdkit_vmdk "$kind/base.vmdk" || fail "refused: $kind"
  ! write_byte || fail "a parent was written: $kind"
  stop_nbdkit
  grep -q 'warning: base.vmdk: has a child child.vmdk, ' log ||
    fail "no warning: $(cat log)"
  test "$(cksum "$kind"/*.vmdk)" = "$before" || fail "$kind: changed"

  nbdkit_vmdk "$kind/child.vmdk" || fail "refused: a child of $kind"
  write_byte || fail "a child was not written: $kind"
  stop_nbdkit
  test ! -s log || fail "not silent: $(cat log)"

  mv "$kind/child.vmdk" "$kind/other"
  nbdkit_vmdk "$kind/base.vmdk" || fail "refused: $kind"
  write_byte || fail "not written without a child: $kind"
  stop_nbdkit

  # Back again it is a child no more: its parent has changed.
  mv "$kind/other/child.vmdk" "$kind"
  refused 'child.vmdk' "$kind/child.vmdk"
  nbdkit_vmdk "$kind/base.vmdk" || fail "refused: $kind"
  write_byte || fail "not written beside a stale child: $kind"
  stop_nbdkit
done
