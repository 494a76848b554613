# SPDX-License-Identifier: BSD-3-Clause

# What the black-box tests share.  Each begins with
#
#   . "${srcdir:-$(dirname "$0")}/functions.sh"
#
# and finds a folder of its own in $tmp, which is removed at the end, the built
# plugin in $VMDKIT_PLUGIN, the built tool in $VMDKIT, and a Python with libnbd
# in $PYTHON.
# Everything it starts ends with it.

set -eu

here=$(cd "${srcdir:-$(dirname "$0")}" && pwd)
top=${top_srcdir:-$here/../..}
make_images=$top/tests/images/make-images.py

PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE

tmp=$(mktemp -d "${TMPDIR:-/tmp}/vmdkit-XXXXXX")
pids=

cleanup ()
{
  for pid in $pids; do
    kill -KILL "$pid" 2> /dev/null || :  # it may hang, and saves nothing
  done
  rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

skip ()
{
  echo "skipped: $*"
  exit 77
}

fail ()
{
  echo "failed: $*" >&2
  exit 1
}

# requires COMMAND...: skip the test unless it succeeds.
requires ()
{
  "$@" > /dev/null 2>&1 < /dev/null || skip "this needs: $*"
}

# requires_python MODULE: set PYTHON.  The first python3 may not be the one that
# Debian's modules are for.
requires_python ()
{
  for PYTHON in python3 /usr/bin/python3; do
    if "$PYTHON" -c "import $1" > /dev/null 2>&1; then
      return 0
    fi
  done
  skip "this needs Python 3 with $1"
}

requires_plugin ()
{
  test -n "${VMDKIT_PLUGIN:-}" || skip "VMDKIT_PLUGIN names no plugin"
  test -f "$VMDKIT_PLUGIN" || skip "$VMDKIT_PLUGIN is not there"
  requires nbdkit --version
}

requires_tool ()
{
  test -n "${VMDKIT:-}" || skip "VMDKIT names no tool"
  test -x "$VMDKIT" || skip "$VMDKIT was not built"
}

# The tool as built.  Sanitizers' reports are no "operation failed".
vmdkit ()
{
  ASAN_OPTIONS="exitcode=99:${ASAN_OPTIONS:-}" \
  UBSAN_OPTIONS="exitcode=99:${UBSAN_OPTIONS:-}" \
    "$VMDKIT" "$@"
}

# tool_fails STATUS WORDS ARGUMENT...: vmdkit must end with STATUS, print
# nothing on stdout and WORDS (a basic regular expression) on stderr; where it
# is an operation that failed, in one line.
tool_fails ()
{
  wanted=$1 words=$2
  shift 2
  status=0
  vmdkit "$@" > "$tmp/tool-out" 2> "$tmp/tool-err" || status=$?
  if test "$status" -ne "$wanted"; then
    cat "$tmp/tool-err" >&2
    fail "status $status, not $wanted, of: vmdkit $*"
  fi
  test ! -s "$tmp/tool-out" || fail "something on stdout of: vmdkit $*"
  if ! grep -v 'warning: ' "$tmp/tool-err" | grep -q -e "$words"; then
    cat "$tmp/tool-err" >&2
    fail "no message with \"$words\" from: vmdkit $*"
  fi
  test "$wanted" -ne 1 \
    || test "$(grep -c -v 'warning: ' "$tmp/tool-err")" -eq 1 \
    || fail "more than one line: $(cat "$tmp/tool-err")"
}

# json EXPRESSION < JSON: the Python EXPRESSION of it, which is called j.
json ()
{
  python3 -c '
import json, sys
j = json.load (sys.stdin)
print (eval ("(" + sys.argv[1] + ")"))' "$1"
}

# Tests of writing set nbdkit_flags to nothing.
#
# nbdkit_vmdk PARAMETER...: serve over $tmp/sock until stop_nbdkit or the
# test's end.  Returns when the server accepts connections; fails when it
# ends instead.  What it says goes to $tmp/log.
nbdkit_vmdk ()
{
  rm -f "$tmp/sock" "$tmp/pid"
  nbdkit ${nbdkit_flags--r} -f -U "$tmp/sock" -P "$tmp/pid" \
    "$VMDKIT_PLUGIN" "$@" > "$tmp/log" 2>&1 &
  nbdkit_pid=$!
  pids="$pids $nbdkit_pid"
  uri="nbd+unix:///?socket=$tmp/sock"
  while ! test -s "$tmp/pid"; do
    if ! kill -0 "$nbdkit_pid" 2> /dev/null; then
      cat "$tmp/log" >&2
      return 1
    fi
    sleep 0.02
  done
}

# A server that ends by itself or badly is a failure.
stop_nbdkit ()
{
  kill "$nbdkit_pid" || fail "the server is gone"
  wait "$nbdkit_pid" || fail "the server ended with status $?"
}

# refused WORDS PARAMETER...: the server must not start, must end with status
# 1, and must say WORDS (a basic regular expression) on one line.  (With -U -
# nbdkit leaves a folder in /tmp when a plugin refuses.)
refused ()
{
  words=$1
  shift
  status=0
  rm -f "$tmp/no-sock"
  timeout 20 nbdkit ${nbdkit_flags--r} -f -U "$tmp/no-sock" "$VMDKIT_PLUGIN" \
    "$@" --run 'echo served' > "$tmp/refused" 2>&1 || status=$?
  if test "$status" -ne 1; then
    cat "$tmp/refused" >&2
    fail "status $status, not 1, of: $*"
  fi
  if ! grep -v 'warning: ' "$tmp/refused" | grep -q -e "$words"; then
    cat "$tmp/refused" >&2
    fail "no message with \"$words\" from: $*"
  fi
  test "$(grep -c -v 'warning: ' "$tmp/refused")" -eq 1 \
    || fail "more than one line: $(cat "$tmp/refused")"
}

# The checksum of an export, of a file.
sum_uri ()
{
  nbdcopy "$1" - | sha256sum | cut -d' ' -f1
}

sum_file ()
{
  sha256sum < "$1" | cut -d' ' -f1
}

# served_as FILE PARAMETER...: what is served has FILE's contents.
served_as ()
{
  wanted=$1
  shift
  nbdkit_vmdk "$@" || fail "refused: $*"
  test "$(sum_uri "$uri")" = "$(sum_file "$wanted")" \
    || fail "other contents than $wanted: $*"
  stop_nbdkit
}
