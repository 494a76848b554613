/* SPDX-License-Identifier: BSD-3-Clause */

/* Questions over libcurl's easy handles, each used by one thread at a time.
 * See http.h.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "checked.h"
#include "deadline.h"
#include "http.h"

#define MAX_HEADER_BYTES (256 * 1024)
#define MAX_PAUSE_MS 30000

/* A page with an error is read so far, so that the connection can be kept. */
#define MAX_PAGE_BYTES (64 * 1024)

/* So much of it is looked at, and told. */
#define PAGE_SIZE 1024
#define WORDS_SIZE 160

/* Less than this, on the average, is no use to anybody. */
#define MIN_BYTES_PER_SECOND (16 * 1024)

/* After so many answers one more connection is dared again. */
#define ANSWERS_TO_RECOVER 16

struct connection {
  CURL *easy;
  struct tls_check check;
  bool busy;
};

struct http_pool {
  struct http_settings settings;
  char *host; /* owned; as it stands in a URL */

  pthread_mutex_t lock; /* for all below */
  pthread_cond_t changed;
  struct connection *connections;
  unsigned nr_busy, limit;
  unsigned nr_answers; /* since the limit was last changed */
  bool stopped;
};

/* One question: what is asked, and what came. */
struct question {
  struct http_pool *pool;
  const char *target;
  bool head;
  uint8_t *buf;
  size_t count;
  uint64_t offset, size;

  struct media *upload; /* what is sent; NULL: nothing */
  bool (*progress) (void *opaque, uint64_t done, uint64_t total);
  void *opaque;
  uint64_t sent;
  struct vmdk_error failure; /* in reading it */
  bool stopped;              /* by PROGRESS */

  size_t nr_header_bytes, nr_body_bytes;
  long status;
  bool has_length, has_range, is_page, wrong;
  uint64_t length;
  uint64_t first, last, total; /* Content-Range */
  char page[PAGE_SIZE];        /* the beginning of an error's; no NUL */
};

/* --------------------------------------------------------------------- */
/* What libcurl calls. */

static bool
take_number (const char **p, uint64_t *value)
{
  char *end;

  if (**p < '0' || **p > '9')
    return false;
  errno = 0;
  *value = strtoull (*p, &end, 10);
  *p = end;
  return errno == 0;
}

/* "bytes 0-99/100". */
static bool
read_range (struct question *q, const char *p)
{
  return strncasecmp (p, "bytes ", 6) == 0 && (p += 6, true)
         && take_number (&p, &q->first) && *p++ == '-'
         && take_number (&p, &q->last) && *p++ == '/'
         && take_number (&p, &q->total) && strspn (p, " \t") == strlen (p);
}

/* The value behind NAME in a header line, or NULL. */
static const char *
value_of (const char *line, const char *name)
{
  const size_t len = strlen (name);

  if (strncasecmp (line, name, len) != 0 || line[len] != ':')
    return NULL;
  line += len + 1;
  return line + strspn (line, " \t");
}

static void
read_header (struct question *q, const char *line)
{
  const char *value;

  if (strncmp (line, "HTTP/", 5) == 0) {
    q->has_length = q->has_range = q->is_page = false;
    q->status = 0;
    line = strchr (line, ' ');
    q->status = line ? strtol (line, NULL, 10) : 0;
  }
  else if ((value = value_of (line, "Content-Length")))
    q->has_length = take_number (&value, &q->length);
  else if ((value = value_of (line, "Content-Range")))
    q->has_range = read_range (q, value);
  else if ((value = value_of (line, "Content-Type")))
    q->is_page = strncasecmp (value, "text/html", 9) == 0;
}

static size_t
on_header (char *bytes, size_t one, size_t count, void *opaque)
{
  struct question *q = opaque;
  char line[256];
  size_t n = min_u64 (count, sizeof line - 1);

  (void) one;
  q->nr_header_bytes += count;
  if (q->nr_header_bytes > MAX_HEADER_BYTES)
    return 0;
  memcpy (line, bytes, n);
  while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
    n--;
  line[n] = '\0';
  read_header (q, line);
  return count;
}

