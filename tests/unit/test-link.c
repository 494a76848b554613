/* SPDX-License-Identifier: BSD-3-Clause */

/* Finding descriptors, the rules for strangers' names, and parents: what is
 * followed, what is refused, and in which words.
 */

#include <config.h>

#include <inttypes.h>

#include "extent-helper.h"
#include "disk-helper.h"
#include "sparse-image.h"
#include "parent.h"

/* A base (PARENT 0) or child with these extent lines. */
static void
put_link (const char *name, uint32_t cid, uint32_t parent_cid,
          const char *hint, const char *extents)
{
  char text[2000];

  snprintf (text, sizeof text,
            "# Disk DescriptorFile\nversion=1\nCID=%08" PRIx32
            "\nparentCID=%08" PRIx32 "\ncreateType=\"custom\"\n%s%s%s"
            "# Extent description\n%s",
            cid, parent_cid, hint ? "parentFileNameHint=\"" : "",
            hint ? hint : "", hint ? "\"\n" : "", extents);
  put_text (name, text);
}

#define NO_PARENT UINT32_MAX

/* An empty sparse extent of 1000 sectors. */
static void
put_sparse (const char *name, const char *descriptor)
{
  struct sparse_image s;

  sparse_image_init (&s, 1000, 8);
  if (descriptor)
    sparse_image_descriptor (&s, descriptor);
  put (name, s.image.bytes, s.image.size);
  image_free (&s.image);
}

static void
put_flat (const char *name)
{
  uint8_t bytes[1000 * SECTOR_SIZE];

  memset (bytes, 'f', sizeof bytes);
  put (name, bytes, sizeof bytes);
}

static struct disk *
open_with (const char *name, struct chain_rules rules)
{
  f.nr_warnings = 0;
  f.warning[0] = '\0';
  rules.open = f.rules;
  return disk_open (store, name, STORE_FROM_USER, &rules, &f.err);
}

static void
assert_served (const char *name, struct chain_rules rules, size_t nr_links)
{
  struct disk *disk = open_with (name, rules);

  if (!disk)
    print_error ("%s\n", f.err.text);
  assert_non_null (disk);
  assert_int_equal (chain_nr_links (disk_chain (disk)), nr_links);
  disk_close (disk);
}

static void
assert_not_served (const char *name, struct chain_rules rules,
                   enum vmdk_error_kind kind, const char *text)
{
  struct disk *disk = open_with (name, rules);

  assert_null (disk);
  assert_error (&f.err, kind, text);
}

#define PLAIN ((struct chain_rules){ 0 })

/* -- Files that are no disks --------------------------------------------- */

static void
test_other_files (void **state)
{
  static const struct {
    const char *bytes;
    size_t size;
    const char *text;
  } cases[] = {
    { "", 0, "x: is too small to be a VMDK: 0 bytes" },
    { "KDM", 3, "x: is too small to be a VMDK: 3 bytes" },
    { "KDMV", 4, "x: sparse header: the file has only 4 bytes" },
    { "QFI\xfb....", 8, "x: is not a VMDK: it is a qcow2 image" },
    { "PK\x03\x04....", 8,
      "x: is not a VMDK: it is a zip file: unpack it "
      "first" },
    { "\0\0\0\0\0\0\0\0", 8,
      "x: is not a VMDK: it starts with neither a descriptor nor a known "
      "magic number" },
    { "COWD....", 8,
      "x: is an extent of an ESX redo log (COWD), not a disk: open the "
      "descriptor that names it, or pass lone-extent=true to read it alone" },
    { "\xbe\xba\xfe\xca\0\0\0\0", 8,
      "x: is a seSparse extent, not a disk: open the descriptor that names "
      "it, or pass lone-extent=true to read it alone" },
    { "\xa2\x72\x19\xf6....", 8,
      "x: is a change tracking file, not a disk: open the descriptor that "
      "names it, or pass lone-extent=true to read it alone" },
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    folder_setup (state);
    put ("x", cases[i].bytes, cases[i].size);
    struct disk *disk = open_with ("x", PLAIN);
    assert_null (disk);
    assert_string_equal (f.err.text, cases[i].text);
    folder_teardown (state);
  }
}

