/* SPDX-License-Identifier: BSD-3-Clause */

/* The rig for operations of maintenance: it accepts good ones, and finds what
 * is wrong with bad ones.
 *
 * The good ones are what every writer does: open, make the descriptor follow,
 * close cleanly; and to replace a file by writing it aside.
 */

#include <config.h>

#include <errno.h>

#include "extent-helper.h"
#include "maintenance.h"

#define FLAVOUR "split sparse" /* its descriptor is a file of its own */

/* -- Good --------------------------------------------------------------- */

/* What a server does whose client writes nothing new. */
static int
write_cycle (struct store *store, const char *top, struct vmdk_error *err)
{
  struct rig rig;
  uint8_t byte;
  int r;

  if (rig_open (&rig, store, top, true, 0, err) == -1)
    return -1;
  r = disk_read (rig.disk, &byte, 1, 0, err);
  if (r == 0)
    r = disk_write (rig.disk, &byte, 1, 0, err);
  if (r == 0)
    r = disk_finish (rig.disk, err);
  rig_close (&rig);
  return r;
}

static int
change_id (struct store *store, const char *top, struct vmdk_error *err)
{
  struct rig rig;
  int r;

  if (rig_open (&rig, store, top, true, 0, err) == -1)
    return -1;
  r = link_begin_changes (chain_link (disk_chain (rig.disk), 0), err);
  rig_close (&rig);
  return r;
}

static uint8_t *
read_file (struct store *store, const char *name, size_t *size,
           struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media =
    store_open (store, name, STORE_FROM_FILE, err);
  CLEANUP_FREE uint8_t *bytes = NULL;

  if (!media)
    return NULL;
  *size = media->size;
  bytes = malloc (*size);
  if (!bytes)
    abort ();
  if (media_pread (media, bytes, *size, 0, err) == -1)
    return NULL;
  return steal_ptr (&bytes);
}

static int
write_file (struct store *store, const char *name, const uint8_t *bytes,
            size_t size, bool flushed, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = store_create (store, name, 0666, err);

  if (!media || media_pwrite (media, bytes, size, 0, err) == -1)
    return -1;
  return flushed ? media_flush (media, err) : 0;
}

static bool
is_there (struct store *store, const char *name)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media =
    store_open (store, name, STORE_FROM_FILE, &err);

  return media;
}

/* Write it aside, and only then let it take the name. */
static int
replace (struct store *store, const char *top, bool flushed,
         struct vmdk_error *err)
{
  size_t size;
  CLEANUP_FREE uint8_t *bytes = read_file (store, top, &size, err);

  if (!bytes
      || (is_there (store, "aside")
          && store_remove (store, "aside", err) == -1)
      || write_file (store, "aside", bytes, size, flushed, err) == -1
      || store_rename (store, "aside", top, err) == -1)
    return -1;
  return store_flush (store, err);
}

static int
replace_well (struct store *store, const char *top, struct vmdk_error *err)
{
  return replace (store, top, true, err);
}

static int
rename_it (struct store *store, const char *top, struct vmdk_error *err)
{
  if (store_rename (store, top, "other.vmdk", err) == -1)
    return -1;
  return store_flush (store, err);
}

static void
test_good (void **state)
{
  static const struct maintenance ops[] = {
    { .name = "cycle", .run = write_cycle },
    { .name = "content ID", .run = change_id },
  };

  (void) state;
  for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
    for (size_t flavour = 0; flavour < nr_flavours; flavour++) {
      struct maintenance op = ops[i];

      op.flavour = flavour_name (flavour);
      op.leaves_nothing = true;
      if (flavour_is_wanted (flavour))
        maintenance_check (&op);
    }
}

static void
test_names (void **state)
{
  (void) state;
  maintenance_check (&(struct maintenance){ .name = "replace",
                                            .flavour = FLAVOUR,
                                            .run = replace_well,
                                            .leaves_nothing = true });
  maintenance_check (&(struct maintenance){ .name = "rename",
                                            .flavour = FLAVOUR,
                                            .run = rename_it,
                                            .top_after = "other.vmdk",
                                            .errnum_again = ENOENT,
                                            .leaves_nothing = true });
}

/* -- Bad ---------------------------------------------------------------- */

static int
replace_unflushed (struct store *store, const char *top,
                   struct vmdk_error *err)
{
  return replace (store, top, false, err);
}

/* For a moment there is none. */
static int
remove_first (struct store *store, const char *top, struct vmdk_error *err)
{
  size_t size;
  CLEANUP_FREE uint8_t *bytes = read_file (store, top, &size, err);

  if (!bytes || store_remove (store, top, err) == -1
      || write_file (store, top, bytes, size, true, err) == -1)
    return -1;
  return store_flush (store, err);
}

static int
change_a_sector (struct store *store, const char *top, struct vmdk_error *err)
{
  struct rig rig;
  int r;

  if (rig_open (&rig, store, top, true, 0, err) == -1)
    return -1;
  r = disk_write (rig.disk, "!", 1, 5 * SECTOR_SIZE, err);
  if (r == 0)
    r = disk_finish (rig.disk, err);
  rig_close (&rig);
  return r;
}

