#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# changed-since=: what has not changed is reported as not allocated, and reads
# as what is there; an id that the server does not know serves nothing.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
make_managed_disk
sed -i 's|"capacity": 25165824,|"capacity": 25165824, "changeId": "52 a1/7",|' \
  "$work/inventory"
start_nfc
start_server

# The map as (offset, length, type) of what is no plain hole.
map ()
{
  nbdinfo --map --json "$uri" \
    | json '[(e["offset"], e["length"], e["type"]) for e in j
             if e["type"] != 1]'
}

for transport in nbdssl https; do
  nbdkit_remote transports=$transport changed-since='52 a1/7'
  test "$(map)" \
    = "[(0, 65536, 0), (8388608, 65536, 3), (16777216, 65536, 0)]" \
    || test "$transport $(map)" \
    = "https [(0, 65536, 0), (8388608, 65536, 0), (16777216, 65536, 0)]" \
    || fail "$transport: $(map)"
  nbdcopy "$uri" "$tmp/copy"
  cmp "$raw" "$tmp/copy" || fail "other bytes"
  stop_nbdkit
done
nbdkit_flags=
nbdkit_remote transports=nbdssl changed-since='52 a1/7'
nbdinfo --is readonly "$uri" || fail "can be written"
stop_nbdkit
unset nbdkit_flags

: > "$work/journal"
nbdkit_remote changed-since='*' snapshot=temporary
test "$(map | grep -c 65536)" -eq 1 || fail "of a snapshot: $(map)"
stop_nbdkit
nothing_left 1

good="password=secret-word thumbprint=$sha1"
refused_remote 'is change id other/1 of this disk' $good \
  file='[ds1] web/web.vmdk' changed-since=other/1
refused 'server= is missing' file="$raw" changed-since=x
