#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# Every header of vsphere compiles alone, twice over, and without a warning.

set -euo pipefail
: "${CC:=cc}" "${top_srcdir:=$PWD/../..}" "${top_builddir:=.}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
count=0

for header in "$top_srcdir"/vsphere/*.h; do
  name=${header##*/}
  printf '#include <config.h>\n#include "%s"\n#include "%s"\n' \
    "$name" "$name" > "$work/alone.c"
  # CC and the flags may be more than one word
  # shellcheck disable=SC2086
  if ! $CC -std=gnu11 -Wall -Wextra -Wshadow -Wvla -Werror -fsyntax-only \
      -I"$top_builddir" -I"$top_srcdir/core" -I"$top_srcdir/vsphere" \
      ${VSPHERE_CFLAGS-} "$work/alone.c"; then
    echo "$name does not compile alone" >&2
    failed=1
  fi
  count=$((count + 1))
done

# an empty list would pass for the wrong reason
if test "$count" -lt 1; then
  echo "only $count headers found in $top_srcdir/vsphere" >&2
  exit 1
fi
exit $failed
