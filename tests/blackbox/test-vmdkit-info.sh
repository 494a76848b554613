#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# vmdkit info: what the descriptors say, in words and as JSON; that allocation
# is what qemu-img map counts; how scattered grains are; who uses a disk, while
# it is in use.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-img --version
requires qemu-io --version
requires_python json
cd "$tmp"

# is EXPECTED EXPRESSION DISK...
is ()
{
  wanted=$1 expression=$2
  shift 2
  vmdkit info --json "$@" > info || fail "vmdkit info $*"
  found=$(json "$expression" < info)
  test "$found" = "$wanted" || fail "$expression of $*: $found, not $wanted"
}

qemu-img create -q -f vmdk -o adapter_type=ide,hwversion=6 base.vmdk 1G
# disk order, then against it, then apart
qemu-io -f vmdk -c "write -q 0 128k" -c "write -q 196608 64k" \
  -c "write -q 128k 64k" -c "write -q 10M 64k" base.vmdk > /dev/null
qemu-img create -q -f vmdk -F vmdk -b base.vmdk top.vmdk
qemu-io -f vmdk -c "write -q 1M 64k" top.vmdk > /dev/null

is "('monolithicSparse', 1073741824, 65536)" \
  'j["type"], j["capacity"], j["grain-size"]' top.vmdk
is "('ide', 6)" 'j["adapter"], j["hw-version"]' base.vmdk
is "['top.vmdk', 'base.vmdk']" '[l["file"] for l in j["links"]]' top.vmdk
is "True" 'j["links"][0]["parent-cid"] == j["links"][1]["cid"]' top.vmdk
is "base.vmdk" 'j["links"][0]["parent-hint"]' top.vmdk
is "(None, None)" 'j["links"][1]["parent-cid"], j["links"][1]["parent-hint"]' \
  top.vmdk
is "(65536, 327680, 393216)" \
  'j["links"][0]["allocated"], j["links"][1]["allocated"], j["allocated"]' \
  top.vmdk
# three pairs of neighbours: 0-1 is one in the file, 1-2 and 2-3 are none
is "(66.6, None)" 'j["links"][1]["fragmentation"], j["links"][0]["fragmentation"]' \
  top.vmdk
is "[('SPARSE', 'RW', 'sparse', 0, 1073741824, 65536)]" \
  '[(e["type"], e["access"], e["format"], e["start"], e["size"],
     e["grain-size"]) for e in j["links"][0]["extents"]]' top.vmdk
is "$(stat -c %s base.vmdk)" 'j["links"][1]["file-size"]' top.vmdk
is "(False, None, None)" \
  'j["unclean"], j["in-use"], j["links"][0]["change-tracking"]' top.vmdk
is "['top.vmdk']" '[l["file"] for l in j["links"]]' --single-link top.vmdk

# the same sum as qemu-img's, for flat disks too
for subformat in monolithicFlat twoGbMaxExtentSparse; do
  qemu-img create -q -f vmdk -o "subformat=$subformat" $subformat.vmdk 4200M
  qemu-io -f vmdk -c "write -q 100M 1M" -c "write -q 2147M 2M" \
    $subformat.vmdk > /dev/null
  is "$(qemu-img map --output=json $subformat.vmdk |
    json 'sum (p["length"] for p in j if p["data"] and not p["zero"])')" 'j["allocated"]' \
    $subformat.vmdk
done
is "[0, 2147483648, 4294967296]" \
  '[e["start"] for e in j["links"][0]["extents"]]' twoGbMaxExtentSparse.vmdk
is "(0, None)" 'j["links"][0]["extents"][0]["offset"],
  j["links"][0]["extents"][0]["grain-size"]' monolithicFlat.vmdk

# geometry, UUID, change tracking: as the text has them
vmdkit create -q -t vmfs-thin esx.vmdk 10M
cat >> esx.vmdk <<END
ddb.geometry.biosCylinders = "10"
ddb.geometry.biosHeads = "255"
ddb.geometry.biosSectors = "63"
ddb.comment = "ignored"
END
sed -i -e 's/^ddb.geometry.cylinders.*/ddb.geometry.cylinders = "5"/' \
  -e 's/^ddb.geometry.heads.*/ddb.geometry.heads = "64"/' \
  -e 's/^ddb.geometry.sectors.*/ddb.geometry.sectors = "32"/' \
  -e '/^ddb.uuid/d' -e 's/^# Change.*//' esx.vmdk
