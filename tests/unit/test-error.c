/* SPDX-License-Identifier: BSD-3-Clause */

/* Errors and log messages: kinds, prefixes, and that no text from a file can
 * reach a terminal unescaped or break a line.
 */

#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "error.h"
#include "log.h"

static void
test_kinds (void **state)
{
  static const struct {
    enum vmdk_error_kind kind;
    int errnum;
  } cases[] = {
    { ERR_NONE, EIO },        { ERR_SYSTEM, EIO },
    { ERR_CORRUPT, EINVAL },  { ERR_DAMAGED, EIO },
    { ERR_NOT_VMDK, EINVAL }, { ERR_UNSUPPORTED, ENOTSUP },
    { ERR_DENIED, EACCES },   { ERR_MISSING, ENOENT },
    { ERR_MISMATCH, ESTALE }, { ERR_LOCKED, EBUSY },
    { ERR_READ_ONLY, EROFS }, { ERR_ARGUMENT, EINVAL },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct vmdk_error err;

    assert_int_equal (fail (&err, cases[i].kind, "%s %d", "x", 5), -1);
    assert_int_equal (err.kind, cases[i].kind);
    assert_int_equal (err.errnum, cases[i].errnum);
    assert_string_equal (err.text, "x 5");
  }
}

static void
test_errno (void **state)
{
  struct vmdk_error err;

  (void) state;
  assert_int_equal (fail_errno (&err, ENOSPC, "writing %s", "a"), -1);
  assert_int_equal (err.kind, ERR_SYSTEM);
  assert_int_equal (err.errnum, ENOSPC);
  assert_string_equal (err.text, "writing a: No space left on device");

  fail_errno (&err, ENOENT, "a");
  assert_int_equal (err.kind, ERR_MISSING);
  assert_int_equal (err.errnum, ENOENT);
  assert_string_equal (err.text, "a: No such file or directory");

  /* Never 0: a caller that passes it on would report success. */
  fail_errno (&err, 0, "a");
  assert_int_equal (err.errnum, EIO);

  assert_int_equal (fail_memory (&err), -1);
  assert_int_equal (err.kind, ERR_SYSTEM);
  assert_int_equal (err.errnum, ENOMEM);
  assert_string_equal (err.text, "out of memory");
}

static void
test_prefix (void **state)
{
  struct vmdk_error err;

  (void) state;
  fail (&err, ERR_LOCKED, "in use");
  assert_int_equal (fail_prefix (&err, "extent %d", 3), -1);
  assert_int_equal (fail_prefix (&err, "%s", "a\nb.vmdk"), -1);
  assert_int_equal (err.kind, ERR_LOCKED);
  assert_int_equal (err.errnum, EBUSY);
  assert_string_equal (err.text, "a\\x0ab.vmdk: extent 3: in use");
}

