/* SPDX-License-Identifier: BSD-3-Clause */

/* COWD extents.  The extent line says what the header says. */

#include <config.h>

#include "fuzz-extent.h"

#define NUM_SECTORS_OFFSET 12

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const uint64_t nr_sectors =
    size >= NUM_SECTORS_OFFSET + 4 ? le32_load (data + NUM_SECTORS_OFFSET) : 1;

  fuzz_extent (extent_cowd_open, data, size, nr_sectors);
  return 0;
}
