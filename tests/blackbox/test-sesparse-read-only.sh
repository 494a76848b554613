#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# seSparse disks are served read-only without -r too, and stay as they are;
# what is to be written goes to an overlay.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version
requires nbdinfo --version
nbdkit_flags=

"$PYTHON" "$make_images" "$tmp/images" good-sesparse-in-order
cd "$tmp/images/good-sesparse-in-order"
before=$(ls -l --time-style=full-iso; cksum ./*)
nbdkit_vmdk disk.vmdk || fail "refused"
nbdinfo "$uri" > "$tmp/info"
grep -q 'is_read_only: true' "$tmp/info" || fail "writable: $(cat "$tmp/info")"
nbdcopy "$uri" "$tmp/raw"
stop_nbdkit
test "$(ls -l --time-style=full-iso; cksum ./*)" = "$before" || fail "changed"

nbdkit_vmdk disk.vmdk overlay="$PWD/over.vmdk" || fail "refused: an overlay"
"$PYTHON" - "$uri" "$tmp/raw" <<'END_OF_PYTHON' || fail "overlay"
import sys
import nbd

h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.pwrite(b"w" * 5000, 1000)
h.shutdown()
with open(sys.argv[2], "r+b") as raw:
    raw.seek(1000)
    raw.write(b"w" * 5000)
END_OF_PYTHON
stop_nbdkit
served_as "$tmp/raw" over.vmdk
rm over.vmdk
test "$(ls -l --time-style=full-iso; cksum ./*)" = "$before" || fail "changed"
