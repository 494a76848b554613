/* SPDX-License-Identifier: BSD-3-Clause */

/* Writing grains.  See grain-write.h. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "cleanup.h"
#include "grain-write.h"
#include "table-changes.h"
#include "table-check.h"

/* At most so many bytes of new grains are handled at a time. */
#define MAX_PIECE ((uint64_t) 8 << 20)

/* A range of grains that somebody is allocating or freeing.  Lives on his
 * stack.
 */
struct busy_grains {
  struct busy_grains *next;
  uint64_t first, end;
};

int
grain_writer_init (struct grain_writer *w, struct grain_index *index,
                   const struct grain_writer_rules *rules, uint64_t next,
                   uint64_t limit, struct vmdk_error *err)
{
  pthread_rwlockattr_t attr;

  if (grain_alloc_init (&w->alloc, index->extent->media, index->grain_size,
                        next, limit, err)
      == -1)
    return -1;
  index->changes = table_changes_new (index, err);
  if (!index->changes) {
    grain_alloc_destroy (&w->alloc);
    return -1;
  }
  w->rules = rules;
  pthread_mutex_init (&w->state.lock, NULL);
  pthread_cond_init (&w->state.changed, NULL);
  /* The exclusive side must get its turn under any load. */
  pthread_rwlockattr_init (&attr);
#ifdef __GLIBC__
  pthread_rwlockattr_setkind_np (&attr,
                                 PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
  pthread_rwlock_init (&w->in_use, &attr);
  pthread_rwlockattr_destroy (&attr);
  w->index = index;
  index->extent->writer = w;
  return 0;
}

void
grain_writer_destroy (struct grain_writer *w)
{
  if (!w->index)
    return;
  table_changes_free (w->index->changes);
  w->index->changes = NULL;
  grain_alloc_destroy (&w->alloc);
  pthread_rwlock_destroy (&w->in_use);
  pthread_cond_destroy (&w->state.changed);
  pthread_mutex_destroy (&w->state.lock);
  w->index = NULL;
}

/* -- Grains that are being changed -------------------------------------- */

static bool
is_busy (const struct grain_writer *w, const struct busy_grains *mine)
{
  for (const struct busy_grains *b = w->state.busy; b; b = b->next)
    if (b->first < mine->end && mine->first < b->end)
      return true;
  return false;
}

/* invariant 3 */
static void
busy_begin (struct grain_writer *w, struct busy_grains *mine, uint64_t first,
            uint64_t end)
{
  LOCK_FOR_SCOPE (&w->state.lock);

  mine->first = first;
  mine->end = end;
  while (is_busy (w, mine))
    pthread_cond_wait (&w->state.changed, &w->state.lock);
  mine->next = w->state.busy;
  w->state.busy = mine;
}

static void
busy_end (struct grain_writer *w, const struct busy_grains *mine)
{
  LOCK_FOR_SCOPE (&w->state.lock);
  struct busy_grains **p = &w->state.busy;

  while (*p != mine)
    p = &(*p)->next;
  *p = mine->next;
  pthread_cond_broadcast (&w->state.changed);
}

/* Say on the medium that the extent is in use, once.  Others wait: nothing
 * may be changed before that is durable.
 */
static int
begin_once (struct grain_writer *w, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&w->state.lock);

  if (w->state.begun)
    return 0;
  if (table_check_can_grow (w->index, err) == -1
      || w->rules->begin (w->index->extent, err) == -1)
    return -1;
  w->state.begun = true;
  return 0;
}

/* -- Entries ------------------------------------------------------------ */

/* Room for a new table and its redundant copy.  Tables share a grain's room,
 * so that grains stay aligned.
 */
static int
allocate_table (void *opaque, uint64_t *offset, uint64_t *mirror,
                struct vmdk_error *err)
{
  struct grain_writer *w = opaque;
  const uint64_t size = w->index->table_bytes;
  const uint64_t needed = w->index->mirror_offset ? 2 * size : size;
  LOCK_FOR_SCOPE (&w->state.lock);

  if (w->state.slab_end - w->state.slab < needed) {
    const uint64_t nr = div_round_up (needed, w->alloc.grain_size);

    if (grain_alloc_take_all (&w->alloc, nr, &w->state.slab, err) == -1) {
      w->state.slab = w->state.slab_end = 0;
      return -1;
    }
    w->state.slab_end = w->state.slab + nr * w->alloc.grain_size;
  }
  *offset = w->state.slab;
  *mirror = w->index->mirror_offset ? *offset + size : 0;
  w->state.slab += needed;
  return 0;
}

