#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Every well-formed image is served with its contents, its size and a true
# map, in silence or with the warning that is due; nothing is written.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" 'good-*'
"$PYTHON" "$here/check-images.py" "$tmp/images"
