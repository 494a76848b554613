/* SPDX-License-Identifier: BSD-3-Clause */

/* A link that has children is not written; who counts as a child. */

#include <config.h>

#include "extent-helper.h"
#include "child.h"
#include "create-helper.h"
#include "disk-helper.h"
#include "create.h"
#include "siblings.h"

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

#define HAS_CHILD                                                       \
  "has a child c.vmdk, which would no longer fit: write to that or to " \
  "another one (overlay=, vmdkit child), or commit or rebase c.vmdk first"

static void
put_base (void)
{
  static const uint8_t zeros[64 * SECTOR_SIZE];

  put ("base-flat.vmdk", zeros, sizeof zeros);
  put_text ("base.vmdk",
            "version=1\nCID=0123abcd\nparentCID=ffffffff\n"
            "createType=\"monolithicFlat\"\nRW 64 FLAT \"base-flat.vmdk\"\n");
}

static void
must_open (const char *name, bool writable)
{
  disk_close (open_disk (name, writable));
}

/* Not for writing, and the error says why; for reading as ever. */
static void
assert_has_child (const char *text)
{
  assert_null (try_open ("base.vmdk", true));
  assert_error (&f.err, ERR_READ_ONLY, text);
  assert_int_equal (f.nr_warnings, 0);
  must_open ("base.vmdk", false);
  assert_int_equal (f.nr_warnings, 0);
}

#define LINK(own, cid, hint)                                          \
  "version=1\nCID=" own "\nparentCID=" cid                            \
  "\ncreateType=\"twoGbMaxExtentSparse\"\nparentFileNameHint=\"" hint \
  "\"\nRW 64 SPARSE \"c-s001.vmdk\"\n"
#define CHILD(cid, hint) LINK ("00000007", cid, hint)
#define MERGED(cid, hint) LINK ("0123abcd", cid, hint)

static void
test_hints (void **state)
{
  static const struct {
    const char *text;
    bool is_child;
  } cases[] = {
    { CHILD ("0123abcd", "base.vmdk"), true },
    { CHILD ("123ABCD", "./base.vmdk"), true },
    { CHILD ("0123abcd", "Base.VMDK"), true },
    { CHILD ("0123abcd", "/vmfs/volumes/x/vm/base.vmdk"), true },
    { CHILD ("0123abcd", "C:\\VMs\\base.vmdk"), true },
    { CHILD ("0123abcd", "[store 1] base.vmdk"), true },
    { CHILD ("0123abcd", "[store 1] vm/base.vmdk"), true },
    /* a merge that was killed when the base had its child's ID */
    { MERGED ("99999999", "base.vmdk"), true },
    { MERGED ("99999999", "other.vmdk"), false },
    { MERGED ("ffffffff", "base.vmdk"), false },
    { CHILD ("0123abce", "base.vmdk"), false },
    { CHILD ("ffffffff", "base.vmdk"), false },
    { CHILD ("0123abcd", "xbase.vmdk"), false },
    { CHILD ("0123abcd", "base.vmdk/other.vmdk"), false },
    { "version=1\nCID=0123abcd\nparentCID=ffffffff\ncreateType=\"custom\"\n"
      "RW 64 ZERO\n",
      false },
    { "# Disk DescriptorFile\nversion=1\nparentCID=0123abcd\nnonsense\n",
      false },
    { "base.vmdk 0123abcd", false },
    { "KDMV", false },
    { "", false },
  };

  (void) state;
  put_base ();
  for (size_t i = 0; i < COUNT (cases); i++) {
    put_text ("c.vmdk", cases[i].text);
    if (cases[i].is_child)
      assert_has_child ("base.vmdk: " HAS_CHILD);
    else {
      must_open ("base.vmdk", true);
      assert_int_equal (f.nr_warnings, 0);
    }
  }
}

/* Every kind of child that we make; after the base has changed, however that
 * happened, they are none any more.
 */
