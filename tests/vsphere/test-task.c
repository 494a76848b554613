/* SPDX-License-Identifier: BSD-3-Clause */

/* Tasks that take a while, fail, are cancelled or forgotten; and what is done
 * with tasks: snapshots and disks.  Changed areas, too.
 */

#include <config.h>

#include <errno.h>
#include <sys/stat.h>

#include "changed.h"
#include "disk-manager.h"
#include "fake-session.h"
#include "inventory.h"
#include "snapshot.h"

static const struct vim_ref web = { "VirtualMachine", "vm-57" };

struct seen {
  uint64_t calls, last, stop_at;
};

static bool
watch_progress (void *opaque, uint64_t done, uint64_t total)
{
  struct seen *seen = opaque;

  assert_int_equal (total, 100);
  assert_true (done >= seen->last && done <= 100);
  seen->last = done;
  return ++seen->calls != seen->stop_at;
}

static void
assert_error (const struct vmdk_error *err, const char *text, int errnum)
{
  if (!strstr (err->text, text))
    fail_msg ("%s", err->text);
  assert_int_equal (err->errnum, errnum);
}

static struct vim_ref
take (bool quiesce, const struct task_watch *watch)
{
  struct vmdk_error err = { 0 };
  struct vim_ref snapshot;

  if (snapshot_take (session, &web, quiesce, watch, &snapshot, &err) == -1)
    fail_msg ("%s", err.text);
  return snapshot;
}

static void
drop_watched (const struct vim_ref *snapshot, const struct task_watch *watch)
{
  struct vmdk_error err = { 0 };

  if (snapshot_remove (session, &web, snapshot, watch, &err) == -1)
    fail_msg ("%s", err.text);
}

static void
drop (const struct vim_ref *snapshot)
{
  drop_watched (snapshot, NULL);
}

static void
test_snapshot (void **state)
{
  struct seen seen = { 0 };
  const struct task_watch watch = { watch_progress, &seen };
  CLEANUP_FROZEN_DISKS struct frozen_disks frozen = { 0 };
  CLEANUP_VM struct vm vm = { 0 };
  struct vmdk_error err = { 0 };
  struct vim_ref snapshot;

  (void) state;
  fake_control (&fake, "{\"switch\": {\"taskPolls\": 5}}");
  snapshot = take (true, NULL);
  assert_true (fake_has (&fake, "\"quiesced\": true"));

  /* the frozen file is now a parent of what the machine writes */
  assert_int_equal (frozen_disks_read (session, &snapshot, &frozen, &err), 0);
  assert_int_equal (frozen.disks.len, 1);
  assert_string_equal (frozen.disks.ptr[0].links[0].file,
                       "[ds1] web/web-000001.vmdk");
  assert_int_equal (vm_read (session, &web, &vm, &err), 0);
  assert_int_equal (vm.disks.ptr[0].nr_links, 3);
  drop_watched (&snapshot, &watch);
  assert_int_equal (seen.last, 100);
  assert_true (seen.calls >= 5);
  assert_true (fake_has (&fake, "\"snapshots\": {}"));
  /* not there any more: that is what was wanted */
  drop (&snapshot);
}

static int
count_snapshots (void *opaque, const struct snapshot *snapshot,
                 struct vmdk_error *err)
{
  (void) err;
  assert_string_equal (snapshot->name, SNAPSHOT_NAME);
  assert_non_null (strstr (snapshot->description, "it can be removed once"));
  *(unsigned *) opaque += snapshot->current ? 100 : 1;
  return 0;
}

static void
test_snapshot_tree (void **state)
{
  struct vmdk_error err = { 0 };
  unsigned count = 0;

  (void) state;
  take (false, NULL);
  take (false, NULL);
  assert_int_equal (
    snapshot_each (session, &web, count_snapshots, &count, &err), 0);
  assert_int_equal (count, 101);
}

static void
test_snapshot_fails (void **state)
{
  struct vmdk_error err = { 0 };
  struct vim_ref snapshot;

  (void) state;
  fake_control (&fake, "{\"switch\": {\"quiesceFails\": true}}");
  assert_int_equal (snapshot_take (session, &web, true, NULL, &snapshot, &err),
                    -1);
  assert_error (&err,
                "a quiesced snapshot of vm-57 (it can be taken without "
                "quiescing): CreateSnapshot_Task: ",
                EIO);
  assert_error (&err, "(ApplicationQuiesceFault: VSS says no)", EIO);
  snapshot = take (false, NULL);
  fake_control (&fake, "{\"fault\": {\"method\": \"RemoveSnapshot_Task\", "
                       "\"do\": \"fault\", \"type\": \"InvalidState\"}}");
  assert_int_equal (snapshot_remove (session, &web, &snapshot, NULL, &err),
                    -1);
  assert_error (&err, "is left behind (\"vmdkit-temporary\")", EBUSY);
}

