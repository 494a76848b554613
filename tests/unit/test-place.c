/* SPDX-License-Identifier: BSD-3-Clause */

/* What a path leads to: a file, a new one, an archive's member; and what is
 * said of paths that lead nowhere.
 */

#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "folder-helper.h"
#include "lock-helper.h"
#include "place.h"
#include "tar-helper.h"

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

static const char disk_text[] =
  "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
  "createType=\"custom\"\nRW 8 ZERO\n";

static char *start_folder;

static int
setup (void **state)
{
  static uint8_t archive[16 << 10];

  if (make_folder (state) == -1)
    return -1;
  bytes = archive;
  put_member ("readme.txt", '0', "no disk");
  put_member ("second.vmdk", '0', disk_text);
  put_member ("below/third.vmdk", '0', disk_text);
  put_end ();
  write_file ("a.ova", bytes, used);
  memset (archive, 0, sizeof archive);
  used = 0;
  put_member ("readme.txt", '0', "no disk");
  put_end ();
  write_file ("none.ova", bytes, used);
  write_file ("disk.vmdk", disk_text, sizeof disk_text - 1);
  if (mkdirat (folder_fd, "below", 0700) == -1
      || symlinkat ("disk.vmdk", folder_fd, "link.vmdk") == -1)
    return -1;
  start_folder = getcwd (NULL, 0);
  return start_folder ? chdir (folder) : -1;
}

static int
teardown (void **state)
{
  unlinkat (folder_fd, "below", AT_REMOVEDIR);
  if (chdir (start_folder) == -1)
    return -1;
  free (start_folder);
  return remove_folder (state);
}

/* There is a disk at the place. */
static bool
has_disk (const struct place *place)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media =
    store_open (place->store, place->name, place->flags, &err);
  char text[sizeof disk_text - 1];

  return media && media->size == sizeof text
         && media_pread (media, text, sizeof text, 0, &err) == 0
         && memcmp (text, disk_text, sizeof text) == 0;
}

static void
test_found (void **state)
{
  static const struct {
    const char *path, *folder, *name;
    bool archive, there;
  } cases[] = {
    { "disk.vmdk", ".", "disk.vmdk", false, true },
    { "./disk.vmdk", ".", "disk.vmdk", false, true },
    { "below/../disk.vmdk", "below/..", "disk.vmdk", false, true },
    { "link.vmdk", ".", "link.vmdk", false, true },
    { "new.vmdk", ".", "new.vmdk", false, false },
    { "below/new.vmdk", "below", "new.vmdk", false, false },
    { "/nonesuch.vmdk", "/", "nonesuch.vmdk", false, false },
    { "a.ova", NULL, "second.vmdk", true, true },
    { "a.ova/", NULL, "second.vmdk", true, true },
    { "./a.ova/second.vmdk", NULL, "second.vmdk", true, true },
    { "a.ova/below/third.vmdk", NULL, "below/third.vmdk", true, true },
    { "a.ova/new.vmdk", NULL, "new.vmdk", true, false },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    CLEANUP_PLACE struct place place = { 0 };
    struct vmdk_error err;

    if (place_open (&place, cases[i].path, true, &err) == -1) {
      print_error ("%s: %s\n", cases[i].path, err.text);
      assert_true (false);
    }
    assert_string_equal (place.name, cases[i].name);
    assert_string_equal (place.text, cases[i].path);
    assert_int_equal (place.folder != NULL, cases[i].archive);
    assert_int_equal (place.flags,
                      cases[i].archive ? STORE_FROM_FILE : STORE_FROM_USER);
    if (cases[i].folder)
      assert_string_equal (place.store->name, cases[i].folder);
    assert_int_equal (has_disk (&place), cases[i].there);
  }
}

static void
test_refused (void **state)
{
  static const struct {
    const char *path;
    enum vmdk_error_kind kind;
    const char *text;
  } cases[] = {
    { "", ERR_ARGUMENT, "the name of the disk is empty" },
    { "below/", ERR_ARGUMENT, "this is a folder: name a disk in it" },
    { "/", ERR_ARGUMENT, "this is a folder: name a disk in it" },
    { "below", ERR_DENIED, "is a directory, not a regular file" },
    { "none/disk.vmdk", ERR_MISSING, "there is no folder none" },
    { "none/a/b/disk.vmdk", ERR_MISSING, "there is no folder none" },
    { "disk.vmdk/x", ERR_ARGUMENT,
      "disk.vmdk is neither a folder nor an archive" },
    { "none.ova", ERR_MISSING, "there is no disk in this archive" },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    CLEANUP_PLACE struct place place = { 0 };
    struct vmdk_error err;

    assert_int_equal (place_open (&place, cases[i].path, true, &err), -1);
    assert_error (&err, cases[i].kind, cases[i].text);
  }
}

/* An archive is locked as long as the place lives, if at all. */
static void
test_archive_lock (void **state)
{
#ifdef F_OFD_SETLK
  struct vmdk_error err;

  (void) state;
  for (int lock = 0; lock < 2; lock++) {
    struct place place = { 0 };

    assert_int_equal (place_open (&place, "a.ova", lock, &err), 0);
    assert_int_equal (is_held ("a.ova", 100), lock);
    place_free (&place);
    assert_false (is_held ("a.ova", 100));
  }
#else
  (void) state;
  skip ();
#endif
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_found),
    cmocka_unit_test (test_refused),
    cmocka_unit_test (test_archive_lock),
  };

  return cmocka_run_group_tests (tests, setup, teardown);
}
