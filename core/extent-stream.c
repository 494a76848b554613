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
 * they are written is in stream-write.h.
 *
 * Requests for whole grains, which is how disks are copied, are inflated
 * straight into the caller's buffer, on the caller's processor.  Parts of
 * grains go through the grain cache, and whoever reads them in order finds
 * the next ones inflated ahead.
 *
 * (1) A grain is as long as it says, and its header says which it is: a
 *     table entry that leads to another grain is an error, not data.
 * (2) Only grains that inflated without error are in the cache.
 * (3) No lock is held while a grain is read or inflated.
 */

#include <config.h>

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "extent.h"
#include "grain-table.h"
#include "grain-write.h"
#include "sparse-header.h"
#include "stream-footer.h"
#include "stream-marker.h"
#include "stream-scan.h"
#include "stream-write.h"

/* Incompressible data grow a little.  No writer comes near twice the size;
 * what is beyond does not deserve to be read.
 */
#define MAX_GROWTH 2

/* The most to read before the grain's header has told its length. */
#define MAX_FIRST_READ ((uint64_t) 128 << 10)

/* Sequential readers that are told apart, roughly. */
#define NR_RECENT 16

/* How many grains to be ahead of a sequential reader. */
#define READ_AHEAD 2

/* What one hint of the client may queue. */
#define MAX_HINTED 16

struct stream {
  struct extent extent;
  struct grain_index index;
  struct stream_scan *scan; /* in place of the index; NULL if there is one */
  struct stream_writer *writer; /* NULL: it is only read */
  struct sparse_header header;  /* the footer's, if there is one */
  bool gd_at_end;               /* said the header itself */
  uint64_t first_lba; /* of this extent in the disk; 0 if it is all of it */
  uint64_t nr_grains;
  unsigned grain_shift;
  uint64_t owner; /* of blocks in the grain cache; 0: none yet */

  /* The grains, plus 1, of which parts were read last: grain n is in slot
   * n % NR_RECENT.
   */
  _Atomic uint64_t recent[NR_RECENT];
};

/* Where a grain is stored. */
struct stored {
  uint64_t offset; /* of its header */
  uint64_t end;    /* likely not beyond this */
};

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

/* -- One grain ---------------------------------------------------------- */

/* Where GRAIN is, by its table ENTRY and the NEXT greater one. */
static int
find_grain (struct stream *stream, uint64_t grain, uint64_t entry,
            uint64_t next, struct stored *stored, struct vmdk_error *err)
{
  if (entry == 0
      || stream_classify (&stream->index, grain, entry, &stored->offset)
           != RUN_PACKED)
    return fail (err, ERR_DAMAGED, "grain table entry %" PRIu64 " is bad",
                 entry);
  stored->end =
    next != 0 ? sectors_to_bytes (next) : stream->extent.media->size;
  return 0;
}

/* Where GRAIN is, if it is stored. */
static int
look_up (struct stream *stream, uint64_t grain, struct stored *stored,
         struct vmdk_error *err)
{
  uint64_t entry, next, sector;

  if (stream->scan) {
    if (stream_scan_find (stream->scan, grain, &sector, &next) != RUN_PACKED)
      return fail (err, ERR_DAMAGED,
                   "not found in the stream, and may have been lost from it");
    stored->offset = sectors_to_bytes (sector);
    stored->end = stream->extent.media->size;
    return 0;
  }
  if (grain_index_entry (&stream->index, grain, &entry, &next, err) == -1)
    return -1;
  return find_grain (stream, grain, entry, next, stored, err);
}

/* Tell of ERR, which reading GRAIN gave.  Always returns -1. */
static int
report (struct stream *stream, uint64_t grain, struct vmdk_error *err)
{
  struct stored stored;
  struct vmdk_error again;

  if (err->errnum == ENOMEM)
    return -1;
  if (look_up (stream, grain, &stored, &again) == 0)
    fail_prefix (err, "grain %" PRIu64 " at sector %" PRIu64, grain,
                 bytes_to_sectors (stored.offset));
  else if (stream->scan)
    fail_prefix (err, "grain %" PRIu64, grain);
  else
    return grain_index_damage (&stream->index, grain << stream->grain_shift,
                               err);
  return extent_damaged (&stream->extent, grain, err);
}

