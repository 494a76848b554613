/* SPDX-License-Identifier: BSD-3-Clause */

/* The descriptor: which texts are taken and what they say, that an
 * unedited text prints as it came, probing, and long texts.
 */

#include <config.h>

#include "descriptor-helper.h"

/* Whole texts as products write them. */

struct product {
  const char *name, *text, *extents;
  uint32_t cid, parent_cid;
  const char *hint, *create_type, *warnings;
};

static const struct product products[] = {
  { "Workstation, growable",
    "# Disk DescriptorFile\n"
    "version=1\n"
    "encoding=\"UTF-8\"\n"
    "CID=fffffffe\n"
    "parentCID=ffffffff\n"
    "isNativeSnapshot=\"no\"\n"
    "createType=\"monolithicSparse\"\n"
    "\n"
    "# Extent description\n"
    "RW 41943040 SPARSE \"disk.vmdk\"\n"
    "\n"
    "# The Disk Data Base \n"
    "#DDB\n"
    "\n"
    "ddb.adapterType = \"lsilogic\"\n"
    "ddb.geometry.cylinders = \"2610\"\n"
    "ddb.geometry.heads = \"255\"\n"
    "ddb.geometry.sectors = \"63\"\n"
    "ddb.longContentID = \"9d5d1aa7ea3bf5ea7f3d86d1fffffffe\"\n"
    "ddb.uuid = \"60 00 C2 9f 48 66 ae a5-2f 18 d3 03 0b a9 14 ff\"\n"
    "ddb.virtualHWVersion = \"16\"\n",
    "10: RW 41943040 SPARSE disk.vmdk", 0xfffffffe, CID_NONE, NULL,
    "monolithicSparse", "" },

  { "Workstation 4, split, charset of Windows",
    "# Disk DescriptorFile\n"
    "version=1\n"
    "encoding=\"windows-1252\"\n"
    "CID=8f67ca74\n"
    "parentCID=ffffffff\n"
    "createType=\"twoGbMaxExtentSparse\"\n"
    "\n"
    "# Extent description\n"
    "RW 4192256 SPARSE \"gr\xfc\xdf-s001.vmdk\"\n"
    "RW 2048 SPARSE \"gr\xfc\xdf-s002.vmdk\"\n",
    "9: RW 4192256 SPARSE gr\xfc\xdf-s001.vmdk\n"
    "10: RW 2048 SPARSE gr\xfc\xdf-s002.vmdk",
    0x8f67ca74, CID_NONE, NULL, "twoGbMaxExtentSparse", "" },

  { "Workstation, Japanese: the second byte of a character is a backslash",
    "# Disk DescriptorFile\nversion=1\nencoding=\"Shift_JIS\"\n"
    "CID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n"
    "RW 8 FLAT \"\x95\x5c\x8e\xa6-flat.vmdk\" 0\n",
    "7: RW 8 FLAT \x95\x5c\x8e\xa6-flat.vmdk 0", 1, CID_NONE, NULL,
    "monolithicFlat", "" },

  { "ESXi, change-tracked delta without a blank line before its extent",
    "# Disk DescriptorFile\n"
    "version=3\n"
    "encoding=\"UTF-8\"\n"
    "CID=8f67ca74\n"
    "parentCID=0172e8a4\n"
    "isNativeSnapshot=\"no\"\n"
    "createType=\"vmfsSparse\"\n"
    "parentFileNameHint=\"vm.vmdk\"\n"
    "# Extent description\n"
    "RW 4096 VMFSSPARSE \"vm-000001-delta.vmdk\"\n"
    "\n"
    "# Change Tracking File\n"
    "changeTrackPath=\"vm-000001-ctk.vmdk\"\n"
    "\n"
    "# The Disk Data Base \n"
    "#DDB\n"
    "\n"
    "ddb.longContentID = \"4b98b55ba6a6bc2e8fd6eb368f67ca74\"\n",
    "10: RW 4096 VMFSSPARSE vm-000001-delta.vmdk", 0x8f67ca74, 0x0172e8a4,
    "vm.vmdk", "vmfsSparse", "" },

  { "ESXi 7, seSparse",
    "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=aabbccdd\n"
    "parentCID=aabbccdd\ncreateType=\"seSparse\"\n"
    "parentFileNameHint=\"/vmfs/volumes/ds1/vm/vm.vmdk\"\n"
    "# Extent description\nRW 83886080 SESPARSE \"vm-000001-sesparse.vmdk\"\n"
    "\n# The Disk Data Base \n#DDB\n\nddb.grain = \"8\"\n",
    "9: RW 83886080 SESPARSE vm-000001-sesparse.vmdk", 0xaabbccdd, 0xaabbccdd,
    "/vmfs/volumes/ds1/vm/vm.vmdk", "seSparse", "" },

  { "ESXi, virtual mode RDM",
    "# Disk DescriptorFile\nversion=1\nCID=aabbccdd\nparentCID=ffffffff\n"
    "createType=\"vmfsRawDeviceMap\"\n\n# Extent description\n"
    "RW 83886080 VMFSRDM \"vm-rdm.vmdk\"\n",
    "8: RW 83886080 VMFSRDM vm-rdm.vmdk", 0xaabbccdd, CID_NONE, NULL,
    "vmfsRawDeviceMap", "" },

  { "qemu: CID without leading zero, then a rewrite's stale tail",
    "# Disk DescriptorFile\n"
    "version=1\n"
    "CID=883ac20\n"
    "parentCID=ffffffff\n"
    "createType=\"monolithicFlat\"\n"
    "\n"
    "# Extent description\n"
    "RW 16384 FLAT \"disk-flat.vmdk\" 0\n"
    "\n"
    "# The Disk Data Base\n"
    "#DDB\n"
    "\n"
    "ddb.virtualHWVersion = \"4\"\n"
    "ddb.toolsVersion = \"2147483647\"\n",
    "8: RW 16384 FLAT disk-flat.vmdk 0", 0x0883ac20, CID_NONE, NULL,
    "monolithicFlat", "" },

  { "VirtualBox: its own title, no blanks in the data base, a placeholder",
    "# Disk DescriptorFile\n"
    "version=1\n"
    "CID=1c9aaa10\n"
    "parentCID=ffffffff\n"
    "createType=\"custom\"\n"
    "\n"
    "# Extent description\n"
    "NOACCESS 0 ZERO \n"
    "RW 63 FLAT \"disk-pt.vmdk\" 0\n"
    "RW 1000 ZERO \n"
    "\n"
    "# The disk Data Base \n"
    "#DDB\n"
    "\n"
    "ddb.adapterType=\"ide\"\n"
    "ddb.geometry.cylinders=\"0\"\n"
    "ddb.uuid.image=\"0d9eb3c4-0b3f-4b6c-8ac1-3a4cfd4a5d0e\"\n"
    "ddb.comment=\"a\\nb\"\n",
    "9: RW 63 FLAT disk-pt.vmdk 0\n10: RW 1000 ZERO", 0x1c9aaa10, CID_NONE,
    NULL, "custom", "" },

  { "open-vmdk: no newline at the end",
    "# Disk DescriptorFile\nversion=1\nCID=7e5b80a7\nparentCID=ffffffff\n"
    "createType=\"streamOptimized\"\n\n# Extent description\n"
    "RDONLY 2048 SPARSE \"generated-stream.vmdk\"\n\n# The Disk Data Base\n"
    "#DDB\n\nddb.toolsInstallType = \"4\"\nddb.longContentID = \"\"",
    "8: RDONLY 2048 SPARSE generated-stream.vmdk", 0x7e5b80a7, CID_NONE, NULL,
    "streamOptimized", "" },

  { "a stream converter: its own first line, CID 0",
    "# Description file created by VMDK stream converter\n"
    "version=1\n"
    "# Believe this is random\n"
    "CID=00000000\n"
    "parentCID=ffffffff\n"
    "createType=\"streamOptimized\"\n"
    "\n"
    "# Extent description\n"
    "RDONLY 524288 SPARSE \"call-me-stream.vmdk\"\n"
    "\n"
    "# The Disk Data Base\n"
    "#DDB\n"
    "\n"
    "ddb.adapterType = \"lsilogic\"\n"
    "# #sectors / 63 / 255 rounded up\n"
    "ddb.geometry.cylinders = \"99999999999999999999999999\"\n",
    "9: RDONLY 524288 SPARSE call-me-stream.vmdk", 0, CID_NONE, NULL,
    "streamOptimized", "" },

  { "a raw disk of Windows, with tokens after the offset",
    HEAD "RW 63 FLAT \"\\\\.\\PhysicalDrive0\" 0 partitionUUID "
         "\"\\\\?\\Volume{1}\" device:7\n",
    "6: RW 63 FLAT \\\\.\\PhysicalDrive0 0", 0x12345678, CID_NONE, NULL,
    "custom", "" },

  { "a vSAN base that was copied to files",
    "version=4\nCID=0x12\nparentCID=0xFFFFFFFF\ncreateType=\"vmfs\"\n"
    "RW 8 VMFS \"a-flat.vmdk\"\n",
    "5: RW 8 VMFS a-flat.vmdk", 0x12, CID_NONE, NULL, "vmfs", "" },
};

