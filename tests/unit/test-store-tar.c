/* SPDX-License-Identifier: BSD-3-Clause */

/* Tar archives: the formats we read, and what malformed ones are told. */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"

#include <cmocka.h> /* last: it has a macro called fail */

#include "tar-helper.h"

#define ARCHIVE_MAX ((size_t) 160 << 20)

static int
start (void **state)
{
  (void) state;
  /* Zeros, and only what is touched takes memory. */
  bytes = calloc (1, ARCHIVE_MAX);
  used = 0;
  return bytes ? 0 : -1;
}

static int
stop (void **state)
{
  (void) state;
  free (bytes);
  return 0;
}

static void
assert_error (const struct vmdk_error *err, enum vmdk_error_kind kind,
              const char *text)
{
  assert_string_equal (err->text, text);
  assert_int_equal (err->kind, kind);
}

static struct store *
open_archive (struct vmdk_error *err)
{
  struct media *media = media_memory_new ("x.ova", bytes, used, err);

  assert_non_null (media);
  return store_tar_new (media, err);
}

static void
assert_corrupt (const char *text)
{
  struct vmdk_error err;

  assert_null (open_archive (&err));
  assert_error (&err, ERR_CORRUPT, text);
}

static void
assert_holds (struct store *store, const char *name, const char *text)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media =
    store_open (store, name, STORE_FROM_USER, &err);
  char buf[64] = "";

  assert_non_null (media);
  assert_string_equal (media->name, name);
  assert_int_equal (media->size, strlen (text));
  assert_int_equal (media_pread (media, buf, media->size, 0, &err), 0);
  assert_string_equal (buf, text);
}

static void
assert_refused (struct store *store, const char *name,
                enum vmdk_error_kind kind, const char *text)
{
  struct vmdk_error err;

  assert_null (store_open (store, name, STORE_FROM_FILE, &err));
  assert_error (&err, kind, text);
}

static int
see (void *opaque, const char *name, struct vmdk_error *err)
{
  (void) err;
  strcat (opaque, name);
  strcat (opaque, " ");
  return 0;
}

static void
assert_list (struct store *store, const char *expected)
{
  struct vmdk_error err;
  char text[512] = "";

  assert_int_equal (store_list (store, see, text, &err), 0);
  assert_string_equal (text, expected);
}

static void
test_plain (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = NULL;

  (void) state;
  put_member ("x.ovf", '0', "<Envelope/>");
  put_member ("./x-disk1.vmdk", '\0', "disk one");
  put_member ("././/x-disk2.vmdk", '7', "disk two");
  put_member ("folder/", '5', "");
  put_member ("./", '5', "");
  put_member ("v7folder/", '0', "");
  put_member ("symlink", '2', "");
  put_member ("hardlink", '1', "");
  put_member ("fifo", '6', "");
  put_member ("folder/inner", '0', "inner");
  put_member ("volume", 'V', "");
  put_member ("unheard-of", 'Q', "some data");
  put_member ("empty", '0', "");
  put_end ();
  store = open_archive (&err);
  assert_non_null (store);
  assert_string_equal (store->name, "x.ova");
  assert_list (store, "x.ovf x-disk1.vmdk x-disk2.vmdk folder/inner empty ");
  assert_holds (store, "x.ovf", "<Envelope/>");
  assert_holds (store, "x-disk1.vmdk", "disk one");
  assert_holds (store, "x-disk2.vmdk", "disk two");
  assert_holds (store, "folder/inner", "inner");
  assert_holds (store, "empty", "");
  assert_refused (store, "symlink", ERR_MISSING,
                  "no such member in the archive");
  assert_refused (store, "X.ovf", ERR_MISSING,
                  "no such member in the archive");
  assert_refused (store, "../x.ovf", ERR_DENIED,
                  "is not a name inside its folder");
  assert_null (store_folder (store, "folder", &err));
  assert_error (&err, ERR_UNSUPPORTED,
                "there is no other folder beside x.ova");
}

/* The same member is the same file, and another one is not. */
static void
test_identity (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = NULL;
  CLEANUP_MEDIA struct media *a = NULL, *b = NULL, *c = NULL;

  (void) state;
  put_member ("a", '0', "aaa");
  put_member ("c", '0', "ccc");
  store = open_archive (&err);
  a = store_open (store, "a", STORE_FROM_FILE, &err);
  b = store_open (store, "a", STORE_FROM_FILE, &err);
  c = store_open (store, "c", STORE_FROM_FILE, &err);
  assert_true (media_same (a, b));
  assert_false (media_same (a, c));
}

