/* SPDX-License-Identifier: BSD-3-Clause */

/* Many threads on one chain with a cache that is always too small: what they
 * read must be right, and ThreadSanitizer must have nothing to say.
 */

#include <config.h>

#include <pthread.h>

#include "extent-helper.h"
#include "sparse-image.h"
#include "chain-model.h"

#define NR_THREADS 8
#define NR_READS 400

struct job {
  const struct chain_model *m;
  struct disk *disk;
  uint64_t seed;
  bool ok;
};

static bool
ignore_piece (void *opaque, const struct disk_piece *piece)
{
  (void) opaque;
  return piece->length > 0;
}

/* Assertions of cmocka jump, so a thread only reports. */
static bool
read_once (struct job *job)
{
  const uint64_t size = disk_size (job->disk);
  const uint64_t offset = random_next (&job->seed) % size;
  const uint64_t count =
    1 + random_next (&job->seed) % min_u64 (70000, size - offset);
  uint8_t *buf = malloc (count);
  struct vmdk_error err;
  const bool ok =
    disk_read (job->disk, buf, count, offset, &err) == 0
    && memcmp (buf, job->m->bytes + offset, count) == 0
    && disk_map (job->disk, offset, count, ignore_piece, NULL, &err) == 0;

  free (buf);
  return ok;
}

static void *
work (void *opaque)
{
  struct job *job = opaque;

  job->ok = true;
  for (int i = 0; i < NR_READS && job->ok; i++)
    job->ok = read_once (job);
  return NULL;
}

static void
run_threads (size_t depth, size_t budget)
{
  struct fixture f;
  struct chain_model m;
  struct job jobs[NR_THREADS];
  pthread_t threads[NR_THREADS];

  fixture_init (&f);
  cache_free (f.resources.tables);
  f.resources.tables = cache_new (budget, &f.err);
  chain_model_init (&m, 5, depth);
  struct disk *disk = chain_model_open (&m, &f);

  for (int i = 0; i < NR_THREADS; i++) {
    jobs[i] = (struct job){ &m, disk, 1000 + i, false };
    assert_int_equal (pthread_create (&threads[i], NULL, work, &jobs[i]), 0);
  }
  for (int i = 0; i < NR_THREADS; i++) {
    assert_int_equal (pthread_join (threads[i], NULL), 0);
    assert_true (jobs[i].ok);
  }
  disk_close (disk);
  chain_model_free (&m);
  fixture_free (&f);
}

static void
test_small_cache (void **state)
{
  (void) state;
  run_threads (6, 12000);
}

static void
test_large_cache (void **state)
{
  (void) state;
  run_threads (12, 8 << 20);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_small_cache),
    cmocka_unit_test (test_large_cache),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
