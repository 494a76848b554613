#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A server that is told to end while a client reads leaves nothing behind: no
# snapshot, no machine that cannot be moved, and when the client has gone no
# session.  nbdkit itself waits for its clients, without end.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
requires_python nbd
make_managed_disk
start_nfc
start_server

for transport in nbdssl https; do
  # with a client that stays
  : > "$work/journal"
  nbdkit_remote snapshot=temporary transports=$transport
  "$PYTHON" "$here/hold-open.py" "$uri" "$tmp/held" &
  client=$!
  pids="$pids $client"
  while ! test -e "$tmp/held"; do
    sleep 0.05
  done
  rm "$tmp/held"
  kill -TERM "$nbdkit_pid"
  while test "$(count enable)" -eq 0; do
    sleep 0.05
  done
  test "$(count snapshot-removed)" -eq 1 || fail "a snapshot stays"
  kill "$client"
  wait "$nbdkit_pid" || fail "the server ended with status $?"
  nothing_left 1

  # with one that is just reading; with one request in flight, because nbdkit
  # 1.32 aborts when a client goes that has more
  : > "$work/journal"
  nbdkit_remote snapshot=temporary transports=$transport
  while nbdcopy --connections=1 --requests=1 "$uri" null:; do :; done \
    > /dev/null 2>&1 &
  client=$!
  pids="$pids $client"
  while test "$(count snapshot-created)" -eq 0; do
    sleep 0.05
  done
  kill -INT "$nbdkit_pid"
  wait "$nbdkit_pid" || fail "the server ended with status $?"
  wait "$client" || :
  nothing_left 1
done