static void
test_last_wins (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = NULL;

  (void) state;
  put_member ("b", '0', "first");
  put_member ("a", '0', "old");
  put_member ("./b", '0', "second");
  put_member ("c", '0', "c");
  put_member ("b", '0', "third");
  put_end ();
  store = open_archive (&err);
  assert_list (store, "a c b ");
  assert_holds (store, "b", "third");
  assert_holds (store, "a", "old");
}

static void
test_names (void **state)
{
  static const char long_name[] =
    "a/long/name/of/more/than/a/hundred/bytes/such/as/tar/cannot/keep/in/the/"
    "first/field/of/a/header/so/it/gives/a/second.vmdk";
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = NULL;
  char name[128];
  uint8_t *p;

  (void) state;
  p = put_member ("tail", '0', "prefixed");
  strcpy ((char *) p + 345, "head/of/it");
  seal (p);
  p = put_member ("gnu", '0', "not prefixed"); /* it has times there */
  memcpy (p + 257, "ustar  ", 8);
  strcpy ((char *) p + 345, "01234567");
  seal (p);
  memset (name, 'n', sizeof name);
  name[100] = '\0';
  put_member (name, '0', "full field");
  p = put_member ("v7", '\0', "seven");
  memset (p + 257, 0, 8);
  seal (p);
  put_header ("././@LongLink", 'L', sizeof long_name);
  put_data (long_name, sizeof long_name);
  put_member ("a/long", '0', "long name");
  put_member ("././@LongLink", 'K', "a link's target");
  put_member ("after", '0', "after");
  put_end ();
  store = open_archive (&err);
  assert_non_null (store);
  assert_holds (store, "head/of/it/tail", "prefixed");
  assert_holds (store, "gnu", "not prefixed");
  assert_holds (store, name, "full field");
  assert_holds (store, "v7", "seven");
  assert_holds (store, long_name, "long name");
  assert_holds (store, "after", "after");
}

static void
test_pax (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = NULL;
  uint8_t *p;

  (void) state;
  put_member ("global", 'g', "anything at all");
  put_member ("pax", 'x',
              "30 mtime=1350244992.023960108\n"
              "23 path=./p/one=1.vmdk\n");
  put_member ("header's", '0', "one");
  put_member ("plain", '0', "overrides are over");
  put_member ("pax", 'x', "9 size=3\n");
  p = put_member ("size", '0', "abc");
  memcpy (p + 124, "77777777777", 12);
  seal (p);
  put_member ("pax", 'x', "13 path=fake\n8 path=\n9 size=1\n8 size=\n");
  put_member ("taken-back", '0', "abcd");
  put_end ();
  store = open_archive (&err);
  assert_non_null (store);
  assert_list (store, "p/one=1.vmdk plain size taken-back ");
  assert_holds (store, "p/one=1.vmdk", "one");
  assert_holds (store, "plain", "overrides are over");
  assert_holds (store, "size", "abc");
  assert_holds (store, "taken-back", "abcd");
}

static void
test_base_256 (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = NULL;
  uint8_t *p;

  (void) state;
  p = put_member ("a", '0', "abc");
  memset (p + 124, 0, 12);
  p[124] = 0x80;
  p[135] = 3;
  seal (p);
  put_member ("b", '0', "b");
  store = open_archive (&err);
  assert_non_null (store);
  assert_holds (store, "a", "abc");
  assert_holds (store, "b", "b");
}

#define SPARSE "the member is stored as a sparse file; unpack it first"

static void
test_sparse (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = NULL;
  uint8_t *p;

  (void) state;
  p = put_header ("old", 'S', 3);
  p[482] = 1; /* two more blocks with the map */
  seal (p);
  bytes[used + 504] = 1;
  used += 2 * BLOCK_SIZE;
  put_data ("abc", 3);
  put_member ("pax", 'x',
              "22 GNU.sparse.major=1\n29 GNU.sparse.name=real.vmdk\n"
              "13 path=fake\n");
  put_member ("made-up", '0', "map and data");
  put_member ("pax", 'x', "22 SCHILY.realsize=99\n");
  put_member ("star", '0', "data");
  put_member ("plain", '0', "plain");
  put_end ();
  store = open_archive (&err);
  assert_non_null (store);
  assert_list (store, "old real.vmdk star plain ");
  assert_refused (store, "old", ERR_UNSUPPORTED, SPARSE);
  assert_refused (store, "real.vmdk", ERR_UNSUPPORTED, SPARSE);
  assert_refused (store, "star", ERR_UNSUPPORTED, SPARSE);
  assert_holds (store, "plain", "plain");
}

#define COMPRESSED "the member is compressed; unpack it first"

