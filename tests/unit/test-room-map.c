/* SPDX-License-Identifier: BSD-3-Clause */

/* The map of a file's room against an array of bytes: random ranges, windows
 * of every position, units that are not sectors.
 */

#include <config.h>

#include "extent-helper.h"
#include "room-map.h"

#define MAX_UNITS 2000

static bool
model_take (bool *taken, uint64_t unit, uint64_t base, uint64_t size,
            uint64_t first, uint64_t end, uint64_t offset, uint64_t count)
{
  bool was_free = true;

  for (uint64_t i = first; i < end; i++) {
    const uint64_t start = base + i * unit;
    const uint64_t length = min_u64 (unit, size - start);

    if (!ranges_overlap (start, length, offset, count))
      continue;
    was_free &= !taken[i];
    taken[i] = true;
  }
  return was_free;
}

/* Every stretch that the map calls free, in order, and nothing else. */
static void
compare_free (const struct room_map *map, const bool *taken, uint64_t unit,
              uint64_t base, uint64_t size, uint64_t first, uint64_t end)
{
  uint64_t from = 0, offset, length, i = first;

  while (room_map_free_from (map, from, &offset, &length)) {
    while (i < end && taken[i])
      i++;
    assert_true (i < end);
    assert_int_equal (offset, base + i * unit);
    while (i < end && !taken[i])
      i++;
    assert_int_equal (offset + length, min_u64 (base + i * unit, size));
    from = offset + length;
  }
  while (i < end && taken[i])
    i++;
  assert_int_equal (i, end);
}

static void
try (uint64_t seed)
{
  struct vmdk_error err;
  const uint64_t unit = 512 << random_next (&seed) % 4;
  const uint64_t base = random_next (&seed) % 3 * 512;
  const uint64_t size = base + 1 + random_next (&seed) % (MAX_UNITS * unit);
  const uint64_t nr_units = div_round_up (size - base, unit);
  const uint64_t window = 64 * (1 + random_next (&seed) % 20);
  struct room_map *map;

  room_map_window (window);
  map = room_map_new (size, unit, base, &err);
  assert_non_null (map);
  for (uint64_t w = 0; w < room_map_nr_windows (map); w++) {
    const uint64_t first = w * min_u64 (window, nr_units);
    const uint64_t end = min_u64 (first + window, nr_units);
    bool taken[MAX_UNITS + 1] = { false };

    room_map_turn (map, w);
    for (int i = 0; i < 60; i++) {
      const uint64_t offset = random_next (&seed) % size;
      const uint64_t count =
        1 + random_next (&seed) % min_u64 (size - offset, 40 * unit);

      assert_int_equal (
        room_map_take (map, offset, count),
        model_take (taken, unit, base, size, first, end, offset, count));
      compare_free (map, taken, unit, base, size, first, end);
    }
  }
  room_map_free (map);
}

static void
test_model (void **state)
{
  (void) state;
  for (uint64_t seed = 1; seed <= 300; seed++)
    try (seed * UINT64_C (0x9e3779b97f4a7c15));
}

static void
test_empty (void **state)
{
  struct vmdk_error err;
  struct room_map *map = room_map_new (0, 512, 0, &err);
  uint64_t offset, length;

  (void) state;
  assert_non_null (map);
  assert_int_equal (room_map_nr_windows (map), 1);
  room_map_turn (map, 0);
  assert_true (room_map_take (map, 0, 512));
  assert_false (room_map_free_from (map, 0, &offset, &length));
  room_map_free (map);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_model),
    cmocka_unit_test (test_empty),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
