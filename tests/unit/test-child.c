/* SPDX-License-Identifier: BSD-3-Clause */

/* Links over others: what a child takes over from its parent, that it shows
 * the parent's contents, and when it is refused.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "extent-helper.h"
#include "create-helper.h"
#include "disk-helper.h"
#include "child.h"

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

/* A base of one extent line, with more lines at the end. */
static void
put_base (const char *name, const char *cid, const char *extent,
          const char *more)
{
  char text[2000];

  snprintf (text, sizeof text,
            "# Disk DescriptorFile\nversion=1\n%sparentCID=ffffffff\n"
            "createType=\"custom\"\n# Extent description\n%s\n%s",
            cid, extent, more);
  put (name, text, strlen (text));
}

static int
create_child (struct store *in, const char *name, const char *parent,
              const char *hint, const struct child_rules *rules)
{
  struct disk *disk = open_disk (parent, false);
  const int r = disk_create_child (in, name, disk, hint, rules, &f.err);

  disk_close (disk);
  return r;
}

static void
make_child (const char *name, const char *parent, enum disk_type type)
{
  const struct child_rules rules = { .type = type };
  const int r = create_child (store, name, parent, parent, &rules);

  if (r == -1)
    print_error ("%s\n", f.err.text);
  assert_int_equal (r, 0);
}

/* The descriptor of a new link over "base.vmdk", whose CID is 1234abcd. */
#define CHILD(type, extent, adapter, cylinders, heads, sectors, version) \
  "# Disk DescriptorFile\n"                                              \
  "version=1\n"                                                          \
  "encoding=\"UTF-8\"\n"                                                 \
  "CID=XXXXXXXX\n"                                                       \
  "parentCID=1234abcd\n"                                                 \
  "isNativeSnapshot=\"no\"\n"                                            \
  "createType=\"" type "\"\n"                                            \
  "parentFileNameHint=\"base.vmdk\"\n\n"                                 \
  "# Extent description\n" extent "\n"                                   \
  "\n# The Disk Data Base \n#DDB\n\n"                                    \
  "ddb.adapterType = \"" adapter "\"\n"                                  \
  "ddb.geometry.cylinders = \"" cylinders "\"\n"                         \
  "ddb.geometry.heads = \"" heads "\"\n"                                 \
  "ddb.geometry.sectors = \"" sectors "\"\n"                             \
  "ddb.longContentID = \"XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX\"\n"           \
  "ddb.virtualHWVersion = \"" version "\"\n"

/* Each type over a disk with contents; then children of children. */
static void
test_contents (void **state)
{
  static const struct {
    enum disk_type type;
    const char *files, *text;
  } cases[] = {
    { DISK_MONOLITHIC_SPARSE, "data base.vmdk c-000001.vmdk",
      CHILD ("monolithicSparse", "RW 301 SPARSE \"c-000001.vmdk\"", "ide", "7",
             "8", "9", "11") },
    { DISK_SPLIT_SPARSE, "data base.vmdk c-000001-s001.vmdk c-000001.vmdk",
      CHILD ("twoGbMaxExtentSparse", "RW 301 SPARSE \"c-000001-s001.vmdk\"",
             "ide", "7", "8", "9", "11") },
    { DISK_VMFS_SPARSE, "data base.vmdk c-000001-delta.vmdk c-000001.vmdk",
      CHILD ("vmfsSparse", "RW 301 VMFSSPARSE \"c-000001-delta.vmdk\"", "ide",
             "7", "8", "9", "11") },
  };
  uint8_t data[301 * SECTOR_SIZE], read[sizeof data];
  uint64_t seed = 1;
  struct disk *disk;

  for (size_t i = 0; i < sizeof data; i += 8)
    le64_store (data + i, random_next (&seed));
  for (size_t i = 0; i < COUNT (cases); i++) {
    if (i > 0) {
      folder_teardown (state);
      folder_setup (state);
    }
    put ("data", data, sizeof data);
    put_base ("base.vmdk", "CID=1234abcd\n", "RW 301 FLAT \"data\" 0",
              "ddb.adapterType = \"ide\"\n"
              "ddb.geometry.cylinders = \"7\"\n"
              "ddb.geometry.heads = \"8\"\n"
              "ddb.geometry.sectors=\"9\"\n"
              "ddb.uuid = \"60 00 C2 9\"\n"
              "ddb.thinProvisioned = \"1\"\n"
              "ddb.virtualHWVersion = \"11\"\n");
    make_child ("c-000001.vmdk", "base.vmdk", cases[i].type);
    assert_files (store, cases[i].files);
    assert_text (store, "c-000001.vmdk", cases[i].text);

    for (size_t j = 0; j < COUNT (cases); j++)
      make_child ((const char *[]){ "d", "e", "f" }[j],
                  (const char *[]){ "c-000001.vmdk", "d", "e" }[j],
                  cases[j].type);
    disk = open_disk ("f", false);
    assert_string_equal (f.warning, "");
    assert_int_equal (chain_nr_links (disk_chain (disk)), 5);
    assert_int_equal (disk_size (disk), sizeof data);
    assert_int_equal (disk_read (disk, read, sizeof read, 0, &f.err), 0);
    assert_memory_equal (read, data, sizeof data);
    disk_close (disk);
  }
}

