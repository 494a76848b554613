/* SPDX-License-Identifier: BSD-3-Clause */

/* Logging in, staying logged in, logging out.  See session.h.
 *
 * Locks: `renewing` is held while a thread logs in again, also over the
 * network, so that the others wait for it; `lock` guards the fields and is
 * never held over anything slow.  `renewing` is taken first.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "deadline.h"
#include "secret.h"
#include "session.h"

#define COOKIE_NAME "vmware_soap_session="

/* Any server answers what it is in this one, or at least in the other. */
#define FIRST_VERSION "6.0"
#define OTHER_VERSION "6.7"

/* Nobody waits for a server that does not answer to a farewell. */
#define LOGOUT_SECONDS 10
#define LOGOUT_TRIES 2

struct session {
  struct soap_client *client;
  struct vmdk_log log;
  struct tls_trust trust;
  char *ca_file, *host, *user;
  struct secret *password; /* NULL: the session was given */
  struct session_about about;
  struct vim_ref services[NR_SERVICES];
  unsigned keep_alive_seconds, poll_ms;

  pthread_mutex_t renewing;
  struct vmdk_error final; /* why nobody tries to log in any more */

  pthread_mutex_t lock; /* of: */
  struct secret *cookie;
  unsigned generation;
  bool closing;

  pthread_cond_t wake;
  pthread_t keeper;
  bool has_keeper;
};

/* --------------------------------------------------------------------- */
/* What the server is. */

static void
copy_field (char *dst, size_t size, const struct xml_node *node,
            const char *name)
{
  /* these end up in messages: text_escape also cuts */
  text_escape (dst, size, xml_text (node, name));
}

static void
read_services (struct session *session, const struct xml_node *content)
{
  static const struct {
    enum session_service service;
    const char *name, *words;
  } rows[] = {
    { SERVICE_ROOT_FOLDER, "rootFolder", "root folder" },
    { SERVICE_PROPERTIES, "propertyCollector", "property collector" },
    { SERVICE_VIEWS, "viewManager", "view manager" },
    { SERVICE_SESSIONS, "sessionManager", "session manager" },
    { SERVICE_AUTHORIZATION, "authorizationManager", "authorization manager" },
    { SERVICE_SEARCH, "searchIndex", "search index" },
    { SERVICE_FILES, "fileManager", "file manager" },
    { SERVICE_DISKS, "virtualDiskManager", "virtual disk manager" },
  };

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct vim_ref *ref = &session->services[rows[i].service];

    if (!soap_ref (xml_child (content, rows[i].name), ref))
      snprintf (ref->type, sizeof ref->type, "%s", rows[i].words);
  }
}

/* We know the types up to 6.7; newer servers speak all of these. */
static const char *
version_for (const char *offered)
{
  static const char *const known[] = { "6.7", "6.5", "6.0", "5.5" };
  unsigned major = 0, minor = 0, known_major, known_minor;

  sscanf (offered, "%u.%u", &major, &minor);
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    sscanf (known[i], "%u.%u", &known_major, &known_minor);
    if (major > known_major || (major == known_major && minor >= known_minor))
      return known[i];
  }
  return "5.5";
}

static int
read_about (struct session *session, const struct xml_node *content,
            const char *version, struct vmdk_error *err)
{
  const struct xml_node *about = xml_child (content, "about");
  const char *kind = xml_text (about, "apiType");
  struct session_about *out = &session->about;

  out->is_vcenter = strcmp (kind, "VirtualCenter") == 0;
  if (!out->is_vcenter && strcmp (kind, "HostAgent") != 0)
    return fail (err, ERR_UNSUPPORTED,
                 "%s is neither a vCenter nor an ESXi host: it calls itself "
                 "\"%s\"",
                 NAME (session_server (session)), NAME (kind));
  copy_field (out->version, sizeof out->version, about, "version");
  copy_field (out->build, sizeof out->build, about, "build");
  copy_field (out->name, sizeof out->name, about, "fullName");
  copy_field (out->instance, sizeof out->instance, about, "instanceUuid");
  snprintf (out->api_version, sizeof out->api_version, "%s",
            version ? version : version_for (xml_text (about, "apiVersion")));
  return 0;
}

