/* SPDX-License-Identifier: BSD-3-Clause */

/* Writing to a streamOptimized extent.  See stream-write.h.
 *
 * An open grain is busy while somebody fills, changes or stores it: whoever
 * else wants to change this grain waits.  Many can be busy at once, so
 * grains are compressed in parallel.  The bytes of an open grain change with
 * the lock held, and so can be read with it; they are constant while the
 * grain is being stored.
 *
 * Who has an open grain busy holds in_use (grain-write.h), shared, and waits
 * for nobody who waits for an open grain.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "grain-write.h"
#include "stream-append.h"
#include "stream-write.h"

/* Grains that are open at once, and what they may take if grains are large:
 * but a few there must be.
 */
#define MAX_OPEN 64
#define MAX_OPEN_BYTES ((uint64_t) 64 << 20)
#define MIN_OPEN 4

struct open_grain {
  bool used;
  bool busy;       /* somebody works on it */
  bool valid;      /* the bytes are what the grain holds */
  uint64_t grain;  /* its number */
  uint64_t age;    /* when it was opened */
  size_t from, to; /* a part that was written without a gap */
  uint8_t *bytes;  /* a whole grain; kept when it is closed */
};

struct stream_writer {
  struct extent *extent;
  struct grain_index *index;
  struct stream_appender out;
  int (*read_stored) (struct extent *extent, uint64_t grain, uint8_t *buf,
                      bool *absent, struct vmdk_error *err);

  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t changed;
  struct open_grain open[MAX_OPEN];
  size_t max_open;
  uint64_t clock;
};

/* -- Making and freeing ------------------------------------------------- */

struct stream_writer *
stream_writer_new (const struct stream_writer_source *source,
                   struct vmdk_error *err)
{
  struct stream_writer *w = calloc (1, sizeof *w);

  if (!w) {
    fail_memory (err);
    return NULL;
  }
  w->index = source->index;
  w->extent = source->index->extent;
  w->read_stored = source->read_stored;
  w->out.index = source->index;
  w->out.header = *source->header;
  w->out.has_parent = source->has_parent;
  w->out.has_footer = source->has_footer;
  w->out.end.begun = source->begun;
  w->max_open = min_u64 (
    MAX_OPEN, max_u64 (MIN_OPEN, MAX_OPEN_BYTES / w->index->grain_size));
  pthread_mutex_init (&w->lock, NULL);
  pthread_cond_init (&w->changed, NULL);
  if (stream_appender_init (&w->out, err) == -1) {
    stream_writer_free (w);
    return NULL;
  }
  return w;
}

void
stream_writer_free (struct stream_writer *w)
{
  if (!w)
    return;
  stream_appender_destroy (&w->out);
  for (size_t i = 0; i < w->max_open; i++)
    free (w->open[i].bytes);
  pthread_cond_destroy (&w->changed);
  pthread_mutex_destroy (&w->lock);
  free (w);
}

/* -- Open grains -------------------------------------------------------- */

/* With the lock held. */
static struct open_grain *
find (struct stream_writer *w, uint64_t grain)
{
  for (size_t i = 0; i < w->max_open; i++)
    if (w->open[i].used && w->open[i].grain == grain)
      return &w->open[i];
  return NULL;
}

/* With the lock held: the one to close when there are too many. */
static struct open_grain *
find_oldest (struct stream_writer *w)
{
  struct open_grain *oldest = NULL;

  for (size_t i = 0; i < w->max_open; i++) {
    struct open_grain *g = &w->open[i];

    if (g->used && !g->busy && (!oldest || g->age < oldest->age))
      oldest = g;
  }
  return oldest;
}

/* With the lock held. */
static struct open_grain *
find_unused (struct stream_writer *w)
{
  for (size_t i = 0; i < w->max_open; i++)
    if (!w->open[i].used)
      return &w->open[i];
  return NULL;
}

/* End being busy with G.  It stays open if it holds something that the
 * tables do not have.
 */
static void
leave (struct stream_writer *w, struct open_grain *g, bool stays)
{
  LOCK_FOR_SCOPE (&w->lock);

  g->busy = false;
  if (!stays || !g->valid)
    g->used = g->valid = false;
  pthread_cond_broadcast (&w->changed);
}