static void
test_lone_extents (void **state)
{
  (void) state;
  put_link ("disk.vmdk", 1, NO_PARENT, NULL,
            "RW 1000 SPARSE \"disk-s001.vmdk\"\n");
  put_sparse ("disk-s001.vmdk", NULL);
  put_sparse ("other-s001.vmdk", NULL);
  put_flat ("disk-flat.vmdk");

  assert_served ("disk.vmdk", PLAIN, 1);
  assert_not_served ("disk-s001.vmdk", PLAIN, ERR_NOT_VMDK,
                     "disk-s001.vmdk: is a sparse extent without a "
                     "descriptor, not a disk: open its descriptor disk.vmdk");
  assert_not_served ("other-s001.vmdk", PLAIN, ERR_NOT_VMDK,
                     "other-s001.vmdk: is a sparse extent without a "
                     "descriptor, not a disk: open the descriptor that names "
                     "it, or pass lone-extent=true to read it alone");
  assert_not_served ("disk-flat.vmdk", PLAIN, ERR_NOT_VMDK,
                     "disk-flat.vmdk: is not a VMDK but raw data: open its "
                     "descriptor disk.vmdk");
  assert_served ("disk-s001.vmdk", (struct chain_rules){ .lone_extent = true },
                 1);
  assert_not_served ("disk-flat.vmdk",
                     (struct chain_rules){ .lone_extent = true }, ERR_NOT_VMDK,
                     "disk-flat.vmdk: is not a sparse extent, so it cannot be "
                     "read alone");
}

#define EMBEDDED(extents)                                                \
  "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n" \
  "createType=\"monolithicSparse\"\n" extents

static void
test_embedded (void **state)
{
  (void) state;
  /* The name in it is often stale. */
  put_sparse ("a.vmdk", EMBEDDED ("RW 1000 SPARSE \"../old name.vmdk\"\n"));
  assert_served ("a.vmdk", PLAIN, 1);
  put_sparse ("b.vmdk", EMBEDDED ("RW 1000 FLAT \"/etc/passwd\" 0\n"));
  assert_not_served ("b.vmdk", PLAIN, ERR_CORRUPT,
                     "b.vmdk: the embedded descriptor's first extent is FLAT, "
                     "not SPARSE");
  put_sparse ("c.vmdk", EMBEDDED ("RW 1001 SPARSE \"c.vmdk\"\n"));
  assert_not_served ("c.vmdk", PLAIN, ERR_CORRUPT,
                     "c.vmdk: extent 1 (SPARSE \"c.vmdk\"): sparse header: "
                     "capacity is 1000 sectors, and the descriptor's extent "
                     "line says 1001");
  put_flat ("flat");
  put_sparse ("d.vmdk", EMBEDDED ("RW 1000 SPARSE \"d.vmdk\"\n"
                                  "RW 1000 FLAT \"flat\" 0\n"));
  assert_served ("d.vmdk", PLAIN, 1);
}

/* Capacity 0: the KDMV file only holds the text. */
static void
test_descriptor_only (void **state)
{
  struct sparse_image s;

  (void) state;
  put_flat ("flat");
  sparse_image_init (&s, 1000, 8);
  sparse_image_descriptor (&s, EMBEDDED ("RW 1000 FLAT \"flat\" 0\n"));
  s.h.capacity = 0;
  s.h.gd_offset = s.h.rgd_offset = 0;
  sparse_image_put_header (&s);
  put ("legacy.vmdk", s.image.bytes, s.image.size);
  image_free (&s.image);
  assert_served ("legacy.vmdk", PLAIN, 1);
}

/* -- Names of extents ---------------------------------------------------- */

