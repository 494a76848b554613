/* SPDX-License-Identifier: BSD-3-Clause */

/* seSparse extents: the redo logs of newer ESXi, "-sesparse.vmdk".
 *
 * There is no public specification.  What is known comes from reading real
 * files, and was first found out for qemu; whatever differs from it is
 * refused.  sesparse-header.h has the picture of a file.
 *
 * An entry of a table has its kind in the top nibble and a grain's number,
 * rotated by 12 bits, below.
 *
 * The region of grains is as long as the disk and the file grows into it, so
 * each grain is compared with the end of the file.
 *
 * To allocate a grain, or to give one back, is to change the bitmap, the back
 * map and the journal, whose contents are not known.  So only grains that are
 * there are written, and no other byte: see grain-overwrite.h.
 */

#include <config.h>

#include <inttypes.h>

#include "checked.h"
#include "extent.h"
#include "grain-overwrite.h"
#include "grain-table.h"
#include "sesparse-header.h"

#define SE_DIRECTORY_TAG UINT64_C (0x10000000)

struct sesparse {
  struct extent extent;
  struct grain_index index;
  struct se_region tables, grains;
  uint64_t capacity;              /* sectors, as the header says */
  bool dirty;                     /* the journal was not replayed */
  struct grain_overwriter writer; /* if it is writable */
};

static const struct sesparse *
sesparse_of (const struct grain_index *index)
{
  return (const struct sesparse *) index->extent;
}

static int
sesparse_locate (const struct grain_index *index, uint64_t table,
                 uint64_t entry, uint64_t *offset, struct vmdk_error *err)
{
  const struct sesparse *se = sesparse_of (index);
  const uint64_t number = entry & UINT32_MAX;

  if (entry >> 32 != SE_DIRECTORY_TAG)
    return fail (err, ERR_DAMAGED,
                 "grain directory entry %" PRIu64 " is 0x%016" PRIx64
                 ", which names no table",
                 table, entry);
  if (number >= se->tables.length / SE_TABLE_SECTORS)
    return fail (err, ERR_DAMAGED,
                 "grain directory entry %" PRIu64 " names table %" PRIu64
                 ", there is room for %" PRIu64,
                 table, number, se->tables.length / SE_TABLE_SECTORS);
  *offset = sectors_to_bytes (se->tables.start + number * SE_TABLE_SECTORS);
  return 0;
}

static uint64_t
grain_number (uint64_t entry)
{
  return (entry >> 48 & 0xfff) | (entry & UINT64_C (0xffffffffffff)) << 12;
}

/* The region's length was checked, so once the number is below it nothing
 * below overflows.
 */
static bool
number_in_region (const struct sesparse *se, uint64_t number)
{
  return number < se->grains.length / SE_GRAIN_SECTORS;
}

static uint64_t
offset_of_number (const struct sesparse *se, uint64_t number)
{
  return sectors_to_bytes (se->grains.start + number * SE_GRAIN_SECTORS);
}

/* Whether the file holds all of GRAIN that belongs to the extent. */
static bool
inside_file (const struct grain_index *index, uint64_t grain, uint64_t offset)
{
  const uint64_t rest = index->extent->size - grain * index->grain_size;

  return range_inside (offset, min_u64 (index->grain_size, rest),
                       index->extent->media->size);
}

static enum run_state
sesparse_classify (const struct grain_index *index, uint64_t grain,
                   uint64_t entry, uint64_t *media_offset)
{
  const struct sesparse *se = sesparse_of (index);
  const uint64_t number = grain_number (entry);

  switch (entry >> 60) {
  case 1: /* The guest unmapped it and ESXi has not reclaimed it: the number
             is still there, but guests see zeros. */
  case 2:
    return RUN_ZERO;
  case 3:
    if (!number_in_region (se, number)
        || !inside_file (index, grain, offset_of_number (se, number)))
      return RUN_DAMAGED;
    *media_offset = offset_of_number (se, number);
    return RUN_DATA;
  default:
    return RUN_DAMAGED;
  }
}

static void
sesparse_explain (const struct grain_index *index, uint64_t grain,
                  uint64_t entry, struct vmdk_error *err)
{
  const struct sesparse *se = sesparse_of (index);
  const uint64_t number = grain_number (entry);

  if (entry >> 60 != 3)
    fail (err, ERR_DAMAGED,
          "entry of grain %" PRIu64 " is 0x%016" PRIx64 ", of no known kind",
          grain, entry);
  else if (!number_in_region (se, number))
    fail (err, ERR_DAMAGED,
          "entry of grain %" PRIu64 " is 0x%016" PRIx64 ", number %" PRIu64
          ", there is room for %" PRIu64,
          grain, entry, number, se->grains.length / SE_GRAIN_SECTORS);
  else
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 " at sector %" PRIu64
          " is cut off by the end of the file, byte %" PRIu64,
          grain, bytes_to_sectors (offset_of_number (se, number)),
          index->extent->media->size);
}

static const struct grain_rules sesparse_rules = {
  .locate = sesparse_locate,
  .classify = sesparse_classify,
  .explain = sesparse_explain,
};

static int
sesparse_map (struct extent *extent, uint64_t offset, uint64_t count,
              enum map_detail detail, struct run *run, struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  return grain_index_map (&se->index, offset, count, detail, run, err);
}

