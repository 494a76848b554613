/* SPDX-License-Identifier: BSD-3-Clause */

/* Many threads write, zero, read and flush one disk.  Each owns every n-th
 * sector, so that they meet in the same grains all the time and everyone
 * still knows what his sectors hold.  ThreadSanitizer must have nothing to
 * say.
 */

#include <config.h>

#include <inttypes.h>
#include <pthread.h>

#include "extent-helper.h"
#include "sparse-image.h"
#include "chain-model.h"

#define NR_THREADS 6
#define NR_OPERATIONS 800

struct job {
  struct chain_model *m;
  struct disk *disk;
  uint64_t seed, id;
  bool ok;
};

static bool
write_sector (struct job *job, uint64_t offset)
{
  uint8_t *mine = job->m->bytes + offset;
  struct vmdk_error err;

  for (size_t i = 0; i < SECTOR_SIZE; i += 8)
    le64_store (mine + i, random_next (&job->seed));
  return disk_write (job->disk, mine, SECTOR_SIZE, offset, &err) == 0;
}

static bool
zero_sector (struct job *job, uint64_t offset)
{
  struct vmdk_error err;

  memset (job->m->bytes + offset, 0, SECTOR_SIZE);
  return disk_zero (job->disk, SECTOR_SIZE, offset, DISK_ZERO_MAY_FREE, &err)
         == 0;
}

static bool
check_sector (struct job *job, uint64_t offset)
{
  uint8_t buf[SECTOR_SIZE];
  struct vmdk_error err;

  return disk_read (job->disk, buf, sizeof buf, offset, &err) == 0
         && memcmp (buf, job->m->bytes + offset, sizeof buf) == 0;
}

static bool
do_one (struct job *job)
{
  const uint64_t nr_owned = (job->m->nr_sectors - job->id) / NR_THREADS;
  const uint64_t sector =
    random_next (&job->seed) % nr_owned * NR_THREADS + job->id;
  const uint64_t offset = sectors_to_bytes (sector);
  struct vmdk_error err;

  switch (random_next (&job->seed) % 16) {
  case 0:
    return disk_flush (job->disk, &err) == 0;
  case 1:
  case 2:
    return zero_sector (job, offset);
  case 3:
  case 4:
  case 5:
  case 6:
    return check_sector (job, offset);
  default:
    return write_sector (job, offset);
  }
}

/* Assertions of cmocka jump, so a thread only reports. */
static void *
work (void *opaque)
{
  struct job *job = opaque;

  job->ok = true;
  for (int i = 0; i < NR_OPERATIONS && job->ok; i++)
    job->ok = do_one (job);
  return NULL;
}

static void
check_all (const struct chain_model *m, struct disk *disk)
{
  const uint64_t size = sectors_to_bytes (m->nr_sectors);
  uint8_t *all = malloc (size);
  struct vmdk_error err;

  assert_non_null (all);
  assert_int_equal (disk_read (disk, all, size, 0, &err), 0);
  assert_memory_equal (all, m->bytes, size);
  free (all);
}

static void
run_threads (uint64_t seed, size_t depth)
{
  struct fixture f;
  struct chain_model m;
  struct job jobs[NR_THREADS];
  pthread_t threads[NR_THREADS];
  struct disk *disk;

  fixture_init (&f);
  chain_model_init (&m, seed, depth);
  const struct chain_rules rules = { .open = f.rules, .writable = true };
  disk = disk_open (m.store, m.top, STORE_FROM_FILE, &rules, &f.err);
  assert_non_null (disk);

  for (uint64_t i = 0; i < NR_THREADS; i++) {
    jobs[i] = (struct job){ &m, disk, seed * 100 + i + 1, i, false };
    assert_int_equal (pthread_create (&threads[i], NULL, work, &jobs[i]), 0);
  }
  for (size_t i = 0; i < NR_THREADS; i++) {
    assert_int_equal (pthread_join (threads[i], NULL), 0);
    assert_true (jobs[i].ok);
  }
  check_all (&m, disk);
  assert_int_equal (disk_finish (disk, &f.err), 0);
  disk_close (disk);

  disk = chain_model_open (&m, &f);
  check_all (&m, disk);
  disk_close (disk);
  chain_model_free (&m);
  fixture_free (&f);
}

static void
test_bases (void **state)
{
  (void) state;
  run_threads (1, 1); /* flat */
  run_threads (2, 1);
}

static void
test_children (void **state)
{
  (void) state;
  run_threads (3, 2);
  run_threads (4, 3);
  run_threads (5, 5);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_bases),
    cmocka_unit_test (test_children),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
