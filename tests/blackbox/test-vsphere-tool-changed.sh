#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Changed areas as JSON: since a change id, of a machine that is off or of a
# snapshot.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere_tool
make_managed_disk
sed -i 's|"capacity": 25165824,|"capacity": 25165824, "changeId": "52 a1/7",|' \
  "$work/inventory"
start_server
disk='[ds1] web/web.vmdk'

server changed "$disk" since='52 a1/7' vm=web > "$tmp/said"
test "$(json 'j["since"], j["change-id"], j["vm"], j["capacity"]' \
  < "$tmp/said")" = "('52 a1/7', '52 a1/7', 'web', 25165824)" \
  || fail "$(cat "$tmp/said")"
test "$(json '[(a["offset"], a["length"]) for a in j["areas"]]' \
  < "$tmp/said")" = "[(0, 65536), (8388608, 65536), (16777216, 65536)]" \
  || fail "$(cat "$tmp/said")"
test "$(json 'j["changed"]' < "$tmp/said")" -eq 196608 || fail "the sum"

server_fails 1 'of this disk' changed "$disk" since=other/1 vm=web
server_fails 2 'since=CHANGEID is missing' changed "$disk" vm=web
tool_fails 2 'server= is missing' changed "$disk" since=x
control '{"vm": {"id": "vm-57", "power": "poweredOn"}}'
server_fails 1 'is running' changed "$disk" since='52 a1/7' vm=web
: > "$work/journal"
server changed "$disk" since='*' vm=web snapshot=temporary > "$tmp/said"
test "$(json 'len(j["areas"])' < "$tmp/said")" -eq 3 || fail "a snapshot's"
nothing_left 1
control '{"vm": {"id": "vm-57", "power": "poweredOff", "cbt": false}}'
server_fails 1 'tracking on' changed "$disk" since='52 a1/7' vm=web