/* A COWD child has no geometry where its parent's name once stood. */
static void
test_cowd_header (void **state)
{
  struct image image;

  (void) state;
  put_base ("base.vmdk", "CID=1\n", "RW 301 ZERO", "");
  make_child ("x.vmdk", "base.vmdk", DISK_VMFS_SPARSE);
  image = read_file (store, "x-delta.vmdk");
  assert_int_equal (image.size, 5 * SECTOR_SIZE);
  assert_int_equal (le32_load (image.bytes + 12), 301);
  assert_true (bytes_are_zero (image.bytes + 32, image.size - 32));
  image_free (&image);
}

/* What a link does not say is looked up below it; what cannot be written
 * again is not taken over.
 */
static void
test_inherited (void **state)
{
  static const struct {
    const char *base, *middle;
    const char *adapter, *cylinders, *heads, *sectors, *version;
  } cases[] = {
    { "", "", "lsilogic", "2", "64", "32", "4" },
    { "ddb.adapterType = \"ide\"\n", "", "ide", "4", "16", "63", "4" },
    { "ddb.adapterType = \"ide\"\n", "ddb.adapterType = \"buslogic\"\n",
      "buslogic", "2", "64", "32", "4" },
    { "ddb.adapterType = \"pvscsi\"\nddb.virtualHWVersion = \"21\"\n", "",
      "pvscsi", "2", "64", "32", "21" },
    { "ddb.adapterType = \"\"\nddb.virtualHWVersion = \"x\"\n", "", "lsilogic",
      "2", "64", "32", "4" },
    { "ddb.geometry.cylinders = \"1\"\nddb.geometry.heads = \"2\"\n",
      "ddb.geometry.sectors = \"3\"\n", "lsilogic", "1", "2", "3", "4" },
    { "ddb.geometry.cylinders = \"1\"\nddb.geometry.heads = \"2\"\n", "",
      "lsilogic", "2", "64", "32", "4" },
    { "ddb.geometry.cylinders = \"1\"\nddb.geometry.heads = \"-2\"\n"
      "ddb.geometry.sectors = \"3\"\n",
      "", "lsilogic", "2", "64", "32", "4" },
    { "ddb.geometry.cylinders = \"1\"\nddb.geometry.heads = \"4294967296\"\n"
      "ddb.geometry.sectors = \"3\"\n",
      "", "lsilogic", "2", "64", "32", "4" },
    { "ddb.geometry.cylinders = \"99999999999999999999\"\n"
      "ddb.geometry.heads = \"2\"\nddb.geometry.sectors = \"3\"\n",
      "", "lsilogic", "2", "64", "32", "4" },
  };

  for (size_t i = 0; i < COUNT (cases); i++) {
    char text[2000];
    struct disk *disk;
    struct descriptor *d;

    if (i > 0) {
      folder_teardown (state);
      folder_setup (state);
    }
    put_base ("base.vmdk", "CID=1\n", "RW 4096 ZERO", cases[i].base);
    make_child ("other.vmdk", "base.vmdk", DISK_SPLIT_SPARSE);
    snprintf (text, sizeof text,
              "version=1\nCID=2\nparentCID=1\ncreateType=\"custom\"\n"
              "parentFileNameHint=\"base.vmdk\"\n"
              "RW 4096 SPARSE \"other-s001.vmdk\"\n%s",
              cases[i].middle);
    put ("middle.vmdk", text, strlen (text));
    make_child ("top.vmdk", "middle.vmdk", DISK_MONOLITHIC_SPARSE);

    disk = open_disk ("top.vmdk", false);
    d = chain_link (disk_chain (disk), 0)->descriptor;
    assert_int_equal (descriptor_parent_cid (d), 2);
#define SAYS(key, value) \
  assert_string_equal (descriptor_get (d, "ddb." key), value)
    SAYS ("adapterType", cases[i].adapter);
    SAYS ("geometry.cylinders", cases[i].cylinders);
    SAYS ("geometry.heads", cases[i].heads);
    SAYS ("geometry.sectors", cases[i].sectors);
    SAYS ("virtualHWVersion", cases[i].version);
    assert_null (descriptor_get (d, "ddb.uuid"));
    disk_close (disk);
  }
}

