/* SPDX-License-Identifier: BSD-3-Clause */

/* Overwriting grains that are there.  See grain-overwrite.h. */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "checked.h"
#include "cleanup.h"
#include "grain-directory.h"
#include "grain-overwrite.h"

/* -- Do tables or grains share a place? --------------------------------- */

/* One bit each: 64 MiB, which is enough for 2 TiB of the smallest grains that
 * such extents have.
 */
#define MAX_PLACES (UINT64_C (1) << 29)

/* Whether PLACE was not taken yet; it is now. */
static bool
take_place (uint8_t *used, uint64_t place)
{
  const uint8_t bit = (uint8_t) (1 << place % 8);
  const bool was_free = !(used[place / 8] & bit);

  used[place / 8] |= bit;
  return was_free;
}

static int
fail_damaged (struct vmdk_error *err)
{
  if (err->kind != ERR_DAMAGED)
    return -1;
  err->kind = ERR_READ_ONLY;
  return fail_prefix (err, "cannot be written, because it is damaged");
}

/* Tables are told apart first, so that what follows reads each place of the
 * file once, however often the directory names it.
 */
static int
check_tables (struct grain_index *index, struct vmdk_error *err)
{
  const uint64_t nr_places = index->extent->media->size / index->table_bytes;
  CLEANUP_FREE uint8_t *used = calloc (1, nr_places / 8 + 1);

  if (!used)
    return fail_memory (err);
  for (uint64_t table = 0; table < index->nr_tables; table++) {
    uint64_t offset, mirror;

    if (grain_index_places (index, table, &offset, &mirror, err) == -1)
      return fail_damaged (err);
    if (offset != 0 && !take_place (used, offset / index->table_bytes))
      return fail (err, ERR_READ_ONLY,
                   "cannot be written: grain table %" PRIu64
                   " shares its place, byte %" PRIu64
                   ", with another: write to an overlay=",
                   table, offset);
  }
  return 0;
}

/* Take the places of a run of data that starts at OFFSET, with a grain. */
static int
take_run (const struct grain_index *index, uint8_t *used,
          const struct run *run, uint64_t offset, struct vmdk_error *err)
{
  const uint64_t first = run->media_offset >> index->grain_shift;
  const uint64_t nr = div_round_up (run->length, index->grain_size);

  for (uint64_t i = 0; i < nr; i++)
    if (!take_place (used, first + i))
      return fail (err, ERR_READ_ONLY,
                   "cannot be written: grain %" PRIu64
                   " shares its place, byte %" PRIu64
                   ", with another: write to an overlay=",
                   (offset >> index->grain_shift) + i,
                   run->media_offset + (i << index->grain_shift));
  return 0;
}

static int
check_grains (struct grain_index *index, struct vmdk_error *err)
{
  const uint64_t size = index->extent->size;
  const uint64_t nr_places = index->extent->media->size >> index->grain_shift;
  CLEANUP_FREE uint8_t *used = calloc (1, nr_places / 8 + 1);
  struct run run;

  if (!used)
    return fail_memory (err);
  for (uint64_t offset = 0; offset < size; offset += run.length) {
    if (grain_index_map (index, offset, size - offset, MAP_WHERE, &run, err)
        == -1)
      return -1;
    if (run.state == RUN_DAMAGED) {
      grain_index_damage (index, offset, err);
      return fail_damaged (err);
    }
    if (run.state == RUN_DATA
        && take_run (index, used, &run, offset, err) == -1)
      return -1;
  }
  return 0;
}

static int
check_size (const struct grain_index *index, struct vmdk_error *err)
{
  const uint64_t size = index->extent->media->size;

  if (size >> index->grain_shift <= MAX_PLACES)
    return 0;
  return fail (err, ERR_READ_ONLY,
               "cannot be written: the file has %" PRIu64
               " bytes, and only of %" PRIu64
               " can it be checked whether grains share places: write to an "
               "overlay=",
               size, MAX_PLACES << index->grain_shift);
}

int
grain_overwriter_init (struct grain_overwriter *writer,
                       struct grain_index *index, struct vmdk_error *err)
{
  if (check_size (index, err) == -1 || check_tables (index, err) == -1
      || check_grains (index, err) == -1)
    return -1;
  writer->index = index;
  return 0;
}

/* -- Which requests can be done ----------------------------------------- */

static int
fail_not_there (const struct grain_index *index, uint64_t offset,
                struct vmdk_error *err)
{
  return fail (err, ERR_READ_ONLY,
               "%s: grain %" PRIu64
               " is not allocated, and only allocated grains of this format "
               "can be overwritten: write to an overlay=",
               NAME (index->extent->name), offset >> index->grain_shift);
}

/* Whether zeros have to be written where RUN is: 1 or 0, or -1 if they cannot
 * be.  BELOW is NULL for other bytes, which always have to be.
 */
