#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Disks and chains that qemu made are read as qemu reads them.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires nbdcopy --version
requires qemu-img --version
requires qemu-io --version

cd "$tmp"

# patterns FILE: writes here and there, also across grains and odd ones
patterns ()
{
  qemu-io -f vmdk -c 'write -P 1 0 64k' -c 'write -P 2 100k 1536' \
    -c 'write -P 3 700k 200k' -c 'write -P 4 2047k 2k' \
    -c 'write -z 128k 64k' -c 'write -P 5 3071k 1024' "$1" > /dev/null
}

# compare FILE PARAMETER...
compare ()
{
  qemu-img convert -f vmdk -O raw "$1" "$tmp/qemu.raw"
  served_as "$tmp/qemu.raw" "$@"
}

for kind in monolithicSparse monolithicFlat twoGbMaxExtentSparse \
  twoGbMaxExtentFlat
do
  mkdir "$kind"
  qemu-img create -q -f vmdk -o subformat="$kind" "$kind/disk.vmdk" 3072k
  patterns "$kind/disk.vmdk"
  compare "$kind/disk.vmdk"
done

# Zero entries, the old adapter types, an odd size.
qemu-img create -q -f vmdk -o zeroed_grain=on zero.vmdk 3072k
patterns zero.vmdk
compare zero.vmdk
qemu-img create -q -f vmdk -o compat6,adapter_type=lsilogic six.vmdk 3073k
patterns six.vmdk
compare six.vmdk

# Streams are written once, by convert.
qemu-img convert -f vmdk -O vmdk -o subformat=streamOptimized zero.vmdk \
  stream.vmdk
compare stream.vmdk

# A split disk of more than one extent.
mkdir large
qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse \
  large/disk.vmdk 4098M
qemu-io -f vmdk -c 'write -P 6 2047M 2M' -c 'write -P 7 4097M 1M' \
  large/disk.vmdk > /dev/null
nbdkit_vmdk large/disk.vmdk || fail "refused: large/disk.vmdk"
qemu-io -r -f raw -c 'read -P 6 2047M 2M' -c 'read -P 7 4097M 1M' \
  -c 'read -P 0 2049M 1M' -c 'read -P 0 0 1M' "$uri" > qemu.log
if grep -q 'verification failed' qemu.log; then
  fail "large/disk.vmdk: $(cat qemu.log)"
fi
stop_nbdkit

# Chains: a smaller and a larger child, zeros over data.
mkdir chain
qemu-img create -q -f vmdk chain/a.vmdk 3072k
patterns chain/a.vmdk
parent=a
for child in b:2M c:3072k d:5M e:5M; do
  name=${child%:*}
  qemu-img create -q -f vmdk -o zeroed_grain=on -F vmdk -b "$parent.vmdk" \
    "chain/$name.vmdk" "${child#*:}"
  qemu-io -f vmdk -c "write -P 0x$name 300k 1k" -c 'write -z 0 64k' \
    -c "write -P 0x1$name 1023k 5k" "chain/$name.vmdk" > /dev/null
  compare "chain/$name.vmdk"
  parent=$name
done
