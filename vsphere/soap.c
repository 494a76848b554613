/* SPDX-License-Identifier: BSD-3-Clause */

/* Questions are sent.  See soap.h.
 *
 * A client keeps the curl handles that are not in use, each with the
 * connection that it has; a call takes one, or makes one.
 */

#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <curl/curl.h>

#include "report.h"
#include "soap.h"

#define MAX_IDLE 8
#define MAX_HEADER_BYTES 65536
#define MAX_COOKIE 4096
#define MAX_TRIES 4

static const char envelope_begin[] =
  "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
  "<soapenv:Envelope"
  " xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\""
  " xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\""
  " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">"
  "<soapenv:Body>";
static const char envelope_end[] = "</soapenv:Body></soapenv:Envelope>";

struct handle {
  struct handle *next;
  CURL *easy;
  struct tls_check check;
};

struct soap_client {
  struct vmdk_log log;
  const struct tls_trust *trust;
  char *name, *url;
  bool plain_http;
  unsigned connect_seconds, call_seconds, retry_ms;
  _Atomic int64_t deadline_ms; /* 0: none */

  pthread_mutex_t lock; /* of: */
  struct handle *idle;
  size_t nr_idle;
};

/* What comes back, while it comes. */
struct receiving {
  char *bytes;
  size_t len, capacity, header_bytes;
  char *cookie;
  bool too_large, no_memory;
};