static void
test_products (void **state UNUSED)
{
  for (size_t i = 0; i < COUNT (products); i++) {
    const struct product *p = &products[i];
    struct vmdk_error err = { 0 };
    struct heard heard = { { 0 } };
    CLEANUP_DESCRIPTOR struct descriptor *d =
      parse (p->text, strlen (p->text), &heard, &err);
    char extents[4096];
    uint32_t cid;

    if (!d)
      fail_msg ("%s: %s", p->name, err.text);
    list_extents (d, extents, sizeof extents);
    assert_string_equal (extents, p->extents);
    assert_true (descriptor_cid (d, &cid));
    assert_int_equal (cid, p->cid);
    assert_int_equal (descriptor_parent_cid (d), p->parent_cid);
    if (p->hint)
      assert_string_equal (descriptor_parent_hint (d), p->hint);
    else
      assert_null (descriptor_parent_hint (d));
    assert_string_equal (descriptor_create_type (d), p->create_type);
    assert_string_equal (heard.text, p->warnings);
    assert_prints (d, p->text);
    assert_true (descriptor_probe (p->text, strlen (p->text)));
  }
}

/* Single oddities that are taken. */

struct oddity {
  const char *text, *extents, *warnings;
};

static const struct oddity oddities[] = {
  /* case, blanks, order, line ends, byte order mark */
  { HEAD "rw\t16 flat\t\"a\"\n", "6: RW 16 FLAT a", "" },
  { HEAD " \tRdOnly   0016   VmFs \t \"a b\"  0012 \t\n",
    "6: RDONLY 16 VMFS a b 12", "" },
  { EXTENT "ddb.a=\"1\"\nCREATETYPE = \"VMFS\"\n parentcid\t=\tFFFFFFFF \n"
           "cid = \"ABC\"\nVERSION=\"2\"\n",
    "1: RW 16 FLAT a 0", "" },
  { "\xef\xbb\xbfversion=1\r\nCID=1\r\nparentCID=ffffffff\r\n"
    "createType=\"custom\"\r\n\r\nRW 16 ZERO\r\n \r\nRW 4 ZERO",
    "6: RW 16 ZERO\n8: RW 4 ZERO", "" },
  { "\xef\xbb\xbf" EXTENT HEAD, "1: RW 16 FLAT a 0", "" },

  /* '#', '=' and words in names and values */
  { HEAD "RW 16 FLAT \"a#b=c\" 0\n", "6: RW 16 FLAT a#b=c 0", "" },
  { HEAD "RW 16 FLAT \"%n%s\" 0\n", "6: RW 16 FLAT %n%s 0", "" },
  { HEAD "ddb.x = \"parentCID=1 # RW 4 ZERO\"\n" EXTENT, "7: RW 16 FLAT a 0",
    "" },
  { HEAD "# CID=99999999\n#RW 4 ZERO\n" EXTENT, "8: RW 16 FLAT a 0", "" },
  { HEAD "x=\ny=\"\"\nRWX=1\n16=2\n" EXTENT, "10: RW 16 FLAT a 0", "" },

  /* kinds of extents */
  { HEAD "RW 1 ZERO\nRW 1 ZERO \"\"\nRW 1 ZERO \"x\" 7\nNOACCESS 1 ZERO\n",
    "6: RW 1 ZERO\n7: RW 1 ZERO\n8: RW 1 ZERO\n9: NOACCESS 1 ZERO", "" },
  { HEAD "NOACCESS 0 ZERO\n" EXTENT "NOACCESS 0 ZERO \"\"\n",
    "7: RW 16 FLAT a 0", "" },
  { HEAD "RW 1 VMFSRAW \"/vmfs/devices/disks/naa.1\" 5\n"
         "RW 1 VMFSRDM \"/x/../y\"\nRW 1 FLAT \"..x\" 9\nRW 1 FLAT \".x\"\n",
    "6: RW 1 VMFSRAW /vmfs/devices/disks/naa.1 5\n7: RW 1 VMFSRDM /x/../y\n"
    "8: RW 1 FLAT ..x 9\n9: RW 1 FLAT .x",
    "" },
  { HEAD "RW 1 SPARSE \"a\" 0\nRW 1 VMFSSPARSE \"b\" 000\nRW 1 SESPARSE "
         "\"c\" 0\n",
    "6: RW 1 SPARSE a 0\n7: RW 1 VMFSSPARSE b 0\n8: RW 1 SESPARSE c 0", "" },
  { HEAD "RW 18014398509481983 ZERO\n", "6: RW 18014398509481983 ZERO", "" },
  { HEAD "RW 1 FLAT \"a\" 18014398509481982\n",
    "6: RW 1 FLAT a 18014398509481982", "" },

  /* repeated keys */
  { HEAD "CID=12345678\nversion=01\nparentCID=0xFFFFFFFF\n" EXTENT,
    "9: RW 16 FLAT a 0",
    "line 6: \"CID\" again (3 such lines); the first line of a key counts" },
  { HEAD "createType=\"custom\"\n" EXTENT, "7: RW 16 FLAT a 0",
    "line 6: \"createType\" again (1 such lines); the first line of a key "
    "counts" },
  { HEAD "ddb.a=\"1\"\nddb.b=1\nDDB.A=\"2\"\n" EXTENT, "9: RW 16 FLAT a 0",
    "line 8: \"DDB.A\" again (1 such lines); the last line of a key counts" },

  /* missing or odd header keys */
  { EXTENT, "1: RW 16 FLAT a 0",
    "no version; taken for 1\n"
    "no CID; the link cannot be a parent\n"
    "no parentCID; taken for a link without a parent\n"
    "no createType; the extents decide" },
  { "version=1\nCID=FFFFFFFF\nparentCID=ffffffff\ncreateType=\"new\x1b\"\n"
    "parentFileNameHint=\"old.vmdk\"\n" EXTENT,
    "6: RW 16 FLAT a 0",
    "CID ffffffff is reserved for \"no parent\"\n"
    "parentFileNameHint \"old.vmdk\" is ignored: parentCID ffffffff means no "
    "parent\n"
    "createType \"new\\x1b\" is unknown; the extents decide" },
  { HEAD "parentFileNameHint=\"\"\n" EXTENT, "7: RW 16 FLAT a 0", "" },
  { HEAD "isNativeSnapshot=\"yes\"\nddb.nativeParentCID = \"\"\n" EXTENT,
    "8: RW 16 FLAT a 0", "" },
  { HEAD "isNativeSnapshot=NO\nddb.objectParentUri = \"x\"\n" EXTENT,
    "8: RW 16 FLAT a 0", "" },
  { HEAD "ddb.iofilters=\"cache\"\n" EXTENT, "7: RW 16 FLAT a 0",
    "ddb.iofilters \"cache\": a filter's cache may hold newer data" },
};

