/* SPDX-License-Identifier: BSD-3-Clause */

/* The end of a stream that is written.  See stream-append.h.
 *
 * Room is taken under a lock and filled without it, so grains that are
 * compressed at the same time are written at the same time.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "stream-append.h"
#include "stream-marker.h"
#include "table-changes.h"

/* Entries are 32-bit sector numbers. */
#define MAX_FILE_SIZE (SECTOR_SIZE * (UINT64_C (1) << 32))

/* Of a directory, which is looked at a piece at a time. */
#define PIECE_SIZE ((uint64_t) 1 << 20)

/* -- Making and freeing ------------------------------------------------- */

static const struct grain_writer_rules no_rules;

static int
check_kind (const struct stream_appender *a, struct vmdk_error *err)
{
  const struct sparse_header *h = &a->header;
  const struct extent *extent = a->extent;

  if (h->nr_gtes_per_gt != STREAM_TABLE_ENTRIES)
    return fail (err, ERR_READ_ONLY,
                 "cannot be written: its grain tables have %" PRIu32
                 " entries, not %d",
                 h->nr_gtes_per_gt, STREAM_TABLE_ENTRIES);
  if (h->flags & SPARSE_REDUNDANT_TABLES)
    return fail (err, ERR_READ_ONLY,
                 "cannot be written: a stream with redundant grain tables");
  if (h->capacity - bytes_to_sectors (extent->size) >= h->grain_size)
    return fail (err, ERR_READ_ONLY,
                 "cannot be written: header and descriptor disagree about its "
                 "size");
  if (extent->media->size > MAX_FILE_SIZE - SECTOR_SIZE)
    return fail (err, ERR_READ_ONLY,
                 "cannot be written: the file of %" PRIu64
                 " bytes can grow no more",
                 extent->media->size);
  return 0;
}

/* Where what counts ends: a footer is written again when we finish. */
static int
find_end (struct stream_appender *a, struct vmdk_error *err)
{
  struct media *media = a->extent->media;
  const uint64_t size = media->size;
  uint8_t end[STREAM_END_SIZE];

  a->end.next = div_round_up (size, SECTOR_SIZE) * SECTOR_SIZE;
  if (!a->has_footer || size % SECTOR_SIZE != 0 || size < STREAM_END_SIZE)
    return 0;
  if (media_pread (media, end, sizeof end, size - sizeof end, err) == -1)
    return -1;
  if (le32_load (end + 8) == 0 && le32_load (end + 12) == MARKER_FOOTER
      && le32_load (end + SECTOR_SIZE) == SPARSE_MAGIC)
    a->end.next = size - sizeof end;
  return 0;
}

int
stream_appender_init (struct stream_appender *a, struct vmdk_error *err)
{
  a->extent = a->index->extent;
  a->interrupted = a->end.begun;
  if (check_kind (a, err) == -1)
    return -1;
  pthread_mutex_init (&a->end.lock, NULL);
  a->ready = true;
  a->deflaters = deflater_pool_new (DEFLATE_DEFAULT_LEVEL, err);
  if (!a->deflaters || find_end (a, err) == -1)
    return -1;
  return grain_writer_init (&a->tables, a->index, &no_rules, 0, MAX_FILE_SIZE,
                            err);
}

void
stream_appender_destroy (struct stream_appender *a)
{
  if (!a->ready)
    return;
  grain_writer_destroy (&a->tables);
  deflater_pool_free (a->deflaters);
  pthread_mutex_destroy (&a->end.lock);
}

/* -- Beginning and appending -------------------------------------------- */

static int
write_header (struct stream_appender *a, uint64_t gd_offset, bool unclean,
              struct vmdk_error *err)
{
  uint8_t bytes[SPARSE_HEADER_SIZE];

  stream_header_encode (&a->header, gd_offset, unclean, bytes);
  return media_pwrite (a->extent->media, bytes, sizeof bytes, 0, err);
}

static uint64_t
directory_size (const struct stream_appender *a)
{
  return sectors_to_bytes (stream_directory_sectors (a->index->nr_tables));
}

