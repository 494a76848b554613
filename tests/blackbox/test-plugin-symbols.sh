#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# The plugin exports its table and its debug flags and nothing else.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires nm --version

nm -D --defined-only "$VMDKIT_PLUGIN" > "$tmp/symbols"
grep -q ' plugin_init$' "$tmp/symbols" || fail "plugin_init is not exported"
grep -q ' vmdk_debug_open$' "$tmp/symbols" || fail "no debug flags"
# sanitizers and gcov have theirs
if grep -v -e ' plugin_init$' -e ' \(v[dm]dk\|nfc\)_debug_[a-z]*$' \
    -e ' [_]*\(asan\|ubsan\|lsan\|tsan\|sanitizer\|gcov\|mangle\)' \
    "$tmp/symbols" > "$tmp/others"; then
  cat "$tmp/others" >&2
  fail "more is exported"
fi
