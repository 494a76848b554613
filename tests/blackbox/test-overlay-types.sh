#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Overlays of each type and grain size: qemu finds overlay and parent in order
# and reads from them what was written.  One that is there is used again,
# unless another kind is asked for.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version
requires nbdinfo --version
requires qemu-img --version
requires qemu-io --version
nbdkit_flags=

cd "$tmp"

# write_pattern FILE [SEED]: the same writes to the export and to a raw file.
write_pattern ()
{
  "$PYTHON" "$here/write-pattern.py" "$uri" "$@"
}

qemu-img create -q -f vmdk base.vmdk 3M
qemu-io -f vmdk -c 'write -P 5 100k 2M' base.vmdk > /dev/null
before=$(cksum base.vmdk)

# is_good RAW OVERLAY
is_good ()
{
  qemu-img check -q "$2" > qemu.log 2>&1 ||
    fail "qemu-img check: $2: $(cat qemu.log)"
  qemu-img compare -q -f vmdk -F raw "$2" "$1" || fail "compare: $2"
  test "$(cksum base.vmdk)" = "$before" || fail "the base was changed: $2"
}

# kind TYPE CREATE-TYPE GRAIN [PARAMETER...]: what is made, what is in it
kind ()
{
  wanted=$2 grain=$3
  over=over-$1-$grain.vmdk
  if test "$1" = default; then
    shift 3
  else
    set -- "$@" "overlay-type=$1"
    shift 3
  fi
  qemu-img convert -f vmdk -O raw base.vmdk raw
  nbdkit_vmdk base.vmdk overlay="$over" "$@" || fail "refused: $*"
  nbdinfo "$uri" | grep -q "block_size_preferred: $(($grain > 4096 ?
    $grain : 4096))$" || fail "grains: $* $(nbdinfo "$uri")"
  write_pattern raw 1 || fail "$*"
  stop_nbdkit
  grep -aq "^createType=\"$wanted\"" "$over" || fail "type: $*"
  is_good raw "$over"

  # Again, with the same parameters, in the other spelling, and with none.
  for again in "$*" "overlay-type=$wanted" ''; do
    nbdkit_vmdk base.vmdk overlay="$over" $again || fail "again: $again"
    write_pattern raw 2 || fail "again: $again"
    stop_nbdkit
    is_good raw "$over"
  done
}

kind default monolithicSparse 65536
kind default monolithicSparse 8192 overlay-grain-size=8k
kind monolithic-sparse monolithicSparse 65536
kind monolithicSparse monolithicSparse 1048576 overlay-grain-size=1M
kind split-sparse twoGbMaxExtentSparse 65536
kind split-sparse twoGbMaxExtentSparse 4096 overlay-grain-size=4096
kind twoGbMaxExtentSparse twoGbMaxExtentSparse 131072 overlay-grain-size=128K
kind vmfs-sparse vmfsSparse 512
kind vmfs-sparse vmfsSparse 4096 overlay-grain-size=4k

# What is there is no overlay of the base, above all not the base itself.
qemu-img create -q -f vmdk other.vmdk 3M
ln -s base.vmdk link.vmdk
for other in base.vmdk link.vmdk other.vmdk; do
  refused "^nbdkit: error: .*/$other: this is there and is no overlay but a disk of its own: name another" \
    base.vmdk overlay=$other
done
test "$(cksum base.vmdk)" = "$before" || fail "the base is its own overlay"

# What is there is another kind.
refused '^nbdkit: error: .*/over-split-sparse-4096.vmdk: this overlay is there and is a twoGbMaxExtentSparse disk, not a vmfsSparse one: leave out' \
  base.vmdk overlay=over-split-sparse-4096.vmdk overlay-type=vmfs-sparse
refused 'this overlay is there and has grains of 4096 bytes, not 65536: leave out' \
  base.vmdk overlay=over-split-sparse-4096.vmdk overlay-grain-size=64K
refused 'has grains of 512 bytes, not 65536: leave out' \
  base.vmdk overlay=over-vmfs-sparse-512.vmdk overlay-type=vmfs-sparse \
  overlay-grain-size=64k
is_good raw over-vmfs-sparse-4096.vmdk

# What cannot be made is not, not even half.
refused "no-such: a monolithicFlat disk cannot have a parent, only" \
  base.vmdk overlay=no-such overlay-type=monolithic-flat
refused "no-such: a streamOptimized disk cannot have a parent, only" \
  base.vmdk overlay=no-such overlay-type=stream-optimized
refused 'a grain size of 2048 bytes is not a power of two from 4096 to 1048576' \
  base.vmdk overlay=no-such overlay-grain-size=2K
refused 'a grain size of 256 bytes is not a power of two from 512 to 1048576' \
  base.vmdk overlay=no-such overlay-type=vmfs-sparse overlay-grain-size=256
refused 'a grain size of 12288 bytes is not a power of two' \
  base.vmdk overlay=no-such overlay-grain-size=12K
refused 'a grain size of 2097152 bytes is not a power of two' \
  base.vmdk overlay=no-such overlay-grain-size=2M
refused 'overlay-grain-size=0: no grain is that small' \
  base.vmdk overlay=no-such overlay-grain-size=0
refused 'many' base.vmdk overlay=no-such overlay-grain-size=many
for file in no-such*; do
  test ! -e "$file" || fail "$file is left"
done
