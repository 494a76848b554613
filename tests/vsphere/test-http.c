/* SPDX-License-Identifier: BSD-3-Clause */

/* Ranges over HTTP, and files put there: what a good server does, and what
 * becomes of everything else.
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
  static const enum trick tricks[] = { BUSY, CUT, SILENT_END, GARBAGE,
                                       LONG_HEADER };
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
    { BROKEN, 1, EIO,
      "cannot read it: HTTP status 500 (Sorry Failed to lock the file); a "
      "disk" },
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
    { BROKEN, ERR_SYSTEM, "500 (Sorry Failed to lock the file); a disk" },
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

/* -- Files that are put there ------------------------------------------- */

#define PUT_SIZE (2 * 1024 * 1024 + 77) /* more than libcurl sends unasked */

static uint8_t more_bytes[PUT_SIZE];

static struct media *
upload_new (size_t size)
{
  struct vmdk_error err;
  struct media *media;

  for (size_t i = 0; i < PUT_SIZE; i++)
    more_bytes[i] = (uint8_t) (i * 13 ^ i >> 7 ^ i >> 15);
  media = media_memory_new ("upload", more_bytes, size, &err);
  assert_non_null (media);
  return media;
}

/* A pool whose server behaves from now on as if nothing had been. */
static struct http_pool *
put_pool (struct plan *plan)
{
  struct http_settings s = settings ();
  struct vmdk_error err;
  struct http_pool *pool = http_pool_new (&s, &err);

  assert_non_null (pool);
  web.nr_requests = web.nr_puts = web.nr_cuts = 0;
  web_forget_put (&web);
  web.trick = plan ? by_plan : NULL;
  web.opaque = plan;
  return pool;
}

struct told {
  uint64_t done, total, stop_at;
  unsigned calls;
};

static bool
tell (void *opaque, uint64_t done, uint64_t total)
{
  struct told *told = opaque;

  told->calls++;
  told->done = done;
  told->total = total;
  return done < told->stop_at;
}

static void
put_file (void **state)
{
  static const size_t sizes[] = { 0, 1, 70000, PUT_SIZE };
  const unsigned connections = web.nr_connections;
  struct http_pool *pool = put_pool (NULL);
  struct vmdk_error err;
  uint8_t buf[100];

  (void) state;
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    struct told told = { .stop_at = UINT64_MAX };
    struct media *media = upload_new (sizes[i]);

    assert_int_equal (http_write (pool, "/y?z", media, tell, &told, &err), 0);
    assert_int_equal (web.nr_puts, i + 1);
    assert_true (web_was_put (&web, more_bytes, sizes[i]));
    assert_int_equal (told.done, sizes[i]);
    assert_int_equal (told.total, sizes[i]);
    assert_non_null (strstr (web.last_request, "PUT /y?z HTTP/1.1\r\n"));
    assert_null (strstr (web.last_request, "Range:"));
    media_close (media);
  }
  /* the connection reads again as before */
  assert_int_equal (http_read (pool, "/x", buf, 100, 10, SIZE, &err), 0);
  assert_memory_equal (buf, bytes + 10, 100);
  assert_non_null (strstr (web.last_request, "Range: bytes=10-109\r\n"));
  assert_int_equal (web.nr_connections, connections + 1);
  http_pool_free (pool);
}

/* What was dropped is sent again from its beginning. */
static void
put_goes_on_after (void **state)
{
  static const struct {
    size_t cut; /* SIZE_MAX: none */
    struct plan plan;
    unsigned puts;
  } cases[] = {
    { 0, { GOOD, 0 }, 3 },        { 100000, { GOOD, 0 }, 3 },
    { PUT_SIZE, { GOOD, 0 }, 3 }, /* arrived, and was not answered */
    { SIZE_MAX, { BUSY, 2 }, 3 }, { SIZE_MAX, { GARBAGE, 1 }, 2 },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct plan plan = cases[i].plan;
    struct http_pool *pool = put_pool (&plan);
    struct media *media = upload_new (PUT_SIZE);
    struct vmdk_error err = { 0 };

    if (cases[i].cut != SIZE_MAX) {
      web.cut = cases[i].cut;
      web.nr_cuts = 2;
    }
    assert_int_equal (http_write (pool, "/y", media, NULL, NULL, &err), 0);
    assert_int_equal (web.nr_puts, cases[i].puts);
    assert_int_equal (web.nr_requests, /* what was dropped got no answer */
                      cases[i].puts - (cases[i].cut != SIZE_MAX ? 2 : 0));
    assert_true (web_was_put (&web, more_bytes, PUT_SIZE));
    media_close (media);
    http_pool_free (pool);
  }
  web.trick = NULL;
}