/* Set the entries of NR grains from FIRST on: STEP more each time.  Grains
 * that the old entries name are freed.
 */
static int
set_entries (struct grain_writer *w, uint64_t first, uint64_t nr,
             uint64_t media_offset, bool allocated, struct vmdk_error *err)
{
  struct grain_index *index = w->index;
  struct changed_table *changed = NULL;

  for (uint64_t i = 0; i < nr; i++) {
    const uint64_t grain = first + i;
    const uint64_t table = grain >> index->table_shift;
    const uint64_t entry =
      allocated
        ? index->rules->encode (index, media_offset + i * index->grain_size)
        : media_offset;
    uint64_t old, old_offset;

    if (changed && changed->table != table) {
      table_changes_put (index->changes, changed);
      changed = NULL;
    }
    if (!changed) {
      changed =
        table_changes_get (index->changes, table, allocate_table, w, err);
      if (!changed)
        return -1;
    }
    old = table_changes_set (index->changes, changed, grain, entry);
    if (old != 0
        && index->rules->classify (index, grain, old, &old_offset) == RUN_DATA)
      grain_alloc_free (&w->alloc, old_offset);
  }
  table_changes_put (index->changes, changed);
  return 0;
}

/* Have the tables of these grains at hand, so that setting entries after the
 * data was written cannot fail half way.
 */
static int
prepare_tables (struct grain_writer *w, uint64_t first, uint64_t nr,
                struct vmdk_error *err)
{
  struct grain_index *index = w->index;
  const uint64_t last = (first + nr - 1) >> index->table_shift;

  for (uint64_t t = first >> index->table_shift; t <= last; t++) {
    struct changed_table *changed =
      table_changes_get (index->changes, t, allocate_table, w, err);

    if (!changed)
      return -1;
    table_changes_put (index->changes, changed);
  }
  return 0;
}

/* -- Writing ------------------------------------------------------------ */

/* What a request wants to write: bytes, or (NULL) zeros. */
struct source {
  const uint8_t *buf;
  uint64_t offset; /* of the extent */
  uint64_t count;
};

/* The mark comes after the write: a flush that finds none has nothing to do
 * with writes that were over when it began.
 */
static int
write_media (struct grain_writer *w, const void *buf, size_t count,
             uint64_t media_offset, struct vmdk_error *err)
{
  const int r = media_pwrite (w->alloc.media, buf, count, media_offset, err);

  atomic_store (&w->unflushed, true);
  return r;
}

static int
write_bytes (struct grain_writer *w, const struct source *source,
             uint64_t offset, uint64_t count, uint64_t media_offset,
             struct vmdk_error *err)
{
  return write_media (w, source->buf + (offset - source->offset), count,
                      media_offset, err);
}

/* One new grain of which the request covers only a part, or that has zeros.
 * invariant 2
 */
static int
write_partial_grain (struct grain_writer *w, const struct source *source,
                     uint64_t grain, uint64_t media_offset, bool from_below,
                     const struct below *below, struct vmdk_error *err)
{
  const uint64_t grain_size = w->index->grain_size;
  const uint64_t start = grain << w->index->grain_shift;
  const uint64_t valid = min_u64 (grain_size, w->index->extent->size - start);
  const uint64_t from = max_u64 (source->offset, start);
  const uint64_t to = min_u64 (source->offset + source->count, start + valid);
  CLEANUP_FREE uint8_t *bytes = NULL;

  /* The room reads as zeros: only the request's bytes are missing. */
  if (!from_below || (!source->buf && to - from == valid))
    return source->buf ? write_bytes (w, source, from, to - from,
                                      media_offset + (from - start), err)
                       : 0;

  bytes = calloc (1, grain_size);
  if (!bytes)
    return fail_memory (err);
  if (from > start
      && below->read (below->opaque, bytes, from - start, start, err) == -1)
    return -1;
  if (to < start + valid
      && below->read (below->opaque, bytes + (to - start), start + valid - to,
                      to, err)
           == -1)
    return -1;
  if (source->buf)
    memcpy (bytes + (from - start), source->buf + (from - source->offset),
            to - from);
  return write_media (w, bytes, grain_size, media_offset, err);
}

/* Write NR new grains from FIRST on to MEDIA_OFFSET. */
static int
write_new_grains (struct grain_writer *w, const struct source *source,
                  uint64_t first, uint64_t nr, uint64_t media_offset,
                  bool from_below, const struct below *below,
                  struct vmdk_error *err)
{
  const struct grain_index *index = w->index;
  const uint64_t end = source->offset + source->count;

