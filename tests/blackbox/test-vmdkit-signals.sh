#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A command that is told to stop while it works removes what it has begun and
# dies of the signal; one that shall ignore it (nohup) goes on.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires_python signal
cd "$tmp"

# compresses for long enough to be stopped at its first word
"$PYTHON" -c '
import random
with open ("source.raw", "wb") as f:
    for i in range (96):
        f.write (random.Random (i).randbytes (1 << 20))'
cp source.raw before

# stop SIGNAL LEVEL [ignored]: start, and send it when the first progress is
# told.
stop ()
{
  "$PYTHON" - "$1" "${3:-}" "$VMDKIT" convert -q --progress=json -f raw \
    -l "$2" -t streamOptimized source.raw target.vmdk <<'END'
import signal
import subprocess
import sys

number = getattr(signal, "SIG" + sys.argv[1])
ignored = sys.argv[2] == "ignored"
# whoever runs the tests may ignore some himself
signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
tool = subprocess.Popen(sys.argv[3:], stderr=subprocess.PIPE)
lines = [tool.stderr.readline()]
tool.send_signal(number)
lines += tool.stderr.readlines()
status = tool.wait()
if b'"progress"' not in lines[0]:
    sys.exit("no progress: %s" % lines)
if ignored:
    if status != 0:
        sys.exit("status %d: %s" % (status, lines[-1]))
elif status != -number or not lines[-1].endswith(b": stopped\n"):
    sys.exit("status %d: %s" % (status, lines[-1]))
END
}

for name in INT TERM HUP; do
  stop $name 12 || fail "SIG$name"
  test "$(ls)" = "$(printf 'before\nsource.raw')" || fail "left: $(ls)"
  cmp source.raw before || fail "the source was changed"
done
stop HUP 1 ignored || fail "SIGHUP was not ignored"
