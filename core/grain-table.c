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

#include "checked.h"
#include "grain-table.h"
#include "log.h"
#include "table-changes.h"

#define DIRECTORY_PAGE (UINT64_C (1) << 62)
#define MIRROR_PAGE (UINT64_C (3) << 62)
#define PAGE_SIZE 4096

/* Up to this many bytes of neighbouring tables are loaded with one read. */
#define BATCH_SIZE (128 << 10)
#define MAX_BATCH 64 /* at most 64: bits of seen.zeros */

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

/* A table in use.  ENTRIES is NULL when it is absent or all zeros, and then
 * NR_ABSENT tables from this one on (at least 1) are.
 */
struct table {
  struct cache_block *block;     /* or */
  struct changed_table *changed; /* or neither */
  const uint8_t *entries;
  uint64_t nr_absent;
};

static inline uint64_t
load_entry (const struct grain_index *index, const uint8_t *entries, size_t i)
{
  return index->entry_size == 4 ? le32_load (entries + i * 4)
                                : le64_load (entries + i * 8);
}

/* The same for a table that may be changing; it is aligned. */
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
  pthread_mutex_init (&index->places.lock, NULL);
  index->ready = true;
  return 0;
}

void
grain_index_destroy (struct grain_index *index)
{
  if (!index->ready)
    return;
  cache_forget (index->cache, index->owner);
  free (atomic_load (&index->places.ranges));
  pthread_mutex_destroy (&index->places.lock);
  pthread_mutex_destroy (&index->seen.lock);
  index->ready = false;
}

/* Where in the file page PAGE of the directory at OFFSET is, and its size. */
static uint64_t
page_in_file (const struct grain_index *index, uint64_t directory_offset,
              uint64_t page, size_t *size)
{
  const uint64_t total = index->nr_tables * index->entry_size;
  const uint64_t start = page * PAGE_SIZE;

  *size = min_u64 (PAGE_SIZE, total - start);
  return directory_offset + start;
}

static struct cache_block *
get_page (const struct grain_index *index, uint64_t kind, uint64_t page,
          struct vmdk_error *err)
{
  const uint64_t directory_offset =
    kind == MIRROR_PAGE ? index->mirror_offset : index->directory_offset;
  size_t size;
  const uint64_t offset = page_in_file (index, directory_offset, page, &size);
  bool fill;
  struct cache_block *block =
    cache_get (index->cache, index->owner, kind | page, size, &fill, err);

  if (!block || !fill)
    return block;
  if (media_pread (index->extent->media, block->data, size, offset, err)
      == -1) {
    cache_abandon (index->cache, block);
    fail_prefix (err, "grain directory entries from %" PRIu64,
                 page * PAGE_SIZE / index->entry_size);
    return NULL;
  }
  cache_publish (index->cache, block);
  return block;
}

/* The directory page that holds a table's entry, and the mirror's. */
struct page {
  struct cache_block *entries, *mirror;
  uint64_t first; /* table of the page's first entry */
  size_t len;     /* entries */
};

static void
put_page (const struct grain_index *index, struct page *page)
{
  cache_put (index->cache, page->entries);
  cache_put (index->cache, page->mirror);
}

static int
open_page (const struct grain_index *index, uint64_t table, struct page *page,
           struct vmdk_error *err)
{
  const uint64_t per_page = PAGE_SIZE / index->entry_size;

  page->mirror = NULL;
  page->first = table / per_page * per_page;
  page->entries = get_page (index, DIRECTORY_PAGE, table / per_page, err);
  if (!page->entries)
    return -1;
  page->len = page->entries->size / index->entry_size;
  if (index->mirror_offset != 0) {
    page->mirror = get_page (index, MIRROR_PAGE, table / per_page, err);
    if (!page->mirror) {
      put_page (index, page);
      return -1;
    }
  }
  return 0;
}

/* Where a table is by its directory entry, or by the redundant directory's
 * when that one cannot be right.  *offset 0: there is none.
 */
