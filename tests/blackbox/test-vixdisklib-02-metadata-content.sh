#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 2: what the metadata holds, and the information fields that
# go with it.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
cd "$tmp"

cat > disk.vmdk <<'END'
# Disk DescriptorFile
version=1
CID=0123abcd
parentCID=ffffffff
createType="monolithicFlat"

RW 204800 FLAT "disk-flat.vmdk" 0

ddb.adapterType = "buslogic"
ddb.geometry.biosHeads = "255"
ddb.geometry.biosSectors = "63"
ddb.geometry.biosCylinders = "12"
ddb.geometry.cylinders = "100"
ddb.geometry.heads = "64"
ddb.geometry.sectors = "32"
ddb.uuid = "60 00 c2 93 7b a0 3a 03-9f 22 56 c5 29 93 b7 27"
ddb.virtualHWVersion = "4"
END
truncate -s 104857600 disk-flat.vmdk

vmdkit meta list disk.vmdk > said
cat > wanted <<'END'
adapterType = buslogic
geometry.biosHeads = 255
geometry.biosSectors = 63
geometry.biosCylinders = 12
geometry.cylinders = 100
geometry.heads = 64
geometry.sectors = 32
uuid = 60 00 c2 93 7b a0 3a 03-9f 22 56 c5 29 93 b7 27
virtualHWVersion = 4
END
cmp wanted said || fail "other metadata"

vmdkit info --json disk.vmdk > info
test "$(json 'j["adapter"]' < info)" = buslogic || fail "$(cat info)"
test "$(json 'j["capacity"]' < info)" = 104857600 || fail "$(cat info)"
vmdkit child disk.vmdk child.vmdk
vmdkit info --json child.vmdk > info
test "$(json 'len (j["links"])' < info)" = 2 || fail "$(cat info)"
