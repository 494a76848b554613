/* SPDX-License-Identifier: BSD-3-Clause */

/* The cache: single flight, the budget, pins, forgetting; alone and with many
 * threads.
 */

#include <config.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "cache.h"
#include "cleanup.h"

#define SIZE 1000

static struct cache *
new_cache (size_t budget)
{
  struct vmdk_error err;
  struct cache *cache = cache_new (budget, &err);

  assert_non_null (cache);
  return cache;
}

/* What a block's bytes are, so that no block is taken for another. */
static uint8_t
fill_byte (uint64_t owner, uint64_t index)
{
  return (uint8_t) (owner * 101 + index * 7 + 1);
}

static void
check_bytes (const struct cache_block *block, uint64_t owner, uint64_t index)
{
  for (size_t i = 0; i < block->size; i++)
    assert_int_equal (block->data[i], fill_byte (owner, index));
}

/* Get the block; fill it when it is not there.  Returns it pinned, and
 * whether it was there.
 */
static struct cache_block *
get (struct cache *cache, uint64_t owner, uint64_t index, size_t size,
     bool *hit)
{
  struct vmdk_error err;
  bool fill;
  struct cache_block *block =
    cache_get (cache, owner, index, size, &fill, &err);

  assert_non_null (block);
  assert_int_equal (block->size, size);
  if (fill) {
    memset (block->data, fill_byte (owner, index), size);
    cache_publish (cache, block);
  }
  *hit = !fill;
  check_bytes (block, owner, index);
  return block;
}

static bool
touch (struct cache *cache, uint64_t owner, uint64_t index, size_t size)
{
  bool hit;

  cache_put (cache, get (cache, owner, index, size, &hit));
  return hit;
}

static bool
is_there (struct cache *cache, uint64_t owner, uint64_t index)
{
  struct cache_block *block = cache_peek (cache, owner, index);

  if (!block)
    return false;
  check_bytes (block, owner, index);
  cache_put (cache, block);
  return true;
}

static void
test_keys (void **state)
{
  struct cache *cache = new_cache (1 << 20);
  const uint64_t a = cache_new_owner (cache);
  const uint64_t b = cache_new_owner (cache);

  (void) state;
  assert_int_not_equal (a, b);
  assert_false (is_there (cache, a, 0));
  assert_false (touch (cache, a, 0, SIZE));
  assert_true (touch (cache, a, 0, SIZE));
  assert_true (is_there (cache, a, 0));

  /* The same number of another owner, another number, a far one. */
  assert_false (is_there (cache, b, 0));
  assert_false (touch (cache, b, 0, SIZE));
  assert_false (touch (cache, a, 1, SIZE));
  assert_false (touch (cache, a, UINT64_C (1) << 62, SIZE));
  assert_true (touch (cache, a, 0, SIZE));
  assert_true (touch (cache, b, 0, SIZE));
  cache_free (cache);
}

static void
test_abandon (void **state)
{
  struct cache *cache = new_cache (1 << 20);
  const uint64_t owner = cache_new_owner (cache);
  struct vmdk_error err;
  struct cache_block *block;
  bool fill;

  (void) state;
  block = cache_get (cache, owner, 5, SIZE, &fill, &err);
  assert_non_null (block);
  assert_true (fill);
  assert_null (cache_peek (cache, owner, 5)); /* not published */
  cache_abandon (cache, block);
  assert_false (is_there (cache, owner, 5));
  assert_int_equal (cache_used (cache), 0);
  assert_false (touch (cache, owner, 5, SIZE));
  cache_free (cache);
}

static void
test_claim (void **state)
{
  struct cache *cache = new_cache (1 << 20);
  const uint64_t owner = cache_new_owner (cache);
  struct cache_block *block = cache_claim (cache, owner, 5, SIZE);

  (void) state;
  assert_non_null (block);
  assert_int_equal (block->size, SIZE);
  assert_null (cache_claim (cache, owner, 5, SIZE)); /* being filled */
  assert_null (cache_peek (cache, owner, 5));
  memset (block->data, fill_byte (owner, 5), SIZE);
  cache_publish (cache, block);
  check_bytes (block, owner, 5); /* still held */
  cache_put (cache, block);
  assert_null (cache_claim (cache, owner, 5, SIZE)); /* there */
  assert_true (touch (cache, owner, 5, SIZE));

  block = cache_claim (cache, owner, 6, SIZE);
  assert_non_null (block);
  cache_abandon (cache, block);
  block = cache_claim (cache, owner, 6, SIZE);
  assert_non_null (block);
  cache_abandon (cache, block);
  cache_put (cache, NULL);
  cache_free (cache);
  cache_free (NULL);
}

