/* SPDX-License-Identifier: BSD-3-Clause */

/* Hosted sparse extents: a KDMV header, and grains that are not compressed.
 *
 *   header -> grain directory -> grain table -> grain
 *          -> redundant directory -> redundant table ->  (the same grain)
 *
 * VMware and qemu write all tables at creation, in this order: header,
 * descriptor, redundant directory and tables, primary directory and tables,
 * padding, grains.  Others leave tables out (directory entry 0) or put them
 * between the grains; all of that is read.
 *
 *  (1) A grain lies behind the header and touches neither descriptor,
 *      directories nor tables.  An entry that says otherwise is damage.
 *  (2) Entry 1 means "zeros" only where header flag bit 2 says so, whatever
 *      the header's version (qemu writes such files as version 1 and 2).
 *  (3) What the extent line says is the size.  A header that has less is
 *      refused: its missing part would read as zeros.
 *

 * Writing keeps both table copies; grain-write.c has the order.  A header
 * that says "unclean" was left by a crash, and its two copies may differ:
 * the primary one counts, and the other is brought in line with it before
 * anything is written (table-check.c).
 */

#include <config.h>

#include <inttypes.h>

#include "checked.h"
#include "extent.h"
#include "grain-table.h"
#include "grain-write.h"
#include "bytes.h"
#include "grain-room.h"
#include "grow-parts.h"
#include "sparse-header.h"
#include "table-check.h"

#define TABLE_ENTRY_ZERO 1

struct extent_sparse {
  struct extent common;
  struct sparse_header header;
  struct grain_index index;
  struct grain_writer writer; /* if it is writable */
  uint64_t directory_sectors;
};

static uint64_t
file_sectors (const struct extent_sparse *sparse)
{
  return bytes_to_sectors (sparse->common.media->size);
}

static const struct extent_sparse *
sparse_of (const struct grain_index *index)
{
  return (const struct extent_sparse *) index->extent;
}

/* Does [sector, sector+count) touch metadata whose place the header names?
 * Returns its name, or NULL.  invariant 1
 */
static const char *
touches_metadata (const struct extent_sparse *sparse, uint64_t sector,
                  uint64_t count)
{
  const struct sparse_header *h = &sparse->header;

  if (sector < 1)
    return "the header";
  if (h->descriptor_offset != 0
      && ranges_overlap (sector, count, h->descriptor_offset,
                         h->descriptor_size))
    return "the descriptor";
  if (ranges_overlap (sector, count, h->gd_offset, sparse->directory_sectors))
    return "the grain directory";
  if (sparse->index.mirror_offset != 0
      && ranges_overlap (sector, count, h->rgd_offset,
                         sparse->directory_sectors))
    return "the redundant grain directory";
  return NULL;
}

static int
locate_table (const struct grain_index *index, uint64_t table, uint64_t entry,
              uint64_t *offset, struct vmdk_error *err)
{
  const struct extent_sparse *sparse = sparse_of (index);
  const uint64_t nr_sectors = bytes_to_sectors (index->table_bytes);
  const char *what = touches_metadata (sparse, entry, nr_sectors);

  if (what)
    return fail (err, ERR_DAMAGED,
                 "grain directory entry %" PRIu64 " is sector %" PRIu64
                 ", which is in %s",
                 table, entry, what);
  if (!range_inside (entry, nr_sectors, file_sectors (sparse)))
    return fail (err, ERR_DAMAGED,
                 "grain directory entry %" PRIu64 " is sector %" PRIu64
                 ": the table ends beyond the file's %" PRIu64 " sectors",
                 table, entry, file_sectors (sparse));
  *offset = sectors_to_bytes (entry);
  return 0;
}

/* Bytes of GRAIN that lie within the extent: all but for the last one. */
static uint64_t
grain_bytes (const struct grain_index *index, uint64_t grain)
{
  return min_u64 (index->grain_size,
                  index->extent->size - (grain << index->grain_shift));
}

