/* SPDX-License-Identifier: BSD-3-Clause */

/* The bounded cache.  See cache.h for its contract.
 *
 * Blocks are spread over shards by a hash of their key.  A shard is a mutex,
 * hash chains and a clock: a circular list of published blocks whose hand
 * passes over a block that was used since it last came by.
 *
 * (1) A block is found only through its shard's lock, and its reference
 *     count rises only under that lock.  It falls without it.  So a block
 *     whose count is seen as 0 under the lock has no users and gets none.
 * (2) A block that is being filled has its filler's reference, is in the
 *     hash chains (so that others can wait for it) and not in the clock.
 * (3) No lock is held while memory is obtained or a block is filled; one
 *     shard's lock is never taken while another's is held.
 */

#include <config.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "cache.h"
#include "cleanup.h"

#define NR_SHARDS 16

/* What a block costs beside its bytes, for the budget. */
#define BLOCK_OVERHEAD (sizeof (struct block) + 32)

struct block {
  struct cache_block pub; /* first: what users see is this address */
  uint64_t owner, index;
  struct block *hash_next;
  struct block *newer, *older; /* in the clock */
  _Atomic unsigned refs;
  bool ready; /* published */
  bool used;  /* since the hand last passed */
};

struct shard {
  pthread_mutex_t lock;
  pthread_cond_t settled; /* some block was published or abandoned */
  struct block **buckets;
  struct block *hand; /* NULL: the clock is empty */
} __attribute__ ((aligned (64)));

struct cache {
  struct shard shards[NR_SHARDS];
  size_t bucket_mask;
  size_t budget;
  _Atomic size_t used;
  _Atomic unsigned next_victim; /* shard */
  _Atomic uint64_t next_owner;
};

static uint64_t
hash_key (uint64_t owner, uint64_t index)
{
  uint64_t h = (index ^ owner << 40) * UINT64_C (0x9e3779b97f4a7c15);

  return h ^ h >> 29;
}

static struct shard *
shard_of (struct cache *cache, uint64_t hash)
{
  return &cache->shards[hash % NR_SHARDS];
}

static struct block **
bucket_of (struct cache *cache, struct shard *shard, uint64_t hash)
{
  return &shard->buckets[(hash / NR_SHARDS) & cache->bucket_mask];
}

struct cache *
cache_new (size_t budget, struct vmdk_error *err)
{
  /* About one bucket for each grain table that fits and three for tables of
   * zeros, which are small; within reason.
   */
  const size_t wanted = budget / 512 / NR_SHARDS;
  size_t nr_buckets = 64;
  struct cache *cache = aligned_alloc (64, sizeof *cache);

  if (!cache) {
    fail_memory (err);
    return NULL;
  }
  while (nr_buckets < wanted && nr_buckets < 65536)
    nr_buckets *= 2;
  cache->bucket_mask = nr_buckets - 1;
  cache->budget = budget;
  atomic_init (&cache->used, 0);
  atomic_init (&cache->next_victim, 0);
  atomic_init (&cache->next_owner, 1);
  for (size_t i = 0; i < NR_SHARDS; i++) {
    struct shard *shard = &cache->shards[i];

    pthread_mutex_init (&shard->lock, NULL);
    pthread_cond_init (&shard->settled, NULL);
    shard->hand = NULL;
    shard->buckets = calloc (nr_buckets, sizeof *shard->buckets);
  }
  for (size_t i = 0; i < NR_SHARDS; i++)
    if (!cache->shards[i].buckets) {
      cache_free (cache);
      fail_memory (err);
      return NULL;
    }
  return cache;
}

void
cache_free (struct cache *cache)
{
  if (!cache)
    return;
  for (size_t i = 0; i < NR_SHARDS; i++) {
    struct shard *shard = &cache->shards[i];

    for (size_t j = 0; shard->buckets && j <= cache->bucket_mask; j++)
      while (shard->buckets[j]) {
        struct block *block = shard->buckets[j];

        shard->buckets[j] = block->hash_next;
        free (block);
      }
    free (shard->buckets);
    pthread_cond_destroy (&shard->settled);
    pthread_mutex_destroy (&shard->lock);
  }
  free (cache);
}

