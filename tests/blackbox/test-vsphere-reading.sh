#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A disk of a vCenter is read by each transport, by one client after the other
# and with several connections, and for each client the machine is kept from
# being moved.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
make_managed_disk
start_nfc
start_server

for transport in https nbdssl nbd; do
  : > "$work/journal"
  nbdkit_remote transports=$transport
  test "$(nbdinfo --size "$uri")" -eq 25165824 || fail "another size"
  nbdcopy "$uri" "$tmp/copy"
  cmp "$raw" "$tmp/copy" || fail "other bytes by $transport"
  nbdcopy --connections=4 --requests=8 "$uri" "$tmp/copy"
  cmp "$raw" "$tmp/copy" || fail "other bytes by $transport, 4 connections"
  stop_nbdkit
  nothing_left 3
done

# The host knows what is allocated.
nbdkit_remote transports=nbdssl
nbdinfo --map "$uri" > "$tmp/map"
grep -q '^ *4194304 *8388608 *3 *hole,zero' "$tmp/map" \
  || fail "no hole: $(cat "$tmp/map")"
stop_nbdkit

# Where port 902 does not answer, the next transport is tried, and by later
# clients at once.
nfc set refuse 1000
nbdkit_remote config=/dev/null
nbdcopy "$uri" "$tmp/copy"
cmp "$raw" "$tmp/copy" || fail "other bytes by the last transport"
tickets=$(count ticket)
nbdcopy "$uri" "$tmp/copy"
cmp "$raw" "$tmp/copy" || fail "other bytes by the last transport"
test "$(count ticket)" -eq "$tickets" || fail "port 902 was tried again"
stop_nbdkit
