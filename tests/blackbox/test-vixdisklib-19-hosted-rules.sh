#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 19: hosted disks take all operations but those which need a
# server: its words go with no local disk.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere
requires_vsphere_tool
cd "$tmp"

login='server=127.0.0.1 user=user password=secret-word'
vmdkit create -q disk.vmdk 8M
for command in 'info disk.vmdk' 'grow disk.vmdk 1G' 'shrink disk.vmdk' \
  'defragment disk.vmdk' 'unlink disk.vmdk' 'rename disk.vmdk new.vmdk' \
  'changed disk.vmdk since=*'; do
  set -f
  tool_fails 2 'no disk of the server' $command $login
  set +f
done
for command in map check 'child disk.vmdk' commit 'meta list' measure chain; do
  tool_fails 2 'local disks' $command disk.vmdk $login
done
tool_fails 2 'server= is missing' access list
tool_fails 2 'server= is missing' changed disk.vmdk since=x

refused 'server= is missing' file=disk.vmdk vm=web
refused 'not a path on a datastore' file=disk.vmdk vm=web $login

# all others
vmdkit grow -q disk.vmdk 16M
vmdkit shrink -q disk.vmdk
vmdkit defragment -q disk.vmdk
vmdkit rename disk.vmdk new.vmdk
vmdkit unlink new.vmdk