static int
call_content (struct session *session, const char *version,
              struct soap_answer *answer, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  struct vim_ref *instance = &session->services[SERVICE_INSTANCE];

  strcpy (instance->type, "ServiceInstance");
  strcpy (instance->id, "ServiceInstance");
  soap_begin (&request, "RetrieveServiceContent", instance);
  return soap_call (session->client, version, NULL, &request, answer, err);
}

static int
ask_content (struct session *session, const char *version,
             struct vmdk_error *err)
{
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  int result =
    call_content (session, version ? version : FIRST_VERSION, &answer, err);

  /* it is there in every version: a server that does not know it has left
   * the old ones behind
   */
  if (result == -1 && !version && soap_is_unsupported (&answer))
    result = call_content (session, OTHER_VERSION, &answer, err);
  if (result == -1)
    return -1;
  read_services (session, answer.value);
  if (read_about (session, answer.value, version, err) == -1)
    return -1;
  log_debug (&session->log, LOG_OPEN, "%s: %s, API %s, we speak %s",
             session_server (session), session->about.name,
             xml_text (xml_child (answer.value, "about"), "apiVersion"),
             session->about.api_version);
  return 0;
}

/* --------------------------------------------------------------------- */
/* Logging in and out. */

static int
set_cookie (struct session *session, const char *cookie,
            struct vmdk_error *err)
{
  struct secret *secret = secret_new (cookie);

  if (!secret)
    return fail_memory (err);
  LOCK_FOR_SCOPE (&session->lock);
  secret_free (session->cookie);
  session->cookie = secret;
  session->generation++;
  return 0;
}

/* No cookie goes with it: the server would take a second login for an error,
 * or leave the first session behind.
 */
static int
login (struct session *session, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .secret = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  soap_begin (&request, "Login", &session->services[SERVICE_SESSIONS]);
  soap_add (&request, "userName", session->user);
  soap_add (&request, "password", secret_text (session->password));
  soap_add (&request, "locale", "en_US");
  if (soap_call (session->client, session->about.api_version, NULL, &request,
                 &answer, err)
      == -1)
    return -1;
  if (!answer.cookie)
    return fail (err, ERR_CORRUPT,
                 "%s: the server takes the login and sets no cookie",
                 NAME (session_server (session)));
  return set_cookie (session, answer.cookie, err);
}

static void
logout (struct session *session)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  struct vmdk_error err;

  if (!session->password || !session->cookie)
    return;
  soap_begin (&request, "Logout", &session->services[SERVICE_SESSIONS]);
  /* twice, for a session that stays counts against the server's limit */
  for (int nr_tries = 0; nr_tries < LOGOUT_TRIES; nr_tries++) {
    if (soap_call (session->client, session->about.api_version,
                   secret_text (session->cookie), &request, &answer, &err)
        == 0)
      return;
    log_debug (&session->log, LOG_OPEN, "%s", err.text);
    if (answer.fault.type[0])
      return;
  }
}

/* "vmware_soap_session=..." or only what follows; what browsers show behind a
 * ';' is not part of it.
 */
static int
take_cookie (struct session *session, const char *text, struct vmdk_error *err)
{
  const bool named = strncmp (text, COOKIE_NAME, strlen (COOKIE_NAME)) == 0;
  const char *value = named ? text + strlen (COOKIE_NAME) : text;
  const size_t len = strcspn (value, ";");
  char cookie[4096];

  for (size_t i = 0; i < len; i++)
    if (value[i] <= ' ' || value[i] >= 0x7f || value[i] == ',')
      return fail (err, ERR_ARGUMENT,
                   "cookie: byte %zu cannot be part of a cookie: give "
                   "vmware_soap_session's value as the server set it",
                   i);
  if (len == 0 || len + strlen (COOKIE_NAME) >= sizeof cookie)
    return fail (err, ERR_ARGUMENT, "cookie: it is empty or too long");
  snprintf (cookie, sizeof cookie, COOKIE_NAME "%.*s", (int) len, value);
  if (set_cookie (session, cookie, err) == -1) {
    explicit_bzero (cookie, sizeof cookie);
    return -1;
  }
  explicit_bzero (cookie, sizeof cookie);
  return 0;
}