static void
put_fails_in_the_end (void **state)
{
  static const struct {
    unsigned cuts;
    enum trick trick;
    unsigned puts; /* until it is given up */
    enum vmdk_error_kind kind;
    const char *text;
  } cases[] = {
    { 100, GOOD, 6, ERR_SYSTEM, "given up after 6 tries: 127.0.0.1:" },
    { 0, SILENT_END, 6, ERR_SYSTEM, "given up after 6 tries: 127.0.0.1:" },
    { 0, BUSY, 6, ERR_SYSTEM, "is too busy (HTTP status 503)" },
    { 0, BROKEN, 1, ERR_SYSTEM, "cannot write it: HTTP status 500 (Sorry" },
    { 0, REFUSED, 1, ERR_DENIED,
      "needs the privilege Datastore.FileManagement" },
    { 0, REDIRECT, 1, ERR_SYSTEM, "HTTP status 302" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct plan plan = { cases[i].trick, UINT32_MAX };
    struct http_pool *pool = put_pool (&plan);
    struct media *media = upload_new (PUT_SIZE);
    struct vmdk_error err = { 0 };

    web.cut = 1000000;
    web.nr_cuts = cases[i].cuts;
    assert_int_equal (http_write (pool, "/y", media, NULL, NULL, &err), -1);
    assert_int_equal (web.nr_puts, cases[i].puts);
    assert_int_equal (web.nr_requests, cases[i].cuts ? 0 : cases[i].puts);
    assert_int_equal (err.kind, cases[i].kind);
    assert_non_null (strstr (err.text, cases[i].text));
    media_close (media);
    http_pool_free (pool);
  }
  web.trick = NULL;
  web.nr_cuts = 0;
}

static int
read_badly (struct media *media, void *buf, size_t count, uint64_t offset,
            struct vmdk_error *err)
{
  (void) media;
  memset (buf, 0, count);
  return offset + count > 100000
           ? fail (err, ERR_DAMAGED, "the grain is damaged")
           : 0;
}

/* It is no use to send again what cannot be read, or is not wanted. */
static void
put_ends_with_its_source (void **state)
{
  static const struct media_ops ops = { .pread = read_badly };
  struct media bad = { .ops = &ops, .name = "bad", .size = PUT_SIZE };
  struct media *media = upload_new (PUT_SIZE);
  struct told told = { .stop_at = 100000 };
  struct http_pool *pool = put_pool (NULL);
  struct vmdk_error err = { 0 };

  (void) state;
  assert_int_equal (http_write (pool, "/y", &bad, NULL, NULL, &err), -1);
  assert_int_equal (err.kind, ERR_DAMAGED);
  assert_string_equal (err.text, "the grain is damaged");
  assert_int_equal (http_write (pool, "/y", media, tell, &told, &err), -1);
  assert_int_equal (err.errnum, ECANCELED);
  assert_in_range (told.done, 100000, PUT_SIZE - 1);
  assert_in_range (web.nr_puts, 0, 2);
  media_close (media);
  http_pool_free (pool);
}

static void
put_renews (void **state)
{
  struct session session = { .cookie = "vmware_soap_session=\"old\"" };
  struct http_settings s = settings ();
  struct media *media = upload_new (PUT_SIZE);
  struct vmdk_error err = { 0 };
  struct http_pool *pool;

  (void) state;
  http_pool_free (put_pool (NULL));
  s.login = (struct http_login){ session_cookie, session_renew, &session };
  pool = http_pool_new (&s, &err);
  web.cookie = "vmware_soap_session=\"new\"";
  assert_int_equal (http_write (pool, "/y", media, NULL, NULL, &err), 0);
  assert_int_equal (session.nr_renewed, 1);
  assert_int_equal (web.nr_puts, 2);
  assert_true (web_was_put (&web, more_bytes, PUT_SIZE));
  web.cookie = NULL;
  media_close (media);
  http_pool_free (pool);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (read_range),
    cmocka_unit_test (goes_on_after),
    cmocka_unit_test (fails_in_the_end),
    cmocka_unit_test (stays_inside),
    cmocka_unit_test (size_of_what_is_none),
    cmocka_unit_test (ends_a_stall),
    cmocka_unit_test (renews_once),
    cmocka_unit_test (can_be_stopped),
    cmocka_unit_test (put_file),
    cmocka_unit_test (put_goes_on_after),
    cmocka_unit_test (put_fails_in_the_end),
    cmocka_unit_test (put_renews),
    cmocka_unit_test (put_ends_with_its_source),
  };

  return cmocka_run_group_tests (tests, start, stop);
}