/* Where the directory in front would be, in bytes; 0: there is no room. */
static uint64_t
front_offset (const struct stream_appender *a)
{
  const struct sparse_header *h = &a->header;
  const uint64_t size = bytes_to_sectors (directory_size (a));
  const uint64_t text_end =
    h->descriptor_offset == 0 ? 1 : h->descriptor_offset + h->descriptor_size;

  return text_end <= h->overhead && size <= h->overhead - text_end
           ? sectors_to_bytes (h->overhead - size)
           : 0;
}

/* Whether all tables that ENTRIES name, SIZE bytes of a directory, end before
 * sector END.
 */
static bool
tables_end_before (const uint8_t *entries, size_t size, uint64_t end)
{
  for (size_t i = 0; i < size; i += 4)
    if (le32_load (entries + i) + (uint64_t) STREAM_TABLE_SECTORS > end)
      return false;
  return true;
}

/* Whether there is a copy of the directory at FRONT, and the one at LAST can
 * be cut off.
 */
static int
is_spare (struct stream_appender *a, uint64_t front, uint64_t last,
          bool *spare, struct vmdk_error *err)
{
  struct media *media = a->extent->media;
  const uint64_t size = directory_size (a);
  const size_t piece = min_u64 (size, PIECE_SIZE);
  CLEANUP_FREE uint8_t *bytes = malloc (2 * piece);

  if (!bytes)
    return fail_memory (err);
  *spare = true;
  for (uint64_t done = 0; *spare && done < size;) {
    const size_t n = min_u64 (piece, size - done);

    if (media_pread (media, bytes, n, front + done, err) == -1
        || media_pread (media, bytes + piece, n, last + done, err) == -1)
      return -1;
    *spare = memcmp (bytes, bytes + piece, n) == 0
             && tables_end_before (bytes, n, bytes_to_sectors (last) - 1);
    done += n;
  }
  return 0;
}

/* Where the directory will be that is changed from now on, and where what
 * counts will end.  invariant 4
 */
static int
choose_directory (struct stream_appender *a, uint64_t *directory,
                  uint64_t *next, struct vmdk_error *err)
{
  struct media *media = a->extent->media;
  const uint64_t front = front_offset (a), size = directory_size (a);
  const uint64_t last = a->index->directory_offset;
  uint8_t marker[STREAM_MARKER_SIZE];
  struct stream_marker m;
  bool spare = false;

  *directory = last;
  *next = a->end.next;
  if (!a->has_footer || front == 0 || front + size > last)
    return 0;
  if (is_spare (a, front, last, &spare, err) == -1
      || media_pread (media, marker, sizeof marker, last - SECTOR_SIZE, err)
           == -1)
    return -1;
  if (!spare)
    return 0;
  *directory = front;
  m = stream_marker_decode (marker);
  if (last + size == a->end.next && m.size == 0
      && m.type == MARKER_GRAIN_DIRECTORY)
    *next = last - SECTOR_SIZE;
  return 0;
}

/* invariant 1.  Only then the old footer may go. */
static int
begin_first (struct stream_appender *a, struct vmdk_error *err)
{
  struct media *media = a->extent->media;
  uint64_t directory, next;
  LOCK_FOR_SCOPE (&a->end.lock);

  if (a->end.begun)
    return 0;
  if (choose_directory (a, &directory, &next, err) == -1
      || write_header (a, bytes_to_sectors (directory), true, err) == -1
      || media_flush (media, err) == -1)
    return -1;
  a->index->directory_offset = directory;
  a->end.next = next;
  if (media->size > next && media_truncate (media, next, err) == -1)
    return -1;
  a->end.begun = true;
  return 0;
}

static bool
has_begun (struct stream_appender *a)
{
  LOCK_FOR_SCOPE (&a->end.lock);

  return a->end.begun;
}

int
stream_appender_begin (struct stream_appender *a, struct vmdk_error *err)
{
  int r;

  if (has_begun (a))
    return 0;
  /* Nobody looks at the directory while it moves. */
  pthread_rwlock_wrlock (&a->tables.in_use);
  r = begin_first (a, err);
  pthread_rwlock_unlock (&a->tables.in_use);
  return r;
}

