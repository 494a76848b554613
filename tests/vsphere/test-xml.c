/* SPDX-License-Identifier: BSD-3-Clause */

/* Documents as servers send them, and as they should not. */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xml.h"

#include <cmocka.h> /* last: it has a macro called fail */

static struct xml_document *
parse (const char *text)
{
  struct vmdk_error err = { 0 };
  struct xml_document *document = xml_parse (text, strlen (text), &err);

  if (!document)
    fail_msg ("%s", err.text);
  return document;
}

static void
test_tree (void **state)
{
  CLEANUP_XML struct xml_document *document =
    parse ("<?xml version='1.0'?><e:Envelope "
           "xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'>\n"
           "<e:Body><r xmlns='urn:vim25'><a x:type=' vim:Disk\n' type='Folder' "
           "xmlns:x='http://www.w3.org/2001/XMLSchema-instance'>1 &lt; 2 &amp;"
           "<![CDATA[<3>]]></a> <b/><a>two</a></r></e:Body></e:Envelope>");
  const struct xml_node *root = xml_root (document);
  const struct xml_node *a = xml_path (root, "Body/r/a");

  (void) state;
  assert_true (root->soap);
  assert_string_equal (root->name, "Envelope");
  assert_string_equal (root->text, "");
  assert_non_null (a);
  assert_false (a->soap);
  assert_string_equal (a->type, "Disk");
  assert_string_equal (a->ref_type, "Folder");
  assert_string_equal (a->text, "1 < 2 &<3>");
  assert_string_equal (xml_same (a)->text, "two");
  assert_null (xml_same (xml_same (a)));
  assert_string_equal (xml_text (xml_path (root, "Body/r"), "b"), "");
  assert_string_equal (xml_text (NULL, "b"), "");
  assert_null (xml_path (root, "Body/x/a"));
  assert_null (xml_path (root, "Bod"));
}

static void
test_numbers (void **state)
{
  static const struct {
    const char *text;
    int u64, s32;
    uint64_t value;
    int32_t small;
  } cases[] = {
    { "0", 0, 0, 0, 0 },
    { "18446744073709551615", 0, -1, UINT64_MAX, 0 },
    { "18446744073709551616", -1, -1, 0, 0 },
    { "2147483647", 0, 0, 2147483647, 2147483647 },
    { "-2147483648", -1, 0, 0, INT32_MIN },
    { "-2147483649", -1, -1, 0, 0 },
    { "", -1, -1, 0, 0 },
    { "-", -1, -1, 0, 0 },
    { " 1", -1, -1, 0, 0 },
    { "1 ", -1, -1, 0, 0 },
    { "0x10", -1, -1, 0, 0 },
    { "+1", -1, -1, 0, 0 },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const struct xml_node node = { .text = cases[i].text };
    uint64_t value;
    int32_t small;

    assert_int_equal (xml_u64 (&node, &value), cases[i].u64);
    if (cases[i].u64 == 0)
      assert_true (value == cases[i].value);
    assert_int_equal (xml_s32 (&node, &small), cases[i].s32);
    if (cases[i].s32 == 0)
      assert_int_equal (small, cases[i].small);
  }
}

static void
assert_refused (const char *bytes, size_t count, const char *text)
{
  struct vmdk_error err = { 0 };

  assert_null (xml_parse (bytes, count, &err));
  assert_int_equal (err.kind, ERR_CORRUPT);
  assert_string_equal (err.text, text);
}

/* What libxml2 says to it is its own matter. */
#define NOT_XML "the answer is not XML: line 1: "

static void
test_refused (void **state)
{
  static const struct {
    const char *bytes, *text;
  } cases[] = {
    { "<!DOCTYPE a><a/>",
      "the answer has a DTD, which no server of this kind sends" },
    { "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'x'>]><a>&b;</a>",
      "the answer has a DTD, which no server of this kind sends" },
    { "<a>&b;</a>", NOT_XML },
    { "<a><b></a>", NOT_XML },
    { "<a>", NOT_XML },
    { "<a/><b/>", NOT_XML },
    { "<a", "the answer is cut off, or has a tag of more than 4096 bytes" },
    { "<a b='>",
      "the answer is cut off, or has a tag of more than 4096 bytes" },
    { "", NOT_XML },
    { "hello", NOT_XML },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct vmdk_error err = { 0 };

    assert_null (xml_parse (cases[i].bytes, strlen (cases[i].bytes), &err));
    assert_int_equal (err.kind, ERR_CORRUPT);
    err.text[strlen (cases[i].text)] = '\0';
    assert_string_equal (err.text, cases[i].text);
  }
}

/* PREFIX, then N times PART, then SUFFIX. */
static char *
repeat (const char *prefix, const char *part, size_t n, const char *suffix)
{
  const size_t size =
    strlen (prefix) + n * strlen (part) + strlen (suffix) + 1;
  char *text = malloc (size), *p = text;

  assert_non_null (text);
  p = stpcpy (p, prefix);
  for (size_t i = 0; i < n; i++)
    p = stpcpy (p, part);
  strcpy (p, suffix);
  return text;
}

static void
test_limits (void **state)
{
  static const struct {
    const char *prefix, *part;
    size_t n;
    const char *suffix, *text;
  } cases[] = {
    { "", "<a>", 200, "", "the answer is nested deeper than 128 elements" },
    { "<a>", "<b/>", 400001, "</a>",
      "the answer has more than 400000 elements" },
    { "<a ", "x", 5000, "='1'/>",
      "the answer is cut off, or has a tag of more than 4096 bytes" },
    { "<a>", "0123456789abcdef", 1 << 20, "</a>",
      "the answer is larger than 16777216 bytes" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CLEANUP_FREE char *text =
      repeat (cases[i].prefix, cases[i].part, cases[i].n, cases[i].suffix);

    assert_refused (text, strlen (text), cases[i].text);
  }
}

/* Namespaces of open elements are searched for each name within. */
static void
test_namespaces (void **state)
{
  char text[16384], *p = text;

  (void) state;
  for (unsigned level = 0; level < 3; level++) {
    p = stpcpy (p, "<a");
    for (unsigned i = 0; i < 100; i++)
      p += sprintf (p, " xmlns:n%u_%u='u%u'", level, i, i);
    p = stpcpy (p, ">");
  }
  p = stpcpy (p, "</a></a></a>");
  assert_refused (text, strlen (text),
                  "the answer has more than 256 namespaces in force");
}

/* Each name is looked for among all that came before. */
static void
test_names (void **state)
{
  char *text = malloc (200000), *p = text;

  (void) state;
  assert_non_null (text);
  p = stpcpy (p, "<a>");
  for (unsigned i = 0; i < 11000; i++)
    p += sprintf (p, "<n%u/>", i);
  p = stpcpy (p, "</a>");
  assert_refused (text, (size_t) (p - text),
                  "the answer has more than 10000 different names");
  free (text);
}

/* Comments and CDATA may hold quotes and brackets. */
static void
test_no_tags (void **state)
{
  CLEANUP_FREE char *text =
    repeat ("<a><!-- it's <fine", " ", 6000, "--><![CDATA[<'\"]]>x</a>");
  CLEANUP_XML struct xml_document *document = parse (text);

  (void) state;
  assert_string_equal (xml_root (document)->text, "<'\"x");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_tree),       cmocka_unit_test (test_numbers),
    cmocka_unit_test (test_refused),    cmocka_unit_test (test_limits),
    cmocka_unit_test (test_namespaces), cmocka_unit_test (test_no_tags),
    cmocka_unit_test (test_names),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
