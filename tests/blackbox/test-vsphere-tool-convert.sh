#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Local disks go to the server, where they end as flat or thin ones, and come
# back as any type; a copy that fails leaves nothing behind.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere_tool
requires qemu-img --version
make_managed_disk
truncate -s 96M "$raw"
cp "$raw" "$(datastore web/web-flat.vmdk)"
sed -i 's/RW 49152/RW 196608/' "$(datastore web/web.vmdk)"
sed -i 's/25165824/100663296/' "$work/inventory"
start_nfc
start_server
export TMPDIR="$tmp/scratch"
mkdir "$TMPDIR"

# same NAME: the server's disk has what $raw has
same_there ()
{
  cmp "$raw" "$(datastore "${1%.vmdk}-flat.vmdk")" || fail "$1: other bytes"
}

# nothing but DISKs lies in FOLDER, and nothing here
tidy ()
{
  folder=$1
  shift
  test "$(ls "$(datastore "$folder")" | tr '\n' ' ')" = "$*" \
    || fail "in $folder: $(ls "$(datastore "$folder")")"
  test -z "$(ls "$TMPDIR")" || fail "left here: $(ls "$TMPDIR")"
}

for type in monolithicSparse streamOptimized twoGbMaxExtentFlat; do
  vmdkit convert -q -f raw -t $type "$raw" "$tmp/$type.vmdk"
  server convert "$tmp/$type.vmdk" "[ds1] there/$type.vmdk" > "$tmp/said"
  grep -qx "\[ds1\] there/$type.vmdk: vmfs" "$tmp/said" \
    || fail "$(cat "$tmp/said")"
  same_there there/$type.vmdk
  rm -r "$(datastore there)"
done
grep -q '"type": "preallocated"' "$work/journal" || fail "not flat"

server convert -q -t vmfs-thin -f raw "$raw" '[ds1] there/x.vmdk' \
  --progress=json 2> "$tmp/progress"
same_there there/x.vmdk
grep -q '"type": "thin"' "$work/journal" || fail "not thin"
grep -q '"percent":100' "$tmp/progress" || fail "no progress"
tidy there 'x-flat.vmdk x.vmdk '

# one that is there
server_fails 1 'disk of that name' convert -f raw "$raw" '[ds1] there/x.vmdk'
same_there there/x.vmdk
head -c 1M /dev/urandom > "$tmp/small"
mv "$raw" "$tmp/first"
cp "$tmp/small" "$raw"
server convert -q --overwrite -f raw "$raw" '[ds1] there/x.vmdk'
same_there there/x.vmdk
tidy there 'x-flat.vmdk x.vmdk '

# failures: half-way, and of the upload
control '{"switch": {"copyFails": true}}'
server_fails 1 'is full' convert --overwrite -f raw "$tmp/first" \
  '[ds1] there/x.vmdk'
same_there there/x.vmdk
tidy there 'x-flat.vmdk x.vmdk '
control '{"switch": {"copyFails": false}}'
control '{"fault": {"method": "/folder", "do": "status", "status": 403}}'
server_fails 1 'Datastore.FileManagement' convert -f raw "$tmp/first" \
  '[ds1] there/y.vmdk'
tidy there 'x-flat.vmdk x.vmdk '

# a server that is busy, a session that has ended, a connection that breaks
for fault in '"do": "status", "status": 503' '"do": "status", "status": 401' \
  '"do": "close"'; do
  control "{\"fault\": {\"method\": \"/folder\", $fault}}"
  server convert -q --overwrite -f raw "$raw" '[ds1] there/y.vmdk'
  same_there there/y.vmdk
done
# the server still had the session that it said it did not know
test "$(count login)" -eq "$(($(count logout) + 1))" || fail "$(events)"
: > "$work/journal"
server unlink -q '[ds1] there/y.vmdk'

# stopped while the server copies, or just before; or not any more
control '{"switch": {"taskPolls": 3}}'
"$VMDKIT" convert -q -f raw "$tmp/first" '[ds1] there/y.vmdk' \
  server=127.0.0.1 port="$port" user=user password=+"$tmp/password" \
  thumbprint="$sha1" 2> "$tmp/err" &
pid=$!
pids="$pids $pid"
until ls "$(datastore there)" | grep -q '^vmdkit-'; do
  kill -0 "$pid" 2> /dev/null || break
  sleep 0.02
done
kill "$pid" || :
if wait "$pid"; then
  server unlink -q '[ds1] there/y.vmdk'
else
  grep -q 'stopped' "$tmp/err" || fail "$(cat "$tmp/err")"
fi
control '{"switch": {"taskPolls": 1}}'
tidy there 'x-flat.vmdk x.vmdk '

# a server that takes no wishes makes it flat
control '{"switch": {"noDestSpec": true}}'
server convert -q -f raw "$raw" '[ds1] there/z.vmdk'
same_there there/z.vmdk

# a disk of a machine is not replaced
server_fails 1 'belongs to the machine web' convert --overwrite -f raw "$raw" \
  '[ds1] web/web.vmdk' vm=web
server_fails 2 'must be local' convert '[ds1] web/web.vmdk' '[ds1] a.vmdk'
server_fails 1 'vmfs-flat and vmfs-thin' convert -t streamOptimized -f raw \
  "$raw" '[ds1] there/s.vmdk'

# and back
cp "$tmp/first" "$raw"
for transport in nbdssl nbd https; do
  for type in monolithicSparse streamOptimized raw; do
    test $transport$type != httpsraw || continue
    rm -f "$tmp/back.vmdk"
    server convert -q -t $type '[ds1] web/web.vmdk' "$tmp/back.vmdk" vm=web \
      transports=$transport
    format=vmdk
    test $type != raw || format=raw
    qemu-img compare -q -f raw -F $format "$raw" "$tmp/back.vmdk" \
      || fail "$transport, $type: other bytes"
  done
done

# holes are not read, but for what read-ahead takes before it knows
nfc stats
before=$(tail -n 1 "$work/nfc-out" | json 'j["read_bytes"]')
server convert -q -t raw '[ds1] web/web.vmdk' "$tmp/once" vm=web
nfc stats
after=$(tail -n 1 "$work/nfc-out" | json 'j["read_bytes"]')
test $((after - before)) -le $((48 << 20)) \
  || fail "$((after - before)) bytes were read"
test "$(count disable)" -eq "$(count enable)" || fail "left: $(events)"
logged_out