/* Get COUNT bytes, whole sectors, at the end of the file.  invariant 3 */
static int
take_room (struct stream_appender *a, uint64_t count, uint64_t *offset,
           struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&a->end.lock);

  if (count > MAX_FILE_SIZE - SECTOR_SIZE - a->end.next) {
    fail (err, ERR_SYSTEM,
          "the stream has reached the %" PRIu64
          " bytes that its tables can name",
          MAX_FILE_SIZE);
    err->errnum = ENOSPC;
    return -1;
  }
  *offset = a->end.next;
  a->end.next += count;
  return 0;
}

static int
write_marker (struct stream_appender *a, enum stream_marker_type type,
              uint64_t nr_sectors, uint64_t offset, struct vmdk_error *err)
{
  uint8_t bytes[SECTOR_SIZE];

  stream_marker_encode (type, nr_sectors, bytes);
  return media_pwrite (a->extent->media, bytes, sizeof bytes, offset, err);
}

/* Room for a new table, behind its marker. */
static int
allocate_table (void *opaque, uint64_t *offset, uint64_t *mirror,
                struct vmdk_error *err)
{
  struct stream_appender *a = opaque;
  const uint64_t size = a->index->table_bytes;
  uint64_t marker;

  if (take_room (a, SECTOR_SIZE + size, &marker, err) == -1
      || write_marker (a, MARKER_GRAIN_TABLE, bytes_to_sectors (size), marker,
                       err)
           == -1)
    return -1;
  *offset = marker + SECTOR_SIZE;
  *mirror = 0;
  return 0;
}

/* -- Storing a grain ---------------------------------------------------- */

static struct changed_table *
get_table (struct stream_appender *a, uint64_t grain, struct vmdk_error *err)
{
  return table_changes_get (a->index->changes, grain >> a->index->table_shift,
                            allocate_table, a, err);
}

int
stream_appender_forget (struct stream_appender *a, uint64_t grain,
                        struct vmdk_error *err)
{
  struct changed_table *table;
  uint64_t entry, next;

  if (grain_index_entry (a->index, grain, &entry, &next, err) == -1)
    return -1;
  if (entry == 0)
    return 0;
  table = get_table (a, grain, err);
  if (!table)
    return -1;
  table_changes_set (a->index->changes, table, grain, 0);
  table_changes_put (a->index->changes, table);
  return 0;
}

/* Append a block of COUNT bytes.  The mark comes after the write, as in
 * grain-write.c.
 */
static int
append (struct stream_appender *a, const uint8_t *bytes, size_t count,
        uint64_t *offset, struct vmdk_error *err)
{
  int r;

  if (take_room (a, count, offset, err) == -1)
    return -1;
  r = media_pwrite (a->extent->media, bytes, count, *offset, err);
  atomic_store (&a->tables.unflushed, true);
  return r;
}

static int
append_grain (struct stream_appender *a, uint64_t grain, const uint8_t *bytes,
              uint64_t *offset, struct vmdk_error *err)
{
  CLEANUP_DEFLATER struct deflater *deflater =
    deflater_take (a->deflaters, err);
  const uint64_t lba = bytes_to_sectors (grain << a->index->grain_shift);
  uint8_t *block;
  size_t size;

  if (!deflater
      || stream_grain_encode (deflater, bytes, a->index->grain_size, lba,
                              &block, &size, err)
           == -1)
    return -1;
  return append (a, block, size, offset, err);
}

/* The table comes first, so that nothing can fail once the grain is there. */
int
stream_appender_store (struct stream_appender *a, uint64_t grain,
                       const uint8_t *bytes, struct vmdk_error *err)
{
  struct changed_table *table;
  uint64_t offset;
  int r;

  if (!a->has_parent && bytes_are_zero (bytes, a->index->grain_size))
    return stream_appender_forget (a, grain, err);
  table = get_table (a, grain, err);
  if (!table)
    return -1;
  r = append_grain (a, grain, bytes, &offset, err);
  if (r == 0)
    table_changes_set (a->index->changes, table, grain,
                       bytes_to_sectors (offset));
  table_changes_put (a->index->changes, table);
  return r;
}