/* invariant 1 */
static int
check_grain_header (const struct stream *stream, uint64_t grain,
                    const struct stored *stored, const uint8_t *header,
                    uint64_t *payload_size, struct vmdk_error *err)
{
  const uint64_t grain_size = stream->extent.grain_size;
  const uint64_t most = MAX_GROWTH * grain_size;
  const uint64_t lba = le64_load (header);
  const uint32_t size = le32_load (header + 8);
  const uint64_t expected = bytes_to_sectors (grain << stream->grain_shift);

  if (lba != expected && lba != expected + stream->first_lba)
    return fail (err, ERR_DAMAGED,
                 "its header says it is the data of sector %" PRIu64
                 ", not of %" PRIu64,
                 lba, expected);
  if (size == 0 || size > most)
    return fail (err, ERR_DAMAGED,
                 "its header says %" PRIu32
                 " bytes of compressed data, not 1 to %" PRIu64,
                 size, most);
  if (!range_inside (stored->offset + STREAM_GRAIN_HEADER_SIZE, size,
                     stream->extent.media->size))
    return fail (err, ERR_DAMAGED,
                 "its %" PRIu32
                 " bytes of compressed data end beyond the file's %" PRIu64
                 " bytes",
                 size, stream->extent.media->size);
  *payload_size = size;
  return 0;
}

/* How much to read at first: a good grain is then read whole. */
static uint64_t
first_read_size (const struct stream *stream, const struct stored *stored)
{
  const uint64_t usual = stream->extent.grain_size + 2 * SECTOR_SIZE;

  return min_u64 (min_u64 (usual, MAX_FIRST_READ),
                  min_u64 (stored->end, stream->extent.media->size)
                    - stored->offset);
}

/* Read a grain's header and compressed bytes into the inflater's buffer. */
static const uint8_t *
read_stored (struct stream *stream, uint64_t grain,
             const struct stored *stored, struct inflater *inflater,
             uint64_t *payload_size, struct vmdk_error *err)
{
  struct media *media = stream->extent.media;
  const uint64_t first = first_read_size (stream, stored);
  uint8_t *buf = inflater_buffer (inflater, first, err);
  uint64_t whole;

  if (!buf || media_pread (media, buf, first, stored->offset, err) == -1
      || check_grain_header (stream, grain, stored, buf, payload_size, err)
           == -1)
    return NULL;
  whole = STREAM_GRAIN_HEADER_SIZE + *payload_size;
  if (whole > first) {
    buf = inflater_buffer (inflater, whole, err);
    if (!buf || media_pread (media, buf, whole, stored->offset, err) == -1)
      return NULL;
  }
  return buf + STREAM_GRAIN_HEADER_SIZE;
}

/* A grain has its full length; qemu and open-vmdk store only the valid part
 * of the last one.
 */
static int
check_length (const struct stream *stream, uint64_t grain, size_t length,
              struct vmdk_error *err)
{
  const uint64_t start = grain << stream->grain_shift;
  const uint64_t valid =
    min_u64 (stream->extent.grain_size,
             sectors_to_bytes (stream->header.capacity) - start);

  if (length != stream->extent.grain_size && length != valid)
    return fail (err, ERR_DAMAGED, "it inflates to %zu bytes, not %" PRIu64,
                 length, valid);
  return 0;
}

/* What a request reads of a grain. */
struct copy {
  uint64_t grain;
  uint64_t key;         /* in the cache */
  struct stored stored; /* of an extent that is written */
  bool absent;          /* of such a one: there are zeros now */
};

/* Find GRAIN.  Of an extent that is written the cache has this copy or that,
 * under the place where it is stored; and what was there when the range was
 * mapped may have been dropped meanwhile.
 */
static int
find_copy (struct stream *stream, uint64_t grain, struct copy *copy,
           struct vmdk_error *err)
{
  uint64_t entry, next;

  *copy = (struct copy){ .grain = grain, .key = grain };
  if (!stream->writer)
    return 0;
  if (grain_index_entry (&stream->index, grain, &entry, &next, err) == -1)
    return report (stream, grain, err);
  copy->absent = entry == 0;
  if (copy->absent)
    return 0;
  if (find_grain (stream, grain, entry, next, &copy->stored, err) == -1)
    return report (stream, grain, err);
  copy->key = copy->stored.offset;
  return 0;
}

static int
find_stored (struct stream *stream, const struct copy *copy,
             struct stored *stored, struct vmdk_error *err)
{
  if (!stream->writer)
    return look_up (stream, copy->grain, stored, err);
  *stored = copy->stored;
  return 0;
}

