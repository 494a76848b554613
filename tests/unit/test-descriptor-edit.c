/* SPDX-License-Identifier: BSD-3-Clause */

/* The descriptor: what an edit changes, and that it leaves the rest alone.
 */

#include <config.h>

#include "descriptor-helper.h"

struct edit {
  const char *before;
  const char *key, *value; /* no value: remove the key */
  const char *after;
};

static const struct edit edits[] = {
  /* replaced where it stands */
  { HEAD EXTENT, "createType", "vmfs",
    "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
    "createType=\"vmfs\"\n" EXTENT },
  { "  VERSION = \"1\"  \r\n" EXTENT, "version", "003",
    "version=3\r\n" EXTENT },
  { EXTENT "DDB.UUID=\"1\"", "ddb.uuid", "2", EXTENT "DDB.UUID = \"2\"" },
  { EXTENT "foo = bar\r\n#x", "FOO", "b r", EXTENT "foo=\"b r\"\r\n#x" },
  { "\xef\xbb\xbfversion=1\n" EXTENT, "version", "2",
    "\xef\xbb\xbfversion=2\n" EXTENT },
  { EXTENT "ddb.a=1\n#\nddb.a=2\n#\nddb.a=3\n#", "ddb.a", "",
    EXTENT "#\n#\nddb.a = \"\"\n#" },
  { "a=1\na=2\n" EXTENT "a=3\n", "a", "4", "a=\"4\"\n" EXTENT },

  /* added in its place */
  { HEAD EXTENT "\n#DDB\n\n", "ddb.x", "1",
    HEAD EXTENT "\n#DDB\n\nddb.x = \"1\"\n" },
  { HEAD EXTENT "ddb.a=1\n\n# end\n", "ddb.x", "1",
    HEAD EXTENT "ddb.a=1\nddb.x = \"1\"\n\n# end\n" },
  { HEAD "RW 16 ZERO", "ddb.x", "1", HEAD "RW 16 ZERO\nddb.x = \"1\"" },
  { "version=1\r\nRW 16 ZERO", "ddb.x", "1",
    "version=1\r\nRW 16 ZERO\r\nddb.x = \"1\"" },
  { "RW 16 ZERO", "ddb.x", "1", "RW 16 ZERO\nddb.x = \"1\"" },
  { "RW 16 ZERO", "x", "1", "x=\"1\"\nRW 16 ZERO" },
  { "# d\r\n\r\n# e\r\n" EXTENT, "encoding", "UTF-8",
    "# d\r\n\r\n# e\r\nencoding=\"UTF-8\"\r\n" EXTENT },
  { HEAD "\n# e\n" EXTENT "z=1\n", "x", "1",
    HEAD "x=\"1\"\n\n# e\n" EXTENT "z=1\n" },
  { HEAD "\n# e\n" EXTENT, "parentFileNameHint", "p q",
    HEAD "parentFileNameHint=\"p q\"\n\n# e\n" EXTENT },
  { "#\nversion=1\ncreateType=\"vmfs\"\n" EXTENT, "encoding", "UTF-8",
    "#\nversion=1\nencoding=\"UTF-8\"\ncreateType=\"vmfs\"\n" EXTENT },
  { "#\ncreateType=\"vmfs\"\n" EXTENT, "version", "1",
    "#\nversion=1\ncreateType=\"vmfs\"\n" EXTENT },
  { "\xef\xbb\xbf" EXTENT, "version", "1", "\xef\xbb\xbfversion=1\n" EXTENT },

  /* CIDs: eight digits, one after the other */
  { HEAD EXTENT, "CID", "AB",
    "# Disk DescriptorFile\nversion=1\nCID=000000ab\nparentCID=ffffffff\n"
    "createType=\"custom\"\n" EXTENT },
  { "cid = \"1\"\r\n\tparentCID = FFFFFFFF\r\n" EXTENT, "CID", "0x2",
    "CID=00000002\r\n\tparentCID = FFFFFFFF\r\n" EXTENT },
  { "parentCID=ffffffff\nCID=1\n" EXTENT, "CID", "2",
    "CID=00000002\nparentCID=ffffffff\n" EXTENT },
  { "CID=1\n# x\nx=1\nparentCID=ffffffff\n" EXTENT, "CID", "2",
    "CID=00000002\nparentCID=ffffffff\n# x\nx=1\n" EXTENT },
  { "CID=1\n" EXTENT "parentCID=ffffffff", "CID", "2",
    "CID=00000002\nparentCID=ffffffff\nRW 16 FLAT \"a\" 0" },
  { "parentCID=ffffffff\r\n" EXTENT "CID=1", "CID", "2",
    EXTENT "CID=00000002\nparentCID=ffffffff" },
  { "CID=1\ncreateType=\"vmfs\"\n\nparentCID=ffffffff\n" EXTENT, "CID", "2",
    "CID=00000002\nparentCID=ffffffff\ncreateType=\"vmfs\"\n\n"
    "# Extent description\n" EXTENT },
  { "parentCID=ffffffff\nversion=1\n" EXTENT, "CID", "2",
    "version=1\nCID=00000002\nparentCID=ffffffff\n" EXTENT },
  { "CID=1\nx=1\n" EXTENT, "parentCID", "FFFFFFFF",
    "CID=1\nparentCID=ffffffff\nx=1\n" EXTENT },
  { "CID=1\nx=1\nparentCID=ffffffff\ncid=1\nparentCID=ffffffff\n" EXTENT,
    "CID", "2",
    "CID=00000002\nparentCID=ffffffff\nx=1\nparentCID=ffffffff\n" EXTENT },
  { "CID=1\n" EXTENT, "CID", "2", "CID=00000002\n" EXTENT },

  /* removed */
  { HEAD "x=1\n" EXTENT, "X", NULL, HEAD EXTENT },
  { HEAD EXTENT "x=1\r\nddb.a=1\nx=2", "x", NULL, HEAD EXTENT "ddb.a=1" },
  { HEAD "\nx=1\n" EXTENT, "x", NULL, HEAD "\n# Extent description\n" EXTENT },
  { HEAD "#\n \t\nx=1\r\nx=1\r\n" EXTENT, "x", NULL,
    HEAD "#\n \t\n# Extent description\r\n" EXTENT },
  { HEAD "\n#\nx=1\n" EXTENT, "x", NULL, HEAD "\n#\n" EXTENT },
  { HEAD "\nx=1\n#\n" EXTENT, "x", NULL, HEAD "\n#\n" EXTENT },
  { "x=1\n" EXTENT, "x", NULL, EXTENT },
};