static void
test_names (void **state)
{
#define OUTSIDE                                                 \
  "the file is outside the descriptor's folder: refused (pass " \
  "allow-outside=true if you trust this image)"
#define RAW                                                     \
  "raw device mappings cannot be served from files (to read a " \
  "device or file under this very name pass allow-device="
  static const struct {
    const char *line, *text;
  } cases[] = {
    { "RW 1 FLAT \"/etc/passwd\" 0\n",
      "extent 1 (FLAT \"/etc/passwd\"): " OUTSIDE },
    { "RW 1 FLAT \"../flat\" 0\n", "extent 1 (FLAT \"../flat\"): " OUTSIDE },
    { "RW 1 FLAT \"sub/../../flat\" 0\n",
      "extent 1 (FLAT \"sub/../../flat\"): " OUTSIDE },
    { "RW 1 FLAT \"C:\\flat\" 0\n", "extent 1 (FLAT \"C:\\flat\"): " OUTSIDE },
    { "RW 1 FLAT \"nbd://h/x\" 0\n", "extent 1 (FLAT \"nbd://h/x\"): " },
    { "RW 1 FLAT \"json:{}\" 0\n",
      "extent 1 (FLAT \"json:{}\"): the file is missing" },
    { "RW 1 FLAT \"%n%n\" 0\n",
      "extent 1 (FLAT \"%n%n\"): the file is missing" },
    { "RW 1 VMFSRDM \"x-rdm.vmdk\"\n",
      "extent 1 (VMFSRDM \"x-rdm.vmdk\"): " RAW "x-rdm.vmdk)" },
    { "RW 1 VMFSRAW \"/vmfs/devices/disks/x\"\n",
      "extent 1 (VMFSRAW \"/vmfs/devices/disks/x\"): " RAW
      "/vmfs/devices/disks/x)" },
    { "RW 1 ZERO\nRW 1 SPARSE \"flat\"\n",
      "extent 2 (SPARSE \"flat\"): the descriptor says SPARSE and the file "
      "starts with none of the sparse formats' magic numbers" },
    { "RW 1 VMFS \"other.vmdk\"\n",
      "extent 1 (VMFS \"other.vmdk\"): the file is a descriptor, and no "
      "extent's data" },
    { "RW 1001 FLAT \"flat\" 0\n", "extent 1 (FLAT \"flat\"): " },
  };

  (void) state;
  put_flat ("flat");
  put_link ("other.vmdk", 1, NO_PARENT, NULL, "RW 1 ZERO\n");
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[300];

    put_link ("disk.vmdk", 1, NO_PARENT, NULL, cases[i].line);
    snprintf (text, sizeof text, "disk.vmdk: %s", cases[i].text);
    assert_null (open_with ("disk.vmdk", PLAIN));
    if (strncmp (f.err.text, text, strlen (text)) != 0)
      print_error ("%s\n", f.err.text);
    assert_memory_equal (f.err.text, text, strlen (text));
  }
}

static void
test_allowed_names (void **state)
{
  static const char *const devices[] = { "x-rdm.vmdk" };
  struct chain_rules rules = { 0 };

  (void) state;
  put_flat ("flat");
  put_flat ("x-rdm.vmdk");
  put_link ("disk.vmdk", 1, NO_PARENT, NULL, "RW 1000 FLAT \"./flat\" 0\n");
  assert_served ("disk.vmdk", PLAIN, 1);
  put_link ("rdm.vmdk", 1, NO_PARENT, NULL,
            "RW 1000 VMFSRDM \"x-rdm.vmdk\"\n");
  rules.names.devices = devices;
  rules.names.nr_devices = 1;
  assert_served ("rdm.vmdk", rules, 1);
  /* Nobody reads the file of a NOACCESS extent. */
  put_link ("no.vmdk", 1, NO_PARENT, NULL,
            "NOACCESS 1000 FLAT \"/etc/shadow\" 0\nRW 1 ZERO\n");
  assert_served ("no.vmdk", PLAIN, 1);
}

/* -- Parents ------------------------------------------------------------- */

static void
put_child (const char *name, uint32_t cid, uint32_t parent_cid,
           const char *hint)
{
  char extents[100], data[50];

  snprintf (data, sizeof data, "%.20s-delta", name);
  put_sparse (data, NULL);
  snprintf (extents, sizeof extents, "RW 1000 SPARSE \"%s\"\n", data);
  put_link (name, cid, parent_cid, hint, extents);
}

static void
test_hints (void **state)
{
  static const char *const hints[] = {
    "base.vmdk",
    "./base.vmdk",
    "C:\\VMs\\old\\base.vmdk",
    "..\\base.vmdk",
    "/vmfs/volumes/5f0c/vm/base.vmdk",
    "[datastore1] vm/base.vmdk",
    "[datastore1] base.vmdk",
    "../elsewhere/base.vmdk",
  };

  (void) state;
  put_link ("base.vmdk", 7, NO_PARENT, NULL, "RW 1000 ZERO\n");
  for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
    put_child ("child.vmdk", 8, 7, hints[i]);
    assert_served ("child.vmdk", PLAIN, 2);
  }
}