static int
locate (struct grain_index *index, const struct page *page, uint64_t table,
        uint64_t *offset, struct vmdk_error *err)
{
  const size_t i = table - page->first;
  const uint64_t entry = load_entry (index, page->entries->data, i);
  const uint64_t mirror =
    page->mirror ? load_entry (index, page->mirror->data, i) : 0;
  struct vmdk_error ignored;
  bool ok;

  *offset = 0;
  if (entry == 0 && mirror == 0)
    return 0;

  if (entry == 0)
    ok = fail (err, ERR_DAMAGED,
               "grain directory entry %" PRIu64
               " is 0 and the redundant directory's is %" PRIu64,
               table, mirror)
         == 0;
  else if (entry == mirror)
    return fail (err, ERR_DAMAGED,
                 "grain directory entry %" PRIu64 " is %" PRIu64
                 " in both directories",
                 table, entry);
  else
    ok = index->rules->locate (index, table, entry, offset, err) == 0;

  if (ok)
    return 0;
  if (mirror == 0
      || index->rules->locate (index, table, mirror, offset, &ignored) == -1)
    return -1;
  if (!atomic_exchange (&index->mirror_used, true))
    log_warning (&index->extent->rules->log,
                 "%s: %s: using the redundant grain table in its place",
                 NAME (index->extent->name), err->text);
  return 0;
}

/* Whether the table at OFFSET lies in a hole of the file, which makes all
 * its entries 0.  Remembers the last hole and the last stretch of data, so
 * that neighbours cost no system call.
 */
static bool
in_hole (struct grain_index *index, uint64_t offset)
{
  const uint64_t end = offset + index->table_bytes;
  struct vmdk_error ignored;
  bool hole;
  uint64_t length;

  {
    LOCK_FOR_SCOPE (&index->seen.lock);

    if (offset >= index->seen.hole_start && end <= index->seen.hole_end)
      return true;
    if (offset >= index->seen.data_start && offset < index->seen.data_end)
      return false;
  }
  if (media_map (index->extent->media, offset,
                 index->extent->media->size - offset, &hole, &length, &ignored)
      == -1)
    return false;

  LOCK_FOR_SCOPE (&index->seen.lock);

  if (hole) {
    index->seen.hole_start = offset;
    index->seen.hole_end = offset + length;
  }
  else {
    index->seen.data_start = offset;
    index->seen.data_end = offset + length;
  }
  return hole && length >= index->table_bytes;
}

/* How many tables from TABLE on, to the end of the page, are absent. */
static uint64_t
count_absent (struct grain_index *index, const struct page *page,
              uint64_t table)
{
  const uint64_t end = page->first + page->len;
  struct vmdk_error ignored;
  uint64_t t, offset;

  for (t = table + 1; t < end; t++)
    if (locate (index, page, t, &offset, &ignored) == -1
        || (offset != 0 && !in_hole (index, offset)))
      break;
  return t - table;
}

/* How many tables from TABLE, at OFFSET, may be loaded with one read: those
 * that follow in the file as they do in the directory.  More than one only
 * if nothing useful is dropped for it or tables are used in order.
 */