uint64_t
cache_new_owner (struct cache *cache)
{
  return atomic_fetch_add (&cache->next_owner, 1);
}

/* The shard is locked. */
static struct block *
find (struct cache *cache, struct shard *shard, uint64_t hash, uint64_t owner,
      uint64_t index)
{
  struct block *block = *bucket_of (cache, shard, hash);

  while (block && (block->index != index || block->owner != owner))
    block = block->hash_next;
  return block;
}

/* The shard is locked. */
static void
pin (struct block *block)
{
  atomic_fetch_add_explicit (&block->refs, 1, memory_order_relaxed);
  block->used = true;
}

/* The shard is locked.  The block leaves hash chains and clock. */
static void
unlink_block (struct cache *cache, struct shard *shard, struct block *block)
{
  struct block **p =
    bucket_of (cache, shard, hash_key (block->owner, block->index));

  while (*p != block)
    p = &(*p)->hash_next;
  *p = block->hash_next;

  if (!block->ready)
    return;
  if (block->newer == block)
    shard->hand = NULL;
  else {
    block->newer->older = block->older;
    block->older->newer = block->newer;
    if (shard->hand == block)
      shard->hand = block->newer;
  }
  atomic_fetch_sub_explicit (&cache->used, block->pub.size + BLOCK_OVERHEAD,
                             memory_order_relaxed);
}

/* The shard is locked.  Behind the hand, so it is the last to be looked at. */
static void
link_into_clock (struct shard *shard, struct block *block)
{
  if (!shard->hand) {
    block->newer = block->older = block;
    shard->hand = block;
    return;
  }
  block->newer = shard->hand;
  block->older = shard->hand->older;
  block->older->newer = block;
  block->newer->older = block;
}

static struct block *
new_block (uint64_t owner, uint64_t index, size_t size)
{
  struct block *block = malloc (sizeof *block + size);

  if (!block)
    return NULL;
  block->pub.size = size;
  block->pub.data = (uint8_t *) (block + 1);
  block->owner = owner;
  block->index = index;
  atomic_init (&block->refs, 1);
  block->ready = false;
  block->used = false; /* set by a second use: a scan drops its own blocks */
  return block;
}

/* The shard is locked.  invariant 2 */
static void
start_filling (struct cache *cache, struct shard *shard, uint64_t hash,
               struct block *block)
{
  struct block **bucket = bucket_of (cache, shard, hash);

  block->hash_next = *bucket;
  *bucket = block;
}

struct cache_block *
cache_get (struct cache *cache, uint64_t owner, uint64_t index, size_t size,
           bool *fill, struct vmdk_error *err)
{
  const uint64_t hash = hash_key (owner, index);
  struct shard *shard = shard_of (cache, hash);
  CLEANUP_FREE struct block *fresh = NULL;

  *fill = false;
  for (;;) {
    {
      LOCK_FOR_SCOPE (&shard->lock);
      struct block *block;

      while ((block = find (cache, shard, hash, owner, index))
             && !block->ready)
        pthread_cond_wait (&shard->settled, &shard->lock);
      if (block) {
        pin (block);
        return &block->pub;
      }
      if (fresh) {
        start_filling (cache, shard, hash, fresh);
        *fill = true;
        return &steal_ptr (&fresh)->pub;
      }
    }
    fresh = new_block (owner, index, size); /* invariant 3 */
    if (!fresh) {
      fail_memory (err);
      return NULL;
    }
  }
}

struct cache_block *
cache_peek (struct cache *cache, uint64_t owner, uint64_t index)
{
  const uint64_t hash = hash_key (owner, index);
  struct shard *shard = shard_of (cache, hash);
  LOCK_FOR_SCOPE (&shard->lock);
  struct block *block = find (cache, shard, hash, owner, index);

  if (!block || !block->ready)
    return NULL;
  pin (block);
  return &block->pub;
}

struct cache_block *
cache_claim (struct cache *cache, uint64_t owner, uint64_t index, size_t size)
{
  const uint64_t hash = hash_key (owner, index);
  struct shard *shard = shard_of (cache, hash);
  CLEANUP_FREE struct block *fresh = new_block (owner, index, size);

  if (!fresh)
    return NULL;
  LOCK_FOR_SCOPE (&shard->lock);
  if (find (cache, shard, hash, owner, index))
    return NULL;
  start_filling (cache, shard, hash, fresh);
  return &steal_ptr (&fresh)->pub;
}

