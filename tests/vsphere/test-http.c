/* SPDX-License-Identifier: BSD-3-Clause */

/* Ranges over HTTP: what a good server gives, and what becomes of everything
 * else.
 */

#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "http.h"
#include "web-helper.h"

#define SIZE 300000

static uint8_t bytes[SIZE];
static const struct web_file file = { NULL, bytes, SIZE };
static struct web web;

static struct http_settings
settings (void)
{
  return (struct http_settings){
    .host = "127.0.0.1",
    .port = web.port,
    .plain_http = true,
    .retry_ms = 1,
    .stall_seconds = 2,
    .connect_seconds = 2,
  };
}

static int
start (void **state)
{
  (void) state;
  for (size_t i = 0; i < SIZE; i++)
    bytes[i] = (uint8_t) (i * 7 ^ i >> 8 ^ i >> 16);
  web_start (&web, &file, 1);
  return 0;
}

static int
stop (void **state)
{
  (void) state;
  web_stop (&web);
  return 0;
}

static void
read_range (void **state)
{
  struct http_settings s = settings ();
  struct vmdk_error err;
  struct http_pool *pool = http_pool_new (&s, &err);
  static uint8_t buf[SIZE];
  uint64_t size;

  (void) state;
  assert_non_null (pool);
  assert_int_equal (http_size (pool, "/x", &size, &err), 0);
  assert_int_equal (size, SIZE);
  assert_int_equal (http_read (pool, "/x", buf, 100, 1000, SIZE, &err), 0);
  assert_memory_equal (buf, bytes + 1000, 100);
  assert_non_null (strstr (web.last_request, "Range: bytes=1000-1099\r\n"));
  assert_int_equal (http_read (pool, "/x", buf, SIZE, 0, SIZE, &err), 0);
  assert_memory_equal (buf, bytes, SIZE);
  assert_int_equal (http_read (pool, "/x", buf, 1, SIZE - 1, SIZE, &err), 0);
  assert_int_equal (buf[0], bytes[SIZE - 1]);
  /* all over one connection */
  assert_int_equal (web.nr_connections, 1);
  http_pool_free (pool);
}

/* The first COUNT requests go wrong in this way. */
struct plan {
  enum trick trick;
  unsigned count;
};

static enum trick
by_plan (void *opaque, unsigned number, const char *target, const char *range)
{
  const struct plan *plan = opaque;

  (void) target;
  (void) range;
  return number < plan->count ? plan->trick : GOOD;
}

/* What passes by itself is waited for; the bytes are the right ones. */
static void
goes_on_after (void **state)
{
  static const enum trick tricks[] = { BUSY,       BROKEN,  CUT,
                                       SILENT_END, GARBAGE, LONG_HEADER };
  static uint8_t buf[100000];

  (void) state;
  for (size_t i = 0; i < sizeof tricks / sizeof tricks[0]; i++) {
    struct plan plan = { tricks[i], 3 };
    struct http_settings s = settings ();
    struct vmdk_error err = { 0 };
    struct http_pool *pool = http_pool_new (&s, &err);

    web.nr_requests = 0;
    web.trick = by_plan;
    web.opaque = &plan;
    memset (buf, 0, sizeof buf);
    assert_int_equal (
      http_read (pool, "/x", buf, sizeof buf, 1234, SIZE, &err), 0);
    assert_memory_equal (buf, bytes + 1234, sizeof buf);
    assert_int_equal (web.nr_requests, 4);
    http_pool_free (pool);
  }
  web.trick = NULL;
}

static void
fails_in_the_end (void **state)
{
  static const struct {
    enum trick trick;
    unsigned requests; /* until it is given up */
    int errnum;
    const char *text;
  } cases[] = {
    { BUSY, 6, EIO, "given up after 6 tries: 127.0.0.1:" },
    { SILENT_END, 6, EIO, "given up after 6 tries" },
    { CUT, 6, EIO, "given up after 6 tries" },
    { REFUSED, 1, EACCES, "needs the privilege Datastore.Browse" },
    { REDIRECT, 1, EIO, "HTTP status 302" },
    { WHOLE, 1, ENOTSUP, "does not give out parts of files" },
    { OTHER_RANGE, 1, EIO, "sent another range than bytes 10 to 109" },
    { OTHER_SIZE, 1, EIO,
      "the file has 300001 bytes now, and had 300000: somebody is writing" },
  };
  uint8_t buf[100];

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct plan plan = { cases[i].trick, UINT32_MAX };
    struct http_settings s = settings ();
    struct vmdk_error err = { 0 };
    struct http_pool *pool = http_pool_new (&s, &err);

    web.nr_requests = 0;
    web.trick = by_plan;
    web.opaque = &plan;
    assert_int_equal (http_read (pool, "/x", buf, sizeof buf, 10, SIZE, &err),
                      -1);
    assert_non_null (strstr (err.text, cases[i].text));
    assert_int_equal (err.errnum, cases[i].errnum);
    assert_int_equal (web.nr_requests, cases[i].requests);
    http_pool_free (pool);
  }
  web.trick = NULL;
}

/* A body that is longer than it should be never leaves the buffer. */
static void
stays_inside (void **state)
{
  struct plan plan = { TOO_MUCH, UINT32_MAX };
  struct http_settings s = settings ();
  struct vmdk_error err = { 0 };
  struct http_pool *pool = http_pool_new (&s, &err);
  uint8_t buf[101];

  (void) state;
  buf[100] = 0x5a;
  web.trick = by_plan;
  web.opaque = &plan;
  assert_int_equal (http_read (pool, "/x", buf, 100, 10, SIZE, &err), -1);
  assert_int_equal (buf[100], 0x5a);
  web.trick = NULL;
  http_pool_free (pool);
}

