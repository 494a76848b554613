/* SPDX-License-Identifier: BSD-3-Clause */

/* streamOptimized extents: hosted sparse with compressed grains.
 *
 *   header         at sector 0; its gdOffset may say "at the end"
 *   descriptor
 *   grains         each a small header and a zlib stream, of any length,
 *                  with grain tables between or before them
 *   directory
 *   footer         a second header that has the place of the directory
 *
 * Directory and tables are those of a hosted sparse extent, but an entry
 * names a block (stream-marker.h) that has to be inflated as a whole.  How
 * that is done is in stream-read.h, how they are written in stream-write.h;
 * here are the header, the directory and what stands in for it.
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "extent.h"
#include "grain-table.h"
#include "grain-write.h"
#include "sparse-header.h"
#include "stream-footer.h"
#include "stream-marker.h"
#include "stream-read.h"
#include "stream-scan.h"
#include "stream-write.h"

static const struct stream *
stream_of (const struct grain_index *index)
{
  return (const struct stream *) index->extent;
}

/* -- Tables and entries ------------------------------------------------- */

/* What lies at SECTOR and can be neither table nor grain; NULL if nothing. */
static const char *
what_is_at (const struct grain_index *index, uint64_t sector, uint64_t count)
{
  const struct sparse_header *h = &stream_of (index)->header;
  const uint64_t gd_sectors =
    div_round_up (index->nr_tables * index->entry_size, SECTOR_SIZE);

  if (sector == 0)
    return "header";
  if (h->descriptor_offset != 0
      && ranges_overlap (sector, count, h->descriptor_offset,
                         h->descriptor_size))
    return "descriptor";
  if (ranges_overlap (sector, count,
                      bytes_to_sectors (index->directory_offset), gd_sectors))
    return "grain directory";
  if (index->mirror_offset != 0
      && ranges_overlap (sector, count,
                         bytes_to_sectors (index->mirror_offset), gd_sectors))
    return "redundant grain directory";
  return NULL;
}

static int
stream_locate (const struct grain_index *index, uint64_t table, uint64_t entry,
               uint64_t *offset, struct vmdk_error *err)
{
  const uint64_t nr_sectors = div_round_up (index->table_bytes, SECTOR_SIZE);
  const char *what = what_is_at (index, entry, nr_sectors);

  *offset = sectors_to_bytes (entry);
  if (!range_inside (*offset, index->table_bytes, index->extent->media->size))
    return fail (err, ERR_DAMAGED,
                 "grain table %" PRIu64 " at sector %" PRIu64
                 " ends beyond the file's %" PRIu64 " bytes",
                 table, entry, index->extent->media->size);
  if (what)
    return fail (err, ERR_DAMAGED,
                 "grain table %" PRIu64 " at sector %" PRIu64
                 " lies in the %s",
                 table, entry, what);
  return 0;
}

/* Whether it is the grain that an entry leads to is seen when it is read:
 * the tables, which may lie among the grains, are not looked at here.
 */
static enum run_state
stream_classify (const struct grain_index *index, uint64_t grain,
                 uint64_t entry, uint64_t *media_offset)
{
  const struct stream *stream = stream_of (index);

  (void) grain;
  if (entry == 1 && (stream->header.flags & SPARSE_ZERO_GRAIN_ENTRY))
    return RUN_ZERO;
  *media_offset = sectors_to_bytes (entry);
  if (!range_inside (*media_offset, STREAM_GRAIN_HEADER_SIZE,
                     stream->extent.media->size)
      || what_is_at (index, entry, 1))
    return RUN_DAMAGED;
  return RUN_PACKED;
}

static void
stream_explain (const struct grain_index *index, uint64_t grain,
                uint64_t entry, struct vmdk_error *err)
{
  const char *what = what_is_at (index, entry, 1);

  if (entry == 1 && !what)
    what = "metadata";
  if (what)
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 " at sector %" PRIu64 " lies in the %s", grain,
          entry, what);
  else
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 " at sector %" PRIu64
          " lies beyond the file's %" PRIu64 " bytes",
          grain, entry, index->extent->media->size);
}