static size_t
batch_length (struct grain_index *index, const struct page *page,
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
         && locate (index, page, table + n, &next, &ignored) == 0
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
load_tables (struct grain_index *index, const struct page *page,
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
get_table_by_page (struct grain_index *index, const struct page *page,
                   uint64_t table, struct table *out, struct vmdk_error *err)
{
  struct cache_block *block;
  uint64_t offset;
  bool fill;

  if (locate (index, page, table, &offset, err) == -1)
    return -1;
  if (offset == 0 || in_hole (index, offset)) {
    const uint64_t n = count_absent (index, page, table);
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
  struct page page;
  int r;

  if (block) {
    use_block (out, block);
    return 0;
  }
  out->nr_absent = known_absent (index, table);
  if (out->nr_absent > 0)
    return 0;
  if (open_page (index, table, &page, err) == -1)
    return -1;
  r = get_table_by_page (index, &page, table, out, err);
  put_page (index, &page);
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
  struct page page;
  uint64_t mirror, offset, copy;
  enum run_state state;

  if (index->mirror_offset == 0
      || open_page (index, table, &page, &ignored) == -1)
    return RUN_DAMAGED;
  mirror = load_entry (index, page.mirror->data, table - page.first);
  put_page (index, &page);

  if (mirror == 0
      || index->rules->locate (index, table, mirror, &offset, &ignored) == -1
      || media_pread (index->extent->media, bytes, index->entry_size,
                      offset + i * index->entry_size, &ignored)
           == -1)
    return RUN_DAMAGED;
  copy = load_entry (index, bytes, 0);
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

/* -- For writing --------------------------------------------------------- */

/* Where directory entry ENTRY says TABLE is; 0: nowhere. */
static int
locate_strictly (const struct grain_index *index, uint64_t table,
                 uint64_t entry, uint64_t *offset, struct vmdk_error *err)
{
  *offset = 0;
  return entry == 0 ? 0
                    : index->rules->locate (index, table, entry, offset, err);
}

int
grain_index_places (struct grain_index *index, uint64_t table,
                    uint64_t *offset, uint64_t *mirror, struct vmdk_error *err)
{
  uint64_t entry, mirror_entry = 0;
  struct page page;

  if (open_page (index, table, &page, err) == -1)
    return -1;
  entry = load_entry (index, page.entries->data, table - page.first);
  if (page.mirror)
    mirror_entry = load_entry (index, page.mirror->data, table - page.first);
  put_page (index, &page);

  if (locate_strictly (index, table, entry, offset, err) == -1
      || locate_strictly (index, table, mirror_entry, mirror, err) == -1)
    return -1;
  if (*offset != 0 && *offset == *mirror)
    return fail (err, ERR_DAMAGED,
                 "grain directory entry %" PRIu64 " is %" PRIu64
                 " in both directories",
                 table, entry);
  return 0;
}

int
grain_index_copy_table (struct grain_index *index, uint64_t table,
                        uint8_t *entries, uint64_t *offset, uint64_t *mirror,
                        struct vmdk_error *err)
{
  if (grain_index_places (index, table, offset, mirror, err) == -1)
    return -1;
  if (index->mirror_offset != 0 && (*offset == 0) != (*mirror == 0))
    return fail (err, ERR_DAMAGED,
                 "grain table %" PRIu64 " is at byte %" PRIu64
                 " and its redundant copy at byte %" PRIu64,
                 table, *offset, *mirror);
  if (*offset == 0)
    return 0;
  return media_pread (index->extent->media, entries, index->table_bytes,
                      *offset, err);
}

int
grain_index_name_table (struct grain_index *index, uint64_t table, bool mirror,
                        uint64_t offset, struct vmdk_error *err)
{
  uint8_t sector[SECTOR_SIZE];
  const uint64_t directory =
    mirror ? index->mirror_offset : index->directory_offset;
  const uint64_t at = directory + table * index->entry_size;
  const uint64_t start = at / SECTOR_SIZE * SECTOR_SIZE;
  struct media *media = index->extent->media;

  /* An entry never crosses a sector. */
  if (media_pread (media, sector, sizeof sector, start, err) == -1)
    return -1;
  index->rules->name_table (index, sector + (at - start), offset);
  return media_pwrite (media, sector, sizeof sector, start, err);
}

void
grain_index_reload (struct grain_index *index)
{
  /* What is in the cache under the old number is found no more, and goes
   * when its turn comes.
   */
  atomic_store (&index->owner, cache_new_owner (index->cache));

  LOCK_FOR_SCOPE (&index->seen.lock);
  index->seen.hole_start = index->seen.hole_end = 0;
  index->seen.absent_first = index->seen.absent_end = 0;
  index->seen.zeros = 0;
}

/* -- Where tables are --------------------------------------------------- */

static int
compare_starts (const void *a, const void *b)
{
  const uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

  return (x > y) - (x < y);
}

/* Add a table's place to the ranges, joining it to the last one if it
 * follows: tables nearly always lie in order and side by side.
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
  const uint64_t per_page = PAGE_SIZE / index->entry_size;
  struct vmdk_error ignored;
  uint8_t bytes[PAGE_SIZE];
  unsigned nr_bad = 0;

  for (uint64_t t = 0; t < index->nr_tables && nr_bad < MAX_BAD_ENTRIES;
       t += per_page) {
    size_t size;
    const uint64_t where =
      page_in_file (index, directory_offset, t / per_page, &size);

    if (media_pread (index->extent->media, bytes, size, where, &ignored) == -1)
      continue;
    for (size_t i = 0; i < size / index->entry_size; i++) {
      const uint64_t entry = load_entry (index, bytes, i);
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