/* Is it what was asked for?  Asked before the first byte is believed. */
static bool
is_right (const struct question *q)
{
  if (q->status == 206)
    return q->has_range && q->first == q->offset && q->total == q->size
           && q->last - q->first == q->count - 1;
  return q->status == 200 && q->offset == 0 && q->count == q->size;
}

static size_t
on_body (char *bytes, size_t one, size_t count, void *opaque)
{
  struct question *q = opaque;

  (void) one;
  if (!q->upload && q->status >= 200 && q->status < 300) {
    if (!is_right (q) || count > q->count - q->nr_body_bytes) {
      q->wrong = true;
      return 0;
    }
    memcpy (q->buf + q->nr_body_bytes, bytes, count);
  }
  else if (count > MAX_PAGE_BYTES - min_u64 (q->nr_body_bytes, MAX_PAGE_BYTES))
    return 0;
  else if (q->nr_body_bytes < PAGE_SIZE)
    memcpy (q->page + q->nr_body_bytes, bytes,
            min_u64 (count, PAGE_SIZE - q->nr_body_bytes));
  q->nr_body_bytes += count;
  return count;
}

static bool
is_stopped (struct http_pool *pool)
{
  LOCK_FOR_SCOPE (&pool->lock);
  return pool->stopped;
}

static size_t
on_upload (char *buf, size_t one, size_t count, void *opaque)
{
  struct question *q = opaque;
  const size_t n = min_u64 (one * count, q->upload->size - q->sent);

  if (n > 0 && media_pread (q->upload, buf, n, q->sent, &q->failure) == -1)
    return CURL_READFUNC_ABORT;
  q->sent += n;
  if (q->progress && !q->progress (q->opaque, q->sent, q->upload->size)) {
    q->stopped = true;
    return CURL_READFUNC_ABORT;
  }
  return n;
}

/* libcurl found that it has to begin again. */
static int
on_seek (void *opaque, curl_off_t offset, int origin)
{
  struct question *q = opaque;

  if (origin != SEEK_SET || offset < 0 || (uint64_t) offset > q->upload->size)
    return CURL_SEEKFUNC_FAIL;
  q->sent = (uint64_t) offset;
  return CURL_SEEKFUNC_OK;
}

static int
on_progress (void *opaque, curl_off_t a, curl_off_t b, curl_off_t c,
             curl_off_t d)
{
  const struct question *q = opaque;

  (void) a, (void) b, (void) c, (void) d;
  return is_stopped (q->pool);
}

/* --------------------------------------------------------------------- */
/* Connections. */

