#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# Random operations on families of disks, of several types and makers: after
# each of them every disk reads as it should, and qemu-img agrees.
#
# OPERATIONS_SEEDS="FIRST LAST" has more of them, OPERATIONS_STEPS of each.
# A seed that failed is named, and fails again.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires_plugin
requires qemu-img --version
requires qemu-io --version
requires nbdkit --version
requires_python nbd

# shellcheck disable=SC2086
set -- ${OPERATIONS_SEEDS:-1 4}
for seed in $(seq "$1" "$2"); do
  mkdir "$tmp/$seed"
  cd "$tmp/$seed"
  "$PYTHON" "$here/operations.py" "$seed" "${OPERATIONS_STEPS:-15}" >&2 \
    || fail "seed $seed"
  cd "$tmp"
  rm -rf "${tmp:?}/$seed"
done
