#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A raw device that a descriptor names is opened only if allow-device= names
# it just so.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires nbdcopy --version

cd "$tmp"
dd if=/dev/urandom of=raw.bin bs=1024 count=64 2> /dev/null

# disk NAME: a disk on this device
disk ()
{
  cat > disk.vmdk <<END
# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="fullDevice"
RW 128 FLAT "$1" 0
END
}

# An allowed name is still only opened if it is a disk: not a terminal, not a
# FIFO, not an endless device.
for name in /dev/zero /dev/null /dev/tty; do
  disk "$name"
  refused "$name" disk.vmdk
  refused "$name" disk.vmdk "allow-device=$name"
done
disk /dev/nothing-of-this-name
refused '/dev/nothing-of-this-name' disk.vmdk
refused '/dev/nothing-of-this-name' disk.vmdk \
  allow-device=/dev/nothing-of-this-name

# The rest needs a real one.
requires test "$(id -u)" -eq 0
requires losetup --version
device=$(losetup --find --show --read-only raw.bin 2> /dev/null) \
  || skip "there is no loop device"
trap 'losetup -d "$device"; cleanup' EXIT

disk "$device"
refused "$device" disk.vmdk
refused "$device" disk.vmdk allow-outside=true
refused "$device" disk.vmdk allow-device=/dev/other
served_as raw.bin disk.vmdk "allow-device=$device"
