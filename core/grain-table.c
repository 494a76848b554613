/* SPDX-License-Identifier: BSD-3-Clause */

/* The two-level index.  See grain-table.h.
 *
 * Directory pages and tables are blocks of the table cache; one owner number
 * an extent, and an index that tells them apart:
 *
 *   table n            n
 *   directory page n   DIRECTORY_PAGE | n
 *   redundant page n   MIRROR_PAGE | n
 *
 * Looking up a grain whose table is cached takes one cache access and no
 * directory.  A table that is not: directory page, locate, ask whether the
 * table lies in a hole of the file, read it.
 */

#include <config.h>

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "grain-directory.h"
#include "grain-table.h"
#include "log.h"
#include "table-changes.h"

/* Up to this many bytes of neighbouring tables are loaded with one read. */
#define BATCH_SIZE (128 << 10)
#define MAX_BATCH 64 /* at most 64: bits of seen.zeros */

/* A table in use.  ENTRIES is NULL when it is absent or all zeros, and then
 * NR_ABSENT tables from this one on (at least 1) are.
 */
struct table {
  struct cache_block *block;     /* or */
  struct changed_table *changed; /* or neither */
  const uint8_t *entries;
  uint64_t nr_absent;
};

/* An entry of a table, which may be changing; it is aligned. */
static inline uint64_t
load_table_entry (const struct grain_index *index, const uint8_t *entries,
                  size_t i)
{
  if (index->entry_size == 4)
    return le32toh (
      __atomic_load_n ((const uint32_t *) entries + i, __ATOMIC_ACQUIRE));
  return le64toh (
    __atomic_load_n ((const uint64_t *) entries + i, __ATOMIC_ACQUIRE));
}

int
grain_index_init (struct grain_index *index, struct vmdk_error *err)
{
  assert (is_power_of_2 (index->grain_size));
  assert (is_power_of_2 (index->entries_per_table));
  assert (index->entry_size == 4 || index->entry_size == 8);

  (void) err;
  index->grain_shift = __builtin_ctzll (index->grain_size);
  index->table_shift = __builtin_ctzll (index->entries_per_table);
  index->nr_grains = div_round_up (index->extent->size, index->grain_size);
  index->table_bytes = index->entries_per_table * index->entry_size;
  index->cache = index->extent->rules->resources->tables;
  index->owner = cache_new_owner (index->cache);
  atomic_init (&index->last_table, UINT64_MAX);
  pthread_mutex_init (&index->seen.lock, NULL);
  pthread_mutex_init (&index->holes.lock, NULL);
  table_places_init (&index->places);
  index->ready = true;
  return 0;
}

void
grain_index_destroy (struct grain_index *index)
{
  if (!index->ready)
    return;
  cache_forget (index->cache, index->owner);
  table_places_destroy (&index->places);
  pthread_mutex_destroy (&index->holes.lock);
  pthread_mutex_destroy (&index->seen.lock);
  index->ready = false;
}

/* How many tables from TABLE, at OFFSET, may be loaded with one read: those
 * that follow in the file as they do in the directory.  More than one only
 * if nothing useful is dropped for it or tables are used in order.
 */
static size_t
batch_length (struct grain_index *index, const struct directory_page *page,
              uint64_t table, uint64_t offset)
{
  const uint64_t last = atomic_exchange (&index->last_table, table);
  const uint64_t end = page->first + page->len;
  size_t most = BATCH_SIZE / index->table_bytes, n = 1;
  struct vmdk_error ignored;
  uint64_t next;

  if (most > MAX_BATCH)
    most = MAX_BATCH;
  if (most <= 1
      || (last + 1 != table
          && !cache_has_room (index->cache, most * index->table_bytes)))
    return 1;
  while (n < most && table + n < end
         && grain_directory_locate (index, page, table + n, &next, &ignored)
              == 0
         && next == offset + n * index->table_bytes)
    n++;
  atomic_store (&index->last_table, table + n - 1);
  return n;
}

/* Put a table that was read into the cache, unless somebody has it there or
 * is about to.
 */
static void
offer_table (struct grain_index *index, uint64_t table, const uint8_t *bytes)
{
  struct cache_block *block =
    cache_claim (index->cache, index->owner, table, index->table_bytes);

  if (!block)
    return;
  memcpy (block->data, bytes, index->table_bytes);
  cache_publish (index->cache, block);
  cache_put (index->cache, block);
}

