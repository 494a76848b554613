/* SPDX-License-Identifier: BSD-3-Clause */

/* Extents without a file that is read: ZERO, and everything that is marked
 * NOACCESS.
 *
 * VMware hides a NOACCESS range from the guest.  Whether it would have read
 * as zeros or as something else cannot be known, so reading it is an error;
 * the rest of the disk keeps its place and can be read.
 */

#include <config.h>

#include "extent.h"

static int
zero_map (struct extent *extent, uint64_t offset, uint64_t count,
          enum map_detail detail, struct run *run, struct vmdk_error *err)
{
  (void) extent, (void) offset, (void) detail, (void) err;
  run->state = RUN_HOLE;
  run->length = count;
  return 0;
}

static int
noaccess_map (struct extent *extent, uint64_t offset, uint64_t count,
              enum map_detail detail, struct run *run, struct vmdk_error *err)
{
  (void) detail, (void) err;
  run->state = RUN_DAMAGED;
  run->length = count;
  run->extent = extent;
  run->extent_offset = offset;
  return 0;
}

static int
noaccess_read (struct extent *extent, void *buf, size_t count, uint64_t offset,
               struct vmdk_error *err)
{
  (void) buf, (void) count, (void) offset;
  fail (err, ERR_DAMAGED, "extent is marked NOACCESS");
  return extent_damaged (extent, 0, err);
}

static const struct extent_ops zero_ops = {
  .name = "zero",
  .map = zero_map,
};

static const struct extent_ops noaccess_ops = {
  .name = "noaccess",
  .map = noaccess_map,
  .read = noaccess_read,
};

struct extent *
extent_zero_open (const struct extent_source *source, struct vmdk_error *err)
{
  return extent_alloc (sizeof (struct extent), &zero_ops, source, err);
}

struct extent *
extent_noaccess_open (const struct extent_source *source,
                      struct vmdk_error *err)
{
  return extent_alloc (sizeof (struct extent), &noaccess_ops, source, err);
}