static int
sesparse_read (struct extent *extent, void *buf, size_t count, uint64_t offset,
               struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  (void) buf, (void) count;
  return grain_index_damage (&se->index, offset, err);
}

/* What else the file holds, and which of the grains are free, only ESXi can
 * say.
 */
static void
sesparse_layout (struct extent *extent, struct extent_layout *layout)
{
  struct sesparse *se = (struct sesparse *) extent;
  const uint64_t grains = sectors_to_bytes (se->grains.start);
  const uint64_t tables = sectors_to_bytes (se->tables.start);
  const uint64_t within = grains % extent->grain_size;

  *layout = (struct extent_layout){
    .index = &se->index,
    .capacity = se->capacity,
    .unclean = se->dirty,
    .unit =
      tables % extent->grain_size == within ? extent->grain_size : SECTOR_SIZE,
    .base = within,
  };
}

static void
sesparse_close (struct extent *extent)
{
  struct sesparse *se = (struct sesparse *) extent;

  grain_index_destroy (&se->index);
}

static const struct extent_ops sesparse_ops = {
  .name = "seSparse",
  .layout = sesparse_layout,
  .map = sesparse_map,
  .read = sesparse_read,
  .close = sesparse_close,
};

/* -- Writing ------------------------------------------------------------ */

static int
sesparse_write (struct extent *extent, const void *buf, size_t count,
                uint64_t offset, const struct below *below,
                struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  (void) below;
  return grain_overwrite (&se->writer, buf, count, offset, err);
}

static int
sesparse_check (struct extent *extent, uint64_t count, uint64_t offset,
                unsigned flags, const struct below *below,
                struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  return grain_overwrite_check (&se->writer, count, offset, flags, below, err);
}

static int
sesparse_zero (struct extent *extent, uint64_t count, uint64_t offset,
               unsigned flags, const struct below *below,
               struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  return grain_overwrite_zero (&se->writer, count, offset, flags, below, err);
}

static int
sesparse_flush (struct extent *extent, struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  return grain_overwriter_flush (&se->writer, err);
}

static const struct extent_ops sesparse_written_ops = {
  .name = "seSparse",
  .layout = sesparse_layout,
  .map = sesparse_map,
  .read = sesparse_read,
  .check = sesparse_check,
  .write = sesparse_write,
  .zero = sesparse_zero,
  .flush = sesparse_flush,
  .close = sesparse_close,
};

/* A request that spans several extents could not be refused as a whole. */
static int
check_writable (const struct extent_source *source, uint64_t replay_journal,
                struct vmdk_error *err)
{
  if (!source->rules->write_sesparse)
    return fail (err, ERR_READ_ONLY,
                 "seSparse extents cannot be written: write to an overlay=, "
                 "or pass write-sesparse=true to overwrite what is allocated");
  if (replay_journal != 0)
    return fail (err, ERR_READ_ONLY,
                 "seSparse extent cannot be written: it has a dirty journal "
                 "(replayJournal %" PRIu64 "): write to an overlay=",
                 replay_journal);
  if (!source->single)
    return fail (err, ERR_READ_ONLY,
                 "seSparse extent cannot be written: it is one of several: "
                 "write to an overlay=");
  return 0;
}

static int
start_writer (struct sesparse *se, const struct extent_source *source,
              uint64_t replay_journal, struct vmdk_error *err)
{
  if (check_writable (source, replay_journal, err) == -1
      || grain_overwriter_init (&se->writer, &se->index, err) == -1)
    return -1;
  se->extent.ops = &sesparse_written_ops;
  return 0;
}

/* -- Opening ------------------------------------------------------------ */

static void
set_layout (struct sesparse *se, const struct se_header *h)
{
  se->tables = h->regions[SE_TABLES];
  se->grains = h->regions[SE_GRAINS];
  se->capacity = h->capacity;
  se->extent.grain_size = sectors_to_bytes (SE_GRAIN_SECTORS);
  se->extent.can_be_absent = true;
  se->index.extent = &se->extent;
  se->index.rules = &sesparse_rules;
  se->index.grain_size = se->extent.grain_size;
  se->index.entries_per_table = SE_ENTRIES;
  se->index.nr_tables = se_header_nr_tables (h);
  se->index.entry_size = SE_ENTRY_SIZE;
  se->index.directory_offset =
    sectors_to_bytes (h->regions[SE_DIRECTORY].start);
}

struct extent *
extent_sesparse_open (const struct extent_source *source,
                      struct vmdk_error *err)
{
  struct sesparse *se = extent_alloc (sizeof *se, &sesparse_ops, source, err);
  CLEANUP_EXTENT struct extent *extent = (struct extent *) se;
  struct se_header header;
  struct se_volatile_header state;

  if (!se || se_header_read (extent, &header, err) == -1
      || se_volatile_header_read (extent, &header, &state, err) == -1)
    return NULL;
  set_layout (se, &header);
  se->dirty = state.replay_journal != 0;
  if (grain_index_init (&se->index, err) == -1
      || (source->writable
          && start_writer (se, source, state.replay_journal, err) == -1))
    return NULL;
  return steal_ptr (&extent);
}
