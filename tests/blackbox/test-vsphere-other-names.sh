#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Installed under the names vddk and nfc as configure can be asked to, the
# plugin takes the command lines of programs that know the plugins of these
# names, as virt-v2v writes them, with all their debug flags.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
test -n "${top_builddir:-}" || skip "top_builddir names no build folder"
for filter in cow cacheextents retry rate readahead; do
  requires nbdkit --filter=$filter null --version
done
make_managed_disk
start_nfc
start_server
flags="datapath diskinfo extents stats open tables grains"

# --------------------------------------------------------------------------
# What is installed.

in_plugin ()
{
  env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL "${MAKE:-make}" -s \
    -C "$top_builddir/plugin" "$@" DESTDIR="$tmp/root" OTHER_NAMES="$names" \
    > "$tmp/made" 2>&1 || fail "make $*: $(cat "$tmp/made")"
}

names="vddk nfc"
if ! test -f "$top/config.status"; then # it cannot be configured elsewhere
  mkdir "$tmp/configured"
  (cd "$tmp/configured" && "$top/configure" --quiet --enable-vddk-name \
      --enable-nfc-name --with-plugindir=/usr/lib/nbdkit/plugins) \
    > "$tmp/made" 2>&1 || fail "configure: $(cat "$tmp/made")"
  names=$(sed -n 's/^OTHER_NAMES = *//p' "$tmp/configured/plugin/Makefile")
  test "$names" = "vddk nfc" || fail "configure: other names: $names"
fi
in_plugin install
plugins=$(dirname "$(find "$tmp/root" -name nbdkit-vmdk-plugin.so)")
test "$(ls "$plugins" | tr '\n' ' ')" = \
  "nbdkit-nfc-plugin.so nbdkit-vddk-plugin.so nbdkit-vmdk-plugin.so " \
  || fail "installed: $(ls "$plugins")"
for name in vmdk $names; do
  plugin=$plugins/nbdkit-$name-plugin.so
  nbdkit "$plugin" --dump-plugin libdir=/opt/vmware > "$tmp/dump"
  grep -q "^name=$name\$" "$tmp/dump" || fail "another name than $name"

  set --
  for flag in $flags; do
    set -- "$@" -D $name.$flag=0
  done
  nbdkit "$@" "$plugin" --dump-plugin > "$tmp/dump" 2>&1
  if grep 'does not contain\|was not used' "$tmp/dump"; then
    fail "flags of $name"
  fi
done
nbdkit "$plugins/nbdkit-vddk-plugin.so" --dump-plugin \
  | grep -q '^vddk_default_libdir=' || fail "no vddk_default_libdir"

# --------------------------------------------------------------------------
# What they are called with.

# A session of the caller's own, whose cookie is a parameter, and a snapshot
# that he took: "COOKIE ID".
python3 -c '
import json, re, ssl, sys, time, urllib.request as u
base, context = sys.argv[1], ssl._create_unverified_context ()
def ask (path, text = None, cookie = ""):
  return u.urlopen (u.Request (base + path, text and text.encode (),
                               { "Cookie": cookie }), context=context)
def call (name, inner, cookie = ""):
  return ask ("/sdk", """<e:Envelope
    xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>
    <%s xmlns="urn:vim25">%s</%s></e:Body></e:Envelope>""" % (
      name, inner, name), cookie)
answer = call ("Login", """<_this type="SessionManager">SessionManager</_this>
  <userName>user</userName><password>secret-word</password>""")
cookie = answer.headers["Set-Cookie"].partition (";")[0]
task = re.search ("task-[0-9]+", call ("CreateSnapshot_Task",
  """<_this type="VirtualMachine">vm-57</_this><name>v2v</name>
  <memory>false</memory><quiesce>false</quiesce>""", cookie)
  .read ().decode ()).group ()
while True:
  snapshots = list (json.load (ask ("/state"))["snapshots"])
  if snapshots:
    break
  call ("RetrievePropertiesEx", """
    <_this type="PropertyCollector">propertyCollector</_this><specSet>
    <propSet><type>Task</type><pathSet>info</pathSet></propSet>
    <objectSet><obj type="Task">%s</obj></objectSet></specSet><options/>"""
    % task, cookie).read ()
  time.sleep (0.05)
print (cookie, snapshots[0])' "https://127.0.0.1:$port" > "$tmp/session"
read -r cookie snapshot < "$tmp/session"
echo secret-word > "$tmp/password"
nfc_port=${nfc_option##*127.0.0.1:}
nfc_port=${nfc_port%%:*}
echo 'vixDiskLib.nfcAio.Session.BufSizeIn64KB=16' > "$tmp/config"

# served NAME PARAMETER...: with what virt-v2v puts before every plugin
served ()
{
  name=$1
  shift
  rm -f "$tmp/sock" "$tmp/pid"
  nbdkit --exit-with-parent --foreground --pidfile "$tmp/pid" \
    --unix "$tmp/sock" --threads 16 -D nbdkit.environ=1 --readonly \
    -D $name.datapath=0 -D $name.stats=1 -D nbdkit.backend.datapath=0 \
    $filters "$plugins/nbdkit-$name-plugin.so" "$@" > "$tmp/log" 2>&1 &
  nbdkit_pid=$!
  pids="$pids $nbdkit_pid"
  while ! test -s "$tmp/pid"; do
    kill -0 "$nbdkit_pid" 2> /dev/null || { cat "$tmp/log" >&2; fail "$*"; }
    sleep 0.05
  done
  nbdcopy "nbd+unix:///?socket=$tmp/sock" "$tmp/copy"
  cmp "$raw" "$tmp/copy" || fail "other bytes: $name $*"
  stop_nbdkit
  # the flag of nbdkit itself is not in every version
  if grep -v 'nbdkit.environ' "$tmp/log" \
      | grep 'was not used\|does not contain\|error: [^w]'; then
    fail "$(cat "$tmp/log")"
  fi
}

filters="--filter rate --filter cow --filter cacheextents --filter retry"
for name in $names; do
  served $name cow-on-read=true rate=1G \
    server=127.0.0.1 user=user password=+"$tmp/password" port="$port" \
    thumbprint="$sha1" vm=moref=vm-57 snapshot="$snapshot" \
    libdir=/opt/vmware-vix-disklib compression=skipz \
    transports=file:nbdssl:nbd file='[ds1] web/web.vmdk'
  exec 7< "$tmp/password"
  served $name config="$tmp/config" password=-7 server=127.0.0.1 user=user \
    port="$port" thumbprint="$sha1" vm=moref=vm-57 vimapiver=7.0 \
    unbuffered=true snapshot="$snapshot" file='[ds1] web/web.vmdk'
  exec 7<&-
  served $name cookie="$cookie" server=127.0.0.1 \
    user=user password=+"$tmp/password" port="$port" \
    nfchostport="$nfc_port" thumbprint="$sha1" vm=moref=vm-57 \
    snapshot="$snapshot" file='[ds1] web/web.vmdk'
done
filters="--filter readahead"
served nfc file='[ds1] web/web.vmdk' insecure=true \
  password=+"$tmp/password" port="$port" server=127.0.0.1 \
  snapshot="$snapshot" user=user vm=moref=vm-57

# --------------------------------------------------------------------------

in_plugin uninstall
test -z "$(find "$tmp/root" -name '*.so')" || fail "not uninstalled"
