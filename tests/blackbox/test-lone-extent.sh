#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# An extent given as the disk is refused, and the message says what to open
# instead; lone-extent=true serves it.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" good-split-sparse good-cowd-grain-1 \
  good-sesparse-in-order good-flat
cd "$tmp/images"

refused 'disk-s001.vmdk.*disk.vmdk' good-split-sparse/disk-s001.vmdk
refused 'disk-delta.vmdk.*disk.vmdk' good-cowd-grain-1/disk-delta.vmdk
refused 'disk-delta.vmdk.*disk.vmdk' good-sesparse-in-order/disk-delta.vmdk
refused 'disk-flat.vmdk' good-flat/disk-flat.vmdk

for extent in good-split-sparse/disk-s001.vmdk \
  good-cowd-grain-1/disk-delta.vmdk \
  good-sesparse-in-order/disk-delta.vmdk
do
  nbdkit_vmdk "$extent" lone-extent=true || fail "refused: $extent"
  sum_uri "$uri" > /dev/null
  stop_nbdkit
done
