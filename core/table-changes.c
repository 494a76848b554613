/* SPDX-License-Identifier: BSD-3-Clause */

/* Changed tables.  See table-changes.h.
 *
 * They sit in a hash table under one lock, which is held for a look-up or an
 * insertion, never across I/O.  Making the copy of a table reads it through
 * the cache, outside the lock; two who make it at once agree on the first.
 */

#include <config.h>

#include <assert.h>
#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "cleanup.h"
#include "extent.h"
#include "grain-directory.h"
#include "grain-table.h"
#include "media.h"
#include "table-changes.h"
#include "vector.h"

#define NR_BUCKETS 1024

/* Bytes of tables after which those that are on the medium are dropped. */
#define MAX_CLEAN ((size_t) 16 << 20)

#define MAX_TABLE_SECTORS 64 /* bits of a word */

struct changed {
  struct changed_table pub; /* first */
  struct changed *next;
  uint64_t offset, mirror; /* bytes; mirror 0: none */
  bool is_new;             /* no directory entry names it yet */
  uint64_t dirty;          /* sectors, under the lock */
  _Atomic unsigned refs;
};

struct table_changes {
  struct grain_index *index;
  pthread_mutex_t lock;
  struct changed *buckets[NR_BUCKETS];
  _Atomic size_t nr_tables; /* changed under the lock */
};

/* What one commit writes: copies, so that entries set meanwhile wait for the
 * next.
 */
struct piece {
  struct changed *changed;
  uint64_t dirty;
  uint8_t *bytes; /* the whole table */
};
DEFINE_VECTOR (piece_list, struct piece)

struct table_commit {
  struct piece_list pieces;
};

struct table_changes *
table_changes_new (struct grain_index *index, struct vmdk_error *err)
{
  struct table_changes *changes = calloc (1, sizeof *changes);

  assert (index->table_bytes <= MAX_TABLE_SECTORS * SECTOR_SIZE);
  if (!changes) {
    fail_memory (err);
    return NULL;
  }
  changes->index = index;
  pthread_mutex_init (&changes->lock, NULL);
  return changes;
}

static void
free_changed (struct changed *changed)
{
  if (changed)
    free (changed->pub.entries);
  free (changed);
}
DEFINE_CLEANUP (changed, struct changed *, free_changed)

void
table_changes_free (struct table_changes *changes)
{
  if (!changes)
    return;
  for (size_t i = 0; i < NR_BUCKETS; i++)
    while (changes->buckets[i]) {
      struct changed *changed = changes->buckets[i];

      changes->buckets[i] = changed->next;
      free_changed (changed);
    }
  pthread_mutex_destroy (&changes->lock);
  free (changes);
}

/* With the lock held. */
static struct changed *
find (struct table_changes *changes, uint64_t table)
{
  struct changed *changed = changes->buckets[table % NR_BUCKETS];

  while (changed && changed->pub.table != table)
    changed = changed->next;
  if (changed)
    atomic_fetch_add (&changed->refs, 1);
  return changed;
}

bool
table_changes_any (const struct table_changes *changes)
{
  return atomic_load_explicit (&changes->nr_tables, memory_order_acquire) > 0;
}

struct changed_table *
table_changes_find (struct table_changes *changes, uint64_t table)
{
  LOCK_FOR_SCOPE (&changes->lock);
  struct changed *changed = find (changes, table);

  return changed ? &changed->pub : NULL;
}

void
table_changes_put (struct table_changes *changes, struct changed_table *pub)
{
  (void) changes;
  if (pub)
    atomic_fetch_sub (&((struct changed *) pub)->refs, 1);
}

/* Put FRESH in, or, if somebody was faster, return his. */
static struct changed *
insert (struct table_changes *changes, struct changed **fresh)
{
  LOCK_FOR_SCOPE (&changes->lock);
  struct changed *there = find (changes, (*fresh)->pub.table);
  struct changed **bucket =
    &changes->buckets[(*fresh)->pub.table % NR_BUCKETS];

  if (there)
    return there;
  there = steal_ptr (fresh);
  there->next = *bucket;
  *bucket = there;
  changes->nr_tables++;
  atomic_fetch_add (&there->refs, 1);
  return there;
}

