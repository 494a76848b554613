#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# vmdkit map says what qemu-img map says: for sparse and flat disks, chains,
# and what is packed; what it says of places in files is where the bytes are.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-img --version
requires qemu-io --version
requires_python json
cd "$tmp"

# compare DISK: byte for byte the same answers, but that qemu calls holes of
# flat files data that are zeros, and says a depth of what no link has.
compare ()
{
  qemu-img map --output=json "$1" > theirs 2> /dev/null || fail "qemu-img: $1"
  vmdkit map --json "$1" > ours || fail "vmdkit: $1"
  "$PYTHON" - "$1" <<'END' || fail "another map of $1"
import json
import sys

def pieces(name):
    end, merged = 0, []
    for p in json.load(open(name)):
        assert p["start"] == end and p["length"] > 0, p
        end += p["length"]
        known = (p["data"] and not p["zero"],)
        if known[0]:
            known += (p["depth"],)
            if "offset" in p:
                known += (p["offset"] - p["start"],)
        if merged and merged[-1][1] == known:
            merged[-1][0] = end
        else:
            merged.append([end, known])
    return merged

def first_difference(a, b):
    for x, y in zip(a, b):
        if x != y:
            return x, y
    return len(a), len(b)

ours, theirs = pieces("ours"), pieces("theirs")
if ours != theirs:
    sys.exit("ours, theirs: %s" % (first_difference(ours, theirs),))
END
}

# placed DISK RAW: each piece of data is in its file where the map says.
placed ()
{
  vmdkit map --json "$1" > ours
  "$PYTHON" - "$2" <<'END' || fail "bytes of $1 are elsewhere"
import json
import sys

raw = open(sys.argv[1], "rb")
nr = 0
for p in json.load(open("ours")):
    raw.seek(p["start"])
    wanted = raw.read(p["length"])
    if p["data"] and "offset" in p:
        f = open(p["filename"], "rb")
        f.seek(p["offset"])
        assert f.read(p["length"]) == wanted, p
        nr += 1
    elif p["zero"]:
        assert not any(wanted), p
assert nr > 0
END
}

write_some ()
{
  disk=$1
  shift
  for where; do
    printf 'write -q -P %d %s\n' $((where % 200 + 1)) "$where 70000"
  done | qemu-io -f vmdk "$disk" > /dev/null
}

for subformat in monolithicSparse monolithicFlat twoGbMaxExtentSparse \
  twoGbMaxExtentFlat; do
  qemu-img create -q -f vmdk -o "subformat=$subformat" "$subformat.vmdk" 2200M
  write_some "$subformat.vmdk" 0 65536 1000000 30000000 20000000 2147450000
  compare "$subformat.vmdk"
  qemu-img convert -O raw "$subformat.vmdk" raw
  placed "$subformat.vmdk" raw
done

# a chain, with zeros in the middle
qemu-img create -q -f vmdk -o zeroed_grain=on -F vmdk \
  -b monolithicSparse.vmdk mid.vmdk
write_some mid.vmdk 65536 500000
qemu-io -f vmdk -c "write -q -z 1048576 131072" mid.vmdk > /dev/null
qemu-img create -q -f vmdk -F vmdk -b mid.vmdk top.vmdk
write_some top.vmdk 90000000 500000
compare top.vmdk
qemu-img convert -O raw top.vmdk raw
placed top.vmdk raw
test "$(vmdkit map --json --single-link top.vmdk |
  json 'set (p["depth"] for p in j)')" = "{0}" || fail "--single-link"

# packed: the same ranges, without places
qemu-img convert -O vmdk -o subformat=streamOptimized raw stream.vmdk
vmdkit map --json stream.vmdk > ours
test "$(json 'any ("offset" in p for p in j), any (p["compressed"] for p in j),
  all (p["compressed"] == p["data"] for p in j)' < ours)" \
  = "(False, True, True)" || fail "$(cat ours)"

# for people
vmdkit map top.vmdk > list
grep -q '^Start  *Length  *State  *Depth  *Offset  *File$' list || fail "title"
grep -q '^0x[0-9a-f]* .* data  *1  *0x[0-9a-f]* *mid.vmdk$' list || fail "line"
grep -q '^0x[0-9a-f]* .* hole  *-  *-  *-$' list || fail "no hole"
grep -q '^0x[0-9a-f]* .* zero  *1  *-  *-$' list || fail "no zeros"

# an empty disk as large as they come is one line, at once
vmdkit create -q -t vmfs-sparse large.vmdk 2032G
test "$(timeout 20 "$VMDKIT" map large.vmdk | wc -l)" -eq 2 || fail "large"

# paths
mkdir folder
cp mid.vmdk monolithicSparse.vmdk folder
vmdkit map folder/mid.vmdk | grep -q ' folder/monolithicSparse.vmdk$' \
  || fail "no path"
tar -cf a.ova -C folder mid.vmdk monolithicSparse.vmdk
vmdkit map a.ova/mid.vmdk | grep -q ' a.ova/monolithicSparse.vmdk$' \
  || fail "no path in an archive"
test "$(vmdkit map a.ova)" = "$(vmdkit map a.ova/mid.vmdk)" || fail "a.ova"
tool_fails 1 '^vmdkit: a.ova/none.vmdk: no such' map a.ova/none.vmdk
tool_fails 1 '^vmdkit: folder: ' map folder
tool_fails 1 '^vmdkit: folder/none.vmdk: no such file' map folder/none.vmdk

# what cannot be written is a failure
if test -w /dev/full; then
  status=0
  vmdkit map top.vmdk > /dev/full 2> err || status=$?
  test "$status" -eq 1 && grep -q 'standard output' err || fail "full: $status"
fi