static uint64_t
stream_encode (const struct grain_index *index, uint64_t media_offset)
{
  (void) index;
  return bytes_to_sectors (media_offset);
}

static void
stream_name_table (const struct grain_index *index, uint8_t *bytes,
                   uint64_t offset)
{
  (void) index;
  le32_store (bytes, (uint32_t) bytes_to_sectors (offset));
}

static const struct grain_rules stream_rules = {
  .locate = stream_locate,
  .classify = stream_classify,
  .explain = stream_explain,
  .encode = stream_encode,
  .name_table = stream_name_table,
};

/* -- Mapping ------------------------------------------------------------ */

static void
map_by_scan (const struct stream *stream, uint64_t offset, uint64_t count,
             enum map_detail detail, struct run *run)
{
  const uint64_t last = (offset + count - 1) >> stream->grain_shift;
  uint64_t sector, end, next;

  run->state = stream_scan_find (stream->scan, offset >> stream->grain_shift,
                                 &sector, &end);
  while ((run->state != RUN_PACKED || detail == MAP_STATE) && end <= last
         && stream_scan_find (stream->scan, end, &sector, &next) == run->state)
    end = next;
  run->length = end > last ? count : (end << stream->grain_shift) - offset;
}

static int
stream_map (struct extent *extent, uint64_t offset, uint64_t count,
            enum map_detail detail, struct run *run, struct vmdk_error *err)
{
  struct stream *stream = (struct stream *) extent;

  if (stream->scan) {
    map_by_scan (stream, offset, count, detail, run);
    return 0;
  }
  if (grain_index_map (&stream->index, offset, count, detail, run, err) == -1)
    return -1;
  if (stream->writer)
    stream_writer_map (stream->writer, offset, run);
  return 0;
}

/* -- Writing ------------------------------------------------------------ */

/* See stream_writer_source.  Nobody changes this grain's entry meanwhile. */
static int
read_stored_grain (struct extent *extent, uint64_t grain, uint8_t *buf,
                   bool *absent, struct vmdk_error *err)
{
  struct stream *stream = (struct stream *) extent;
  const uint64_t start = grain << stream->grain_shift;
  struct run run;

  if (grain_index_map (&stream->index, start, 1, MAP_WHERE, &run, err) == -1)
    return -1;
  *absent = run.state == RUN_ABSENT;
  if (run.state == RUN_DAMAGED)
    return grain_index_damage (&stream->index, start, err);
  if (run.state == RUN_PACKED)
    return stream_unpack (stream, grain, buf, err);
  memset (buf, 0, extent->grain_size);
  return 0;
}

static int
stream_write (struct extent *extent, const void *buf, size_t count,
              uint64_t offset, const struct below *below,
              struct vmdk_error *err)
{
  return stream_writer_write (((struct stream *) extent)->writer, buf, count,
                              offset, below, err);
}

static int
stream_check (struct extent *extent, uint64_t count, uint64_t offset,
              unsigned flags, const struct below *below,
              struct vmdk_error *err)
{
  return stream_writer_check (((struct stream *) extent)->writer, count,
                              offset, flags, below, err);
}

static int
stream_zero (struct extent *extent, uint64_t count, uint64_t offset,
             unsigned flags, const struct below *below, struct vmdk_error *err)
{
  return stream_writer_zero (((struct stream *) extent)->writer, count, offset,
                             flags, below, err);
}

static int
stream_flush (struct extent *extent, struct vmdk_error *err)
{
  return stream_writer_flush (((struct stream *) extent)->writer, err);
}

static int
stream_finish (struct extent *extent, struct vmdk_error *err)
{
  return stream_writer_finish (((struct stream *) extent)->writer, err);
}

/* Whether the header says that we write, or were writing, to the extent: it
 * names the directory, and what looks like a footer is not yet true, or
 * somebody's data.
 */
static bool
is_being_written (const struct sparse_header *h)
{
  return h->unclean_shutdown && h->gd_offset != SPARSE_GD_AT_END;
}

static int
start_writer (struct stream *stream, const struct extent_source *source,
              struct vmdk_error *err)
{
  const struct stream_writer_source from = {
    .index = &stream->index,
    .header = &stream->header,
    .has_parent = source->has_parent,
    .has_footer = stream->gd_at_end,
    .begun = is_being_written (&stream->header) && !stream->gd_at_end,
    .read_stored = read_stored_grain,
  };

