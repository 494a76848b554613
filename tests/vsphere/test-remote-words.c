/* SPDX-License-Identifier: BSD-3-Clause */

/* The words that name a server: which are known, what is wrong with others,
 * and where secrets come from and do not stay.
 */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "remote-words.h"

static int
add (struct remote_words *words, const char *word, struct vmdk_error *err)
{
  char copy[5000];

  assert_true (strlen (word) < sizeof copy);
  strcpy (copy, word);
  return remote_words_add (words, copy, err);
}

static void
known (void **state)
{
  (void) state;
  assert_true (remote_word_is_known ("server="));
  assert_true (remote_word_is_known ("vm=moref=vm-57"));
  assert_true (remote_word_is_known ("vimapiver=6.7"));
  assert_false (remote_word_is_known ("server"));
  assert_false (remote_word_is_known ("serverx=1"));
  assert_false (remote_word_is_known ("file=x"));
  assert_false (remote_word_is_known ("=x"));
  assert_false (remote_word_is_known ("[ds1] server=x.vmdk"));
}

static void
taken (void **state)
{
  struct remote_words words = REMOTE_WORDS_DEFAULT;
  const struct remote_settings *s = &words.settings;
  static const char *const all[] = {
    "server=h",         "user=u",
    "password=p",       "vm=path=DC0/vm/a=b",
    "port=8443",        "nfchostport=903",
    "insecure=yes",     "transports=nbd:https",
    "compression=none", "snapshot=temporary",
    "quiesce=TRUE",     "prepare=require",
    "identity=me",      "single-link=1",
    "libdir=/x",        "unbuffered=true",
  };
  struct vmdk_error err;

  (void) state;
  assert_int_equal (s->prepare_seconds, 600);
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    assert_int_equal (add (&words, all[i], &err), 0);
  assert_int_equal (add (&words, "prepare-timeout=7", &err), 0);
  assert_int_equal (remote_words_check (&words, &err), 0);
  assert_string_equal (s->server, "h");
  assert_string_equal (s->password, "p");
  assert_string_equal (s->vm, "path=DC0/vm/a=b");
  assert_int_equal (s->port, 8443);
  assert_int_equal (s->nfc_port, 903);
  assert_true (s->insecure && s->quiesce && s->single_link);
  assert_int_equal (s->prepare, REMOTE_REQUIRE);
  assert_int_equal (s->prepare_seconds, 7);
  remote_words_reset (&words);
  assert_null (s->server);
  assert_null (s->password);
}