char *
session_cookie (struct session *session, unsigned *generation,
                struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&session->lock);
  char *copy = session->cookie ? strdup (secret_text (session->cookie)) : NULL;

  *generation = session->generation;
  if (!copy)
    fail_memory (err);
  return copy;
}

int
session_renew (struct session *session, unsigned generation,
               struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&session->renewing);
  unsigned current;

  {
    LOCK_FOR_SCOPE (&session->lock);
    current = session->generation;
  }
  if (current != generation)
    return 0;
  if (session->final.kind != ERR_NONE) {
    *err = session->final;
    return -1;
  }
  if (!session->password) {
    fail (err, ERR_SYSTEM,
          "%s: the session whose cookie was given has ended: give the cookie "
          "of another, or user and password",
          NAME (session_server (session)));
    session->final = *err;
    return -1;
  }
  log_debug (&session->log, LOG_OPEN, "%s: the session has ended, logging in",
             session_server (session));
  if (login (session, err) == -1) {
    /* what the network did may be different next time */
    if (err->kind == ERR_DENIED)
      session->final = *err;
    return -1;
  }
  return 0;
}

static void
wipe (char **text)
{
  if (*text) {
    explicit_bzero (*text, strlen (*text));
    free (*text);
  }
}

static int
call_once (struct session *session, const struct soap_request *request,
           struct soap_answer *answer, unsigned *generation,
           struct vmdk_error *err)
{
  __attribute__ ((cleanup (wipe))) char *cookie =
    session_cookie (session, generation, err);

  if (!cookie)
    return -1;
  return soap_call (session->client, session->about.api_version, cookie,
                    request, answer, err);
}

int
session_call (struct session *session, const struct soap_request *request,
              struct soap_answer *answer, struct vmdk_error *err)
{
  unsigned generation;

  if (call_once (session, request, answer, &generation, err) == 0)
    return 0;
  if (!soap_is (answer, "NotAuthenticated"))
    return -1;
  if (session_renew (session, generation, err) == -1)
    return -1;
  return call_once (session, request, answer, &generation, err);
}

/* --------------------------------------------------------------------- */
/* Staying logged in. */

static int
ask_time (struct session *session, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  soap_begin (&request, "CurrentTime", &session->services[SERVICE_INSTANCE]);
  return session_call (session, &request, &answer, err);
}

/* Until it is time to ask again, or to end. */
static bool
sleep_long (struct session *session)
{
  LOCK_FOR_SCOPE (&session->lock);
  const struct timespec until =
    deadline_after (session->keep_alive_seconds * UINT64_C (1000));

  while (!session->closing
         && pthread_cond_timedwait (&session->wake, &session->lock, &until)
              != ETIMEDOUT)
    ;
  return !session->closing;
}

static void *
keep_alive (void *opaque)
{
  struct session *session = opaque;
  struct vmdk_error err;

  while (sleep_long (session))
    if (ask_time (session, &err) == -1)
      log_debug (&session->log, LOG_OPEN, "%s", err.text);
  return NULL;
}

/* Signals are for the threads of the program. */
static int
start_keeper (struct session *session, struct vmdk_error *err)
{
  sigset_t all, before;
  int result;

  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  result = pthread_create (&session->keeper, NULL, keep_alive, session);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  if (result != 0)
    return fail_errno (err, result, "pthread_create");
  session->has_keeper = true;
  return 0;
}

static void
stop_keeper (struct session *session)
{
  {
    LOCK_FOR_SCOPE (&session->lock);
    session->closing = true;
    pthread_cond_signal (&session->wake);
  }
  if (session->has_keeper)
    pthread_join (session->keeper, NULL);
}

