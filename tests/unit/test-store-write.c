/* SPDX-License-Identifier: BSD-3-Clause */

/* The writing half of the names interface: opening for writing, and names
 * that come, go and change, in a directory and in memory.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store.h"
#include "folder-helper.h"

static int
setup (void **state)
{
  assert_int_equal (make_folder (state), 0);
  assert_int_equal (mkdirat (folder_fd, "sub", 0700), 0);
  assert_int_equal (symlinkat ("sub", folder_fd, "sublink"), 0);
  return 0;
}

static struct store *
open_store (bool in_memory)
{
  struct vmdk_error err;
  struct store *store =
    in_memory ? store_memory_new ("mem", &err) : store_dir_new (folder, &err);

  assert_non_null (store);
  return store;
}

/* Make NAME, which is new, with a TEXT. */
static void
create (struct store *store, const char *name, const char *text)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media = store_create (store, name, 0666, &err);

  assert_non_null (media);
  assert_string_equal (media->name, name);
  assert_int_equal (media->size, 0);
  assert_int_equal (media_pwrite (media, text, strlen (text), 0, &err), 0);
  assert_int_equal (media_flush (media, &err), 0);
}

static void
assert_holds (struct store *store, const char *name, const char *text)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media =
    store_open (store, name, STORE_FROM_FILE, &err);
  char buf[16] = "";

  if (!text) {
    assert_null (media);
    assert_error (&err, ERR_MISSING, "no such file");
    return;
  }
  assert_non_null (media);
  assert_in_range (media->size, 0, sizeof buf - 1);
  assert_int_equal (media_pread (media, buf, media->size, 0, &err), 0);
  assert_string_equal (buf, text);
}

static void
test_create (void **state)
{
  struct vmdk_error err;
  int i;

  (void) state;
  for (i = 0; i < 2; i++) {
    CLEANUP_STORE struct store *store = open_store (i);

    create (store, "new", "text");
    assert_holds (store, "new", "text");
    assert_null (store_create (store, "new", 0666, &err));
    assert_error (&err, ERR_ARGUMENT, "exists already");
    assert_int_equal (err.errnum, EEXIST);
    assert_holds (store, "new", "text");
    create (store, "sub/new", "inner");
    assert_holds (store, "sub/new", "inner");
    assert_int_equal (store_flush (store, &err), 0);
    assert_int_equal (store_remove (store, "new", &err), 0);
    assert_int_equal (store_remove (store, "sub/new", &err), 0);
    assert_holds (store, "new", NULL);
    assert_holds (store, "sub/new", NULL);
    create (store, "new", "again");
    assert_holds (store, "new", "again");
    assert_int_equal (store_remove (store, "new", &err), 0);
    assert_int_equal (store_remove (store, "new", &err), -1);
    assert_error (&err, ERR_MISSING, "no such file");
  }
}

static void
test_rename (void **state)
{
  struct vmdk_error err;
  int i;

  (void) state;
  for (i = 0; i < 2; i++) {
    CLEANUP_STORE struct store *store = open_store (i);

    create (store, "a", "aaa");
    create (store, "b", "bbb");
    create (store, "c", "ccc");
    assert_int_equal (store_rename (store, "a", "b", &err), 0);
    assert_holds (store, "a", NULL);
    assert_holds (store, "b", "aaa");
    assert_int_equal (store_rename (store, "c", "b", &err), 0);
    assert_holds (store, "c", NULL);
    assert_holds (store, "b", "ccc");
    assert_int_equal (store_rename (store, "b", "b", &err), 0);
    assert_holds (store, "b", "ccc");
    assert_int_equal (store_rename (store, "b", "sub/d", &err), 0);
    assert_holds (store, "sub/d", "ccc");
    assert_int_equal (store_rename (store, "b", "sub/d", &err), -1);
    assert_error (&err, ERR_MISSING, "no such file");
    assert_holds (store, "sub/d", "ccc");
    assert_int_equal (store_rename (store, "sub/d", "d", &err), 0);
    assert_holds (store, "d", "ccc");
    assert_int_equal (store_flush (store, &err), 0);
    assert_int_equal (store_remove (store, "d", &err), 0);
  }
}

