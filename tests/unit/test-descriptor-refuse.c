/* SPDX-License-Identifier: BSD-3-Clause */

/* The descriptor: which texts are refused, and in which words.
 */

#include <config.h>

#include "descriptor-helper.h"

struct refusal {
  const char *text;
  enum vmdk_error_kind kind;
  const char *message;
};

#define NEITHER                                                        \
  "is neither a comment, nor an extent (RW, RDONLY or NOACCESS), nor " \
  "KEY=VALUE"
#define TYPES                                                              \
  "is unknown; it can be FLAT, VMFS, ZERO, SPARSE, VMFSSPARSE, SESPARSE, " \
  "VMFSRDM, VMFSRAW or VSANSPARSE"
#define CARRIAGE \
  "a carriage return without line feed; lines must end in LF or CR LF"
#define TOO_MUCH "more than 18014398509481983 sectors"
#define OBJECT                                                                \
  "its data is in an object store and cannot be read from files; export the " \
  "disk"
#define CHILD                                              \
  "version=1\nCID=1\nparentCID=2\ncreateType=\"custom\"\n" \
  "parentFileNameHint=\"p.vmdk\"\n"
#define ENCRYPTED "encrypted disk; only disks without encryption can be read"

static const struct refusal refusals[] = {
  /* lines of no kind */
  { HEAD "R 16 ZERO\n" EXTENT, ERR_CORRUPT, "line 6: \"R 16 ZERO\" " NEITHER },
  { HEAD "RDONLYY 16 ZERO\n", ERR_CORRUPT,
    "line 6: \"RDONLYY 16 ZERO\" " NEITHER },
  { HEAD "RW=16 ZERO\n", ERR_CORRUPT, "line 6: \"RW=16 ZERO\" " NEITHER },
  { HEAD "\n\nhello\n", ERR_CORRUPT, "line 8: \"hello\" " NEITHER },
  { HEAD "=x\n", ERR_CORRUPT, "line 6: \"=x\" " NEITHER },
  { HEAD "a#b=x\n", ERR_CORRUPT, "line 6: \"a#b=x\" " NEITHER },
  { HEAD "a b=x\n", ERR_CORRUPT, "line 6: \"a b=x\" " NEITHER },
  { HEAD "\"a\"=x\n", ERR_CORRUPT, "line 6: \"\"a\"=x\" " NEITHER },
  { HEAD "\f\n", ERR_CORRUPT, "line 6: \"\\x0c\" " NEITHER },
  { HEAD " \xef\xbb\xbf# x\n", ERR_CORRUPT,
    "line 6: \"\xef\xbb\xbf# x\" " NEITHER },
  { "\xff\xfe#", ERR_CORRUPT, "line 1: \"\xff\xfe#\" " NEITHER },

  /* line ends and quotes */
  { "# a\rversion=1\n" HEAD EXTENT, ERR_CORRUPT, "line 1: " CARRIAGE },
  { HEAD EXTENT "\r\r\n", ERR_CORRUPT, "line 7: " CARRIAGE },
  { HEAD EXTENT "#\r", ERR_CORRUPT, "line 7: " CARRIAGE },
  { HEAD "RW 16 FLAT \"a 0\n", ERR_CORRUPT,
    "line 6: a quote is not closed: \"a 0" },
  { HEAD "RW 16 FLAT \"a\" 0 \"b\n", ERR_CORRUPT,
    "line 6: a quote is not closed: \"b" },
  { HEAD "RW 16 FLAT \"a\"0\n", ERR_CORRUPT,
    "line 6: \"0\" directly after a closing quote; a blank or nothing may "
    "follow" },
  { HEAD "x=\"a\n", ERR_CORRUPT, "line 6: a quote is not closed: \"a" },
  { HEAD "x=a\"\n", ERR_CORRUPT,
    "line 6: value \"a\"\" contains a quote; quotes can only enclose the "
    "whole value" },
  { HEAD "x=\"a\" \"b\"\n", ERR_CORRUPT,
    "line 6: \"\"b\"\" after the value; one word, or more in quotes, is "
    "allowed" },
  { HEAD "x=\"a\"#b\n", ERR_CORRUPT,
    "line 6: \"#b\" directly after a closing quote; a blank or nothing may "
    "follow" },
  { HEAD "x=a b\n", ERR_CORRUPT,
    "line 6: \"b\" after the value; one word, or more in quotes, is allowed" },

  /* no disk */
  { "", ERR_CORRUPT, "no extent lines; the descriptor is empty or cut short" },
  { HEAD, ERR_CORRUPT,
    "no extent lines; the descriptor is empty or cut short" },
  { HEAD "NOACCESS 0 ZERO\n", ERR_CORRUPT,
    "no extent lines; the descriptor is empty or cut short" },

  /* sizes */
  { HEAD "RW\n", ERR_CORRUPT,
    "line 6: extent size \"\" is not a decimal number" },
  { HEAD "RW -16 FLAT \"a\" 0\n", ERR_CORRUPT,
    "line 6: extent size \"-16\" is not a decimal number" },
  { HEAD "RW 0x10 ZERO\n", ERR_CORRUPT,
    "line 6: extent size \"0x10\" is not a decimal number" },
  { HEAD "RW 99999999999999999999x ZERO\n", ERR_CORRUPT,
    "line 6: extent size \"99999999999999999999x\" is not a decimal number" },
  { HEAD "RW FLAT \"a\" 0\n", ERR_CORRUPT,
    "line 6: extent size \"FLAT\" is not a decimal number" },
  { HEAD "RW 0 FLAT \"a\" 0\n", ERR_CORRUPT,
    "line 6: extent size \"0\": only a NOACCESS ZERO extent may have no "
    "sectors" },
  { HEAD "RW 0 ZERO\n", ERR_CORRUPT,
    "line 6: extent size \"0\": only a NOACCESS ZERO extent may have no "
    "sectors" },
  { HEAD "NOACCESS 0 FLAT \"a\"\n", ERR_CORRUPT,
    "line 6: extent size \"0\": only a NOACCESS ZERO extent may have no "
    "sectors" },
  { HEAD "RW 18014398509481984 ZERO\n", ERR_CORRUPT,
    "line 6: extent size \"18014398509481984\" is " TOO_MUCH },
  { HEAD "RW 18446744073709551617 ZERO\n", ERR_CORRUPT,
    "line 6: extent size \"18446744073709551617\" is " TOO_MUCH },
  { HEAD "RW 18014398509481983 ZERO\nRW 1 ZERO\n", ERR_CORRUPT,
    "line 7: the extents add up to " TOO_MUCH },

  /* types and names */
  { HEAD "RW 16\n", ERR_CORRUPT, "line 6: extent type \"\" " TYPES },
  { HEAD "RW 16 FLATT \"a\" 0\n", ERR_CORRUPT,
    "line 6: extent type \"FLATT\" " TYPES },
  { HEAD "RW 16 FLAT\"a\" 0\n", ERR_CORRUPT,
    "line 6: extent type \"FLAT\"a\"\" " TYPES },
  { HEAD "RW 16 \x1b[2J\n", ERR_CORRUPT,
    "line 6: extent type \"\\x1b[2J\" " TYPES },
  { HEAD "RW 16 FLAT\n", ERR_CORRUPT,
    "line 6: FLAT extent needs a file name in quotes" },
  { HEAD "RW 16 SPARSE \"\"\n", ERR_CORRUPT,
    "line 6: SPARSE extent needs a file name in quotes" },
  { HEAD "RW 16 VSANSPARSE\n", ERR_CORRUPT,
    "line 6: VSANSPARSE extent needs a file name in quotes" },
  { HEAD "RW 16 FLAT a 0\n", ERR_CORRUPT,
    "line 6: \"a 0\" after the extent type; a file name in quotes or nothing "
    "may follow" },
  { HEAD "RW 16 ZERO 0\n", ERR_CORRUPT,
    "line 6: \"0\" after the extent type; a file name in quotes or nothing "
    "may follow" },
  { HEAD "RW 16 FLAT \".\" 0\n", ERR_CORRUPT,
    "line 6: extent name \".\" is not the name of a file" },
  { HEAD "RW 16 VMFS \"..\"\n", ERR_CORRUPT,
    "line 6: extent name \"..\" is not the name of a file" },
  { HEAD "RW 16 FLAT \"a\x1b[31m\tb\x7f\" 0\n", ERR_CORRUPT,
    "line 6: extent name \"a\\x1b[31m\\x09b\\x7f\" contains control bytes" },

  /* offsets */
  { HEAD "RW 16 FLAT \"a\" -1\n", ERR_CORRUPT,
    "line 6: extent offset \"-1\" is not a decimal number" },
  { HEAD "RW 16 FLAT \"a\" partitionUUID x\n", ERR_CORRUPT,
    "line 6: extent offset \"partitionUUID\" is not a decimal number" },
  { HEAD "RW 2 FLAT \"a\" 18014398509481982\n", ERR_CORRUPT,
    "line 6: extent offset \"18014398509481982\": offset and size add up "
    "to " TOO_MUCH },
  { HEAD "RW 2 FLAT \"a\" 36893488147419103232\n", ERR_CORRUPT,
    "line 6: extent offset \"36893488147419103232\": offset and size add up "
    "to " TOO_MUCH },
  { HEAD "RW 2 SPARSE \"a\" 1\n", ERR_CORRUPT,
    "line 6: extent offset \"1\": a SPARSE extent can only begin at 0" },
  { HEAD "RW 2 VMFSSPARSE \"a\" 8\n", ERR_CORRUPT,
    "line 6: extent offset \"8\": a VMFSSPARSE extent can only begin at 0" },
  { HEAD "RW 2 SESPARSE \"a\" 08\n", ERR_CORRUPT,
    "line 6: extent offset \"08\": a SESPARSE extent can only begin at 0" },

  /* header values */
  { "version=0\n" EXTENT, ERR_CORRUPT,
    "line 1: version \"0\" is not one of 1 to 4" },
  { "version=one\n" EXTENT, ERR_CORRUPT,
    "line 1: version \"one\" is not one of 1 to 4" },
  { "version=\n" EXTENT, ERR_CORRUPT,
    "line 1: version \"\" is not one of 1 to 4" },
  { "version=5\n" EXTENT, ERR_UNSUPPORTED,
    "line 1: version \"5\" is unknown, 1 to 4 can be read" },
  { "version=1\nCID=\n" EXTENT, ERR_CORRUPT,
    "line 2: CID \"\" is not a number of 1 to 8 hexadecimal digits" },
  { "CID=0x\n" EXTENT, ERR_CORRUPT,
    "line 1: CID \"0x\" is not a number of 1 to 8 hexadecimal digits" },
  { "CID=123456789\n" EXTENT, ERR_CORRUPT,
    "line 1: CID \"123456789\" is not a number of 1 to 8 hexadecimal digits" },
  { "CID=-1\n" EXTENT, ERR_CORRUPT,
    "line 1: CID \"-1\" is not a number of 1 to 8 hexadecimal digits" },
  { "CID=1\nparentCID=fffffffg\n" EXTENT, ERR_CORRUPT,
    "line 2: parentCID \"fffffffg\" is not a number of 1 to 8 hexadecimal "
    "digits" },
  { HEAD "parentFileNameHint=\"a\x1b[2J\"\n" EXTENT, ERR_CORRUPT,
    "line 6: parentFileNameHint \"a\\x1b[2J\" contains control bytes" },

  /* contradictions */
  { HEAD EXTENT "version=2\n", ERR_CORRUPT,
    "line 7: version \"2\" contradicts \"1\" in line 2; only one value is "
    "allowed" },
  { HEAD EXTENT "cid=1\n", ERR_CORRUPT,
    "line 7: CID \"1\" contradicts \"12345678\" in line 3; only one value is "
    "allowed" },
  { HEAD EXTENT "parentCID=12ab34cd\n", ERR_CORRUPT,
    "line 7: parentCID \"12ab34cd\" contradicts \"ffffffff\" in line 4; only "
    "one value is allowed" },
  { HEAD EXTENT "createType=\"vmfs\"\n", ERR_CORRUPT,
    "line 7: createType \"vmfs\" contradicts \"custom\" in line 5; only one "
    "value is allowed" },
  { CHILD EXTENT "parentFileNameHint=\"q.vmdk\"\n", ERR_CORRUPT,
    "line 7: parentFileNameHint \"q.vmdk\" contradicts \"p.vmdk\" in line 5; "
    "only one value is allowed" },

  /* parents */
  { "CID=1\nparentCID=2\n" EXTENT, ERR_CORRUPT,
    "line 2: parentCID \"00000002\" without a parentFileNameHint; a link with "
    "a parent needs both" },
  { "CID=1\nparentCID=2\nparentFileNameHint=\"\"\n" EXTENT, ERR_CORRUPT,
    "line 2: parentCID \"00000002\" without a parentFileNameHint; a link with "
    "a parent needs both" },
  { "CID=1\nparentFileNameHint=\"p.vmdk\"\n" EXTENT, ERR_CORRUPT,
    "line 2: parentFileNameHint \"p.vmdk\" without a parentCID; a link with a "
    "parent needs both" },

  /* not to be had from files */
  { HEAD "RW 16 VSANSPARSE \"a\"\n", ERR_UNSUPPORTED,
    "line 6: VSANSPARSE extent \"a\": " OBJECT },
  { HEAD "RW 16 VMFS \"vsan://1-2\"\n", ERR_UNSUPPORTED,
    "line 6: VMFS extent \"vsan://1-2\": " OBJECT },
  { HEAD "RW 16 VMFS \"VVOL://1-2\"\n", ERR_UNSUPPORTED,
    "line 6: VMFS extent \"VVOL://1-2\": " OBJECT },
  { HEAD "RW 16 VMFS \"rfc4122.1-2\"\n", ERR_UNSUPPORTED,
    "line 6: VMFS extent \"rfc4122.1-2\": " OBJECT },
  { CHILD "isNativeSnapshot=\"yes\"\n" EXTENT, ERR_UNSUPPORTED,
    "line 6: isNativeSnapshot \"yes\" with a parent: the data is in the "
    "storage array; only \"no\" can be read" },
  { CHILD "isNativeSnapshot=\"no\"\nisNativeSnapshot=\"yes\"\n" EXTENT,
    ERR_UNSUPPORTED,
    "line 7: isNativeSnapshot \"yes\" with a parent: the data is in the "
    "storage array; only \"no\" can be read" },
  { HEAD "isNativeSnapshot=Yes\n" EXTENT "ddb.objectParentUri=\"x\"\n",
    ERR_UNSUPPORTED,
    "line 6: isNativeSnapshot \"Yes\" with a parent: the data is in the "
    "storage array; only \"no\" can be read" },
  { HEAD "isNativeSnapshot=yes\n" EXTENT "ddb.nativeParentHint = \"x\"\n",
    ERR_UNSUPPORTED,
    "line 6: isNativeSnapshot \"yes\" with a parent: the data is in the "
    "storage array; only \"no\" can be read" },
  { HEAD "encryptionKeys=\"vmware:key/list/\"\n" EXTENT, ERR_UNSUPPORTED,
    "line 6: \"encryptionKeys\": " ENCRYPTED },
  { HEAD "KEYID=\"x\"\n" EXTENT, ERR_UNSUPPORTED,
    "line 6: \"KEYID\": " ENCRYPTED },
  { "encryption.data = \"x\"\n", ERR_UNSUPPORTED,
    "line 1: \"encryption.data\": " ENCRYPTED },
  { HEAD EXTENT "vmx.keysafe = \"x\"\n", ERR_UNSUPPORTED,
    "line 7: \"vmx.keysafe\": " ENCRYPTED },
  { HEAD EXTENT "ddb.ioFilters = \"cache,vmwarevmCrypt\"\n"
                "ddb.iofilters = \"\"\n",
    ERR_UNSUPPORTED, "line 7: \"ddb.ioFilters\": " ENCRYPTED },
};