  if (stream->scan)
    return fail (err, ERR_READ_ONLY,
                 "cannot be written: a stream that has to be recovered");
  if (!source->single)
    return fail (err, ERR_READ_ONLY,
                 "cannot be written: one stream of several");
  stream->writer = stream_writer_new (&from, err);
  return stream->writer ? 0 : -1;
}

static void
stream_layout (struct extent *extent, struct extent_layout *layout)
{
  struct stream *stream = (struct stream *) extent;
  const struct sparse_header *h = &stream->header;
  const uint64_t directory_bytes =
    div_round_up (sparse_header_nr_tables (h) * 4, SECTOR_SIZE) * SECTOR_SIZE;
  const uint64_t text_end = sectors_to_bytes (
    h->descriptor_offset == 0 ? 1 : h->descriptor_offset + h->descriptor_size);

  *layout = (struct extent_layout){
    .index = stream->scan ? NULL : &stream->index,
    .header = h,
    .capacity = h->capacity,
    .unclean = h->unclean_shutdown,
    .start = max_u64 (text_end, sectors_to_bytes (h->overhead)),
    .end = extent->media->size,
    .unit = SECTOR_SIZE,
    .first_lba = stream->first_lba,
    .check_grain = stream_check_stored,
  };
  extent_layout_add (layout, "the header", 0, SPARSE_HEADER_SIZE);
  if (h->descriptor_offset != 0)
    extent_layout_add (layout, "the descriptor",
                       sectors_to_bytes (h->descriptor_offset),
                       sectors_to_bytes (h->descriptor_size));
  if (stream->scan)
    return;
  extent_layout_add (layout, "the grain directory",
                     stream->index.directory_offset, directory_bytes);
  if (stream->index.mirror_offset != 0)
    extent_layout_add (layout, "the redundant grain directory",
                       stream->index.mirror_offset, directory_bytes);
}

/* -- Opening and closing ------------------------------------------------ */

static void
stream_close (struct extent *extent)
{
  struct stream *stream = (struct stream *) extent;

  if (stream->owner != 0) {
    /* First: a job may be filling a block. */
    readahead_cancel (extent->rules->resources->readahead, stream);
    cache_forget (stream_cache (stream), stream->owner);
  }
  stream_writer_free (stream->writer);
  grain_index_destroy (&stream->index);
  stream_scan_free (stream->scan);
}

static const struct extent_ops stream_ops = {
  .name = "streamOptimized",
  .layout = stream_layout,
  .map = stream_map,
  .read = stream_read,
  .readahead = stream_readahead,
  .write = stream_write,
  .check = stream_check,
  .zero = stream_zero,
  .flush = stream_flush,
  .finish = stream_finish,
  .use_begin = grain_extent_use_begin,
  .use_end = grain_extent_use_end,
  .close = stream_close,
};

static int
read_header (struct stream *stream, bool *use_redundant,
             struct vmdk_error *err)
{
  const struct extent *extent = &stream->extent;
  struct sparse_header *h = &stream->header;
  uint8_t buf[SPARSE_HEADER_SIZE];

  if (extent->media->size < sizeof buf)
    return fail (err, ERR_CORRUPT,
                 "file of %" PRIu64
                 " bytes is too small for a sparse header of %zu",
                 extent->media->size, sizeof buf);
  if (media_pread (extent->media, buf, sizeof buf, 0, err) == -1)
    return -1;
  sparse_header_decode (buf, h);
  if (sparse_header_check (h, extent->media->size, use_redundant, err) == -1)
    return -1;
  if (sectors_to_bytes (h->capacity) < extent->size)
    return fail (err, ERR_CORRUPT,
                 "sparse header: capacity %" PRIu64
                 " is less than the descriptor's %" PRIu64 " sectors",
                 h->capacity, bytes_to_sectors (extent->size));
  return 0;
}

/* The stream has no directory, or WHY says what is wrong with it. */
static int
recover (struct stream *stream, const struct vmdk_error *why,
         struct vmdk_error *err)
{
  const struct extent *extent = &stream->extent;

