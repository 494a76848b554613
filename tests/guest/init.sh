#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# The guest's first process.  check-guest.sh puts it into an initramfs with
# busybox, the tools, the modules and /data, and reads what it says on the
# serial console.  The kernel's command line has "ports=A,B": an export each.

# /tools has programs of the host: busybox's shell takes its own commands first,
# whatever the path.

PATH=/bin
export PATH

say ()
{
  echo "GUEST: $*"
}

finish ()
{
  say "$*"
  sync
  sleep 1
  poweroff -f
  sleep 60
}

# must COMMAND...
must ()
{
  "$@" > /tmp/out 2>&1 && return
  cat /tmp/out
  dmesg | tail -n 20
  finish "FAILED: $*"
}

attach ()
{
  must /tools/nbd-client 10.0.2.2 "$1" /dev/nbd0 -nonetlink -b 4096 -C 2
  for i in 1 2 3 4 5 6 7 8 9 10; do
    test "$(cat /sys/block/nbd0/size)" -gt 0 && return
    sleep 1
  done
  finish "FAILED: the device has no size"
}

detach ()
{
  must /tools/nbd-client -d /dev/nbd0
  for i in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    test -e /sys/block/nbd0/pid || return
  done
  finish "FAILED: the device is still attached"
}

check_data ()
{
  must sh -c "cd $1 && sha256sum -c /data/SUMS"
}

start ()
{
  must mount -t proc proc /proc
  must mount -t sysfs sys /sys
  must mount -t devtmpfs dev /dev
  must mount -t tmpfs tmp /tmp
  for module in $(cat /modules/ORDER); do
    must insmod "/modules/$module"
  done
  must ip link set lo up
  must ip link set eth0 up
  must ip addr add 10.0.2.15/24 dev eth0
}

make_and_fill ()
{
  must /tools/mke2fs -q -t ext4 -F /dev/nbd0
  must mount -t ext4 -o discard /dev/nbd0 /mnt
  for copy in one two three; do
    must cp -r /data "/mnt/$copy"
  done
  must sync
  must rm -r /mnt/two
  must rm /mnt/three/file3 /mnt/three/file5
  must sync
  must /tools/fstrim -v /mnt
  say "$1: $(cat /tmp/out)"
  # Over what was given up, so that stale grains would show.
  must cp -r /data /mnt/four
  must mkdir -p /mnt/bin /mnt/proc
  must cp /bin/busybox /mnt/bin/
  must cp /root-init /mnt/root-init
  must umount /mnt
  must /tools/e2fsck -fn /dev/nbd0
}

read_back ()
{
  must /tools/e2fsck -fn /dev/nbd0
  must mount -t ext4 -o ro /dev/nbd0 /mnt
  check_data /mnt/one
  check_data /mnt/four
  must test ! -e /mnt/two
  must umount /mnt
}

test_export ()
{
  attach "$1"
  make_and_fill "$1"
  detach
  say "$1: made, filled, trimmed and checked"
  attach "$1"
  read_back
  detach
  say "$1: read back"
}

# What switch_root starts: /root-init of the file system, with its busybox.
run_from ()
{
  attach "$1"
  must mount -t ext4 /dev/nbd0 /mnt
  say "$1: running from it"
  exec switch_root /mnt /bin/busybox sh /root-init
}

start
ports=$(sed 's/.*ports=\([0-9,]*\).*/\1/' /proc/cmdline)
for port in $(echo "$ports" | tr , ' '); do
  test_export "$port"
done
run_from "${ports%%,*}"
finish "FAILED: switch_root"
