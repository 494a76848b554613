#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Sessions that expire, servers that are busy, connections that break in
# mid-transfer: the bytes are the right ones.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
make_managed_disk
start_nfc
start_server

# Over HTTPS.
nbdkit_remote transports=https remote-cache=4M
nbdinfo --size "$uri" > /dev/null
control '{"expire": null}'
nbdcopy "$uri" "$tmp/copy"
cmp "$raw" "$tmp/copy" || fail "other bytes after the session expired"
control '{"fault": {"method": "/folder", "nth": 2, "count": 2,
                    "do": "status", "status": 503}}'
control '{"fault": {"method": "/folder", "nth": 3, "do": "close"}}'
nbdcopy "$uri" "$tmp/copy"
cmp "$raw" "$tmp/copy" || fail "other bytes from a busy server"
stop_nbdkit
test "$(count login)" -eq 3 || fail "not logged in again: $(events)"

# Over port 902: connections end after so many bytes, and fragments come in
# any order.
for transport in nbdssl nbd; do
  nfc clear
  nfc set order mixed
  nfc set cut 3000000
  nfc set cuts 2
  nbdkit_remote transports=$transport
  nbdcopy "$uri" "$tmp/copy"
  cmp "$raw" "$tmp/copy" || fail "other bytes from broken connections"
  control '{"expire": null}'
  nbdcopy "$uri" "$tmp/copy"
  cmp "$raw" "$tmp/copy" || fail "other bytes after the session expired"
  stop_nbdkit
done
