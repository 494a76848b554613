#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# What is large is served within small limits: 255 links but not 256,
# thousands of extents with few open files, 62 TiB in no time.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" 'limit-*'
ulimit -n 256
"$PYTHON" "$here/check-images.py" "$tmp/images"
