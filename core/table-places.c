/* SPDX-License-Identifier: BSD-3-Clause */

/* The list of the places of tables.  See table-places.h.
 *
 * Sorted stretches of the file: tables nearly always lie side by side, so
 * there are few.  Both directories are read past the cache and in order.
 * What an extent may make us remember is bounded, and so is the time that a
 * directory full of nonsense takes.
 */

#include <config.h>

#include <stdlib.h>

#include "grain-directory.h"
#include "grain-table.h"
#include "table-places.h"

/* Places of tables that are remembered, 16 bytes each. */
#define MAX_RANGES 8192

/* Entries that name no place, after which a directory is not searched on. */
#define MAX_BAD_ENTRIES 4096

struct table_ranges {
  size_t len;
  struct {
    uint64_t start, end;
  } range[]; /* sorted, apart */
};

void
table_places_init (struct table_places *places)
{
  pthread_mutex_init (&places->lock, NULL);
}

void
table_places_destroy (struct table_places *places)
{
  free (atomic_load (&places->ranges));
  pthread_mutex_destroy (&places->lock);
}

static int
compare_starts (const void *a, const void *b)
{
  const uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

  return (x > y) - (x < y);
}

/* Add a table's place to the ranges, joining it to the last one if it
 * follows.
 */
static void
add_range (struct table_ranges *ranges, uint64_t start, uint64_t size)
{
  if (ranges->len > 0 && ranges->range[ranges->len - 1].end == start)
    ranges->range[ranges->len - 1].end += size;
  else if (ranges->len < MAX_RANGES) {
    ranges->range[ranges->len].start = start;
    ranges->range[ranges->len].end = start + size;
    ranges->len++;
  }
}

/* The places of the tables of one directory, read a page at a time and past
 * the cache: this is done once.  Pages that cannot be read are left out;
 * what they name cannot be read either.
 */
static void
add_directory (const struct grain_index *index, uint64_t directory_offset,
               struct table_ranges *ranges)
{
  const uint64_t per_page = DIRECTORY_PAGE_SIZE / index->entry_size;
  struct vmdk_error ignored;
  uint8_t bytes[DIRECTORY_PAGE_SIZE];
  unsigned nr_bad = 0;

  for (uint64_t t = 0; t < index->nr_tables && nr_bad < MAX_BAD_ENTRIES;
       t += per_page) {
    size_t size;
    const uint64_t where =
      grain_directory_page (index, directory_offset, t / per_page, &size);

    if (media_pread (index->extent->media, bytes, size, where, &ignored) == -1)
      continue;
    for (size_t i = 0; i < size / index->entry_size; i++) {
      const uint64_t entry = grain_entry_load (index, bytes, i);
      uint64_t offset;

      if (entry == 0)
        continue;
      if (index->rules->locate (index, t + i, entry, &offset, &ignored) == 0)
        add_range (ranges, offset, index->table_bytes);
      else
        nr_bad++;
    }
  }
}

static struct table_ranges *
find_places (const struct grain_index *index)
{
  struct table_ranges *ranges =
    malloc (sizeof *ranges + MAX_RANGES * sizeof ranges->range[0]);

  if (!ranges)
    return NULL;
  ranges->len = 0;
  add_directory (index, index->directory_offset, ranges);
  if (index->mirror_offset != 0)
    add_directory (index, index->mirror_offset, ranges);
  qsort (ranges->range, ranges->len, sizeof ranges->range[0], compare_starts);

  /* Mostly there are only a few. */
  struct table_ranges *smaller = realloc (
    ranges, sizeof *ranges + (ranges->len + 1) * sizeof ranges->range[0]);
  return smaller ? smaller : ranges;
}

static const struct table_ranges *
get_places (struct grain_index *index)
{
  struct table_ranges *ranges =
    atomic_load_explicit (&index->places.ranges, memory_order_acquire);

  if (ranges)
    return ranges;
  /* Others wait: each of them would read the same. */
  LOCK_FOR_SCOPE (&index->places.lock);
  ranges = atomic_load (&index->places.ranges);
  if (!ranges) {
    ranges = find_places (index);
    atomic_store_explicit (&index->places.ranges, ranges,
                           memory_order_release);
  }
  return ranges;
}

bool
grain_index_hits_table (const struct grain_index *index, uint64_t offset,
                        uint64_t count)
{
  const struct table_ranges *ranges =
    get_places ((struct grain_index *) index);
  size_t low = 0, high = ranges ? ranges->len : 0;

  /* Find the first range that ends behind OFFSET. */
  while (low < high) {
    const size_t middle = low + (high - low) / 2;

    if (ranges->range[middle].end <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  return ranges && low < ranges->len
         && ranges->range[low].start < offset + count;
}
