/* SPDX-License-Identifier: BSD-3-Clause */

/* FLAT and VMFS extents (and VMFSRAW, VMFSRDM where the link allows them):
 * raw bytes.  Byte b of the extent is byte offset_sector * 512 + b of the
 * file.
 *
 * The file may be longer than the extent: VMFS rounds files up to its
 * blocks, and several extents may share one file or device.  A file that
 * is too short is refused at open: zeros in place of what was cut off would
 * be wrong data.
 */

#include <config.h>

#include <inttypes.h>
#include <stdatomic.h>

#include "checked.h"
#include "extent.h"

struct flat {
  struct extent extent;
  uint64_t start; /* of the data in the file, bytes */
  _Atomic bool unflushed;
};

static int
flat_map (struct extent *extent, uint64_t offset, uint64_t count,
          enum map_detail detail, struct run *run, struct vmdk_error *err)
{
  const struct flat *flat = (const struct flat *) extent;
  bool hole;

  (void) err;
  run->state = RUN_DATA;
  run->length = count;
  if (detail == MAP_WHERE) {
    run->media = extent->media;
    run->media_offset = flat->start + offset;
    return 0;
  }

  /* A file system that cannot tell where its holes are is no reason to fail:
   * "data" promises nothing.
   */
  struct vmdk_error ignored;
  uint64_t length;
  if (media_map (extent->media, flat->start + offset, count, &hole, &length,
                 &ignored)
      == -1)
    return 0;
  if (hole)
    run->state = RUN_HOLE;
  run->length = min_u64 (length, count);
  return 0;
}

/* The mark comes after the write: a flush that finds none has nothing to do
 * with writes that were over when it began.
 */
static int
flat_write (struct extent *extent, const void *buf, size_t count,
            uint64_t offset, const struct below *below, struct vmdk_error *err)
{
  struct flat *flat = (struct flat *) extent;
  const int r =
    media_pwrite (extent->media, buf, count, flat->start + offset, err);

  (void) below;
  atomic_store (&flat->unflushed, true);
  return r;
}

static int
flat_zero (struct extent *extent, uint64_t count, uint64_t offset,
           unsigned flags, const struct below *below, struct vmdk_error *err)
{
  struct flat *flat = (struct flat *) extent;
  const uint64_t at = flat->start + offset;
  int r;

  (void) below;
  r = flags & ZERO_KEEP
        ? media_clear (extent->media, at, count, flags & ZERO_FAST, err)
        : media_punch (extent->media, at, count, err);
  atomic_store (&flat->unflushed, true);
  return r;
}

static int
flat_flush (struct extent *extent, struct vmdk_error *err)
{
  struct flat *flat = (struct flat *) extent;

  if (!atomic_exchange (&flat->unflushed, false))
    return 0;
  if (media_flush (extent->media, err) == 0)
    return 0;
  atomic_store (&flat->unflushed, true);
  return -1;
}

static const struct extent_ops flat_ops = {
  .name = "flat",
  .map = flat_map,
  .write = flat_write,
  .zero = flat_zero,
  .flush = flat_flush,
};

/* Set *start and check that the file holds the whole extent. */
static int
check_range (const struct extent_source *source, uint64_t *start,
             struct vmdk_error *err)
{
  const struct extent_line *line = source->line;
  uint64_t end;

  if (add_overflow (line->offset_sector, line->nr_sectors, &end)
      || end > MAX_SECTORS)
    return fail (err, ERR_CORRUPT,
                 "flat extent of %" PRIu64 " sectors at sector %" PRIu64
                 " of the file ends beyond sector %" PRIu64,
                 line->nr_sectors, line->offset_sector, MAX_SECTORS);
  *start = sectors_to_bytes (line->offset_sector);
  if (sectors_to_bytes (end) > source->media->size)
    return fail (err, ERR_CORRUPT,
                 "flat extent ends at byte %" PRIu64
                 " of the file, which has only %" PRIu64,
                 sectors_to_bytes (end), source->media->size);
  return 0;
}

struct extent *
extent_flat_open (const struct extent_source *source, struct vmdk_error *err)
{
  struct flat *flat = extent_alloc (sizeof *flat, &flat_ops, source, err);
  CLEANUP_EXTENT struct extent *extent = (struct extent *) flat;

  if (!flat || check_range (source, &flat->start, err) == -1)
    return NULL;
  return steal_ptr (&extent);
}
