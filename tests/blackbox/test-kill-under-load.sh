#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# A server that is killed under load loses nothing that was flushed, changes
# nothing that nobody wrote, and leaves a disk that qemu-img finds no errors in
# and that the next server goes on with.  VMDKIT_ROUNDS=1000 is a soak.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_plugin
requires_python nbd
requires qemu-img --version

"$PYTHON" "$here/kill-under-load.py" "$tmp" "${VMDKIT_SEED:-1}" \
  "${VMDKIT_ROUNDS:-3}"
