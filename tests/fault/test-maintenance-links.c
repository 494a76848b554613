/* SPDX-License-Identifier: BSD-3-Clause */

/* Operations on closed links, killed at any moment: metadata, merging a
 * child, rebasing, attaching, renaming, removing.
 */

#include <config.h>

#include <errno.h>

#include "extent-helper.h"
#include "link-edit.h"
#include "link-files.h"
#include "maintenance.h"
#include "merge.h"
#include "metadata.h"
#include "rebase.h"

#define NEW_NAME "renamed.vmdk"

/* -- Metadata ----------------------------------------------------------- */

/* Some hundred bytes, so that the text goes over sectors. */
#define VALUE                                                        \
  "0123456789012345678901234567890123456789012345678901234567890123" \
  "0123456789012345678901234567890123456789012345678901234567890123"

static int
set_key (struct store *store, const char *top, struct vmdk_error *err)
{
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();

  return metadata_set (store, top, STORE_FROM_USER, "comment", VALUE,
                       operation, err);
}

static int
has_key (struct store *store, const char *top, struct vmdk_error *err)
{
  const struct operation operation = { 0 };
  CLEANUP_DESCRIPTOR struct descriptor *d =
    link_look (store, top, STORE_FROM_USER, &operation, NULL, err);
  const char *value = d ? metadata_get (d, "comment") : NULL;

  return value && strcmp (value, VALUE) == 0
           ? 0
           : fail (err, ERR_CORRUPT, "the key is not there");
}

static void
test_metadata (void **state)
{
  (void) state;
  for (size_t i = 0; i < nr_flavours; i++)
    if (flavour_is_wanted (i))
      maintenance_check (&(struct maintenance){ .name = "metadata",
                                                .flavour = flavour_name (i),
                                                .run = set_key,
                                                .after = has_key });
}

/* -- Merging ------------------------------------------------------------ */

static int
merge (struct store *store, const char *top, struct vmdk_error *err)
{
  struct merge_report report = { 0 };
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
  const int r =
    disk_merge (store, top, STORE_FROM_USER, operation, &report, err);

  free (report.parent);
  return r;
}

static const char *
parent_of (struct store *store, const char *top, char name[64],
           struct vmdk_error *err)
{
  const struct operation operation = { 0 };
  CLEANUP_DESCRIPTOR struct descriptor *d =
    link_look (store, top, STORE_FROM_USER, &operation, NULL, err);
  const char *hint = d ? descriptor_parent_hint (d) : NULL;

  if (!hint)
    return NULL;
  snprintf (name, 64, "%s", hint);
  return name;
}

/* The parent reads as the child does. */
static int
is_merged (struct store *store, const char *top, struct vmdk_error *err)
{
  char name[64];
  CLEANUP_FREE uint8_t *child = NULL, *parent = NULL;
  struct rig rig;
  uint64_t size;

  if (!parent_of (store, top, name, err)
      || rig_open (&rig, store, top, false, 0, err) == -1)
    return -1;
  child = rig_read_all (&rig, err);
  size = rig.end;
  rig_close (&rig);
  if (!child || rig_open (&rig, store, name, false, 0, err) == -1)
    return -1;
  parent = rig_read_all (&rig, err);
  if (parent && rig.end < size)
    size = 0;
  rig_close (&rig);
  return parent && size > 0 && memcmp (child, parent, size) == 0
           ? 0
           : fail (err, ERR_CORRUPT, "the parent is another disk");
}

static void
test_merge (void **state)
{
  static const char *const flavours[] = { "child over flat",
                                          "COWD child over flat" };

  (void) state;
  for (size_t i = 0; i < sizeof flavours / sizeof flavours[0]; i++)
    maintenance_check (&(struct maintenance){ .name = "merge",
                                              .flavour = flavours[i],
                                              .run = merge,
                                              .after = is_merged });
}

/* -- Rebasing ----------------------------------------------------------- */

static int
make_base (struct store *store, const char *top, struct vmdk_error *err)
{
  uint64_t copied;
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();

  return disk_rebase (store, top, STORE_FROM_USER, NULL, operation, &copied,
                      err);
}

static int
is_base (struct store *store, const char *top, struct vmdk_error *err)
{
  char name[64];

  return parent_of (store, top, name, err)
           ? fail (err, ERR_CORRUPT, "it still has a parent")
           : 0;
}

static void
test_rebase (void **state)
{
  static const char *const flavours[] = {
    "child over flat",
    "child over shorter sparse, zero entries",
    "COWD child over flat",
  };

  (void) state;
  for (size_t i = 0; i < sizeof flavours / sizeof flavours[0]; i++)
    maintenance_check (&(struct maintenance){ .name = "rebase",
                                              .flavour = flavours[i],
                                              .run = make_base,
                                              .after = is_base });
}