printf 'ddb.uuid = "60 00 C2 9a\033[31m"\nchangeTrackPath="esx-ctk.vmdk"\n' \
  >> esx.vmdk
is "{'physical': {'cylinders': 5, 'heads': 64, 'sectors': 32}, 'bios': \
{'cylinders': 10, 'heads': 255, 'sectors': 63}}" 'j["geometry"]' esx.vmdk
is "{'file': 'esx-ctk.vmdk', 'exists': False}" \
  'j["links"][0]["change-tracking"]' esx.vmdk
touch esx-ctk.vmdk
is "True" 'j["links"][0]["change-tracking"]["exists"]' esx.vmdk
vmdkit info esx.vmdk > words
grep -q '^Geometry:  *5 cylinders, 64 heads, 32 sectors$' words || fail "words"
grep -q '^BIOS geometry:  *10 cylinders, 255 heads, 63 sectors$' words \
  || fail "words"
grep -q '^  Change tracking:  *esx-ctk.vmdk$' words || fail "words"
grep -q 'C2 9a.x1b' words || fail "the escape is not escaped"
vmdkit info --color=always top.vmdk | grep -q "^$(printf '\033')" \
  || fail "no colour"
if vmdkit info top.vmdk | grep -q "$(printf '\033')"; then
  fail "colour where there is no terminal"
fi

# not closed cleanly
cp base.vmdk unclean.vmdk
printf '\001' | dd of=unclean.vmdk bs=1 seek=72 conv=notrunc status=none
is "(True, True)" 'j["unclean"], j["links"][0]["extents"][0]["unclean"]' \
  -q unclean.vmdk
vmdkit info -q unclean.vmdk | grep -q '^State:  *not closed cleanly$' \
  || fail "words of unclean"

# used_by WORDS: what is said while the disk is in use; info is not refused,
# and keeps nobody out
used_by ()
{
  vmdkit info --json top.vmdk > info || fail "refused: $1"
  json 'j["in-use"]' < info | grep -q "$1" || fail "$(json 'j["in-use"]' < info)"
  vmdkit info top.vmdk | grep -q "^In use: .*$1" || fail "words: $1"
}
mkdir top.vmdk.lck
cat > top.vmdk.lck/M12345.lck <<END
machine 4321-1234(vmx) 0 0 0 S 0
END
used_by 'top.vmdk: locked by VMware'
rm -r top.vmdk.lck
mkfifo hold
qemu-io -f vmdk top.vmdk < hold > held 2>&1 &
pids="$pids $!"
exec 9> hold
echo "write -q 5M 64k" >&9
i=0
until vmdkit info --json top.vmdk | json 'j["in-use"]' | grep -q writing; do
  i=$((i + 1))
  test $i -lt 200 || fail "qemu-io's lock is not seen"
  sleep 0.05
done
used_by 'top.vmdk: another program has it open for writing'
echo quit >&9
exec 9>&-
wait "${pids##* }" || fail "qemu-io: $(cat held)"
is None 'j["in-use"]' top.vmdk

# failures
tool_fails 1 '^vmdkit: nothing.vmdk: no such file' info nothing.vmdk
rm base.vmdk

# what is there of a chain whose parent is missing
status=0
vmdkit info top.vmdk > info 2> err || status=$?
test "$status" -eq 1 || fail "status $status"
grep -q '^vmdkit: top.vmdk: its parent "base.vmdk" is missing' err ||
  fail "$(cat err)"
grep -q '^Capacity:' info && grep -q '^Link: *0, top.vmdk' info &&
  grep -q '^The chain ends here: top.vmdk: its parent.*missing' info ||
  fail "$(cat info)"
status=0
vmdkit info --json top.vmdk > info 2> err || status=$?
test "$status" -eq 1 || fail "status $status"
test "$(json 'len(j["links"]), "missing" in j["chain-problem"]' < info)" = \
  "(1, True)" || fail "$(cat info)"
test "$(json 'j["error"]["kind"]' < err)" = missing || fail "$(cat err)"