/* The server took it, and we did not hear of it; nor of how a task ended. */
static void
test_snapshot_found (void **state)
{
  static const char *const faults[] = {
    ("\"nth\": 1, \"method\": \"RetrieveProperties\", \"do\": \"fault\", "
     "\"type\": \"ManagedObjectNotFound\""),
    "\"method\": \"RetrieveProperties\", \"do\": \"late-close\"",
    "\"method\": \"CreateSnapshot_Task\", \"do\": \"late-close\"",
  };

  (void) state;
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    struct vim_ref snapshot;
    char control[256];

    snprintf (control, sizeof control,
              "{\"switch\": {\"autoFinish\": true}, \"fault\": {%s}}",
              faults[i]);
    fake_control (&fake, control);
    snapshot = take (false, NULL);
    fake_control (&fake, "{\"forget\": 0}");
    drop (&snapshot);
    assert_true (fake_has (&fake, "\"snapshots\": {}"));
  }
}

static void
test_busy_and_consolidated (void **state)
{
  struct vim_ref snapshot;

  (void) state;
  fake_control (&fake, "{\"fault\": {\"method\": \"CreateSnapshot_Task\", "
                       "\"do\": \"fault\", \"type\": \"TaskInProgress\", "
                       "\"count\": 3}}");
  snapshot = take (false, NULL);
  fake_control (&fake, "{\"vm\": {\"id\": \"vm-57\", \"consolidate\": true}}");
  drop (&snapshot);
  fake_assert_order (&fake, "snapshot-removed", "consolidated");
}

/* A snapshot that is being taken is waited for, or nobody would remove it. */
static void
test_not_cancelled (void **state)
{
  struct seen seen = { .stop_at = 1 };
  const struct task_watch watch = { watch_progress, &seen };
  struct vim_ref snapshot;

  (void) state;
  fake_control (&fake, "{\"switch\": {\"taskPolls\": 5}}");
  snapshot = take (false, &watch);
  assert_int_equal (fake_count (&fake, "cancel-task"), 0);
  drop (&snapshot);
}

static void
test_cancelled (void **state)
{
  struct seen seen = { .stop_at = 3 };
  const struct task_watch watch = { watch_progress, &seen };
  struct vmdk_error err = { 0 };
  struct vim_ref snapshot;

  (void) state;
  snapshot = take (false, NULL);
  fake_control (&fake, "{\"switch\": {\"taskPolls\": 1000}}");
  assert_int_equal (snapshot_remove (session, &web, &snapshot, &watch, &err),
                    -1);
  assert_error (&err, "stopped", ECANCELED);
  assert_int_equal (fake_count (&fake, "cancel-task"), 1);
  assert_int_equal (seen.calls, 3);
}

static void
test_network_away (void **state)
{
  struct vim_ref snapshot;

  (void) state;
  fake_control (&fake, "{\"fault\": {\"method\": \"RetrieveProperties\", "
                       "\"do\": \"close\", \"count\": 12}}");
  snapshot = take (false, NULL);
  drop (&snapshot);
}

/* --------------------------------------------------------------------- */
/* Changed areas. */

struct areas {
  uint64_t offsets[16];
  size_t len;
};

static int
keep_area (void *opaque, uint64_t offset, uint64_t count,
           struct vmdk_error *err)
{
  struct areas *areas = opaque;

  (void) err;
  assert_true (areas->len < 16);
  assert_int_equal (count, 65536);
  areas->offsets[areas->len++] = offset;
  return 0;
}

static void
test_changed (void **state)
{
  struct changed_query query = {
    .vm = web, .key = 2000, .capacity = 64 << 20, .change_id = "*"
  };
  struct areas areas = { .len = 0 };
  struct vmdk_error err = { 0 };

  (void) state;
  /* three pages and a rest */
  assert_int_equal (changed_areas (session, &query, keep_area, &areas, &err),
                    0);
  assert_int_equal (areas.len, 4);
  assert_true (areas.offsets[0] == 0 && areas.offsets[1] == 341 * 65536
               && areas.offsets[3] == 3 * 341 * 65536);

  query.change_id = "of another";
  assert_int_equal (changed_areas (session, &query, keep_area, &areas, &err),
                    -1);
  assert_error (&err, "is change id of another of this disk?", EINVAL);
  query.change_id = "*";
  query.key = 7;
  assert_int_equal (changed_areas (session, &query, keep_area, &areas, &err),
                    -1);
  assert_error (&err, "(NotFound)", ENOENT);
  fake_control (&fake, "{\"vm\": {\"id\": \"vm-57\", \"cbt\": false}}");
  query.key = 2000;
  assert_int_equal (changed_areas (session, &query, keep_area, &areas, &err),
                    -1);
  assert_error (&err, "is changed block tracking on?", EIO);
}

/* --------------------------------------------------------------------- */
/* Disks. */