static void
test_escape (void **state)
{
  static const struct {
    const char *raw, *escaped;
  } cases[] = {
    { "", "" },
    { "plain text ~", "plain text ~" },
    { "a\nb\rc\td", "a\\x0ab\\x0dc\\x09d" },
    { "\033[2J", "\\x1b[2J" },
    { "\x7f", "\\x7f" },
    { "\x01\x1f\x20", "\\x01\\x1f " },
    { "\xc3\xa4\xe2\x82\xac", "\xc3\xa4\xe2\x82\xac" }, /* letters stay */
    { "\xc2\x9b"
      "31m",
      "\\xc2\\x9b31m" },        /* C1: a terminal's other ESC [ */
    { "\xc2\xa0", "\xc2\xa0" }, /* just above C1 */
    { "\xc2", "\xc2" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[64];

    text_escape (text, sizeof text, cases[i].raw);
    assert_string_equal (text, cases[i].escaped);
  }
}

/* What does not fit is cut, never in the middle of an escape. */
static void
test_escape_cut (void **state)
{
  char text[8];

  (void) state;
  text_escape (text, sizeof text, "12345678");
  assert_string_equal (text, "1234567");
  text_escape (text, sizeof text, "123\n5");
  assert_string_equal (text, "123\\x0a");
  text_escape (text, sizeof text, "1234\n5");
  assert_string_equal (text, "1234");
  text_escape (text, 1, "x");
  assert_string_equal (text, "");
  text[0] = 'k';
  text_escape (text, 0, "x");
  assert_int_equal (text[0], 'k');
}

static void
test_long_texts (void **state)
{
  char name[5000];
  struct vmdk_error err;

  (void) state;
  memset (name, 'n', sizeof name - 1);
  name[sizeof name - 1] = '\0';

  fail (&err, ERR_CORRUPT, "%s", name);
  assert_int_equal (strlen (err.text), ERROR_TEXT_SIZE - 1);
  fail_prefix (&err, "%s", name);
  fail_errno (&err, EIO, "%s", name);
  assert_in_range (strlen (err.text), 1, ERROR_TEXT_SIZE - 1);

  memset (name, '\n', sizeof name - 1);
  fail (&err, ERR_CORRUPT, "%s", name);
  assert_in_range (strlen (err.text), 1, ERROR_TEXT_SIZE - 1);
  assert_null (strchr (err.text, '\n'));
}

static void
test_names (void **state)
{
  char name[4097];

  (void) state;
  assert_string_equal (NAME (""), "");
  assert_string_equal (NAME ("disk.vmdk"), "disk.vmdk");

  /* The longest that is left alone, and one that is cut in the middle. */
  memset (name, 'a', sizeof name);
  name[NAME_TEXT_SIZE - 1] = '\0';
  assert_string_equal (NAME (name), name);

  memset (name, 'a', sizeof name);
  memcpy (name + 4086, "-flat.vmdk", 11);
  assert_int_equal (strlen (name), 4096);
  assert_in_range (strlen (NAME (name)), 100, NAME_TEXT_SIZE - 1);
  assert_non_null (strstr (NAME (name), "aaa...aaa"));
  assert_string_equal (NAME (name) + strlen (NAME (name)) - 10, "-flat.vmdk");
}

/* -- The log ------------------------------------------------------------ */

struct heard {
  enum log_topic topic, wanted;
  unsigned count;
  char text[ERROR_TEXT_SIZE];
};

static void
hear (void *opaque, enum log_topic topic, const char *text)
{
  struct heard *heard = opaque;

  heard->topic = topic;
  heard->count++;
  snprintf (heard->text, sizeof heard->text, "%s", text);
}

static bool
wants (void *opaque, enum log_topic topic)
{
  const struct heard *heard = opaque;

  return topic == LOG_WARNING || topic == heard->wanted;
}

static void
test_log (void **state)
{
  struct heard heard = { .wanted = LOG_TABLES };
  struct vmdk_log log = { .sink = hear, .wants = wants, .opaque = &heard };
  const struct vmdk_log nobody = { 0 };

  (void) state;
  log_warning (&log, "%s", "a\nb");
  assert_int_equal (heard.count, 1);
  assert_int_equal (heard.topic, LOG_WARNING);
  assert_string_equal (heard.text, "a\\x0ab");

  log_debug (&log, LOG_GRAINS, "grain %d", 5);
  assert_int_equal (heard.count, 1);
  log_debug (&log, LOG_TABLES, "table %d", 5);
  assert_int_equal (heard.count, 2);
  assert_int_equal (heard.topic, LOG_TABLES);
  assert_string_equal (heard.text, "table 5");

  log.wants = NULL; /* then everything is wanted */
  log_debug (&log, LOG_GRAINS, "grain %d", 6);
  assert_int_equal (heard.count, 3);

  log_warning (&nobody, "unheard");
  log_debug (&nobody, LOG_OPEN, "unheard");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_kinds),      cmocka_unit_test (test_errno),
    cmocka_unit_test (test_prefix),     cmocka_unit_test (test_escape),
    cmocka_unit_test (test_escape_cut), cmocka_unit_test (test_long_texts),
    cmocka_unit_test (test_names),      cmocka_unit_test (test_log),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
