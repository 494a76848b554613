#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# What a machine knows of its disk, and the disk database as port 902 or the
# descriptor has it; a disk in use is described, and not opened.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere_tool
make_managed_disk
printf 'ddb.adapterType = "buslogic"\nddb.virtualHWVersion = "13"\n' \
  >> "$work/ds/ds1/web/web.vmdk"
start_nfc
start_server
disk='[ds1] web/web.vmdk'

server info --json "$disk" vm=web > "$tmp/said"
test "$(json 'j["vm"], j["label"], j["key"], j["capacity"], j["in-use"]' \
  < "$tmp/said")" = "('web', 'Hard disk 1', 2000, 25165824, False)" \
  || fail "$(cat "$tmp/said")"
test "$(json 'j["transport"], j["metadata"]["adapterType"]' < "$tmp/said")" \
  = "('nbdssl', 'lsilogic')" || fail "port 902: $(cat "$tmp/said")"
test "$(json '[l["file"] for l in j["links"]]' < "$tmp/said")" \
  = "['[ds1] web/web.vmdk']" || fail "the chain"

server info --json "$disk" vm=web transports=https > "$tmp/said"
test "$(json 'j["transport"], j["metadata"]["adapterType"],
  j["metadata"]["virtualHWVersion"]' < "$tmp/said")" \
  = "('https', 'buslogic', '13')" || fail "https: $(cat "$tmp/said")"

server info "$disk" vm=web > "$tmp/said"
grep -q '^Capacity: *24 MiB (25165824 bytes)$' "$tmp/said" \
  || fail "$(cat "$tmp/said")"
grep -q '^Link: *0, \[ds1\] web/web.vmdk$' "$tmp/said" || fail "the link"

control '{"vm": {"id": "vm-57", "power": "poweredOn"}}'
server info --json "$disk" vm=web > "$tmp/said"
test "$(json 'j["in-use"], j["transport"], j["metadata"]' < "$tmp/said")" \
  = "(True, None, {})" || fail "in use: $(cat "$tmp/said")"

server_fails 1 'vm= is missing' info "$disk"
server_fails 1 'no.vmdk' info '[ds1] web/no.vmdk' vm=web
logged_out