static off_t
size_of (const char *name)
{
  char path[256];
  struct stat st;

  snprintf (path, sizeof path, "%s/ds/ds1/%s", fake.folder, name);
  return stat (path, &st) == 0 ? st.st_size : -1;
}

static void
test_disks (void **state)
{
  struct seen seen = { 0 };
  const struct disk_manager manager = {
    .session = session,
    .datacenter = { "Datacenter", "datacenter-2" },
    .watch = { watch_progress, &seen },
  };
  const struct new_disk disk = { 4 << 20, "thin", "lsiLogic" };
  struct vmdk_error err = { 0 };
  char uuid[DISK_UUID_SIZE];

  (void) state;
  fake_control (&fake, "{\"switch\": {\"taskPolls\": 3}}");
  assert_int_equal (disk_manager_make_folder (&manager, "[ds1] a/b & c", &err),
                    0);
  assert_int_equal (disk_manager_make_folder (&manager, "[ds1] a/b & c", &err),
                    0);
  assert_int_equal (
    disk_manager_create (&manager, "[ds1] a/b & c/x.vmdk", &disk, &err), 0);
  assert_int_equal (seen.last, 100);
  assert_int_equal (size_of ("a/b & c/x-flat.vmdk"), 4 << 20);
  seen.last = 0;
  assert_int_equal (
    disk_manager_create (&manager, "[ds1] a/b & c/x.vmdk", &disk, &err), -1);
  assert_error (&err,
                "[ds1] a/b & c/x.vmdk: CreateVirtualDisk_Task: ", EEXIST);
  seen.last = 0;
  assert_int_equal (
    disk_manager_extend (&manager, "[ds1] a/b & c/x.vmdk", 8 << 20, &err), 0);
  assert_int_equal (size_of ("a/b & c/x-flat.vmdk"), 8 << 20);
  assert_int_equal (
    disk_manager_extend (&manager, "[ds1] a/b & c/x.vmdk", 1023, &err), -1);
  assert_error (&err, "round up", EINVAL);
  seen.last = 0;
  assert_int_equal (
    disk_manager_shrink (&manager, "[ds1] a/b & c/x.vmdk", &err), 0);
  seen.last = 0;
  assert_int_equal (
    disk_manager_defragment (&manager, "[ds1] a/b & c/x.vmdk", &err), 0);
  seen.last = 0;
  assert_int_equal (disk_manager_move (&manager, "[ds1] a/b & c/x.vmdk",
                                       "[ds1] a/y.vmdk", &err),
                    0);
  assert_int_equal (size_of ("a/b & c/x.vmdk"), -1);
  assert_int_equal (size_of ("a/y-flat.vmdk"), 8 << 20);
  assert_int_equal (disk_manager_uuid (&manager, "[ds1] a/y.vmdk", uuid, &err),
                    0);
  assert_string_equal (uuid,
                       "60 00 C2 9a aa bb cc dd-ee ff 00 11 22 33 44 55");
  seen.last = 0;
  assert_int_equal (disk_manager_delete (&manager, "[ds1] a/y.vmdk", &err), 0);
  assert_int_equal (size_of ("a/y-flat.vmdk"), -1);
  seen.last = 0;
  assert_int_equal (disk_manager_delete (&manager, "[ds1] a/y.vmdk", &err),
                    -1);
  assert_error (&err, "no such file: [ds1] a/y.vmdk (FileNotFound", ENOENT);
  seen.last = 0;
  assert_int_equal (disk_manager_delete_file (&manager, "[no] x", &err), -1);
  assert_error (&err, "(InvalidDatastorePath)", EINVAL);
}

/* Nothing is done twice because an answer was lost. */
static void
test_not_repeated (void **state)
{
  const struct disk_manager manager = {
    .session = session,
    .datacenter = { "Datacenter", "datacenter-2" },
  };
  const struct new_disk disk = { 4 << 20, "thin", "lsiLogic" };
  struct vmdk_error err = { 0 };

  (void) state;
  fake_control (&fake, "{\"fault\": {\"method\": \"CreateVirtualDisk_Task\", "
                       "\"do\": \"late-close\"}}");
  assert_int_equal (
    disk_manager_create (&manager, "[ds1] z.vmdk", &disk, &err), -1);
  assert_error (&err,
                "[ds1] z.vmdk: it is not known whether it was done: ", EIO);
}

#define each_test(function) \
  cmocka_unit_test_setup_teardown (function, session_setup, session_teardown)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    each_test (test_snapshot),
    each_test (test_snapshot_tree),
    each_test (test_snapshot_fails),
    each_test (test_snapshot_found),
    each_test (test_busy_and_consolidated),
    each_test (test_cancelled),
    each_test (test_not_cancelled),
    each_test (test_network_away),
    each_test (test_changed),
    each_test (test_disks),
    each_test (test_not_repeated),
  };

  fake_require ();
  return cmocka_run_group_tests (tests, NULL, NULL);
}
