#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Disks that the server makes, grows, shrinks, defragments, renames and removes
# itself; what a machine has is left alone.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere_tool
make_managed_disk
start_server
control '{"switch": {"taskPolls": 2}}'

server create '[ds1] web/new.vmdk' 4M > "$tmp/said"
grep -qx '\[ds1\] web/new.vmdk: vmfs, 4 MiB' "$tmp/said" \
  || fail "$(cat "$tmp/said")"
test "$(stat -c %s "$(datastore web/new-flat.vmdk)")" -eq 4194304 \
  || fail "not created"
server_fails 1 'there is a file of that name' create '[ds1] web/new.vmdk' 4M
server_fails 1 'round up' create '[ds1] web/odd.vmdk' 1025s
server_fails 1 'vmfs-flat and vmfs-thin' create -t monolithicSparse \
  '[ds1] web/odd.vmdk' 1M

server grow '[ds1] web/new.vmdk' 8M --progress=json > "$tmp/said" \
  2> "$tmp/progress"
grep -q '"operation":"grow"' "$tmp/progress" || fail "no progress"
grep -q '"percent":100' "$tmp/progress" || fail "no end of the progress"
test "$(stat -c %s "$(datastore web/new-flat.vmdk)")" -eq 8388608 \
  || fail "not grown"
server grow -q -n '[ds1] web/new.vmdk' 16M
test "$(stat -c %s "$(datastore web/new-flat.vmdk)")" -eq 8388608 \
  || fail "grown, though it was a rehearsal"
server_fails 1 'new.vmdk' grow '[ds1] web/new.vmdk' 1M

server shrink -q '[ds1] web/new.vmdk'
server defragment -q '[ds1] web/new.vmdk'
test "$(count shrink-disk) $(count defragment-disk)" = "1 1" \
  || fail "$(events)"

server_fails 2 "both names" rename '[ds1] web/new.vmdk' other.vmdk
server_fails 1 'there is a file' rename '[ds1] web/new.vmdk' \
  '[ds1] web/web.vmdk'
server rename '[ds1] web/new.vmdk' '[ds1] web/other.vmdk' > "$tmp/said"
test -e "$(datastore web/other.vmdk)" || fail "not renamed"
server_fails 1 'new.vmdk' unlink '[ds1] web/new.vmdk'
server unlink --json '[ds1] web/other.vmdk' > "$tmp/said"
test "$(json 'j["done"]' < "$tmp/said")" = removed || fail "$(cat "$tmp/said")"
test ! -e "$(datastore web/other.vmdk)" || fail "not removed"

# what the machine has
server_fails 1 'belongs to the machine web' unlink '[ds1] web/web.vmdk' vm=web
server_fails 1 'belongs to the machine web' rename '[ds1] web/web.vmdk' \
  '[ds1] web/x.vmdk' vm=web
server grow -q '[ds1] web/web.vmdk' 32M vm=web
control '{"vm": {"id": "vm-57", "power": "poweredOn"}}'
server_fails 1 'is running' grow '[ds1] web/web.vmdk' 64M vm=web
test -e "$(datastore web/web.vmdk)" || fail "removed"

# what a server does not let anybody say
for options in 'grow --geometry X 1G' 'shrink --punch X' 'create -w 13 X 1M' \
  'create --grain-size 64K X 1M' 'convert --keep-metadata x.vmdk X' \
  'rename --children X Y'; do
  set -- $(echo "$options" | sed 's/X/[ds1]a.vmdk/; s/Y/[ds1]b.vmdk/')
  server_fails 2 'the server decides that itself' "$@"
done

server_fails 2 'no disk of the server' grow web.vmdk 1G
server_fails 2 'for local disks' map '[ds1] web/web.vmdk'
server_fails 1 'begins with no datastore' create '[nowhere] x.vmdk' 1M
server_fails 2 'prepare=never' info '[ds1] web/web.vmdk' prepare=never
logged_out

# stopped: the server's task is cancelled
control '{"switch": {"taskPolls": 1000000}}'
"$VMDKIT" create '[ds1] web/slow.vmdk' 1M server=127.0.0.1 port="$port" \
  user=user password=+"$tmp/password" thumbprint="$sha1" 2> "$tmp/err" &
pid=$!
pids="$pids $pid"
until test "$(count login)" -gt "$(count logout)"; do
  sleep 0.05
done
kill "$pid"
wait "$pid" && fail "stopped, and a success"
test ! -e "$(datastore web/slow.vmdk)" || fail "created all the same"
logged_out
