/* SPDX-License-Identifier: BSD-3-Clause */

/* Changed areas, kept: against a map of a small disk, a byte at a time. */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "changed-list.h"

#define SIZE 200

static void
add (struct changed_list *list, uint64_t offset, uint64_t count)
{
  struct vmdk_error err;

  assert_int_equal (changed_list_add (list, offset, count, &err), 0);
}

static void
nothing_changed (void **state)
{
  struct changed_list list = { 0 };
  uint64_t length;

  (void) state;
  assert_false (changed_list_has (&list, 7, &length));
  assert_int_equal (length, UINT64_MAX - 7);
}

/* Each byte, and that the length says just what the bytes behind it say. */
static void
compare (const struct changed_list *list, const bool changed[SIZE])
{
  for (uint64_t i = 0; i < SIZE; i++) {
    uint64_t length, end = i;

    assert_int_equal (changed_list_has (list, i, &length), changed[i]);
    while (end < SIZE && changed[end] == changed[i])
      end++;
    if (end < SIZE)
      assert_int_equal (length, end - i);
    else
      assert_true (length >= end - i);
  }
}

static void
any_areas (void **state)
{
  (void) state;
  for (unsigned seed = 0; seed < 50; seed++) {
    struct changed_list list = { 0 };
    bool changed[SIZE] = { false };
    uint64_t offset = 0;

    srand (seed);
    for (;;) {
      const uint64_t count = 1 + (uint64_t) rand () % 9;

      offset += (uint64_t) rand () % 9; /* 0: it touches the one before */
      if (offset + count > SIZE)
        break;
      add (&list, offset, count);
      memset (changed + offset, true, count);
      offset += count;
    }
    compare (&list, changed);
    changed_list_reset (&list);
  }
}

/* Nothing that has changed is ever left out. */
static void
limit (void **state)
{
  struct changed_list list = { .limit = 2 };
  uint64_t length;

  (void) state;
  add (&list, 0, 10);
  add (&list, 20, 10);
  add (&list, 40, 10);
  add (&list, 100, 10);
  assert_int_equal (list.len, 2);
  assert_true (changed_list_has (&list, 5, &length));
  assert_false (changed_list_has (&list, 10, &length));
  assert_int_equal (length, 10);
  assert_true (changed_list_has (&list, 20, &length));
  assert_int_equal (length, 90);
  assert_true (changed_list_has (&list, 109, &length));
  assert_false (changed_list_has (&list, 110, &length));
  changed_list_reset (&list);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (nothing_changed),
    cmocka_unit_test (any_areas),
    cmocka_unit_test (limit),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