static void
test_oddities (void **state UNUSED)
{
  for (size_t i = 0; i < COUNT (oddities); i++) {
    const struct oddity *o = &oddities[i];
    struct vmdk_error err = { 0 };
    struct heard heard = { { 0 } };
    CLEANUP_DESCRIPTOR struct descriptor *d =
      parse (o->text, strlen (o->text), &heard, &err);
    char extents[4096];

    if (!d)
      fail_msg ("%s\n%s", err.text, o->text);
    list_extents (d, extents, sizeof extents);
    assert_string_equal (extents, o->extents);
    assert_string_equal (heard.text, o->warnings);
    assert_prints (d, o->text);
  }
}

static void
test_nul (void **state UNUSED)
{
  static const char text[] = HEAD EXTENT "\0RW 4096 ZERO\nrubbish\n";
  static const char cut[] = HEAD "RW 16 FL\0AT \"a\" 0\n";
  static const char early[] = HEAD "\0" EXTENT;
  struct vmdk_error err = { 0 };
  struct descriptor *d = parse (text, sizeof text, NULL, &err);

  assert_non_null (d);
  assert_int_equal (descriptor_nr_sectors (d), 16);
  assert_prints (d, HEAD EXTENT);
  descriptor_free (d);

  assert_null (parse (cut, sizeof cut, NULL, &err));
  assert_non_null (strstr (err.text, "line 6: extent type \"FL\""));
  assert_null (parse (early, sizeof early, NULL, &err));
  assert_non_null (strstr (err.text, "no extent lines"));
}