/* Store and close G, which we have busy.  If that fails it stays. */
static int
close_grain (struct stream_writer *w, struct open_grain *g,
             struct vmdk_error *err)
{
  const int r = stream_appender_store (&w->out, g->grain, g->bytes, err);

  leave (w, g, r == -1);
  return r;
}

static void
start (struct stream_writer *w, struct open_grain *g, uint64_t grain)
{
  g->used = g->busy = true;
  g->valid = false;
  g->grain = grain;
  g->age = w->clock++;
  g->from = g->to = 0;
}

/* Find GRAIN, or what to use for it, and have it busy.  If there are too
 * many it is another one, to be closed first.  NULL: look again.
 */
static struct open_grain *
try_enter (struct stream_writer *w, uint64_t grain)
{
  LOCK_FOR_SCOPE (&w->lock);
  struct open_grain *g = find (w, grain);

  if (!g && (g = find_unused (w))) {
    start (w, g, grain);
    return g;
  }
  if (!g)
    g = find_oldest (w);
  if (!g || g->busy) {
    pthread_cond_wait (&w->changed, &w->lock);
    return NULL;
  }
  g->busy = true;
  return g;
}

static struct open_grain *
enter (struct stream_writer *w, uint64_t grain, struct vmdk_error *err)
{
  for (;;) {
    struct open_grain *g = try_enter (w, grain);

    if (g && g->grain == grain)
      return g;
    if (g && close_grain (w, g, err) == -1)
      return NULL;
  }
}

/* How many bytes of GRAIN lie in the extent. */
static uint64_t
valid_bytes (const struct stream_writer *w, uint64_t grain)
{
  return min_u64 (w->index->grain_size,
                  w->extent->size - (grain << w->index->grain_shift));
}

/* What G, which we have busy, held before. */
static int
fill (struct stream_writer *w, struct open_grain *g, const struct below *below,
      struct vmdk_error *err)
{
  const uint64_t start = g->grain << w->index->grain_shift;
  bool absent;

  if (w->read_stored (w->extent, g->grain, g->bytes, &absent, err) == -1)
    return -1;
  if (!absent || !below->read)
    return 0;
  return below->read (below->opaque, g->bytes, valid_bytes (w, g->grain),
                      start, err);
}

/* Have bytes in G, which we have busy; WHOLE: all will be written. */
static int
prepare (struct stream_writer *w, struct open_grain *g, bool whole,
         const struct below *below, struct vmdk_error *err)
{
  if (g->valid)
    return 0;
  if (!g->bytes && !(g->bytes = malloc (w->index->grain_size)))
    return fail_memory (err);
  if (!whole)
    return fill (w, g, below, err);
  memset (g->bytes, 0, w->index->grain_size);
  return 0;
}

/* Put BUF, or (NULL) zeros, into G.  Returns whether every byte of it has now
 * been written.
 */
static bool
change (struct stream_writer *w, struct open_grain *g, const uint8_t *buf,
        size_t count, size_t within)
{
  LOCK_FOR_SCOPE (&w->lock);

  if (buf)
    memcpy (g->bytes + within, buf, count);
  else
    memset (g->bytes + within, 0, count);
  g->valid = true;
  if (g->from == g->to || (within <= g->from && within + count >= g->to)) {
    g->from = within;
    g->to = within + count;
  }
  else if (within <= g->to && within + count >= g->from) {
    g->from = min_u64 (g->from, within);
    g->to = max_u64 (g->to, within + count);
  }
  return g->from == 0 && g->to >= valid_bytes (w, g->grain);
}

/* Write a part of one grain. */
static int
write_part (struct stream_writer *w, uint64_t grain, const uint8_t *buf,
            size_t count, size_t within, const struct below *below,
            struct vmdk_error *err)
{
  const bool whole = within == 0 && count == valid_bytes (w, grain);
  struct open_grain *g = enter (w, grain, err);

  if (!g)
    return -1;
  if (prepare (w, g, whole, below, err) == -1) {
    leave (w, g, true);
    return -1;
  }
  if (change (w, g, buf, count, within))
    return close_grain (w, g, err);
  leave (w, g, true);
  return 0;
}

