/* SPDX-License-Identifier: BSD-3-Clause */

/* The links of a folder: whose parent is whose, and what is wrong. */

#include <config.h>

#include "extent-helper.h"
#include "forest.h"

static struct fixture f;
static struct store *store;
static struct forest forest;

static int
setup (void **state)
{
  (void) state;
  fixture_init (&f);
  store = store_memory_new ("folder", &f.err);
  return store ? 0 : -1;
}

static int
teardown (void **state)
{
  (void) state;
  forest_free (&forest);
  store_close (store);
  cache_free (f.resources.tables);
  return 0;
}

/* PARENT NULL: a base. */
static void
put (const char *name, const char *cid, const char *parent,
     const char *parent_cid)
{
  char text[500];

  snprintf (text, sizeof text,
            "# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\n"
            "createType=\"custom\"\n%s%s%sRW 64 SPARSE \"not-there\"\n",
            cid, parent ? parent_cid : "ffffffff",
            parent ? "parentFileNameHint=\"" : "", parent ? parent : "",
            parent ? "\"\n" : "");
  assert_int_equal (
    store_memory_add (store, name, text, strlen (text), &f.err), 0);
}

static void
read_all (bool allow_outside)
{
  const struct operation operation = {
    .rules = { .open = f.rules, .names = { .allow_outside = allow_outside } },
  };

  assert_int_equal (forest_read (store, &operation, &forest, &f.err), 0);
}

static void
assert_link (const char *name, enum parent_state state, const char *parent,
             size_t nr_children)
{
  for (size_t i = 0; i < forest.nr_links; i++) {
    const struct forest_link *link = &forest.links[i];

    if (strcmp (link->name, name) != 0)
      continue;
    assert_string_equal (parent_state_name (link->state),
                         parent_state_name (state));
    assert_int_equal (link->nr_children, nr_children);
    if (parent)
      assert_string_equal (forest.links[link->parent].name, parent);
    else
      assert_true (link->parent == FOREST_NONE);
    return;
  }
  print_error ("%s is not there\n", name);
  assert_true (false);
}

static void
test_tree (void **state)
{
  (void) state;
  put ("base", "00000001", NULL, NULL);
  put ("a", "00000002", "base", "00000001");
  put ("a1", "00000003", "./a", "2");
  put ("b", "00000004", "/elsewhere/base", "00000001");
  put ("changed", "00000005", "base", "00000099");
  put ("merged", "00000002", "a", "00000099"); /* a killed merge */
  put ("lost", "00000006", "nothing", "00000001");
  put ("far", "00000007", "/elsewhere/other", "00000001");
  put ("windows", "00000008", "C:\\vm\\a", "00000002");
  read_all (false);
  assert_int_equal (forest.nr_links, 9);
  assert_link ("base", PARENT_NONE, NULL, 3);
  assert_link ("a", PARENT_RIGHT, "base", 3);
  assert_link ("merged", PARENT_RIGHT, "a", 0);
  assert_link ("a1", PARENT_RIGHT, "a", 0);
  assert_link ("b", PARENT_RIGHT, "base", 0);
  assert_link ("changed", PARENT_CHANGED, "base", 0);
  assert_link ("lost", PARENT_MISSING, NULL, 0);
  assert_link ("far", PARENT_ELSEWHERE, NULL, 0);
  assert_link ("windows", PARENT_RIGHT, "a", 0);
}

static void
test_loops (void **state)
{
  (void) state;
  put ("self", "00000001", "self", "00000001");
  put ("x", "00000002", "y", "00000003");
  put ("y", "00000003", "x", "00000002");
  put ("z", "00000004", "x", "00000002");
  read_all (false);
  assert_link ("self", PARENT_IS_LOOP, NULL, 0);
  assert_link ("x", PARENT_IS_LOOP, NULL, 2);
  assert_link ("y", PARENT_RIGHT, "x", 0);
  assert_link ("z", PARENT_RIGHT, "x", 0);
}

/* What looks like a disk and cannot be read is listed with the reason. */
static void
test_unreadable (void **state)
{
  static const char text[] = "# Disk DescriptorFile\nversion=1\nRW x\n";

  (void) state;
  put ("child", "00000002", "bad", "00000001");
  assert_int_equal (
    store_memory_add (store, "bad", text, sizeof text - 1, &f.err), 0);
  assert_int_equal (store_memory_add (store, "no-disk", "hello", 5, &f.err),
                    0);
  read_all (false);
  assert_int_equal (forest.nr_links, 2);
  assert_null (forest.links[1].descriptor);
  assert_string_equal (
    forest.links[1].why,
    "bad: line 3: extent size \"x\" is not a decimal number");
  assert_link ("child", PARENT_CHANGED, "bad", 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_tree, setup, teardown),
    cmocka_unit_test_setup_teardown (test_loops, setup, teardown),
    cmocka_unit_test_setup_teardown (test_unreadable, setup, teardown),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
