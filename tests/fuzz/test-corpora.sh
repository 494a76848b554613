#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# Every fuzz target takes every input that was kept for it.

set -e
srcdir=${srcdir:-.}

for target in check cowd descriptor disk sesparse sparse stream tar; do
  "./fuzz-$target" "$srcdir/corpus/$target"/* >"corpus-$target.out" ||
    { tail -n 1 "corpus-$target.out"; exit 1; }
  echo "fuzz-$target: $(wc -l <"corpus-$target.out") inputs"
  rm "corpus-$target.out"
done
