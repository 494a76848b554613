/* SPDX-License-Identifier: BSD-3-Clause */

/* What is not understood is logged so that it can be sent to others: enough of
 * it, no more, and no secrets.
 */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "report.h"

static char said[65536];

static void
keep (void *opaque, enum log_topic topic, const char *text)
{
  const size_t len = strlen (said);

  (void) opaque;
  assert_int_equal (topic, LOG_OPEN);
  snprintf (said + len, sizeof said - len, "%s\n", text);
}

static bool
deaf (void *opaque, enum log_topic topic)
{
  (void) opaque;
  return topic == LOG_WARNING;
}

static const struct vmdk_log vmdk_log = { .sink = keep, .how = "nbdkit -v" };

static int
forget (void **state)
{
  (void) state;
  said[0] = '\0';
  return 0;
}

static void
bytes (void **state)
{
  const struct vmdk_log nobody = { .sink = keep, .wants = deaf };
  uint8_t many[100] = { 0xab };

  (void) state;
  report_bytes (&vmdk_log, "< x", "\x01\n\xff", 3);
  report_bytes (&vmdk_log, "< y", "", 0);
  assert_string_equal (said, "< x: 3 bytes: 010aff\n< y: 0 bytes: \n");
  said[0] = '\0';
  report_bytes (&vmdk_log, "< z", many, sizeof many);
  assert_int_equal (strlen (said), strlen ("< z: 100 bytes: ...\n") + 128);
  assert_non_null (strstr (said, ": ab00"));
  said[0] = '\0';
  report_bytes (&nobody, "< x", "x", 1);
  report_text (&nobody, "x", "x", 1, NULL);
  assert_string_equal (said, "");
}

static void
masks (void **state)
{
  static const struct {
    const char *text, *secret, *masked;
  } cases[] = {
    { "530 no session 52-ab here", "52-ab", "530 no session ***** here" },
    { "aaaa", "aa", "****" },
    { "abc", "abcd", "abc" },
    { "abc", "", "abc" },
    { "", "x", "" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[64];

    strcpy (text, cases[i].text);
    report_mask (text, cases[i].secret);
    assert_string_equal (text, cases[i].masked);
  }
}

static void
text_without_secrets (void **state)
{
  static const char answer[] =
    "<f><sessionId>52ab cd</sessionId>\n<vim:key a=\"b\">52-ef</vim:key>"
    "<password/>seen<keys>kept</keys><ticket>cut-off";

  (void) state;
  report_text (&vmdk_log, "Method", answer, strlen (answer), NULL);
  assert_string_equal (
    said, "Method: 111 bytes:\n| <f><sessionId>*******</sessionId>\\x0a"
          "<vim:key a=\"b\">*****</vim:key>"
          "<password/>seen<keys>kept</keys><ticket>*******\n");
}

static void
text_without_cookie (void **state)
{
  static const char *const cookies[] = { "vmware_soap_session=\"52-ab\"",
                                         "vmware_soap_session=52-ab" };
  static const char answer[] =
    "<a>vmware_soap_session=\"52-ab\" 52-ab</a>\0behind";

  (void) state;
  for (size_t i = 0; i < 2; i++) {
    said[0] = '\0';
    report_text (&vmdk_log, "M", answer, sizeof answer - 1, cookies[i]);
    assert_null (strstr (said, "52-ab"));
    assert_non_null (strstr (said, "</a>.behind\n"));
  }
}

/* No more than its beginning, however long; whole though it is escaped. */
static void
text_is_bounded (void **state)
{
  static char text[1 << 20];
  unsigned nr_lines = 0;

  (void) state;
  memset (text, 1, sizeof text);
  report_text (&vmdk_log, "M", text, sizeof text, NULL);
  for (const char *p = said; (p = strchr (p, '\n')); p++)
    nr_lines++;
  assert_int_equal (nr_lines, 1 + 21);
  assert_int_equal (strlen (said),
                    strlen ("M: 1048576 bytes:\n") + 4096 * 4 + 21 * 3);
}

static void
asks_once (void **state)
{
  const struct vmdk_log silent = { .sink = keep };
  struct vmdk_error err;
  char text[ERROR_TEXT_SIZE];

  (void) state;
  fail (&err, ERR_SYSTEM, "what?");
  report_ask (&err, &silent);
  assert_string_equal (err.text, "what?");
  assert_int_equal (report_ask (&err, &vmdk_log), -1);
  report_ask (&err, &vmdk_log);
  assert_string_equal (
    err.text, "what?; please report it with what this logs: nbdkit -v");

  memset (text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  fail (&err, ERR_SYSTEM, "%s", text);
  report_ask (&err, &vmdk_log);
  assert_int_equal (strlen (err.text), sizeof err.text - 1);
  assert_non_null (strstr (err.text, "xx; please report it"));
  assert_non_null (strstr (err.text, "logs: nbdkit -v"));
}

static void
last_frames (void **state)
{
  struct report_trace trace;
  uint8_t header[16] = { 0 }, payload[100] = { 0 };

  (void) state;
  report_trace_init (&trace);
  report_trace_tell (&trace, &vmdk_log);
  assert_string_equal (said, "");
  report_trace_add (&trace, true, header, payload, 2);
  report_trace_add (&trace, false, header, NULL, 0);
  report_trace_tell (&trace, &vmdk_log);
  assert_string_equal (
    said, "> frame, 18 bytes: 000000000000000000000000000000000000\n"
          "< frame, 16 bytes: 00000000000000000000000000000000\n");

  /* told once; of many the last; of a long one the beginning */
  said[0] = '\0';
  for (unsigned i = 0; i < 100; i++) {
    header[0] = (uint8_t) i;
    report_trace_add (&trace, false, header, payload, sizeof payload);
  }
  report_trace_tell (&trace, &vmdk_log);
  assert_null (strstr (said, ": 5300"));
  assert_non_null (strstr (said, ": 5400"));
  assert_non_null (strstr (said, "< frame, 116 bytes: 6300"));
  assert_non_null (strstr (said, "...\n"));
  assert_true (strlen (said) < 16 * 200);
  report_trace_destroy (&trace);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup (bytes, forget),
    cmocka_unit_test_setup (masks, forget),
    cmocka_unit_test_setup (text_without_secrets, forget),
    cmocka_unit_test_setup (text_without_cookie, forget),
    cmocka_unit_test_setup (text_is_bounded, forget),
    cmocka_unit_test_setup (asks_once, forget),
    cmocka_unit_test_setup (last_frames, forget),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
