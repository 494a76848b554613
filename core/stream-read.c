/* SPDX-License-Identifier: BSD-3-Clause */

/* Reading grains of a streamOptimized extent.  See stream-read.h.
 *
 * Requests for whole grains, which is how disks are copied, are inflated
 * straight into the caller's buffer, on the caller's processor.  Parts of
 * grains go through the grain cache, and whoever reads them in order finds
 * the next ones inflated ahead.
 */

#include <config.h>

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "log.h"
#include "stream-marker.h"
#include "stream-read.h"

/* Incompressible data grow a little.  No writer comes near twice the size;
 * what is beyond does not deserve to be read.
 */
#define MAX_GROWTH 2

/* The most to read before the grain's header has told its length. */
#define MAX_FIRST_READ ((uint64_t) 128 << 10)

/* How many grains to be ahead of a sequential reader. */
#define READ_AHEAD 2

/* What one hint of the client may queue. */
#define MAX_HINTED 16

/* Where a grain is stored. */
struct stored {
  uint64_t offset; /* of its header */
  uint64_t end;    /* likely not beyond this */
};

/* -- One grain ---------------------------------------------------------- */

/* Where GRAIN is, by its table ENTRY and the NEXT greater one. */
static int
find_grain (struct stream *stream, uint64_t grain, uint64_t entry,
            uint64_t next, struct stored *stored, struct vmdk_error *err)
{
  if (entry == 0
      || stream->index.rules->classify (&stream->index, grain, entry,
                                        &stored->offset)
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

int
stream_check_stored (struct extent *extent, uint64_t grain,
                     uint64_t media_offset, uint64_t *length,
                     struct vmdk_error *err)
{
  const struct stored stored = { .offset = media_offset };
  uint8_t header[STREAM_GRAIN_HEADER_SIZE];

  if (media_pread (extent->media, header, sizeof header, media_offset, err)
        == -1
      || check_grain_header ((struct stream *) extent, grain, &stored, header,
                             length, err)
           == -1)
    return fail_prefix (err, "grain %" PRIu64 " at sector %" PRIu64, grain,
                        bytes_to_sectors (media_offset));
  *length += sizeof header;
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

/* Get a grain from the cache, inflating it if need be. */
static struct cache_block *
get_grain (struct stream *stream, const struct copy *copy,
           struct vmdk_error *err)
{
  struct cache *cache = stream_cache (stream);
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
  struct cache *cache = stream_cache (stream);
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
  const struct cache *cache = stream_cache (stream);
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
  struct cache *cache = stream_cache (stream);
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
  _Atomic uint64_t *this = &stream->recent[grain % STREAM_NR_RECENT];
  _Atomic uint64_t *before = &stream->recent[(grain - 1) % STREAM_NR_RECENT];

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
  cache_put (stream_cache (stream), block);
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

int
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

void
stream_readahead (struct extent *extent, uint64_t offset, uint64_t count)
{
  struct stream *stream = (struct stream *) extent;
  const uint64_t first = offset >> stream->grain_shift;
  const uint64_t last = (offset + count - 1) >> stream->grain_shift;

  ask_ahead (stream, first, min_u64 (last - first + 1, MAX_HINTED));
}

int
stream_unpack (struct stream *stream, uint64_t grain, uint8_t *buf,
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
