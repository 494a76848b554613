#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A disk that a VMware program has open (disk.vmdk.lck holds a member) is
# served for reading, with a warning that says who has it; lock=off is silent.
# Nothing in the folder is touched.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" good-sparse-grain-8
cd "$tmp/images/good-sparse-grain-8"
nbdkit_vmdk disk.vmdk || fail "refused without a lock"
nbdcopy "$uri" "$tmp/raw"
stop_nbdkit

# warns WORDS: served, with a message; in silence with lock=off
warns ()
{
  served_as "$tmp/raw" disk.vmdk
  test "$(grep -c -e "$1" "$tmp/log")" -eq 1 ||
    fail "no warning, or more than one: $(cat "$tmp/log")"
  ! grep -q "$(printf '\033')" "$tmp/log" || fail "control bytes in the log"
  served_as "$tmp/raw" disk.vmdk lock=off
  test ! -s "$tmp/log" || fail "lock=off is not silent: $(cat "$tmp/log")"
}

# An empty folder is left behind by a program that is gone.
mkdir disk.vmdk.lck
served_as "$tmp/raw" disk.vmdk

member=disk.vmdk.lck/M12345.lck
printf '%s' 'workstation-7 4711-133700 1 X 1700000000 lc=12345' > "$member"
truncate -s 512 "$member"
before=$(ls -lR --time-style=full-iso .)
warns 'warning: .*disk.vmdk.*workstation-7.*4711'
test "$(ls -lR --time-style=full-iso .)" = "$before" \
  || fail "the folder was changed"

# A member that nobody can read still is one, and goes into no message raw.
printf 'a\033[2Jb\n\001' > "$member"
warns 'warning: .*disk.vmdk'

# A file in place of the folder is the old style of lock.
rm -r disk.vmdk.lck
: > disk.vmdk.lck
warns 'warning: .*disk.vmdk'
