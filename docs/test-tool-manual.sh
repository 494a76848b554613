#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The tool's manual pages are well formed; each command has one, which has its
# synopsis and describes its options, all of them and no others; the overview
# has every command and every common option; --help fits a screen.

set -euo pipefail
: "${srcdir:=.}"

if ! command -v podchecker > /dev/null; then
  echo "skipped: podchecker is not there"
  exit 77
fi
if ! test -x "${VMDKIT:-}"; then
  echo "skipped: the tool was not built"
  exit 77
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

complain ()
{
  echo "$*"
  failed=1
}

# same WHAT FILE WHAT FILE
same ()
{
  diff -u --label "$1" --label "$3" "$2" "$4" || failed=1
}

# fits FILE: as many lines and columns as a terminal has
fits ()
{
  test "$(wc -l < "$1")" -le 24 || complain "$1 has more than 24 lines"
  if grep -q '.\{80\}' "$1"; then
    complain "$1 is wider than 79 columns"
  fi
}

# The options in a help text; in the =items of a page from one heading to the
# next.
help_options ()
{
  grep -o -E '^ +(-[a-zA-Z], )?--[a-z-]+' | grep -o -e '--[a-z-]*' | sort -u
}

page_options ()
{
  sed -n "/^=head1 $2/,/^=head1 /p" "$1" |
    { grep '^=item ' || :; } | { grep -o -e '--[a-z][a-z-]*' || :; } | sort -u
}

page_checks ()
{
  if ! podchecker -warnings "$1" 2> "$work/podchecker"; then
    cat "$work/podchecker"
    failed=1
  fi
}

"$VMDKIT" --help > "$work/help"
fits "$work/help"
sed -n 's/^  \([a-z]*\)  *[A-Z].*/\1/p' "$work/help" | sort > "$work/commands"
test -s "$work/commands" || complain "vmdkit --help lists no command"

page_checks "$srcdir/vmdkit.pod"
sed -n 's/^=item L<vmdkit-\([a-z]*\)(1)>$/\1/p' "$srcdir/vmdkit.pod" |
  sort > "$work/overview"
same "vmdkit.pod" "$work/overview" "vmdkit --help" "$work/commands"

version=$("$VMDKIT" --version | sed 's/^vmdkit //')
grep -qF "This page describes version $version." "$srcdir/vmdkit.pod" ||
  complain "vmdkit.pod does not say that it is about $version"

while read -r command; do
  page=$srcdir/vmdkit-$command.pod
  if ! test -f "$page"; then
    complain "vmdkit $command has no page"
    continue
  fi
  page_checks "$page"
  "$VMDKIT" "$command" --help > "$work/$command"
  fits "$work/$command"

  usage=$(sed -n 's/^Usage: //p' "$work/$command")
  grep -qxF " $usage" "$page" ||
    complain "vmdkit-$command.pod does not have: $usage"
  sed '/^Common options:/,$d' "$work/$command" | { help_options || :; } \
    > "$work/options"
  page_options "$page" OPTIONS > "$work/page-options"
  same "vmdkit-$command.pod" "$work/page-options" "--help" "$work/options"

  # What --help has no room for.
  source=$srcdir/../tools/cmd-$command.c
  sed -n 's/^  { "\([a-z-]*\)".*| HIDDEN,.*/--\1/p' "$source" | sort \
    > "$work/hidden"
  page_options "$page" "RARE OPTIONS" > "$work/page-hidden"
  same "vmdkit-$command.pod" "$work/page-hidden" "cmd-$command.c" \
    "$work/hidden"
done < "$work/commands"

{
  read -r command < "$work/commands"
  sed -n '/^Common options:/,$p' "$work/$command" | help_options
  sed -n '/^How disks are opened/,/^$/p' "$work/$command" |
    grep -o -e '--[a-z-]*'
} | sort -u > "$work/common"
page_options "$srcdir/vmdkit.pod" "COMMON OPTIONS" > "$work/page-common"
same "vmdkit.pod" "$work/page-common" "--help" "$work/common"

exit $failed