  if (!extent->rules->recover_stream) {
    *err = *why;
    return -1;
  }
  log_warning (&extent->rules->log, "%s: %s: scanning the stream",
               NAME (extent->name), why->text);
  stream->scan =
    stream_scan_new (extent, &stream->header, stream->first_lba, err);
  return stream->scan ? 0 : -1;
}

/* Put the footer in the header's place, if there is one. */
static int
use_footer (struct stream *stream, bool *use_redundant, struct vmdk_error *err)
{
  const struct extent *extent = &stream->extent;
  struct sparse_header footer;
  struct vmdk_error why;
  bool found;

  stream->gd_at_end = stream->header.gd_offset == SPARSE_GD_AT_END;
  if (is_being_written (&stream->header))
    return 0;
  if (stream_footer_find (extent, &stream->header, &footer, &found, &why)
      == -1) {
    if (why.kind == ERR_CORRUPT)
      return recover (stream, &why, err);
    *err = why;
    return -1;
  }
  if (found) {
    stream->header = footer;
    return sparse_header_check (&footer, extent->media->size, use_redundant,
                                err);
  }
  if (stream->header.gd_offset != SPARSE_GD_AT_END)
    return 0;
  fail (&why, ERR_CORRUPT,
        "the stream's grain directory should be at its end, and there is no "
        "footer there: the file of %" PRIu64 " bytes was cut",
        extent->media->size);
  return recover (stream, &why, err);
}

static void
warn_of_header (const struct stream *stream, bool use_redundant)
{
  const struct extent *extent = &stream->extent;
  const struct sparse_header *h = &stream->header;

  if (h->unclean_shutdown)
    log_warning (&extent->rules->log,
                 "%s: was not closed cleanly (uncleanShutdown is set): what "
                 "was written last may be missing",
                 NAME (extent->name));
  if ((h->flags & SPARSE_REDUNDANT_TABLES) && !use_redundant)
    log_warning (&extent->rules->log,
                 "%s: rgdOffset %" PRIu64
                 " cannot be right: doing without the redundant tables",
                 NAME (extent->name), h->rgd_offset);
}

static int
start_index (struct stream *stream, bool use_redundant, struct vmdk_error *err)
{
  const struct sparse_header *h = &stream->header;
  struct grain_index *index = &stream->index;

  index->extent = &stream->extent;
  index->rules = &stream_rules;
  index->grain_size = stream->extent.grain_size;
  index->entries_per_table = h->nr_gtes_per_gt;
  index->nr_tables = sparse_header_nr_tables (h);
  index->entry_size = 4;
  index->directory_offset = sectors_to_bytes (h->gd_offset);
  index->mirror_offset = use_redundant ? sectors_to_bytes (h->rgd_offset) : 0;
  return grain_index_init (index, err);
}

static void
set_layout (struct stream *stream)
{
  struct extent *extent = &stream->extent;

  extent->grain_size = sectors_to_bytes (stream->header.grain_size);
  extent->can_be_absent = true;
  stream->grain_shift = __builtin_ctzll (extent->grain_size);
  stream->nr_grains = div_round_up (extent->size, extent->grain_size);
  stream->owner = cache_new_owner (stream_cache (stream));
}

struct extent *
extent_stream_open (const struct extent_source *source, struct vmdk_error *err)
{
  struct stream *stream =
    extent_alloc (sizeof *stream, &stream_ops, source, err);
  CLEANUP_EXTENT struct extent *extent = (struct extent *) stream;
  bool use_redundant;

  if (!stream)
    return NULL;
  if (!source->single)
    stream->first_lba = bytes_to_sectors (source->disk_offset);
  if (read_header (stream, &use_redundant, err) == -1
      || use_footer (stream, &use_redundant, err) == -1)
    return NULL;
  warn_of_header (stream, use_redundant || stream->scan);
  set_layout (stream);
  if (!stream->scan && start_index (stream, use_redundant, err) == -1)
    return NULL;
  if (source->writable && start_writer (stream, source, err) == -1)
    return NULL;
  return steal_ptr (&extent);
}