static void
test_link (void **state)
{
  struct vmdk_error err;
  int i;

  (void) state;
  for (i = 0; i < 2; i++) {
    CLEANUP_STORE struct store *store = open_store (i);
    CLEANUP_STORE struct store *other = open_store (i);
    struct media *a, *b;

    create (store, "a", "aaa");
    create (store, "b", "bbb");
    assert_int_equal (store_link (store, "a", store, "sub/c", &err), 0);
    assert_holds (store, "sub/c", "aaa");
    a = store_open (store, "a", STORE_FROM_FILE | STORE_WRITABLE, &err);
    b = store_open (store, "sub/c", STORE_FROM_FILE, &err);
    assert_non_null (a);
    assert_true (media_same (a, b));
    assert_int_equal (media_pwrite (a, "x", 1, 0, &err), 0);
    media_close (a);
    media_close (b);
    assert_holds (store, "sub/c", "xaa");
    assert_int_equal (store_link (store, "a", store, "b", &err), -1);
    assert_error (&err, ERR_ARGUMENT, "exists already");
    assert_int_equal (err.errnum, EEXIST);
    assert_holds (store, "b", "bbb");
    assert_int_equal (store_link (store, "nothing", store, "d", &err), -1);
    assert_error (&err, ERR_MISSING, "no such file");
    assert_int_equal (store_link (store, "a", store, "../d", &err), -1);
    assert_int_equal (err.kind, ERR_DENIED);
    assert_int_equal (store_remove (store, "a", &err), 0);
    assert_holds (store, "sub/c", "xaa");
    assert_int_equal (store_link (store, "b", other, "from-other", &err), 0);
    assert_holds (other, "from-other", "bbb");
    assert_int_equal (store_remove (other, "from-other", &err), 0);
    assert_int_equal (store_remove (store, "sub/c", &err), 0);
    assert_int_equal (store_remove (store, "b", &err), 0);
  }
}

/* As a renaming, but nothing is overwritten. */
static void
test_move (void **state)
{
  struct vmdk_error err;
  int i;

  (void) state;
  for (i = 0; i < 2; i++) {
    CLEANUP_STORE struct store *store = open_store (i);

    create (store, "a", "aaa");
    create (store, "b", "bbb");
    assert_int_equal (store_move (store, "a", store, "b", &err), -1);
    assert_error (&err, ERR_ARGUMENT, "exists already");
    assert_int_equal (err.errnum, EEXIST);
    assert_int_equal (store_move (store, "nothing", store, "d", &err), -1);
    assert_error (&err, ERR_MISSING, "no such file");
    assert_int_equal (store_move (store, "a", store, "../d", &err), -1);
    assert_int_equal (err.kind, ERR_DENIED);
    assert_holds (store, "a", "aaa");
    assert_holds (store, "b", "bbb");
    assert_int_equal (store_move (store, "a", store, "c", &err), 0);
    assert_holds (store, "c", "aaa");
    assert_null (store_open (store, "a", STORE_FROM_FILE, &err));
    assert_int_equal (store_remove (store, "b", &err), 0);
    assert_int_equal (store_remove (store, "c", &err), 0);
  }
}

/* Who has a file open keeps it, whatever becomes of its name. */
static void
test_open_meanwhile (void **state)
{
  struct vmdk_error err;
  int i;

  (void) state;
  for (i = 0; i < 2; i++) {
    CLEANUP_STORE struct store *store = open_store (i);
    CLEANUP_MEDIA struct media *a = NULL, *b = NULL;
    char buf[8] = "";

    create (store, "a", "aaa");
    create (store, "b", "bbb");
    a = store_open (store, "a", STORE_FROM_FILE | STORE_WRITABLE, &err);
    b = store_open (store, "b", STORE_FROM_FILE | STORE_WRITABLE, &err);
    assert_non_null (a);
    assert_non_null (b);
    assert_int_equal (store_rename (store, "a", "b", &err), 0);
    assert_int_equal (media_pwrite (a, "A", 1, 0, &err), 0);
    assert_int_equal (media_pwrite (b, "B", 1, 0, &err), 0);
    assert_holds (store, "b", "Aaa");
    assert_int_equal (store_remove (store, "b", &err), 0);
    assert_int_equal (media_pread (a, buf, 3, 0, &err), 0);
    assert_string_equal (buf, "Aaa");
    assert_int_equal (media_pread (b, buf, 3, 0, &err), 0);
    assert_string_equal (buf, "Bbb");
  }
}

#define INSIDE "is not a name inside its folder"