  for (uint64_t i = 0; i < nr;) {
    const uint64_t start = (first + i) << index->grain_shift;
    uint64_t whole = 0;

    if (source->buf && source->offset <= start && end > start)
      whole = min_u64 (nr - i, (end - start) >> index->grain_shift);
    if (whole > 0) {
      if (write_bytes (w, source, start, whole << index->grain_shift,
                       media_offset + (i << index->grain_shift), err)
          == -1)
        return -1;
      i += whole;
      continue;
    }
    if (write_partial_grain (w, source, first + i,
                             media_offset + (i << index->grain_shift),
                             from_below, below, err)
        == -1)
      return -1;
    i++;
  }
  return 0;
}

/* Allocate grains FIRST to FIRST + *nr, which nobody else touches and which
 * are all ABSENT (FROM_BELOW) or all ZERO.  Sets *nr to how many it was.
 */
static int
allocate (struct grain_writer *w, const struct source *source, uint64_t first,
          uint64_t *nr, bool from_below, const struct below *below,
          struct vmdk_error *err)
{
  uint64_t media_offset;

  if (begin_once (w, err) == -1
      || grain_alloc_take (&w->alloc, nr, &media_offset, err) == -1)
    return -1;
  if (prepare_tables (w, first, *nr, err) == -1
      || write_new_grains (w, source, first, *nr, media_offset, from_below,
                           below, err)
           == -1) {
    grain_alloc_give_back (&w->alloc, media_offset, *nr);
    return -1;
  }
  return set_entries (w, first, *nr, media_offset, true, err);
}

/* The run at OFFSET is not allocated: allocate it, or some of it.  *done is
 * how many bytes of the request are written; 0 means look again, because
 * somebody was faster.
 */
static int
write_unallocated (struct grain_writer *w, const struct source *source,
                   uint64_t offset, uint64_t length, const struct below *below,
                   uint64_t *done, struct vmdk_error *err)
{
  struct grain_index *index = w->index;
  const uint64_t first = offset >> index->grain_shift;
  const uint64_t end = ((offset + length - 1) >> index->grain_shift) + 1;
  uint64_t nr =
    min_u64 (end - first, max_u64 (MAX_PIECE >> index->grain_shift, 1));
  struct busy_grains busy;
  struct run run;
  int r;

  *done = 0;
  busy_begin (w, &busy, first, first + nr);
  r = grain_index_map (
    index, offset,
    min_u64 (length, ((first + nr) << index->grain_shift) - offset), MAP_WHERE,
    &run, err);
  if (r == 0 && (run.state == RUN_ABSENT || run.state == RUN_ZERO)) {
    nr = ((offset + run.length - 1) >> index->grain_shift) + 1 - first;
    r = allocate (w, source, first, &nr,
                  run.state == RUN_ABSENT && below->read, below, err);
    if (r == 0)
      *done = min_u64 (length, ((first + nr) << index->grain_shift) - offset);
  }
  busy_end (w, &busy);
  return r;
}

/* Write one run; *done says how much. */
static int
write_run (struct grain_writer *w, const struct source *source,
           uint64_t offset, uint64_t count, const struct below *below,
           uint64_t *done, struct vmdk_error *err)
{
  struct run run;

  if (grain_index_map (w->index, offset, count, MAP_WHERE, &run, err) == -1)
    return -1;
  *done = run.length;
  switch (run.state) {
  case RUN_DATA:
    return write_bytes (w, source, offset, run.length, run.media_offset, err);
  case RUN_ABSENT:
  case RUN_ZERO:
  case RUN_HOLE:
    return write_unallocated (w, source, offset, run.length, below, done, err);
  case RUN_PACKED:
  case RUN_DAMAGED:
    break;
  }
  return grain_index_damage (w->index, offset, err);
}

int
grain_extent_write (struct extent *extent, const void *buf, size_t count,
                    uint64_t offset, const struct below *below,
                    struct vmdk_error *err)
{
  struct grain_writer *w = extent->writer;
  const struct source source = { buf, offset, count };
  const uint64_t end = offset + count;
  int r = 0;

  pthread_rwlock_rdlock (&w->in_use);
  while (r == 0 && offset < end) {
    uint64_t done = 0;

    r = write_run (w, &source, offset, end - offset, below, &done, err);
    offset += done;
  }
  pthread_rwlock_unlock (&w->in_use);
  return r;
}

/* -- Zeros -------------------------------------------------------------- */

static int
fail_not_fast (struct vmdk_error *err)
{
  fail (err, ERR_UNSUPPORTED, "zeros would have to be written");
  return -1;
}

