/* SPDX-License-Identifier: BSD-3-Clause */

/* The names interface: which names stay inside, and what a directory and a
 * table in memory open, list and refuse.
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "store.h"
#include "folder-helper.h"

static void
make_socket (void)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  const int fd = socket (AF_UNIX, SOCK_STREAM, 0);

  assert_int_not_equal (fd, -1);
  snprintf (address.sun_path, sizeof address.sun_path, "%s/socket", folder);
  assert_int_equal (bind (fd, (struct sockaddr *) &address, sizeof address),
                    0);
  close (fd);
}

static int
setup (void **state)
{
  assert_int_equal (make_folder (state), 0);
  write_file ("plain", "plain", 5);
  assert_int_equal (mkdirat (folder_fd, "sub", 0700), 0);
  assert_int_equal (mkdirat (folder_fd, "sub/deep", 0700), 0);
  write_file ("sub/deep/inner", "inner", 5);
  assert_int_equal (mkfifoat (folder_fd, "fifo", 0600), 0);
  make_socket ();
  assert_int_equal (symlinkat ("plain", folder_fd, "link"), 0);
  assert_int_equal (symlinkat ("sub", folder_fd, "sublink"), 0);
  assert_int_equal (symlinkat ("deep", folder_fd, "sub/deeplink"), 0);
  assert_int_equal (symlinkat ("nowhere", folder_fd, "dangling"), 0);
  assert_int_equal (symlinkat ("/dev/null", folder_fd, "nulllink"), 0);
  return 0;
}

static const struct {
  const char *name;
  bool inside;
} names[] = {
  { "disk.vmdk", true },
  { "sub/disk.vmdk", true },
  { "a/b/c/d", true },
  { "...", true },
  { "..x", true },
  { "x..", true },
  { ".hidden", true },
  { "name with blanks", true },
  { "\xb4\xc5\xc5\xcc.vmdk", true }, /* GBK */
  { "json:{\"driver\":\"file\"}", true },
  { "%n%s", true },
  { "", false },
  { ".", false },
  { "..", false },
  { "./x", false },
  { "x/.", false },
  { "../x", false },
  { "x/../y", false },
  { "x/..", false },
  { "/x", false },
  { "/", false },
  { "x/", false },
  { "x//y", false },
  { "nbd://localhost/x", false },
  { "a\\b", false },
  { "C:disk.vmdk", false },
  { "z:", false },
  { "a\nb", false },
  { "a\x1b[2J", false },
  { "a\x7f", false },
};

static void
test_inside (void **state)
{
  char name[4098];
  size_t i;

  (void) state;
  for (i = 0; i < sizeof names / sizeof names[0]; i++)
    if (store_name_is_inside (names[i].name) != names[i].inside)
      fail_msg ("\"%s\" should%s be inside", names[i].name,
                names[i].inside ? "" : " not");
  memset (name, 'x', sizeof name);
  name[4096] = '\0';
  assert_true (store_name_is_inside (name));
  name[4096] = 'x';
  name[4097] = '\0';
  assert_false (store_name_is_inside (name));
}

#define INSIDE "is not a name inside its folder"

