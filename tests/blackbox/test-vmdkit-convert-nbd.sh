#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# vmdkit convert from NBD exports and into them: block status decides what is
# read, and zeros are not sent; sizes and read-only exports are checked.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires nbdkit memory --dump-plugin
requires qemu-img --version
cd "$tmp"

status=0
vmdkit convert -t raw nbd+unix:///?socket=none x.raw 2> nbd.log || status=$?
test "$status" -eq 1 || fail "status $status without a server"
! grep -q 'without libnbd' nbd.log || skip "this needs libnbd in the tool"

python3 - <<'END'
import random
with open("in.raw", "wb") as f:
    f.truncate(64 << 20)
    for start, count in ((0, 100000), (5 << 20, 3 << 20), (63 << 20, 1 << 20)):
        f.seek(start)
        f.write(random.Random(start).randbytes(count))
END
vmdkit convert -q -f raw in.raw in.vmdk

# serve PLUGIN ARGUMENT...: at $uri, with what clients ask for in nbd.log
serve ()
{
  rm -f sock pid
  nbdkit -f -U "$tmp/sock" -P "$tmp/pid" --filter=log \
    "$@" logfile=nbd.log 2> server.log &
  server=$!
  pids="$pids $server"
  uri="nbd+unix:///?socket=$tmp/sock"
  while ! test -s pid; do
    kill -0 "$server" 2> /dev/null || fail "no server: $(cat server.log)"
    sleep 0.02
  done
}

stop ()
{
  kill "$server"
  wait "$server" || fail "the server ended badly"
}

# bytes OPERATION: how many clients asked for
bytes ()
{
  python3 -c '
import re, sys
print(sum(int(m.group(1), 16) for line in open("nbd.log")
          for m in [re.search(r"%s id=\d+ offset=0x[0-9a-f]+ count=(0x[0-9a-f]+)"
                              % sys.argv[1], line)] if m))' "$1"
}

# Into one: old contents go, zeros too.
serve memory 64M
qemu-io -f raw -c 'write -q -P 9 0 64M' "$uri"
: > nbd.log
vmdkit convert -q in.vmdk "$uri" || fail "into an export"
test "$(bytes Write)" -lt 6000000 || fail "zeros were sent"
grep -q Flush nbd.log || fail "not flushed"
qemu-img compare -q -f raw -F raw in.raw "$uri" || fail "other contents"

# And from it.
: > nbd.log
vmdkit convert -q -t streamOptimized "$uri" out.vmdk || fail "from an export"
test "$(bytes Read)" -lt 6000000 || fail "holes were read"
qemu-img compare -q -f raw -F vmdk in.raw out.vmdk || fail "from: contents"
tool_fails 1 'same' convert -t raw "$uri" "$uri"
tool_fails 1 'takes raw bytes\|take raw' convert -t vmfs-thin in.vmdk "$uri"
tool_fails 1 'taken as raw' convert -f vmdk "$uri" x.vmdk
stop

serve memory 32M
tool_fails 1 'has 33554432 bytes, and the disk 67108864' convert in.vmdk "$uri"
stop
serve -r memory 64M
tool_fails 1 'read-only' convert in.vmdk "$uri"
stop

# Our plugin, both ways, and a server that knows no block status.
if test -f "${VMDKIT_PLUGIN:-}"; then
  serve "$VMDKIT_PLUGIN" plugin.vmdk create=true create-size=64M
  vmdkit convert -q -f raw in.raw "$uri" -t raw || fail "into the plugin"
  vmdkit convert -q -t raw "$uri" - | cmp - in.raw || fail "from the plugin"
  stop
  qemu-img compare -q -f raw -F vmdk in.raw plugin.vmdk || fail "the plugin's"
fi
serve --filter=noextents file in.raw
vmdkit convert -q -t raw "$uri" - | cmp - in.raw || fail "without block status"
stop
test ! -e x.raw && test ! -e x.vmdk || fail "left behind"