static void
test_probe (void **state UNUSED)
{
  static const struct {
    const char *text;
    bool yes;
  } cases[] = {
    { "# Disk DescriptorFile\n", true },
    { "# Disk Descriptor File\r\n", true },
    { "#Disk Descriptor File", true },
    { "\xef\xbb\xbf\n\r\n  \t#DISK  DESCRIPTORFILE \t\n", true },
    { "# by hand\n\n# Disk DescriptorFile\n", true },
    { "# Disk DescriptorFile\rversion=1\r", true },
    { "# converter\nversion = 1\nx=y\nCreateType = \"custom\"\n", true },
    { EXTENT "version=1\ncreateType=\"custom\"\n", true },
    { "", false },
    { "\n\n", false },
    { "#!/bin/sh\n", false },
    { "# Disk DescriptorFiles\n", false },
    { "# My Disk DescriptorFile\n", false },
    { "version=1\n", false },
    { "createType=\"custom\"\n", false },
    { "Disk DescriptorFile\n", false },
    { "Read this:\n# Disk DescriptorFile\n", false },
    { "\xff\xfe# Disk DescriptorFile\n", false },
    { "KDMV\n# Disk DescriptorFile\n", false },
  };
  static const char nul[] = "#\n\0# Disk DescriptorFile\n";
  char many[256] = "";

  for (size_t i = 0; i < COUNT (cases); i++) {
    const size_t len = strlen (cases[i].text);
    CLEANUP_FREE char *copy = malloc (len + 1);

    assert_non_null (copy);
    memcpy (copy, cases[i].text, len);
    if (descriptor_probe (copy, len) != cases[i].yes)
      fail_msg ("%s", cases[i].text);
  }
  assert_false (descriptor_probe (nul, sizeof nul));

  memset (many, '\n', 63);
  strcpy (many + 63, "# Disk DescriptorFile\n");
  assert_true (descriptor_probe (many, strlen (many)));
  memset (many, '\n', 64);
  strcpy (many + 64, "# Disk DescriptorFile\n");
  assert_false (descriptor_probe (many, strlen (many)));
}