static const struct {
  const char *name;
  enum store_open_flags flags;
  enum vmdk_error_kind kind;
  const char *text; /* of the error, or what the file holds */
} opens[] = {
  { "plain", STORE_FROM_FILE, ERR_NONE, "plain" },
  { "sub/deep/inner", STORE_FROM_FILE, ERR_NONE, "inner" },
  { "nothing", STORE_FROM_FILE, ERR_MISSING, "no such file" },
  { "nothing/at/all", STORE_FROM_FILE, ERR_MISSING, "no such file" },
  { "sub/deep/other", STORE_FROM_FILE, ERR_MISSING, "no such file" },
  { "plain/x", STORE_FROM_FILE, ERR_MISSING, "no such file" },
  { "nbd:localhost:10809", STORE_FROM_FILE, ERR_MISSING, "no such file" },
  { "../x", STORE_FROM_FILE, ERR_DENIED, INSIDE },
  { "/etc/passwd", STORE_FROM_FILE, ERR_DENIED, INSIDE },
  { "", STORE_FROM_FILE, ERR_DENIED, INSIDE },
  { "link", STORE_FROM_FILE, ERR_DENIED,
    "is a symbolic link, not a regular file" },
  { "dangling", STORE_FROM_FILE, ERR_DENIED,
    "is a symbolic link, not a regular file" },
  { "sublink/deep/inner", STORE_FROM_FILE, ERR_DENIED,
    "its folder sublink is a symbolic link" },
  { "sub/deeplink/inner", STORE_FROM_FILE, ERR_DENIED,
    "its folder deeplink is a symbolic link" },
  { "fifo", STORE_FROM_FILE, ERR_DENIED, "is a FIFO, not a regular file" },
  { "socket", STORE_FROM_FILE, ERR_DENIED, "is a socket, not a regular file" },
  { "sub", STORE_FROM_FILE, ERR_DENIED, "is a directory, not a regular file" },
  { "sub/deep", STORE_FROM_FILE, ERR_DENIED,
    "is a directory, not a regular file" },

  { "plain", STORE_FROM_USER, ERR_NONE, "plain" },
  { "link", STORE_FROM_USER, ERR_NONE, "plain" },
  { "sublink/deep/inner", STORE_FROM_USER, ERR_NONE, "inner" },
  { "sub/../plain", STORE_FROM_USER, ERR_NONE, "plain" },
  { "dangling", STORE_FROM_USER, ERR_MISSING, "no such file" },
  { "", STORE_FROM_USER, ERR_MISSING, "the name is empty" },
  { "fifo", STORE_FROM_USER, ERR_DENIED, "is a FIFO, not a regular file" },
  { "sub", STORE_FROM_USER, ERR_DENIED, "is a directory, not a regular file" },
  { "nulllink", STORE_FROM_USER, ERR_DENIED,
    "is a character device, not a regular file" },
};

static void
test_dir_open (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = store_dir_new (folder, &err);
  size_t i;

  (void) state;
  assert_non_null (store);
  assert_string_equal (store->name, folder);
  for (i = 0; i < sizeof opens / sizeof opens[0]; i++) {
    CLEANUP_MEDIA struct media *media =
      store_open (store, opens[i].name, opens[i].flags, &err);
    char buf[6] = "";

    if (opens[i].kind != ERR_NONE) {
      assert_null (media);
      assert_error (&err, opens[i].kind, opens[i].text);
      continue;
    }
    assert_non_null (media);
    assert_string_equal (media->name, opens[i].name);
    assert_int_equal (media_pread (media, buf, media->size, 0, &err), 0);
    assert_string_equal (buf, opens[i].text);
  }
}

static void
test_dir_kernel_files (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *proc = store_dir_new ("/proc/self", &err);

  (void) state;
  if (!proc)
    skip ();
  assert_null (store_open (proc, "status", STORE_FROM_FILE, &err));
  assert_error (&err, ERR_DENIED, "is a file of the kernel's (/proc or /sys)");
}

/* Devices: only where we may make some. */
static void
test_dir_devices (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = store_dir_new (folder, &err);

  (void) state;
  if (mknodat (folder_fd, "chardev", S_IFCHR | 0600, 0x0103) == -1)
    skip ();
  assert_null (store_open (store, "chardev", STORE_FROM_FILE, &err));
  assert_error (&err, ERR_DENIED, "is a character device, not a regular file");
  if (mknodat (folder_fd, "blockdev", S_IFBLK | 0600, 0xffff) == -1)
    skip ();
  assert_null (store_open (store, "blockdev", STORE_FROM_FILE, &err));
  assert_error (&err, ERR_DENIED, "is a block device, not a regular file");
}

static void
test_dir_new_fails (void **state)
{
  struct vmdk_error err;
  char path[64];

  (void) state;
  snprintf (path, sizeof path, "%s/nothing", folder);
  assert_null (store_dir_new (path, &err));
  assert_error (&err, ERR_MISSING, "no such folder");
  snprintf (path, sizeof path, "%s/plain", folder);
  assert_null (store_dir_new (path, &err));
  assert_error (&err, ERR_MISSING, "is not a folder");
}

static void
test_dir_folder (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = store_dir_new (folder, &err);
  CLEANUP_STORE struct store *sub = store_folder (store, "sub", &err);
  CLEANUP_STORE struct store *deep = store_folder (sub, "deep", &err);
  CLEANUP_STORE struct store *up = store_folder (deep, "../..", &err);
  CLEANUP_STORE struct store *root = store_folder (deep, folder, &err);
  CLEANUP_MEDIA struct media *a = NULL, *b = NULL, *c = NULL;
  char path[64];

  (void) state;
  assert_non_null (deep);
  snprintf (path, sizeof path, "%s/sub/deep", folder);
  assert_string_equal (deep->name, path);
  assert_string_equal (root->name, folder);
  a = store_open (deep, "inner", STORE_FROM_FILE, &err);
  assert_non_null (a);
  b = store_open (up, "plain", STORE_FROM_FILE, &err);
  c = store_open (root, "plain", STORE_FROM_FILE, &err);
  assert_true (media_same (b, c));
  assert_null (store_folder (deep, "nothing", &err));
  assert_error (&err, ERR_MISSING, "no such folder");
}