static bool
set_up (CURL *easy, const struct http_settings *s)
{
  const char *protocol = s->plain_http ? "http" : "https";
  CURLcode r = CURLE_OK;

#if LIBCURL_VERSION_NUM >= 0x075500
  r |= curl_easy_setopt (easy, CURLOPT_PROTOCOLS_STR, protocol);
#else
  (void) protocol;
  r |= curl_easy_setopt (easy, CURLOPT_PROTOCOLS,
                         s->plain_http ? CURLPROTO_HTTP : CURLPROTO_HTTPS);
#endif
  r |= curl_easy_setopt (easy, CURLOPT_FOLLOWLOCATION, 0L);
  r |= curl_easy_setopt (easy, CURLOPT_NOSIGNAL, 1L);
  r |= curl_easy_setopt (easy, CURLOPT_HTTP09_ALLOWED, 0L);
  r |= curl_easy_setopt (easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  r |= curl_easy_setopt (easy, CURLOPT_TCP_KEEPALIVE, 1L);
  r |= curl_easy_setopt (easy, CURLOPT_BUFFERSIZE, 512 * 1024L);
  r |= curl_easy_setopt (easy, CURLOPT_USERAGENT, "vmdkit/" PACKAGE_VERSION);
  r |=
    curl_easy_setopt (easy, CURLOPT_CONNECTTIMEOUT, (long) s->connect_seconds);
  r |= curl_easy_setopt (easy, CURLOPT_LOW_SPEED_LIMIT, 1024L);
  r |=
    curl_easy_setopt (easy, CURLOPT_LOW_SPEED_TIME, (long) s->stall_seconds);
  r |= curl_easy_setopt (easy, CURLOPT_HEADERFUNCTION, on_header);
  r |= curl_easy_setopt (easy, CURLOPT_WRITEFUNCTION, on_body);
  r |= curl_easy_setopt (easy, CURLOPT_XFERINFOFUNCTION, on_progress);
  r |= curl_easy_setopt (easy, CURLOPT_NOPROGRESS, 0L);
  return r == CURLE_OK;
}

static int
connection_start (struct connection *c, const struct http_settings *s,
                  struct vmdk_error *err)
{
  if (c->easy)
    return 0;
  c->easy = curl_easy_init ();
  if (!c->easy)
    return fail_memory (err);
  c->check.trust = s->trust;
  if (!set_up (c->easy, s))
    return fail (err, ERR_SYSTEM, "libcurl refuses to be set up");
  return s->plain_http ? 0 : tls_curl_setup (c->easy, &c->check, err);
}

static int
fail_stopped (struct vmdk_error *err)
{
  fail (err, ERR_SYSTEM, "the connection is being closed");
  err->errnum = ECANCELED;
  return -1;
}

static struct connection *
connection_take (struct http_pool *pool, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&pool->lock);

  while (!pool->stopped && pool->nr_busy >= pool->limit)
    pthread_cond_wait (&pool->changed, &pool->lock);
  if (pool->stopped) {
    fail_stopped (err);
    return NULL;
  }
  for (unsigned i = 0; i < pool->settings.nr_connections; i++) {
    struct connection *c = &pool->connections[i];

    if (c->busy)
      continue;
    if (connection_start (c, &pool->settings, err) == -1)
      return NULL;
    c->busy = true;
    pool->nr_busy++;
    return c;
  }
  fail (err, ERR_SYSTEM, "no connection is left");
  return NULL;
}

static void
connection_give_back (struct http_pool *pool, struct connection *c)
{
  LOCK_FOR_SCOPE (&pool->lock);

  c->busy = false;
  pool->nr_busy--;
  pthread_cond_broadcast (&pool->changed);
}

/* The server has too much to do, or copes. */
static void
adapt (struct http_pool *pool, bool too_much)
{
  LOCK_FOR_SCOPE (&pool->lock);

  if (too_much) {
    pool->limit = pool->limit > 1 ? pool->limit / 2 : 1;
    pool->nr_answers = 0;
  }
  else if (pool->limit < pool->settings.nr_connections
           && ++pool->nr_answers >= ANSWERS_TO_RECOVER) {
    pool->limit++;
    pool->nr_answers = 0;
    pthread_cond_broadcast (&pool->changed);
  }
}

/* --------------------------------------------------------------------- */
/* One question, once. */

static void
wipe_free (char *secret)
{
  explicit_bzero (secret, strlen (secret));
  free (secret);
}
DEFINE_CLEANUP (cookie, char *, wipe_free)

static CURLcode
set_upload (CURL *easy, struct question *q)
{
  CURLcode r = CURLE_OK;

  if (!q->upload)
    return r;
  r |= curl_easy_setopt (easy, CURLOPT_UPLOAD, 1L);
  r |= curl_easy_setopt (easy, CURLOPT_INFILESIZE_LARGE,
                         (curl_off_t) q->upload->size);
  r |= curl_easy_setopt (easy, CURLOPT_READFUNCTION, on_upload);
  r |= curl_easy_setopt (easy, CURLOPT_READDATA, q);
  r |= curl_easy_setopt (easy, CURLOPT_SEEKFUNCTION, on_seek);
  r |= curl_easy_setopt (easy, CURLOPT_SEEKDATA, q);
  return r;
}

