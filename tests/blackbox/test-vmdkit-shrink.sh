#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# vmdkit shrink gives back what holds zeros: the file is as small as its data
# and tables, qemu-img finds the same contents and no errors, a second run has
# nothing to do.  Snapshots and their parents stay what they are.  --punch
# makes holes only, --dry-run changes nothing.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-img --version
requires qemu-io --version
cd "$tmp"

# half FILE: 32 MiB, every second 64 KiB zeros, with room for all
half ()
{
  qemu-img create -q -f vmdk "$@" 32M
  for last; do :; done
  python3 -c '
for i in range (256):
    print ("aio_write -P %d %dk 128k" % (i % 250 + 1, i * 128))
for i in range (256):
    print ("aio_write -P 0 %dk 64k" % (i * 128 + 64))' > commands
  qemu-io -f vmdk "$last" < commands > /dev/null
}

# size FILE...: all bytes
size ()
{
  stat -c %s "$@" | python3 -c 'import sys; print (sum (map (int, sys.stdin)))'
}

for options in "" "-o subformat=twoGbMaxExtentSparse" \
  "-o zeroed_grain=on"; do
  rm -f d*.vmdk
  # shellcheck disable=SC2086
  half $options d.vmdk
  qemu-img convert -f vmdk -O raw d.vmdk before
  sum=$(sha256sum < d.vmdk)
  before=$(size d*.vmdk)

  vmdkit shrink --json -n d.vmdk > said || fail "$options: dry run"
  test "$(sha256sum < d.vmdk)" = "$sum" || fail "$options: not a dry run"
  would=$(json 'j["size-after"]' < said)

  vmdkit shrink --json d.vmdk > said || fail "$options: shrink"
  test "$(json 'j["zeros"]' < said)" -eq 16777216 || fail "$(cat said)"
  if test -e d-s001.vmdk; then files=d-s001.vmdk; else files=d.vmdk; fi
  test "$(size $files)" -eq "$would" || fail "$options: not as the dry run says"
  test "$(json 'j["size-after"]' < said)" -eq "$would" || fail "$(cat said)"
  # what a new disk has that gets only the data
  # shellcheck disable=SC2086
  qemu-img convert $options -O vmdk before new.vmdk
  new=$(size new*.vmdk)
  test "$(size d*.vmdk)" -le "$((new + new / 100))" \
    || fail "$options: $(size d*.vmdk) bytes, and $new are enough"
  test "$(size d*.vmdk)" -lt "$((before * 6 / 10))" || fail "$options: no less"
  qemu-img compare -q -f vmdk -F raw d.vmdk before || fail "$options: contents"
  qemu-img check -q d.vmdk || fail "$options: qemu-img check"
  vmdkit shrink d.vmdk | grep -q 'nothing to give back' \
    || fail "$options: a second run"
  rm -f new*.vmdk
done

# The content ID stays, so a child still fits; and a child is shrunk.
half base.vmdk
qemu-img create -q -f vmdk -b base.vmdk -F vmdk child.vmdk
qemu-io -f vmdk -c 'write -P 0 0 64k' -c 'write -P 0 1088k 64k' \
  -c 'write -P 7 2M 64k' child.vmdk > /dev/null
qemu-img convert -f vmdk -O raw child.vmdk before
vmdkit shrink base.vmdk > /dev/null || fail "a base with a child"
qemu-img compare -q -f vmdk -F raw child.vmdk before || fail "child over base"
# 0 to 64k hides data, so it stays; 1088k is zeros below too
vmdkit shrink --json child.vmdk > said || fail "child"
test "$(json 'j["zeros"], j["kept-zeros"]' < said)" = "(65536, 65536)" \
  || fail "child: $(cat said)"
qemu-img compare -q -f vmdk -F raw child.vmdk before || fail "child: contents"

# flat: only with --punch
vmdkit create -t monolithicFlat flat.vmdk 4M > /dev/null
dd if=/dev/zero of=flat-flat.vmdk bs=1M count=4 conv=notrunc status=none
vmdkit shrink flat.vmdk | grep -q 'nothing to give back' || fail "flat"
test "$(stat -c %b flat-flat.vmdk)" -ge 8192 || skip "no room is counted here"
vmdkit shrink --punch --json flat.vmdk > said || fail "flat, punch"
test "$(json 'j["punched"]' < said)" -eq 4194304 || fail "$(cat said)"
test "$(stat -c %b flat-flat.vmdk)" -lt 100 || fail "no holes"
test "$(size flat-flat.vmdk)" -eq 4194304 || fail "flat: another size"

half p.vmdk
before=$(size p.vmdk) blocks=$(stat -c %b p.vmdk)
qemu-img convert -f vmdk -O raw p.vmdk raw
vmdkit shrink --punch p.vmdk > /dev/null || fail "punch"
test "$(size p.vmdk)" -eq "$before" || fail "punch: another size"
test "$(stat -c %b p.vmdk)" -lt "$((blocks * 6 / 10))" || fail "punch: no holes"
qemu-img compare -q -f vmdk -F raw p.vmdk raw || fail "punch: contents"

# Only the end is cut, because no grain is left or has to move: that is said
# in a COWD header, too.
if test -n "${VMDKIT_PLUGIN:-}"; then
  for command in shrink defragment; do
    for type in monolithicSparse vmfsSparse; do
      rm -f w*.vmdk
      vmdkit create -q -t $type w.vmdk 4M
      # shellcheck disable=SC2016  # nbdkit's
      nbdkit -U - "$VMDKIT_PLUGIN" w.vmdk --run 'qemu-io -f raw \
        -c "write -P 1 0 64k" -c "write -P 2 1M 256k" \
        -c "discard 1M 256k" "$uri"' > /dev/null || fail "$type: not written"
      before=$(size w*.vmdk)
      vmdkit $command -q w.vmdk || fail "$command, $type"
      test "$(size w*.vmdk)" -lt "$before" || fail "$command, $type: not cut"
      vmdkit check w.vmdk > said || fail "$command, $type: $(cat said)"
      vmdkit $command -q w.vmdk || fail "$command, $type: a second time"
    done
  done
fi

# a disk in use
mkfifo hold
qemu-io -f vmdk p.vmdk < hold > held 2>&1 &
pids="$pids $!"
exec 9> hold
echo 'read -q 0 512' >&9
i=0
until vmdkit info --json p.vmdk | json 'j["in-use"]' | grep -q writing; do
  i=$((i + 1))
  test $i -lt 200 || fail "qemu-io's lock is not seen"
  sleep 0.05
done
sum=$(sha256sum < p.vmdk)
for command in "shrink p.vmdk" "defragment p.vmdk" "grow p.vmdk 1G"; do
  # shellcheck disable=SC2086
  tool_fails 1 "^vmdkit: p.vmdk: another program has it open" $command
done
test "$(sha256sum < p.vmdk)" = "$sum" || fail "refused, and changed"
exec 9>&-
wait "${pids##* }" || fail "qemu-io: $(cat held)"

# refusals
vmdkit create -t streamOptimized s.vmdk 1M > /dev/null
tool_fails 1 "^vmdkit: s.vmdk: .*convert the disk" shrink s.vmdk
tool_fails 2 "too few arguments" shrink
tool_fails 1 "^vmdkit: nowhere.vmdk: " shrink nowhere.vmdk