static void
test_missing_parents (void **state)
{
  (void) state;
  put_child ("child.vmdk", 8, 7, "base.vmdk");
  assert_not_served ("child.vmdk", PLAIN, ERR_MISSING,
                     "child.vmdk: its parent \"base.vmdk\" is missing: say "
                     "where it is with parent= or search=, or read this link "
                     "alone with single-link=true");
  assert_served ("child.vmdk", (struct chain_rules){ .single_link = true }, 1);
  put_child ("child.vmdk", 8, 7, "/vmfs/volumes/x/base.vmdk");
  assert_not_served (
    "child.vmdk", PLAIN, ERR_DENIED,
    "child.vmdk: its parent \"/vmfs/volumes/x/base.vmdk\" is outside the "
    "folder and no file of that name is in it: say where it is with parent= "
    "or search=, or follow the path with allow-outside=true");
  put_text ("base.vmdk", "version=1\n");
  put_child ("child.vmdk", 8, 7, "base.vmdk");
  assert_null (open_with ("child.vmdk", PLAIN));
  assert_memory_equal (f.err.text,
                       "child.vmdk: parent \"base.vmdk\": base.vmdk: ", 43);
}

static void
test_cids (void **state)
{
  const struct chain_rules insist = { .ignore_cid = true };

  (void) state;
#define MODIFIED                                                        \
  "base.vmdk: CID is 00000009, and its child child.vmdk was made on a " \
  "parent with CID 00000007: the parent was modified since "            \
  "(ignore-cid=true reads it all the same)"
  put_link ("base.vmdk", 9, NO_PARENT, NULL, "RW 1000 ZERO\n");
  put_child ("child.vmdk", 8, 7, "base.vmdk");
  assert_not_served ("child.vmdk", PLAIN, ERR_MISMATCH,
                     "child.vmdk: parent \"base.vmdk\": " MODIFIED);
  assert_served ("child.vmdk", insist, 2);
  assert_string_equal (f.warning, MODIFIED);
  put_text ("base.vmdk", "version=1\nparentCID=ffffffff\ncreateType=\"x\"\n"
                         "RW 1000 ZERO\n");
  assert_not_served ("child.vmdk", PLAIN, ERR_MISMATCH,
                     "child.vmdk: parent \"base.vmdk\": base.vmdk: has no "
                     "CID, and its child child.vmdk was made on a parent "
                     "with CID 00000007");
}

static void
test_loops (void **state)
{
  (void) state;
  put_child ("a.vmdk", 1, 2, "b.vmdk");
  put_child ("b.vmdk", 2, 1, "a.vmdk");
  assert_not_served ("a.vmdk", PLAIN, ERR_CORRUPT,
                     "b.vmdk: parent \"a.vmdk\": a.vmdk: the chain is a loop: "
                     "it comes back to this link after 2 links");
  put_child ("self.vmdk", 1, 1, "self.vmdk");
  assert_not_served ("self.vmdk", PLAIN, ERR_CORRUPT,
                     "self.vmdk: parent \"self.vmdk\": self.vmdk: the chain "
                     "is a loop: it comes back to this link after 1 links");
}

static void
test_flat_child (void **state)
{
  (void) state;
  put_flat ("flat");
  put_link ("base.vmdk", 7, NO_PARENT, NULL, "RW 1000 ZERO\n");
  put_link ("child.vmdk", 8, 7, "base.vmdk", "RW 1000 FLAT \"flat\" 0\n");
  assert_not_served ("child.vmdk", PLAIN, ERR_CORRUPT,
                     "child.vmdk: has a parent, and only flat extents, which "
                     "hide a parent completely: the descriptor is damaged "
                     "(pass single-link=true to read this link alone)");
  assert_served ("child.vmdk", (struct chain_rules){ .single_link = true }, 1);
}

static void
test_depth (void **state)
{
  char name[32], parent[32];

  (void) state;
  put_link ("l0.vmdk", 1, NO_PARENT, NULL, "RW 1000 ZERO\n");
  for (uint32_t i = 1; i <= 255; i++) {
    snprintf (name, sizeof name, "l%" PRIu32 ".vmdk", i);
    snprintf (parent, sizeof parent, "l%" PRIu32 ".vmdk", i - 1);
    put_child (name, i + 1, i, parent);
  }
  assert_served ("l31.vmdk", PLAIN, 32);
  assert_int_equal (f.nr_warnings, 0);
  assert_served ("l32.vmdk", PLAIN, 33);
  assert_string_equal (f.warning, "l32.vmdk: the chain has 33 links; vSphere "
                                  "allows 32 snapshots");
  assert_served ("l254.vmdk", PLAIN, 255);
  assert_null (open_with ("l255.vmdk", PLAIN));
  assert_non_null (strstr (f.err.text, "the chain has more than 255 links"));
}