static int
write_parts (struct stream_writer *w, const uint8_t *buf, uint64_t count,
             uint64_t offset, const struct below *below,
             struct vmdk_error *err)
{
  const uint64_t grain_size = w->index->grain_size;

  while (count > 0) {
    const size_t within = offset & (grain_size - 1);
    const size_t n = min_u64 (count, grain_size - within);

    if (write_part (w, offset >> w->index->grain_shift, buf, n, within, below,
                    err)
        == -1)
      return -1;
    if (buf)
      buf += n;
    offset += n;
    count -= n;
  }
  return 0;
}

int
stream_writer_write (struct stream_writer *w, const void *buf, size_t count,
                     uint64_t offset, const struct below *below,
                     struct vmdk_error *err)
{
  int r;

  if (stream_appender_begin (&w->out, err) == -1)
    return -1;
  pthread_rwlock_rdlock (&w->out.tables.in_use);
  r = write_parts (w, buf, count, offset, below, err);
  pthread_rwlock_unlock (&w->out.tables.in_use);
  return r;
}

/* -- Zeros -------------------------------------------------------------- */

/* One whole grain that has no parent. */
static int
drop_grain (struct stream_writer *w, uint64_t grain, struct vmdk_error *err)
{
  struct open_grain *g = enter (w, grain, err);
  int r;

  if (!g)
    return -1;
  r = stream_appender_forget (&w->out, grain, err);
  leave (w, g, r == -1); /* see stream-write.h */
  return r;
}

static int
fail_not_fast (struct vmdk_error *err)
{
  fail (err, ERR_UNSUPPORTED, "zeros would have to be written");
  err->errnum = ENOTSUP;
  return -1;
}

/* Whether COUNT bytes, all within one grain, are all of it, and nobody's zeros
 * but its own.
 */
static bool
can_drop (const struct stream_writer *w, uint64_t count, uint64_t offset)
{
  const uint64_t grain = offset >> w->index->grain_shift;

  return (offset & (w->index->grain_size - 1)) == 0
         && count == valid_bytes (w, grain) && !w->out.has_parent;
}

/* COUNT bytes, all within one grain that holds something. */
static int
zero_part (struct stream_writer *w, uint64_t count, uint64_t offset,
           unsigned flags, const struct below *below, struct vmdk_error *err)
{
  const uint64_t grain = offset >> w->index->grain_shift;
  const size_t within = offset & (w->index->grain_size - 1);

  if (can_drop (w, count, offset))
    return drop_grain (w, grain, err);
  if (flags & ZERO_ADVICE)
    return 0;
  if (flags & ZERO_FAST)
    return fail_not_fast (err);
  return write_part (w, grain, NULL, count, within, below, err);
}

static int
check_part (struct stream_writer *w, uint64_t count, uint64_t offset,
            unsigned flags, const struct below *below, struct vmdk_error *err)
{
  (void) flags, (void) below;
  return can_drop (w, count, offset) ? 0 : fail_not_fast (err);
}

typedef int part_function (struct stream_writer *w, uint64_t count,
                           uint64_t offset, unsigned flags,
                           const struct below *below, struct vmdk_error *err);

static int
zero_run (struct stream_writer *w, const struct run *run, uint64_t offset,
          unsigned flags, const struct below *below, part_function *part,
          struct vmdk_error *err)
{
  const uint64_t grain_size = w->index->grain_size;
  const uint64_t end = offset + run->length;

  if (run->state == RUN_ZERO
      || (run->state == RUN_ABSENT && !w->out.has_parent))
    return 0;
  while (offset < end) {
    const uint64_t n =
      min_u64 (end - offset, grain_size - (offset & (grain_size - 1)));

    if (part (w, n, offset, flags, below, err) == -1)
      return -1;
    offset += n;
  }
  return 0;
}

static int
zero_runs (struct stream_writer *w, uint64_t count, uint64_t offset,
           unsigned flags, const struct below *below, part_function *part,
           struct vmdk_error *err)
{
  const uint64_t end = offset + count;
  struct run run;

