/* SPDX-License-Identifier: BSD-3-Clause */

/* A fake server (fake_vsphere.py) for the length of a test, and what it saw.
 *
 *   struct fake fake = fake_start ("--esx", NULL);
 *   fake_control (&fake, "{\"switch\": {\"pageSize\": 1}}");
 *   ... fake.port, fake.sha1
 *   assert_int_equal (fake_count (&fake, "\"event\": \"login\""), 1);
 *   fake_stop (&fake);
 *
 * main() begins with fake_require, which skips the program where there is no
 * Python or no openssl.
 */

#ifndef VMDKIT_FAKE_HELPER_H
#define VMDKIT_FAKE_HELPER_H

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>

#include "session.h"

#include <cmocka.h> /* last: it has a macro called fail */

struct fake {
  pid_t pid;
  int input; /* closing it ends the server */
  char folder[64];
  unsigned port;
  char sha1[64], sha256[100];
  struct tls_trust trust;
};

static inline void
fake_require (void)
{
  if (system ("python3 -c 'import ssl, http.server' >/dev/null 2>&1") != 0
      || system ("openssl version >/dev/null 2>&1") != 0) {
    fprintf (stderr, "skipped: python3 and openssl are needed\n");
    exit (77);
  }
}

static inline void
fake_exec (const struct fake *fake, const char *const *more)
{
  const char *folder = getenv ("srcdir");
  const char *arguments[16] = { "python3", NULL, fake->folder };
  char script[512];
  size_t n = 3;

  snprintf (script, sizeof script, "%s/fake_vsphere.py",
            folder ? folder : ".");
  arguments[1] = script;
  while (*more && n < 15)
    arguments[n++] = *more++;
  execvp ("python3", (char **) arguments);
  _exit (127);
}

/* The options end with NULL. */
static inline struct fake
fake_start_with (const char *const *options)
{
  struct fake fake = { .folder = "/tmp/vmdkit-fake-XXXXXX" };
  struct vmdk_error err;
  int in[2], out[2];
  FILE *lines;

  assert_non_null (mkdtemp (fake.folder));
  /* Another server must not hold what ends this one. */
  assert_int_equal (pipe2 (in, O_CLOEXEC), 0);
  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  fake.pid = fork ();
  assert_true (fake.pid >= 0);
  if (fake.pid == 0) {
    dup2 (in[0], 0);
    dup2 (out[1], 1);
    fake_exec (&fake, options);
  }
  close (in[0]);
  close (out[1]);
  fake.input = in[1];
  lines = fdopen (out[0], "r");
  assert_non_null (lines);
  assert_int_equal (
    fscanf (lines, "ready %u %63s %99s", &fake.port, fake.sha1, fake.sha256),
    3);
  fclose (lines);
  assert_int_equal (tls_trust_add (&fake.trust, fake.sha256, &err), 0);
  return fake;
}

#define fake_start(...) fake_start_with ((const char *const[]){ __VA_ARGS__ })

static inline void
fake_stop (struct fake *fake)
{
  char command[128];
  int status;

  close (fake->input);
  assert_int_equal (waitpid (fake->pid, &status, 0), fake->pid);
  snprintf (command, sizeof command, "rm -r %s", fake->folder);
  assert_int_equal (system (command), 0);
}

struct fake_text {
  char *bytes;
  size_t len;
};

static inline size_t
fake_receive (char *bytes, size_t one, size_t count, void *opaque)
{
  struct fake_text *text = opaque;

  (void) one;
  text->bytes = realloc (text->bytes, text->len + count + 1);
  assert_non_null (text->bytes);
  memcpy (text->bytes + text->len, bytes, count);
  text->len += count;
  text->bytes[text->len] = '\0';
  return count;
}

/* POST where BODY is given, else GET; the caller frees what comes back. */
static inline char *
fake_ask (const struct fake *fake, const char *path, const char *body)
{
  CURL *easy = curl_easy_init ();
  struct fake_text text = { 0 };
  long status = 0;
  char url[128];

  snprintf (url, sizeof url, "https://127.0.0.1:%u%s", fake->port, path);
  curl_easy_setopt (easy, CURLOPT_URL, url);
  curl_easy_setopt (easy, CURLOPT_SSL_VERIFYPEER, 0L);
  curl_easy_setopt (easy, CURLOPT_SSL_VERIFYHOST, 0L);
  curl_easy_setopt (easy, CURLOPT_WRITEFUNCTION, fake_receive);
  curl_easy_setopt (easy, CURLOPT_WRITEDATA, &text);
  if (body)
    curl_easy_setopt (easy, CURLOPT_POSTFIELDS, body);
  assert_int_equal (curl_easy_perform (easy), CURLE_OK);
  curl_easy_getinfo (easy, CURLINFO_RESPONSE_CODE, &status);
  assert_int_equal (status, 200);
  curl_easy_cleanup (easy);
  return text.bytes;
}

static inline void
fake_control (const struct fake *fake, const char *json)
{
  free (fake_ask (fake, "/control", json));
}

/* Whether its state has TEXT in it. */
static inline bool
fake_has (const struct fake *fake, const char *text)
{
  char *state = fake_ask (fake, "/state", NULL);
  const bool found = strstr (state, text) != NULL;

  free (state);
  return found;
}

/* The journal; the caller frees it. */
static inline char *
fake_journal (const struct fake *fake)
{
  char path[128];
  char *text = calloc (1, 1 << 20);
  FILE *file;

  snprintf (path, sizeof path, "%s/journal", fake->folder);
  file = fopen (path, "r");
  assert_non_null (file);
  assert_non_null (text);
  assert_true (fread (text, 1, (1 << 20) - 1, file) < (1 << 20) - 1);
  fclose (file);
  return text;
}

/* How many lines of the journal have EVENT for their event. */
static inline size_t
fake_count (const struct fake *fake, const char *event)
{
  char *text = fake_journal (fake), wanted[64];
  size_t count = 0;

  snprintf (wanted, sizeof wanted, "\"event\": \"%s\"", event);
  for (const char *p = text; (p = strstr (p, wanted)); p++)
    count++;
  free (text);
  return count;
}

/* The first of these events comes before the second, and both are there. */
static inline void
fake_assert_order (const struct fake *fake, const char *first,
                   const char *second)
{
  char *text = fake_journal (fake), a[64], b[64];

  snprintf (a, sizeof a, "\"event\": \"%s\"", first);
  snprintf (b, sizeof b, "\"event\": \"%s\"", second);
  assert_non_null (strstr (text, a));
  assert_non_null (strstr (text, b));
  assert_true (strstr (text, a) < strstr (text, b));
  free (text);
}

/* What a session with it is opened with: short pauses, no keeping alive. */
static inline struct session_settings
fake_settings (const struct fake *fake)
{
  return (struct session_settings){
    .soap = { .host = "127.0.0.1",
              .port = fake->port,
              .trust = &fake->trust,
              .retry_ms = 1 },
    .user = "user",
    .password = "pass",
    .keep_alive_seconds = 3600,
    .poll_ms = 1,
  };
}

static inline struct session *
fake_session (const struct fake *fake)
{
  const struct session_settings settings = fake_settings (fake);
  struct vmdk_error err = { 0 };
  struct session *session = session_open (&settings, &err);

  if (!session)
    fail_msg ("%s", err.text);
  return session;
}

#endif /* VMDKIT_FAKE_HELPER_H */
