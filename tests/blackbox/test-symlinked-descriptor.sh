#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# The name that the operator gives may be a symbolic link; extents and parents
# are looked for beside the link, not beside its target.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" good-flat good-cowd-grain-8
cd "$tmp/images"
cp good-flat/disk-flat.vmdk "$tmp/raw"

mkdir view
ln -s ../good-flat/disk.vmdk view/disk.vmdk
refused 'disk-flat.vmdk' view/disk.vmdk
cp good-flat/disk-flat.vmdk view
served_as "$tmp/raw" view/disk.vmdk

# What the descriptor names may not be a link.
rm view/disk-flat.vmdk
ln -s ../good-flat/disk-flat.vmdk view/disk-flat.vmdk
refused 'disk-flat.vmdk' view/disk.vmdk

# A link in the folders on the way is the operator's as well.
ln -s good-flat short
served_as "$tmp/raw" short/disk.vmdk

# Nor may a parent.
nbdkit_vmdk good-cowd-grain-8/disk.vmdk || fail "refused"
nbdcopy "$uri" "$tmp/raw"
stop_nbdkit
mv good-cowd-grain-8/base.vmdk good-cowd-grain-8/real.vmdk
ln -s real.vmdk good-cowd-grain-8/base.vmdk
refused 'base.vmdk' good-cowd-grain-8/disk.vmdk
served_as "$tmp/raw" good-cowd-grain-8/disk.vmdk \
  parent=good-cowd-grain-8/base.vmdk
