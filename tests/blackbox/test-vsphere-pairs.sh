#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# The machine is kept from being moved from the first open of any of its disks
# to the last close, by one pair of calls, however many disks and connections
# there are, and whoever comes and goes at the same time.  What a killed server
# left is released by hand, and what a server refused to take back is asked for
# again.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere
requires_vsphere_tool
requires_python nbd
make_managed_disk
sed 's/web-flat/data-flat/' "$work/ds/ds1/web/web.vmdk" \
  > "$work/ds/ds1/web/data.vmdk"
cp "$raw" "$work/ds/ds1/web/data-flat.vmdk"
sed -i 's|"chain": \[ "\[ds1\] web/web.vmdk" \] }|&,\
  { "key": 2001, "label": "Hard disk 2", "capacity": 25165824,\
    "chain": [ "[ds1] web/data.vmdk" ] }|' "$work/inventory"
start_nfc
start_server

# hold NAME [EXPORT]: a client that stays, until "leave NAME".
hold ()
{
  "$PYTHON" "$here/hold-open.py" "nbd+unix:///${2-}?socket=$tmp/sock" \
    "$tmp/held-$1" > "$tmp/client" 2>&1 &
  pids="$pids $!"
  eval "client_$1=$!"
  while ! test -e "$tmp/held-$1"; do
    kill -0 $! 2> /dev/null || fail "client $1: $(cat "$tmp/client")"
    sleep 0.02
  done
  rm "$tmp/held-$1"
}

leave ()
{
  eval "kill \$client_$1"
}

# protections DISABLE ENABLE: so many have begun, so many have ended; a close
# has nobody who waits for it.
protections ()
{
  while test "$(count enable)" -lt "$2"; do
    sleep 0.02
  done
  test "$(count disable)/$(count enable)" = "$1/$2" \
    || fail "not $1 and $2: $(events)"
}

# pairs: each was ended before the next began
pairs ()
{
  events | tr ' ' '\n' | grep -x -e disable -e enable \
    | awk '$0 != (NR % 2 ? "disable" : "enable") { bad = 1 } END { exit bad }' \
    || fail "not in pairs: $(events)"
}

web='%5Bds1%5D%20web/web.vmdk' data='%5Bds1%5D%20web/data.vmdk'
many="server=127.0.0.1 port=$port user=user password=+$tmp/password \
  vm=moref=vm-57 thumbprint=$sha1"

# connections and disks
nbdkit_vmdk $many transports=https export='*'
protections 0 0
hold a "$web"
protections 1 0
hold b "$data"
hold c "$web"
leave a
nbdcopy --connections=4 "nbd+unix:///$web?socket=$tmp/sock" null:
leave c
protections 1 0
leave b
protections 1 1
hold a "$web"
protections 2 1
leave a
protections 2 2
test "$(count login)/$(count logout)" = 2/1 \
  || fail "not one session: $(events)"
stop_nbdkit
nothing_left 2

# who is there when the server ends
: > "$work/journal"
nbdkit_vmdk $many export='*'
hold a "$web"
hold b "$data"
kill "$nbdkit_pid"
protections 1 1
leave a
leave b
wait "$nbdkit_pid" || fail "the server ended with status $?"
nothing_left 1

# a disk that is opened twice, because it cannot be written
: > "$work/journal"
nbdkit_flags=
nbdkit_remote transports=https
unset nbdkit_flags
nbdinfo --size "$uri" > "$tmp/size"
protections 1 1
hold a
protections 2 1
leave a
stop_nbdkit
nothing_left 2

# whoever comes and goes
for transport in https nbdssl; do
  : > "$work/journal"
  nbdkit_vmdk $many transports=$transport export='*'
  clients=
  for i in 1 2 3 4 5 6; do
    for name in "$web" "$data" "$web"; do
      nbdinfo --size "nbd+unix:///$name?socket=$tmp/sock" || echo failed
    done > "$tmp/size-$i" &
    clients="$clients $!"
  done
  wait $clients
  cat "$tmp"/size-* | sort -u > "$tmp/sizes"
  test "$(cat "$tmp/sizes")" = 25165824 \
    || fail "clients failed: $(cat "$tmp/log")"
  stop_nbdkit
  pairs
  nothing_left "$(count disable)"
done

# what the machine is may change between two clients
: > "$work/journal"
nbdkit_remote transports=https
nbdinfo --size "$uri" > "$tmp/size"
protections 1 1
control '{"vm": {"id": "vm-57", "power": "poweredOn"}}'
if nbdinfo --size "$uri" > "$tmp/size" 2>&1; then
  fail "a running machine's disk was served"
fi
control '{"vm": {"id": "vm-57", "power": "poweredOff"}}'
nbdinfo --size "$uri" > "$tmp/size"
protections 3 3
stop_nbdkit
nothing_left 3

# the files, too
: > "$work/journal"
nbdkit_remote transports=https
nbdcopy "$uri" "$tmp/copy"
protections 1 1
python3 -c '
import sys
open (sys.argv[1], "r+b").write (b"new" * 1000)' \
  "$work/ds/ds1/web/web-flat.vmdk"
nbdcopy "$uri" "$tmp/copy"
cmp "$work/ds/ds1/web/web-flat.vmdk" "$tmp/copy" || fail "old bytes"
stop_nbdkit
nothing_left 2

# a temporary snapshot: from the first open to the end
: > "$work/journal"
nbdkit_remote snapshot=temporary transports=nbdssl
nbdinfo --size "$uri" > "$tmp/size"
nbdinfo --size "$uri" > "$tmp/size"
sleep 0.2
protections 1 0
stop_nbdkit
nothing_left 1

# refused when the last one leaves: the next client has the same protection
: > "$work/journal"
control '{"switch": {"sameSource": "fault"}, "fault": {"method":
          "EnableMethods", "do": "fault", "type": "NoPermission"}}'
nbdkit_remote transports=https
nbdinfo --size "$uri" > "$tmp/size"
while ! grep -q 'vmdkit access release moref=vm-57' "$tmp/log"; do
  sleep 0.02
done
protections 1 0
nbdinfo --size "$uri" > "$tmp/size"
protections 1 1
stop_nbdkit
nothing_left 1

# or the end tries again
: > "$work/journal"
control '{"fault": {"method": "EnableMethods", "do": "fault",
                    "type": "NoPermission"}}'
nbdkit_remote transports=https
nbdinfo --size "$uri" > "$tmp/size"
while ! grep -q 'vmdkit access release moref=vm-57' "$tmp/log"; do
  sleep 0.02
done
stop_nbdkit
nothing_left 1

# and says so when that is no use
: > "$work/journal"
control '{"fault": {"method": "EnableMethods", "do": "fault", "count": 2,
                    "type": "NoPermission"}}'
nbdkit_remote transports=https
nbdinfo --size "$uri" > "$tmp/size"
while ! grep -q 'vmdkit access release moref=vm-57' "$tmp/log"; do
  sleep 0.02
done
stop_nbdkit
test "$(grep -c 'vmdkit access release moref=vm-57' "$tmp/log")" -eq 2 \
  || fail "not said at the end: $(cat "$tmp/log")"
test "$(count enable)" -eq 0 || fail "taken back all the same"
server access release -q web
logged_out

# killed while a client has the disk, and between two
: > "$work/journal"
nbdkit_remote transports=https
nbdinfo --size "$uri" > "$tmp/size"
protections 1 1
hold a
protections 2 1
kill -KILL "$nbdkit_pid"
wait "$nbdkit_pid" || :
server access list | grep -q '^vm-57' || fail "nothing is left behind"
server access release -q web
test -z "$(server access list)" || fail "not released"