/* The neighbours of a table that was asked for: to the cache, but for those
 * that are zeros, of which nearly all of a scattered disk consists.  These
 * are only remembered until the next ones are read.
 */
static void
offer_tables (struct grain_index *index, uint64_t table, const uint8_t *bytes,
              size_t n)
{
  uint64_t zeros = 0;

  for (size_t i = 0; i < n; i++) {
    const uint8_t *entries = bytes + i * index->table_bytes;

    if (bytes_are_zero (entries, index->table_bytes))
      zeros |= UINT64_C (1) << i;
    else
      offer_table (index, table + i, entries);
  }

  LOCK_FOR_SCOPE (&index->seen.lock);
  index->seen.zeros_first = table;
  index->seen.zeros = zeros;
}

/* Read N tables from TABLE on, the first of them to FIRST.  The rest goes to
 * the cache by the way.
 */
static int
read_tables (struct grain_index *index, uint64_t table, uint64_t offset,
             uint8_t *first, size_t n, struct vmdk_error *err)
{
  struct media *media = index->extent->media;
  uint8_t buffer[BATCH_SIZE];

  log_debug (&index->extent->rules->log, LOG_TABLES,
             "%s: loading grain tables %" PRIu64 " to %" PRIu64
             " from byte %" PRIu64,
             NAME (index->extent->name), table, table + n - 1, offset);
  if (n == 1)
    return media_pread (media, first, index->table_bytes, offset, err);

  if (media_pread (media, buffer, n * index->table_bytes, offset, err) == -1)
    return -1;
  memcpy (first, buffer, index->table_bytes);
  offer_tables (index, table + 1, buffer + index->table_bytes, n - 1);
  return 0;
}

/* *BLOCK is ours to fill: load the table, and its neighbours if that is
 * cheap.  A table of zeros is kept without its bytes.
 */
static int
load_tables (struct grain_index *index, const struct directory_page *page,
             uint64_t table, uint64_t offset, struct cache_block **block,
             struct vmdk_error *err)
{
  const size_t n = batch_length (index, page, table, offset);

  if (read_tables (index, table, offset, (*block)->data, n, err) == -1) {
    cache_abandon (index->cache, *block);
    return -1;
  }
  if (bytes_are_zero ((*block)->data, index->table_bytes))
    *block = cache_shrink (index->cache, *block, 0);
  cache_publish (index->cache, *block);
  return 0;
}

/* What a block of the cache says; see load_tables. */
static void
use_block (struct table *table, struct cache_block *block)
{
  table->block = block;
  table->entries = block->size > 0 ? block->data : NULL;
  table->nr_absent = 1;
}

/* Get a table whose directory page is open. */
static int
get_table_by_page (struct grain_index *index,
                   const struct directory_page *page, uint64_t table,
                   struct table *out, struct vmdk_error *err)
{
  struct cache_block *block;
  uint64_t offset;
  bool fill;

  if (grain_directory_locate (index, page, table, &offset, err) == -1)
    return -1;
  if (offset == 0 || grain_directory_in_hole (index, offset)) {
    const uint64_t n = grain_directory_count_absent (index, page, table);
    LOCK_FOR_SCOPE (&index->seen.lock);

    index->seen.absent_first = table;
    index->seen.absent_end = table + n;
    out->nr_absent = n;
    return 0;
  }
  block = cache_get (index->cache, index->owner, table, index->table_bytes,
                     &fill, err);
  if (!block)
    return -1;
  if (fill && load_tables (index, page, table, offset, &block, err) == -1)
    return fail_prefix (err, "grain table %" PRIu64, table);
  use_block (out, block);
  return 0;
}

/* How many tables from TABLE on are known to be absent without a look. */
static uint64_t
known_absent (struct grain_index *index, uint64_t table)
{
  LOCK_FOR_SCOPE (&index->seen.lock);
  const uint64_t i = table - index->seen.zeros_first;

  if (table >= index->seen.absent_first && table < index->seen.absent_end)
    return index->seen.absent_end - table;
  if (table < index->seen.zeros_first || i >= 64)
    return 0;
  /* How many bits from I on are set; the highest never is. */
  return __builtin_ctzll (~(index->seen.zeros >> i));
}

/* Tables that were changed come first: what is in the cache or on the medium
 * is older.  A stretch of absent tables may have changed ones in it.
 */
static bool
get_changed (struct grain_index *index, uint64_t table, struct table *out)
{
  out->changed = table_changes_find (index->changes, table);
  if (!out->changed)
    return false;
  out->entries = out->changed->entries;
  return true;
}