static int64_t
now_ms (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --------------------------------------------------------------------- */
/* What curl calls. */

static size_t
receive_body (char *bytes, size_t one, size_t count, void *opaque)
{
  struct receiving *r = opaque;

  (void) one;
  if (count > XML_MAX_BYTES - r->len) {
    r->too_large = true;
    return 0;
  }
  if (count > r->capacity - r->len) {
    const size_t capacity = 2 * r->capacity + count + 4096;
    char *grown = realloc (r->bytes, capacity);

    if (!grown) {
      r->no_memory = true;
      return 0;
    }
    r->bytes = grown;
    r->capacity = capacity;
  }
  memcpy (r->bytes + r->len, bytes, count);
  r->len += count;
  return count;
}

/* The cookie of a session, as it came: quotes belong to it. */
static void
keep_cookie (struct receiving *r, const char *value, size_t len)
{
  static const char name[] = "vmware_soap_session=";
  const char *end;

  while (len > 0 && (*value == ' ' || *value == '\t'))
    value++, len--;
  if (len < sizeof name || strncmp (value, name, sizeof name - 1) != 0)
    return;
  end = value;
  while (end < value + len && *end != ';' && *end > ' ' && *end < 0x7f)
    end++;
  if (end - value > MAX_COOKIE)
    return;
  free (r->cookie);
  r->cookie = strndup (value, (size_t) (end - value));
}

static size_t
receive_header (char *bytes, size_t one, size_t count, void *opaque)
{
  static const char set_cookie[] = "set-cookie:";
  const size_t prefix = sizeof set_cookie - 1;
  struct receiving *r = opaque;

  (void) one;
  r->header_bytes += count;
  if (r->header_bytes > MAX_HEADER_BYTES) {
    r->too_large = true;
    return 0;
  }
  if (count > prefix && strncasecmp (bytes, set_cookie, prefix) == 0)
    keep_cookie (r, bytes + prefix, count - prefix);
  return count;
}

/* --------------------------------------------------------------------- */
/* Handles. */

static void
handle_free (struct handle *handle)
{
  curl_easy_cleanup (handle->easy);
  free (handle);
}
DEFINE_CLEANUP (handle, struct handle *, handle_free)

static int
handle_setup (struct handle *handle, const struct soap_client *client,
              struct vmdk_error *err)
{
  CURL *easy = handle->easy;

  if (curl_easy_setopt (easy, CURLOPT_URL, client->url) != CURLE_OK
      || curl_easy_setopt (easy, CURLOPT_USERAGENT, "vmdkit/" PACKAGE_VERSION)
           != CURLE_OK
      || curl_easy_setopt (easy, CURLOPT_WRITEFUNCTION, receive_body)
           != CURLE_OK
      || curl_easy_setopt (easy, CURLOPT_HEADERFUNCTION, receive_header)
           != CURLE_OK)
    return fail_memory (err);
  curl_easy_setopt (easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt (easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt (easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt (easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt (easy, CURLOPT_CONNECTTIMEOUT,
                    (long) client->connect_seconds);
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt (easy, CURLOPT_PROTOCOLS_STR,
                    client->plain_http ? "http" : "https");
#else
  curl_easy_setopt (easy, CURLOPT_PROTOCOLS,
                    client->plain_http ? CURLPROTO_HTTP : CURLPROTO_HTTPS);
#endif
  handle->check.trust = client->trust;
  return client->plain_http ? 0 : tls_curl_setup (easy, &handle->check, err);
}

static struct handle *
handle_new (const struct soap_client *client, struct vmdk_error *err)
{
  CLEANUP (handle) struct handle *handle = calloc (1, sizeof *handle);

  if (handle)
    handle->easy = curl_easy_init ();
  if (!handle || !handle->easy) {
    fail_memory (err);
    return NULL;
  }
  if (handle_setup (handle, client, err) == -1)
    return NULL;
  return steal_ptr (&handle);
}

static struct handle *
handle_take (struct soap_client *client, struct vmdk_error *err)
{
  {
    LOCK_FOR_SCOPE (&client->lock);
    struct handle *handle = client->idle;

    if (handle) {
      client->idle = handle->next;
      client->nr_idle--;
      return handle;
    }
  }
  return handle_new (client, err);
}

static void
handle_give (struct soap_client *client, struct handle *handle)
{
  /* what it pointed to is gone; curl keeps a copy of the cookie */
  curl_easy_setopt (handle->easy, CURLOPT_COOKIE, NULL);
  curl_easy_setopt (handle->easy, CURLOPT_POSTFIELDS, NULL);
  curl_easy_setopt (handle->easy, CURLOPT_HTTPHEADER, NULL);
  curl_easy_setopt (handle->easy, CURLOPT_ERRORBUFFER, NULL);
  {
    LOCK_FOR_SCOPE (&client->lock);
    if (client->nr_idle < MAX_IDLE) {
      handle->next = client->idle;
      client->idle = handle;
      client->nr_idle++;
      return;
    }
  }
  handle_free (handle);
}

/* --------------------------------------------------------------------- */
/* Clients. */

static void
prepare_library (void)
{
  curl_global_init (CURL_GLOBAL_DEFAULT);
}

/* A name or an address and nothing else: it becomes part of a URL. */
static int
check_host (const char *host, struct vmdk_error *err)
{
  const char *p = host;

  while ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z')
         || (*p >= 'A' && *p <= 'Z') || *p == '.' || *p == '-' || *p == '_'
         || *p == ':')
    p++;
  if (*p || p == host || strlen (host) > 253)
    return fail (err, ERR_ARGUMENT,
                 "\"%s\" is not the name or address of a server: give it "
                 "without https:// and path",
                 NAME (host));
  return 0;
}

static int
name_server (struct soap_client *client, const struct soap_settings *settings)
{
  const bool v6 = strchr (settings->host, ':') != NULL;
  const unsigned usual = settings->plain_http ? 80 : 443;
  char port[16] = "";

  if (settings->port && settings->port != usual)
    snprintf (port, sizeof port, ":%u", settings->port);
  if (asprintf (&client->name, "%s%s%s%s", v6 ? "[" : "", settings->host,
                v6 ? "]" : "", port)
      == -1) {
    client->name = NULL;
    return -1;
  }
  if (asprintf (&client->url, "%s://%s/sdk",
                settings->plain_http ? "http" : "https", client->name)
      == -1) {
    client->url = NULL;
    return -1;
  }
  return 0;
}

struct soap_client *
soap_client_new (const struct soap_settings *settings, struct vmdk_error *err)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  CLEANUP (soap_client) struct soap_client *client = NULL;

  pthread_once (&once, prepare_library);
  if (check_host (settings->host, err) == -1)
    return NULL;
  if (settings->port > 65535) {
    fail (err, ERR_ARGUMENT, "port %u is larger than 65535", settings->port);
    return NULL;
  }
  client = calloc (1, sizeof *client);
  if (!client) {
    fail_memory (err);
    return NULL;
  }
  pthread_mutex_init (&client->lock, NULL);
  client->log = settings->log;
  client->trust = settings->trust;
  client->plain_http = settings->plain_http;
  client->connect_seconds =
    settings->connect_seconds ? settings->connect_seconds : 10;
  client->call_seconds = settings->call_seconds ? settings->call_seconds : 60;
  client->retry_ms = settings->retry_ms ? settings->retry_ms : 1000;
  if (name_server (client, settings) == -1) {
    fail_memory (err);
    return NULL;
  }
  return steal_ptr (&client);
}

void
soap_client_free (struct soap_client *client)
{
  if (!client)
    return;
  while (client->idle) {
    struct handle *next = client->idle->next;

    handle_free (client->idle);
    client->idle = next;
  }
  pthread_mutex_destroy (&client->lock);
  free (client->name);
  free (client->url);
  free (client);
}

const char *
soap_client_name (const struct soap_client *client)
{
  return client->name;
}

void
soap_client_hurry (struct soap_client *client, unsigned seconds)
{
  const int64_t deadline = now_ms () + (int64_t) seconds * 1000;
  int64_t before = atomic_load (&client->deadline_ms);

  if (seconds == 0) {
    atomic_store (&client->deadline_ms, 0);
    return;
  }
  /* never later than somebody said before */
  while (
    (before == 0 || deadline < before)
    && !atomic_compare_exchange_weak (&client->deadline_ms, &before, deadline))
    ;
}

/* --------------------------------------------------------------------- */
/* One try. */

/* Even the last question gets a second. */
static long
time_limit_ms (struct soap_client *client, const struct soap_request *request)
{
  const int64_t deadline = atomic_load (&client->deadline_ms);
  int64_t limit =
    ((int64_t) client->call_seconds + request->extra_seconds) * 1000;

  if (deadline && deadline - now_ms () < limit)
    limit = deadline - now_ms ();
  return limit < 1000 ? 1000 : (long) limit;
}

DEFINE_CLEANUP (slist, struct curl_slist *, curl_slist_free_all)

static struct curl_slist *
header_list (const struct soap_request *request, const char *version)
{
  CLEANUP (slist) struct curl_slist *list = NULL;
  char action[200];
  const char *lines[] = { "Content-Type: text/xml; charset=utf-8",
                          "Expect:", action };

  snprintf (action, sizeof action, "SOAPAction: \"%s/%s\"",
            request->action ? request->action : SOAP_VIM25, version);
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    struct curl_slist *longer = curl_slist_append (list, lines[i]);

    if (!longer)
      return NULL;
    list = longer;
  }
  return steal_ptr (&list);
}

static void
wipe (char **text)
{
  if (*text) {
    explicit_bzero (*text, strlen (*text));
    free (*text);
  }
}

static char *
whole_text (const struct soap_request *request)
{
  const size_t size = sizeof envelope_begin + request->len
                      + strlen (request->method) + sizeof "</>"
                      + sizeof envelope_end;
  char *text = malloc (size);

  if (text)
    snprintf (text, size, "%s%.*s</%s>%s", envelope_begin, (int) request->len,
              request->text, request->method, envelope_end);
  return text;
}

enum outcome { DONE, FAILED, MAY_REPEAT };

static enum outcome
judge_failure (const struct soap_client *client, const struct handle *handle,
               const struct soap_request *request,
               const struct receiving *receiving, CURLcode code,
               const char *words, struct vmdk_error *err)
{
  long sent = 0;

  curl_easy_getinfo (handle->easy, CURLINFO_REQUEST_SIZE, &sent);
  if (handle->check.refusal.kind != ERR_NONE) {
    *err = handle->check.refusal;
    fail_prefix (err, "%s", NAME (client->name));
    return FAILED;
  }
  if (receiving->no_memory) {
    fail_memory (err);
    return FAILED;
  }
  if (receiving->too_large) {
    fail (err, ERR_CORRUPT, "%s: %s: the answer is larger than %d bytes",
          NAME (client->name), request->method, XML_MAX_BYTES);
    err->errnum = EIO;
    return FAILED;
  }
  fail (err, ERR_SYSTEM, "%s: %s: %s", NAME (client->name), request->method,
        words[0] ? words : curl_easy_strerror (code));
  if (code == CURLE_OPERATION_TIMEDOUT) {
    err->errnum = ETIMEDOUT;
    return FAILED;
  }
  return request->repeatable || sent == 0 ? MAY_REPEAT : FAILED;
}

static void
handle_aim (struct handle *handle, const struct soap_request *request,
            struct curl_slist *headers, const char *text, const char *cookie,
            struct receiving *receiving, char *words, long limit_ms)
{
  CURL *easy = handle->easy;

  words[0] = '\0';
  handle->check.refusal = (struct vmdk_error){ 0 };
  curl_easy_setopt (easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt (easy, CURLOPT_POSTFIELDSIZE, (long) strlen (text));
  curl_easy_setopt (easy, CURLOPT_POSTFIELDS, text);
  curl_easy_setopt (easy, CURLOPT_COOKIE, cookie);
  curl_easy_setopt (easy, CURLOPT_WRITEDATA, receiving);
  curl_easy_setopt (easy, CURLOPT_HEADERDATA, receiving);
  curl_easy_setopt (easy, CURLOPT_ERRORBUFFER, words);
  curl_easy_setopt (easy, CURLOPT_TIMEOUT_MS, limit_ms);
  /* rule 2 */
  curl_easy_setopt (easy, CURLOPT_FRESH_CONNECT,
                    request->repeatable ? 0L : 1L);
}

/* COOKIE: of the session; it may stand in what came. */
static void
report_answer (const struct soap_client *client,
               const struct soap_request *request,
               const struct soap_answer *answer,
               const struct receiving *receiving, const char *cookie,
               struct vmdk_error *err)
{
  if (answer->fault.type[0] && soap_fault_is_known (&answer->fault))
    return;
  if (!request->secret && !answer->cookie)
    report_text (&client->log, request->method, receiving->bytes,
                 receiving->len, cookie);
  report_ask (err, &client->log);
}

static enum outcome
judge_answer (struct soap_client *client, const char *cookie,
              const struct soap_request *request, struct soap_answer *answer,
              struct receiving *receiving, long status, struct vmdk_error *err)
{
  const int result = soap_answer_read (answer, request, status,
                                       receiving->bytes, receiving->len, err);

  answer->cookie = steal_ptr (&receiving->cookie);
  log_debug (&client->log, LOG_OPEN, "%s: %s: HTTP status %ld, %zu bytes%s%s",
             client->name, request->method, status, receiving->len,
             answer->fault.type[0] ? ", " : "", answer->fault.type);
  if (result == 0)
    return DONE;
  fail_prefix (err, "%s", NAME (client->name));
  if (status == 200 || status == 500)
    report_answer (client, request, answer, receiving, cookie, err);
  return request->repeatable && (status >= 502 && status <= 504) ? MAY_REPEAT
                                                                 : FAILED;
}

/* Older libcurls let OpenSSL write to connections that are closed; that shall
 * end no program.
 */
static CURLcode
perform (CURL *easy)
{
  const struct timespec at_once = { 0 };
  sigset_t pipe, before;
  CURLcode code;

  sigemptyset (&pipe);
  sigaddset (&pipe, SIGPIPE);
  pthread_sigmask (SIG_BLOCK, &pipe, &before);
  code = curl_easy_perform (easy);
  if (!sigismember (&before, SIGPIPE))
    while (sigtimedwait (&pipe, NULL, &at_once) == -1 && errno == EINTR)
      ;
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  return code;
}

static enum outcome
try_once (struct soap_client *client, struct handle *handle,
          const char *version, const char *cookie,
          const struct soap_request *request, struct soap_answer *answer,
          struct vmdk_error *err)
{
  CLEANUP (slist)
  struct curl_slist *headers = header_list (request, version);
  __attribute__ ((cleanup (wipe))) char *text = whole_text (request);
  struct receiving receiving = { 0 };
  char words[CURL_ERROR_SIZE];
  enum outcome outcome;
  CURLcode code;
  long status = 0;

  if (!headers || !text) {
    fail_memory (err);
    return FAILED;
  }
  handle_aim (handle, request, headers, text, cookie, &receiving, words,
              time_limit_ms (client, request));
  code = perform (handle->easy);
  curl_easy_getinfo (handle->easy, CURLINFO_RESPONSE_CODE, &status);
  outcome =
    code == CURLE_OK
      ? judge_answer (client, cookie, request, answer, &receiving, status, err)
      : judge_failure (client, handle, request, &receiving, code, words, err);
  if (receiving.bytes)
    explicit_bzero (receiving.bytes, receiving.len);
  free (receiving.bytes);
  wipe (&receiving.cookie);
  return outcome;
}

/* --------------------------------------------------------------------- */

static void
pause_before (const struct soap_client *client, unsigned nr_tries)
{
  const int64_t ms = (int64_t) client->retry_ms << (nr_tries - 1);
  /* clients that failed together shall not come back together */
  const int64_t jitter = now_ms () * 7919 % (ms / 4 + 1);
  const struct timespec span = { (ms + jitter) / 1000,
                                 (ms + jitter) % 1000 * 1000000 };

  nanosleep (&span, NULL);
}

int
soap_call (struct soap_client *client, const char *version, const char *cookie,
           const struct soap_request *request, struct soap_answer *answer,
           struct vmdk_error *err)
{
  enum outcome outcome = FAILED;
  struct handle *handle;

  soap_answer_reset (answer);
  if (request->problem.kind != ERR_NONE) {
    *err = request->problem;
    return fail_prefix (err, "%s", request->method);
  }
  handle = handle_take (client, err);
  if (!handle)
    return -1;
  for (unsigned nr_tries = 1;; nr_tries++) {
    soap_answer_reset (answer);
    outcome = try_once (client, handle, version, cookie, request, answer, err);
    if (outcome != MAY_REPEAT || nr_tries == MAX_TRIES
        || atomic_load (&client->deadline_ms))
      break;
    pause_before (client, nr_tries);
  }
  handle_give (client, handle);
  return outcome == DONE ? 0 : -1;
}
