#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A disk of an ESXi host, without a vCenter: read by each transport; that the
# machine cannot be kept from being moved is said, and does no harm, unless
# that was required.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
make_managed_disk
sed -i 's/DC 0/ha-datacenter/' "$work/inventory"
start_nfc
start_server --esx

for transport in https nbdssl nbd; do
  nbdkit_remote transports=$transport
  nbdcopy "$uri" "$tmp/copy"
  cmp "$raw" "$tmp/copy" || fail "other bytes by $transport"
  stop_nbdkit
done
nothing_left 0
refused_remote 'not a vCenter' password=secret-word thumbprint="$sha1" \
  transports=https prepare=require file='[ds1] web/web.vmdk'