/* Adapters that parse and cannot be written. */
static void
test_adapter_not_writable (void **state)
{
  char long_line[400] = "ddb.adapterType = \"";

  (void) state;
  memset (long_line + strlen (long_line), 'a', 256);
  strcat (long_line, "\"\n");
  const char *const lines[] = { "ddb.adapterType = \"a\x01\"\n",
                                "ddb.adapterType = a\"b\n", long_line };

  for (size_t i = 0; i < COUNT (lines); i++) {
    const struct vmdk_log silent = { 0 };
    struct image image;
    struct descriptor *d;
    char name[20];

    put_base ("base.vmdk", "CID=1\n", "RW 4096 ZERO", lines[i]);
    image = read_file (store, "base.vmdk");
    d = descriptor_parse ((char *) image.bytes, image.size, &silent, &f.err);
    image_free (&image);
    if (!d)
      continue; /* the parser knows better */
    descriptor_free (d);
    sprintf (name, "child%zu", i);
    make_child (name, "base.vmdk", DISK_SPLIT_SPARSE);
    image = read_file (store, name);
    assert_non_null (
      strstr ((char *) image.bytes, "\nddb.adapterType = \"lsilogic\"\n"));
    image_free (&image);
  }
}

static void
test_refused (void **state)
{
  static const struct {
    const char *name, *parent, *hint;
    struct child_rules rules;
    const char *text;
  } cases[] = {
    { "x",
      "base",
      "base",
      { .type = DISK_MONOLITHIC_FLAT },
      "a monolithicFlat disk cannot have a parent, only monolithicSparse, "
      "twoGbMaxExtentSparse and vmfsSparse ones can" },
    { "x",
      "base",
      "base",
      { .type = DISK_STREAM_OPTIMIZED },
      "a streamOptimized disk cannot have a parent, only monolithicSparse, "
      "twoGbMaxExtentSparse and vmfsSparse ones can" },
    { "x",
      "nocid",
      "nocid",
      { 0 },
      "nocid has no CID, so it cannot be anybody's parent" },
    { "x",
      "noparent",
      "noparent",
      { 0 },
      "noparent has the CID ffffffff, which means \"no parent\" in a child" },
    { "x",
      "base",
      "base",
      { .grain_size = 512 },
      "a grain size of 512 bytes is not a power of two from 4096 to "
      "1048576" },
    { "x", "base", "", { 0 }, "the name of the parent is empty" },
    { "x",
      "base",
      "a\"b",
      { 0 },
      "the name of the parent, \"a\"b\", has a quote or control byte, which "
      "a descriptor cannot hold" },
    { "x",
      "base",
      "a\nb",
      { 0 },
      "the name of the parent, \"a\\x0ab\", has a quote or control byte, "
      "which a descriptor cannot hold" },
    { "x/y",
      "base",
      "base",
      { 0 },
      "\"x/y\" cannot be the name of a disk: no slash, backslash, quote, "
      "control byte or drive letter is allowed" },
    { "x",
      "large",
      "large",
      { 0 },
      "a size of 3298534883328 bytes: a monolithicSparse disk with grains "
      "of 65536 bytes has at most 2198754295808" },
    { "x",
      "large",
      "large",
      { .type = DISK_VMFS_SPARSE },
      "a size of 3298534883328 bytes: a vmfsSparse disk with grains of 512 "
      "bytes has at most 2181972424192" },
    { "base",
      "base",
      "base",
      { .type = DISK_SPLIT_SPARSE },
      "base exists already" },
  };

  (void) state;
  put_base ("base", "CID=1\n", "RW 4096 ZERO", "");
  put_base ("nocid", "", "RW 4096 ZERO", "");
  put_base ("noparent", "CID=ffffffff\n", "RW 4096 ZERO", "");
  put_base ("large", "CID=1\n", "RW 6442450944 ZERO", "");
  for (size_t i = 0; i < COUNT (cases); i++) {
    assert_int_equal (create_child (store, cases[i].name, cases[i].parent,
                                    cases[i].hint, &cases[i].rules),
                      -1);
    assert_error (&f.err, ERR_ARGUMENT, cases[i].text);
  }
  assert_files (store, "base nocid noparent large");
}