struct changed_table *
table_changes_get (struct table_changes *changes, uint64_t table,
                   int (*allocate) (void *opaque, uint64_t *offset,
                                    uint64_t *mirror, struct vmdk_error *err),
                   void *opaque, struct vmdk_error *err)
{
  const struct grain_index *index = changes->index;
  struct changed_table *there = table_changes_find (changes, table);
  CLEANUP (changed) struct changed *fresh = NULL;

  if (there)
    return there;
  fresh = calloc (1, sizeof *fresh);
  if (!fresh || !(fresh->pub.entries = calloc (1, index->table_bytes))) {
    fail_memory (err);
    return NULL;
  }
  fresh->pub.table = table;
  if (grain_index_copy_table (changes->index, table, fresh->pub.entries,
                              &fresh->offset, &fresh->mirror, err)
      == -1)
    return NULL;
  if (fresh->offset == 0) {
    /* Who loses the race leaks this room, which is a table's size. */
    if (allocate (opaque, &fresh->offset, &fresh->mirror, err) == -1)
      return NULL;
    fresh->is_new = true;
    fresh->dirty = UINT64_MAX >> (64 - bytes_to_sectors (index->table_bytes));
  }
  return &insert (changes, &fresh)->pub;
}

uint64_t
table_changes_set (struct table_changes *changes, struct changed_table *pub,
                   uint64_t grain, uint64_t entry)
{
  const struct grain_index *index = changes->index;
  struct changed *changed = (struct changed *) pub;
  const size_t i = grain & (index->entries_per_table - 1);
  const size_t offset = i * index->entry_size;
  LOCK_FOR_SCOPE (&changes->lock);

  changed->dirty |= UINT64_C (1) << bytes_to_sectors (offset);
  if (index->entry_size == 4)
    return le32toh (__atomic_exchange_n ((uint32_t *) (pub->entries + offset),
                                         htole32 ((uint32_t) entry),
                                         __ATOMIC_ACQ_REL));
  return le64toh (__atomic_exchange_n ((uint64_t *) (pub->entries + offset),
                                       htole64 (entry), __ATOMIC_ACQ_REL));
}

/* -- Committing --------------------------------------------------------- */

static void
free_commit (struct table_commit *commit)
{
  for (size_t i = 0; i < commit->pieces.len; i++)
    free (commit->pieces.ptr[i].bytes);
  piece_list_reset (&commit->pieces);
  free (commit);
}

/* With the lock held, so no entry changes meanwhile. */
static int
collect (struct table_changes *changes, struct table_commit *commit)
{
  for (size_t i = 0; i < NR_BUCKETS; i++)
    for (struct changed *c = changes->buckets[i]; c; c = c->next) {
      struct piece piece = { .changed = c, .dirty = c->dirty };

      if (c->dirty == 0)
        continue;
      piece.bytes = malloc (changes->index->table_bytes);
      if (!piece.bytes || piece_list_append (&commit->pieces, piece) == -1) {
        free (piece.bytes);
        return -1;
      }
      memcpy (piece.bytes, c->pub.entries, changes->index->table_bytes);
      c->dirty = 0;
    }
  return 0;
}

/* Make everything dirty again that COMMIT took. */
static void
give_back (struct table_changes *changes, struct table_commit *commit)
{
  LOCK_FOR_SCOPE (&changes->lock);

  for (size_t i = 0; i < commit->pieces.len; i++)
    commit->pieces.ptr[i].changed->dirty |= commit->pieces.ptr[i].dirty;
}

static int
compare_pieces (const void *pa, const void *pb)
{
  const uint64_t a = ((const struct piece *) pa)->changed->offset;
  const uint64_t b = ((const struct piece *) pb)->changed->offset;

  return (a > b) - (a < b);
}

int
table_changes_begin (struct table_changes *changes, struct table_commit **out,
                     struct vmdk_error *err)
{
  struct table_commit *commit = calloc (1, sizeof *commit);
  int r;

  *out = NULL;
  if (!commit)
    return fail_memory (err);
  {
    LOCK_FOR_SCOPE (&changes->lock);
    r = collect (changes, commit);
  }
  if (r == -1) {
    give_back (changes, commit);
    free_commit (commit);
    return fail_memory (err);
  }
  if (commit->pieces.len > 0)
    qsort (commit->pieces.ptr, commit->pieces.len, sizeof (struct piece),
           compare_pieces);
  *out = commit;
  return commit->pieces.len > 0;
}