static void
test_packed (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = NULL;

  (void) state;
  put_member ("a.vmdk.gz", '0', "not really");
  put_member ("B.VMDK.GZ", '0', "");
  put_member ("c.vmdk", '0', "\x1f\x8b\x08...");
  put_member ("d.vmdk", '0', "\x1f");
  put_member (".gz", '0', "hidden");
  put_member ("e.vmdk.000000000", '0', "chunk");
  put_member ("e.vmdk.000000001", '0', "chunk");
  put_end ();
  store = open_archive (&err);
  assert_refused (store, "a.vmdk.gz", ERR_UNSUPPORTED, COMPRESSED);
  assert_refused (store, "B.VMDK.GZ", ERR_UNSUPPORTED, COMPRESSED);
  assert_refused (store, "c.vmdk", ERR_UNSUPPORTED, COMPRESSED);
  assert_holds (store, "d.vmdk", "\x1f");
  assert_holds (store, ".gz", "hidden");
  assert_refused (store, "e.vmdk", ERR_UNSUPPORTED,
                  "the member is cut into chunks (e.vmdk.000000000 and so "
                  "on); join them first");
  assert_refused (store, "f.vmdk", ERR_MISSING,
                  "no such member in the archive");
}

/* How archives may end: as they should, with one block of zeros, with none,
 * within the last padding, within a block of zeros.
 */
static void
test_ends (void **state)
{
  static const size_t sizes[] = { 2048 + 10000, 2048, 1536, 1024, 515, 1100 };
  size_t i;

  (void) state;
  put_member ("a", '0', "abc");
  for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    struct vmdk_error err;
    CLEANUP_STORE struct store *store = NULL;

    used = sizes[i];
    store = open_archive (&err);
    assert_non_null (store);
    assert_holds (store, "a", "abc");
  }
  used = 0;
  {
    struct vmdk_error err;
    CLEANUP_STORE struct store *store = open_archive (&err);

    assert_non_null (store);
    assert_list (store, "");
    assert_refused (store, "a", ERR_MISSING, "no such member in the archive");
  }
}

/* What follows the first block of zeros is not read. */
static void
test_after_the_end (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = NULL;

  (void) state;
  put_member ("a", '0', "abc");
  put_end ();
  put_member ("b", '0', "b");
  store = open_archive (&err);
  assert_list (store, "a ");
}

static void
bad_checksum (void)
{
  put_member ("a", '0', "abc");
  put_member ("b", '0', "abc")[0] = 'c';
}

static void
no_checksum (void)
{
  memcpy (put_header ("a", '0', 0) + 148, "xyz", 3);
}

static void
cut_header (void)
{
  put_member ("a", '0', "abc");
  put_header ("b", '0', 0);
  used -= 100;
}

static void
cut_member (void)
{
  put_member ("a", '0', "abc");
  put_header ("b", '0', 1000);
  used += 999;
}

static void
huge_member (void)
{
  put_header ("b", '0', UINT64_C (077777777777));
}

static void
bad_size (void)
{
  uint8_t *p = put_header ("b", '0', 0);

  memcpy (p + 124, "0000000000x", 11);
  seal (p);
}

static void
negative_size (void)
{
  uint8_t *p = put_header ("b", '0', 0);

  memset (p + 124, 0xff, 12);
  seal (p);
}

static void
enormous_size (void)
{
  uint8_t *p = put_header ("b", '0', 0);

  memset (p + 124, 0, 12);
  p[124] = 0x80;
  memset (p + 128, 0xff, 8);
  p[128] = 0x7f;
  seal (p);
}

static void
pax_huge_size (void)
{
  put_member ("pax", 'x', "17 size=99999999\n");
  put_header ("b", '0', 0);
}

static void
pax_size_overflow (void)
{
  put_member ("pax", 'x', "29 size=18446744073709551616\n");
}

static void
pax_size_text (void)
{
  put_member ("pax", 'x', "11 size=1x\n");
}

static void
pax_too_long (void)
{
  put_member ("pax", 'x', "24 path=./p/one=1.vmdk\n");
}

static void
pax_too_short (void)
{
  put_member ("pax", 'x', "2 path=x\n");
}

static void
pax_no_length (void)
{
  put_member ("pax", 'x', "path=x\n");
}

static void
pax_overflowing_length (void)
{
  put_member ("pax", 'x', "99999999999999999999 path=x\n");
}

static void
pax_no_newline (void)
{
  put_member ("pax", 'x', "10 path=xyz");
}

static void
pax_no_equals (void)
{
  put_member ("pax", 'x', "9 path x\n");
}

static void
pax_zero_in_name (void)
{
  put_header ("pax", 'x', 12);
  put_data ("12 path=x\0y\n", 12);
}

