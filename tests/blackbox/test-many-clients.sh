#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Many clients of one disk at once, some of which go away in the middle.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" good-stream-footer \
  good-chain-mixed-kinds good-sparse-shuffled-grain-8

for image in "$tmp"/images/good-*/disk.vmdk; do
  nbdkit_vmdk "$image" || fail "refused: $image"
  sum=$(sum_uri "$uri")
  clients=
  for i in 1 2 3 4 5 6 7 8 9 10; do
    nbdcopy "$uri" - | sha256sum > "$tmp/sum-$i" &
    clients="$clients $!"
  done
  "$PYTHON" - "$tmp/sock" <<'END'
import sys
import nbd

# Without requests in flight: nbdkit 1.32 itself ends by an assertion when
# several threads find a client gone.
for i in range(30):
    client = nbd.NBD()
    client.connect_unix(sys.argv[1])
    for offset in range(0, 64 << 10, 4096):
        client.pread(4096, offset)
    del client  # without a word
END
  for client in $clients; do
    wait "$client" || fail "a client failed"
  done
  for i in 1 2 3 4 5 6 7 8 9 10; do
    test "$(cut -d' ' -f1 "$tmp/sum-$i")" = "$sum" \
      || fail "clients see different contents of $image"
  done
  stop_nbdkit
done
