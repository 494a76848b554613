#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A running machine's disk is served from a snapshot that is taken for it,
# after the machine was kept from being moved, and removed before it may be
# again, once for all clients; a snapshot of somebody else's stays.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
make_managed_disk
start_nfc
start_server
control '{"vm": {"id": "vm-57", "power": "poweredOn"}}'

for transport in nbdssl https; do
  : > "$work/journal"
  nbdkit_remote snapshot=temporary transports=$transport
  nbdcopy "$uri" "$tmp/copy"
  nbdcopy "$uri" "$tmp/copy"
  cmp "$raw" "$tmp/copy" || fail "other bytes"
  stop_nbdkit
  case " $(events)" in
    *" disable snapshot-created "*"snapshot-removed enable "*) ;;
    *) fail "not in this order: $(events)" ;;
  esac
  test "$(count snapshot-created)" -eq 1 || fail "more than one snapshot"
  nothing_left 1
done
