/* SPDX-License-Identifier: BSD-3-Clause */

/* A fixed number of slots, each of which can hold a block.  See
 * range-cache.h.
 *
 *   EMPTY -> QUEUED -> LOADING -> READY -> EMPTY (evicted)
 *                         |
 *                         +-> FAILED (only while somebody waits) -> EMPTY
 *
 * (1) One lock guards all slots; it is not held while bytes are fetched or
 *     copied.
 * (2) A slot that is LOADING belongs to the thread that loads it, one that is
 *     pinned to its readers: neither is taken away.
 * (3) A reader waits for one slot at a time and holds none meanwhile, so
 *     there is always one that can be taken, or will be.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "range-cache.h"

#define MAX_THREADS 16
#define MIN_SLOTS 4
#define MAX_SLOTS 1024

/* Who reads on where he was: so many are told apart in one file. */
#define NR_READERS 8

/* A reader that was not seen for so many requests is no longer counted. */
#define READER_AGE 256

enum state { EMPTY, QUEUED, LOADING, READY, FAILED };

struct slot {
  enum state state;
  struct range_file *file; /* unless EMPTY */
  uint64_t index;          /* of the block in its file */
  uint8_t *bytes;          /* owned; room for a block, or NULL */
  uint64_t tick;           /* last used, or put in the queue */
  unsigned waiters, pins;
  struct vmdk_error err; /* FAILED */
};

struct reader {
  uint64_t next; /* the block that would follow */
  uint64_t tick; /* 0: none */
  size_t window; /* blocks ahead */
};

struct range_file {
  struct range_cache *cache;
  void *file;
  uint64_t size;
  struct reader readers[NR_READERS]; /* under the cache's lock */
};

struct range_cache {
  struct range_cache_settings settings;

  pthread_mutex_t lock; /* for all below */
  pthread_cond_t work;  /* something is QUEUED, or the end is near */
  pthread_cond_t done;  /* some slot changed */
  struct slot *slots;
  size_t nr_slots;
  uint64_t tick;
  pthread_t threads[MAX_THREADS];
  unsigned nr_threads; /* started */
  bool ending;
};

static size_t
block_count (const struct range_file *file, uint64_t index)
{
  const size_t size = file->cache->settings.block_size;

  return min_u64 (size, file->size - index * size);
}

/* --------------------------------------------------------------------- */
/* Threads that fetch.  All here with the lock held, fetching excepted. */

/* The next to be loaded: what somebody waits for, then the oldest. */
static struct slot *
next_queued (struct range_cache *cache)
{
  struct slot *best = NULL;

  for (size_t i = 0; i < cache->nr_slots; i++) {
    struct slot *s = &cache->slots[i];

    if (s->state == QUEUED
        && (!best || (s->waiters > 0) > (best->waiters > 0)
            || ((s->waiters > 0) == (best->waiters > 0)
                && s->tick < best->tick)))
      best = s;
  }
  return best;
}

static void
slot_empty (struct slot *slot)
{
  slot->state = EMPTY;
  slot->file = NULL;
  free (slot->bytes);
  slot->bytes = NULL;
}

/* Its memory is kept for the next block: new pages are not free. */
static void
slot_reuse (struct slot *slot)
{
  uint8_t *bytes = steal_ptr (&slot->bytes);

  slot_empty (slot);
  slot->bytes = bytes;
}

static void
load (struct range_cache *cache, struct slot *slot)
{
  struct range_file *file = slot->file;
  const uint64_t offset = slot->index * cache->settings.block_size;
  const size_t count = block_count (file, slot->index);
  struct vmdk_error err;
  int r;

  slot->state = LOADING;
  pthread_mutex_unlock (&cache->lock);
  if (!slot->bytes)
    slot->bytes = malloc (cache->settings.block_size);
  r = slot->bytes
        ? cache->settings.fetch (file->file, slot->bytes, count, offset, &err)
        : fail_memory (&err);
  pthread_mutex_lock (&cache->lock);

  if (r == 0)
    slot->state = READY;
  else if (slot->waiters > 0) {
    slot->state = FAILED;
    slot->err = err;
  }
  else
    slot_empty (slot);
  pthread_cond_broadcast (&cache->done);
}

