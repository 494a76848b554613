/* SPDX-License-Identifier: BSD-3-Clause */

/* Looking at all tables.  See table-check.h.
 *
 * After a crash of ours the primary tables are right (a grain is on the
 * medium before its entry), the redundant ones may lag behind, and the file
 * may have room at its end that no entry names.  Whatever else is wrong is
 * left to a repair (check.h), which tells more of it.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "cleanup.h"
#include "grain-directory.h"
#include "log.h"
#include "room-map.h"
#include "table-check.h"
#include "table-walk.h"

struct check {
  struct grain_index *index;
  struct room_map *map;
  struct walked_table *table;
  bool only_look;      /* damage stays, and costs what depends on it */
  uint64_t end;        /* bytes: of the last grain or table so far */
  uint64_t nr_missing; /* tables that have no redundant copy */
  uint64_t nr_fixed;   /* redundant tables rewritten */
};

static int
fail_unrepaired (struct vmdk_error *err)
{
  err->kind = ERR_READ_ONLY;
  return fail_prefix (err, "cannot be written before it is repaired");
}

/* Take room; false if it was taken. */
static bool
take (struct check *check, uint64_t offset, uint64_t count)
{
  check->end = max_u64 (check->end, offset + count);
  return room_map_take (check->map, offset, count);
}

/* -- Tables ------------------------------------------------------------- */

static int
take_copy (struct check *check, const struct walked_copy *copy,
           struct vmdk_error *err)
{
  const struct grain_index *index = check->index;

  if (copy->is_bad && check->only_look)
    return 0;
  if (copy->is_bad) {
    *err = copy->bad;
    return fail_unrepaired (err);
  }
  if (copy->offset == 0 || take (check, copy->offset, index->table_bytes))
    return 0;
  fail (err, ERR_DAMAGED,
        "grain table %" PRIu64 " shares its place, byte %" PRIu64
        ", with another",
        check->table->nr, copy->offset);
  return fail_unrepaired (err);
}

/* The redundant copy follows the primary table. */
static int
fix_mirror (struct check *check, struct vmdk_error *err)
{
  const struct walked_table *table = check->table;
  const size_t size = check->index->table_bytes;

  if (!table->mirror.entries) {
    check->nr_missing += check->index->mirror_offset != 0;
    return 0;
  }
  if (memcmp (table->primary.entries, table->mirror.entries, size) == 0)
    return 0;
  check->nr_fixed++;
  return media_pwrite (check->index->extent->media, table->primary.entries,
                       size, table->mirror.offset, err);
}

/* Of a file that was closed cleanly both are the same. */
static int
compare_mirror (const struct check *check, struct vmdk_error *err)
{
  const struct walked_table *table = check->table;

  if (!table->primary.entries || !table->mirror.entries
      || memcmp (table->primary.entries, table->mirror.entries,
                 check->index->table_bytes)
           == 0)
    return 0;
  fail (err, ERR_DAMAGED, "grain table %" PRIu64 " differs from its copy",
        table->nr);
  return fail_unrepaired (err);
}

static int
check_table (struct check *check, bool fix, struct vmdk_error *err)
{
  const struct walked_table *table = check->table;

  if (take_copy (check, &table->primary, err) == -1
      || take_copy (check, &table->mirror, err) == -1)
    return -1;
  if (check->only_look)
    return compare_mirror (check, err);
  if (table->primary.entries)
    return fix ? fix_mirror (check, err) : 0;
  fail (err, ERR_DAMAGED,
        "only the redundant directory has grain table %" PRIu64, table->nr);
  return fail_unrepaired (err);
}

/* -- Grains ------------------------------------------------------------- */

/* How much room GRAIN takes, which begins at OFFSET.  Of the last one only
 * what the extent has of it is ever written in place.
 */
static uint64_t
room_of (const struct check *check, uint64_t grain, uint64_t offset)
{
  const struct extent *extent = check->index->extent;
  const uint64_t size = check->index->grain_size;
  const uint64_t start = grain << check->index->grain_shift;
  const uint64_t room = min_u64 (size, extent->media->size - offset);

  if (!check->only_look || start >= extent->size)
    return room;
  return min_u64 (room, extent->size - start);
}

static int
check_entry (struct check *check, uint64_t grain, uint64_t entry,
             struct vmdk_error *err)
{
  struct grain_index *index = check->index;
  uint64_t offset = 0;

  switch (index->rules->classify (index, grain, entry, &offset)) {
  case RUN_DATA:
    check->end = max_u64 (check->end, offset + index->grain_size);
    if (take (check, offset, room_of (check, grain, offset)))
      return 0;
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 " shares its place, byte %" PRIu64
          ", with another grain",
          grain, offset);
    return fail_unrepaired (err);
  case RUN_DAMAGED:
    if (check->only_look)
      return 0;
    index->rules->explain (index, grain, entry, err);
    return fail_unrepaired (err);
  case RUN_ABSENT:
  case RUN_HOLE:
  case RUN_ZERO:
  case RUN_PACKED:
    break;
  }
  return 0;
}

