#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A server that is not the one that was meant hears no password; a wrong
# password is tried once; what cannot be served is refused, with the reason.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
make_managed_disk
start_server

good="password=secret-word thumbprint=$sha1 transports=https"
disk='[ds1] web/web.vmdk'

refused_remote 'is not trusted' password=secret-word file="$disk"
wrong=$(echo "$sha1" | tr 0123 4567)
refused_remote "has the thumbprint $sha1, not $wrong" password=secret-word \
  thumbprint="$wrong" file="$disk"
refused_remote 'thumbprint "AB": it must be' password=secret-word \
  thumbprint=AB file="$disk"
test ! -s "$work/journal" || fail "the server heard something: $(events)"

refused_remote 'Login' password=wrong-word thumbprint="$sha1" file="$disk"
test "$(events)" = 'login-refused ' || fail "tried again: $(events)"
if grep -q wrong-word "$tmp/refused"; then
  fail "the password was printed"
fi
: > "$work/journal"

refused_remote 'other.vmdk' $good file='[ds1] web/other.vmdk'
vm=vm-99
refused_remote 'vm-99' $good file="$disk"
vm=vm-57
control '{"vm": {"id": "vm-57", "power": "poweredOn"}}'
refused_remote 'web is running and writes to this disk: pass snapshot=' $good \
  file="$disk"
control '{"vm": {"id": "vm-57", "power": "poweredOff", "keyId": "k"}}'
refused_remote 'encrypted' $good file="$disk"
nothing_left 2

# Words that are wrong.
refused 'user= is missing' server=x vm=y file="$disk"
refused 'password= is missing' server=x vm=y user=z file="$disk"
refused 'server= is missing' vm=y file="$disk"
refused 'vm= is missing' server=x user=y password=z file="$disk"
who='server=x vm=y user=z password=p'
refused 'which disk' $who
refused 'not a path on a datastore' $who file=/x.vmdk
refused 'exclude each other' $who file="$disk" export='*'
refused 'is for local disks' $who file="$disk" overlay=/x
refused 'is for local disks' $who file="$disk" create=true create-size=1M
refused 'needs snapshot=temporary' $who file="$disk" quiesce=true
refused 'excludes thumbprint=' $who file="$disk" insecure=true thumbprint=aa
refused 'is not require, try or off' $who file="$disk" prepare=maybe
refused 'is not nbdssl, nbd or https' $who file="$disk" transports=nbd:fax
refused 'none of them is served' $who file="$disk" transports=san:hotadd
refused 'is not none, zlib' $who file="$disk" compression=gzip
refused 'is no port' $who file="$disk" port=0
echo 'vixDiskLib.nfcAio.Session.BufSizeIn64KB = 1000' > "$tmp/config"
refused 'config: line 1: .* it can be from 1 to 256' $who file="$disk" \
  config="$tmp/config"

# Nobody reads a password from ps.
nbdkit -f -U "$tmp/s" -P "$tmp/pid" "$VMDKIT_PLUGIN" server=127.0.0.1 \
  port="$port" user=user vm=moref=vm-57 $good file="$disk" &
pids="$pids $!"
while ! test -s "$tmp/pid"; do
  sleep 0.05
done
tr '\0' '\n' < "/proc/$(cat "$tmp/pid")/cmdline" > "$tmp/cmdline"
grep -q '^vm$\|^vm=moref' "$tmp/cmdline" || fail "no command line"
if grep -q secret-word "$tmp/cmdline"; then
  fail "ps shows the password"
fi