static CURLcode
ask_with (struct connection *c, struct question *q, const char *url,
          const char *cookie, bool fresh)
{
  const long seconds =
    (long) q->pool->settings.stall_seconds
    + (long) ((q->upload ? q->upload->size : q->count) / MIN_BYTES_PER_SECOND);
  char range[64];
  CURLcode r = CURLE_OK;

  snprintf (range, sizeof range, "%" PRIu64 "-%" PRIu64, q->offset,
            q->offset + q->count - 1);
  r |= curl_easy_setopt (c->easy, CURLOPT_URL, url);
  r |= curl_easy_setopt (c->easy, CURLOPT_COOKIE, cookie);
  r |= curl_easy_setopt (c->easy, CURLOPT_HTTPGET, 1L); /* no upload */
  r |= curl_easy_setopt (c->easy, CURLOPT_NOBODY, (long) q->head);
  r |= curl_easy_setopt (c->easy, CURLOPT_RANGE,
                         q->head || q->upload ? NULL : range);
  r |= set_upload (c->easy, q);
  r |= curl_easy_setopt (c->easy, CURLOPT_TIMEOUT, seconds);
  r |= curl_easy_setopt (c->easy, CURLOPT_FRESH_CONNECT, (long) fresh);
  r |= curl_easy_setopt (c->easy, CURLOPT_HEADERDATA, q);
  r |= curl_easy_setopt (c->easy, CURLOPT_WRITEDATA, q);
  r |= curl_easy_setopt (c->easy, CURLOPT_XFERINFODATA, q);
  if (r == CURLE_OK)
    r = curl_easy_perform (c->easy);
  curl_easy_setopt (c->easy, CURLOPT_COOKIE, NULL);
  return r;
}

enum answer {
  ANSWER_GOOD,
  ANSWER_FINAL,   /* *err is set, and asking again is no use */
  ANSWER_AGAIN,   /* *err is set */
  ANSWER_BUSY,    /* the same; the server asks for patience */
  ANSWER_EXPIRED, /* *err is set */
};

static enum answer
no_answer (const struct http_pool *pool, const struct connection *c,
           CURLcode r, struct vmdk_error *err)
{
  if (c->check.refusal.kind != ERR_NONE) {
    *err = c->check.refusal;
    fail_prefix (err, "%s", NAME (pool->host));
    return ANSWER_FINAL;
  }
  fail (err, ERR_SYSTEM, "%s: %s", NAME (pool->host), curl_easy_strerror (r));
  err->errnum = r == CURLE_OPERATION_TIMEDOUT ? ETIMEDOUT : EIO;
  return ANSWER_AGAIN;
}

static enum answer
wrong_answer (const struct question *q, struct vmdk_error *err)
{
  if (q->status == 206 && q->has_range && q->total != q->size)
    fail (err, ERR_DAMAGED,
          "the file has %" PRIu64 " bytes now, and had %" PRIu64
          ": somebody is writing to it",
          q->total, q->size);
  else if (q->status == 200)
    fail (err, ERR_UNSUPPORTED,
          "%s does not give out parts of files (HTTP status 200 for a range)",
          NAME (q->pool->host));
  else
    fail (err, ERR_DAMAGED,
          "%s sent another range than bytes %" PRIu64 " to %" PRIu64,
          NAME (q->pool->host), q->offset, q->offset + q->count - 1);
  return ANSWER_FINAL;
}