static int
check_entries (struct check *check, struct vmdk_error *err)
{
  const struct grain_index *index = check->index;
  const struct walked_table *table = check->table;
  const uint64_t first = table->nr << index->table_shift;

  for (uint64_t i = 0; table->primary.entries && i < index->entries_per_table
                       && first + i < index->nr_grains;
       i++) {
    const uint64_t entry = grain_entry_load (index, table->primary.entries, i);

    if (entry != 0 && check_entry (check, first + i, entry, err) == -1)
      return -1;
  }
  return 0;
}

/* All tables, or what is in them. */
static int
walk (struct check *check, bool grains, bool fix, struct vmdk_error *err)
{
  CLEANUP_TABLE_WALK struct table_walk *tables =
    table_walk_new (check->index, err);

  if (!tables)
    return -1;
  for (;;) {
    if (table_walk_next (tables, check->table, err) == -1)
      return -1;
    if (check->table->nr == check->index->nr_tables)
      return 0;
    if ((grains ? check_entries (check, err) : check_table (check, fix, err))
        == -1)
      return -1;
  }
}

/* Tables are brought in line when it is clear that they can be. */
static int
check_all (struct check *check, struct vmdk_error *err)
{
  const uint64_t nr_windows = room_map_nr_windows (check->map);

  for (uint64_t i = 0; i < nr_windows; i++) {
    room_map_turn (check->map, i);
    if (walk (check, false, false, err) == -1
        || walk (check, true, false, err) == -1)
      return -1;
  }
  room_map_turn (check->map, 0);
  return walk (check, false, true, err);
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

/* -- All of it ---------------------------------------------------------- */

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
  CLEANUP_ROOM_MAP struct room_map *map =
    room_map_new (media->size, SECTOR_SIZE, 0, err);
  CLEANUP_FREE struct walked_table *table = malloc (sizeof *table);
  struct check check = {
    .index = index,
    .map = map,
    .table = table,
    .end = least,
  };

  if (!map)
    return -1;
  if (!table)
    return fail_memory (err);
  if (check_all (&check, err) == -1 || cut (media, check.end, err) == -1
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

/* -- Before a clean file is written ------------------------------------- */

/* Opening must not wait for more. */
#define MAX_LOOKED_AT (UINT64_C (8) << 20)  /* bytes of tables */
#define MAX_LOOKED_IN (UINT64_C (32) << 30) /* of the file */
#define MAX_END (UINT64_C (128) << 30)      /* of the extent in its link */

int
table_check_look (struct grain_index *index, uint64_t disk_offset,
                  struct vmdk_error *err)
{
  const uint64_t size = index->extent->media->size;
  CLEANUP_ROOM_MAP struct room_map *map = NULL;
  CLEANUP_FREE struct walked_table *table = NULL;
  struct check check = { .index = index, .only_look = true };

  if (index->nr_tables > MAX_LOOKED_AT / index->table_bytes
      || size > MAX_LOOKED_IN || disk_offset + index->extent->size > MAX_END)
    return 0;
  check.map = map = room_map_new (size, SECTOR_SIZE, 0, err);
  if (!map)
    return -1;
  check.table = table = malloc (sizeof *table);
  if (!table)
    return fail_memory (err);
  for (uint64_t i = 0; i < room_map_nr_windows (map); i++) {
    room_map_turn (map, i);
    if (walk (&check, false, false, err) == -1
        || walk (&check, true, false, err) == -1)
      return -1;
  }
  return 0;
}

/* -- Before the file grows ---------------------------------------------- */

/* Entries are sector numbers in every format whose files grow. */
static bool
is_behind_end (const struct grain_index *index, uint64_t entry, uint64_t count)
{
  const uint64_t size = index->extent->media->size;

  return entry > bytes_to_sectors (size)
         || sectors_to_bytes (entry) + count > size;
}

/* A last grain may end with the file, which is no damage. */
static int
check_ends (const struct grain_index *index, uint64_t table,
            const struct walked_copy *copy, struct vmdk_error *err)
{
  const uint64_t first = table << index->table_shift;
  uint64_t offset;

  if (copy->is_bad && is_behind_end (index, copy->entry, index->table_bytes)) {
    *err = copy->bad;
    return fail_unrepaired (err);
  }
  for (uint64_t i = 0; copy->entries && i < index->entries_per_table
                       && first + i < index->nr_grains;
       i++) {
    const uint64_t entry = grain_entry_load (index, copy->entries, i);

    if (entry == 0 || !is_behind_end (index, entry, index->grain_size)
        || index->rules->classify (index, first + i, entry, &offset)
             != RUN_DAMAGED)
      continue;
    index->rules->explain (index, first + i, entry, err);
    return fail_unrepaired (err);
  }
  return 0;
}

int
table_check_can_grow (struct grain_index *index, struct vmdk_error *err)
{
  CLEANUP_TABLE_WALK struct table_walk *tables = table_walk_new (index, err);
  CLEANUP_FREE struct walked_table *table = malloc (sizeof *table);

  if (!tables)
    return -1;
  if (!table)
    return fail_memory (err);
  for (;;) {
    if (table_walk_next (tables, table, err) == -1)
      return -1;
    if (table->nr == index->nr_tables)
      return 0;
    if (check_ends (index, table->nr, &table->primary, err) == -1
        || check_ends (index, table->nr, &table->mirror, err) == -1)
      return -1;
  }
}
