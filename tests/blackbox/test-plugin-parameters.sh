#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Parameters that are wrong, contradict each other or belong to other plugins
# end the server at its start, each with one line.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin

cat > "$tmp/disk.vmdk" << 'TEXT'
# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="custom"
# Extent description
RW 2048 ZERO
TEXT
truncate -s 4096 "$tmp/zeros"
mkfifo "$tmp/fifo"
disk=$tmp/disk.vmdk

# the disk itself is served
nbdkit -U - "$VMDKIT_PLUGIN" "$disk" --run : || fail "$disk is refused"

refused 'which disk'
refused 'from a pipe' -
refused 'file is empty' file=
refused 'file was given more than once' "$disk" file="$disk"
refused 'exclude each other' "$disk" dir="$tmp"
refused 'exclude each other' "$disk" parent="$disk" single-link=true
refused 'this is a folder: serve it with dir=' "$tmp"
refused 'missing.vmdk.*: No such file' "$tmp/missing.vmdk"
refused 'disk.vmdk/: ' "$disk/"
refused 'zeros: ' "$tmp/zeros"
refused 'fifo: ' "$tmp/fifo"
refused 'missing: no such folder' dir="$tmp/missing"
refused 'disk= has nothing to choose from' "$disk" disk=1
refused 'disk= is about one disk' dir="$tmp" disk=1
refused 'parent= is about one disk' dir="$tmp" parent="$disk"
refused 'lone-extent= is about one disk' dir="$tmp" lone-extent=true
refused 'maybe' "$disk" single-link=maybe
refused 'much' "$disk" cache=much
refused "unknown parameter 'colour'" "$disk" colour=red
refused 'search is empty' "$disk" search=

refused '^nbdkit: error: create-size= needs create=true' "$disk" create-size=1M
refused '^nbdkit: error: create=true needs create-size=' "$disk" create=true
refused '^nbdkit: error: create-grain-size= needs create=true' "$disk" \
  create-grain-size=64k
refused 'create-grain-size=0: no grain is that small' "$disk" \
  create-grain-size=0
refused '^nbdkit: error: overlay-type= needs overlay=' "$disk" \
  overlay-type=split-sparse
refused '^nbdkit: error: overlay-grain-size= needs overlay=' "$disk" \
  overlay-grain-size=4k
refused '^nbdkit: error: overlay-type=round: there is no such type' "$disk" \
  overlay="$tmp/o.vmdk" overlay-type=round
refused '^nbdkit: error: write-sesparse=true and detect-zeroes= exclude' \
  "$disk" write-sesparse=true detect-zeroes=unmap
refused 'exists already' "$disk" create=true create-size=1M
refused 'create-type=round' "$tmp/new" create=true create-type=round
refused 'is not ide' "$tmp/new" create=true create-adapter-type=nvme
refused 'is not esx65 or the like' "$tmp/new" create=true \
  create-hwversion=esx99
refused 'is not off, on or unmap' "$disk" detect-zeroes=perhaps
refused 'overlay= cannot go with' "$disk" overlay="$tmp/o.vmdk" parent="$disk"

# What tells VMware's library how to work does no harm.
nbdkit_vmdk "$disk" libdir=/opt/vmware config=/etc/vddk.conf unbuffered=true \
  transports=file compression=none --run 'nbdinfo --size "$uri"'

# A password is not repeated, even where it is refused.
refused '' "$disk" password=xyzzy
if grep xyzzy "$tmp/refused"; then
  fail "the password was printed"
fi

# What is only for servers is refused where there are none.
if ! nbdkit "$VMDKIT_PLUGIN" --dump-plugin | grep -q '^vmdk_vsphere=yes$'; then
  refused 'are not served by this build' "$disk" server=x vm=y
fi