static void
test_capacities (void **state)
{
  (void) state;
  put_link ("base.vmdk", 7, NO_PARENT, NULL, "RW 500 ZERO\n");
  put_child ("child.vmdk", 8, 7, "base.vmdk");
  assert_served ("child.vmdk", PLAIN, 2);
  assert_string_equal (f.warning, "base.vmdk: has 256000 bytes, and its child "
                                  "child.vmdk has 512000");
}

/* -- Places -------------------------------------------------------------- */

static void
test_places (void **state)
{
  static const char *const search[] = { "/backup", "/more" };
  static const struct {
    const char *hint;
    bool outside;
    const char *places; /* joined by '|' */
  } cases[] = {
    { "a.vmdk", false, "a.vmdk|/backup/a.vmdk|/more/a.vmdk" },
    { "./sub/a.vmdk", false, "sub/a.vmdk|/backup/a.vmdk|/more/a.vmdk" },
    { "/x/y/a.vmdk", false, "a.vmdk|/backup/a.vmdk|/more/a.vmdk" },
    { "/x/y/a.vmdk", true,
      "/x/y/a.vmdk|a.vmdk|../y/a.vmdk|/backup/a.vmdk|/more/a.vmdk" },
    { "C:\\x\\a.vmdk", true,
      "a.vmdk|../x/a.vmdk|/backup/a.vmdk|/more/a.vmdk" },
    { "[ds] vm/a.vmdk", true,
      "[ds] vm/a.vmdk|a.vmdk|../vm/a.vmdk|/backup/a.vmdk|/more/a.vmdk" },
    { "[ds] a.vmdk", true, "[ds] a.vmdk|a.vmdk|/backup/a.vmdk|/more/a.vmdk" },
    { "../../a.vmdk", true,
      "../../a.vmdk|a.vmdk|/backup/a.vmdk|/more/a.vmdk" },
    { "/x/..", true, "/x/.." },
    { "/x/", false, "" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct parent_places places = VECTOR_EMPTY;
    char text[500] = "";

    assert_int_equal (parent_find_places (cases[i].hint, cases[i].outside,
                                          search, 2, &places, &f.err),
                      0);
    for (size_t j = 0; j < places.len; j++) {
      if (j)
        strcat (text, "|");
      strcat (text, places.ptr[j].path);
    }
    assert_string_equal (text, cases[i].places);
    parent_places_free (&places);
  }
}

/* -- Listing ------------------------------------------------------------- */

static void
test_list (void **state)
{
  char **names;
  size_t count;

  (void) state;
  put_link ("b.vmdk", 1, NO_PARENT, NULL, "RW 1 ZERO\n");
  put_sparse ("a.vmdk", EMBEDDED ("RW 1000 SPARSE \"x\"\n"));
  put_sparse ("b-s001.vmdk", NULL);
  put_flat ("b-flat.vmdk");
  put_text ("notes.txt", "hello\n");
  put_text ("empty", "");
  assert_int_equal (disk_list (store, &names, &count, &f.err), 0);
  assert_int_equal (count, 2);
  assert_string_equal (names[0], "b.vmdk");
  assert_string_equal (names[1], "a.vmdk");
  disk_list_free (names, count);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_other_files), TEST_IN_FOLDER (test_lone_extents),
    TEST_IN_FOLDER (test_embedded),      TEST_IN_FOLDER (test_descriptor_only),
    TEST_IN_FOLDER (test_names),         TEST_IN_FOLDER (test_allowed_names),
    TEST_IN_FOLDER (test_hints),         TEST_IN_FOLDER (test_missing_parents),
    TEST_IN_FOLDER (test_cids),          TEST_IN_FOLDER (test_loops),
    TEST_IN_FOLDER (test_flat_child),    TEST_IN_FOLDER (test_depth),
    TEST_IN_FOLDER (test_capacities),    TEST_IN_FOLDER (test_places),
    TEST_IN_FOLDER (test_list),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