static void
test_budget (void **state)
{
  const size_t budget = 100 * SIZE;
  struct cache *cache = new_cache (budget);
  const uint64_t owner = cache_new_owner (cache);
  unsigned nr_there = 0;

  (void) state;
  assert_int_equal (cache_used (cache), 0);
  assert_true (cache_has_room (cache, SIZE));
  assert_false (cache_has_room (cache, budget));
  assert_false (cache_has_room (cache, SIZE_MAX));

  for (uint64_t i = 0; i < 1000; i++) {
    assert_false (touch (cache, owner, i, SIZE));
    assert_in_range (cache_used (cache), 1, budget);
  }
  assert_false (cache_has_room (cache, 10 * SIZE));

  /* What is kept is worth the budget, overheads aside. */
  for (uint64_t i = 0; i < 1000; i++)
    nr_there += is_there (cache, owner, i);
  assert_in_range (nr_there, 75, 99);
  cache_free (cache);
}

/* A block that is used again and again outlives a scan. */
static void
test_second_chance (void **state)
{
  struct cache *cache = new_cache (100 * SIZE);
  const uint64_t owner = cache_new_owner (cache);

  (void) state;
  touch (cache, owner, UINT64_MAX, SIZE);
  for (uint64_t i = 0; i < 1000; i++) {
    touch (cache, owner, i, SIZE);
    assert_true (touch (cache, owner, UINT64_MAX, SIZE));
  }
  cache_free (cache);
}

static void
test_no_budget (void **state)
{
  struct cache *cache = new_cache (0);
  const uint64_t owner = cache_new_owner (cache);
  struct cache_block *block;
  bool hit;

  (void) state;
  assert_false (cache_has_room (cache, 0));
  for (uint64_t i = 0; i < 100; i++) {
    block = get (cache, owner, i, SIZE, &hit);
    assert_false (hit);
    cache_put (cache, block);
  }
  /* The last may linger until the next comes. */
  assert_in_range (cache_used (cache), 0, 2 * SIZE);
  cache_free (cache);
}

/* Pinned blocks stay, whatever the budget says, and go when it is their turn
 * after that.
 */
static void
test_pins (void **state)
{
  enum { NR_PINNED = 50 };
  struct cache *cache = new_cache (10 * SIZE);
  const uint64_t owner = cache_new_owner (cache);
  struct cache_block *pinned[NR_PINNED];
  bool hit;

  (void) state;
  for (uint64_t i = 0; i < NR_PINNED; i++)
    pinned[i] = get (cache, owner, i, SIZE, &hit);
  assert_in_range (cache_used (cache), NR_PINNED * SIZE, SIZE_MAX);
  for (uint64_t i = 0; i < 500; i++)
    touch (cache, owner, 1000 + i, SIZE);
  for (uint64_t i = 0; i < NR_PINNED; i++) {
    check_bytes (pinned[i], owner, i);
    assert_true (is_there (cache, owner, i));
    cache_put (cache, pinned[i]);
  }
  for (uint64_t i = 0; i < 500; i++)
    touch (cache, owner, 2000 + i, SIZE);
  assert_in_range (cache_used (cache), 0, 10 * SIZE);
  cache_free (cache);
}

static void
test_forget (void **state)
{
  struct cache *cache = new_cache (1 << 20);
  const uint64_t a = cache_new_owner (cache);
  const uint64_t b = cache_new_owner (cache);
  size_t used_by_b;

  (void) state;
  for (uint64_t i = 0; i < 100; i++)
    touch (cache, b, i, SIZE);
  used_by_b = cache_used (cache);
  for (uint64_t i = 0; i < 200; i++)
    touch (cache, a, i, SIZE);
  cache_forget (cache, a);
  assert_int_equal (cache_used (cache), used_by_b);
  for (uint64_t i = 0; i < 200; i++)
    assert_false (is_there (cache, a, i));
  for (uint64_t i = 0; i < 100; i++)
    assert_true (is_there (cache, b, i));
  cache_forget (cache, b);
  assert_int_equal (cache_used (cache), 0);
  cache_forget (cache, b);
  assert_false (touch (cache, a, 0, SIZE));
  cache_free (cache);
}

/* -- With threads ------------------------------------------------------- */

#define NR_THREADS 4

struct shared {
  struct cache *cache;
  uint64_t owner;
  pthread_barrier_t barrier;
  _Atomic unsigned nr_fills, nr_abandoned, nr_wrong;
  _Atomic unsigned busy[64]; /* who fills this block */
};

/* cmocka's asserts belong to the main thread; here mistakes are counted. */
static void
expect (struct shared *s, bool ok)
{
  if (!ok)
    atomic_fetch_add (&s->nr_wrong, 1);
}

static void
run_threads (struct shared *s, void *(*body) (void *) )
{
  pthread_t threads[NR_THREADS];

  pthread_barrier_init (&s->barrier, NULL, NR_THREADS);
  for (size_t i = 0; i < NR_THREADS; i++)
    assert_int_equal (pthread_create (&threads[i], NULL, body, s), 0);
  for (size_t i = 0; i < NR_THREADS; i++)
    pthread_join (threads[i], NULL);
  pthread_barrier_destroy (&s->barrier);
}

