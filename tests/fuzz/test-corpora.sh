#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Every fuzz target takes every input that was kept for it.

set -e
srcdir=${srcdir:-.}

targets="check cowd descriptor disk sesparse sparse stream tar"
# built only where there is what managed disks need
for target in nfc nfc-authd soap; do
  if test -x "./fuzz-$target"; then targets="$targets $target"; fi
done

for target in $targets; do
  "./fuzz-$target" "$srcdir/corpus/$target"/* >"corpus-$target.out" ||
    { tail -n 1 "corpus-$target.out"; exit 1; }
  echo "fuzz-$target: $(wc -l <"corpus-$target.out") inputs"
  rm "corpus-$target.out"
done
