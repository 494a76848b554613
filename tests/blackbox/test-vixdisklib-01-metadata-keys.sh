#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 1: GetMetadataKeys and ReadMetadata.  The keys of a disk, and
# the value of each.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
cd "$tmp"

vmdkit create -q -a ide -w esx65 disk.vmdk 100M
vmdkit meta list --json disk.vmdk > all
vmdkit meta list disk.vmdk | sed 's/ = .*//' | sort > keys
test "$(json '"\n".join (sorted (j))' < all)" = "$(cat keys)" \
  || fail "other keys for programs than for people"
while read -r key; do
  test "$(vmdkit meta get disk.vmdk "$key")" \
    = "$(json "j['$key']" < all)" || fail "$key"
done < keys
test "$(vmdkit meta get disk.vmdk adapterType)" = ide
test "$(vmdkit meta get disk.vmdk ADAPTERTYPE)" = ide
test "$(vmdkit meta get disk.vmdk virtualHWVersion)" = 13
test "$(vmdkit meta get --json disk.vmdk adapterType)" = "$(printf '{\n  "adapterType": "ide"\n}')"
tool_fails 1 "^vmdkit: disk.vmdk: has no metadata of the key nothing" \
  meta get disk.vmdk nothing
tool_fails 1 "no such file" meta list nothing.vmdk
tool_fails 2 "is not list, get, set or delete" meta show disk.vmdk
tool_fails 2 "too few arguments for get" meta get disk.vmdk
tool_fails 2 "too many arguments for list" meta list disk.vmdk x
