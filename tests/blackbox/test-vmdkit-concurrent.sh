#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A disk that somebody reads is not changed, and one that somebody writes is
# neither changed nor copied; of two operations on one disk that begin at once
# each is done or refused, and the disk holds what it held.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires_plugin
requires qemu-io --version
cd "$tmp"

changes ()
{
  cat << END
grow d.vmdk 8M
shrink d.vmdk
shrink --punch d.vmdk
defragment d.vmdk
rename d.vmdk e.vmdk
unlink d.vmdk
meta set d.vmdk key value
check --repair d.vmdk
convert --overwrite o.vmdk d.vmdk
rebase --no-parent d.vmdk
rebase d.vmdk o.vmdk
END
}

# all_refused KIND: nothing that changes the disk is done
all_refused ()
{
  sum=$(cat d*.vmdk | sha256sum)
  changes > list
  while read -r command; do
    # shellcheck disable=SC2086
    tool_fails 1 "another program" $command
  done < list
  test "$(cat d*.vmdk | sha256sum)" = "$sum" || fail "$1: refused, and changed"
  test ! -e e.vmdk || fail "$1: refused, and renamed"
}

# half FILE: every second 64 KiB zeros, and random
half ()
{
  vmdkit convert -q --overwrite -f raw -t monolithicSparse random "$1"
  python3 -c '
for i in range (32):
    print ("write -z %dk 64k" % (i * 128))' > commands
  # no -u: the zeros are stored
  nbdkit -U - "$VMDKIT_PLUGIN" "$1" \
    --run 'qemu-io -f raw "$uri" < commands' > /dev/null
}

head -c 4194304 /dev/urandom > random
vmdkit create -q o.vmdk 4M
for type in monolithicSparse split-sparse; do
  rm -f d*.vmdk
  vmdkit convert -q -f raw -t $type random d.vmdk

  # A reader that waits: nobody takes what it writes.
  rm -f pipe
  mkfifo pipe
  exec 8<> pipe
  "$VMDKIT" convert -q -t raw d.vmdk - > pipe 2> reader 8>&- &
  reader=$!
  pids="$pids $reader"
  i=0
  until vmdkit info --json d.vmdk | json 'j["in-use"]' | grep -q another; do
    i=$((i + 1))
    test $i -lt 200 || fail "$type: the reader's lock is not seen"
    sleep 0.05
  done
  all_refused "$type, read"
  vmdkit convert -q --overwrite -t raw d.vmdk copy || fail "$type: two readers"
  cmp copy random || fail "$type: two readers"
  exec 7< pipe 8>&-
  cat <&7 > copy
  exec 7<&-
  wait $reader || fail "$type: $(cat reader)"
  cmp copy random || fail "$type: the reader got something else"

  # A writer.
  nbdkit_flags=
  nbdkit_vmdk "$PWD/d.vmdk" || fail "$type: nbdkit"
  rm -f hold
  mkfifo hold
  qemu-io -f raw "$uri" < hold > held 2>&1 &
  writer=$!
  pids="$pids $writer"
  exec 9> hold
  # with nothing left for the server to write by itself
  echo 'write -f -P 7 0 4k' >&9
  i=0
  until grep -q wrote held; do
    i=$((i + 1))
    test $i -lt 200 || fail "$type: nothing is written: $(cat held)"
    sleep 0.05
  done
  all_refused "$type, written"
  tool_fails 1 "another program" convert -t raw d.vmdk no-copy
  test ! -e no-copy || fail "$type: a copy of what is being written"
  exec 9>&-
  wait $writer || fail "$type: $(cat held)"
  stop_nbdkit
done

# Two at once.
half d.vmdk
vmdkit convert -q --overwrite -t raw d.vmdk before
for pair in "shrink:shrink" "shrink:defragment" "defragment:check --repair" \
  "shrink:meta set" "defragment:rebase --no-parent"; do
  for round in 1 2; do
    half d.vmdk
    nr=0
    for command in "${pair%%:*}" "${pair#*:}"; do
      nr=$((nr + 1))
      # shellcheck disable=SC2086
      if test "$command" = "meta set"; then
        "$VMDKIT" $command d.vmdk key "$round" > said$nr 2>&1 &
      else
        "$VMDKIT" $command d.vmdk > said$nr 2>&1 &
      fi
      eval "pid$nr=$!"
    done
    status1=0 status2=0
    wait "$pid1" || status1=$?
    wait "$pid2" || status2=$?
    test $((status1 * status2)) -eq 0 || test "$status1 $status2" = "1 1" \
      || fail "$pair: status $status1, $status2"
    for nr in 1 2; do
      eval "status=\$status$nr"
      test "$status" -eq 0 || grep -q 'another program' said$nr \
        || fail "$pair: $(cat said$nr)"
    done
    vmdkit check -q --data d.vmdk > found || test $? -eq 4 \
      || fail "$pair: $(cat found)"
    vmdkit convert -q --overwrite -t raw d.vmdk after
    cmp before after || fail "$pair: other contents"
  done
done
