/* SPDX-License-Identifier: BSD-3-Clause */

/* Blocks of far files: the right bytes whoever asks for them, fetched once,
 * ahead of who reads on, and never more of them than the budget.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "checked.h"
#include "range-cache.h"

#define BLOCK 4096
#define NR_BLOCKS 100

struct far_file {
  uint64_t size;
  _Atomic unsigned fetched[NR_BLOCKS + 1];
  _Atomic unsigned nr_fetches;
  _Atomic int failing; /* so many fetches fail */
  pthread_mutex_t gate;
};

static uint8_t
byte_at (uint64_t offset)
{
  return (uint8_t) (offset * 13 ^ offset >> 8 ^ offset >> 16);
}

static int
fetch (void *file, void *buf, size_t count, uint64_t offset,
       struct vmdk_error *err)
{
  struct far_file *far = file;
  uint8_t *p = buf;

  pthread_mutex_lock (&far->gate);
  pthread_mutex_unlock (&far->gate);
  far->nr_fetches++;
  if (far->failing > 0) {
    far->failing--;
    return fail (err, ERR_SYSTEM, "the line is dead");
  }
  assert_int_equal (offset % BLOCK, 0);
  assert_true (range_inside (offset, count, far->size));
  assert_int_equal (count, min_u64 (BLOCK, far->size - offset));
  far->fetched[offset / BLOCK]++;
  for (size_t i = 0; i < count; i++)
    p[i] = byte_at (offset + i);
  return 0;
}

static struct far_file *
far_file_new (uint64_t size)
{
  struct far_file *far = calloc (1, sizeof *far);

  far->size = size;
  pthread_mutex_init (&far->gate, NULL);
  return far;
}

static struct range_cache *
cache_new (size_t nr_slots, size_t ahead)
{
  const struct range_cache_settings settings = {
    .fetch = fetch,
    .block_size = BLOCK,
    .budget = nr_slots * BLOCK,
    .ahead = ahead * BLOCK,
  };
  struct vmdk_error err;
  struct range_cache *cache = range_cache_new (&settings, &err);

  assert_non_null (cache);
  return cache;
}

static void
assert_reads (struct range_file *file, uint64_t offset, size_t count)
{
  struct vmdk_error err = { 0 };
  uint8_t *buf = malloc (count + 1);

  buf[count] = 0x77;
  assert_int_equal (range_file_read (file, buf, count, offset, &err), 0);
  for (size_t i = 0; i < count; i++)
    if (buf[i] != byte_at (offset + i))
      assert_int_equal (offset + i, UINT64_MAX);
  assert_int_equal (buf[count], 0x77);
  free (buf);
}

/* Every kind of range, with fewer blocks than the longest needs. */
static void
ranges (void **state)
{
  static const struct {
    uint64_t offset;
    size_t count;
  } cases[] = {
    { 0, 1 },
    { 0, BLOCK },
    { 1, BLOCK },
    { BLOCK - 1, 2 },
    { 3 * BLOCK + 5, 0 },
    { 0, 99 * BLOCK + 100 },
    { 99 * BLOCK, 100 },
    { 99 * BLOCK + 99, 1 },
  };
  struct vmdk_error err;
  struct far_file *far = far_file_new (99 * BLOCK + 100);
  struct range_cache *cache = cache_new (4, 8);
  struct range_file *file = range_file_new (cache, far, far->size, &err);

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_reads (file, cases[i].offset, cases[i].count);
  range_file_free (file);
  range_cache_free (cache);
  free (far);
}

/* From start to end in small steps, each block is fetched once. */
static void
once_each (void **state)
{
  struct vmdk_error err;
  struct far_file *far = far_file_new (NR_BLOCKS * BLOCK);
  struct range_cache *cache = cache_new (16, 8);
  struct range_file *file = range_file_new (cache, far, far->size, &err);

  (void) state;
  for (uint64_t offset = 0; offset < far->size; offset += 512)
    assert_reads (file, offset, 512);
  for (size_t i = 0; i < NR_BLOCKS; i++)
    assert_int_equal (far->fetched[i], 1);
  range_file_free (file);
  range_cache_free (cache);
  free (far);
}

static void
wait_for (const _Atomic unsigned *value, unsigned wanted)
{
  while (*value < wanted)
    sched_yield ();
}

/* Who has read two blocks one after the other has the next ones on their way;
 * who jumps about has not.
 */