/* Two sectors, which are one change to whoever calls it. */
static int
change_two (struct store *store, const char *top, struct vmdk_error *err)
{
  struct rig rig;
  int r;

  if (rig_open (&rig, store, top, true, 0, err) == -1)
    return -1;
  r = disk_write (rig.disk, "!", 1, 5 * SECTOR_SIZE, err);
  if (r == 0)
    r = disk_flush (rig.disk, err);
  if (r == 0)
    r = disk_write (rig.disk, "!", 1, 500 * SECTOR_SIZE, err);
  if (r == 0)
    r = disk_finish (rig.disk, err);
  rig_close (&rig);
  return r;
}

static void
changed_two (uint8_t *bytes, uint64_t size)
{
  (void) size;
  bytes[5 * SECTOR_SIZE] = bytes[500 * SECTOR_SIZE] = '!';
}

static int
swallow (struct store *store, const char *top, struct vmdk_error *err)
{
  if (replace (store, top, true, err) == -1 && !is_there (store, top))
    return -1;
  return 0;
}

static int
cannot_repeat (struct store *store, const char *top, struct vmdk_error *err)
{
  size_t size;
  CLEANUP_FREE uint8_t *bytes = read_file (store, top, &size, err);

  if (!bytes || write_file (store, "aside", bytes, size, true, err) == -1
      || store_rename (store, "aside", top, err) == -1)
    return -1;
  return store_flush (store, err);
}

/* What it saved before a crash it puts back, whatever became of the file
 * since.
 */
static int
stale_copy (struct store *store, const char *top, struct vmdk_error *err)
{
  static const char extent[] = "link0-s1.vmdk";
  size_t size;
  CLEANUP_FREE uint8_t *bytes = NULL;

  (void) top;
  if (!is_there (store, "aside")) {
    bytes = read_file (store, extent, &size, err);
    if (!bytes
        || (is_there (store, "part")
            && store_remove (store, "part", err) == -1)
        || write_file (store, "part", bytes, size, true, err) == -1
        || store_rename (store, "part", "aside", err) == -1
        || store_flush (store, err) == -1)
      return -1;
  }
  if (store_rename (store, "aside", extent, err) == -1)
    return -1;
  return store_flush (store, err);
}

static int
leave_things (struct store *store, const char *top, struct vmdk_error *err)
{
  char name[32] = "aside";
  size_t size;
  CLEANUP_FREE uint8_t *bytes = read_file (store, top, &size, err);

  for (int i = 0; is_there (store, name); i++)
    snprintf (name, sizeof name, "aside-%d", i);
  if (!bytes || write_file (store, name, bytes, size, true, err) == -1
      || store_rename (store, name, top, err) == -1)
    return -1;
  return store_flush (store, err);
}

static int
never_after (struct store *store, const char *top, struct vmdk_error *err)
{
  (void) store, (void) top;
  return fail (err, ERR_CORRUPT, "size bytes did not grow");
}

static void
test_bad (void **state)
{
  static const struct {
    struct maintenance op;
    const char *words; /* in what the rig says */
  } cases[] = {
    { { .name = "unflushed", .run = replace_unflushed }, "the power goes" },
    { { .name = "remove", .run = remove_first }, "link0.vmdk" },
    { { .name = "wrong byte", .run = change_a_sector },
      "sector 5 begins with" },
    { { .name = "two steps", .run = change_two, .change = changed_two },
      "the power goes" },
    { { .name = "silent", .run = swallow }, "nobody was told" },
    { { .name = "once", .run = cannot_repeat }, "second run" },
    { { .name = "stale", .run = stale_copy },
      "then the disk is used\ncontents" },
    { { .name = "leaves", .run = leave_things, .leaves_nothing = true },
      "names: others" },
    { { .name = "not grown", .run = write_cycle, .grows_by = 512 },
      "the disk is as before" },
    { { .name = "after", .run = write_cycle, .after = never_after },
      "size bytes did not grow" },
    { { .name = "rename", .run = rename_it, .top_after = "other.vmdk" },
      "second run" },
    { { .name = "rename", .run = write_cycle, .top_after = "other.vmdk" },
      "the disk is as before" },
    { { .name = "opens", .run = write_cycle, .error_before = ERR_MISSING },
      "at first" },
  };
  char text[MAINTENANCE_TEXT_SIZE];

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct maintenance op = cases[i].op;

    op.flavour = FLAVOUR;
    if (maintenance_try (&op, 1, text) == -1 && strstr (text, cases[i].words))
      continue;
    print_error ("%s: no \"%s\" in: %s\n", op.name, cases[i].words,
                 *text ? text : "(nothing was found)");
    _fail (__FILE__, __LINE__);
  }
}

/* With MIXED the same is allowed. */
static void
test_mixed (void **state)
{
  (void) state;
  maintenance_check (&(struct maintenance){ .name = "two steps",
                                            .flavour = FLAVOUR,
                                            .run = change_two,
                                            .change = changed_two,
                                            .mixed = true });
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_good),
    cmocka_unit_test (test_names),
    cmocka_unit_test (test_bad),
    cmocka_unit_test (test_mixed),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