static void
put_table (struct grain_index *index, struct table *table)
{
  cache_put (index->cache, table->block);
  if (table->changed)
    table_changes_put (index->changes, table->changed);
}

static int
get_unchanged (struct grain_index *index, uint64_t table, struct table *out,
               struct vmdk_error *err)
{
  struct cache_block *block = cache_peek (index->cache, index->owner, table);
  struct directory_page page;
  int r;

  if (block) {
    use_block (out, block);
    return 0;
  }
  out->nr_absent = known_absent (index, table);
  if (out->nr_absent > 0)
    return 0;
  if (directory_page_open (index, table, &page, err) == -1)
    return -1;
  r = get_table_by_page (index, &page, table, out, err);
  directory_page_put (index, &page);
  return r;
}

static int
get_table (struct grain_index *index, uint64_t table, struct table *out,
           struct vmdk_error *err)
{
  *out = (struct table){ 0 };
  if (!index->changes || !table_changes_any (index->changes))
    return get_unchanged (index, table, out, err);
  if (get_changed (index, table, out))
    return 0;
  if (get_unchanged (index, table, out, err) == -1)
    return -1;
  out->nr_absent = 1;
  return 0;
}

/* Look at the redundant table for an entry that cannot be right in the
 * primary one.  Returns what the copy says, or RUN_DAMAGED.
 */
static enum run_state
classify_by_mirror (struct grain_index *index, uint64_t grain, uint64_t entry,
                    uint64_t *media_offset)
{
  const uint64_t table = grain >> index->table_shift;
  const uint64_t i = grain & (index->entries_per_table - 1);
  struct vmdk_error ignored;
  uint8_t bytes[8] = { 0 };
  struct directory_page page;
  uint64_t mirror, offset, copy;
  enum run_state state;

  if (index->mirror_offset == 0
      || directory_page_open (index, table, &page, &ignored) == -1)
    return RUN_DAMAGED;
  mirror = grain_entry_load (index, page.mirror->data, table - page.first);
  directory_page_put (index, &page);

  if (mirror == 0
      || index->rules->locate (index, table, mirror, &offset, &ignored) == -1
      || media_pread (index->extent->media, bytes, index->entry_size,
                      offset + i * index->entry_size, &ignored)
           == -1)
    return RUN_DAMAGED;
  copy = grain_entry_load (index, bytes, 0);
  if (copy == entry || copy == 0)
    return RUN_DAMAGED;
  state = index->rules->classify (index, grain, copy, media_offset);
  if (state != RUN_DAMAGED && !atomic_exchange (&index->mirror_used, true))
    log_warning (&index->extent->rules->log,
                 "%s: grain %" PRIu64 ": grain table entry %" PRIu64
                 " cannot be right: using the redundant table's %" PRIu64
                 " in its place",
                 NAME (index->extent->name), grain, entry, copy);
  return state;
}

static inline enum run_state
classify (struct grain_index *index, uint64_t grain, uint64_t entry,
          uint64_t *media_offset)
{
  enum run_state state;

  if (entry == 0)
    return RUN_ABSENT;
  state = index->rules->classify (index, grain, entry, media_offset);
  if (state == RUN_DAMAGED)
    return classify_by_mirror (index, grain, entry, media_offset);
  return state;
}

/* A run that is being extended, in grains. */
struct growing {
  bool started;
  enum run_state state;
  enum map_detail detail;
  uint64_t media_offset; /* of the first grain */
  uint64_t nr_grains;
};

/* Add one grain.  Returns false if it does not belong to the run. */
static inline bool
grow (struct growing *g, const struct grain_index *index, enum run_state state,
      uint64_t media_offset)
{
  if (!g->started) {
    g->started = true;
    g->state = state;
    g->media_offset = media_offset;
    g->nr_grains = 1;
    return true;
  }
  if (state != g->state)
    return false;
  if (g->detail == MAP_WHERE
      && (state == RUN_PACKED
          || (state == RUN_DATA
              && media_offset
                   != g->media_offset + (g->nr_grains << index->grain_shift))))
    return false;
  g->nr_grains++;
  return true;
}

/* Add N grains that are alike and not DATA or PACKED. */
static inline bool
grow_many (struct growing *g, enum run_state state, uint64_t n)
{
  if (!g->started) {
    *g = (struct growing){
      .started = true, .state = state, .detail = g->detail, .nr_grains = n
    };
    return true;
  }
  if (state != g->state)
    return false;
  g->nr_grains += n;
  return true;
}

