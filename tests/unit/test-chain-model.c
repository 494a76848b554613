/* SPDX-License-Identifier: BSD-3-Clause */

/* Random chains against a plain array: every mixture of grain sizes, extents
 * that end at any sector, links of different capacities, zeros over data.
 * Reads and block status must agree with the array, through the map of
 * owners (deep chains) and without it, with and without cache.
 */

#include <config.h>

#include "extent-helper.h"
#include "sparse-image.h"
#include "chain-model.h"

/* Block status of a random range, byte for byte. */
struct check {
  const struct chain_model *m;
  uint64_t at;
  struct disk_piece last;
};

static bool
check_piece (void *opaque, const struct disk_piece *piece)
{
  struct check *c = opaque;

  assert_int_equal (piece->offset, c->at);
  assert_true (piece->length > 0);
  if (c->last.length) /* merged */
    assert_true (piece->hole != c->last.hole || piece->zero != c->last.zero);
  for (uint64_t at = piece->offset; at < piece->offset + piece->length;
       at = (at / SECTOR_SIZE + 1) * SECTOR_SIZE) {
    const enum sector_state state = c->m->states[at / SECTOR_SIZE];

    assert_int_equal (piece->hole, state == SECTOR_ABSENT);
    assert_int_equal (piece->zero, state != SECTOR_DATA);
  }
  c->at += piece->length;
  c->last = *piece;
  return true;
}

static void
check_map (const struct chain_model *m, struct disk *disk, uint64_t offset,
           uint64_t count)
{
  struct check c = { .m = m, .at = offset };
  struct vmdk_error err;

  assert_int_equal (disk_map (disk, offset, count, check_piece, &c, &err), 0);
  assert_int_equal (c.at, offset + count);
}

static void
check_chain (uint64_t seed, size_t depth, size_t budget)
{
  struct fixture f;
  struct chain_model m;
  struct disk *disk;
  uint64_t ops = seed + 99;

  fixture_init (&f);
  cache_free (f.resources.tables);
  f.resources.tables = cache_new (budget, &f.err);
  chain_model_init (&m, seed, depth);
  disk = chain_model_open (&m, &f);
  check_map (&m, disk, 0, disk_size (disk));
  for (int i = 0; i < 300; i++) {
    const uint64_t offset = random_next (&ops) % disk_size (disk);

    chain_model_read (&m, disk, &ops);
    check_map (&m, disk, offset,
               1 + random_next (&ops) % (disk_size (disk) - offset));
  }
  disk_close (disk);
  assert_int_equal (cache_used (f.resources.tables), 0);
  chain_model_free (&m);
  fixture_free (&f);
}

static void
test_single_links (void **state)
{
  (void) state;
  for (uint64_t seed = 1; seed <= 6; seed++)
    check_chain (seed, 1, 1 << 20);
}

static void
test_shallow (void **state)
{
  (void) state;
  for (uint64_t seed = 10; seed <= 16; seed++)
    check_chain (seed, 2, 1 << 20);
}

static void
test_deep (void **state)
{
  (void) state;
  for (uint64_t seed = 20; seed <= 27; seed++)
    check_chain (seed, 3 + seed % 9, 1 << 20);
}

static void
test_very_deep (void **state)
{
  (void) state;
  check_chain (30, 60, 4 << 20);
  check_chain (31, 255, 8 << 20);
}

static void
test_without_cache (void **state)
{
  (void) state;
  for (uint64_t seed = 40; seed <= 43; seed++)
    check_chain (seed, 5, 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_single_links),  cmocka_unit_test (test_shallow),
    cmocka_unit_test (test_deep),          cmocka_unit_test (test_very_deep),
    cmocka_unit_test (test_without_cache),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
