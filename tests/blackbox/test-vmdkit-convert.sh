#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# vmdkit convert: every type is read back by us, by qemu-img, by libvmdk and by
# the plugin as what went in; theirs are read as they read them; chains become
# one disk; pipes; archives; what is refused; the same file whatever the
# threads.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires_plugin
requires nbdcopy --version
requires qemu-img --version
requires qemu-io --version
requires_python pyvmdk
PYVMDK=$PYTHON
cd "$tmp"

# 9 MiB and 3 sectors: text, noise, holes, stored zeros, an odd end.
python3 - <<'END'
import random
rng = random.Random(11)
size = (9 << 20) + 1536
with open("in.raw", "wb") as f:
    f.truncate(size)
    for start, count in ((0, 70000), (200 << 10, 512), (1 << 20, 300 << 10),
                         ((2 << 20) + 4096, 1 << 20), (size - 700, 700)):
        f.seek(start)
        f.write((b"some text %d " % start * (count // 10))[:count])
    f.seek(4 << 20)
    f.write(rng.randbytes(1 << 20))
    f.write(bytes(1 << 20))
END

same ()
{
  cmp in.raw "$1" || fail "other contents: $2"
  rm -f "$1"
}

# libvmdk FILE OUT
libvmdk ()
{
  "$PYVMDK" - "$1" "$2" <<'END' || fail "libvmdk: $1"
import sys
import pyvmdk

handle = pyvmdk.handle()
handle.open(sys.argv[1])
handle.open_extent_data_files()
size = handle.get_media_size()
with open(sys.argv[2], "wb") as out:
    while out.tell() < size:
        out.write(handle.read_buffer_at_offset(
            min(1 << 16, size - out.tell()), out.tell()))
END
}

# -- Ours, read by all

for type in monolithicSparse monolithicFlat twoGbMaxExtentSparse \
  twoGbMaxExtentFlat vmfs-flat vmfs-thin vmfs-sparse streamOptimized
do
  mkdir "$type"
  vmdkit convert -f raw -t "$type" in.raw "$type/disk.vmdk" > said ||
    fail "$type"
  grep -q "^$type/disk.vmdk: " said || fail "$type said: $(cat said)"
  vmdkit convert -q -t raw "$type/disk.vmdk" out.raw || fail "back: $type"
  same out.raw "$type"
  served_as in.raw "$type/disk.vmdk"
  libvmdk "$type/disk.vmdk" out.raw
  same out.raw "libvmdk: $type"
  test "$type" = vmfs-thin ||  # qemu-img reads the same
    qemu-img compare -q -f raw -F vmdk in.raw "$type/disk.vmdk" ||
    fail "qemu-img: $type"
  vmdkit convert -q --threads=1 -f raw -t "$type" in.raw one.vmdk
  vmdkit convert -q --threads=7 -f raw -t "$type" in.raw many.vmdk
  for one in one*.vmdk; do  # only random numbers and names may differ
    test "$(tr -d '\n' < "$one" | wc -c)" = \
      "$(tr -d '\n' < "many${one#one}" | wc -c)" ||
      test "$one" = one.vmdk || fail "threads change the size: $type"
  done
  vmdkit convert -q -t raw many.vmdk out.raw
  same out.raw "many threads: $type"
  rm -f one*.vmdk many*.vmdk
done
for type in monolithicSparse streamOptimized; do
  qemu-img check -q "$type/disk.vmdk" || fail "qemu-img check: $type"
done

# Zeros take no room.
test "$(stat -c %s monolithicSparse/disk.vmdk)" -lt 3500000 ||
  fail "zeros are stored"
test "$(du -k vmfs-thin/disk-flat.vmdk | cut -f1)" -lt 3500 ||
  fail "zeros are stored in a thin disk"
test "$(du -k vmfs-flat/disk-flat.vmdk | cut -f1)" -ge 9216 ||
  fail "vmfs-flat has holes"

# -- Streams: levels, versions, without a footer; through pipes

for options in '-l fast' '-l default' '-l best' '-l 1' '-l 12' \
  '--stream-version=1' '--no-footer' '--grain-size=4K' '--grain-size=1M'
do
  vmdkit convert -q -f raw -t streamOptimized $options in.raw s.vmdk ||
    fail "$options"
  qemu-img compare -q -f raw -F vmdk in.raw s.vmdk || fail "qemu: $options"
  vmdkit convert -q -t raw s.vmdk out.raw || fail "back: $options"
  same out.raw "$options"
  cp s.vmdk "s$options.vmdk"
  rm s.vmdk
done
test "$(stat -c %s 's-l best.vmdk')" -le "$(stat -c %s 's-l fast.vmdk')" ||
  fail "the best level is larger than the fast one"
test "$(od -An -tu4 -j4 -N4 's--stream-version=1.vmdk')" -eq 1 ||
  fail "another version than 1"
test "$(od -An -tu4 -j4 -N4 's-l fast.vmdk')" -eq 3 || fail "not version 3"
rm s*.vmdk

vmdkit convert -t streamOptimized monolithicSparse/disk.vmdk - | cat > p.vmdk
qemu-img compare -q -f raw -F vmdk in.raw p.vmdk || fail "a pipe"
vmdkit convert -t raw monolithicSparse/disk.vmdk - | cmp - in.raw ||
  fail "raw in a pipe"
mkfifo fifo
cat fifo > f.vmdk &
vmdkit convert -q monolithicSparse/disk.vmdk fifo || fail "a FIFO"
wait $!
qemu-img compare -q -f raw -F vmdk in.raw f.vmdk || fail "a FIFO's contents"
{ vmdkit convert -f raw in.raw - 2> pipe.log || echo $? > status; } | :
test "$(cat status)" -eq 1 || fail "nobody read the pipe"
grep -q 'nobody reads it any more' pipe.log || fail "$(cat pipe.log)"
vmdkit convert -f raw -t monolithicFlat in.raw - > flat 2> pipe.log && fail "-"
grep -q 'cannot be written to a pipe' pipe.log || fail "$(cat pipe.log)"
vmdkit convert -f raw --no-footer in.raw - > flat 2> pipe.log && fail "-"
grep -q 'without a footer' pipe.log || fail "$(cat pipe.log)"

# -- Theirs, read by us

for kind in monolithicSparse monolithicFlat twoGbMaxExtentSparse \
  twoGbMaxExtentFlat streamOptimized
do
  qemu-img convert -f raw -O vmdk -o subformat="$kind" in.raw theirs.vmdk
  vmdkit convert -q -t raw theirs.vmdk out.raw || fail "theirs: $kind"
  same out.raw "theirs: $kind"
  vmdkit convert -q -t streamOptimized theirs.vmdk ours.vmdk || fail "$kind"
  qemu-img compare -q -f raw -F vmdk in.raw ours.vmdk || fail "again: $kind"
  rm -f theirs*.vmdk ours.vmdk
done

# -- Chains: as one disk, and one link of them

qemu-img convert -f raw -O vmdk in.raw base.vmdk
qemu-img create -q -f vmdk -F vmdk -b base.vmdk top.vmdk
qemu-io -f vmdk -c 'write -q -P 3 1M 128k' -c 'write -q -P 4 8M 64k' top.vmdk
qemu-img convert -f vmdk -O raw top.vmdk top.raw
vmdkit convert -q -t twoGbMaxExtentSparse top.vmdk whole.vmdk || fail "chain"
qemu-img compare -q -f raw -F vmdk top.raw whole.vmdk || fail "chain: contents"
vmdkit convert -q --single-link top.vmdk link.vmdk || fail "one link"
qemu-io -r -f vmdk -c 'read -q -P 3 1M 128k' -c 'read -q -P 0 0 1M' \
  -c 'read -q -P 4 8M 64k' link.vmdk > io.log 2>&1 || fail "$(cat io.log)"
! grep -q 'verification failed' io.log || fail "one link: $(cat io.log)"

# -- An archive

requires_python json
"$PYTHON" "$make_images" "$tmp/images" good-ova-two-disks
for member in '' /vm-2.vmdk; do
  line=$(test -n "$member" && echo 3 || echo 2)
  vmdkit convert -q -t raw "images/good-ova-two-disks/vm.ova$member" ova.raw ||
    fail "OVA$member"
  test "$(sum_file ova.raw)" = \
    "$(sed -n "${line}p" images/EXPECT.tsv | cut -f5)" || fail "OVA: contents"
  rm ova.raw
done

# -- A device, if there may be one: its old contents go, also where zeros come

truncate -s 16M loop.img
vmdkit convert -q -t streamOptimized base.vmdk from-stream.vmdk
if device=$(losetup -f --show loop.img 2> losetup.log); then
  trap 'losetup -d "$device"; cleanup' EXIT
  tr '\0' x < loop.img | dd of="$device" bs=1M 2> losetup.log
  tool_fails 1 'say --overwrite' convert -f raw in.raw "$device"
  vmdkit convert -q --overwrite -f raw in.raw "$device" || fail "a device"
  cmp -n "$(stat -c %s in.raw)" in.raw "$device" || fail "a device's contents"
  vmdkit convert -q -t raw "$device" guessed.raw || fail "a device, unsaid"
  cmp "$device" guessed.raw || fail "a device, unsaid: contents"
  dd if=from-stream.vmdk of="$device" bs=64K 2> losetup.log
  tool_fails 1 'say which it is' convert -t raw "$device" x.raw
  vmdkit convert -q --overwrite -f raw in.raw "$device" || fail "a device"
  vmdkit convert -q -f raw "$device" from.vmdk || fail "from a device"
  qemu-img compare -q -f raw -F vmdk "$device" from.vmdk ||
    fail "from a device: contents"
  tool_fails 1 'same' convert --overwrite -f raw -t raw "$device" "$device"
  losetup -d "$device"
  trap cleanup EXIT
fi

# -- Metadata

sed -i 's/^ddb.adapterType.*/ddb.adapterType = "buslogic"\
ddb.toolsVersion = "10357"\
ddb.mine = "my own"\
ddb.uuid.image = "of the old file"/; s/^ddb.geometry.heads.*/ddb.geometry.heads = "77"/
s/^ddb.uuid.*/ddb.uuid = "60 00 C2 9a 00 11 22 33-44 55 66 77 88 99 aa bb"/' \
  monolithicFlat/disk.vmdk
vmdkit convert -q --keep-metadata -t vmfs-thin monolithicFlat/disk.vmdk \
  kept.vmdk
for line in 'adapterType = "buslogic"' 'toolsVersion = "10357"' \
  'geometry.heads = "77"' 'uuid = "60 00 C2 9a 00 11 22 33-44 55 66 77 88 99' \
  'mine = "my own"'
do
  grep -q "ddb.$line" kept.vmdk || fail "lost: $line"
done
! grep -q 'of the old file' kept.vmdk || fail "kept what was true of a file"
vmdkit convert -q --keep-metadata -a ide -w esx65 -t vmfs-thin \
  monolithicFlat/disk.vmdk changed.vmdk
grep -q 'adapterType = "ide"' changed.vmdk || fail "-a"
grep -q 'heads = "16"' changed.vmdk || fail "another adapter, its geometry"
grep -q 'virtualHWVersion = "13"' changed.vmdk || fail "-w"
grep -q 'uuid = "60 00 C2 9a' changed.vmdk || fail "uuid"
vmdkit convert -q -t vmfs-thin monolithicFlat/disk.vmdk fresh.vmdk
! grep -q '10357\|00 11 22 33\|buslogic\|my own' fresh.vmdk || fail "kept, unasked"

# -- Raw disks by their names, never by what a guest has written into them

vmdkit convert -q in.raw unsaid.vmdk || fail "a name tells that it is raw"
qemu-img compare -q -f raw -F vmdk in.raw unsaid.vmdk || fail "unsaid"
vmdkit convert -q base.vmdk unsaid.img || fail "a target's name"
qemu-img compare -q -f raw -F vmdk unsaid.img base.vmdk || fail "unsaid target"
cp in.raw some.disk
vmdkit convert -t raw some.disk said.img 2> said || fail "nothing but raw"
grep -q 'taken for a raw disk' said || fail "taken for raw, silently"
cmp in.raw said.img || fail "nothing but raw: contents"
cp base.vmdk guest.raw
cp in.raw broken.vmdk
qemu-img create -q -f qcow2 other.img 1M

# -- What is refused

files ()
{
  ls | grep -v '^tool-'
}
before=$(files)
tool_fails 1 'starts like a VMDK: say which it is' convert guest.raw x.vmdk
tool_fails 1 'not a VMDK.*-f raw' convert broken.vmdk x.vmdk
tool_fails 1 'qcow2' convert other.img x.vmdk
tool_fails 1 'cannot be read from a pipe' convert - x.vmdk
tool_fails 1 'base.vmdk exists already' convert top.vmdk base.vmdk
tool_fails 1 'is the source, or a part of it' \
  convert --overwrite top.vmdk base.vmdk
tool_fails 1 'grain size' convert --grain-size=5000 top.vmdk x.vmdk
tool_fails 1 'no such file' convert missing.vmdk x.vmdk
tool_fails 2 'Say -t TYPE' convert top.vmdk x.disk
tool_fails 2 'no type' convert -t qcow2 top.vmdk x.vmdk
tool_fails 2 'for streamOptimized' convert -l fast top.vmdk x.vmdk
tool_fails 2 'raw disks have no' convert -t raw -a ide top.vmdk x.raw
tool_fails 2 'fast, default, best' convert -t streamOptimized -l 13 top.vmdk x
tool_fails 2 'vmdk or raw' convert -f qcow2 top.vmdk x.vmdk
tool_fails 1 'in an archive' convert -t raw top.vmdk \
  images/good-ova-two-disks/vm.ova
: > empty.raw
tool_fails 1 'empty' convert -f raw empty.raw x.vmdk
rm empty.raw
vmdkit convert --dry-run -t monolithicFlat top.vmdk x.vmdk > said || fail "-n"
grep -q 'nothing was done' said || fail "$(cat said)"
vmdkit convert --json -t raw top.vmdk x.raw > said
test "$(json 'j["file"], j["type"]' < said)" = "('x.raw', 'raw')" ||
  fail "$(cat said)"
rm x.raw
test "$(files)" = "$before" || fail "left behind: $(files)"