  for (; offset < end; offset += run.length) {
    if (grain_index_map (w->index, offset, end - offset, MAP_STATE, &run, err)
        == -1)
      return -1;
    if (run.state == RUN_DAMAGED)
      return grain_index_damage (w->index, offset, err);
    stream_writer_map (w, offset, &run);
    if (zero_run (w, &run, offset, flags, below, part, err) == -1)
      return -1;
  }
  return 0;
}

int
stream_writer_check (struct stream_writer *w, uint64_t count, uint64_t offset,
                     unsigned flags, const struct below *below,
                     struct vmdk_error *err)
{
  int r;

  if (!(flags & ZERO_FAST))
    return 0;
  pthread_rwlock_rdlock (&w->out.tables.in_use);
  r = zero_runs (w, count, offset, flags, below, check_part, err);
  pthread_rwlock_unlock (&w->out.tables.in_use);
  return r;
}

int
stream_writer_zero (struct stream_writer *w, uint64_t count, uint64_t offset,
                    unsigned flags, const struct below *below,
                    struct vmdk_error *err)
{
  int r;

  if (stream_appender_begin (&w->out, err) == -1)
    return -1;
  pthread_rwlock_rdlock (&w->out.tables.in_use);
  r = zero_runs (w, count, offset, flags, below, zero_part, err);
  pthread_rwlock_unlock (&w->out.tables.in_use);
  return r;
}

/* -- Reading ------------------------------------------------------------ */

/* Where the first open grain begins that lies in the range, or its end. */
static uint64_t
next_open (struct stream_writer *w, uint64_t offset, uint64_t count,
           bool *here)
{
  const uint64_t shift = w->index->grain_shift;
  uint64_t first = offset + count;
  LOCK_FOR_SCOPE (&w->lock);

  *here = false;
  for (size_t i = 0; i < w->max_open; i++) {
    const struct open_grain *g = &w->open[i];

    if (!g->valid)
      continue;
    if (g->grain == offset >> shift)
      *here = true;
    else if (g->grain << shift > offset)
      first = min_u64 (first, g->grain << shift);
  }
  return first;
}

void
stream_writer_map (struct stream_writer *w, uint64_t offset, struct run *run)
{
  const uint64_t grain_size = w->index->grain_size;
  bool here;
  const uint64_t first = next_open (w, offset, run->length, &here);

  run->length = first - offset;
  if (here) {
    run->state = RUN_PACKED;
    run->length =
      min_u64 (run->length, grain_size - (offset & (grain_size - 1)));
  }
}

bool
stream_writer_read (struct stream_writer *w, uint64_t grain, uint8_t *buf,
                    size_t count, size_t within)
{
  LOCK_FOR_SCOPE (&w->lock);
  const struct open_grain *g = find (w, grain);

  if (!g || !g->valid)
    return false;
  memcpy (buf, g->bytes + within, count);
  return true;
}

/* -- Flushing and finishing --------------------------------------------- */

/* Have open grain I busy; NULL if it is not open. */
static struct open_grain *
enter_number (struct stream_writer *w, size_t i)
{
  LOCK_FOR_SCOPE (&w->lock);
  struct open_grain *g = &w->open[i];

  while (g->used && g->busy)
    pthread_cond_wait (&w->changed, &w->lock);
  if (!g->used)
    return NULL;
  g->busy = true;
  return g;
}

static int
close_all (struct stream_writer *w, struct vmdk_error *err)
{
  int r = 0;

  pthread_rwlock_rdlock (&w->out.tables.in_use);
  for (size_t i = 0; r == 0 && i < w->max_open; i++) {
    struct open_grain *g = enter_number (w, i);

    if (g)
      r = close_grain (w, g, err);
  }
  pthread_rwlock_unlock (&w->out.tables.in_use);
  return r;
}

int
stream_writer_flush (struct stream_writer *w, struct vmdk_error *err)
{
  if (close_all (w, err) == -1)
    return -1;
  return grain_extent_flush (w->extent, err);
}

int
stream_writer_finish (struct stream_writer *w, struct vmdk_error *err)
{
  if (stream_writer_flush (w, err) == -1
      || stream_appender_show_empty (&w->out, err) == -1
      || grain_extent_flush (w->extent, err) == -1)
    return -1;
  return stream_appender_finish (&w->out, err);
}