static void
test_refusals (void **state UNUSED)
{
  for (size_t i = 0; i < COUNT (refusals); i++) {
    const struct refusal *r = &refusals[i];
    struct vmdk_error err = { 0 };
    struct descriptor *d = parse (r->text, strlen (r->text), NULL, &err);

    if (d)
      fail_msg ("taken: %s", r->text);
    assert_string_equal (err.text, r->message);
    assert_int_equal (err.kind, r->kind);
  }
}

/* However long the value, the message is one short line. */
static void
test_long_values (void **state UNUSED)
{
  static const struct {
    const char *before, *after, *ends;
  } cases[] = {
    { HEAD "RW 16 FLAT \"", "\" 0\n",
      "\" has 5000 bytes, at most 4096 are allowed" },
    { CHILD "parentFileNameHint=\"", "\"\n" EXTENT,
      "\" has 5000 bytes, at most 4096 are allowed" },
    { HEAD "RW 16 ", "\n", TYPES },
    { HEAD "RW ", "\n", "\" is not a decimal number" },
    { HEAD, "\n", NEITHER },
    { "version=", "\n", "\" is not one of 1 to 4" },
  };

  for (size_t i = 0; i < COUNT (cases); i++) {
    struct text t = { 0 };
    struct vmdk_error err = { 0 };

    add (&t, cases[i].before);
    add_times (&t, "nopq", 1250);
    add (&t, cases[i].after);
    assert_null (parse (t.p, t.len, NULL, &err));
    assert_in_range (strlen (err.text), strlen (cases[i].ends), 450);
    assert_string_equal (err.text + strlen (err.text) - strlen (cases[i].ends),
                         cases[i].ends);
    free (t.p);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_refusals),
    cmocka_unit_test (test_long_values),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