/* -- Finishing ---------------------------------------------------------- */

/* Copy the directory to TO. */
static int
copy_directory (struct stream_appender *a, uint64_t size, uint64_t to,
                struct vmdk_error *err)
{
  struct media *media = a->extent->media;
  const size_t piece = min_u64 (size, PIECE_SIZE);
  CLEANUP_FREE uint8_t *bytes = malloc (piece);

  if (!bytes)
    return fail_memory (err);
  for (uint64_t done = 0; done < size;) {
    const size_t n = min_u64 (piece, size - done);

    if (media_pread (media, bytes, n, a->index->directory_offset + done, err)
          == -1
        || media_pwrite (media, bytes, n, to + done, err) == -1)
      return -1;
    done += n;
  }
  return 0;
}

/* The directory, if it is not at the end as it is, and the footer, at *end;
 * *end becomes where they end, and *directory where the directory is.
 */
static int
write_end (struct stream_appender *a, uint64_t *end, uint64_t *directory,
           struct vmdk_error *err)
{
  const uint64_t size = directory_size (a);
  uint8_t last[STREAM_END_SIZE];

  *directory = a->index->directory_offset;
  if (*directory + size != *end || *directory == front_offset (a)) {
    *directory = *end + SECTOR_SIZE;
    if (write_marker (a, MARKER_GRAIN_DIRECTORY, bytes_to_sectors (size), *end,
                      err)
          == -1
        || copy_directory (a, size, *directory, err) == -1)
      return -1;
    *end = *directory + size;
  }
  stream_end_encode (&a->header, bytes_to_sectors (*directory), last);
  if (media_pwrite (a->extent->media, last, sizeof last, *end, err) == -1)
    return -1;
  *end += sizeof last;
  return 0;
}

static int
is_directory_empty (const struct stream_appender *a, bool *empty,
                    struct vmdk_error *err)
{
  const uint64_t size = directory_size (a);
  const size_t piece = min_u64 (size, PIECE_SIZE);
  CLEANUP_FREE uint8_t *bytes = malloc (piece);

  if (!bytes)
    return fail_memory (err);
  *empty = true;
  for (uint64_t done = 0; *empty && done < size; done += piece) {
    const size_t n = min_u64 (piece, size - done);

    if (media_pread (a->extent->media, bytes, n,
                     a->index->directory_offset + done, err)
        == -1)
      return -1;
    *empty = bytes_are_zero (bytes, n);
  }
  return 0;
}

int
stream_appender_show_empty (struct stream_appender *a, struct vmdk_error *err)
{
  struct changed_table *table;
  bool empty = false;

  if (!a->interrupted || !has_begun (a))
    return 0;
  if (is_directory_empty (a, &empty, err) == -1)
    return -1;
  if (!empty)
    return 0;
  table = get_table (a, 0, err);
  if (!table)
    return -1;
  table_changes_set (a->index->changes, table, 0, 0);
  table_changes_put (a->index->changes, table);
  return 0;
}

/* invariant 2.  What was written here is cut off when writing begins again,
 * with the directory that it was a copy of.
 */
int
stream_appender_finish (struct stream_appender *a, struct vmdk_error *err)
{
  struct media *media = a->extent->media;
  uint64_t end, directory;
  LOCK_FOR_SCOPE (&a->end.lock);

  if (!a->end.begun)
    return 0;
  end = a->end.next;
  if (write_end (a, &end, &directory, err) == -1
      || (media->size > end && media_truncate (media, end, err) == -1)
      || media_flush (media, err) == -1
      || write_header (a, SPARSE_GD_AT_END, false, err) == -1
      || media_flush (media, err) == -1)
    return -1;
  a->end.begun = false;
  /* The footer is what counts now, as if the file had just been opened: the
   * front is anybody's who needs room there.
   */
  if (a->index->directory_offset == front_offset (a)) {
    a->has_footer = true;
    a->index->directory_offset = directory;
    a->end.next = directory + directory_size (a);
  }
  return 0;
}
