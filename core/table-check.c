/* SPDX-License-Identifier: BSD-3-Clause */

/* Looking at all tables.  See table-check.h.
 *
 * After a crash of ours the primary tables are right (a grain is on the
 * medium before its entry), the redundant ones may lag behind, and the file
 * may have room at its end that no entry names.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "cleanup.h"
#include "grain-directory.h"
#include "log.h"
#include "table-check.h"

/* Grains of one sector (COWD) in a large file are not looked at for common
 * room: more than this many pieces would take too much memory.
 */
#define MAX_PIECES (UINT64_C (1) << 29)

struct check {
  struct grain_index *index;
  uint8_t *used; /* a bit for each grain-sized piece of the file */
  uint64_t nr_pieces;
  uint64_t end;        /* bytes: of the last grain or table so far */
  uint64_t nr_missing; /* tables that have no redundant copy */
  uint64_t nr_fixed;   /* redundant tables rewritten */
};

static void
note_end (struct check *check, uint64_t end)
{
  check->end = max_u64 (check->end, end);
}

/* Mark the pieces that a grain touches; false if one was marked.  Grains
 * need not be aligned, so a grain may touch two pieces; only whole overlaps
 * of aligned grains are sure to be seen.
 */
static bool
mark_grain (struct check *check, uint64_t media_offset)
{
  const uint64_t piece = media_offset >> check->index->grain_shift;

  if (media_offset & (check->index->grain_size - 1))
    return true;
  if (piece >= check->nr_pieces)
    return true;
  if (check->used[piece / 8] & 1 << piece % 8)
    return false;
  check->used[piece / 8] |= (uint8_t) (1 << piece % 8);
  return true;
}

static int
check_entry (struct check *check, uint64_t grain, uint64_t entry,
             struct vmdk_error *err)
{
  struct grain_index *index = check->index;
  uint64_t media_offset = 0;

  if (entry == 0 || grain >= index->nr_grains)
    return 0;
  switch (index->rules->classify (index, grain, entry, &media_offset)) {
  case RUN_DATA:
    note_end (check, media_offset + index->grain_size);
    if (mark_grain (check, media_offset))
      return 0;
    return fail (err, ERR_READ_ONLY,
                 "cannot be written: grain %" PRIu64
                 " shares its place, byte %" PRIu64
                 ", with another grain; repair the disk first",
                 grain, media_offset);
  case RUN_DAMAGED:
    index->rules->explain (index, grain, entry, err);
    err->kind = ERR_READ_ONLY;
    return fail_prefix (err, "cannot be written before it is repaired");
  case RUN_ABSENT:
  case RUN_HOLE:
  case RUN_ZERO:
  case RUN_PACKED:
    break;
  }
  return 0;
}

/* The redundant copy follows the primary table. */
static int
fix_mirror (struct check *check, const uint8_t *entries, uint64_t mirror,
            struct vmdk_error *err)
{
  const size_t size = check->index->table_bytes;
  struct media *media = check->index->extent->media;
  CLEANUP_FREE uint8_t *copy = malloc (size);

  if (!copy)
    return fail_memory (err);
  if (media_pread (media, copy, size, mirror, err) == -1)
    return -1;
  if (memcmp (copy, entries, size) == 0)
    return 0;
  check->nr_fixed++;
  return media_pwrite (media, entries, size, mirror, err);
}

static int
check_table (struct check *check, uint64_t table, uint8_t *entries,
             struct vmdk_error *err)
{
  struct grain_index *index = check->index;
  uint64_t offset, mirror;

  if (grain_index_places (index, table, &offset, &mirror, err) == -1)
    return -1;
  if (offset == 0)
    return mirror == 0 ? 0
                       : fail (err, ERR_READ_ONLY,
                               "cannot be written: only the redundant "
                               "directory has grain table %" PRIu64
                               "; repair the disk first",
                               table);
  if (media_pread (index->extent->media, entries, index->table_bytes, offset,
                   err)
      == -1)
    return -1;
  note_end (check, offset + index->table_bytes);
  for (uint64_t i = 0; i < index->entries_per_table; i++) {
    const uint64_t entry = index->entry_size == 4
                             ? le32_load (entries + i * 4)
                             : le64_load (entries + i * 8);

    if (check_entry (check, (table << index->table_shift) + i, entry, err)
        == -1)
      return -1;
  }
  if (mirror == 0) {
    check->nr_missing += index->mirror_offset != 0;
    return 0;
  }
  note_end (check, mirror + index->table_bytes);
  return fix_mirror (check, entries, mirror, err);
}

static int
check_tables (struct check *check, struct vmdk_error *err)
{
  CLEANUP_FREE uint8_t *entries = malloc (check->index->table_bytes);

  if (!entries)
    return fail_memory (err);
  for (uint64_t t = 0; t < check->index->nr_tables; t++)
    if (check_table (check, t, entries, err) == -1)
      return -1;
  return 0;
}

/* -- Tables without their copy ------------------------------------------ */

/* Put a copy of TABLE at the end of the file. */
static int
add_mirror (struct check *check, uint64_t table, uint64_t offset,
            struct vmdk_error *err)
{
  const size_t size = check->index->table_bytes;
  struct media *media = check->index->extent->media;
  CLEANUP_FREE uint8_t *entries = malloc (size);

  if (!entries)
    return fail_memory (err);
  if (media_pread (media, entries, size, offset, err) == -1
      || media_pwrite (media, entries, size, check->end, err) == -1
      || media_flush (media, err) == -1
      || grain_index_name_table (check->index, table, true, check->end, err)
           == -1)
    return -1;
  check->end += size;
  check->nr_fixed++;
  return 0;
}

static int
add_mirrors (struct check *check, struct vmdk_error *err)
{
  struct grain_index *index = check->index;

  if (check->nr_missing == 0)
    return 0;
  for (uint64_t t = 0; t < index->nr_tables; t++) {
    uint64_t offset, mirror;

    if (grain_index_places (index, t, &offset, &mirror, err) == -1
        || (offset != 0 && mirror == 0
            && add_mirror (check, t, offset, err) == -1))
      return -1;
  }
  if (media_flush (index->extent->media, err) == -1)
    return -1;
  grain_index_reload (index);
  return 0;
}

/* New room has to read as zeros. */
static int
cut (struct media *media, uint64_t end, struct vmdk_error *err)
{
  if (end >= media->size)
    return 0;
  return media_truncate (media, end, err);
}

int
table_check_recover (struct grain_index *index, uint64_t least, uint64_t *next,
                     struct vmdk_error *err)
{
  struct media *media = index->extent->media;
  struct check check = {
    .index = index,
    .end = least,
    .nr_pieces = min_u64 (media->size >> index->grain_shift, MAX_PIECES),
  };
  CLEANUP_FREE uint8_t *used = calloc (1, check.nr_pieces / 8 + 1);

  if (!used)
    return fail_memory (err);
  check.used = used;
  if (check_tables (&check, err) == -1 || cut (media, check.end, err) == -1
      || add_mirrors (&check, err) == -1 || media_flush (media, err) == -1)
    return -1;
  if (check.nr_fixed > 0)
    log_warning (&index->extent->rules->log,
                 "%s: brought %" PRIu64
                 " redundant grain tables in line after a crash",
                 NAME (index->extent->name), check.nr_fixed);
  *next = check.end;
  return 0;
}