static void *
fetcher (void *opaque)
{
  struct range_cache *cache = opaque;
  LOCK_FOR_SCOPE (&cache->lock);

  while (!cache->ending) {
    struct slot *slot = next_queued (cache);

    if (slot)
      load (cache, slot);
    else
      pthread_cond_wait (&cache->work, &cache->lock);
  }
  return NULL;
}

/* One thread does, the others make it faster. */
static int
start_threads (struct range_cache *cache, struct vmdk_error *err)
{
  int r = 0;

  while (r == 0 && cache->nr_threads < cache->settings.nr_threads) {
    r = pthread_create (&cache->threads[cache->nr_threads], NULL, fetcher,
                        cache);
    if (r == 0)
      cache->nr_threads++;
  }
  if (cache->nr_threads == 0)
    return fail_errno (err, r, "a thread for reading");
  return 0;
}

/* --------------------------------------------------------------------- */
/* Slots; with the lock held. */

static struct slot *
slot_find (struct range_cache *cache, const struct range_file *file,
           uint64_t index)
{
  for (size_t i = 0; i < cache->nr_slots; i++) {
    struct slot *s = &cache->slots[i];

    if (s->state != EMPTY && s->file == file && s->index == index)
      return s;
  }
  return NULL;
}

static bool
can_be_taken (const struct slot *slot, bool wanted)
{
  if (slot->waiters > 0 || slot->pins > 0)
    return false;
  return slot->state == EMPTY || slot->state == READY
         || (slot->state == QUEUED && wanted);
}

/* A slot for another block, the least recently used; NULL when all are in
 * use.  WANTED: not only ahead of time.
 */
static struct slot *
slot_take (struct range_cache *cache, bool wanted)
{
  struct slot *best = NULL;

  for (size_t i = 0; i < cache->nr_slots; i++) {
    struct slot *s = &cache->slots[i];

    if (can_be_taken (s, wanted)
        && (!best || (s->state == EMPTY) > (best->state == EMPTY)
            || ((s->state == EMPTY) == (best->state == EMPTY)
                && s->tick < best->tick)))
      best = s;
  }
  if (best)
    slot_reuse (best);
  return best;
}

/* Have a block fetched, if it is not there or on its way.  NULL: no room. */
static struct slot *
block_request (struct range_file *file, uint64_t index, bool wanted)
{
  struct range_cache *cache = file->cache;
  struct slot *slot = slot_find (cache, file, index);

  if (!slot) {
    slot = slot_take (cache, wanted);
    if (!slot)
      return NULL;
    slot->state = QUEUED;
    slot->file = file;
    slot->index = index;
    slot->tick = ++cache->tick;
    pthread_cond_signal (&cache->work);
  }
  return slot;
}

/* Blocks from FIRST on, as far as there is room. */
static void
request_range (struct range_file *file, uint64_t first, uint64_t count)
{
  const uint64_t end =
    div_round_up (file->size, file->cache->settings.block_size);

  for (uint64_t i = first; i < end && i - first < count; i++)
    if (!block_request (file, i, false))
      break;
}

/* A block, READY and pinned; those that follow it, up to END, are on their
 * way then.  With the lock held, which is let go meanwhile.
 */
static struct slot *
block_await (struct range_file *file, uint64_t index, uint64_t end,
             struct vmdk_error *err)
{
  struct range_cache *cache = file->cache;
  struct slot *slot;

