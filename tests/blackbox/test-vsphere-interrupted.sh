#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Who waits for a machine that is being moved can be told to stop, once: the
# tool and the server end soon and leave nothing behind.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere
requires_vsphere_tool
requires_python signal
make_managed_disk
start_nfc
start_server
disk='[ds1] web/web.vmdk'
control '{"switch": {"relocating": 1000000}}'

# stop SIGNAL EVENT COMMAND...: send it once EVENT is in the journal
stop ()
{
  timeout -k 1 60 "$PYTHON" - "$@" <<'END'
import json
import signal
import subprocess
import sys
import time

number = getattr(signal, "SIG" + sys.argv[1])
signal.signal(number, signal.SIG_DFL) # a shell's background ignores some
journal, event = sys.argv[2:4]
tool = subprocess.Popen(sys.argv[4:], stderr=subprocess.PIPE)
while not any(json.loads(line)["event"] == event for line in open(journal)):
    time.sleep(0.02)
time.sleep(0.1)
tool.send_signal(number)
said = tool.stderr.read()
if tool.wait() != -number or b"stopped" not in said:
    sys.exit("status %d: %s" % (tool.returncode, said))
END
}

words="server=127.0.0.1 port=$port user=user password=+$tmp/password \
  thumbprint=$sha1 vm=web"
for name in INT TERM HUP; do
  for command in 'info' 'convert -t vmfs-flat'; do
    : > "$work/journal"
    target=
    test "$command" = info || target=$tmp/copy.vmdk
    stop $name "$work/journal" disable "$VMDKIT" $command "$disk" $target \
      $words || fail "$command, SIG$name"
    nothing_left 1
  done
done

# the server, with a client that waits
for name in INT TERM; do
  : > "$work/journal"
  nbdkit_remote
  nbdinfo --size "$uri" > "$tmp/size" 2>&1 &
  client=$!
  while test "$(count disable)" -eq 0; do
    sleep 0.05
  done
  kill -$name "$nbdkit_pid"
  wait "$nbdkit_pid" || fail "the server ended with status $?"
  wait "$client" && fail "the client was served"
  nothing_left 1
done
