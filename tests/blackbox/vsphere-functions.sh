# SPDX-License-Identifier: BSD-3-Clause

# What the black-box tests of disks on servers share; after functions.sh.
#
#   requires_vsphere
#   make_managed_disk         $raw: 24 MiB, as [ds1] web/web.vmdk
#   start_nfc                 port 902 of a host that has it, too
#   start_server [--esx]      the vCenter (or host): $server
#   remote PARAMETER...       parameters for it, in "$@" of nbdkit_vmdk
#
# Both fake servers live in tests/vsphere and end with the test.

fakes=$top/tests/vsphere
work=$tmp/work
raw=$tmp/raw
vm=vm-57

requires_vsphere ()
{
  requires_plugin
  requires python3 -c 'import ssl, http.server'
  requires openssl version
  requires nbdcopy --version
  nbdkit "$VMDKIT_PLUGIN" --dump-plugin | grep -q '^vmdk_vsphere=yes$' \
    || skip "the plugin was built without disks of servers"
}

# first_line FILE: waits for it.
first_line ()
{
  while ! grep -q . "$1"; do
    sleep 0.05
  done
  head -n 1 "$1"
}

# Some data, some zeros, an odd place here and there.
make_managed_disk ()
{
  mkdir -p "$work/ds/ds1/web"
  python3 -c '
import random, sys
r = random.Random (7)
disk = bytearray (r.randbytes (24 << 20))
disk[4 << 20:12 << 20] = bytes (8 << 20)
disk[20 << 20:20 << 20 | 4096] = bytes (4096)
open (sys.argv[1], "wb").write (disk)' "$raw"
  cp "$raw" "$work/ds/ds1/web/web-flat.vmdk"
  cat > "$work/ds/ds1/web/web.vmdk" << 'TEXT'
# Disk DescriptorFile
version=1
CID=22222222
parentCID=ffffffff
createType="vmfs"
# Extent description
RW 49152 VMFS "web-flat.vmdk"
TEXT
  cat > "$work/inventory" << 'JSON'
{ "datacenters": [ { "id": "datacenter-2", "name": "DC 0" } ],
  "datastores": [ { "id": "datastore-10", "name": "ds1", "datacenter": "DC 0",
                    "url": "ds:///vmfs/volumes/5a1b-ds1/" } ],
  "hosts": [ { "id": "host-20", "name": "esx1", "datacenter": "DC 0" } ],
  "vms": [ { "id": "vm-57", "name": "web", "datacenter": "DC 0",
             "uuid": "42010203-0405-0607-0809-0a0b0c0d0e0f",
             "instanceUuid": "50010203-0405-0607-0809-0a0b0c0d0e0f",
             "power": "poweredOff", "host": "host-20", "cbt": true,
             "datastores": [ "ds1" ],
             "disks": [ { "key": 2000, "label": "Hard disk 1",
                          "capacity": 25165824,
                          "chain": [ "[ds1] web/web.vmdk" ] } ] } ] }
JSON
}

# The host's copy is $work/nfc-disk; "nfc LINE" tells the host something.
nfc_option=
start_nfc ()
{
  cp "$raw" "$work/nfc-disk"
  mkfifo "$work/nfc-in"
  python3 "$fakes/fake_nfc.py" "$work/nfc-disk" < "$work/nfc-in" \
    > "$work/nfc-out" 2> "$work/nfc-err" &
  pids="$pids $!"
  exec 8> "$work/nfc-in"
  set -- $(first_line "$work/nfc-out")
  nfc_option="--nfc 127.0.0.1:$2:$4"
}

nfc ()
{
  lines=$(wc -l < "$work/nfc-out")
  echo "$*" >&8
  while test "$(wc -l < "$work/nfc-out")" -eq "$lines"; do
    sleep 0.05
  done
}

start_server ()
{
  mkfifo "$work/in"
  python3 "$fakes/fake_vsphere.py" "$work" --inventory "$work/inventory" \
    --password secret-word $nfc_option "$@" < "$work/in" > "$work/out" \
    2> "$work/err" &
  pids="$pids $!"
  exec 9> "$work/in"
  set -- $(first_line "$work/out")
  port=$2 sha1=$3 sha256=$4
}

# control JSON: see class Control of fake_vsphere.py
control ()
{
  python3 -c '
import ssl, sys, urllib.request as u
context = ssl._create_unverified_context ()
u.urlopen ("https://127.0.0.1:%s/control" % sys.argv[1],
           sys.argv[2].encode (), context=context).read ()' "$port" "$1"
}

# events: the kinds in the journal, in one line; count KIND
events ()
{
  sed -n 's/.*"event": "\([a-z-]*\)".*/\1/p' "$work/journal" | tr '\n' ' '
}

count ()
{
  grep -c "\"event\": \"$1\"" "$work/journal" || :
}

# nbdkit_remote PARAMETER...: as nbdkit_vmdk, of the disk.
nbdkit_remote ()
{
  echo secret-word > "$tmp/password"
  nbdkit_vmdk server=127.0.0.1 port="$port" user=user \
    password=+"$tmp/password" vm=moref=vm-57 thumbprint="$sha1" \
    file='[ds1] web/web.vmdk' "$@"
}

# refused_remote WORDS PARAMETER...: neither at the start nor when a client
# comes.
refused_remote ()
{
  words=$1
  shift
  status=0
  echo secret-word > "$tmp/password"
  rm -f "$tmp/no-sock"
  timeout 60 nbdkit ${nbdkit_flags--r} -f -U "$tmp/no-sock" "$VMDKIT_PLUGIN" \
    server=127.0.0.1 port="$port" user=user vm=moref=$vm "$@" \
    --run 'nbdinfo --size "$uri"' > "$tmp/refused" 2>&1 || status=$?
  if test "$status" -eq 0 || test "$status" -eq 124; then
    cat "$tmp/refused" >&2
    fail "status $status of: $*"
  fi
  if ! grep -q -e "$words" "$tmp/refused"; then
    cat "$tmp/refused" >&2
    fail "no message with \"$words\" from: $*"
  fi
  if grep -q secret-word "$tmp/refused"; then
    fail "the password was printed"
  fi
}

# Nothing of ours is left at the server, and each machine was protected once.
nothing_left ()
{
  test "$(count login)" -eq "$(count logout)" \
    || fail "sessions are left: $(events)"
  test "$(count disable)" -eq "$1" || fail "not $1 disable: $(events)"
  test "$(count enable)" -eq "$1" || fail "not $1 enable: $(events)"
  test "$(count snapshot-created)" -eq "$(count snapshot-removed)" \
    || fail "snapshots are left: $(events)"
}