static bool
bytes_are (const struct cache_block *block, uint8_t byte)
{
  for (size_t i = 0; i < block->size; i++)
    if (block->data[i] != byte)
      return false;
  return true;
}

/* All want the same absent blocks at once: each is filled once. */
static void *
want_the_same (void *opaque)
{
  struct shared *s = opaque;
  struct vmdk_error err;

  for (uint64_t i = 0; i < 200; i++) {
    struct cache_block *block;
    bool fill;

    pthread_barrier_wait (&s->barrier);
    block = cache_get (s->cache, s->owner, i, SIZE, &fill, &err);
    if (fill) {
      atomic_fetch_add (&s->nr_fills, 1);
      memset (block->data, fill_byte (s->owner, i), SIZE);
      cache_publish (s->cache, block);
    }
    expect (s, bytes_are (block, fill_byte (s->owner, i)));
    cache_put (s->cache, block);
  }
  return NULL;
}

static void
test_single_flight (void **state)
{
  struct shared s = { .cache = new_cache (1 << 20) };

  (void) state;
  s.owner = cache_new_owner (s.cache);
  run_threads (&s, want_the_same);
  assert_int_equal (s.nr_fills, 200);
  assert_int_equal (s.nr_wrong, 0);
  cache_free (s.cache);
}

/* The first three who get to fill a block give it up; the waiters are woken
 * and one of them is next.
 */
static void *
give_up_three_times (void *opaque)
{
  struct shared *s = opaque;
  struct vmdk_error err;

  pthread_barrier_wait (&s->barrier);
  for (;;) {
    bool fill;
    struct cache_block *block =
      cache_get (s->cache, s->owner, 1, SIZE, &fill, &err);

    if (!fill) {
      expect (s, bytes_are (block, 42));
      cache_put (s->cache, block);
      return NULL;
    }
    if (atomic_fetch_add (&s->nr_abandoned, 1) < 3) {
      cache_abandon (s->cache, block);
      continue;
    }
    atomic_fetch_add (&s->nr_fills, 1);
    memset (block->data, 42, SIZE);
    cache_publish (s->cache, block);
    cache_put (s->cache, block);
    return NULL;
  }
}

static void
test_abandon_wakes (void **state)
{
  (void) state;
  for (int round = 0; round < 100; round++) {
    struct shared s = { .cache = new_cache (1 << 20) };

    s.owner = cache_new_owner (s.cache);
    run_threads (&s, give_up_three_times);
    assert_int_equal (s.nr_fills, 1);
    assert_int_equal (s.nr_wrong, 0);
    cache_free (s.cache);
  }
}

/* Everything at once in a cache that is much too small: blocks come and go,
 * no two fill one block, and no bytes are ever another block's.
 */
static void *
churn (void *opaque)
{
  struct shared *s = opaque;
  struct vmdk_error err;
  uint64_t r = (uint64_t) (uintptr_t) &err | 1;

  pthread_barrier_wait (&s->barrier);
  for (int round = 0; round < 5000; round++) {
    struct cache_block *block;
    bool fill = false;
    uint64_t i;

    r ^= r << 13, r ^= r >> 7, r ^= r << 17;
    i = r % 64;
    switch (r >> 32 & 7) {
    case 0:
      block = cache_peek (s->cache, s->owner, i);
      break;
    case 1:
      block = cache_claim (s->cache, s->owner, i, SIZE);
      fill = block != NULL;
      break;
    default:
      block = cache_get (s->cache, s->owner, i, SIZE, &fill, &err);
    }
    if (!block)
      continue;
    if (fill) {
      expect (s, atomic_fetch_add (&s->busy[i], 1) == 0);
      memset (block->data, fill_byte (s->owner, i), SIZE);
      atomic_fetch_sub (&s->busy[i], 1);
      if ((r >> 40 & 15) == 0) {
        cache_abandon (s->cache, block);
        continue;
      }
      cache_publish (s->cache, block);
    }
    expect (s, bytes_are (block, fill_byte (s->owner, i)));
    cache_put (s->cache, block);
  }
  return NULL;
}

static void
test_churn (void **state)
{
  struct shared s = { .cache = new_cache (16 * SIZE) };

  (void) state;
  s.owner = cache_new_owner (s.cache);
  run_threads (&s, churn);
  assert_int_equal (s.nr_wrong, 0);
  touch (s.cache, s.owner, 1000, SIZE);
  assert_in_range (cache_used (s.cache), 0, 16 * SIZE);
  cache_forget (s.cache, s.owner);
  assert_int_equal (cache_used (s.cache), 0);
  cache_free (s.cache);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_keys),
    cmocka_unit_test (test_abandon),
    cmocka_unit_test (test_claim),
    cmocka_unit_test (test_budget),
    cmocka_unit_test (test_second_chance),
    cmocka_unit_test (test_no_budget),
    cmocka_unit_test (test_pins),
    cmocka_unit_test (test_forget),
    cmocka_unit_test (test_single_flight),
    cmocka_unit_test (test_abandon_wakes),
    cmocka_unit_test (test_churn),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