/* Many files of one folder, more than may be open at once. */
static void
test_dir_many (void **state)
{
  struct media *media[20];
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = store_dir_new (folder, &err);
  char name[32], buf[32];
  size_t i;

  (void) state;
  assert_int_equal (mkdirat (folder_fd, "many", 0700), 0);
  media_file_pool_limit (2);
  for (i = 0; i < 20; i++) {
    snprintf (name, sizeof name, "many/%02zu", i);
    write_file (name, name, 7);
    media[i] = store_open (store, name, STORE_FROM_FILE, &err);
    assert_non_null (media[i]);
  }
  for (i = 0; i < 20; i++) {
    assert_int_equal (media_pread (media[i], buf, 7, 0, &err), 0);
    assert_memory_equal (buf, media[i]->name, 7);
    media_close (media[i]);
  }
  media_file_pool_limit (0);
}

struct seen {
  char text[1024]; /* the names, each with a blank behind it */
  size_t stop_at;
  size_t nr;
};

static int
see (void *opaque, const char *name, struct vmdk_error *err)
{
  struct seen *seen = opaque;
  const size_t len = strlen (seen->text);

  if (++seen->nr == seen->stop_at)
    return fail_memory (err);
  snprintf (seen->text + len, sizeof seen->text - len, "%s ", name);
  return 0;
}

static void
test_dir_list (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = store_dir_new (folder, &err);
  CLEANUP_STORE struct store *sub = store_folder (store, "sub", &err);
  struct seen seen = { .stop_at = 0 }, stopped = { .stop_at = 2 };

  (void) state;
  assert_int_equal (store_list (sub, see, &seen, &err), 0);
  assert_int_equal (seen.nr, 2);
  assert_non_null (strstr (seen.text, "deep "));
  assert_non_null (strstr (seen.text, "deeplink "));
  assert_int_equal (store_list (sub, see, &stopped, &err), -1);
  assert_int_equal (err.errnum, ENOMEM);
  assert_int_equal (stopped.nr, 2);
  seen.nr = 0;
  assert_int_equal (store_list (sub, see, &seen, &err), 0); /* once more */
  assert_int_equal (seen.nr, 2);
}

static const struct {
  const char *member, *text;
  const char *holder;
} lck_members[] = {
  { "M00001.lck", "564d-aa 4321-133 5 X 77 lc=12 ",
    "locked by VMware (machine 564d-aa, process 4321)" },
  { "M00002.lck", "564d-aa 4321-133 5 S 77 lc=12 ", "" },
  { "M00003.lck", "m 1 5 Z", "locked by VMware (machine m, process 1)" },
  { "M00004.lck", "m\x1b[2J 1\n 5 X",
    "locked by VMware (machine m\\x1b[2J, process 1)" },
  { "M00005.lck", "m 1 5", "locked by VMware (M00005.lck is not understood)" },
  { "M00006.lck", "", "locked by VMware (M00006.lck is not understood)" },
  { "E00001.lck", "m 1-1 5 X 7", "" },
  { "D00001.lck", "", "" },
  { "M00001.tmp", "m 1-1 5 X 7", "" },
};

static void
assert_holder (const char *name, const char *expected)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = store_dir_new (folder, &err);
  char holder[512] = "not set";

  assert_int_equal (
    store_lock_holder (store, name, holder, sizeof holder, &err), 0);
  assert_string_equal (holder, expected);
}

static void
test_lck_members (void **state)
{
  char path[64], member[512];
  size_t i;

  (void) state;
  assert_holder ("m.vmdk", "");
  assert_int_equal (mkdirat (folder_fd, "m.vmdk.lck", 0700), 0);
  assert_holder ("m.vmdk", "");
  for (i = 0; i < sizeof lck_members / sizeof lck_members[0]; i++) {
    memset (member, 0, sizeof member);
    memcpy (member, lck_members[i].text, strlen (lck_members[i].text));
    snprintf (path, sizeof path, "m.vmdk.lck/%s", lck_members[i].member);
    write_file (path, member, sizeof member);
    assert_holder ("m.vmdk", lck_members[i].holder);
    assert_int_equal (unlinkat (folder_fd, path, 0), 0);
  }
  assert_int_equal (mkfifoat (folder_fd, "m.vmdk.lck/M00001.lck", 0600), 0);
  assert_holder ("m.vmdk", "locked by VMware (M00001.lck cannot be read)");
}

