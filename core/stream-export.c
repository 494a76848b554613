/* SPDX-License-Identifier: BSD-3-Clause */

/* Writing a stream from beginning to end.  See stream-export.h. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "deflate.h"
#include "stream-export.h"
#include "stream-marker.h"

/* Entries are 32-bit sector numbers. */
#define MAX_FILE_SECTORS (UINT64_C (1) << 32)

#define TABLE_SIZE (STREAM_TABLE_ENTRIES * 4)

#define NO_TABLE UINT64_MAX

struct stream_export {
  struct media *media;
  struct sparse_header header;
  bool no_footer;
  size_t grain_size; /* bytes */
  struct deflater_pool *deflaters;

  /* Of whoever places a piece, and in the end of whoever finishes. */
  uint64_t next;  /* sector */
  uint64_t table; /* the number of the one in entries, or NO_TABLE */
  uint8_t entries[TABLE_SIZE];
  uint8_t *directory;
  uint64_t nr_tables;
};

/* The most that a grain becomes: compressors store what does not get smaller,
 * in blocks with a few bytes more each.
 */
static size_t
packed_bound (size_t grain_size)
{
  return grain_size + grain_size / 1024 + 2 * SECTOR_SIZE;
}

static int
append (struct stream_export *s, const void *bytes, uint64_t count,
        struct vmdk_error *err)
{
  const uint64_t nr = bytes_to_sectors (count);

  if (nr >= MAX_FILE_SECTORS - s->next) {
    fail (err, ERR_SYSTEM,
          "the stream has reached the %" PRIu64
          " bytes that its tables can name; flat types can hold more",
          sectors_to_bytes (MAX_FILE_SECTORS));
    err->errnum = EFBIG;
    return -1;
  }
  if (media_pwrite (s->media, bytes, count, sectors_to_bytes (s->next), err)
      == -1)
    return -1;
  s->next += nr;
  return 0;
}

/* -- The beginning ------------------------------------------------------ */

static int
append_front (struct stream_export *s, const struct stream_export_rules *rules,
              struct vmdk_error *err)
{
  const size_t size = sectors_to_bytes (s->header.overhead);
  CLEANUP_FREE uint8_t *front = calloc (1, size);

  if (!front)
    return fail_memory (err);
  if (!s->no_footer) /* else there is no header as yet */
    stream_header_encode (&s->header, SPARSE_GD_AT_END, false, front);
  memcpy (front + SECTOR_SIZE, rules->text, rules->len);
  return append (s, front, size, err);
}

struct stream_export *
stream_export_new (struct media *media,
                   const struct stream_export_rules *rules,
                   struct vmdk_error *err)
{
  CLEANUP_STREAM_EXPORT struct stream_export *s = calloc (1, sizeof *s);

  if (!s) {
    fail_memory (err);
    return NULL;
  }
  s->media = media;
  s->header = stream_header_make (rules->nr_sectors, rules->grain,
                                  rules->text_sectors, 0);
  s->header.version = rules->version;
  s->no_footer = rules->no_footer;
  s->grain_size = sectors_to_bytes (rules->grain);
  s->table = NO_TABLE;
  s->nr_tables = sparse_header_nr_tables (&s->header);
  s->directory = calloc (stream_directory_sectors (s->nr_tables), SECTOR_SIZE);
  s->deflaters = deflater_pool_new (rules->level, err);
  if (!s->deflaters)
    return NULL;
  if (!s->directory) {
    fail_memory (err);
    return NULL;
  }
  if (append_front (s, rules, err) == -1)
    return NULL;
  return steal_ptr (&s);
}

void
stream_export_free (struct stream_export *s)
{
  if (!s)
    return;
  deflater_pool_free (s->deflaters);
  free (s->directory);
  free (s);
}

/* -- Grains ------------------------------------------------------------- */

/* The packed grains lie one after the other in piece->extra, and
 * piece->lengths has what each of them takes.
 */
static int
pack_piece (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  struct stream_export *s = opaque;
  const size_t nr = div_round_up (piece->count, s->grain_size);
  CLEANUP_DEFLATER struct deflater *deflater = NULL;
  uint8_t *to = piece->extra, *block;

  if (copy_find_zeros (piece, s->grain_size) == 0)
    return 0;
  deflater = deflater_take (s->deflaters, err);
  if (!deflater)
    return -1;
  for (size_t i = 0; i < nr; i++) {
    const size_t at = i * s->grain_size;

    if (piece->lengths[i] == 0)
      continue;
    if (stream_grain_encode (deflater, piece->bytes + at, s->grain_size,
                             bytes_to_sectors (piece->offset + at), &block,
                             &piece->lengths[i], err)
        == -1)
      return -1;
    if (piece->lengths[i] > packed_bound (s->grain_size))
      return fail (err, ERR_SYSTEM, "compressing made %zu bytes of %zu",
                   piece->lengths[i], s->grain_size);
    memcpy (to, block, piece->lengths[i]);
    to += piece->lengths[i];
  }
  return 0;
}