/* Inflate a grain into OUT, which has room for a whole one. */
static int
unpack (struct stream *stream, const struct copy *copy,
        struct inflater *inflater, uint8_t *out, struct vmdk_error *err)
{
  const size_t grain_size = stream->extent.grain_size;
  const uint64_t grain = copy->grain;
  struct stored stored;
  uint64_t payload_size = 0;
  const uint8_t *payload;
  size_t length;

  if (find_stored (stream, copy, &stored, err) == -1)
    return -1;
  payload = read_stored (stream, grain, &stored, inflater, &payload_size, err);
  if (!payload
      || inflate_grain (inflater, payload, payload_size, out, grain_size,
                        &length, err)
           == -1
      || check_length (stream, grain, length, err) == -1)
    return -1;
  memset (out + length, 0, grain_size - length);
  log_debug (&stream->extent.rules->log, LOG_GRAINS,
             "%s: inflated grain %" PRIu64 ", %" PRIu64
             " bytes at sector %" PRIu64,
             NAME (stream->extent.name), grain, payload_size,
             bytes_to_sectors (stored.offset));
  return 0;
}

/* Borrow an inflater for a grain and its compressed bytes. */
static struct inflater *
take_inflater (const struct stream *stream, struct vmdk_error *err)
{
  return inflater_take (stream->extent.rules->resources->inflaters,
                        (1 + MAX_GROWTH) * stream->extent.grain_size, err);
}

/* -- Reading ------------------------------------------------------------ */

static struct cache *
grain_cache (const struct stream *stream)
{
  return stream->extent.rules->resources->grains;
}

/* Get a grain from the cache, inflating it if need be. */
static struct cache_block *
get_grain (struct stream *stream, const struct copy *copy,
           struct vmdk_error *err)
{
  struct cache *cache = grain_cache (stream);
  struct cache_block *block = cache_peek (cache, stream->owner, copy->key);
  CLEANUP_INFLATER struct inflater *inflater = NULL;
  bool fill;

  if (block)
    return block;
  inflater = take_inflater (stream, err);
  if (!inflater)
    return NULL;
  block = cache_get (cache, stream->owner, copy->key,
                     stream->extent.grain_size, &fill, err);
  if (!block || !fill)
    return block;
  if (unpack (stream, copy, inflater, block->data, err) == -1) {
    cache_abandon (cache, block); /* invariant 2 */
    report (stream, copy->grain, err);
    return NULL;
  }
  cache_publish (cache, block);
  return block;
}

static int
read_whole (struct stream *stream, const struct copy *copy, uint8_t *buf,
            struct vmdk_error *err)
{
  struct cache *cache = grain_cache (stream);
  struct cache_block *block = cache_peek (cache, stream->owner, copy->key);
  CLEANUP_INFLATER struct inflater *inflater = NULL;

  if (block) {
    memcpy (buf, block->data, block->size);
    cache_put (cache, block);
    return 0;
  }
  inflater = take_inflater (stream, err);
  if (!inflater)
    return -1;
  if (unpack (stream, copy, inflater, buf, err) == -1)
    return report (stream, copy->grain, err);
  return 0;
}

/* Whether the cache can hold what is read ahead until it is wanted: it has
 * room, or shows that it is a large one by what it holds.
 */
static bool
worth_reading_ahead (const struct stream *stream)
{
  const struct cache *cache = grain_cache (stream);
  const size_t needed = 2 * (READ_AHEAD + 1) * stream->extent.grain_size;

  return cache_has_room (cache, needed) || cache_used (cache) >= needed;
}

/* In the thread that reads ahead.  What fails here fails again for whoever
 * wants the grain, and is told then.
 */
static void
read_ahead (void *opaque, uint64_t grain)
{
  struct stream *stream = opaque;
  struct cache *cache = grain_cache (stream);
  struct cache_block *block = cache_peek (cache, stream->owner, grain);
  const struct copy copy = { .grain = grain, .key = grain };
  struct vmdk_error ignored;
  struct stored stored;

  if (block) {
    cache_put (cache, block);
    return;
  }
  if (look_up (stream, grain, &stored, &ignored) == -1)
    return;

  CLEANUP_INFLATER struct inflater *inflater =
    take_inflater (stream, &ignored);
  if (!inflater)
    return;
  block = cache_claim (cache, stream->owner, grain, stream->extent.grain_size);
  if (!block)
    return;
  if (unpack (stream, &copy, inflater, block->data, &ignored) == -1)
    cache_abandon (cache, block);
  else {
    cache_publish (cache, block);
    cache_put (cache, block);
  }
}