static void
test_names (void **state)
{
  static const char *const outside[] = { "", "..", "../x", "/tmp/x", "x/" };
  struct vmdk_error err;
  size_t i, k;

  (void) state;
  for (i = 0; i < 2; i++) {
    CLEANUP_STORE struct store *store = open_store (i);

    create (store, "a", "aaa");
    for (k = 0; k < sizeof outside / sizeof outside[0]; k++) {
      char text[64];

      assert_null (store_create (store, outside[k], 0666, &err));
      assert_error (&err, ERR_DENIED, INSIDE);
      assert_int_equal (store_remove (store, outside[k], &err), -1);
      assert_error (&err, ERR_DENIED, INSIDE);
      assert_int_equal (store_rename (store, outside[k], "b", &err), -1);
      assert_error (&err, ERR_DENIED, INSIDE);
      assert_int_equal (store_rename (store, "a", outside[k], &err), -1);
      snprintf (text, sizeof text, "new name %s: " INSIDE, outside[k]);
      assert_error (&err, ERR_DENIED, text);
    }
    assert_holds (store, "a", "aaa");
    assert_int_equal (store_remove (store, "a", &err), 0);
  }
}

static struct media *
fixed_open (struct store *store, const char *name, enum store_open_flags flags,
            struct vmdk_error *err)
{
  (void) store;
  (void) name;
  assert_false (flags & STORE_WRITABLE);
  (fail) (err, ERR_MISSING, "no such file");
  return NULL;
}

#define FIXED \
  "nothing in a.ova can be changed; open it read-only or copy it out"

static void
test_cannot_change (void **state)
{
  static const struct store_ops ops = { .open = fixed_open };
  struct store store = { .ops = &ops, .name = (char *) "a.ova" };
  struct vmdk_error err;

  (void) state;
  assert_null (store_open (&store, "x", STORE_FROM_FILE, &err));
  assert_error (&err, ERR_MISSING, "no such file");
  assert_null (
    store_open (&store, "x", STORE_FROM_USER | STORE_WRITABLE, &err));
  assert_error (&err, ERR_READ_ONLY, FIXED);
  assert_null (store_create (&store, "x", 0666, &err));
  assert_error (&err, ERR_READ_ONLY, FIXED);
  assert_int_equal (store_remove (&store, "x", &err), -1);
  assert_error (&err, ERR_READ_ONLY, FIXED);
  assert_int_equal (store_rename (&store, "x", "y", &err), -1);
  assert_error (&err, ERR_READ_ONLY, FIXED);
  assert_int_equal (store_link (&store, "x", &store, "y", &err), -1);
  assert_error (&err, ERR_READ_ONLY, FIXED);
  assert_int_equal (store_flush (&store, &err), 0);
}

/* Without STORE_WRITABLE nothing can be written, with it the rules for names
 * are the same.
 */
static void
test_dir_open (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = open_store (false);
  CLEANUP_MEDIA struct media *reader = NULL, *by_link = NULL;

  (void) state;
  create (store, "real", "text");
  assert_int_equal (symlinkat ("real", folder_fd, "link"), 0);
  reader = store_open (store, "real", STORE_FROM_FILE, &err);
  assert_int_equal (media_pwrite (reader, "x", 1, 0, &err), -1);
  assert_int_equal (err.kind, ERR_READ_ONLY);
  assert_null (
    store_open (store, "link", STORE_FROM_FILE | STORE_WRITABLE, &err));
  assert_error (&err, ERR_DENIED, "is a symbolic link, not a regular file");
  assert_null (
    store_open (store, "sub", STORE_FROM_USER | STORE_WRITABLE, &err));
  assert_error (&err, ERR_DENIED, "is a directory, not a regular file");
  assert_null (
    store_open (store, "nothing", STORE_FROM_FILE | STORE_WRITABLE, &err));
  assert_error (&err, ERR_MISSING, "no such file");
  by_link = store_open (store, "link", STORE_FROM_USER | STORE_WRITABLE, &err);
  assert_non_null (by_link);
  assert_int_equal (media_pwrite (by_link, "T", 1, 0, &err), 0);
  assert_holds (store, "real", "Text");
}

