#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 17: one EndAccess for each PrepareForAccess, when all disks
# are closed and the snapshot is gone; and by hand after a crash.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere
requires_vsphere_tool
requires_python nbd
make_managed_disk
start_nfc
start_server

nbdkit_remote
for i in 1 2 3; do
  nbdcopy "$uri" null:
done
stop_nbdkit
nothing_left 3

: > "$work/journal"
nbdkit_remote snapshot=temporary
for i in 1 2 3; do
  nbdcopy "$uri" null:
done
stop_nbdkit
case " $(events)" in
  *" snapshot-removed enable "*) ;;
  *) fail "not in this order: $(events)" ;;
esac
nothing_left 1

# a copy that fails ends it, too
: > "$work/journal"
echo there > "$tmp/there.vmdk"
server_fails 1 'there.vmdk' convert '[ds1] web/web.vmdk' "$tmp/there.vmdk" \
  vm=web
nothing_left 1

# killed
nbdkit_remote
"$PYTHON" "$here/hold-open.py" "$uri" "$tmp/held" &
pids="$pids $!"
while ! test -e "$tmp/held"; do
  sleep 0.05
done
kill -KILL "$nbdkit_pid"
wait "$nbdkit_pid" || :
server access list | grep -q '^vm-57' || fail "nothing is left behind"
server access release -q web
test -z "$(server access list)" || fail "not released"

# nothing to end is no error
server access release -q web