/* An extent that is written is not read ahead: the thread that does it would
 * have to hold off those who drop tables, and wait for them.
 */
static void
ask_ahead (struct stream *stream, uint64_t grain, uint64_t count)
{
  if (stream->writer || !worth_reading_ahead (stream))
    return;
  for (uint64_t g = grain; g < stream->nr_grains && g - grain < count; g++)
    readahead_ask (stream->extent.rules->resources->readahead, read_ahead,
                   stream, g);
}

/* A part of GRAIN is being read: is that in order? */
static void
note_part (struct stream *stream, uint64_t grain)
{
  _Atomic uint64_t *this = &stream->recent[grain % NR_RECENT];
  _Atomic uint64_t *before = &stream->recent[(grain - 1) % NR_RECENT];

  if (atomic_load_explicit (this, memory_order_relaxed) == grain + 1)
    return;
  atomic_store_explicit (this, grain + 1, memory_order_relaxed);
  if (grain > 0
      && atomic_load_explicit (before, memory_order_relaxed) == grain)
    ask_ahead (stream, grain + 1, READ_AHEAD);
}

static int
read_part (struct stream *stream, const struct copy *copy, uint8_t *buf,
           size_t count, size_t within, struct vmdk_error *err)
{
  struct cache_block *block;

  note_part (stream, copy->grain);
  block = get_grain (stream, copy, err);
  if (!block)
    return -1;
  memcpy (buf, block->data + within, count);
  cache_put (grain_cache (stream), block);
  return 0;
}

static int
read_grain (struct stream *stream, uint64_t grain, uint8_t *buf, size_t count,
            size_t within, struct vmdk_error *err)
{
  struct copy copy;

  if (stream->writer
      && stream_writer_read (stream->writer, grain, buf, count, within))
    return 0;
  if (find_copy (stream, grain, &copy, err) == -1)
    return -1;
  if (copy.absent) {
    memset (buf, 0, count);
    return 0;
  }
  return count == stream->extent.grain_size
           ? read_whole (stream, &copy, buf, err)
           : read_part (stream, &copy, buf, count, within, err);
}

static int
stream_read (struct extent *extent, void *buf, size_t count, uint64_t offset,
             struct vmdk_error *err)
{
  struct stream *stream = (struct stream *) extent;
  uint8_t *out = buf;

  while (count > 0) {
    const uint64_t grain = offset >> stream->grain_shift;
    const size_t within = offset & (extent->grain_size - 1);
    const size_t n = min_u64 (count, extent->grain_size - within);

    if (read_grain (stream, grain, out, n, within, err) == -1)
      return -1;
    out += n;
    offset += n;
    count -= n;
  }
  return 0;
}

static void
stream_readahead (struct extent *extent, uint64_t offset, uint64_t count)
{
  struct stream *stream = (struct stream *) extent;
  const uint64_t first = offset >> stream->grain_shift;
  const uint64_t last = (offset + count - 1) >> stream->grain_shift;

  ask_ahead (stream, first, min_u64 (last - first + 1, MAX_HINTED));
}

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

static int
unpack_stored (struct stream *stream, uint64_t grain, uint8_t *buf,
               struct vmdk_error *err)
{
  struct copy copy;
  CLEANUP_INFLATER struct inflater *inflater = NULL;

  if (find_copy (stream, grain, &copy, err) == -1)
    return -1;
  inflater = take_inflater (stream, err);
  if (!inflater)
    return -1;
  if (unpack (stream, &copy, inflater, buf, err) == -1)
    return report (stream, grain, err);
  return 0;
}

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
    return unpack_stored (stream, grain, buf, err);
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

/* -- Opening and closing ------------------------------------------------ */

static void
stream_close (struct extent *extent)
{
  struct stream *stream = (struct stream *) extent;

  if (stream->owner != 0) {
    /* First: a job may be filling a block. */
    readahead_cancel (extent->rules->resources->readahead, stream);
    cache_forget (grain_cache (stream), stream->owner);
  }
  stream_writer_free (stream->writer);
  grain_index_destroy (&stream->index);
  stream_scan_free (stream->scan);
}

static const struct extent_ops stream_ops = {
  .name = "streamOptimized",
  .map = stream_map,
  .read = stream_read,
  .readahead = stream_readahead,
  .write = stream_write,
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
  stream->owner = cache_new_owner (grain_cache (stream));
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
