#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# parent=, search=, single-link= and ignore-cid=: where a child's parent is
# taken from, and when it is accepted.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" good-chain-depth-3 \
  good-chain-same-cids
cd "$tmp/images/good-chain-depth-3"

# What a server beside the files gives is what every other must give.
served ()
{
  nbdkit_vmdk "$@" || fail "refused: $*"
  nbdcopy "$uri" "$tmp/raw"
  stop_nbdkit
}
served disk.vmdk
mv "$tmp/raw" "$tmp/whole.raw"
served disk-1.vmdk
mv "$tmp/raw" "$tmp/middle.raw"
served disk.vmdk single-link=true
mv "$tmp/raw" "$tmp/top.raw"
! cmp -s "$tmp/whole.raw" "$tmp/top.raw" || fail "single-link shows parents"

mkdir a b c
mv disk.vmdk a
mv disk-1.vmdk b
mv disk-0.vmdk c

# Nothing is found where the hints say.
refused 'disk-1.vmdk' a/disk.vmdk
refused 'disk-0.vmdk' a/disk.vmdk parent=b/disk-1.vmdk
refused 'disk-0.vmdk' a/disk.vmdk search=b

# Relative names are taken from where the server was started; search= also
# serves the parents' parents, in any order.
served_as "$tmp/whole.raw" a/disk.vmdk search=b search=c
served_as "$tmp/whole.raw" a/disk.vmdk search=c search=b
served_as "$tmp/whole.raw" a/disk.vmdk parent=b/disk-1.vmdk search=c
served_as "$tmp/middle.raw" b/disk-1.vmdk parent=c/disk-0.vmdk
served_as "$tmp/top.raw" a/disk.vmdk single-link=true

# A file of the right name but with another CID is passed over.
mkdir d
cp c/disk-0.vmdk d/disk-1.vmdk
served_as "$tmp/whole.raw" a/disk.vmdk search=d search=b search=c
refused 'CID' a/disk.vmdk parent=d/disk-1.vmdk

# ignore-cid= takes it, and warns.
nbdkit_vmdk a/disk.vmdk parent=d/disk-1.vmdk ignore-cid=true \
  || fail "ignore-cid=true refuses"
grep -q 'warning:.*CID' "$tmp/log" || fail "ignore-cid=true is silent"
stop_nbdkit

# What the operator names must be there.
refused 'nothing.vmdk' a/disk.vmdk parent=nothing.vmdk
refused 'no-such-folder' a/disk.vmdk search=no-such-folder search=b search=c
refused 'disk.vmdk' a/disk.vmdk parent=a/disk.vmdk ignore-cid=true
refused 'exclude' a/disk.vmdk parent=b/disk-1.vmdk single-link=true