/* What the server's page says, on a line, without its tags: " (...)" or "". */
static void
page_words (const struct question *q, char words[WORDS_SIZE])
{
  const size_t len = min_u64 (q->nr_body_bytes, PAGE_SIZE);
  size_t n = 0;
  bool in_tag = false, space = false;

  for (size_t i = 0; i < len && n < WORDS_SIZE - 5; i++) {
    const unsigned char c = (unsigned char) q->page[i];

    if (c == '<')
      in_tag = true;
    if (in_tag || c <= ' ') {
      in_tag = in_tag && c != '>';
      space = true;
      continue;
    }
    if (n == 0)
      n = (size_t) snprintf (words, WORDS_SIZE, " (");
    else if (space)
      words[n++] = ' ';
    space = false;
    words[n++] = (char) c;
  }
  snprintf (words + n, WORDS_SIZE - n, "%s", n ? ")" : "");
}

/* A server that cannot read a file says so like one that fails.  It had time
 * to think, and would say the same again.
 */
static enum answer
refused_file (const struct question *q, struct vmdk_error *err)
{
  char words[WORDS_SIZE];

  page_words (q, words);
  fail (err, ERR_SYSTEM,
        "%s cannot %s it: HTTP status 500%s; a disk that a running machine "
        "uses, for one, is locked",
        NAME (q->pool->host), q->upload ? "write" : "read", NAME (words));
  err->errnum = EIO;
  return ANSWER_FINAL;
}

static enum answer
bad_status (const struct question *q, struct vmdk_error *err)
{
  const char *host = q->pool->host;

  switch (q->status) {
  case 401:
    fail (err, ERR_DENIED, "%s does not know the session (HTTP status 401)",
          NAME (host));
    return ANSWER_EXPIRED;
  case 403:
    fail (err, ERR_DENIED,
          "%s refuses it (HTTP status 403): the user needs the privilege "
          "Datastore.%s",
          NAME (host), q->upload ? "FileManagement" : "Browse");
    return ANSWER_FINAL;
  case 404:
    fail (err, ERR_MISSING, "no such file on %s", NAME (host));
    return ANSWER_FINAL;
  case 429:
  case 503:
    fail (err, ERR_SYSTEM, "%s is too busy (HTTP status %ld)", NAME (host),
          q->status);
    err->errnum = EIO;
    return ANSWER_BUSY;
  case 500:
    return refused_file (q, err);
  case 408:
  case 502:
  case 504:
    fail (err, ERR_SYSTEM, "HTTP status %ld from %s", q->status, NAME (host));
    err->errnum = EIO;
    return ANSWER_AGAIN;
  }
  fail (err, ERR_SYSTEM, "HTTP status %ld from %s", q->status, NAME (host));
  err->errnum = EIO;
  return ANSWER_FINAL;
}

static enum answer
judge (struct question *q, const struct connection *c, CURLcode r,
       struct vmdk_error *err)
{
  if (r == CURLE_ABORTED_BY_CALLBACK && is_stopped (q->pool)) {
    fail_stopped (err);
    return ANSWER_FINAL;
  }
  if (q->failure.kind != ERR_NONE) {
    *err = q->failure;
    return ANSWER_FINAL;
  }
  if (q->stopped) {
    fail (err, ERR_SYSTEM, "stopped");
    err->errnum = ECANCELED;
    return ANSWER_FINAL;
  }
  if (q->wrong)
    return wrong_answer (q, err);
  if (r != CURLE_OK
      && !((r == CURLE_WRITE_ERROR || q->upload) && q->status >= 300))
    return no_answer (q->pool, c, r, err);
  if (q->status < 200 || q->status >= 300)
    return bad_status (q, err);
  if (q->head || (q->upload && q->sent == q->upload->size))
    return ANSWER_GOOD;
  if (q->upload) {
    fail (err, ERR_SYSTEM, "%s took %" PRIu64 " bytes of %" PRIu64,
          NAME (q->pool->host), q->sent, q->upload->size);
    err->errnum = EIO;
    return ANSWER_AGAIN;
  }
  if (!is_right (q))
    return wrong_answer (q, err);
  if (q->nr_body_bytes == q->count)
    return ANSWER_GOOD;
  fail (err, ERR_SYSTEM, "%s sent %zu bytes of %zu", NAME (q->pool->host),
        q->nr_body_bytes, q->count);
  err->errnum = EIO;
  return ANSWER_AGAIN;
}