static enum run_state
classify (const struct grain_index *index, uint64_t grain, uint64_t entry,
          uint64_t *media_offset)
{
  const struct extent_sparse *sparse = sparse_of (index);
  const uint64_t offset = sectors_to_bytes (entry);

  if (entry == TABLE_ENTRY_ZERO /* invariant 2 */
      && (sparse->header.flags & SPARSE_ZERO_GRAIN_ENTRY))
    return RUN_ZERO;
  if (!range_inside (offset, grain_bytes (index, grain),
                     sparse->common.media->size)
      || touches_metadata (sparse, entry, sparse->header.grain_size)
      || grain_index_hits_table (index, offset, index->grain_size))
    return RUN_DAMAGED;
  *media_offset = offset;
  return RUN_DATA;
}

static void
explain (const struct grain_index *index, uint64_t grain, uint64_t entry,
         struct vmdk_error *err)
{
  const struct extent_sparse *sparse = sparse_of (index);
  const char *what =
    touches_metadata (sparse, entry, sparse->header.grain_size);

  if (entry == TABLE_ENTRY_ZERO)
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 ": grain table entry is 1 (a zero grain), and "
          "header flag bit 2, which would allow that, is not set",
          grain);
  else if (what)
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 ": grain table entry is sector %" PRIu64
          ", which is in %s",
          grain, entry, what);
  else if (!range_inside (sectors_to_bytes (entry), grain_bytes (index, grain),
                          sparse->common.media->size))
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 ": grain table entry is sector %" PRIu64
          ": the grain ends beyond the file's %" PRIu64 " bytes",
          grain, entry, sparse->common.media->size);
  else
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 ": grain table entry is sector %" PRIu64
          ", which is in a grain table",
          grain, entry);
}

static uint64_t
encode (const struct grain_index *index, uint64_t media_offset)
{
  (void) index;
  return bytes_to_sectors (media_offset);
}

static void
name_table (const struct grain_index *index, uint8_t *bytes, uint64_t offset)
{
  (void) index;
  le32_store (bytes, (uint32_t) bytes_to_sectors (offset));
}

static const struct grain_rules rules = {
  .locate = locate_table,
  .classify = classify,
  .explain = explain,
  .encode = encode,
  .name_table = name_table,
};

/* invariant 3 */
static int
check_size (const struct extent_sparse *sparse, struct vmdk_error *err)
{
  const struct sparse_header *h = &sparse->header;
  const uint64_t line = bytes_to_sectors (sparse->common.size);

  if (h->capacity < line)
    return fail (err, ERR_CORRUPT,
                 "sparse header: capacity is %" PRIu64
                 " sectors, and the descriptor's extent line says %" PRIu64,
                 h->capacity, line);
  /* VirtualBox rounds the header's up to whole grains. */
  if (h->capacity - line >= h->grain_size)
    log_warning (&sparse->common.rules->log,
                 "%s: sparse header: capacity is %" PRIu64
                 " sectors, and the descriptor's extent line says %" PRIu64
                 ": serving the smaller size",
                 NAME (sparse->common.name), h->capacity, line);
  return 0;
}

static int
read_header (struct extent_sparse *sparse, struct vmdk_error *err)
{
  struct media *media = sparse->common.media;
  const struct vmdk_log *log = &sparse->common.rules->log;
  struct sparse_header *h = &sparse->header;
  uint8_t bytes[SPARSE_HEADER_SIZE];
  bool use_redundant;

  if (media->size < sizeof bytes)
    return fail (err, ERR_CORRUPT,
                 "sparse header: the file has only %" PRIu64 " bytes",
                 media->size);
  if (media_pread (media, bytes, sizeof bytes, 0, err) == -1)
    return -1;
  sparse_header_decode (bytes, h);
  if (sparse_header_check (h, media->size, &use_redundant, err) == -1)
    return -1;
  if (h->gd_offset == SPARSE_GD_AT_END)
    return fail (err, ERR_CORRUPT,
                 "sparse header: gdOffset says that the directory is at the "
                 "end, which only compressed extents may have");

  if ((h->flags & SPARSE_REDUNDANT_TABLES) && !use_redundant)
    log_warning (log,
                 "%s: sparse header: rgdOffset %" PRIu64
                 " cannot be right: doing without the redundant directory",
                 NAME (sparse->common.name), h->rgd_offset);
  if (h->unclean_shutdown)
    log_warning (log,
                 "%s: was not closed cleanly (uncleanShutdown is set): what "
                 "was written last may be missing",
                 NAME (sparse->common.name));

  sparse->directory_sectors =
    div_round_up (sparse_header_nr_tables (h) * 4, SECTOR_SIZE);
  sparse->index.mirror_offset =
    use_redundant ? sectors_to_bytes (h->rgd_offset) : 0;
  return 0;
}

