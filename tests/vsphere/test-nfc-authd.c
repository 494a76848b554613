/* SPDX-License-Identifier: BSD-3-Clause */

/* The daemon's lines: what greetings promise, replies, names of services. */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "nfc-authd.h"

static void
test_greetings (void **state)
{
  static const struct {
    const char *line;
    bool tls, nfc_tls, sha256;
  } cases[] = {
    { "220 VMware Authentication Daemon Version 1.10: SSL Required, "
      "ServerDaemonProtocol:SOAP, MKSDisplayProtocol:VNC , VMXARGS supported, "
      "NFCSSL supported/t, SHA256 supported",
      true, true, true },
    { "220 VMware Authentication Daemon Version 1.10: SSL Required, "
      "ServerDaemonProtocol:SOAP, MKSDisplayProtocol:VNC , VMXARGS supported, "
      "NFCSSL supported/t",
      true, true, false },
    { "220 VMware Authentication Daemon Version 1.0, SSL", true, false,
      false },
    { "220 daemon: NFCSSL supported", true, true, false },
    { "220 daemon: NFCSSL Supported,SHA256 supported ", true, false, true },
    { "220 daemon: NFCSSL supported more,xSHA256 supported", true, false,
      false },
    { "220 daemon: SSL Required,,, ,/,", true, false, false },
    { "220 ", false, false, false },
    { "220 daemon: ", false, false, false },
  };
  struct vmdk_error err;

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct nfc_greeting greeting;

    assert_int_equal (nfc_greeting_parse (&greeting, cases[i].line, &err), 0);
    assert_int_equal (greeting.tls, cases[i].tls);
    assert_int_equal (greeting.nfc_tls, cases[i].nfc_tls);
    assert_int_equal (greeting.sha256, cases[i].sha256);
  }
}

static void
test_no_greetings (void **state)
{
  static const char *const lines[] = { "", "220", "221 bye", "220-more",
                                       "HTTP/1.1 400 Bad Request" };
  struct nfc_greeting greeting;
  struct vmdk_error err;

  (void) state;
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
    assert_int_equal (nfc_greeting_parse (&greeting, lines[i], &err), -1);
  assert_string_equal (err.text,
                       "the host greets with \"HTTP/1.1 400 Bad Request\": is "
                       "this port 902 of an ESXi host?");
}

static void
test_replies (void **state)
{
  static const char *const bad[] = { "",     "2",      "20",   "2 0 x",
                                     "200x", "-200 x", "200-x" };
  const char *text;
  unsigned code;

  (void) state;
  assert_int_equal (nfc_reply_parse (&code, &text, "200 Connect ha-nfc"), 0);
  assert_int_equal (code, 200);
  assert_string_equal (text, "Connect ha-nfc");
  assert_int_equal (nfc_reply_parse (&code, &text, "530"), 0);
  assert_int_equal (code, 530);
  assert_string_equal (text, "");
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal (nfc_reply_parse (&code, &text, bad[i]), -1);
}

static void
test_services (void **state)
{
  static const struct {
    const char *service;
    bool tls;
    const char *name; /* NULL: refused */
  } cases[] = {
    { "vpxa-nfc", true, "vpxa-nfcssl" },
    { "vpxa-nfc", false, "vpxa-nfc" },
    { "nfc", true, "nfcssl" },
    { "nfc", false, "nfc" },
    { "nfcssl", true, "nfcssl" },
    { "", true, NULL },
    { "nfc\r\nPROXY x", false, NULL },
    { "nfc x", false, NULL },
    { "a-name-that-is-longer-than-any-service-has-ever-been-known-to-be",
      false, NULL },
  };
  char name[NFC_SERVICE_SIZE];
  struct vmdk_error err;

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const int r =
      nfc_service_name (name, cases[i].service, cases[i].tls, &err);

    assert_int_equal (r, cases[i].name ? 0 : -1);
    if (cases[i].name)
      assert_string_equal (name, cases[i].name);
  }
}

static void
test_endpoints (void **state)
{
  struct vmdk_error err;

  (void) state;
  assert_int_equal (nfc_endpoint_check ("Connect ha-nfc", false, &err), 0);
  assert_int_equal (nfc_endpoint_check ("Connect ha-nfcssl", true, &err), 0);
  assert_int_equal (nfc_endpoint_check ("Connect vpxa-nfcssl", true, &err), 0);
  assert_int_equal (nfc_endpoint_check ("Connect ha-nfc", true, &err), -1);
  assert_string_equal (err.text, "the host offers \"ha-nfc\", which would "
                                 "carry the disk in clear");
  assert_int_equal (nfc_endpoint_check ("Connect ", false, &err), -1);
  assert_int_equal (nfc_endpoint_check ("connected", false, &err), -1);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_greetings), cmocka_unit_test (test_no_greetings),
    cmocka_unit_test (test_replies),   cmocka_unit_test (test_services),
    cmocka_unit_test (test_endpoints),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