static void
ahead_of_readers (void **state)
{
  struct vmdk_error err;
  struct far_file *far = far_file_new (NR_BLOCKS * BLOCK);
  struct range_cache *cache = cache_new (64, 8);
  struct range_file *file = range_file_new (cache, far, far->size, &err);

  (void) state;
  assert_reads (file, 90 * BLOCK, 10);
  assert_reads (file, 50 * BLOCK, 10);
  assert_reads (file, 70 * BLOCK, 10);
  assert_int_equal (far->nr_fetches, 3);
  for (uint64_t i = 0; i < 5; i++)
    assert_reads (file, i * BLOCK, BLOCK);
  wait_for (&far->fetched[5], 1);
  wait_for (&far->fetched[12], 1);
  assert_int_equal (far->fetched[13], 0);
  assert_int_equal (far->fetched[51], 0);

  range_file_advise (file, 80 * BLOCK, 2 * BLOCK);
  wait_for (&far->fetched[80], 1);
  wait_for (&far->fetched[81], 1);
  range_file_advise (file, 99 * BLOCK, UINT64_MAX);
  range_file_advise (file, UINT64_MAX, 1);
  wait_for (&far->fetched[99], 1);
  range_file_free (file);
  range_cache_free (cache);
  free (far);
}

/* An error is told to who waits for it, and not kept. */
static void
failures_pass (void **state)
{
  struct vmdk_error err = { 0 };
  struct far_file *far = far_file_new (NR_BLOCKS * BLOCK);
  struct range_cache *cache = cache_new (8, 4);
  struct range_file *file = range_file_new (cache, far, far->size, &err);
  uint8_t buf[10];

  (void) state;
  far->failing = 1;
  assert_int_equal (range_file_read (file, buf, 10, 20 * BLOCK, &err), -1);
  assert_string_equal (err.text, "the line is dead");
  assert_reads (file, 20 * BLOCK, 10);
  range_file_free (file);
  range_cache_free (cache);
  free (far);
}

/* -- Threads ------------------------------------------------------------ */

struct job {
  struct range_file *file;
  unsigned seed;
};

static void *
read_at_random (void *opaque)
{
  struct job *job = opaque;
  uint64_t x = job->seed;

  for (unsigned i = 0; i < 500; i++) {
    x = x * UINT64_C (6364136223846793005) + 1442695040888963407u;
    assert_reads (job->file, (x >> 20) % (80 * BLOCK),
                  (size_t) (x >> 50) % (10 * BLOCK) + 1);
  }
  return NULL;
}

static void
many_threads (void **state)
{
  struct vmdk_error err;
  struct far_file *far = far_file_new (NR_BLOCKS * BLOCK);
  struct range_cache *cache = cache_new (5, 4);
  struct range_file *file = range_file_new (cache, far, far->size, &err);
  pthread_t threads[8];
  struct job jobs[8];

  (void) state;
  for (unsigned i = 0; i < 8; i++) {
    jobs[i] = (struct job){ file, i + 1 };
    assert_int_equal (
      pthread_create (&threads[i], NULL, read_at_random, &jobs[i]), 0);
  }
  for (unsigned i = 0; i < 8; i++)
    pthread_join (threads[i], NULL);
  range_file_free (file);
  range_cache_free (cache);
  free (far);
}

static void *
read_first (void *opaque)
{
  assert_reads (opaque, 0, 10);
  return NULL;
}

/* Several want one block: one fetch.  To close a file waits for what is being
 * fetched for it.
 */
static void
shared (void **state)
{
  struct vmdk_error err;
  struct far_file *far = far_file_new (NR_BLOCKS * BLOCK);
  struct range_cache *cache = cache_new (8, 4);
  struct range_file *file = range_file_new (cache, far, far->size, &err);
  pthread_t threads[4];

  (void) state;
  pthread_mutex_lock (&far->gate);
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal (pthread_create (&threads[i], NULL, read_first, file), 0);
  usleep (20000);
  pthread_mutex_unlock (&far->gate);
  for (unsigned i = 0; i < 4; i++)
    pthread_join (threads[i], NULL);
  assert_int_equal (far->fetched[0], 1);

  range_file_advise (file, 10 * BLOCK, 4 * BLOCK);
  range_file_free (file);
  range_cache_free (cache);
  free (far);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (ranges),           cmocka_unit_test (once_each),
    cmocka_unit_test (ahead_of_readers), cmocka_unit_test (failures_pass),
    cmocka_unit_test (many_threads),     cmocka_unit_test (shared),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