static void
test_edits (void **state UNUSED)
{
  for (size_t i = 0; i < COUNT (edits); i++) {
    const struct edit *e = &edits[i];
    struct vmdk_error err = { 0 };
    CLEANUP_DESCRIPTOR struct descriptor *d = parse_good (e->before);
    CLEANUP_DESCRIPTOR struct descriptor *again = NULL;
    char extents[256], extents_again[256];

    if (e->value)
      assert_int_equal (descriptor_set (d, e->key, e->value, &err), 0);
    else {
      assert_true (descriptor_remove (d, e->key));
      assert_null (descriptor_get (d, e->key));
      assert_false (descriptor_remove (d, e->key));
    }
    assert_prints (d, e->after);

    /* The model says what the text now says, but for line numbers. */
    again = parse_good (e->after);
    if (e->value)
      assert_string_equal (descriptor_get (d, e->key),
                           descriptor_get (again, e->key));
    assert_int_equal (descriptor_parent_cid (d),
                      descriptor_parent_cid (again));
    assert_string_equal (descriptor_create_type (d),
                         descriptor_create_type (again));
    list_extents (d, extents, sizeof extents);
    list_extents (again, extents_again, sizeof extents_again);
    assert_string_equal (strchr (extents, ' '), strchr (extents_again, ' '));
  }
}

