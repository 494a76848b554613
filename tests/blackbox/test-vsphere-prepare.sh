#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A machine that cannot be kept from being moved is served all the same, or
# not, as prepare= says; a plain host is never asked.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
make_managed_disk
start_server

good="password=secret-word thumbprint=$sha1 transports=https"
disk='[ds1] web/web.vmdk'

control '{"switch": {"noPrivilege": "NoPermission"}}'
nbdkit_remote transports=https
nbdcopy "$uri" "$tmp/copy"
nbdcopy "$uri" "$tmp/copy"
cmp "$raw" "$tmp/copy" || fail "other bytes"
stop_nbdkit
test "$(grep -c 'Global.DisableMethods' "$tmp/log")" -eq 1 \
  || fail "not said once: $(cat "$tmp/log")"
refused_remote 'Global.DisableMethods' $good file="$disk" prepare=require
control '{"switch": {"noPrivilege": ""}}'

: > "$work/journal"
nbdkit_remote transports=https prepare=off
nbdcopy "$uri" "$tmp/copy"
stop_nbdkit
nothing_left 0

: > "$work/journal"
nbdkit_remote transports=https identity='backup of web'
nbdcopy "$uri" "$tmp/copy"
stop_nbdkit
grep -q '"source": "backup of web"' "$work/journal" || fail "no identity"
nothing_left 1
