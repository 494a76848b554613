#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A file that shrinks while it is served gives I/O errors where it is cut, not
# zeros, and the server lives on.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" good-flat good-sparse-all-data \
  good-stream-front
for name in good-flat/disk good-sparse-all-data/disk good-stream-front/disk
do
  file=$tmp/images/$name.vmdk
  nbdkit_vmdk "$file" || fail "refused: $name"
  nbdcopy "$uri" "$tmp/raw"
  stop_nbdkit
  nbdkit_vmdk "$file" || fail "refused: $name"
  test "$name" != good-flat/disk || file=$tmp/images/$name-flat.vmdk
  "$PYTHON" - "$tmp/sock" "$file" "$tmp/raw" <<'END'
import os
import sys
import nbd

socket, file, raw = sys.argv[1:]
with open(raw, "rb") as copy:
    wanted = copy.read()
client = nbd.NBD()
client.connect_unix(socket)
client.pread(1 << 20, 0)
os.truncate(file, os.path.getsize(file) // 2)
failed, step = [], 1 << 16
for offset in range(0, len(wanted), step):
    try:
        # Grains may be cached or absent, so a read may succeed anywhere.
        if client.pread(step, offset) != wanted[offset:offset + step]:
            sys.exit("wrong bytes at %d" % offset)
    except nbd.Error as error:
        if error.errno != "EIO":
            sys.exit("%s, not EIO" % error.errno)
        failed.append(offset)
if not failed or failed[0] < len(wanted) // 8:
    sys.exit("errors at %r" % failed)
END
  stop_nbdkit
done