static void
pax_large (void)
{
  put_header ("pax", 'x', (1 << 20) + 1);
  used += (1 << 20) + BLOCK_SIZE;
}

static void
name_too_long (void)
{
  put_header ("long", 'L', 4098);
  memset (bytes + used, 'x', 4097);
  used += 9 * BLOCK_SIZE;
}

static void
sparse_map_cut (void)
{
  uint8_t *p = put_header ("old", 'S', 0);

  p[482] = 1;
  seal (p);
  bytes[used + 504] = 1;
  used += BLOCK_SIZE;
}

static void
too_much_pax (void)
{
  int i;

  for (i = 0; i < 65; i++) {
    put_header ("pax", 'x', 1 << 20);
    used += 1 << 20;
  }
}

static void
too_many_members (void)
{
  int i;

  for (i = 0; i < 65537; i++)
    put_header ("a", '0', 0);
}

static void
too_many_headers (void)
{
  int i;

  for (i = 0; i < 4 * 65536 + 1; i++)
    put_header ("a", 'g', 0);
}

#define AT_0 "tar header at byte 0: "
#define PAX_AT_0 "pax header at byte 0: "

static const struct {
  void (*make) (void);
  const char *text;
} bad[] = {
  { bad_checksum, "tar header at byte 1024: wrong checksum" },
  { no_checksum, AT_0 "wrong checksum" },
  { cut_header,
    "the archive ends at byte 1436, within the tar header at byte 1024" },
  { cut_member, "tar header at byte 1024: 1000 bytes run past the archive's "
                "end at byte 2535" },
  { huge_member,
    AT_0 "8589934591 bytes run past the archive's end at byte 512" },
  { bad_size, AT_0 "the size is no number" },
  { negative_size, AT_0 "the size is no number" },
  { enormous_size,
    AT_0 "9223372036854775807 bytes run past the archive's end at byte 512" },
  { pax_huge_size, "tar header at byte 1024: 99999999 bytes run past the "
                   "archive's end at byte 1536" },
  { pax_size_overflow, PAX_AT_0 "the size is no number" },
  { pax_size_text, PAX_AT_0 "the size is no number" },
  { pax_too_long, PAX_AT_0 "malformed record" },
  { pax_too_short, PAX_AT_0 "malformed record" },
  { pax_no_length, PAX_AT_0 "malformed record" },
  { pax_overflowing_length, PAX_AT_0 "malformed record" },
  { pax_no_newline, PAX_AT_0 "malformed record" },
  { pax_no_equals, PAX_AT_0 "record without \"=\"" },
  { pax_zero_in_name, AT_0 "a name has a zero byte" },
  { pax_large, AT_0 "1048577 bytes of attributes; the limit is 1048576, and "
                    "67108864 for the archive" },
  { name_too_long, AT_0 "a name of 4097 bytes; the limit is 4096" },
  { sparse_map_cut,
    AT_0 "its sparse map runs past the archive's end at byte 1024" },
  { too_much_pax, "tar header at byte 67141632: 1048576 bytes of attributes; "
                  "the limit is 1048576, and 67108864 for the archive" },
  { too_many_members, "more than 65536 members in the archive" },
  { too_many_headers, "more than 262144 headers in the archive" },
};

static void
test_bad (void **state)
{
  size_t i;

  (void) state;
  for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    memset (bytes, 0, used);
    used = 0;
    bad[i].make ();
    assert_true (used <= ARCHIVE_MAX);
    assert_corrupt (bad[i].text);
  }
}

static bool
probe (void)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media =
    media_memory_new ("x.ova", bytes, used, &err);

  assert_non_null (media);
  return store_tar_probe (media);
}

static void
test_probe (void **state)
{
  (void) state;
  assert_false (probe ()); /* empty */
  used = 10240;
  assert_false (probe ()); /* zeros */
  memcpy (bytes, "KDMV\1", 5);
  assert_false (probe ());
  memcpy (bytes, "\x1f\x8b\x08", 4);
  assert_false (probe ());
  memcpy (bytes, "# Disk DescriptorFile\nversion=1\n", 32);
  assert_false (probe ());

  memset (bytes, 0, used);
  used = 0;
  put_member ("x.ovf", '0', "");
  assert_true (probe ());
  used--;
  assert_false (probe ());
  used++;
  bytes[0]++;
  assert_false (probe ());
}

#define TEST(name) cmocka_unit_test_setup_teardown (name, start, stop)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    TEST (test_plain),         TEST (test_identity), TEST (test_last_wins),
    TEST (test_names),         TEST (test_pax),      TEST (test_base_256),
    TEST (test_sparse),        TEST (test_packed),   TEST (test_ends),
    TEST (test_after_the_end), TEST (test_bad),      TEST (test_probe),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
