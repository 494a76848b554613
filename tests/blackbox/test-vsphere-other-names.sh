#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Installed under the names vddk and nfc, the plugin takes the command lines
# of programs that know the plugins of these names, as virt-v2v writes them.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
make_managed_disk
start_nfc
start_server

for name in vddk nfc; do
  ln -s "$VMDKIT_PLUGIN" "$tmp/nbdkit-$name-plugin.so"
  nbdkit "$tmp/nbdkit-$name-plugin.so" --dump-plugin > "$tmp/dump"
  grep -q "^name=$name\$" "$tmp/dump" || fail "another name than $name"
done
nbdkit "$tmp/nbdkit-vddk-plugin.so" libdir=/opt/vmware --dump-plugin \
  | grep -q '^vddk_default_libdir=' || fail "no vddk_default_libdir"

echo secret-word > "$tmp/password"

# served PARAMETER...: with options that virt-v2v gives
served ()
{
  rm -f "$tmp/sock" "$tmp/pid"
  nbdkit --exit-with-parent --foreground --pidfile "$tmp/pid" \
    --unix "$tmp/sock" --threads 16 --readonly \
    -D nbdkit.backend.datapath=0 "$@" > "$tmp/log" 2>&1 &
  nbdkit_pid=$!
  pids="$pids $nbdkit_pid"
  while ! test -s "$tmp/pid"; do
    kill -0 "$nbdkit_pid" 2> /dev/null || { cat "$tmp/log" >&2; fail "$*"; }
    sleep 0.05
  done
  nbdcopy "nbd+unix:///?socket=$tmp/sock" "$tmp/copy"
  cmp "$raw" "$tmp/copy" || fail "other bytes"
  stop_nbdkit
  if grep -q 'was not used\|does not contain' "$tmp/log"; then
    fail "$(cat "$tmp/log")"
  fi
}

served -D vddk.datapath=0 -D vddk.stats=1 --filter retry \
  "$tmp/nbdkit-vddk-plugin.so" \
  compression=skipz file='[ds1] web/web.vmdk' libdir=/opt/vmware-vix-disklib \
  password=+"$tmp/password" port="$port" server=127.0.0.1 \
  thumbprint="$sha1" transports=nbdssl:nbd user=user vm=moref=vm-57
served "$tmp/nbdkit-nfc-plugin.so" \
  file='[ds1] web/web.vmdk' insecure=true password=+"$tmp/password" \
  port="$port" server=127.0.0.1 user=user vm=moref=vm-57
