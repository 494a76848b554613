#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# A Linux guest with its kernel's own NBD client makes an ext4 file system on
# an export, fills, trims and checks it, reads it back through a second
# attachment, and then runs from it.  One export is a fresh monolithicSparse,
# the other a new child over a base that is full of other data.  Afterwards
# the disks are checked here.
#
# The kernel is Debian's for clouds, unpacked into the build folder and never
# installed; VMDKIT_GUEST_KERNEL names a .deb of it that is there already.
# Everything else in the guest is copied from this host.  The guest reaches
# the servers, which listen on 127.0.0.1, over qemu's user-mode network.

. "${srcdir:-$(dirname "$0")}/../blackbox/functions.sh"

PATH=$PATH:/usr/sbin:/sbin
limit=480 # seconds
size=96   # MiB
tools="nbd-client mke2fs e2fsck fstrim"

# In the order in which they need each other.
modules="
  drivers/virtio/virtio_ring.ko
  drivers/virtio/virtio.ko
  drivers/virtio/virtio_pci_modern_dev.ko
  drivers/virtio/virtio_pci_legacy_dev.ko
  drivers/virtio/virtio_pci.ko
  net/core/failover.ko
  drivers/net/net_failover.ko
  drivers/net/virtio_net.ko
  drivers/block/nbd.ko
"

requires_plugin
test "$(uname -m)" = x86_64 || skip "this needs an x86_64 host"
for command in qemu-system-x86_64 qemu-img nbdcopy busybox cpio gzip dpkg \
  debugfs python3 $tools; do
  requires command -v "$command"
done
if ldd "$(command -v busybox)" > /dev/null 2>&1; then
  skip "this needs a busybox that is linked statically (busybox-static)"
fi

