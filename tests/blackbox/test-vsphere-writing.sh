#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A disk of a vCenter is written over port 902, in TLS and in clear, and not
# over HTTPS.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
requires_python nbd
make_managed_disk
start_nfc
start_server
nbdkit_flags=

for transport in nbdssl nbd; do
  : > "$work/journal"
  nbdkit_remote transports=$transport
  "$PYTHON" - "$uri" "$raw" << 'SCRIPT'
import nbd, random, sys
h = nbd.NBD ()
h.connect_uri (sys.argv[1])
disk = bytearray (open (sys.argv[2], "rb").read ())
r = random.Random (len (sys.argv))
for i in range (40):
    offset = r.randrange (len (disk) - 1)
    data = r.randbytes (min (r.randrange (1, 700000), len (disk) - offset))
    if i % 5 == 4:
        h.zero (len (data), offset)
        data = bytes (len (data))
    else:
        h.pwrite (data, offset)
    disk[offset:offset + len (data)] = data
h.flush ()
for offset in range (0, len (disk), 1 << 20):
    assert h.pread (1 << 20, offset) == disk[offset:offset + (1 << 20)]
open (sys.argv[2], "wb").write (disk)
h.shutdown ()
SCRIPT
  stop_nbdkit
  cmp "$raw" "$work/nfc-disk" || fail "other bytes on the host by $transport"
  nothing_left 1
done

nbdkit_remote transports=https
nbdinfo --is readonly "$uri" || fail "can be written over HTTPS"
stop_nbdkit