/* -- Attaching ---------------------------------------------------------- */

/* The same parent under another name for it. */
static int
attach (struct store *store, const char *top, struct vmdk_error *err)
{
  char name[64], hint[80];
  struct new_parent parent = { .store = store, .name = name, .hint = hint };
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();

  if (!parent_of (store, top, name, err))
    return -1;
  memmove (name, store_plain_name (name),
           strlen (store_plain_name (name)) + 1);
  snprintf (hint, sizeof hint, "./%s", name);
  return disk_attach (store, top, STORE_FROM_USER, &parent, operation, err);
}

static int
is_attached (struct store *store, const char *top, struct vmdk_error *err)
{
  char name[64];

  return parent_of (store, top, name, err) && name[0] == '.'
           ? 0
           : fail (err, ERR_CORRUPT, "the hint is still %s", name);
}

static void
test_attach (void **state)
{
  (void) state;
  maintenance_check (&(struct maintenance){ .name = "attach",
                                            .flavour = "child over flat",
                                            .run = attach,
                                            .after = is_attached });
}

/* -- Renaming ----------------------------------------------------------- */

static int
rename_disk (struct store *store, const char *top, struct vmdk_error *err)
{
  const struct rename_rules rules = { 0 };
  struct files_report report = { 0 };
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
  const int r =
    disk_rename (store, top, store, NEW_NAME, &rules, operation, &report, err);

  files_report_free (&report);
  return r;
}

static void
test_rename (void **state)
{
  (void) state;
  for (size_t i = 0; i < nr_flavours; i++)
    if (flavour_is_wanted (i))
      maintenance_check (&(struct maintenance){ .name = "rename",
                                                .flavour = flavour_name (i),
                                                .run = rename_disk,
                                                .top_after = NEW_NAME,
                                                .errnum_again = ENOENT });
}

/* Without hard links: what has a file or none beside the descriptor. */
static void
test_rename_by_moving (void **state)
{
  static const char *const flavours[] = { "flat", "sparse, small grains" };

  (void) state;
  store_fault_forbid_links (true);
  for (size_t i = 0; i < 2; i++)
    maintenance_check (&(struct maintenance){ .name = "rename by moving",
                                              .flavour = flavours[i],
                                              .run = rename_disk,
                                              .top_after = NEW_NAME,
                                              .errnum_again = ENOENT });
  store_fault_forbid_links (false);
}

/* -- Removing ----------------------------------------------------------- */

static int
remove_disk (struct store *store, const char *top, struct vmdk_error *err)
{
  struct files_report report = { 0 };
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
  const int r = disk_unlink (store, top, false, operation, &report, err);

  files_report_free (&report);
  return r;
}

static int
count_name (void *opaque, const char *name, struct vmdk_error *err)
{
  unsigned *count = opaque;

  (void) name;
  (void) err;
  ++*count;
  return 0;
}

static unsigned
nr_names (struct store *store)
{
  struct vmdk_error err;
  unsigned count = 0;

  assert_int_equal (store_list (store, count_name, &count, &err), 0);
  return count;
}

/* After a cut the descriptor is there, and removing can be done again; or
 * nothing is there.
 */
static void
check_removed (struct replay *replay, const char *top, enum power_cut cut,
               uint64_t seed, unsigned nr_after)
{
  CLEANUP_STORE struct store *store = replay_cut (replay, cut, seed);
  struct vmdk_error err;

  if (nr_names (store) > nr_after)
    assert_int_equal (remove_disk (store, top, &err), 0);
  assert_int_equal (nr_names (store), nr_after);
}

static void
test_remove (void **state)
{
  static const enum power_cut cuts[] = { CUT_LOSES_ALL, CUT_KEEPS_ALL,
                                         CUT_BY_FILES };

  (void) state;
  for (size_t i = 0; i < nr_flavours; i++) {
    struct built built;
    struct vmdk_error err;
    struct replay *replay;
    unsigned nr_after;

    if (!flavour_is_wanted (i))
      continue;
    build (&built, i, 1);
    assert_int_equal (remove_disk (built.store, built.top, &err), 0);
    nr_after = nr_names (built.store);
    replay = replay_new (built.store);
    for (size_t op = 0; op <= store_fault_nr_ops (built.store); op++) {
      replay_to (replay, op);
      for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++)
        check_removed (replay, built.top, cuts[c], op, nr_after);
    }
    replay_free (replay);
    built_free (&built);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_metadata), cmocka_unit_test (test_merge),
    cmocka_unit_test (test_rebase),   cmocka_unit_test (test_attach),
    cmocka_unit_test (test_rename),
    cmocka_unit_test (test_rename_by_moving),   cmocka_unit_test (test_remove),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