# get_kernel: set $kernel to a folder with boot/ and lib/modules/.
get_kernel ()
{
  local package

  kernel=$PWD/kernel
  test -e "$kernel/complete" && return
  rm -rf "$kernel"
  mkdir -p "$kernel"
  if test -n "${VMDKIT_GUEST_KERNEL:-}"; then
    cp "$VMDKIT_GUEST_KERNEL" "$kernel/kernel.deb"
  else
    package=$(apt-cache depends linux-image-cloud-amd64 2> /dev/null |
      sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1)
    test -n "$package" || skip "apt knows no linux-image-cloud-amd64"
    (cd "$kernel" && apt-get download -q "$package" > apt.log 2>&1) ||
      skip "cannot get $package: $(tail -n 1 "$kernel/apt.log")"
    mv "$kernel"/*.deb "$kernel/kernel.deb"
  fi
  dpkg -x "$kernel/kernel.deb" "$kernel" || fail "cannot unpack the kernel"
  rm "$kernel/kernel.deb"
  touch "$kernel/complete"
}

# into_guest PROGRAM FOLDER: it and its libraries
into_guest ()
{
  local program file

  program=$(readlink -f "$(command -v "$1")")
  cp "$program" "$guest/$2/$1"
  for file in $(ldd "$program" 2> /dev/null | grep -o '/[^ ]*'); do
    mkdir -p "$guest${file%/*}"
    cp -L "$file" "$guest$file"
  done
}

# Some files of odd sizes, and their sums.
make_data ()
{
  local i

  mkdir "$guest/data"
  for i in 1 2 3 4 5 6 7 8; do
    head -c $((i * i * 61440 + i * 777)) /dev/urandom > "$guest/data/file$i"
  done
  (cd "$guest/data" && sha256sum file* > "$tmp/SUMS" && mv "$tmp/SUMS" .)
}

make_initramfs ()
{
  local module name

  guest=$tmp/guest
  mkdir -p "$guest"/{bin,tools,dev,proc,sys,tmp,mnt,modules,etc}
  for name in $(busybox --list); do
    ln -s busybox "$guest/bin/$name"
  done
  rm "$guest/bin/busybox"
  into_guest busybox bin
  for name in $tools; do
    into_guest "$name" tools
  done
  for module in $modules; do
    name=${module##*/}
    cp "$kernel"/lib/modules/*/kernel/"$module" "$guest/modules/$name"
    echo "$name" >> "$guest/modules/ORDER"
  done
  make_data
  cp "$here/init.sh" "$guest/init"
  chmod +x "$guest/init"
  cat > "$guest/root-init" <<'IN_GUEST'
b=/bin/busybox
$b mount -t proc proc /proc
if (cd /four && $b sha256sum -c SUMS) > /ran.log 2>&1; then
  $b mount -o remount,ro / && echo "GUEST: done"
fi
$b sync
$b sleep 1
$b poweroff -f
IN_GUEST
  (cd "$guest" && find . | cpio -o -H newc --quiet | gzip -1) \
    > "$tmp/initramfs"
}

# serve PARAMETER...: on a free port, left in $port.
serve ()
{
  local i pid

  port=$(python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
  nbdkit -f -i 127.0.0.1 -p "$port" -P "$tmp/pid$port" "$VMDKIT_PLUGIN" "$@" \
    > "$tmp/log$port" 2>&1 &
  pid=$!
  pids="$pids $pid"
  servers="${servers:-} $pid"
  for i in $(seq 500); do
    test -s "$tmp/pid$port" && return
    kill -0 "$pid" 2> /dev/null || break
    sleep 0.02
  done
  cat "$tmp/log$port" >&2
  fail "no server: $*"
}

# run_guest PORT,PORT: what it says goes to $tmp/console.
run_guest ()
{
  local status=0

  timeout -k 10 "$limit" qemu-system-x86_64 -machine q35,accel=tcg \
    -cpu max -smp 2 -m 512 -nodefaults -no-user-config -display none \
    -no-reboot -serial "file:$tmp/console" \
    -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= \
    -kernel "$kernel"/boot/vmlinuz-* -initrd "$tmp/initramfs" \
    -append "console=ttyS0 quiet panic=-1 ports=$1" \
    > "$tmp/qemu.log" 2>&1 || status=$?
  grep GUEST "$tmp/console" | tr -d '\r' || :
  if test $status -ne 0 || ! grep -q 'GUEST: done' "$tmp/console"; then
    tail -n 40 "$tmp/console" "$tmp/qemu.log" "$tmp"/log* >&2
    fail "the guest ended with status $status and did not say that all is well"
  fi
}

# check_disk FILE: clean here too, and with the guest's files in it.
check_disk ()
{
  qemu-img check -q "$1" || fail "qemu-img check: $1"
  nbdkit -r -U - "$VMDKIT_PLUGIN" "file=$PWD/$1" \
    --run "nbdcopy \"\$uri\" '$tmp/raw'" || fail "cannot copy $1"
  qemu-img compare -q -F raw "$1" "$tmp/raw" || fail "qemu reads $1 otherwise"
  e2fsck -fn "$tmp/raw" > "$tmp/e2fsck" 2>&1 ||
    fail "e2fsck: $1: $(cat "$tmp/e2fsck")"
  rm -rf "$tmp/out"
  mkdir "$tmp/out"
  debugfs -R "rdump /four $tmp/out" "$tmp/raw" > "$tmp/debugfs" 2>&1
  (cd "$tmp/out/four" && sha256sum --quiet -c SUMS) ||
    fail "the guest's files are not in $1: $(cat "$tmp/debugfs")"
}

begin=$SECONDS
get_kernel
make_initramfs
cd "$tmp"
qemu-img create -q -f vmdk fresh.vmdk ${size}M
head -c ${size}M /dev/urandom > base.raw
qemu-img convert -O vmdk base.raw base.vmdk
rm base.raw
before=$(cksum base.vmdk)

serve fresh.vmdk
ports=$port
serve base.vmdk overlay=child.vmdk
booted=$SECONDS
run_guest "$ports,$port"
echo "the guest ran for $((SECONDS - booted)) s"
for pid in $servers; do
  kill "$pid" || fail "a server is gone"
  wait "$pid" || fail "a server ended with status $?"
done

check_disk fresh.vmdk
check_disk child.vmdk
test "$(cksum base.vmdk)" = "$before" || fail "the base was changed"
echo "passed in $((SECONDS - begin)) s"