/* From a base to a child and on, many edits of one model. */
static void
test_child (void **state UNUSED)
{
  CLEANUP_DESCRIPTOR struct descriptor *d =
    parse_good (HEAD "\n# Extent description\n" EXTENT);
  struct vmdk_error err = { 0 };
  uint32_t cid = 0;

  assert_true (descriptor_cid (d, &cid));
  assert_int_equal (cid, 0x12345678);
  assert_int_equal (descriptor_set (d, "parentFileNameHint", "p.vmdk", &err),
                    0);
  assert_int_equal (descriptor_set (d, "parentCID", "12345678", &err), 0);
  assert_int_equal (descriptor_set (d, "CID", "ff", &err), 0);
  assert_int_equal (descriptor_set (d, "CID", "fe", &err), 0);
  assert_int_equal (descriptor_set (d, "ddb.a", "1", &err), 0);
  assert_int_equal (descriptor_set (d, "ddb.b", "2", &err), 0);
  assert_int_equal (descriptor_set (d, "ddb.a", "3", &err), 0);
  assert_prints (d, "# Disk DescriptorFile\n"
                    "version=1\n"
                    "CID=000000fe\n"
                    "parentCID=12345678\n"
                    "createType=\"custom\"\n"
                    "parentFileNameHint=\"p.vmdk\"\n"
                    "\n"
                    "# Extent description\n" EXTENT "ddb.a = \"3\"\n"
                    "ddb.b = \"2\"\n");
  assert_true (descriptor_cid (d, &cid));
  assert_int_equal (cid, 0xfe);
  assert_int_equal (descriptor_parent_cid (d), 0x12345678);
  assert_string_equal (descriptor_parent_hint (d), "p.vmdk");

  assert_true (descriptor_remove (d, "CID"));
  assert_false (descriptor_cid (d, &cid));
  assert_true (descriptor_remove (d, "parentCID"));
  assert_int_equal (descriptor_parent_cid (d), CID_NONE);
  assert_int_equal (descriptor_set (d, "parentFileNameHint", "", &err), 0);
  assert_null (descriptor_parent_hint (d));
  assert_true (descriptor_remove (d, "createType"));
  assert_string_equal (descriptor_create_type (d), "");

  /* A value of its own is a value like any other. */
  assert_int_equal (
    descriptor_set (d, "ddb.a", descriptor_get (d, "ddb.a"), &err), 0);
  assert_string_equal (descriptor_get (d, "ddb.a"), "3");
}

static bool
note_last_key (void *opaque, const char *key, const char *value)
{
  (void) value;
  *(const char **) opaque = key;
  return true;
}

/* The key may come from the very line that goes. */
static void
test_remove_by_own_key (void **state UNUSED)
{
  CLEANUP_DESCRIPTOR struct descriptor *d = parse_good (HEAD EXTENT);
  struct vmdk_error err = { 0 };
  const char *key = NULL;

  assert_int_equal (descriptor_set (d, "ddb.a", "1", &err), 0);
  descriptor_each (d, note_last_key, &key);
  assert_string_equal (key, "ddb.a");
  assert_true (descriptor_remove (d, key));
  assert_prints (d, HEAD EXTENT);
}

#define TRACK "changeTrackPath=\"a-ctk.vmdk\"\n"
#define TITLE "# Change Tracking File\n"

/* The comment over the line goes with it, and no other. */
static void
test_drop_tracking (void **state UNUSED)
{
  static const struct {
    const char *before, *after;
  } cases[] = {
    { "version=3\n" EXTENT "\n" TITLE TRACK "\n# DDB\nddb.a=1\n",
      "version=1\n" EXTENT "\n\n# DDB\nddb.a=1\n" },
    { "version=3\n" EXTENT TITLE TRACK, "version=1\n" EXTENT },
    { TITLE TRACK "\n" EXTENT, "\nversion=1\n" EXTENT },
    { "version=3\n\n" TITLE TRACK EXTENT,
      "version=1\n\n# Extent description\n" EXTENT },
    { "version=3\r\n" EXTENT "\r\n# Change Tracking File\r\n"
      "changeTrackPath=\"a\"\r\nddb.a=1",
      "version=1\r\n" EXTENT "\r\nddb.a=1" },
    { "version=3\n" EXTENT "#\n# No " TITLE TRACK,
      "version=1\n" EXTENT "#\n# No " TITLE },
    { "version=3\n" EXTENT TITLE "\n" TRACK, "version=1\n" EXTENT TITLE "\n" },
  };

  for (size_t i = 0; i < COUNT (cases); i++) {
    struct vmdk_error err = { 0 };
    CLEANUP_DESCRIPTOR struct descriptor *d = parse_good (cases[i].before);
    bool dropped;

    assert_int_equal (descriptor_drop_tracking (d, &dropped, &err), 0);
    assert_true (dropped);
    assert_prints (d, cases[i].after);
    assert_int_equal (descriptor_drop_tracking (d, &dropped, &err), 0);
    assert_false (dropped);
  }
}

