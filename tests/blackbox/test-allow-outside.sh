#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Names in descriptors stay in their folder unless allow-outside= says
# otherwise; also then no link, FIFO or device is opened.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires nbdcopy --version

cd "$tmp"
mkdir vm vm/sub store
dd if=/dev/urandom of=store/flat.bin bs=512 count=100 2> /dev/null
cp store/flat.bin vm/sub/flat.bin
ln -s flat.bin store/link.bin
mkfifo store/fifo.bin

# disk NAME: a disk with one extent of this name
disk ()
{
  cat > vm/disk.vmdk <<END
# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="vmfs"
RW 100 VMFS "$1"
END
}

# Downward names stay inside.
disk sub/flat.bin
served_as store/flat.bin vm/disk.vmdk

for name in ../store/flat.bin "$tmp/store/flat.bin" sub/../../store/flat.bin
do
  disk "$name"
  refused 'flat.bin' vm/disk.vmdk
  refused 'flat.bin' vm/disk.vmdk allow-outside=false
  served_as store/flat.bin vm/disk.vmdk allow-outside=true
done

for name in ../store/link.bin ../store/fifo.bin ../store /dev/zero /dev/tty
do
  disk "$name"
  refused "${name##*/}" vm/disk.vmdk allow-outside=true
done