static void
test_dir_mode (void **state)
{
  static const struct {
    unsigned mode, expected;
  } modes[] = { { 0666, 0644 }, { 0600, 0600 }, { 06777, 0755 } };
  CLEANUP_STORE struct store *store = open_store (false);
  const mode_t before = umask (022);
  struct vmdk_error err;
  struct stat st;
  size_t i;

  (void) state;
  for (i = 0; i < sizeof modes / sizeof modes[0]; i++) {
    CLEANUP_MEDIA struct media *media =
      store_create (store, "moded", modes[i].mode, &err);

    assert_non_null (media);
    assert_int_equal (fstatat (folder_fd, "moded", &st, 0), 0);
    assert_int_equal (st.st_mode & 07777, modes[i].expected);
    assert_int_equal (store_remove (store, "moded", &err), 0);
  }
  umask (before);
}

/* A new file never appears behind a symbolic link, in whatever place. */
static void
test_dir_create_links (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = open_store (false);

  (void) state;
  assert_int_equal (symlinkat ("target", folder_fd, "dangling"), 0);
  assert_null (store_create (store, "dangling", 0666, &err));
  assert_error (&err, ERR_ARGUMENT, "exists already");
  assert_null (store_create (store, "sublink/x", 0666, &err));
  assert_error (&err, ERR_DENIED, "its folder sublink is a symbolic link");
  assert_null (store_create (store, "nothing/x", 0666, &err));
  assert_error (&err, ERR_MISSING, "its folder is not there");
  assert_int_equal (store_remove (store, "sublink/x", &err), -1);
  assert_error (&err, ERR_DENIED, "its folder sublink is a symbolic link");
  assert_int_equal (faccessat (folder_fd, "target", F_OK, 0), -1);
  assert_int_equal (faccessat (folder_fd, "sub/x", F_OK, 0), -1);
}

static void
test_dir_rename_refused (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = open_store (false);

  (void) state;
  create (store, "file", "text");
  assert_int_equal (symlinkat ("file", folder_fd, "filelink"), 0);
  assert_int_equal (store_rename (store, "sub", "x", &err), -1);
  assert_error (&err, ERR_DENIED, "is a directory, not a regular file");
  assert_int_equal (store_rename (store, "filelink", "x", &err), -1);
  assert_error (&err, ERR_DENIED, "is a symbolic link, not a regular file");
  assert_int_equal (store_link (store, "filelink", store, "x", &err), -1);
  assert_error (&err, ERR_DENIED, "is a symbolic link, not a regular file");
  assert_int_equal (store_rename (store, "file", "sub", &err), -1);
  assert_error (&err, ERR_SYSTEM, "cannot be renamed: Is a directory");
  assert_int_equal (store_rename (store, "file", "nothing/x", &err), -1);
  assert_error (&err, ERR_MISSING,
                "new name nothing/x: its folder is not there");
  assert_int_equal (store_remove (store, "sub", &err), -1);
  assert_int_not_equal (err.errnum, ENOENT);
  assert_holds (store, "file", "text");
}

/* The administrator may write everything, so he becomes somebody else for
 * it, in a child.
 */
static void
test_dir_permissions (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = open_store (false);
  pid_t pid;
  int status;

  (void) state;
  create (store, "protected", "text");
  assert_int_equal (fchmodat (folder_fd, "protected", 0444, 0), 0);
  assert_int_equal (fchmod (folder_fd, 0755), 0);
  pid = fork ();
  assert_int_not_equal (pid, -1);
  if (pid == 0) {
    struct media *media;

    if (geteuid () == 0 && setuid (65534) == -1)
      _exit (77);
    media =
      store_open (store, "protected", STORE_FROM_FILE | STORE_WRITABLE, &err);
    _exit (!media && err.kind == ERR_READ_ONLY
               && strcmp (err.text, "its permissions do not let us write it; "
                                    "change them or open it read-only")
                    == 0
             ? 0
             : 1);
  }
  assert_int_equal (waitpid (pid, &status, 0), pid);
  if (WIFEXITED (status) && WEXITSTATUS (status) == 77)
    skip ();
  assert_int_equal (status, 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_create),
    cmocka_unit_test (test_rename),
    cmocka_unit_test (test_link),
    cmocka_unit_test (test_move),
    cmocka_unit_test (test_open_meanwhile),
    cmocka_unit_test (test_names),
    cmocka_unit_test (test_cannot_change),
    cmocka_unit_test (test_dir_open),
    cmocka_unit_test (test_dir_mode),
    cmocka_unit_test (test_dir_create_links),
    cmocka_unit_test (test_dir_rename_refused),
    cmocka_unit_test (test_dir_permissions),
  };

  return cmocka_run_group_tests (tests, setup, remove_folder);
}
