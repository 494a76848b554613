#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The manual page is well formed, and describes the parameters and the debug
# flags that the plugin has: all of them, and no others.

set -euo pipefail
: "${srcdir:=.}"
pod=$srcdir/nbdkit-vmdk-plugin.pod

for program in nbdkit podchecker; do
  if ! command -v "$program" > /dev/null; then
    echo "skipped: $program is not there"
    exit 77
  fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

podchecker -warnings "$pod" 2> "$work/podchecker" ||
  { cat "$work/podchecker"; exit 1; }

# same WHAT FILE WHAT FILE
same ()
{
  if ! test -s "$2" || ! test -s "$4"; then
    echo "nothing found in $1 or in $3"
    exit 1
  fi
  if ! diff -u --label "$1" --label "$3" "$2" "$4"; then
    exit 1
  fi
}

# =item B<single-link=true>, =item [B<file=>]PATH
sed -n '/^=head1 PARAMETERS/,/^=head1 SAFETY/p' "$pod" |
  sed -n 's/^=item \[\{0,1\}B<\([a-z-]*\)=.*/\1/p' | sort -u > "$work/manual"

nbdkit "$VMDKIT_PLUGIN" --dump-plugin > "$work/dump"
sed -n 's/^vmdk_parameters=//p' "$work/dump" |
  tr ',' '\n' | sort -u > "$work/dumped"

nbdkit "$VMDKIT_PLUGIN" --help > "$work/help-text"
sed -n 's/^\([a-z-]*\)=.*/\1/p' "$work/help-text" |
  sort -u > "$work/help"

same "manual page" "$work/manual" "--dump-plugin" "$work/dumped"
same "manual page" "$work/manual" "--help" "$work/help"

# The keys that --dump-plugin prints are described.
sed -n 's/^\(vmdk_[a-z]*=\).*/\1/p' "$work/dump" | sort > "$work/keys"
sed -n 's/^=item C<\(vmdk_[a-z]*=\)>$/\1/p' "$pod" |
  sort > "$work/manual-keys"
same "manual page" "$work/manual-keys" "--dump-plugin" "$work/keys"

# So are the debug flags that it exports.
if command -v nm > /dev/null; then
  nm -D --defined-only "$VMDKIT_PLUGIN" |
    sed -n 's/.* vmdk_debug_\([a-z]*\)$/\1/p' | sort > "$work/flags"
  sed -n 's/^=item I<-D vmdk\.\([a-z]*\)=1>$/\1/p' "$pod" |
    sort > "$work/manual-flags"
  same "manual page" "$work/manual-flags" "plugin" "$work/flags"
fi

# The page's version is the plugin's.
version=$(sed -n 's/^vmdk_version=//p' "$work/dump")
if ! grep -qF "This page describes version $version." "$pod"; then
  echo "the manual page does not say that it is about $version"
  exit 1
fi