static int
check_run (struct grain_index *index, const struct run *run, uint64_t offset,
           const struct below *below, struct vmdk_error *err)
{
  switch (run->state) {
  case RUN_DATA:
    return 1;
  case RUN_DAMAGED:
    return grain_index_damage (index, offset, err);
  case RUN_ZERO:
    return below ? 0 : fail_not_there (index, offset, err);
  case RUN_ABSENT:
    return below && !below->read ? 0 : fail_not_there (index, offset, err);
  case RUN_HOLE:
  case RUN_PACKED:
    break;
  }
  return fail_not_there (index, offset, err);
}

/* invariant 2.  *nr_written: how many bytes have to be. */
static int
check_range (struct grain_index *index, uint64_t count, uint64_t offset,
             const struct below *below, uint64_t *nr_written,
             struct vmdk_error *err)
{
  const uint64_t end = offset + count;
  struct run run;

  *nr_written = 0;
  for (; offset < end; offset += run.length) {
    if (grain_index_map (index, offset, end - offset, MAP_WHERE, &run, err)
        == -1)
      return -1;

    const int r = check_run (index, &run, offset, below, err);
    if (r == -1)
      return -1;
    if (r == 1)
      *nr_written += run.length;
  }
  return 0;
}

/* -- Writing ------------------------------------------------------------ */

static int
write_zeros (struct media *media, uint64_t count, uint64_t offset,
             struct vmdk_error *err)
{
  static const uint8_t zeros[65536];

  while (count > 0) {
    const size_t n = min_u64 (count, sizeof zeros);

    if (media_pwrite (media, zeros, n, offset, err) == -1)
      return -1;
    offset += n;
    count -= n;
  }
  return 0;
}

/* Write what BUF holds, or zeros (BELOW is not NULL then).  The range was
 * checked, but a table may have to be read again.
 */
static int
write_range (struct grain_index *index, const uint8_t *buf, uint64_t count,
             uint64_t offset, const struct below *below,
             struct vmdk_error *err)
{
  const uint64_t end = offset + count;
  struct run run;

  for (; offset < end; offset += run.length) {
    if (grain_index_map (index, offset, end - offset, MAP_WHERE, &run, err)
        == -1)
      return -1;

    int r = check_run (index, &run, offset, below, err);
    if (r == 1 && buf) /* invariant 1 */
      r = media_pwrite (run.media, buf, run.length, run.media_offset, err);
    else if (r == 1)
      r = write_zeros (run.media, run.length, run.media_offset, err);
    if (r == -1)
      return -1;
    if (buf)
      buf += run.length;
  }
  return 0;
}

/* The mark comes after the write, also after one that failed half-way. */
static int
write_and_mark (struct grain_overwriter *writer, const void *buf,
                uint64_t count, uint64_t offset, const struct below *below,
                struct vmdk_error *err)
{
  const int r = write_range (writer->index, buf, count, offset, below, err);

  atomic_store (&writer->unflushed, true);
  return r;
}

int
grain_overwrite (struct grain_overwriter *writer, const void *buf,
                 size_t count, uint64_t offset, struct vmdk_error *err)
{
  uint64_t nr_written;

  if (check_range (writer->index, count, offset, NULL, &nr_written, err) == -1)
    return -1;
  return write_and_mark (writer, buf, count, offset, NULL, err);
}

/* *needed: zeros have to be written. */
static int
check_zeros (struct grain_overwriter *writer, uint64_t count, uint64_t offset,
             unsigned flags, const struct below *below, bool *needed,
             struct vmdk_error *err)
{
  uint64_t nr_written = 0;

  if (!(flags & ZERO_ADVICE)
      && check_range (writer->index, count, offset, below, &nr_written, err)
           == -1)
    return -1;
  *needed = nr_written > 0;
  if (*needed && flags & ZERO_FAST)
    return fail (err, ERR_UNSUPPORTED, "zeros would have to be written");
  return 0;
}

int
grain_overwrite_check (struct grain_overwriter *writer, uint64_t count,
                       uint64_t offset, unsigned flags,
                       const struct below *below, struct vmdk_error *err)
{
  bool needed;

  return check_zeros (writer, count, offset, flags, below, &needed, err);
}

int
grain_overwrite_zero (struct grain_overwriter *writer, uint64_t count,
                      uint64_t offset, unsigned flags,
                      const struct below *below, struct vmdk_error *err)
{
  bool needed;

  if (check_zeros (writer, count, offset, flags, below, &needed, err) == -1)
    return -1;
  return needed ? write_and_mark (writer, NULL, count, offset, below, err) : 0;
}

int
grain_overwriter_flush (struct grain_overwriter *writer,
                        struct vmdk_error *err)
{
  if (!atomic_exchange (&writer->unflushed, false))
    return 0;
  if (media_flush (writer->index->extent->media, err) == 0)
    return 0;
  atomic_store (&writer->unflushed, true);
  return -1;
}
