#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# What a killed process left behind is found and taken back; other programs'
# entries only when that is said.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere_tool
make_managed_disk
start_server

test -z "$(server access list)" || fail "something is listed"

control '{"disable": {"vm": "vm-57", "source": "backup A"}}'
server access list > "$tmp/said"
grep -q '^vm-57: *web$' "$tmp/said" || fail "$(cat "$tmp/said")"
test "$(server access list --json | json '[v["name"] for v in j]')" \
  = "['web']" || fail "as JSON"

server_fails 1 'still cannot be moved' access release web
server access release identity='backup A' vm=moref=vm-57 > "$tmp/said"
grep -q 'vm-57: can be moved again' "$tmp/said" || fail "$(cat "$tmp/said")"
test -z "$(server access list)" || fail "still listed"

control '{"disable": {"vm": "vm-57", "source": "backup B"}}'
server access release --anyone -q web
test -z "$(server access list)" || fail "still listed"

# nothing to release is no error
server access release -q web

server_fails 2 'not list or release' access show
server_fails 2 'all machines' access list web
server_fails 1 'vm= is missing' access release
server_fails 1 'twice' access release web vm=web
tool_fails 2 'server= is missing' access list
logged_out