/* Zeros over data, in place. */
static int
zero_data (struct grain_writer *w, uint64_t media_offset, uint64_t count,
           unsigned flags, struct vmdk_error *err)
{
  int r;

  if (flags & ZERO_ADVICE)
    return 0;
  r = flags & ZERO_KEEP
        ? media_clear (w->alloc.media, media_offset, count, flags & ZERO_FAST,
                       err)
        : media_punch (w->alloc.media, media_offset, count, err);
  atomic_store (&w->unflushed, true);
  return r;
}

/* Set whole grains to ENTRY and free what they had. */
static int
forget_grains (struct grain_writer *w, uint64_t first, uint64_t nr,
               uint64_t entry, struct vmdk_error *err)
{
  struct busy_grains busy;
  int r;

  busy_begin (w, &busy, first, first + nr);
  r = begin_once (w, err);
  if (r == 0)
    r = prepare_tables (w, first, nr, err);
  if (r == 0)
    r = set_entries (w, first, nr, entry, false, err);
  busy_end (w, &busy);
  return r;
}

enum zero_way {
  ZERO_IS_THERE, /* nothing to do */
  ZERO_FORGET,   /* whole grains, by metadata alone */
  ZERO_IN_PLACE, /* over data */
  ZERO_ALLOCATE, /* zeros have to be written */
};

/* How the start of a run becomes zeros; *length may be shortened. */
static enum zero_way
zero_way (const struct grain_writer *w, const struct run *run, uint64_t offset,
          uint64_t *length, unsigned flags, const struct below *below)
{
  const struct grain_index *index = w->index;
  const uint64_t size = index->grain_size;
  const uint64_t within = offset & (size - 1), end = offset + *length;
  uint64_t nr = (end >> index->grain_shift) - (offset >> index->grain_shift);

  if (run->state == RUN_ZERO || (run->state == RUN_ABSENT && !below->read))
    return ZERO_IS_THERE;
  if (end == index->extent->size && (end & (size - 1)))
    nr++; /* the last grain is whole when the extent ends in it */
  if (within == 0 && nr > 0 && (!below->read || index->zero_entry != 0)
      && (run->state != RUN_DATA || flags & ZERO_MAY_FREE)) {
    *length = min_u64 (nr << index->grain_shift, *length);
    return ZERO_FORGET;
  }
  if (within != 0) /* only up to the grain's end */
    *length = min_u64 (*length, size - within);
  return run->state == RUN_DATA ? ZERO_IN_PLACE : ZERO_ALLOCATE;
}

static int
zero_whole (struct grain_writer *w, uint64_t offset, uint64_t length,
            const struct below *below, struct vmdk_error *err)
{
  const struct grain_index *index = w->index;
  const uint64_t first = offset >> index->grain_shift;
  const uint64_t last = (offset + length - 1) >> index->grain_shift;

  return forget_grains (w, first, last - first + 1,
                        below->read ? index->zero_entry : 0, err);
}

static int
zero_unallocated (struct grain_writer *w, uint64_t offset, uint64_t *length,
                  unsigned flags, const struct below *below,
                  struct vmdk_error *err)
{
  const struct source zeros = { NULL, offset, *length };

  if (flags & ZERO_ADVICE)
    return 0;
  if (flags & ZERO_FAST)
    return fail_not_fast (err);
  return write_unallocated (w, &zeros, offset, *length, below, length, err);
}

/* One run becomes zeros; *length may be shortened. */
static int
zero_run (struct grain_writer *w, const struct run *run, uint64_t offset,
          uint64_t *length, unsigned flags, const struct below *below,
          struct vmdk_error *err)
{
  switch (zero_way (w, run, offset, length, flags, below)) {
  case ZERO_IS_THERE:
    return 0;
  case ZERO_FORGET:
    return zero_whole (w, offset, *length, below, err);
  case ZERO_IN_PLACE:
    return zero_data (w, run->media_offset, *length, flags, err);
  case ZERO_ALLOCATE:
    break;
  }
  return zero_unallocated (w, offset, length, flags, below, err);
}

int
grain_extent_check (struct extent *extent, uint64_t count, uint64_t offset,
                    unsigned flags, const struct below *below,
                    struct vmdk_error *err)
{
  struct grain_writer *w = extent->writer;
  const uint64_t end = offset + count;
  uint64_t length;
  struct run run;
  int r = 0;