/* Long texts: limits, and no work that grows faster than the text. */

static void
assert_round_trip (const struct text *t, size_t nr_extents)
{
  CLEANUP_DESCRIPTOR struct descriptor *d = parse_good (t->p);

  assert_int_equal (descriptor_nr_extents (d), nr_extents);
  assert_prints (d, t->p);
}

static void
assert_refused (const struct text *t, const char *message)
{
  struct vmdk_error err = { 0 };

  assert_null (parse (t->p, t->len, NULL, &err));
  assert_string_equal (err.text, message);
  assert_int_equal (err.kind, ERR_CORRUPT);
}

static void
test_many_extents (void **state UNUSED)
{
  struct text t = { 0 };
  char line[64];

  add (&t, HEAD);
  for (unsigned i = 1; i <= DESCRIPTOR_MAX_EXTENTS; i++) {
    snprintf (line, sizeof line, "RW 4192256 SPARSE \"disk-s%03u.vmdk\"\n", i);
    add (&t, line);
  }
  assert_round_trip (&t, DESCRIPTOR_MAX_EXTENTS);
  add (&t, "NOACCESS 0 ZERO\n");
  assert_refused (&t, "line 32774: more than 32768 extents");
  free (t.p);
}

static void
test_many_keys (void **state UNUSED)
{
  struct text t = { 0 };
  struct vmdk_error err = { 0 };
  struct heard heard = { { 0 } };
  struct descriptor *d;

  add (&t, HEAD EXTENT);
  add_times (&t, "ddb.x=1\n", DESCRIPTOR_MAX_KEYS - 4);
  assert_round_trip (&t, 1);

  d = parse (t.p, t.len, &heard, &err);
  assert_non_null (d);
  assert_string_equal (heard.text,
                       "line 8: \"ddb.x\" again (16379 such lines); the last "
                       "line of a key counts");
  assert_int_equal (descriptor_set (d, "a", "1", &err), -1);
  assert_int_equal (err.kind, ERR_ARGUMENT);
  assert_string_equal (err.text, "more than 16384 keys");

  /* All of them but the last go. */
  assert_int_equal (descriptor_set (d, "ddb.x", "2", &err), 0);
  assert_prints (d, HEAD EXTENT "ddb.x = \"2\"\n");
  descriptor_free (d);

  add (&t, "ddb.x=1\n");
  assert_refused (&t, "line 16387: more than 16384 keys");
  free (t.p);
}

