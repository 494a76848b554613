/* SPDX-License-Identifier: BSD-3-Clause */

/* seSparse extents.  The extent line says what the header says. */

#include <config.h>

#include "fuzz-extent.h"

#define CAPACITY_OFFSET 16

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const uint64_t nr_sectors =
    size >= CAPACITY_OFFSET + 8 ? le64_load (data + CAPACITY_OFFSET) : 1;

  fuzz_extent (extent_sesparse_open, data, size, nr_sectors);
  return 0;
}
