#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# vmdkit measure says what vmdkit convert then takes: to the byte for raw, flat
# and sparse disks; at least that for streams.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
cd "$tmp"

python3 - <<'END'
import random
rng = random.Random(3)
with open("in.raw", "wb") as f:
    f.truncate((70 << 20) + 512)
    for i in range(60):
        f.seek(rng.randrange(70 << 20) & ~4095)
        f.write(rng.randbytes(rng.choice((512, 70000, 1 << 20))))
    f.seek(40 << 20)
    f.write(bytes(1 << 20))  # stored zeros
END

sizes ()
{
  python3 -c 'import glob, os, sys
print(sum(os.path.getsize(f) for f in glob.glob("out/*")))'
}

# measured TYPE SOURCE OPTION...
measured ()
{
  type=$1 source=$2
  shift 2
  vmdkit measure --json -t "$type" --name=disk.vmdk "$@" "$source" > said ||
    fail "measure $type $source"
  json 'j["required"]' < said
}

vmdkit convert -q -f raw in.raw in.vmdk
for grain in '' --grain-size=8K --grain-size=1M; do
  for type in raw monolithicSparse monolithicFlat twoGbMaxExtentSparse \
    twoGbMaxExtentFlat vmfs-flat vmfs-thin vmfs-sparse streamOptimized
  do
    case $type in
    raw | *lat | vmfs-thin) test -z "$grain" || continue ;;
    esac
    mkdir out
    vmdkit convert -q $grain -t "$type" in.vmdk out/disk.vmdk || fail "$type"
    exact=$(measured "$type" in.vmdk --exact $grain)
    mapped=$(measured "$type" in.vmdk $grain)
    from_raw=$(measured "$type" in.raw -f raw --exact $grain)
    taken=$(sizes)
    if test "$type" = streamOptimized; then
      test "$exact" -ge "$taken" || fail "a stream of $taken, said $exact"
    else
      test "$exact" -eq "$taken" || fail "$type: $taken, not $exact"
    fi
    test "$mapped" -ge "$exact" || fail "$type: mapped $mapped, read $exact"
    test "$from_raw" -eq "$exact" || fail "$type: raw $from_raw, VMDK $exact"
    test "$(json 'j["fully-allocated"] >= j["required"]' < said)" = True ||
      fail "$type: $(cat said)"
    # The sparse disk has no grain of zeros, so the map is enough.
    test -n "$grain" || test "$type" = vmfs-sparse ||
      test "$mapped" -eq "$exact" || fail "$type: the map"
    rm -r out
  done
done

# A full disk takes what was said.
python3 -c 'import random
open("full.raw", "wb").write(random.Random(4).randbytes(5 << 20))'
for type in monolithicSparse vmfs-sparse twoGbMaxExtentFlat; do
  mkdir out
  vmdkit convert -q -f raw -t "$type" full.raw out/disk.vmdk
  measured "$type" in.vmdk > ignored
  vmdkit measure --json -t "$type" --name=disk.vmdk -f raw full.raw > said
  test "$(json 'j["fully-allocated"]' < said)" -eq "$(sizes)" ||
    fail "$type, full: $(cat said)"
  rm -r out
done

vmdkit measure in.vmdk > said
grep -q '^Required: .* bytes)$' said || fail "$(cat said)"
grep -q '^Fully allocated: .* bytes)$' said || fail "$(cat said)"
vmdkit measure in.raw > said || fail "a name tells that it is raw"
cp in.raw broken.vmdk
tool_fails 1 'not a VMDK.*-f raw' measure broken.vmdk
tool_fails 2 'no type' measure -t qcow2 in.vmdk
tool_fails 1 'no such file' measure missing.vmdk