static int
sparse_map (struct extent *extent, uint64_t offset, uint64_t count,
            enum map_detail detail, struct run *run, struct vmdk_error *err)
{
  struct extent_sparse *sparse = (struct extent_sparse *) extent;

  return grain_index_map (&sparse->index, offset, count, detail, run, err);
}

/* Only damaged runs come here. */
static int
sparse_read (struct extent *extent, void *buf, size_t count, uint64_t offset,
             struct vmdk_error *err)
{
  struct extent_sparse *sparse = (struct extent_sparse *) extent;

  (void) buf;
  (void) count;
  return grain_index_damage (&sparse->index, offset, err);
}

static void
sparse_layout (struct extent *extent, struct extent_layout *layout)
{
  struct extent_sparse *sparse = (struct extent_sparse *) extent;
  const struct sparse_header *h = &sparse->header;
  const uint64_t directory_bytes =
    sectors_to_bytes (sparse->directory_sectors);

  *layout = (struct extent_layout){
    .index = &sparse->index,
    .header = h,
    .capacity = h->capacity,
    .unclean = h->unclean_shutdown,
    .unclean_at = SPARSE_UNCLEAN_AT,
    .unclean_size = 1,
    .start = sparse->index.metadata_end,
    .end = extent->media->size,
    .unit = SECTOR_SIZE,
  };
  extent_layout_add (layout, "the header", 0, SPARSE_HEADER_SIZE);
  if (h->descriptor_offset != 0)
    extent_layout_add (layout, "the descriptor",
                       sectors_to_bytes (h->descriptor_offset),
                       sectors_to_bytes (h->descriptor_size));
  extent_layout_add (layout, "the grain directory",
                     sparse->index.directory_offset, directory_bytes);
  if (sparse->index.mirror_offset != 0)
    extent_layout_add (layout, "the redundant grain directory",
                       sparse->index.mirror_offset, directory_bytes);
}

static void
sparse_close (struct extent *extent)
{
  struct extent_sparse *sparse = (struct extent_sparse *) extent;

  grain_writer_destroy (&sparse->writer);
  grain_index_destroy (&sparse->index);
}

/* -- Writing ------------------------------------------------------------ */

/* Entries are 32-bit sector numbers. */
#define MAX_FILE_SIZE (SECTOR_SIZE * (UINT64_C (1) << 32))

static int
set_unclean (struct extent *extent, uint8_t unclean, struct vmdk_error *err)
{
  struct extent_sparse *sparse = (struct extent_sparse *) extent;
  uint8_t bytes[SPARSE_HEADER_SIZE];

  sparse->header.unclean_shutdown = unclean;
  sparse_header_encode (&sparse->header, bytes);
  if (media_pwrite (extent->media, bytes, sizeof bytes, 0, err) == -1)
    return -1;
  return media_flush (extent->media, err);
}

static int
sparse_begin (struct extent *extent, struct vmdk_error *err)
{
  return set_unclean (extent, 1, err);
}

static int
sparse_finished (struct extent *extent, struct vmdk_error *err)
{
  return set_unclean (extent, 0, err);
}

int
extent_sparse_set_header (struct extent *extent,
                          const struct sparse_header *header,
                          struct vmdk_error *err)
{
  struct extent_sparse *sparse = (struct extent_sparse *) extent;
  const uint8_t unclean = sparse->header.unclean_shutdown;

  sparse->header = *header;
  return set_unclean (extent, unclean, err);
}

static const struct grain_writer_rules writer_rules = {
  .begin = sparse_begin,
  .finish = sparse_finished,
};

static const struct extent_ops ops = {
  .name = "sparse",
  .layout = sparse_layout,
  .map = sparse_map,
  .read = sparse_read,
  GRAIN_EXTENT_WRITE_OPS,
  .close = sparse_close,
};

