/* SPDX-License-Identifier: BSD-3-Clause */

/* The vddk plugin's configuration file: what is followed, what is passed over,
 * what is refused.
 */

#include <config.h>

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "remote-config.h"

static void
followed (void **state)
{
  struct nfc_settings s = NFC_SETTINGS_DEFAULT;
  struct vmdk_error err = { 0 };
  char text[] = "# comment = 1\r\n"
                "\n"
                "tmpDirectory = \"/tmp\"\n"
                "  VixDiskLib.nfcAio.Session.bufSizeIn64KB=16  \n"
                "vixDiskLib.nfcAio.Session.BufCount = \"8\"\n"
                "vixDiskLib.nfc.AcceptTimeoutMs = 1000\n"
                "vixDiskLib.nfc.RequestTimeoutMs = 2000\n"
                "vixDiskLib.nfc.ReadTimeoutMs = 3000\n"
                "vixDiskLib.nfc.WriteTimeoutMs = 0\n"
                "unknown = ";

  (void) state;
  assert_int_equal (remote_config_parse (&s, text, &err), 0);
  assert_int_equal (s.buffer_size, 16 * 65536);
  assert_int_equal (s.buffer_count, 8);
  assert_int_equal (s.times.connect, 1000);
  assert_int_equal (s.times.step, 2000);
  assert_int_equal (s.times.read, 3000);
  assert_int_equal (s.times.write, INT_MAX);
}

static void
refused (void **state)
{
  static const struct {
    const char *text, *error;
  } cases[] = {
    { "what", "line 1 is not NAME = VALUE" },
    { "\nvixDiskLib.nfcAio.Session.BufCount = 0",
      "line 2: vixDiskLib.nfcAio.Session.BufCount = 0: it can be from 1" },
    { "vixDiskLib.nfcAio.Session.BufCount = -1", "= -1 is not a number" },
    { "vixDiskLib.nfcAio.Session.BufSizeIn64KB = 257",
      "it can be from 1 to 256" },
    { "vixDiskLib.nfc.ReadTimeoutMs = 99999999999999999999",
      "is not a number" },
    { "vixDiskLib.nfc.ReadTimeoutMs = 1s", "= 1s is not a number" },
    { "vixDiskLib.nfc.ReadTimeoutMs = \"", "is not a number" },
    { "vixDiskLib.nfcAio.Session.BufSizeIn64KB = 256",
      "4 buffers of 16777216 bytes are more than the 16777216 bytes" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct nfc_settings s = NFC_SETTINGS_DEFAULT;
    struct vmdk_error err = { 0 };
    char text[200];

    strcpy (text, cases[i].text);
    assert_int_equal (remote_config_parse (&s, text, &err), -1);
    assert_int_equal (err.kind, ERR_ARGUMENT);
    assert_non_null (strstr (err.text, cases[i].error));
  }
}

static void
missing (void **state)
{
  struct nfc_settings s = NFC_SETTINGS_DEFAULT;
  struct vmdk_error err = { 0 };

  (void) state;
  assert_int_equal (remote_config_read (&s, "/nonexistent/config", &err), -1);
  assert_non_null (strstr (err.text, "/nonexistent/config"));
  assert_int_equal (remote_config_read (&s, "/dev/null", &err), 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (followed),
    cmocka_unit_test (refused),
    cmocka_unit_test (missing),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