static enum answer
ask_once (struct question *q, bool fresh, unsigned *generation,
          struct vmdk_error *err)
{
  const struct http_settings *s = &q->pool->settings;
  CLEANUP_FREE char *url = NULL;
  CLEANUP (cookie) char *cookie = NULL;
  struct connection *c;
  enum answer answer;

  if (s->login.cookie) {
    cookie = s->login.cookie (s->login.opaque, generation, err);
    if (!cookie)
      return ANSWER_FINAL;
  }
  if (asprintf (&url, "%s://%s%s", s->plain_http ? "http" : "https",
                q->pool->host, q->target)
      == -1) {
    url = NULL;
    fail_memory (err);
    return ANSWER_FINAL;
  }
  c = connection_take (q->pool, err);
  if (!c)
    return ANSWER_FINAL;
  q->nr_header_bytes = q->nr_body_bytes = 0;
  q->sent = 0;
  q->status = 0;
  q->has_length = q->has_range = q->is_page = q->wrong = false;
  c->check.refusal = (struct vmdk_error){ 0 };
  answer = judge (q, c, ask_with (c, q, url, cookie, fresh), err);
  connection_give_back (q->pool, c);
  return answer;
}

/* --------------------------------------------------------------------- */
/* Again and again. */

/* Sleep, unless the pool is stopped. */
static void
pause_ms (struct http_pool *pool, unsigned ms)
{
  const struct timespec until = deadline_after (ms);
  LOCK_FOR_SCOPE (&pool->lock);

  while (!pool->stopped
         && pthread_cond_timedwait (&pool->changed, &pool->lock, &until)
              != ETIMEDOUT)
    ;
}

/* Twice as long each time, and a little more, so that several who were turned
 * away together do not come back together.
 */
static unsigned
next_pause (unsigned ms)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  ms = min_u64 ((uint64_t) ms * 2, MAX_PAUSE_MS);
  return ms + (unsigned) ((uint64_t) now.tv_nsec / 1000 % (ms / 4 + 1));
}

static int
ask (struct question *q, struct vmdk_error *err)
{
  const struct http_settings *s = &q->pool->settings;
  unsigned retries = 0, ms = s->retry_ms, generation = 0;
  bool renewed = false;

  for (;;) {
    const enum answer answer = ask_once (q, retries > 0, &generation, err);

    if (answer == ANSWER_GOOD) {
      adapt (q->pool, false);
      return 0;
    }
    if (answer == ANSWER_FINAL)
      return -1;
    if (answer == ANSWER_EXPIRED) {
      if (renewed || !s->login.renew
          || s->login.renew (s->login.opaque, generation, err) == -1)
        return -1;
      renewed = true;
      continue;
    }
    if (answer == ANSWER_BUSY)
      adapt (q->pool, true);
    if (retries++ == HTTP_MAX_RETRIES)
      return fail_prefix (err, "given up after %d tries",
                          HTTP_MAX_RETRIES + 1);
    log_debug (&s->log, LOG_OPEN, "%s: asking again in %u ms", err->text, ms);
    pause_ms (q->pool, ms);
    if (is_stopped (q->pool))
      return fail_stopped (err);
    ms = next_pause (ms);
  }
}

/* The answer to a question for the head has no words in it. */
static void
ask_why (struct http_pool *pool, const char *target, struct vmdk_error *err)
{
  uint8_t byte;
  struct question q = {
    .pool = pool, .target = target, .buf = &byte, .count = 1, .size = 1
  };
  unsigned generation;
  struct vmdk_error other;

  if (ask_once (&q, false, &generation, &other) == ANSWER_FINAL
      && q.status == 500)
    *err = other;
}

