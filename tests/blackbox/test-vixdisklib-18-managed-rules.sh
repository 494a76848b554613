#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 18: managed disks need valid credentials; a host opens whole
# chains only; new ones are made locally and then cloned; what Grow, Defragment
# and Unlink do to hosted disks the server itself does to its own.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere_tool
make_managed_disk
start_nfc
start_server
disk='[ds1] web/web.vmdk'

# credentials
for bad in password=wrong-word user=nobody; do
  user=user
  password=+$tmp/password
  case $bad in
    password=*) password=${bad#*=} ;;
    *) user=${bad#*=} ;;
  esac
  tool_fails 1 'password' info "$disk" vm=web server=127.0.0.1 port="$port" \
    thumbprint="$sha1" user=$user password="$password"
  if grep -q -e wrong-word -e secret-word "$tmp/tool-err"; then
    fail "the password was printed"
  fi
done
tool_fails 2 'password= is missing' info "$disk" vm=web server=127.0.0.1 \
  user=user
tool_fails 1 'thumbprint' info "$disk" vm=web server=127.0.0.1 port="$port" \
  user=user password=+"$tmp/password" \
  thumbprint=00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33
test "$(count login)" -eq "$(count logout)" || fail "$(events)"

# the password from elsewhere
echo secret-word | vmdkit info -q "$disk" vm=web server=127.0.0.1 \
  port="$port" thumbprint="$sha1" user=user password=- > "$tmp/said"
vmdkit info -q "$disk" vm=web server=127.0.0.1 port="$port" \
  thumbprint="$sha1" user=user password=-7 7< "$tmp/password" > "$tmp/said"

# single links
control '{"vm": {"id": "vm-57", "disks": [{"key": 2000,
  "label": "Hard disk 1", "capacity": 25165824,
  "chain": ["[ds1] web/web-000001.vmdk", "[ds1] web/web.vmdk"]}]}}'
server_fails 1 'whole chains only' convert '[ds1] web/web-000001.vmdk' \
  "$tmp/one.vmdk" vm=web single-link=true transports=nbdssl
test ! -e "$tmp/one.vmdk" || fail "made"

# making them
server_fails 1 'make a local one of another type, and convert it' \
  create -t monolithicSparse '[ds1] web/new.vmdk' 8M
vmdkit create -q "$tmp/new.vmdk" 8M
server convert -q "$tmp/new.vmdk" '[ds1] web/new.vmdk'

# what the server does
server grow -q '[ds1] web/new.vmdk' 16M
server defragment -q '[ds1] web/new.vmdk'
server unlink -q '[ds1] web/new.vmdk'
test "$(events | tr ' ' '\n' | grep -x -e extend-disk -e defragment-disk \
  | tr '\n' ' ')" = "extend-disk defragment-disk " || fail "$(events)"
test ! -e "$(datastore web/new.vmdk)" || fail "not removed"

# not those with snapshots
server_fails 1 'based on each other' grow '[ds1] web/web.vmdk' 1G vm=web
