#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# HACKING.md names every room, and no others.

set -euo pipefail
: "${top_srcdir:=..}"
hacking=$top_srcdir/HACKING.md

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The lists of rooms: names, then at least two blanks and what the room holds.
# A line that is indented further only goes on with the words.
sed -n '/^core, from the top down:/,/^A header is its/p' "$hacking" |
  sed -n 's/^    \(  \)\{0,1\}\([a-z].*\)/\2/p' > "$work/lines"
sed 's/  .*//' "$work/lines" | tr ' ' '\n' | sort -u > "$work/words"
sed 's/ .*//' "$work/lines" | sort -u > "$work/named"

for folder in core vsphere plugin tools; do
  ls "$top_srcdir/$folder"
done | sed -n 's/\.[ch]$//p' | sort -u > "$work/rooms"
sed 's/\.h$//' "$work/named" | comm -23 - "$work/rooms" > "$work/gone"
sed 's/\.h$//' "$work/words" | sort -u > "$work/all"
grep -v -e '-parts$' -e '^cmd-' -e '^descriptor-model$' "$work/rooms" |
  comm -23 - "$work/all" > "$work/missing"

status=0
for kind in gone missing; do
  if test -s "$work/$kind"; then
    echo "$kind:" $(cat "$work/$kind")
    status=1
  fi
done
exit $status