static void
test_long_text (void **state UNUSED)
{
  struct text t = { 0 };
  struct vmdk_error err = { 0 };
  struct descriptor *d;

  add (&t, HEAD EXTENT);
  add_times (&t, "\n", DESCRIPTOR_MAX_SIZE - t.len);
  assert_round_trip (&t, 1);
  d = parse_good (t.p);
  assert_int_equal (descriptor_set (d, "ddb.x", "1", &err), -1);
  assert_int_equal (err.kind, ERR_ARGUMENT);
  assert_string_equal (err.text,
                       "the descriptor would have more than 4194304 bytes");
  assert_prints (d, t.p);
  descriptor_free (d);

  add (&t, "\n");
  assert_refused (&t, "the descriptor has 4194305 bytes, at most 4194304 are "
                      "allowed");
  free (t.p);
}

static void
test_long_lines (void **state UNUSED)
{
  struct text t = { 0 };

  add (&t, HEAD EXTENT "#");
  add_times (&t, "x", DESCRIPTOR_MAX_LINE - 1);
  assert_round_trip (&t, 1);
  add (&t, "\r\n");
  assert_round_trip (&t, 1);
  t.len -= 2;
  add (&t, "x");
  assert_refused (&t, "line 7: 65537 bytes long, at most 65536 are allowed");

  t.len = 0;
  add (&t, HEAD "RW 16 FLAT \"");
  add_times (&t, "n", DESCRIPTOR_MAX_NAME);
  add (&t, "\" 0\n");
  assert_round_trip (&t, 1);
  free (t.p);
}

/* Looking up. */

static void
test_get (void **state UNUSED)
{
  CLEANUP_DESCRIPTOR struct descriptor *d = parse_good (
    HEAD "x=\"1\"\nX=2\nempty=\n" EXTENT "ddb.a = \"first\"\nDDB.A=last\n");

  assert_string_equal (descriptor_get (d, "version"), "1");
  assert_string_equal (descriptor_get (d, "cid"), "12345678");
  assert_string_equal (descriptor_get (d, "x"), "1");
  assert_string_equal (descriptor_get (d, "EMPTY"), "");
  assert_string_equal (descriptor_get (d, "ddb.A"), "last");
  assert_null (descriptor_get (d, "a"));
  assert_null (descriptor_get (d, "entCID"));
  assert_null (descriptor_get (d, "RW"));
}

static bool
note_key (void *opaque, const char *key, const char *value)
{
  char *notes = opaque;

  sprintf (notes + strlen (notes), "%s:%s ", key, value);
  return strcmp (key, "stop") != 0;
}

static void
test_each (void **state UNUSED)
{
  CLEANUP_DESCRIPTOR struct descriptor *d =
    parse_good ("a=1\n#b=2\n" EXTENT "a=\"x y\"\nstop=\nz=1\n");
  char notes[64] = "";

  descriptor_each (d, note_key, notes);
  assert_string_equal (notes, "a:1 a:x y stop: ");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_products),     cmocka_unit_test (test_oddities),
    cmocka_unit_test (test_nul),          cmocka_unit_test (test_probe),
    cmocka_unit_test (test_many_extents), cmocka_unit_test (test_many_keys),
    cmocka_unit_test (test_long_text),    cmocka_unit_test (test_long_lines),
    cmocka_unit_test (test_get),          cmocka_unit_test (test_each),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