static void
size_of_what_is_none (void **state)
{
  static const struct {
    enum trick trick;
    enum vmdk_error_kind kind;
    const char *text;
  } cases[] = {
    { FOLDER, ERR_DENIED, "this is a folder, not a file" },
    { NO_LENGTH, ERR_UNSUPPORTED, "does not say how large it is" },
    { REFUSED, ERR_DENIED, "HTTP status 403" },
  };
  uint64_t size;

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct plan plan = { cases[i].trick, UINT32_MAX };
    struct http_settings s = settings ();
    struct vmdk_error err = { 0 };
    struct http_pool *pool = http_pool_new (&s, &err);

    web.trick = by_plan;
    web.opaque = &plan;
    assert_int_equal (http_size (pool, "/x", &size, &err), -1);
    assert_int_equal (err.kind, cases[i].kind);
    assert_non_null (strstr (err.text, cases[i].text));
    http_pool_free (pool);
  }
  web.trick = NULL;
}

/* A server that says nothing more is not waited for without end. */
static void
ends_a_stall (void **state)
{
  struct plan plan = { STALL, 1 };
  struct http_settings s = settings ();
  struct vmdk_error err = { 0 };
  struct http_pool *pool;
  uint8_t buf[100];

  (void) state;
  s.stall_seconds = 1;
  pool = http_pool_new (&s, &err);
  web.nr_requests = 0;
  web.trick = by_plan;
  web.opaque = &plan;
  assert_int_equal (http_read (pool, "/x", buf, 100, 10, SIZE, &err), 0);
  assert_memory_equal (buf, bytes + 10, 100);
  web.trick = NULL;
  http_pool_free (pool);
}

/* -- Sessions ----------------------------------------------------------- */

struct session {
  const char *cookie;
  unsigned generation, nr_renewed;
  bool lost;
};

static char *
session_cookie (void *opaque, unsigned *generation, struct vmdk_error *err)
{
  struct session *session = opaque;

  (void) err;
  *generation = session->generation;
  return strdup (session->cookie);
}

static int
session_renew (void *opaque, unsigned generation, struct vmdk_error *err)
{
  struct session *session = opaque;

  assert_int_equal (generation, session->generation);
  session->nr_renewed++;
  if (session->lost)
    return fail (err, ERR_DENIED, "wrong password");
  session->generation++;
  session->cookie = "vmware_soap_session=\"new\"";
  return 0;
}

static void
renews_once (void **state)
{
  struct session session = { .cookie = "vmware_soap_session=\"old\"" };
  struct http_settings s = settings ();
  struct vmdk_error err = { 0 };
  struct http_pool *pool;
  uint8_t buf[100];

  (void) state;
  s.login = (struct http_login){ session_cookie, session_renew, &session };
  pool = http_pool_new (&s, &err);
  web.cookie = "vmware_soap_session=\"new\"";
  assert_int_equal (http_read (pool, "/x", buf, 100, 10, SIZE, &err), 0);
  assert_memory_equal (buf, bytes + 10, 100);
  assert_int_equal (session.nr_renewed, 1);

  /* a second one that is not taken either is the end */
  web.cookie = "vmware_soap_session=\"another\"";
  assert_int_equal (http_read (pool, "/x", buf, 100, 10, SIZE, &err), -1);
  assert_int_equal (session.nr_renewed, 2);
  assert_int_equal (err.kind, ERR_DENIED);
  assert_non_null (strstr (err.text, "does not know the session"));
  assert_null (strstr (err.text, "new"));

  session.lost = true;
  assert_int_equal (http_read (pool, "/x", buf, 100, 10, SIZE, &err), -1);
  assert_string_equal (err.text, "wrong password");
  http_pool_free (pool);
  web.cookie = NULL;
}

/* -- Stopping ----------------------------------------------------------- */

static void *
stop_soon (void *opaque)
{
  struct http_pool *pool = opaque;

  while (web.nr_requests == 0)
    usleep (1000);
  http_pool_stop (pool);
  return NULL;
}

static void
can_be_stopped (void **state)
{
  struct plan plan = { BUSY, UINT32_MAX };
  struct http_settings s = settings ();
  struct vmdk_error err = { 0 };
  struct http_pool *pool;
  pthread_t thread;
  uint8_t buf[100];

  (void) state;
  s.retry_ms = 3600 * 1000;
  pool = http_pool_new (&s, &err);
  web.nr_requests = 0;
  web.trick = by_plan;
  web.opaque = &plan;
  assert_int_equal (pthread_create (&thread, NULL, stop_soon, pool), 0);
  assert_int_equal (http_read (pool, "/x", buf, 100, 10, SIZE, &err), -1);
  assert_int_equal (err.errnum, ECANCELED);
  pthread_join (thread, NULL);
  web.trick = NULL;
  http_pool_free (pool);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (read_range),           cmocka_unit_test (goes_on_after),
    cmocka_unit_test (fails_in_the_end),     cmocka_unit_test (stays_inside),
    cmocka_unit_test (size_of_what_is_none), cmocka_unit_test (ends_a_stall),
    cmocka_unit_test (renews_once),          cmocka_unit_test (can_be_stopped),
  };

  return cmocka_run_group_tests (tests, start, stop);
}