  while (!(slot = block_request (file, index, true)))
    pthread_cond_wait (&cache->done, &cache->lock);
  slot->waiters++;
  request_range (file, index + 1,
                 min_u64 (end - index - 1, cache->nr_slots / 2));
  while (slot->state == QUEUED || slot->state == LOADING)
    pthread_cond_wait (&cache->done, &cache->lock);
  slot->waiters--;
  slot->tick = ++cache->tick;
  if (slot->state == READY) {
    slot->pins++;
    return slot;
  }
  *err = slot->err;
  if (slot->waiters == 0) {
    slot_empty (slot);
    pthread_cond_broadcast (&cache->done);
  }
  return NULL;
}

/* USED_UP: read to its end, so that it is the first to go. */
static void
block_release (struct range_cache *cache, struct slot *slot, bool used_up)
{
  LOCK_FOR_SCOPE (&cache->lock);

  if (used_up)
    slot->tick = 0;
  if (--slot->pins == 0)
    pthread_cond_broadcast (&cache->done);
}

/* --------------------------------------------------------------------- */
/* Reading ahead; with the lock held. */

/* Half of the room is for what is read, the other half for what may be, and
 * that is shared by all who read on.
 */
static size_t
fair_window (const struct range_file *file)
{
  const struct range_cache *cache = file->cache;
  const size_t ahead = cache->settings.ahead / cache->settings.block_size;
  size_t nr = 0;

  for (size_t i = 0; i < NR_READERS; i++)
    nr += file->readers[i].tick > 0 && file->readers[i].window > 0
          && file->readers[i].tick + READER_AGE > cache->tick;
  return min_u64 (ahead, cache->nr_slots / 2 / (nr > 0 ? nr : 1));
}

static struct reader *
find_reader (struct range_file *file, uint64_t first)
{
  struct reader *oldest = &file->readers[0];

  for (size_t i = 0; i < NR_READERS; i++) {
    struct reader *r = &file->readers[i];

    if (r->tick > 0 && (first == r->next || first + 1 == r->next))
      return r;
    if (r->tick < oldest->tick)
      oldest = r;
  }
  *oldest = (struct reader){ .next = first };
  return oldest;
}

/* Blocks FIRST to LAST are being read.  Who goes on to the next block has
 * twice as many fetched as before.
 */
static void
read_ahead (struct range_file *file, uint64_t first, uint64_t last)
{
  struct reader *r = find_reader (file, first);
  const bool known = r->tick > 0;

  r->tick = ++file->cache->tick;
  if (known && last + 1 > r->next) {
    r->window = r->window > 0 ? r->window * 2 : 1;
    r->window = min_u64 (r->window, fair_window (file));
  }
  r->next = max_u64 (r->next, last + 1);
  request_range (file, last + 1, r->window);
}

/* The first block of a read, as block_await.  The blocks that are read are
 * asked for before those ahead of them, and the first is waited for before
 * anyone can load it: should it fail, that is told.
 */
static struct slot *
block_first (struct range_file *file, uint64_t first, uint64_t end,
             struct vmdk_error *err)
{
  struct range_cache *cache = file->cache;
  LOCK_FOR_SCOPE (&cache->lock);

  if (start_threads (cache, err) == -1)
    return NULL;
  request_range (file, first, min_u64 (end - first, cache->nr_slots / 2));
  read_ahead (file, first, end - 1);
  return block_await (file, first, end, err);
}

static struct slot *
block_next (struct range_file *file, uint64_t index, uint64_t end,
            struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&file->cache->lock);

  return block_await (file, index, end, err);
}

/* --------------------------------------------------------------------- */

int
range_file_read (struct range_file *file, void *buf, size_t count,
                 uint64_t offset, struct vmdk_error *err)
{
  struct range_cache *cache = file->cache;
  const size_t block = cache->settings.block_size;
  const uint64_t end = div_round_up (offset + count, block);
  uint8_t *to = buf;

  while (count > 0) {
    const size_t start = offset % block;
    const size_t n = min_u64 (count, block - start);
    struct slot *slot =
      (to == buf ? block_first : block_next) (file, offset / block, end, err);

    if (!slot)
      return -1;
    memcpy (to, slot->bytes + start, n);
    block_release (cache, slot, start + n == block);
    to += n;
    offset += n;
    count -= n;
  }
  return 0;
}