static void
test_kinds (void **state)
{
  static const enum disk_type types[] = {
    DISK_MONOLITHIC_SPARSE,
    DISK_SPLIT_SPARSE,
    DISK_VMFS_SPARSE,
  };

  for (size_t i = 0; i < COUNT (types); i++) {
    const struct child_rules child = { .type = types[i] };
    struct disk *disk;

    if (i > 0) {
      folder_teardown (state);
      folder_setup (state);
    }
    put_base ();
    disk = try_open ("base.vmdk", false);
    assert_non_null (disk);
    assert_int_equal (
      disk_create_child (store, "c.vmdk", disk, "base.vmdk", &child, &f.err),
      0);
    disk_close (disk);
    assert_has_child ("base.vmdk: " HAS_CHILD);

    /* A child of the child makes no difference to either. */
    must_open ("c.vmdk", true);
    put_text ("base.vmdk", "version=1\nCID=0123abce\nparentCID=ffffffff\n"
                           "createType=\"monolithicFlat\"\n"
                           "RW 64 FLAT \"base-flat.vmdk\"\n");
    must_open ("base.vmdk", true);
  }
}

/* The keys are found in a text of any length. */
static void
test_long_text (void **state)
{
  static char text[3 * SIBLINGS_MAX_TEXT] = CHILD ("0123abcd", "base.vmdk");

  (void) state;
  put_base ();
  while (strlen (text) < sizeof text - 100)
    strcat (text, "RW 64 SPARSE \"another-extent-of-the-child-s001.vmdk\"\n");
  put_text ("c.vmdk", text);
  assert_has_child ("base.vmdk: " HAS_CHILD);
}

/* A full folder: some of it is looked at, and the log says so.  The link's
 * own extents do not count.
 */
static void
test_many_files (void **state)
{
  char name[30], text[80000] = "version=1\nCID=0123abcd\nparentCID=ffffffff\n"
                               "createType=\"custom\"\n";
  size_t len = strlen (text);

  (void) state;
  for (int i = 0; i < SIBLINGS_MAX_FILES; i++) {
    sprintf (name, "own%d", i);
    put (name, text, SECTOR_SIZE);
    len += (size_t) sprintf (text + len, "RW 1 FLAT \"%s%s\" 0\n",
                             i % 2 ? "./" : "", name);
    /* Flat bytes that look like a descriptor would be refused. */
    put (name, &f, SECTOR_SIZE);
  }
  put_text ("base.vmdk", text);
  for (int i = 0; i < SIBLINGS_MAX_FILES - 1; i++) {
    sprintf (name, "other%d", i);
    put_text (name, "something");
  }
  put_text ("c.vmdk", CHILD ("0123abcd", "base.vmdk"));
  assert_has_child ("base.vmdk: " HAS_CHILD);

  put_text ("c.vmdk", "something");
  must_open ("base.vmdk", true);
  assert_int_equal (f.nr_warnings, 0);
  put_text ("d.vmdk", CHILD ("0123abcd", "base.vmdk"));
  must_open ("base.vmdk", true);
  assert_string_equal (f.warning,
                       "base.vmdk: its folder has more than 1000 files: not "
                       "all were asked whether they are its children, which "
                       "must not be there when it is written");
}

static int
failing_list (struct store *s,
              int (*visit) (void *opaque, const char *name,
                            struct vmdk_error *err),
              void *opaque, struct vmdk_error *err)
{
  (void) s;
  (void) visit;
  (void) opaque;
  return fail_errno (err, EACCES, "cannot be listed");
}

static void
test_no_list (void **state)
{
  static const struct store_ops ops = { .list = failing_list };
  struct store blind = { .ops = &ops };
  struct disk *disk;

  (void) state;
  put_base ();
  disk = try_open ("base.vmdk", false);
  assert_non_null (disk);
  assert_int_equal (
    siblings_check_no_child (&blind, "base.vmdk",
                             chain_link (disk_chain (disk), 0)->descriptor,
                             NULL, &f.rules.log, &f.err),
    0);
  disk_close (disk);
  assert_non_null (strstr (f.warning, "cannot be seen: cannot be listed"));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    TEST_IN_FOLDER (test_hints),     TEST_IN_FOLDER (test_kinds),
    TEST_IN_FOLDER (test_long_text), TEST_IN_FOLDER (test_many_files),
    TEST_IN_FOLDER (test_no_list),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