/* A text without a final newline gets none by adding and removing. */
static void
test_no_final_newline (void **state UNUSED)
{
  CLEANUP_DESCRIPTOR struct descriptor *d = parse_good (HEAD "RW 1 ZERO");
  struct vmdk_error err = { 0 };

  assert_int_equal (descriptor_set (d, "ddb.a", "1", &err), 0);
  assert_int_equal (descriptor_set (d, "ddb.b", "1", &err), 0);
  assert_prints (d, HEAD "RW 1 ZERO\nddb.a = \"1\"\nddb.b = \"1\"");
  assert_true (descriptor_remove (d, "ddb.a"));
  assert_true (descriptor_remove (d, "ddb.b"));
  assert_prints (d, HEAD "RW 1 ZERO");
}

static void
test_bad_arguments (void **state UNUSED)
{
  static const struct {
    const char *key, *value, *message;
  } cases[] = {
    { "", "x", "key \"\" has 0 bytes, 1 to 255 are allowed" },
    { "a b", "x",
      "key \"a b\": only letters, digits, '.', '_' and '-' are allowed" },
    { "a=b", "x",
      "key \"a=b\": only letters, digits, '.', '_' and '-' are allowed" },
    { "#a", "x",
      "key \"#a\": only letters, digits, '.', '_' and '-' are allowed" },
    { "a\n", "x",
      "key \"a\\x0a\": only letters, digits, '.', '_' and '-' are allowed" },
    { "rw", "x", "\"rw\" begins an extent line, no key" },
    { "a", "x\"",
      "value \"x\"\" of a: quotes and control bytes are not allowed" },
    { "a", "x\ny=1",
      "value \"x\\x0ay=1\" of a: quotes and control bytes are not allowed" },
    { "version", "0", "version \"0\" is not one of 1 to 4" },
    { "version", "5", "version \"5\" is unknown, 1 to 4 can be read" },
    { "cid", "xyz",
      "CID \"xyz\" is not a number of 1 to 8 hexadecimal digits" },
    { "CID", "FFFFFFFF", "CID ffffffff is reserved for \"no parent\"" },
    { "parentCID", "",
      "parentCID \"\" is not a number of 1 to 8 hexadecimal digits" },
  };
  CLEANUP_DESCRIPTOR struct descriptor *d = parse_good (HEAD EXTENT);
  char long_key[257], long_value[4097];
  struct vmdk_error err = { 0 };

  for (size_t i = 0; i < COUNT (cases); i++) {
    assert_int_equal (descriptor_set (d, cases[i].key, cases[i].value, &err),
                      -1);
    assert_int_equal (err.kind, ERR_ARGUMENT);
    assert_string_equal (err.text, cases[i].message);
  }

  memset (long_key, 'k', 256);
  long_key[256] = '\0';
  assert_int_equal (descriptor_set (d, long_key, "x", &err), -1);
  assert_int_equal (err.kind, ERR_ARGUMENT);
  assert_non_null (strstr (err.text, "has 256 bytes, 1 to 255 are allowed"));
  memset (long_value, 'v', 4096);
  long_value[4096] = '\0';
  assert_int_equal (descriptor_set (d, "ddb.x", long_value, &err), -1);
  assert_int_equal (err.kind, ERR_ARGUMENT);
  assert_string_equal (err.text, "value of ddb.x has 4096 bytes, at most 4095 "
                                 "are allowed");
  assert_prints (d, HEAD EXTENT);

  long_key[255] = '\0';
  long_value[4095] = '\0';
  assert_int_equal (descriptor_set (d, long_key, long_value, &err), 0);
  assert_string_equal (descriptor_get (d, long_key), long_value);
}

/* -- Extent lines ------------------------------------------------------- */

