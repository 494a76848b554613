/* SPDX-License-Identifier: BSD-3-Clause */

/* Children and parents that do not belong together: what is said of it, when
 * it is mended, and that this can be undone.
 */

#include <config.h>

#include "extent-helper.h"
#include "check-helper.h"

#include "check-chain.h"
#include "create.h"

struct chain_bench {
  struct bench b;
  int64_t child_time, parent_time;
  struct chain_break last;
  char other[100];
};

static int64_t
modified (void *opaque, const struct store *store, const char *name)
{
  struct chain_bench *c = opaque;

  (void) store;
  return strncmp (name, "child", 5) == 0 ? c->child_time : c->parent_time;
}

static void
found (void *opaque, const struct chain_break *b)
{
  struct chain_bench *c = opaque;

  c->last = *b;
  snprintf (c->other, sizeof c->other, "%s", b->other ? b->other : "");
}

static void
put (struct chain_bench *c, const char *name, const char *cid,
     const char *parent_cid)
{
  char text[600], flat[50];
  const bool child = strcmp (parent_cid, "ffffffff") != 0;

  snprintf (flat, sizeof flat, "%s-flat", name);
  snprintf (text, sizeof text,
            "# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\n"
            "createType=\"%s\"\n%s# Extent description\nRW 8 %s\n",
            cid, parent_cid, child ? "custom" : "monolithicFlat",
            child ? "parentFileNameHint=\"base.vmdk\"\n" : "",
            child ? "SPARSE \"child-s001.vmdk\"" : "FLAT \"base-flat\" 0");
  assert_int_equal (
    store_memory_add (c->b.store, name, text, strlen (text), &c->b.err), 0);
}

static void
init (struct chain_bench *c, const char *cid, const char *child_cid,
      const char *parent_cid)
{
  static const uint8_t zeros[8 * 512];
  const struct create_rules rules = { .type = DISK_SPLIT_SPARSE,
                                      .size = 8 * 512 };

  memset (c, 0, sizeof *c);
  bench_init (&c->b);
  assert_int_equal (disk_create (c->b.store, "child.vmdk", &rules, &c->b.err),
                    0);
  assert_int_equal (
    store_memory_add (c->b.store, "base-flat", zeros, sizeof zeros, &c->b.err),
    0);
  put (c, "base.vmdk", cid, "ffffffff");
  put (c, "child.vmdk", child_cid, parent_cid);
  put (c, "other.vmdk", "0badcafe", "ffffffff");
  c->child_time = c->parent_time = -1;
}

static int
look (struct chain_bench *c, bool repair, bool force)
{
  const struct chain_options options = { .repair = repair,
                                         .force = force,
                                         .modified = modified,
                                         .found = found,
                                         .opaque = c };

  free (c->b.result.backup);
  memset (&c->last, 0, sizeof c->last);
  return disk_check_chain (c->b.store, "child.vmdk", STORE_FROM_USER,
                           &c->b.operation, &options, &c->b.result, &c->b.err);
}

static void
assert_child_opens (struct chain_bench *c, bool does)
{
  struct disk *disk = disk_open (c->b.store, "child.vmdk", STORE_FROM_USER,
                                 &c->b.operation.rules, &c->b.err);

  assert_int_equal (disk != NULL, does);
  if (!disk)
    assert_int_equal (c->b.err.kind, ERR_MISMATCH);
  disk_close (disk);
}

static void
test_whole (void **state)
{
  struct chain_bench c;

  (void) state;
  init (&c, "11111111", "22222222", "11111111");
  assert_int_equal (look (&c, true, false), 0);
  assert_int_equal (c.b.result.nr_errors, 0);
  assert_int_equal (c.b.result.nr_links, 2);
  assert_null (c.b.result.backup);
  bench_free (&c.b);
}

static void
test_causes (void **state)
{
  static const struct {
    const char *own;
    int64_t child, parent;
    enum chain_break_cause cause;
    enum check_mending mending, forced;
  } cases[] = {
    { "22222222", -1, -1, BREAK_UNKNOWN, CHECK_MENDABLE, CHECK_MENDABLE },
    { "22222222", 5, 5, BREAK_UNKNOWN, CHECK_MENDABLE, CHECK_MENDABLE },
    { "22222222", 5, 4, BREAK_CHILD_NEWER, CHECK_MENDABLE, CHECK_MENDABLE },
    { "22222222", 4, 5, BREAK_PARENT_NEWER, CHECK_STAYS, CHECK_MENDABLE },
    { "11111111", 5, 4, BREAK_COMMITTED, CHECK_STAYS, CHECK_MENDABLE },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct chain_bench c;

    init (&c, "11111111", cases[i].own, "0badcafe");
    c.child_time = cases[i].child;
    c.parent_time = cases[i].parent;
    assert_int_equal (look (&c, false, false), 0);
    assert_int_equal (c.b.result.nr_errors, 1);
    assert_int_equal (c.last.cause, cases[i].cause);
    assert_int_equal (c.last.mending, cases[i].mending);
    assert_int_equal (c.last.wanted, 0x0badcafe);
    assert_int_equal (c.last.cid, 0x11111111);
    assert_string_equal (c.other, "other.vmdk");
    assert_int_equal (look (&c, false, true), 0);
    assert_int_equal (c.last.mending, cases[i].forced);
    bench_free (&c.b);
  }
}

static void
test_mended (void **state)
{
  struct chain_bench c;
  uint64_t dropped;

  (void) state;
  init (&c, "11111111", "22222222", "0badcafe");
  c.child_time = 5;
  c.parent_time = 4;
  assert_child_opens (&c, false);
  c.b.operation.dry_run = true;
  assert_int_equal (look (&c, true, false), 0);
  assert_int_equal (c.last.mending, CHECK_MENDABLE);
  assert_child_opens (&c, false);
  c.b.operation.dry_run = false;

  assert_int_equal (look (&c, true, false), 0);
  assert_int_equal (c.b.result.nr_errors_left, 0);
  assert_child_opens (&c, true);
  assert_string_equal (c.b.result.backup, "child.vmdk.repair-backup");
  assert_int_equal (repair_undo (c.b.store, "child.vmdk.repair-backup",
                                 &c.b.operation, &dropped, &c.b.err),
                    0);
  assert_child_opens (&c, false);
  bench_free (&c.b);
}

static void
test_refused (void **state)
{
  struct chain_bench c;

  (void) state;
  init (&c, "11111111", "22222222", "0badcafe");
  c.child_time = 4;
  c.parent_time = 5;
  assert_int_equal (look (&c, true, false), 0);
  assert_int_equal (c.b.result.nr_errors_left, 1);
  assert_null (c.b.result.backup);
  assert_child_opens (&c, false);
  assert_int_equal (look (&c, true, true), 0);
  assert_int_equal (c.b.result.nr_errors_left, 0);
  assert_child_opens (&c, true);
  bench_free (&c.b);
}

static void
test_missing_parent (void **state)
{
  struct chain_bench c;

  (void) state;
  init (&c, "11111111", "22222222", "11111111");
  assert_int_equal (store_remove (c.b.store, "base.vmdk", &c.b.err), 0);
  assert_int_equal (look (&c, false, false), -1);
  assert_int_equal (c.b.err.kind, ERR_MISSING);
  bench_free (&c.b);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_whole),          cmocka_unit_test (test_causes),
    cmocka_unit_test (test_mended),         cmocka_unit_test (test_refused),
    cmocka_unit_test (test_missing_parent),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