struct cache_block *
cache_shrink (struct cache *cache, struct cache_block *pub, size_t size)
{
  struct block *block = (struct block *) pub, *smaller;
  const uint64_t hash = hash_key (block->owner, block->index);
  struct shard *shard = shard_of (cache, hash);
  LOCK_FOR_SCOPE (&shard->lock);

  /* Those who wait for it look it up again, so it may move. */
  unlink_block (cache, shard, block);
  smaller = realloc (block, sizeof *block + size);
  if (smaller) {
    block = smaller;
    block->pub.size = size;
    block->pub.data = (uint8_t *) (block + 1);
  }
  start_filling (cache, shard, hash, block);
  return &block->pub;
}

/* Drop one unused block of the shard.  Returns whether there was one. */
static bool
evict_one (struct cache *cache, struct shard *shard)
{
  struct block *victim = NULL;

  {
    LOCK_FOR_SCOPE (&shard->lock);
    struct block *start = shard->hand;
    unsigned rounds = 0;

    /* The first round may clear every mark, the second then finds one. */
    while (shard->hand && rounds < 2) {
      struct block *block = shard->hand;

      if (!block->used
          && atomic_load_explicit (&block->refs, memory_order_acquire) == 0) {
        victim = block; /* invariant 1 */
        unlink_block (cache, shard, victim);
        break;
      }
      block->used = false;
      shard->hand = block->newer;
      rounds += shard->hand == start;
    }
  }
  free (victim);
  return victim != NULL;
}

static void
shrink_to_budget (struct cache *cache)
{
  unsigned fruitless = 0;

  while (cache_used (cache) > cache->budget && fruitless < NR_SHARDS) {
    const unsigned i =
      atomic_fetch_add_explicit (&cache->next_victim, 1, memory_order_relaxed);

    if (evict_one (cache, &cache->shards[i % NR_SHARDS]))
      fruitless = 0;
    else
      fruitless++;
  }
}

void
cache_publish (struct cache *cache, struct cache_block *pub)
{
  struct block *block = (struct block *) pub;
  struct shard *shard =
    shard_of (cache, hash_key (block->owner, block->index));

  {
    LOCK_FOR_SCOPE (&shard->lock);

    block->ready = true;
    link_into_clock (shard, block);
    atomic_fetch_add_explicit (&cache->used, block->pub.size + BLOCK_OVERHEAD,
                               memory_order_relaxed);
    pthread_cond_broadcast (&shard->settled);
  }
  shrink_to_budget (cache);
}

void
cache_abandon (struct cache *cache, struct cache_block *pub)
{
  struct block *block = (struct block *) pub;
  struct shard *shard =
    shard_of (cache, hash_key (block->owner, block->index));

  {
    LOCK_FOR_SCOPE (&shard->lock);

    unlink_block (cache, shard, block);
    pthread_cond_broadcast (&shard->settled);
  }
  free (block);
}

void
cache_put (struct cache *cache, struct cache_block *pub)
{
  struct block *block = (struct block *) pub;

  (void) cache;
  if (block)
    atomic_fetch_sub_explicit (&block->refs, 1, memory_order_release);
}

void
cache_forget (struct cache *cache, uint64_t owner)
{
  for (size_t i = 0; i < NR_SHARDS; i++) {
    struct shard *shard = &cache->shards[i];
    LOCK_FOR_SCOPE (&shard->lock);

    for (size_t j = 0; j <= cache->bucket_mask; j++) {
      struct block *next;

      for (struct block *b = shard->buckets[j]; b; b = next) {
        next = b->hash_next;
        if (b->owner == owner) {
          unlink_block (cache, shard, b);
          free (b);
        }
      }
    }
  }
}

size_t
cache_used (const struct cache *cache)
{
  return atomic_load_explicit (&cache->used, memory_order_relaxed);
}

bool
cache_has_room (const struct cache *cache, size_t size)
{
  const size_t used = cache_used (cache);

  return used + BLOCK_OVERHEAD <= cache->budget
         && size <= cache->budget - used - BLOCK_OVERHEAD;
}