/* Add the grains from *grain to END that are entries of one table.  Moves
 * *grain on; returns false when the run has ended.
 */
static bool
grow_by_table (struct growing *g, struct grain_index *index,
               const uint8_t *entries, uint64_t *grain, uint64_t end)
{
  const uint64_t mask = index->entries_per_table - 1;

  while (*grain < end) {
    const uint64_t entry = load_table_entry (index, entries, *grain & mask);
    uint64_t media_offset = 0;
    const enum run_state state =
      classify (index, *grain, entry, &media_offset);

    if (!grow (g, index, state, media_offset))
      return false;
    ++*grain;
  }
  return true;
}

int
grain_index_map (struct grain_index *index, uint64_t offset, uint64_t count,
                 enum map_detail detail, struct run *run,
                 struct vmdk_error *err)
{
  const uint64_t first = offset >> index->grain_shift;
  const uint64_t end = ((offset + count - 1) >> index->grain_shift) + 1;
  const uint64_t within = offset & (index->grain_size - 1);
  struct growing g = { .detail = detail };
  uint64_t grain = first;
  bool more = true;

  while (more && grain < end) {
    const uint64_t table_nr = grain >> index->table_shift;
    uint64_t nr_tables = 1;
    uint64_t stop;
    enum run_state state = RUN_ABSENT;
    struct table table;

    if (get_table (index, table_nr, &table, err) == -1) {
      if (err->errnum == ENOMEM)
        return -1;
      state = RUN_DAMAGED;
    }
    else if (!table.entries)
      nr_tables = table.nr_absent;
    stop = min_u64 (end, (table_nr + nr_tables) << index->table_shift);

    if (table.entries)
      more = grow_by_table (&g, index, table.entries, &grain, stop);
    else {
      more = grow_many (&g, state, stop - grain);
      grain = stop;
    }
    put_table (index, &table);
  }

  run->state = g.state;
  run->length = min_u64 (count, (g.nr_grains << index->grain_shift) - within);
  if (g.state == RUN_DATA) {
    run->media = index->extent->media;
    run->media_offset = g.media_offset + within;
  }
  return 0;
}

/* The smallest entry above ENTRY in a table, or 0. */
static uint64_t
next_higher (const struct grain_index *index, const uint8_t *entries,
             uint64_t entry)
{
  uint64_t next = 0;

  for (size_t i = 0; i < index->entries_per_table; i++) {
    const uint64_t e = load_table_entry (index, entries, i);

    if (e > entry && (next == 0 || e < next))
      next = e;
  }
  return next;
}

int
grain_index_entry (struct grain_index *index, uint64_t grain, uint64_t *entry,
                   uint64_t *next, struct vmdk_error *err)
{
  const uint64_t mask = index->entries_per_table - 1;
  struct table table;

  *entry = 0;
  if (next)
    *next = 0;
  if (get_table (index, grain >> index->table_shift, &table, err) == -1)
    return -1;
  if (!table.entries) {
    put_table (index, &table);
    return 0;
  }
  *entry = load_table_entry (index, table.entries, grain & mask);
  if (next) {
    /* Nearly always the next grain in order is the next in the file. */
    const uint64_t after =
      (grain & mask) == mask
        ? 0
        : load_table_entry (index, table.entries, (grain & mask) + 1);

    *next = after > *entry && after - *entry <= 2 * (index->grain_size >> 9)
              ? after
              : next_higher (index, table.entries, *entry);
  }
  put_table (index, &table);
  return 0;
}

int
grain_index_damage (struct grain_index *index, uint64_t offset,
                    struct vmdk_error *err)
{
  const uint64_t grain = offset >> index->grain_shift;
  uint64_t entry;

  if (grain_index_entry (index, grain, &entry, NULL, err) == -1) {
    /* One report for the table, not for each of its grains. */
    err->kind = ERR_DAMAGED;
    return extent_damaged (index->extent,
                           DIRECTORY_PAGE | grain >> index->table_shift, err);
  }
  index->rules->explain (index, grain, entry, err);
  return extent_damaged (index->extent, grain, err);
}

void
grain_index_reload (struct grain_index *index)
{
  /* What is in the cache under the old number is found no more, and goes
   * when its turn comes.
   */
  atomic_store (&index->owner, cache_new_owner (index->cache));

  grain_directory_reload (index);
  LOCK_FOR_SCOPE (&index->seen.lock);
  index->seen.absent_first = index->seen.absent_end = 0;
  index->seen.zeros = 0;
}