/* Append the table, if there is one. */
static int
end_table (struct stream_export *s, struct vmdk_error *err)
{
  uint8_t bytes[SECTOR_SIZE + TABLE_SIZE];

  if (s->table == NO_TABLE)
    return 0;
  stream_marker_encode (MARKER_GRAIN_TABLE, STREAM_TABLE_SECTORS, bytes);
  memcpy (bytes + SECTOR_SIZE, s->entries, TABLE_SIZE);
  le32_store (s->directory + s->table * 4, (uint32_t) s->next + 1);
  s->table = NO_TABLE;
  return append (s, bytes, sizeof bytes, err);
}

static int
begin_table (struct stream_export *s, uint64_t table, struct vmdk_error *err)
{
  if (s->table == table)
    return 0;
  if (end_table (s, err) == -1)
    return -1;
  s->table = table;
  memset (s->entries, 0, sizeof s->entries);
  return 0;
}

/* Append the grains [i, end) of PIECE, all of one table, which lie at FROM.
 * Returns the bytes that they take, or -1.
 */
static ssize_t
append_grains (struct stream_export *s, const struct copy_piece *piece,
               size_t i, size_t end, const uint8_t *from,
               struct vmdk_error *err)
{
  const uint64_t first = piece->offset / s->grain_size;
  size_t count = 0;

  for (; i < end; i++) {
    if (piece->lengths[i] == 0)
      continue;
    if (begin_table (s, (first + i) / STREAM_TABLE_ENTRIES, err) == -1)
      return -1;
    le32_store (s->entries + (first + i) % STREAM_TABLE_ENTRIES * 4,
                (uint32_t) (s->next + bytes_to_sectors (count)));
    count += piece->lengths[i];
  }
  if (count && append (s, from, count, err) == -1)
    return -1;
  return (ssize_t) count;
}

/* What was appended since sector FROM need not wait for the flush; but to the
 * page that is not full more will be appended.
 */
#define PAGE_SECTORS 8

static void
write_back_since (struct stream_export *s, uint64_t from)
{
  const uint64_t start = from / PAGE_SECTORS * PAGE_SECTORS;
  const uint64_t end = s->next / PAGE_SECTORS * PAGE_SECTORS;

  media_write_back (s->media, sectors_to_bytes (start),
                    sectors_to_bytes (end - start));
}

static int
append_piece (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  struct stream_export *s = opaque;
  const size_t nr = div_round_up (piece->count, s->grain_size);
  const uint64_t first = piece->offset / s->grain_size;
  const uint64_t before = s->next;
  const uint8_t *from = piece->extra;

  for (size_t i = 0, end; i < nr; i = end) {
    const size_t left =
      STREAM_TABLE_ENTRIES - (first + i) % STREAM_TABLE_ENTRIES;
    ssize_t count;

    end = min_u64 (nr, i + left);
    count = append_grains (s, piece, i, end, from, err);
    if (count == -1)
      return -1;
    from += count;
  }
  write_back_since (s, before);
  return 0;
}

struct copy_target
stream_export_target (struct stream_export *s)
{
  return (struct copy_target){
    .opaque = s,
    .unit = s->grain_size,
    .extra_size =
      COPY_PIECE_SIZE / s->grain_size * packed_bound (s->grain_size),
    .fill = pack_piece,
    .place = append_piece,
  };
}

/* -- The end ------------------------------------------------------------ */

/* *sector is where it is. */
static int
append_directory (struct stream_export *s, uint64_t *sector,
                  struct vmdk_error *err)
{
  const uint64_t nr = stream_directory_sectors (s->nr_tables);
  uint8_t marker[SECTOR_SIZE];

  stream_marker_encode (MARKER_GRAIN_DIRECTORY, nr, marker);
  if (append (s, marker, sizeof marker, err) == -1)
    return -1;
  *sector = s->next;
  return append (s, s->directory, sectors_to_bytes (nr), err);
}

/* Before the header says that this is a stream, the rest is one. */
static int
end_without_footer (struct stream_export *s, uint64_t directory,
                    struct vmdk_error *err)
{
  uint8_t bytes[SECTOR_SIZE];

  stream_marker_encode (MARKER_EOS, 0, bytes);
  if (append (s, bytes, sizeof bytes, err) == -1)
    return -1;
  stream_header_encode (&s->header, directory, false, bytes);
  return media_pwrite (s->media, bytes, sizeof bytes, 0, err);
}

int
stream_export_finish (struct stream_export *s, struct vmdk_error *err)
{
  uint8_t end[STREAM_END_SIZE];
  uint64_t directory;

  if (end_table (s, err) == -1 || append_directory (s, &directory, err) == -1)
    return -1;
  if (s->no_footer)
    return end_without_footer (s, directory, err);
  stream_end_encode (&s->header, directory, end);
  return append (s, end, sizeof end, err);
}

uint64_t
stream_export_bound (const struct stream_export_rules *rules,
                     uint64_t nr_grains, uint64_t nr_tables)
{
  const struct sparse_header h = stream_header_make (
    rules->nr_sectors, rules->grain, rules->text_sectors, 0);
  const size_t grain = packed_bound (sectors_to_bytes (rules->grain));
  const uint64_t directory =
    stream_directory_sectors (sparse_header_nr_tables (&h));

  return sectors_to_bytes (h.overhead + nr_tables * (1 + STREAM_TABLE_SECTORS)
                           + 1 + directory)
         + nr_grains * (grain / SECTOR_SIZE * SECTOR_SIZE) + STREAM_END_SIZE;
}
