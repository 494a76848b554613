#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# With export= clients ask for disks by their paths, those that match and no
# others; all of them together protect the machine once.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
make_managed_disk
start_server

echo secret-word > "$tmp/password"
nbdkit_vmdk server=127.0.0.1 port="$port" user=user \
  password=+"$tmp/password" vm=web thumbprint="$sha256" transports=https \
  export='?ds1] web/*'
uri () { echo "nbd+unix:///$1?socket=$tmp/sock"; }

nbdcopy "$(uri '%5Bds1%5D%20web/web.vmdk')" "$tmp/copy"
cmp "$raw" "$tmp/copy" || fail "other bytes"
for name in '' '%5Bds2%5D%20web/web.vmdk' '%5Bds1%5D%20other/web.vmdk'; do
  if nbdinfo "$(uri "$name")" > /dev/null 2>&1; then
    fail "served: $name"
  fi
done
grep -q 'is not a name that export=' "$tmp/log" || fail "no reason"
stop_nbdkit
nothing_left 1