/* --------------------------------------------------------------------- */

static struct session *
session_new (const struct session_settings *settings)
{
  CLEANUP_SESSION struct session *session = calloc (1, sizeof *session);
  const struct tls_trust *trust = settings->soap.trust;
  pthread_condattr_t attributes;

  if (!session)
    return NULL;
  pthread_mutex_init (&session->renewing, NULL);
  pthread_mutex_init (&session->lock, NULL);
  pthread_condattr_init (&attributes);
  pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
  pthread_cond_init (&session->wake, &attributes);
  pthread_condattr_destroy (&attributes);
  session->log = settings->soap.log;
  session->keep_alive_seconds =
    settings->keep_alive_seconds ? settings->keep_alive_seconds : 300;
  session->poll_ms = settings->poll_ms ? settings->poll_ms : 500;
  if (trust)
    session->trust = *trust;
  if (trust && trust->ca_file) {
    session->ca_file = strdup (trust->ca_file);
    session->trust.ca_file = session->ca_file;
    if (!session->ca_file)
      return NULL;
  }
  session->host = strdup (settings->soap.host);
  if (!session->host)
    return NULL;
  return steal_ptr (&session);
}

static int
take_credentials (struct session *session,
                  const struct session_settings *settings,
                  struct vmdk_error *err)
{
  if (settings->cookie)
    return take_cookie (session, settings->cookie, err);
  if (!settings->user || !settings->password)
    return fail (err, ERR_ARGUMENT,
                 "%s: user and password are needed, or the cookie of a "
                 "session",
                 NAME (session_server (session)));
  session->user = strdup (settings->user);
  session->password = secret_new (settings->password);
  return session->user && session->password ? 0 : fail_memory (err);
}

static int
check_version (const char *version, struct vmdk_error *err)
{
  if (version
      && (strlen (version) == 0 || strlen (version) > 20
          || strspn (version, "0123456789.") != strlen (version)))
    return fail (err, ERR_ARGUMENT,
                 "\"%s\" is not a version of the vSphere API, such as 6.7",
                 NAME (version));
  return 0;
}

struct session *
session_open (const struct session_settings *settings, struct vmdk_error *err)
{
  CLEANUP_SESSION struct session *session = session_new (settings);
  struct soap_settings soap = settings->soap;

  if (!session) {
    fail_memory (err);
    return NULL;
  }
  soap.trust = &session->trust;
  session->client = soap_client_new (&soap, err);
  if (!session->client || check_version (settings->version, err) == -1
      || take_credentials (session, settings, err) == -1
      || ask_content (session, settings->version, err) == -1)
    return NULL;
  if ((session->password ? login (session, err) : ask_time (session, err))
      == -1)
    return NULL;
  if (start_keeper (session, err) == -1)
    return NULL;
  return steal_ptr (&session);
}

void
session_close (struct session *session)
{
  if (!session)
    return;
  stop_keeper (session);
  if (session->client) {
    soap_client_hurry (session->client, LOGOUT_SECONDS);
    logout (session);
  }
  soap_client_free (session->client);
  secret_free (session->password);
  secret_free (session->cookie);
  pthread_cond_destroy (&session->wake);
  pthread_mutex_destroy (&session->lock);
  pthread_mutex_destroy (&session->renewing);
  free (session->ca_file);
  free (session->host);
  free (session->user);
  free (session);
}

void
session_hurry (struct session *session, unsigned seconds)
{
  soap_client_hurry (session->client, seconds);
}

const struct session_about *
session_about (const struct session *session)
{
  return &session->about;
}

const struct vim_ref *
session_service (const struct session *session, enum session_service service)
{
  return &session->services[service];
}

const struct vmdk_log *
session_log (const struct session *session)
{
  return &session->log;
}

const char *
session_server (const struct session *session)
{
  return soap_client_name (session->client);
}

const char *
session_host (const struct session *session)
{
  return session->host;
}

unsigned
session_poll_ms (const struct session *session)
{
  return session->poll_ms;
}
