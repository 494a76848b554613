#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# dir=: every disk of a folder is an export under its file name, and nothing
# else is; one bad disk does not stop the others.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" good-folder bad-header-grain-100
folder=$tmp/images/good-folder
cp "$tmp/images/bad-header-grain-100/disk.vmdk" "$folder/bad.vmdk"
mkdir "$folder/below"
cp "$folder/one.vmdk" "$folder/below/hidden.vmdk"
cp "$folder/one.vmdk" "$tmp/images/outside.vmdk"
ln -s one.vmdk "$folder/link.vmdk"
mkfifo "$folder/fifo.vmdk"

# sha256_of NAME: what the model says of a disk.
sha256_of ()
{
  awk -F '\t' -v name="$1" '$1 == "good-folder" && $2 == name { print $5 }' \
    "$tmp/images/EXPECT.tsv"
}

nbdkit_vmdk "dir=$folder" || fail "refused"

# The list: the disks by their names, in order.
"$PYTHON" - "$tmp/sock" <<'END'
import sys
import nbd

names = []
client = nbd.NBD()
client.set_opt_mode(True)
client.connect_unix(sys.argv[1])
client.opt_list(lambda name, text: names.append(name))
# The bad one is a disk by its magic; that it cannot be opened shows later.
if names != ["bad.vmdk", "one.vmdk", "three.vmdk", "two.vmdk"]:
    sys.exit("exports: %r" % names)
END

# Each is served under its name, with a line that describes it.
for name in one.vmdk two.vmdk three.vmdk; do
  test "$(sum_uri "nbd+unix:///$name?socket=$tmp/sock")" \
    = "$(sha256_of $name)" || fail "contents of $name"
done
"$PYTHON" - "$tmp/sock" <<'END'
import sys
import nbd

def connect(name):
    client = nbd.NBD()
    client.set_export_name(name)
    client.set_full_info(True)
    client.connect_unix(sys.argv[1])
    return client

for name, kind in (("one.vmdk", "monolithicSparse"),
                   ("two.vmdk", "streamOptimized"),
                   ("three.vmdk", "monolithicFlat")):
    text = connect(name).get_export_description()
    if kind not in text:
        sys.exit("%s is described as %r" % (name, text))

# Names that are no disk of this folder, or lead out of it.
for name in ("", "none.vmdk", "notes.txt", "bad.vmdk", "below/hidden.vmdk",
             "../outside.vmdk", "./one.vmdk", "/etc/passwd", ".", "..",
             "one.vmdk/", "link.vmdk", "fifo.vmdk", "a\x1b[2Jb", "n" * 4000,
             "%s%n", "one.vmdk\n"):
    try:
        connect(name)
    except nbd.Error:
        continue
    sys.exit("export %r is served" % name)
END
grep -q 'bad.vmdk.*100' "$tmp/log" || fail "the log is silent on bad.vmdk"
if grep -q "$(printf '\033')" "$tmp/log"; then
  fail "control bytes in the log"
fi

# After all this the others are still served, also one that is new.
cp "$folder/one.vmdk" "$folder/new.vmdk"
test "$(sum_uri "nbd+unix:///new.vmdk?socket=$tmp/sock")" \
  = "$(sha256_of one.vmdk)" || fail "a disk that was added is not served"
stop_nbdkit

# A folder with one disk: that is the default export.
mkdir "$tmp/single"
cp "$folder/one.vmdk" "$tmp/single"
nbdkit_vmdk "dir=$tmp/single" || fail "refused"
test "$(sum_uri "$uri")" = "$(sha256_of one.vmdk)" || fail "default export"
stop_nbdkit

refused 'no-such-folder' "dir=$tmp/no-such-folder"
refused 'one.vmdk' "dir=$folder/one.vmdk"
