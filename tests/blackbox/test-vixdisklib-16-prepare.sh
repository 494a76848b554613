#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 16: PrepareForAccess comes before the snapshot, has an
# identity of at most 50 characters, needs a vCenter, and while the machine is
# being moved is tried again for a limited time.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere_tool
make_managed_disk
start_nfc
start_server
disk='[ds1] web/web.vmdk'

server convert -q "$disk" "$tmp/a.vmdk" vm=web snapshot=temporary
test "$(events | tr ' ' '\n' \
  | grep -x -e disable -e snapshot-created -e snapshot-removed -e enable \
  | tr '\n' ' ')" = "disable snapshot-created snapshot-removed enable " \
  || fail "in another order: $(events)"
python3 -c '
import json, sys
sources = { json.loads (line).get ("source") for line in open (sys.argv[1])
            if "able\"" in line }
sources.discard (None)
assert len (sources) == 1, sources
assert 0 < len (sources.pop ()) <= 50' "$work/journal" \
  || fail "the identity"

: > "$work/journal"
server convert -q "$disk" "$tmp/b.vmdk" vm=web identity='backup of web'
grep -q '"source": "backup of web"' "$work/journal" || fail "no identity"
server_fails 1 '50' convert "$disk" "$tmp/c.vmdk" vm=web \
  identity=123456789012345678901234567890123456789012345678901
nothing_left 1

# while it is being moved
control '{"switch": {"relocating": 1000}}'
server_fails 1 'being moved' convert "$disk" "$tmp/c.vmdk" vm=web \
  prepare=require prepare-timeout=0
control '{"switch": {"relocating": 0}}'
test ! -e "$tmp/c.vmdk" || fail "copied all the same"
test -z "$(server access list)" || fail "left behind"

# a host alone
exec 9>&-
rm "$work/in"
: > "$work/out"
sed -i 's/DC 0/ha-datacenter/' "$work/inventory"
start_server --esx
server_fails 1 'not a vCenter' convert "$disk" "$tmp/c.vmdk" vm=web \
  prepare=require
server convert -q "$disk" "$tmp/c.vmdk" vm=web
