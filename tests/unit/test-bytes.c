/* SPDX-License-Identifier: BSD-3-Clause */

/* Loads, stores, and the cursor that cannot run off the end. */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"

static const uint8_t sample[15] = { 0xf1, 0xf2, 0xf3, 0xf4, 0xf5,
                                    0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
                                    0xfb, 0xfc, 0xfd, 0xfe, 0xff };

static void
test_load_store (void **state)
{
  uint8_t buf[9] = { 0 }; /* at odd addresses */

  (void) state;
  assert_int_equal (le16_load (sample), 0xf2f1);
  assert_int_equal (le32_load (sample + 1), 0xf5f4f3f2);
  assert_int_equal (le64_load (sample + 1), UINT64_C (0xf9f8f7f6f5f4f3f2));
  le16_store (buf + 1, 0xf3f2);
  assert_memory_equal (buf + 1, sample + 1, 2);
  le32_store (buf + 1, 0xf5f4f3f2);
  assert_memory_equal (buf + 1, sample + 1, 4);
  le64_store (buf + 1, UINT64_C (0xf9f8f7f6f5f4f3f2));
  assert_memory_equal (buf + 1, sample + 1, 8);
  assert_int_equal (buf[0], 0);
}

static void
test_take_all (void **state)
{
  uint8_t in[15], out[2];
  struct bytes b = bytes_of (in, sizeof in);

  (void) state;
  memcpy (in, sample, sizeof in);
  assert_int_equal (bytes_take8 (&b), 0xf1);
  assert_int_equal (bytes_take16 (&b), 0xf3f2);
  assert_int_equal (bytes_take32 (&b), 0xf7f6f5f4);
  assert_ptr_equal (bytes_skip (&b, 6), in + 7);
  bytes_take (&b, out, 2);
  assert_memory_equal (out, sample + 13, 2);
  assert_int_equal (b.left, 0);
  assert_ptr_equal (bytes_skip (&b, 0), in + 15);
  assert_false (b.failed);
}

/* The first take past the end fails, gives zeros, and so do all after it. */
static void
test_take_past_end (void **state)
{
  uint8_t *in = malloc (7); /* exactly, for sanitizers */
  uint8_t out[4] = { 1, 1, 1, 1 };
  struct bytes b = bytes_of (in, 7);

  (void) state;
  memcpy (in, sample, 7);
  assert_int_equal (bytes_take64 (&b), 0);
  assert_true (b.failed);
  assert_int_equal (bytes_take8 (&b), 0);
  assert_int_equal (bytes_take16 (&b), 0);
  assert_int_equal (bytes_take32 (&b), 0);
  bytes_take (&b, out, 4);
  assert_int_equal (le32_load (out), 0);
  assert_null (bytes_skip (&b, 0));

  b = bytes_of (in, 7);
  assert_null (bytes_skip (&b, SIZE_MAX));
  assert_true (b.failed);
  free (in);
}

static void
test_put (void **state)
{
  uint8_t buf[15];
  struct bytes b = bytes_of (buf, sizeof buf);

  (void) state;
  bytes_put8 (&b, 0xf1);
  bytes_put16 (&b, 0xf3f2);
  bytes_put32 (&b, 0xf7f6f5f4);
  bytes_put64 (&b, UINT64_C (0xfffefdfcfbfaf9f8));
  assert_false (b.failed);
  assert_memory_equal (buf, sample, sizeof buf);

  bytes_put8 (&b, 0); /* past the end: nothing is written */
  bytes_put (&b, "xx", 2);
  assert_true (b.failed);
  assert_memory_equal (buf, sample, sizeof buf);

  b = bytes_of (buf, 3);
  bytes_put32 (&b, 0);
  bytes_put16 (&b, 0); /* would fit, but the failure is sticky */
  assert_true (b.failed);
  assert_memory_equal (buf, sample, sizeof buf);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_load_store),
    cmocka_unit_test (test_take_all),
    cmocka_unit_test (test_take_past_end),
    cmocka_unit_test (test_put),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