static void
refused (void **state)
{
  static const struct {
    const char *word, *error;
  } cases[] = {
    { "server=", "server= is empty" },
    { "user=b", "user= was given more than once" },
    { "port=0", "port=0 is no port" },
    { "port=65536", "port=65536 is no number from 0 to 65535" },
    { "port=-1", "port=-1 is no number" },
    { "port=", "port= is no number" },
    { "port=1x", "port=1x is no number" },
    { "nfchostport=99999999999999999999999", "is no number" },
    { "prepare-timeout=999999999", "is no number from 0 to 604800" },
    { "insecure=maybe", "insecure=maybe is not true or false" },
    { "prepare=never", "prepare=never is not require, try or off" },
    { "password=+/nonexistent/file", "password=+/nonexistent/file: cannot" },
    { "password=-x", "password=-x" },
    { "cookie=+/dev/null", "cookie= is empty" },
    { "colour=red", "'colour=red' is about no server" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct remote_words words = REMOTE_WORDS_DEFAULT;
    struct vmdk_error err = { 0 };

    assert_int_equal (add (&words, "user=a", &err), 0);
    assert_int_equal (add (&words, cases[i].word, &err), -1);
    assert_non_null (strstr (err.text, cases[i].error));
    remote_words_reset (&words);
  }
}

static void
together (void **state)
{
  static const struct {
    const char *words[5], *error;
  } cases[] = {
    { { "user=u", "password=p" }, "server= is missing" },
    { { "server=h" }, "user= is missing" },
    { { "server=h", "user=u" }, "password= is missing" },
    { { "server=h", "password=p" }, "user= is missing" },
    { { "server=h", "cookie=c", "quiesce=true" },
      "quiesce=true needs snapshot=temporary" },
    { { "server=h", "cookie=c", "quiesce=true", "snapshot=snapshot-1" },
      "quiesce=true needs snapshot=temporary" },
    { { "server=h", "cookie=c", "insecure=true", "thumbprint=AA" },
      "insecure=true excludes" },
    { { "server=h", "cookie=c" }, NULL },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct remote_words words = REMOTE_WORDS_DEFAULT;
    struct vmdk_error err = { 0 };

    for (size_t j = 0; cases[i].words[j]; j++)
      assert_int_equal (add (&words, cases[i].words[j], &err), 0);
    assert_int_equal (remote_words_check (&words, &err),
                      cases[i].error ? -1 : 0);
    if (cases[i].error)
      assert_non_null (strstr (err.text, cases[i].error));
    remote_words_reset (&words);
  }
}

static void
blanked (void **state)
{
  struct remote_words words = REMOTE_WORDS_DEFAULT;
  char word[] = "password=secret";
  struct vmdk_error err;

  (void) state;
  assert_int_equal (remote_words_add (&words, word, &err), 0);
  assert_string_equal (words.settings.password, "secret");
  assert_string_equal (word, "password=xxxxxx");
  remote_words_reset (&words);
}

/* Of a file and a file descriptor the first line, whatever follows. */
static void
elsewhere (void **state)
{
  static const struct {
    const char *text, *secret; /* NULL: refused */
    size_t len;                /* 0: that of the text */
  } cases[] = {
    { "secret\nmore\n", "secret", 0 },
    { " se cret", " se cret", 0 },
    { "\nsecret", NULL, 0 },
    { "sec\0ret\n", NULL, 8 },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct remote_words words = REMOTE_WORDS_DEFAULT;
    struct vmdk_error err;
    const size_t len = cases[i].len ? cases[i].len : strlen (cases[i].text);
    char word[32];
    int fds[2];

    assert_int_equal (pipe (fds), 0);
    assert_int_equal (write (fds[1], cases[i].text, len), (ssize_t) len);
    close (fds[1]);
    snprintf (word, sizeof word, "password=-%d", fds[0]);
    assert_int_equal (remote_words_add (&words, word, &err),
                      cases[i].secret ? 0 : -1);
    if (cases[i].secret)
      assert_string_equal (words.settings.password, cases[i].secret);
    remote_words_reset (&words);
  }
}

static void
too_long (void **state)
{
  struct remote_words words = REMOTE_WORDS_DEFAULT;
  char word[5000] = "password=";
  struct vmdk_error err;

  (void) state;
  memset (word + 9, 'y', 4097);
  assert_int_equal (add (&words, word, &err), -1);
  assert_non_null (strstr (err.text, "password= is too long"));
  assert_null (strstr (err.text, "yy"));
  remote_words_reset (&words);
}

/* For who has read the value already. */
static void
set (void **state)
{
  struct remote_words words = REMOTE_WORDS_DEFAULT;
  struct vmdk_error err;

  (void) state;
  assert_int_equal (remote_words_set (&words, "config", "/a=b", &err), 0);
  assert_int_equal (remote_words_set (&words, "insecure", "on", &err), 0);
  assert_false (words.meant);
  assert_int_equal (remote_words_set (&words, "password", "+/x", &err), 0);
  assert_true (words.meant);
  assert_string_equal (words.settings.password, "+/x");
  assert_string_equal (words.settings.config, "/a=b");
  assert_int_equal (remote_words_set (&words, "port", "x", &err), -1);
  assert_string_equal (err.text, "port=x is no number from 0 to 65535");
  assert_int_equal (remote_words_set (&words, "server=x", "y", &err), -1);
  assert_string_equal (err.text, "'server=x' is about no server");
  remote_words_reset (&words);
}

static void
kinds (void **state)
{
  size_t nr_secrets = 0, nr_paths = 0, i;

  (void) state;
  for (i = 0; remote_word_key (i); i++) {
    const enum remote_word_kind kind = remote_word_kind (remote_word_key (i));

    assert_true (kind != REMOTE_WORD_NONE);
    nr_secrets += kind == REMOTE_WORD_SECRET;
    nr_paths += kind == REMOTE_WORD_PATH;
  }
  assert_int_equal (nr_secrets, 2);
  assert_int_equal (nr_paths, 2);
  assert_true (i > 20);
  assert_int_equal (remote_word_kind ("file"), REMOTE_WORD_NONE);
  assert_int_equal (remote_word_kind ("passwor"), REMOTE_WORD_NONE);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (known),    cmocka_unit_test (taken),
    cmocka_unit_test (refused),  cmocka_unit_test (together),
    cmocka_unit_test (blanked),  cmocka_unit_test (elsewhere),
    cmocka_unit_test (too_long), cmocka_unit_test (set),
    cmocka_unit_test (kinds),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