void
range_file_advise (struct range_file *file, uint64_t offset, uint64_t count)
{
  struct range_cache *cache = file->cache;
  const size_t block = cache->settings.block_size;
  struct vmdk_error ignored;
  LOCK_FOR_SCOPE (&cache->lock);

  if (offset >= file->size || count == 0
      || start_threads (cache, &ignored) == -1)
    return;
  count = min_u64 (count, file->size - offset);
  request_range (file, offset / block,
                 min_u64 ((offset + count - 1) / block - offset / block + 1,
                          cache->nr_slots / 2));
}

struct range_file *
range_file_new (struct range_cache *cache, void *file, uint64_t size,
                struct vmdk_error *err)
{
  struct range_file *f = calloc (1, sizeof *f);

  if (!f) {
    fail_memory (err);
    return NULL;
  }
  f->cache = cache;
  f->file = file;
  f->size = size;
  return f;
}

/* Whether something of FILE is still being loaded; the rest is dropped. */
static bool
drop_blocks (struct range_file *file)
{
  struct range_cache *cache = file->cache;
  bool loading = false;

  for (size_t i = 0; i < cache->nr_slots; i++) {
    struct slot *s = &cache->slots[i];

    if (s->state == EMPTY || s->file != file)
      continue;
    if (s->state == LOADING)
      loading = true;
    else
      slot_empty (s);
  }
  return loading;
}

void
range_file_free (struct range_file *file)
{
  if (!file)
    return;
  {
    LOCK_FOR_SCOPE (&file->cache->lock);

    while (drop_blocks (file))
      pthread_cond_wait (&file->cache->done, &file->cache->lock);
    pthread_cond_broadcast (&file->cache->done);
  }
  free (file);
}

static void
fill_in_defaults (struct range_cache_settings *s)
{
  if (s->block_size == 0)
    s->block_size = 4 << 20;
  if (s->budget == 0)
    s->budget = 64 << 20;
  if (s->ahead == 0)
    s->ahead = 32 << 20;
  if (s->nr_threads == 0)
    s->nr_threads = 4;
  if (s->nr_threads > MAX_THREADS)
    s->nr_threads = MAX_THREADS;
}

struct range_cache *
range_cache_new (const struct range_cache_settings *settings,
                 struct vmdk_error *err)
{
  struct range_cache *cache = calloc (1, sizeof *cache);

  if (!cache) {
    fail_memory (err);
    return NULL;
  }
  cache->settings = *settings;
  fill_in_defaults (&cache->settings);
  cache->nr_slots = min_u64 (
    max_u64 (cache->settings.budget / cache->settings.block_size, MIN_SLOTS),
    MAX_SLOTS);
  cache->slots = calloc (cache->nr_slots, sizeof *cache->slots);
  if (!cache->slots) {
    free (cache);
    fail_memory (err);
    return NULL;
  }
  pthread_mutex_init (&cache->lock, NULL);
  pthread_cond_init (&cache->work, NULL);
  pthread_cond_init (&cache->done, NULL);
  return cache;
}

void
range_cache_free (struct range_cache *cache)
{
  if (!cache)
    return;
  pthread_mutex_lock (&cache->lock);
  cache->ending = true;
  pthread_cond_broadcast (&cache->work);
  pthread_mutex_unlock (&cache->lock);
  for (unsigned i = 0; i < cache->nr_threads; i++)
    pthread_join (cache->threads[i], NULL);
  for (size_t i = 0; i < cache->nr_slots; i++)
    slot_empty (&cache->slots[i]);
  free (cache->slots);
  pthread_cond_destroy (&cache->work);
  pthread_cond_destroy (&cache->done);
  pthread_mutex_destroy (&cache->lock);
  free (cache);
}