/* An entry behind the end that the descriptor says. */
static int
refuse_grain_behind (void *opaque, uint64_t grain, struct vmdk_error *err)
{
  const struct extent_sparse *sparse = opaque;

  if (grain >= div_round_up (sparse->header.capacity,
                             sparse->header.grain_size))
    return 0;
  return fail (err, ERR_READ_ONLY,
               "cannot be written: header and descriptor disagree about its "
               "size, and grain %" PRIu64 " is allocated behind its end",
               grain);
}

/* What an extent must be like so that we write to it. */
static int
check_writable (struct extent_sparse *sparse, struct vmdk_error *err)
{
  const struct sparse_header *h = &sparse->header;

  if (h->nr_gtes_per_gt != 512)
    return fail (err, ERR_READ_ONLY,
                 "cannot be written: its grain tables have %" PRIu32
                 " entries, not 512",
                 h->nr_gtes_per_gt);
  if ((h->flags & SPARSE_REDUNDANT_TABLES) && sparse->index.mirror_offset == 0)
    return fail (err, ERR_READ_ONLY,
                 "cannot be written: its redundant grain directory is "
                 "damaged, repair it first");
  if (h->capacity - bytes_to_sectors (sparse->common.size) < h->grain_size)
    return 0;
  /* Growing that was interrupted leaves a header that knows a larger size,
   * and nothing there.
   */
  return grain_room_walk_behind (&sparse->index, refuse_grain_behind, sparse,
                                 err);
}

/* After a crash: bring the tables in order, find where the grains end. */
static int
start_writer (struct extent_sparse *sparse, uint64_t disk_offset,
              struct vmdk_error *err)
{
  const struct sparse_header *h = &sparse->header;
  const uint64_t least = sparse->index.metadata_end;
  uint64_t next = max_u64 (sparse->common.media->size, least);

  if ((h->unclean_shutdown
         ? table_check_recover (&sparse->index, least, &next, err)
         : table_check_look (&sparse->index, disk_offset, err))
      == -1)
    return -1;
  if (grain_writer_init (&sparse->writer, &sparse->index, &writer_rules, next,
                         MAX_FILE_SIZE, err)
      == -1)
    return -1;
  /* It is clean again once it has been closed. */
  sparse->writer.state.begun = h->unclean_shutdown;
  return 0;
}

/* Where the metadata whose place the header names ends, in bytes. */
static uint64_t
metadata_end (const struct extent_sparse *sparse)
{
  const struct sparse_header *h = &sparse->header;
  uint64_t end =
    max_u64 (h->overhead, h->gd_offset + sparse->directory_sectors);

  if (h->descriptor_offset != 0)
    end = max_u64 (end, h->descriptor_offset + h->descriptor_size);
  if (sparse->index.mirror_offset != 0)
    end = max_u64 (end, h->rgd_offset + sparse->directory_sectors);
  return sectors_to_bytes (end);
}

struct extent *
extent_sparse_open (const struct extent_source *source, struct vmdk_error *err)
{
  struct extent_sparse *sparse =
    extent_alloc (sizeof *sparse, &ops, source, err);
  if (!sparse)
    return NULL;
  CLEANUP_EXTENT struct extent *extent = &sparse->common;
  const struct sparse_header *h = &sparse->header;

  if (read_header (sparse, err) == -1 || check_size (sparse, err) == -1)
    return NULL;

  extent->grain_size = sectors_to_bytes (h->grain_size);
  extent->can_be_absent = true;
  extent->index = &sparse->index;
  sparse->index.extent = extent;
  sparse->index.rules = &rules;
  sparse->index.grain_size = extent->grain_size;
  sparse->index.entries_per_table = h->nr_gtes_per_gt;
  sparse->index.nr_tables = sparse_header_nr_tables (h);
  sparse->index.entry_size = 4;
  sparse->index.directory_offset = sectors_to_bytes (h->gd_offset);
  sparse->index.metadata_end = metadata_end (sparse);
  if (h->flags & SPARSE_ZERO_GRAIN_ENTRY)
    sparse->index.zero_entry = TABLE_ENTRY_ZERO;
  if (grain_index_init (&sparse->index, err) == -1)
    return NULL;
  if (source->writable
      && (check_writable (sparse, err) == -1
          || start_writer (sparse, source->disk_offset, err) == -1))
    return NULL;
  return steal_ptr (&extent);
}