/* The dirty sectors of one table, at OFFSET: runs of them. */
static int
write_sectors (struct media *media, const struct piece *piece, uint64_t offset,
               size_t nr_sectors, struct vmdk_error *err)
{
  for (size_t i = 0; i < nr_sectors;) {
    size_t n = 0;

    while (i + n < nr_sectors && (piece->dirty >> (i + n) & 1))
      n++;
    if (n > 0
        && media_pwrite (media, piece->bytes + sectors_to_bytes (i),
                         sectors_to_bytes (n), offset + sectors_to_bytes (i),
                         err)
             == -1)
      return -1;
    i += n + 1;
  }
  return 0;
}

static int
write_tables (struct table_changes *changes, struct table_commit *commit,
              bool mirror, struct vmdk_error *err)
{
  const struct grain_index *index = changes->index;
  const size_t nr_sectors = bytes_to_sectors (index->table_bytes);

  for (size_t i = 0; i < commit->pieces.len; i++) {
    const struct piece *piece = &commit->pieces.ptr[i];
    const uint64_t offset =
      mirror ? piece->changed->mirror : piece->changed->offset;

    if (offset != 0
        && write_sectors (index->extent->media, piece, offset, nr_sectors, err)
             == -1)
      return -1;
  }
  return 0;
}

static int
name_tables (struct table_changes *changes, struct table_commit *commit,
             bool mirror, struct vmdk_error *err)
{
  for (size_t i = 0; i < commit->pieces.len; i++) {
    const struct changed *c = commit->pieces.ptr[i].changed;
    const uint64_t offset = mirror ? c->mirror : c->offset;

    if (c->is_new && offset != 0
        && grain_index_name_table (changes->index, c->pub.table, mirror,
                                   offset, err)
             == -1)
      return -1;
  }
  return 0;
}

static bool
has_new_tables (const struct table_commit *commit)
{
  for (size_t i = 0; i < commit->pieces.len; i++)
    if (commit->pieces.ptr[i].changed->is_new)
      return true;
  return false;
}

/* invariant 3.  The redundant directory comes after the primary one, so that
 * a crash leaves at most a table without its copy (table-check.c makes it)
 * and never a copy without its table.
 */
static int
write_directory (struct table_changes *changes, struct table_commit *commit,
                 struct vmdk_error *err)
{
  struct media *media = changes->index->extent->media;

  if (!has_new_tables (commit))
    return 0;
  if (media_flush (media, err) == -1
      || name_tables (changes, commit, false, err) == -1)
    return -1;
  if (changes->index->mirror_offset == 0)
    return 0;
  if (media_flush (media, err) == -1)
    return -1;
  return name_tables (changes, commit, true, err);
}

int
table_changes_write (struct table_changes *changes,
                     struct table_commit *commit, struct vmdk_error *err)
{
  if (write_tables (changes, commit, false, err) == -1
      || write_tables (changes, commit, true, err) == -1
      || write_directory (changes, commit, err) == -1)
    return -1;
  return 0;
}

void
table_changes_end (struct table_changes *changes, struct table_commit *commit,
                   bool ok)
{
  if (!commit)
    return;
  if (!ok)
    give_back (changes, commit);
  else {
    LOCK_FOR_SCOPE (&changes->lock);

    for (size_t i = 0; i < commit->pieces.len; i++)
      commit->pieces.ptr[i].changed->is_new = false;
  }
  free_commit (commit);
}

bool
table_changes_are_many (const struct table_changes *changes)
{
  return changes->nr_tables * changes->index->table_bytes > MAX_CLEAN;
}

void
table_changes_trim (struct table_changes *changes)
{
  struct grain_index *index = changes->index;
  LOCK_FOR_SCOPE (&changes->lock);

  for (size_t i = 0; i < NR_BUCKETS; i++)
    for (struct changed **p = &changes->buckets[i]; *p;) {
      struct changed *c = *p;

      if (c->dirty != 0 || atomic_load (&c->refs) != 0) {
        p = &c->next;
        continue;
      }
      *p = c->next;
      changes->nr_tables--;
      free_changed (c);
    }
  grain_index_reload (index);
}