#define PIECES                       \
  HEAD "# Extents\n"                 \
       "RW 16 SPARSE \"a-s001\"\r\n" \
       "NOACCESS 0 ZERO\n"           \
       "rdonly 8  flat  \"b\" 32 \n" \
       "RW 4 ZERO\n\nddb.x=1"

static void
test_extent_lines (void **state)
{
  struct vmdk_error err;
  const struct extent_line more = {
    .access = ACCESS_RW,
    .type = EXTENT_FLAT,
    .nr_sectors = 5,
    .name = "c d",
    .has_offset = true,
  };
  CLEANUP_DESCRIPTOR struct descriptor *d = parse_good (PIECES);
  char list[500];

  (void) state;
  assert_int_equal (descriptor_set_extent_name (d, 1, "new", &err), 0);
  assert_int_equal (descriptor_set_extent_name (d, 0, "a-s001", &err), 0);
  assert_int_equal (descriptor_set_extent_sectors (d, 0, 17, &err), 0);
  assert_int_equal (descriptor_set_extent_sectors (d, 2, 3, &err), 0);
  assert_int_equal (descriptor_add_extent (d, &more, &err), 0);
  assert_int_equal (descriptor_set_extent_name (d, 3, "c", &err), 0);
  assert_int_equal (descriptor_nr_extents (d), 4);
  assert_int_equal (descriptor_nr_sectors (d), 17 + 8 + 3 + 5);
  assert_prints (d, HEAD "# Extents\n"
                         "RW 17 SPARSE \"a-s001\"\r\n"
                         "NOACCESS 0 ZERO\n"
                         "RDONLY 8 FLAT \"new\" 32\n"
                         "RW 3 ZERO\n"
                         "RW 5 FLAT \"c\" 0\n\nddb.x=1");
  list_extents (d, list, sizeof list);
  assert_string_equal (list, "7: RW 17 SPARSE a-s001\n"
                             "9: RDONLY 8 FLAT new 32\n"
                             "10: RW 3 ZERO\n"
                             "13: RW 5 FLAT c 0");
}

static void
test_last_line (void **state)
{
  struct vmdk_error err;
  const struct extent_line more = { .type = EXTENT_ZERO, .nr_sectors = 1 };
  CLEANUP_DESCRIPTOR struct descriptor *d = parse_good (HEAD "RW 16 ZERO");

  (void) state;
  assert_int_equal (descriptor_add_extent (d, &more, &err), 0);
  assert_int_equal (descriptor_add_extent (d, &more, &err), 0);
  assert_prints (d, HEAD "RW 16 ZERO\nRW 1 ZERO\nRW 1 ZERO");
}

static void
test_bad_extents (void **state)
{
  struct vmdk_error err;
  const uint64_t max = UINT64_C (1) << 54;
  const struct extent_line more = { .type = EXTENT_ZERO, .nr_sectors = max };
  CLEANUP_DESCRIPTOR struct descriptor *d = parse_good (HEAD EXTENT);

  (void) state;
  assert_int_equal (descriptor_set_extent_name (d, 0, "", &err), -1);
  assert_string_equal (err.text,
                       "extent name of 0 bytes: 1 to 4096 are allowed");
  assert_int_equal (descriptor_set_extent_name (d, 0, "a\"b", &err), -1);
  assert_string_equal (err.text, "extent name \"a\"b\": quotes and control "
                                 "bytes are not allowed");
  assert_int_equal (descriptor_set_extent_sectors (d, 0, 0, &err), -1);
  assert_int_equal (err.kind, ERR_ARGUMENT);
  assert_int_equal (descriptor_set_extent_sectors (d, 0, max, &err), -1);
  assert_int_equal (descriptor_add_extent (d, &more, &err), -1);
  assert_int_equal (err.kind, ERR_ARGUMENT);
  assert_prints (d, HEAD EXTENT);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_edits),
    cmocka_unit_test (test_child),
    cmocka_unit_test (test_remove_by_own_key),
    cmocka_unit_test (test_drop_tracking),
    cmocka_unit_test (test_no_final_newline),
    cmocka_unit_test (test_bad_arguments),
    cmocka_unit_test (test_extent_lines),
    cmocka_unit_test (test_last_line),
    cmocka_unit_test (test_bad_extents),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