  if (!(flags & ZERO_FAST))
    return 0;
  pthread_rwlock_rdlock (&w->in_use);
  for (; r == 0 && offset < end; offset += length) {
    r = grain_index_map (w->index, offset, end - offset, MAP_WHERE, &run, err);
    if (r == -1)
      break;
    length = run.length;
    if (run.state != RUN_DAMAGED
        && zero_way (w, &run, offset, &length, flags, below) == ZERO_ALLOCATE)
      r = fail_not_fast (err);
  }
  pthread_rwlock_unlock (&w->in_use);
  return r;
}

int
grain_extent_zero (struct extent *extent, uint64_t count, uint64_t offset,
                   unsigned flags, const struct below *below,
                   struct vmdk_error *err)
{
  struct grain_writer *w = extent->writer;
  const uint64_t end = offset + count;
  int r = 0;

  pthread_rwlock_rdlock (&w->in_use);
  while (r == 0 && offset < end) {
    uint64_t length;
    struct run run;

    r = grain_index_map (w->index, offset, end - offset, MAP_WHERE, &run, err);
    if (r == -1)
      break;
    if (run.state == RUN_DAMAGED) {
      r = grain_index_damage (w->index, offset, err);
      break;
    }
    length = run.length;
    r = zero_run (w, &run, offset, &length, flags, below, err);
    offset += length;
  }
  pthread_rwlock_unlock (&w->in_use);
  return r;
}

/* -- Committing --------------------------------------------------------- */

/* Wait until no request is in flight that looked a grain up before now. */
static void
wait_for_users (struct grain_writer *w)
{
  pthread_rwlock_wrlock (&w->in_use);
  pthread_rwlock_unlock (&w->in_use);
}

static int
commit_tables (struct grain_writer *w, struct table_commit *commit,
               struct vmdk_error *err)
{
  struct media *media = w->alloc.media;

  if (media_flush (media, err) == -1) /* invariant 1 */
    return -1;
  if (table_changes_write (w->index->changes, commit, err) == -1)
    return -1;
  return media_flush (media, err);
}

int
grain_extent_flush (struct extent *extent, struct vmdk_error *err)
{
  struct grain_writer *w = extent->writer;
  struct table_commit *commit;
  const bool unflushed = atomic_exchange (&w->unflushed, false);
  struct grain_places freed = grain_alloc_freed (&w->alloc);
  const int dirty = table_changes_begin (w->index->changes, &commit, err);
  int r = dirty == -1 ? -1 : 0;

  if (dirty == 1)
    r = commit_tables (w, commit, err);
  else if (dirty == 0 && unflushed)
    r = media_flush (w->alloc.media, err);
  table_changes_end (w->index->changes, commit, r == 0);
  if (r == -1)
    atomic_store (&w->unflushed, true);
  else if (freed.len > 0)
    wait_for_users (w); /* invariant 4 */
  grain_alloc_forgotten (&w->alloc, &freed, r == 0);
  if (r == 0 && table_changes_are_many (w->index->changes)) {
    pthread_rwlock_wrlock (&w->in_use);
    table_changes_trim (w->index->changes);
    pthread_rwlock_unlock (&w->in_use);
  }
  return r;
}

void
grain_extent_use_begin (struct extent *extent)
{
  pthread_rwlock_rdlock (&extent->writer->in_use);
}

void
grain_extent_use_end (struct extent *extent)
{
  pthread_rwlock_unlock (&extent->writer->in_use);
}

int
grain_extent_begin (struct extent *extent, struct vmdk_error *err)
{
  return begin_once (extent->writer, err);
}

int
grain_extent_finish (struct extent *extent, struct vmdk_error *err)
{
  struct grain_writer *w = extent->writer;

  if (grain_extent_flush (extent, err) == -1)
    return -1;
  if (!w->state.begun)
    return 0;
  if (grain_alloc_trim (&w->alloc, err) == -1
      || media_flush (w->alloc.media, err) == -1
      || w->rules->finish (w->index->extent, err) == -1)
    return -1;
  w->state.begun = false;
  return 0;
}

/* -- For operations on the whole extent --------------------------------- */

int
grain_extent_set_entry (struct extent *extent, uint64_t grain, uint64_t entry,
                        struct vmdk_error *err)
{
  struct grain_writer *w = extent->writer;
  struct table_changes *changes = w->index->changes;
  struct changed_table *changed;

  if (begin_once (w, err) == -1)
    return -1;
  changed = table_changes_get (changes, grain >> w->index->table_shift,
                               allocate_table, w, err);
  if (!changed)
    return -1;
  table_changes_set (changes, changed, grain, entry);
  table_changes_put (changes, changed);
  return 0;
}

void
grain_extent_set_end (struct extent *extent, uint64_t end)
{
  grain_alloc_set_end (&extent->writer->alloc, end);
}
