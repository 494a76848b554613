#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# An archive: every disk in it is an export, the first is the default one,
# disk= chooses one by name or number.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" good-ova-two-disks
ova=$tmp/images/good-ova-two-disks/vm.ova

# sha256_of LINE: of the n-th disk
sha256_of ()
{
  sed -n "$(($1 + 1))p" "$tmp/images/EXPECT.tsv" | cut -f5
}

nbdkit_vmdk "$ova" || fail "refused"
"$PYTHON" - "$tmp/sock" <<'END'
import sys
import nbd

names = []
client = nbd.NBD()
client.set_opt_mode(True)
client.connect_unix(sys.argv[1])
client.opt_list(lambda name, text: names.append(name))
if names != ["vm-1.vmdk", "vm-2.vmdk"]:
    sys.exit("exports: %r" % names)
for name in ("vm.ovf", "vm-3.vmdk", "../vm.ova", "/etc/passwd"):
    client = nbd.NBD()
    client.set_export_name(name)
    try:
        client.connect_unix(sys.argv[1])
    except nbd.Error:
        continue
    sys.exit("export %r is served" % name)
END
test "$(sum_uri "nbd+unix:///vm-1.vmdk?socket=$tmp/sock")" \
  = "$(sha256_of 1)" || fail "first disk"
test "$(sum_uri "nbd+unix:///vm-2.vmdk?socket=$tmp/sock")" \
  = "$(sha256_of 2)" || fail "second disk"
test "$(sum_uri "$uri")" = "$(sha256_of 1)" || fail "default export"
stop_nbdkit

# With disk= there is only that one, whatever name is asked for.
nbdkit_vmdk "$ova" disk=2 || fail "refused"
test "$(sum_uri "nbd+unix:///vm-1.vmdk?socket=$tmp/sock")" \
  = "$(sha256_of 2)" || fail "disk=2"
stop_nbdkit

refused 'vm.ova.*"3"' "$ova" disk=3
refused 'vm.ova.*"0"' "$ova" disk=0
refused 'vm.ova' "$ova" 'disk=../vm-1.vmdk'