int
http_size (struct http_pool *pool, const char *target, uint64_t *size,
           struct vmdk_error *err)
{
  struct question q = { .pool = pool, .target = target, .head = true };

  if (ask (&q, err) == -1) {
    if (q.status == 500)
      ask_why (pool, target, err);
    return -1;
  }
  if (q.is_page)
    return fail (err, ERR_DENIED, "this is a folder, not a file");
  if (!q.has_length || q.length > INT64_MAX)
    return fail (err, ERR_UNSUPPORTED, "%s does not say how large it is",
                 NAME (pool->host));
  *size = q.length;
  return 0;
}

int
http_read (struct http_pool *pool, const char *target, void *buf, size_t count,
           uint64_t offset, uint64_t size, struct vmdk_error *err)
{
  struct question q = {
    .pool = pool,
    .target = target,
    .buf = buf,
    .count = count,
    .offset = offset,
    .size = size,
  };

  return ask (&q, err);
}

int
http_write (struct http_pool *pool, const char *target, struct media *media,
            bool (*progress) (void *opaque, uint64_t done, uint64_t total),
            void *opaque, struct vmdk_error *err)
{
  struct question q = {
    .pool = pool,
    .target = target,
    .upload = media,
    .progress = progress,
    .opaque = opaque,
  };

  return ask (&q, err);
}

/* --------------------------------------------------------------------- */
/* The pool. */

/* As it stands in a URL: an IPv6 address is bracketed. */
static char *
host_of (const struct http_settings *s)
{
  const bool v6 = strchr (s->host, ':') && s->host[0] != '[';
  char *host;

  if (asprintf (&host, s->port ? "%s%s%s:%u" : "%s%s%s", v6 ? "[" : "",
                s->host, v6 ? "]" : "", s->port)
      == -1)
    return NULL;
  return host;
}

static void
fill_in_defaults (struct http_settings *s)
{
  if (s->nr_connections == 0)
    s->nr_connections = 4;
  if (s->nr_connections > HTTP_MAX_CONNECTIONS)
    s->nr_connections = HTTP_MAX_CONNECTIONS;
  if (s->connect_seconds == 0)
    s->connect_seconds = 10;
  if (s->stall_seconds == 0)
    s->stall_seconds = 60;
  if (s->retry_ms == 0)
    s->retry_ms = 1000;
}

struct http_pool *
http_pool_new (const struct http_settings *settings, struct vmdk_error *err)
{
  CLEANUP_HTTP_POOL struct http_pool *pool = calloc (1, sizeof *pool);
  pthread_condattr_t attr;

  if (!pool) {
    fail_memory (err);
    return NULL;
  }
  pool->settings = *settings;
  fill_in_defaults (&pool->settings);
  pool->limit = pool->settings.nr_connections;
  pthread_mutex_init (&pool->lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&pool->changed, &attr);
  pthread_condattr_destroy (&attr);
  pool->host = host_of (settings);
  pool->connections =
    calloc (pool->settings.nr_connections, sizeof *pool->connections);
  if (!pool->host || !pool->connections) {
    fail_memory (err);
    return NULL;
  }
  return steal_ptr (&pool);
}

void
http_pool_free (struct http_pool *pool)
{
  if (!pool)
    return;
  for (unsigned i = 0; pool->connections && i < pool->settings.nr_connections;
       i++)
    curl_easy_cleanup (pool->connections[i].easy);
  free (pool->connections);
  free (pool->host);
  pthread_cond_destroy (&pool->changed);
  pthread_mutex_destroy (&pool->lock);
  free (pool);
}

void
http_pool_stop (struct http_pool *pool)
{
  LOCK_FOR_SCOPE (&pool->lock);

  pool->stopped = true;
  pthread_cond_broadcast (&pool->changed);
}

unsigned
http_pool_connections (const struct http_pool *pool)
{
  return pool->settings.nr_connections;
}