/* One that shares and one that does not; the order of a folder is nobody's.
 * The file is in a folder of the store.
 */
static void
test_lck_mixed (void **state)
{
  (void) state;
  assert_int_equal (mkdirat (folder_fd, "sub/n.vmdk.lck", 0700), 0);
  write_file ("sub/n.vmdk.lck/M00001.lck", "a 1-1 5 S 7", 11);
  write_file ("sub/n.vmdk.lck/M00002.lck", "b 2-1 5 X 7", 11);
  write_file ("sub/n.vmdk.lck/M00003.lck", "c 3-1 5 S 7", 11);
  assert_holder ("sub/n.vmdk", "locked by VMware (machine b, process 2)");
}

static void
test_lck_others (void **state)
{
  char path[64];
  int i;

  (void) state;
  write_file ("old.vmdk.lck", "", 0);
  assert_holder ("old.vmdk", "locked by VMware (old.vmdk.lck exists)");
  assert_int_equal (mkdirat (folder_fd, "full.vmdk.lck", 0700), 0);
  for (i = 0; i < 1024; i++) {
    snprintf (path, sizeof path, "full.vmdk.lck/%d", i);
    write_file (path, "", 0);
  }
  assert_holder ("full.vmdk", "");
  write_file ("full.vmdk.lck/1024", "", 0);
  assert_holder ("full.vmdk", "locked by VMware, perhaps (full.vmdk.lck has "
                              "more than 1024 entries)");
}

/* A text that does not fit is cut, and nothing is written behind it. */
static void
test_lck_short_buffer (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = store_dir_new (folder, &err);
  char holder[8] = "1234567";

  (void) state;
  write_file ("short.vmdk.lck", "", 0);
  assert_int_equal (store_lock_holder (store, "short.vmdk", holder, 7, &err),
                    0);
  assert_memory_equal (holder, "locked", 7);
  assert_int_equal (holder[7], '\0');
}

static void
test_memory (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = store_memory_new ("mem", &err);
  CLEANUP_MEDIA struct media *a = NULL, *b = NULL, *c = NULL;
  struct seen seen = { .stop_at = 0 };
  char buf[8] = "", holder[8] = "x";

  (void) state;
  assert_int_equal (store_memory_add (store, "one", "111", 3, &err), 0);
  assert_int_equal (store_memory_add (store, "two", "222", 3, &err), 0);
  assert_int_equal (store_memory_add (store, "one", "1111", 4, &err), 0);
  a = store_open (store, "one", STORE_FROM_FILE, &err);
  b = store_open (store, "one", STORE_FROM_FILE, &err);
  c = store_open (store, "two", STORE_FROM_FILE, &err);
  assert_true (media_same (a, b));
  assert_false (media_same (a, c));
  assert_int_equal (a->size, 4);
  assert_int_equal (media_pread (a, buf, 4, 0, &err), 0);
  assert_string_equal (buf, "1111");
  assert_null (store_open (store, "three", STORE_FROM_FILE, &err));
  assert_error (&err, ERR_MISSING, "no such file");
  assert_null (store_open (store, "../one", STORE_FROM_FILE, &err));
  assert_error (&err, ERR_DENIED, INSIDE);
  assert_null (store_folder (store, "sub", &err));
  assert_error (&err, ERR_UNSUPPORTED, "there is no other folder beside mem");
  assert_int_equal (store_lock_holder (store, "one", holder, 8, &err), 0);
  assert_string_equal (holder, "");
  assert_int_equal (store_list (store, see, &seen, &err), 0);
  assert_string_equal (seen.text, "one two ");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_inside),
    cmocka_unit_test (test_dir_open),
    cmocka_unit_test (test_dir_kernel_files),
    cmocka_unit_test (test_dir_devices),
    cmocka_unit_test (test_dir_new_fails),
    cmocka_unit_test (test_dir_folder),
    cmocka_unit_test (test_dir_many),
    cmocka_unit_test (test_dir_list),
    cmocka_unit_test (test_lck_members),
    cmocka_unit_test (test_lck_mixed),
    cmocka_unit_test (test_lck_others),
    cmocka_unit_test (test_lck_short_buffer),
    cmocka_unit_test (test_memory),
  };

  return cmocka_run_group_tests (tests, setup, remove_folder);
}