/* Any hint that can be written is what is read. */
static void
test_hints (void **state)
{
  static const struct child_rules rules = { .type = DISK_SPLIT_SPARSE };
  static char longest[4096], longer[4097];
  const char *const hints[] = {
    "/srv/vm/base.vmdk",
    "../base/base.vmdk",
    "C:\\VMs\\base.vmdk",
    " blanks ",
    "a=b # c",
    "[store] vm/vm.vmdk",
    "%n\xc3\xa4",
    longest,
  };
  char name[20], line[4200];

  (void) state;
  memset (longest, 'l', sizeof longest - 1);
  memset (longer, 'l', sizeof longer - 1);
  put_base ("base", "CID=1\n", "RW 4096 ZERO", "");
  for (size_t i = 0; i < COUNT (hints); i++) {
    struct image image;
    int r;

    sprintf (name, "child%zu", i);
    r = create_child (store, name, "base", hints[i], &rules);
    if (r == -1)
      print_error ("%s: %s\n", hints[i], f.err.text);
    assert_int_equal (r, 0);
    image = read_file (store, name);
    sprintf (line, "\nparentFileNameHint=\"%s\"\n", hints[i]);
    assert_non_null (strstr ((char *) image.bytes, line));
    image_free (&image);
  }
  assert_int_equal (create_child (store, "x", "base", longer, &rules), -1);
  assert_int_equal (f.err.kind, ERR_ARGUMENT);
  assert_non_null (
    strstr (f.err.text, " has 4096 bytes, at most 4095 are allowed"));
}

/* A child larger than one piece. */
static void
test_split (void **state)
{
  struct disk *disk;

  (void) state;
  put_base ("base", "CID=1\n", "RW 10485760 ZERO", "");
  make_child ("x.vmdk", "base", DISK_SPLIT_SPARSE);
  disk = open_disk ("x.vmdk", false);
  assert_int_equal (disk_size (disk), 10485760 * UINT64_C (512));
  assert_int_equal (chain_link (disk_chain (disk), 0)->nr_extents, 3);
  disk_close (disk);
}

static void
test_each_step_fails (void **state)
{
  static const enum disk_type types[] = { DISK_MONOLITHIC_SPARSE,
                                          DISK_SPLIT_SPARSE,
                                          DISK_VMFS_SPARSE };

  (void) state;
  put_base ("base", "CID=1\n", "RW 4096 ZERO", "");
  for (size_t i = 0; i < COUNT (types); i++)
    for (unsigned at = 1;; at++) {
      const struct child_rules rules = { .type = types[i] };
      struct faulty_store faulty = faulty_store_over (store);
      char name[20];

      sprintf (name, "child%zu", i);
      faulty.fail_at = at;
      if (create_child (&faulty.store, name, "base", "base", &rules) == 0) {
        assert_in_range (at, 5, 40);
        assert_empty_disk (&f, store, name, 4096 * SECTOR_SIZE);
        break;
      }
      assert_int_equal (f.err.errnum, ENOSPC);
      assert_int_equal (faulty.nr_calls, at);
      assert_files (store, (const char *[]){ "base", "base child0",
                                             "base child0 child1-s001 "
                                             "child1" }[i]);
    }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    TEST_IN_FOLDER (test_contents),
    TEST_IN_FOLDER (test_cowd_header),
    TEST_IN_FOLDER (test_inherited),
    TEST_IN_FOLDER (test_adapter_not_writable),
    TEST_IN_FOLDER (test_refused),
    TEST_IN_FOLDER (test_hints),
    TEST_IN_FOLDER (test_split),
    TEST_IN_FOLDER (test_each_step_fails),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
