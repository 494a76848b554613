/* SPDX-License-Identifier: BSD-3-Clause */

/* Reading all tables in order.  See table-walk.h.
 *
 * Directories are read a page at a time, tables through a window of the file
 * each for the primary and the redundant ones: producers write tables side
 * by side, so one read gets many.  Where they are scattered, no more is read
 * than is used.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "checked.h"
#include "grain-directory.h"
#include "table-walk.h"

#define PAGE_SIZE 4096
#define WINDOW_SIZE ((uint64_t) 128 << 10)

/* Bytes of the file, read ahead of use. */
struct window {
  uint64_t offset, length, room;
  uint64_t next; /* where the last table ended */
  uint8_t *bytes;
};

struct side {
  uint64_t directory_offset; /* 0: there is no such directory */
  struct window tables;
  uint8_t page[PAGE_SIZE];
};

struct table_walk {
  struct grain_index *index;
  uint64_t next;       /* table */
  uint64_t first, end; /* tables whose entries are in the pages */
  struct side primary, mirror;
};

static int
side_init (struct side *side, const struct grain_index *index,
           uint64_t directory_offset, struct vmdk_error *err)
{
  side->directory_offset = directory_offset;
  if (directory_offset == 0)
    return 0;
  side->tables.room = max_u64 (WINDOW_SIZE, index->table_bytes);
  side->tables.bytes = malloc (side->tables.room);
  return side->tables.bytes ? 0 : fail_memory (err);
}

struct table_walk *
table_walk_new (struct grain_index *index, struct vmdk_error *err)
{
  CLEANUP_TABLE_WALK struct table_walk *walk = calloc (1, sizeof *walk);

  if (!walk) {
    fail_memory (err);
    return NULL;
  }
  walk->index = index;
  if (side_init (&walk->primary, index, index->directory_offset, err) == -1
      || side_init (&walk->mirror, index, index->mirror_offset, err) == -1)
    return NULL;
  return steal_ptr (&walk);
}

void
table_walk_free (struct table_walk *walk)
{
  if (!walk)
    return;
  free (walk->primary.tables.bytes);
  free (walk->mirror.tables.bytes);
  free (walk);
}

/* Read the directory's entries from table FIRST on. */
static int
read_page (const struct grain_index *index, struct side *side, uint64_t first,
           uint64_t nr, struct vmdk_error *err)
{
  if (side->directory_offset == 0)
    return 0;
  return media_pread (index->extent->media, side->page, nr * index->entry_size,
                      side->directory_offset + first * index->entry_size, err);
}

static int
turn_page (struct table_walk *walk, struct vmdk_error *err)
{
  const struct grain_index *index = walk->index;
  const uint64_t first = walk->next;
  const uint64_t nr =
    min_u64 (PAGE_SIZE / index->entry_size, index->nr_tables - first);

  if (read_page (index, &walk->primary, first, nr, err) == -1
      || read_page (index, &walk->mirror, first, nr, err) == -1)
    return -1;
  walk->first = first;
  walk->end = first + nr;
  return 0;
}

/* The bytes of a table, which lies within the file. */
static const uint8_t *
read_table (const struct grain_index *index, struct window *window,
            uint64_t offset, struct vmdk_error *err)
{
  struct media *media = index->extent->media;
  const uint64_t size = index->table_bytes;
  const bool follows = offset == window->next;

  if (offset < window->offset
      || !range_inside (offset - window->offset, size, window->length)) {
    window->offset = offset;
    window->length = 0;
    const uint64_t length =
      follows ? min_u64 (window->room, media->size - offset) : size;
    if (media_pread (media, window->bytes, length, offset, err) == -1)
      return NULL;
    window->length = length;
  }
  window->next = offset + size;
  return window->bytes + (offset - window->offset);
}

static uint64_t
side_entry (const struct table_walk *walk, const struct side *side)
{
  return side->directory_offset == 0
           ? 0
           : grain_entry_load (walk->index, side->page,
                               walk->next - walk->first);
}

static int
open_copy (const struct grain_index *index, struct side *side, uint64_t table,
           struct walked_copy *copy, struct vmdk_error *err)
{
  if (copy->entry == 0)
    return 0;
  copy->is_bad =
    index->rules->locate (index, table, copy->entry, &copy->offset, &copy->bad)
    == -1;
  if (copy->is_bad) {
    copy->offset = 0;
    return 0;
  }
  copy->entries = read_table (index, &side->tables, copy->offset, err);
  return copy->entries
           ? 0
           : fail_prefix (err, "grain table %" PRIu64 " at byte %" PRIu64,
                          table, copy->offset);
}

/* One table in both directories: which of the two is it, and where is the
 * other?
 */
static void
check_same (struct walked_table *table)
{
  if (table->primary.entry == 0 || table->primary.entry != table->mirror.entry)
    return;
  fail (&table->primary.bad, ERR_DAMAGED,
        "grain directory entry %" PRIu64 " is %" PRIu64 " in both directories",
        table->nr, table->primary.entry);
  table->primary.is_bad = table->mirror.is_bad = true;
  table->primary.offset = table->mirror.offset = 0;
  table->primary.entries = table->mirror.entries = NULL;
  table->mirror.bad = table->primary.bad;
}

int
table_walk_next (struct table_walk *walk, struct walked_table *table,
                 struct vmdk_error *err)
{
  struct grain_index *index = walk->index;

  uint64_t entry = 0, mirror = 0;

  for (; walk->next < index->nr_tables; walk->next++) {
    if (walk->next == walk->end && turn_page (walk, err) == -1)
      return -1;
    entry = side_entry (walk, &walk->primary);
    mirror = side_entry (walk, &walk->mirror);
    if (entry != 0 || mirror != 0)
      break;
  }
  table->nr = walk->next;
  if (walk->next == index->nr_tables)
    return 0;
  table->primary = (struct walked_copy){ .entry = entry };
  table->mirror = (struct walked_copy){ .entry = mirror };
  if (open_copy (index, &walk->primary, table->nr, &table->primary, err) == -1
      || open_copy (index, &walk->mirror, table->nr, &table->mirror, err)
           == -1)
    return -1;
  check_same (table);
  walk->next++;
  return 0;
}
