#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# The images of an external corpus, whose folder $VMDKIT_CORPUS names and
# whose check.py serves and judges them.

. "${srcdir:-$(dirname "$0")}/functions.sh"

test -n "${VMDKIT_CORPUS:-}" || skip "VMDKIT_CORPUS names no corpus"
requires_plugin
requires_python nbd
requires test -f "$VMDKIT_CORPUS/check.py"
requires nbdcopy --version

cd "$tmp"
NBDKIT_PLUGIN=$VMDKIT_PLUGIN "$PYTHON" "$VMDKIT_CORPUS/check.py"
