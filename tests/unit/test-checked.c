/* SPDX-License-Identifier: BSD-3-Clause */

/* Checked arithmetic at its edges. */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "checked.h"

#define MAX UINT64_MAX

static void
test_add_mul (void **state)
{
  uint64_t r;

  (void) state;
  assert_false (add_overflow (MAX - 1, 1, &r));
  assert_int_equal (r, MAX);
  assert_true (add_overflow (MAX, 1, &r));
  assert_true (add_overflow (MAX, MAX, &r));
  assert_false (mul_overflow (UINT64_C (1) << 32, 0xffffffff, &r));
  assert_int_equal (r, UINT64_C (0xffffffff00000000));
  assert_true (mul_overflow (UINT64_C (1) << 32, UINT64_C (1) << 32, &r));
  assert_false (mul_overflow (MAX, 0, &r));
  assert_int_equal (r, 0);
}

static void
test_range_inside (void **state)
{
  static const struct {
    uint64_t offset, count, size;
    bool inside;
  } cases[] = {
    { 0, 0, 0, true },     { 0, 1, 0, false },        { 1, 0, 0, false },
    { 10, 0, 10, true },   { 0, 10, 10, true },       { 1, 9, 10, true },
    { 1, 10, 10, false },  { 11, 0, 10, false },      { MAX, 2, 10, false },
    { 2, MAX, 10, false }, { MAX, MAX, MAX, false },  { 0, MAX, MAX, true },
    { MAX, 0, MAX, true }, { MAX - 1, 1, MAX, true },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_int_equal (
      range_inside (cases[i].offset, cases[i].count, cases[i].size),
      cases[i].inside);
}

static void
test_ranges_overlap (void **state)
{
  static const struct {
    uint64_t a, na, b, nb;
    bool overlap;
  } cases[] = {
    { 0, 10, 10, 10, false },  { 0, 11, 10, 10, true },
    { 5, 5, 0, 10, true },     { 5, 1, 5, 1, true },
    { 5, 0, 0, 10, false }, /* empty */
    { 5, 0, 5, 0, false },     { MAX, 1, 0, MAX, false },
    { MAX, 1, 1, MAX, true },  { MAX - 1, MAX, MAX, 1, true },
    { 0, MAX, MAX, 1, false },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_int_equal (
      ranges_overlap (cases[i].a, cases[i].na, cases[i].b, cases[i].nb),
      cases[i].overlap);
    assert_int_equal (
      ranges_overlap (cases[i].b, cases[i].nb, cases[i].a, cases[i].na),
      cases[i].overlap);
  }
}

static void
test_rounding (void **state)
{
  uint64_t r;

  (void) state;
  assert_int_equal (div_round_up (0, 512), 0);
  assert_int_equal (div_round_up (1, 512), 1);
  assert_int_equal (div_round_up (512, 512), 1);
  assert_int_equal (div_round_up (513, 512), 2);
  assert_int_equal (div_round_up (MAX, 2), UINT64_C (1) << 63);
  assert_int_equal (div_round_up (MAX, 1), MAX);

  assert_false (round_up_overflow (0, 512, &r));
  assert_int_equal (r, 0);
  assert_false (round_up_overflow (513, 512, &r));
  assert_int_equal (r, 1024);
  assert_false (round_up_overflow (MAX - 511, 512, &r));
  assert_int_equal (r, MAX - 511);
  assert_true (round_up_overflow (MAX - 510, 512, &r));
}

static void
test_powers_and_sectors (void **state)
{
  (void) state;
  assert_false (is_power_of_2 (0));
  assert_true (is_power_of_2 (1));
  assert_false (is_power_of_2 (3));
  assert_true (is_power_of_2 (UINT64_C (1) << 63));
  assert_false (is_power_of_2 (MAX));

  assert_int_equal (min_u64 (1, MAX), 1);
  assert_int_equal (max_u64 (1, MAX), MAX);
  assert_int_equal (sectors_to_bytes (MAX_SECTORS),
                    (UINT64_C (1) << 63) - 512);
  assert_int_equal (bytes_to_sectors (1023), 1);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_add_mul),
    cmocka_unit_test (test_range_inside),
    cmocka_unit_test (test_ranges_overlap),
    cmocka_unit_test (test_rounding),
    cmocka_unit_test (test_powers_and_sectors),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
