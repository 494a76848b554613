#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Reads of any offset and length, from several connections at once, give what
# a copy of the whole disk gives.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" good-sparse-zero-entries-version-2 \
  good-sparse-missing-tables good-mixed-extents good-stream-both \
  good-stream-shuffled-footer good-stream-last-grain-short \
  good-cowd-grain-1 good-sesparse-shuffled good-chain-mixed-kinds \
  good-chain-sizes-both good-flat-with-offset good-chain-depth-32
"$PYTHON" "$here/random-reads.py" "$tmp/images" "${VMDKIT_SEED:-1}"
