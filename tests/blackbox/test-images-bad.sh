#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Every malformed image is refused with one short line that names the fault,
# or served but for the ranges that are damaged; quickly, in little memory,
# and nothing is written.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires nbdcopy --version

"$PYTHON" "$make_images" "$tmp/images" 'bad-*'
"$PYTHON" "$here/check-images.py" "$tmp/images"
