/* SPDX-License-Identifier: BSD-3-Clause */

/* One entry a machine and process.  See access.h.
 *
 * The list of entries is guarded by one lock, which is not held over the
 * network: an entry that is being made or taken back is `busy`, and whoever
 * wants it waits.
 */

#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "access-parts.h"

#define SLICE_MS 200
#define DEFAULT_PAUSE_MS 10000

/* How often a call whose answer was lost is tried. */
#define MAX_LOST 3

struct entry {
  struct entry *next;
  char *server; /* which vCenter: its uuid, or its name */
  struct vim_ref vm;
  char identity[ACCESS_IDENTITY_SIZE];
  size_t count; /* of struct access */
  bool busy, owned;
  bool left; /* could not be taken back; nobody's, and to be tried again */
};

struct access {
  struct session *session;
  struct entry *entry;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct entry *entries;
static char last_said[ERROR_TEXT_SIZE];

/* --------------------------------------------------------------------- */
/* Identities. */

/* The first characters of TEXT, as many as an identity may have. */
static size_t
identity_bytes (const char *text)
{
  size_t nr_characters = 0;
  const char *p = text;

  for (; *p; p++)
    if (((unsigned char) *p & 0xc0) != 0x80
        && ++nr_characters > ACCESS_IDENTITY_CHARACTERS)
      break;
  return (size_t) (p - text);
}

void
access_identity (char identity[ACCESS_IDENTITY_SIZE], const struct vim_ref *vm)
{
  char host[64] = "";
  char text[sizeof host + REF_ID_SIZE + 16];

  gethostname (host, sizeof host - 1);
  host[20] = '\0'; /* the machine's id is what tells entries apart */
  snprintf (text, sizeof text, "vmdkit:%s:%s", host, vm->id);
  snprintf (identity, ACCESS_IDENTITY_SIZE, "%.*s",
            (int) identity_bytes (text), text);
}

static int
choose_identity (char identity[ACCESS_IDENTITY_SIZE], const char *given,
                 const struct vim_ref *vm, struct vmdk_error *err)
{
  if (!given) {
    access_identity (identity, vm);
    return 0;
  }
  if (*given == '\0' || given[identity_bytes (given)] != '\0'
      || strlen (given) >= ACCESS_IDENTITY_SIZE)
    return fail (err, ERR_ARGUMENT,
                 "identity \"%s\": it is empty or has more than %d characters",
                 NAME (given), ACCESS_IDENTITY_CHARACTERS);
  for (const char *p = given; *p; p++)
    if ((unsigned char) *p < 0x20 || *p == 0x7f)
      return fail (err, ERR_ARGUMENT, "identity \"%s\" has control characters",
                   NAME (given));
  strcpy (identity, given);
  return 0;
}

/* --------------------------------------------------------------------- */
/* Making an entry. */

/* Not for each client that comes. */
__attribute__ ((format (printf, 2, 3))) static void
say_once (const struct session *session, const char *format, ...)
{
  char text[ERROR_TEXT_SIZE];
  va_list args;
  LOCK_FOR_SCOPE (&lock);

  va_start (args, format);
  vsnprintf (text, sizeof text, format, args);
  va_end (args);
  if (strcmp (last_said, text) == 0)
    return;
  strcpy (last_said, text);
  log_warning (session_log (session), "%s", text);
}

static int64_t
now_ms (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct making {
  struct session *session;
  const struct access_settings *settings;
  struct entry *entry;
  int64_t deadline_ms;
};

static int
fail_stopped (struct vmdk_error *err)
{
  fail (err, ERR_SYSTEM, "stopped");
  err->errnum = ECANCELED;
  return -1;
}

/* Wait before the next look: 1 to look again, 0 when the time is over. */
static int
wait_more (const struct making *m, struct vmdk_error *err)
{
  const struct access_settings *s = m->settings;
  unsigned ms = s->pause_ms ? s->pause_ms : DEFAULT_PAUSE_MS;

  if (now_ms () >= m->deadline_ms)
    return 0;
  while (ms > 0) {
    const unsigned slice = ms < SLICE_MS ? ms : SLICE_MS;
    const struct timespec span = { 0, (long) slice * 1000000 };

    if (s->stopped && s->stopped (s->opaque))
      return fail_stopped (err);
    nanosleep (&span, NULL);
    ms -= slice;
  }
  return 1;
}

static bool
is_refusal (const struct soap_answer *answer)
{
  return soap_is (answer, "NoPermission")
         || soap_is (answer, "RestrictedVersion")
         || strncmp (answer->fault.type, "License", 7) == 0;
}

/* What comes of one try: */
enum outcome {
  GOT,    /* the entry is there */
  AGAIN,  /* later perhaps */
  CANNOT, /* *err says why */
};

static enum outcome
judge (const struct making *m, const struct soap_answer *answer,
       unsigned *nr_lost, struct vmdk_error *err)
{
  struct entry *entry = m->entry;

  if (soap_is (answer, "MethodAlreadyDisabledFault")) {
    if (strcmp (answer->fault.field, entry->identity) == 0) {
      /* rule 2; unless it is ours, and only the answer was lost */
      entry->owned = *nr_lost > 0 || entry->left || m->settings->takeover;
      return GOT;
    }
    return m->settings->policy == ACCESS_REQUIRE ? AGAIN : CANNOT;
  }
  if (soap_is (answer, "TaskInProgress") || soap_is (answer, "InvalidState"))
    return AGAIN;
  if (is_refusal (answer))
    fail_prefix (err, "the user needs the privileges Global.DisableMethods "
                      "and Global.EnableMethods at the vCenter's root");
  if (answer->fault.type[0] == '\0')
    return ++*nr_lost < MAX_LOST ? AGAIN : CANNOT;
  return CANNOT;
}

/* Whatever may have been done is undone, when it is given up. */
static void
undo (const struct making *m)
{
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  struct vmdk_error err;

  m->entry->left = access_enable (m->session, &m->entry->vm,
                                  m->entry->identity, &answer, &err)
                   == -1;
  m->entry->owned = m->entry->left;
  if (m->entry->left)
    log_debug (session_log (m->session), LOG_OPEN, "%s", err.text);
}

static int
disable (const struct making *m, struct vmdk_error *err)
{
  unsigned nr_lost = 0;
  int more = -1;

  for (;;) {
    CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
    enum outcome outcome = GOT;

    m->entry->owned = true;
    if (access_disable (m->session, &m->entry->vm, m->entry->identity, &answer,
                        err)
        == -1) {
      m->entry->owned = m->entry->left;
      outcome = judge (m, &answer, &nr_lost, err);
    }
    if (outcome == GOT)
      return 0;
    if (outcome == CANNOT)
      break;
    {
      struct vmdk_error why = { 0 };

      more = wait_more (m, &why);
      if (more == -1)
        *err = why;
      if (more != 1)
        break;
    }
  }
  if (nr_lost > 0)
    undo (m);
  return -1;
}

/* A move that runs is not stopped by what we did. */
static int
wait_for_move (const struct making *m, struct vmdk_error *err)
{
  bool moving;
  int more = 1;

  for (;;) {
    if (access_is_moving (m->session, &m->entry->vm, &moving, err) == -1)
      return -1;
    if (!moving)
      return 0;
    more = wait_more (m, err);
    if (more == 1)
      continue;
    if (more == 0)
      fail (err, ERR_LOCKED,
            "%s: virtual machine %s is being moved, for longer than we wait "
            "(%u seconds): try again later",
            session_server (m->session), NAME (m->entry->vm.id),
            m->settings->wait_seconds);
    return -1;
  }
}

static int
make (const struct making *m, struct vmdk_error *err)
{
  if (disable (m, err) == -1)
    return -1;
  if (!m->entry->owned)
    say_once (m->session,
              "%s: moving %s was disabled before by \"%s\", and stays so: a "
              "process that was killed can have left it (vmdkit access "
              "release)",
              session_server (m->session), NAME (m->entry->vm.id),
              NAME (m->entry->identity));
  if (wait_for_move (m, err) == 0)
    return 0;
  if (m->settings->policy != ACCESS_REQUIRE && err->errnum != ECANCELED) {
    log_warning (session_log (m->session), "%s", err->text);
    return 0;
  }
  if (m->entry->owned)
    undo (m);
  return -1;
}

/* --------------------------------------------------------------------- */
/* Sharing it. */

static const char *
server_key (const struct session *session)
{
  const char *instance = session_about (session)->instance;

  return instance[0] ? instance : session_server (session);
}

/* The following want the lock. */

static struct entry *
entry_find (const char *server, const struct vim_ref *vm, const char *identity)
{
  for (struct entry *e = entries; e; e = e->next)
    if (vim_ref_same (&e->vm, vm) && strcmp (e->server, server) == 0
        && strcmp (e->identity, identity) == 0)
      return e;
  return NULL;
}

static struct entry *
entry_new (const char *server, const struct vim_ref *vm, const char *identity)
{
  struct entry *entry = calloc (1, sizeof *entry);

  if (!entry)
    return NULL;
  entry->server = strdup (server);
  if (!entry->server) {
    free (entry);
    return NULL;
  }
  entry->vm = *vm;
  strcpy (entry->identity, identity);
  entry->next = entries;
  entries = entry;
  return entry;
}

static void
entry_free (struct entry *entry)
{
  struct entry **p = &entries;

  while (*p != entry)
    p = &(*p)->next;
  *p = entry->next;
  free (entry->server);
  free (entry);
}

/* An entry that is not busy, counted; *IS_NEW when it is yet to be made. */
static struct entry *
entry_get (const char *server, const struct vim_ref *vm, const char *identity,
           bool *is_new)
{
  struct entry *entry;

  while ((entry = entry_find (server, vm, identity)) && entry->busy)
    pthread_cond_wait (&changed, &lock);
  *is_new = !entry || entry->left;
  if (!entry)
    entry = entry_new (server, vm, identity);
  if (!entry)
    return NULL;
  entry->busy = *is_new;
  entry->count++;
  return entry;
}

/* It is there, or not; or nobody wants it, and it may be there. */
enum state { MADE, GONE, LEFT };

static void
entry_settle (struct entry *entry, enum state state)
{
  LOCK_FOR_SCOPE (&lock);
  entry->busy = false;
  entry->left = state == LEFT;
  if (state == LEFT)
    entry->count = 0;
  else if (state == GONE)
    entry_free (entry);
  pthread_cond_broadcast (&changed);
}

/* --------------------------------------------------------------------- */

static int
prepare (struct session *session, const struct vim_ref *vm,
         const struct access_settings *settings, const char *identity,
         struct access *access, struct vmdk_error *err)
{
  bool is_new;

  if (access_check_server (session, err) == -1)
    return -1;
  {
    LOCK_FOR_SCOPE (&lock);
    access->entry = entry_get (server_key (session), vm, identity, &is_new);
  }
  if (!access->entry)
    return fail_memory (err);
  access->session = session;
  if (is_new) {
    const struct making making = {
      session, settings, access->entry,
      now_ms () + (int64_t) settings->wait_seconds * 1000
    };
    const int made = make (&making, err);

    entry_settle (access->entry, made == 0             ? MADE
                                 : access->entry->left ? LEFT
                                                       : GONE);
    return made;
  }
  return 0;
}

int
access_prepare (struct session *session, const struct vim_ref *vm,
                const struct access_settings *settings, struct access **access,
                struct vmdk_error *err)
{
  char identity[ACCESS_IDENTITY_SIZE];
  struct access *made;

  *access = NULL;
  if (settings->policy == ACCESS_OFF)
    return 0;
  if (choose_identity (identity, settings->identity, vm, err) == -1)
    return -1;
  made = calloc (1, sizeof *made);
  if (!made)
    return fail_memory (err);
  if (prepare (session, vm, settings, identity, made, err) == 0) {
    *access = made;
    return 0;
  }
  free (made);
  if (settings->policy == ACCESS_REQUIRE || err->errnum == ECANCELED
      || err->errnum == ENOMEM)
    return -1;
  say_once (session,
            "moving the virtual machine to another datastore is not prevented "
            "by us while its disks are open: %s",
            err->text);
  return 0;
}

/* --------------------------------------------------------------------- */
/* Taking it back. */

static int
enable (struct session *session, const struct entry *entry,
        struct vmdk_error *err)
{
  for (unsigned nr_tries = 1;; nr_tries++) {
    CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

    if (access_enable (session, &entry->vm, entry->identity, &answer, err)
        == 0)
      return 0;
    /* nothing to free any more */
    if (soap_is (&answer, "ManagedObjectNotFound"))
      return 0;
    if (answer.fault.type[0] || nr_tries == MAX_LOST)
      break;
  }
  return fail_prefix (err,
                      "%s can still not be moved to another datastore; free "
                      "it with: vmdkit access release moref=%s server=%s "
                      "identity=\"%s\" user=... password=-",
                      NAME (entry->vm.id), NAME (entry->vm.id),
                      session_host (session), NAME (entry->identity));
}

/* An entry that another program made under our identity, or that the server
 * keeps for a reason of its own.
 */
static void
say_if_held (struct session *session, const struct entry *entry)
{
  struct vmdk_error err;
  bool held = false;

  if (access_is_held (session, &entry->vm, &held, &err) == -1)
    log_debug (session_log (session), LOG_OPEN, "%s", err.text);
  if (held)
    log_debug (session_log (session), LOG_OPEN,
               "%s: %s can still not be moved: another program, or its "
               "state, is the reason",
               session_server (session), entry->vm.id);
}

static int
take_back (struct session *session, const struct entry *entry,
           struct vmdk_error *err)
{
  if (!entry->owned)
    return 0;
  if (enable (session, entry, err) == -1)
    return -1;
  say_if_held (session, entry);
  return 0;
}

int
access_end (struct access *access, struct vmdk_error *err)
{
  struct entry *entry;
  struct session *session;
  int result;

  if (!access)
    return 0;
  entry = access->entry;
  session = access->session;
  free (access);
  {
    LOCK_FOR_SCOPE (&lock);

    while (entry->busy)
      pthread_cond_wait (&changed, &lock);
    if (--entry->count > 0)
      return 0;
    entry->busy = true;
  }
  result = take_back (session, entry, err);
  entry_settle (entry, result == 0 ? GONE : LEFT);
  return result;
}

/* One that is left at that server, made busy; or NULL. */
static struct entry *
entry_to_end (const char *server)
{
  LOCK_FOR_SCOPE (&lock);

  for (struct entry *e = entries; e; e = e->next)
    if (!e->busy && e->left && strcmp (e->server, server) == 0) {
      e->busy = true;
      return e;
    }
  return NULL;
}

int
access_end_left (struct session *session, struct vmdk_error *err)
{
  struct entry *entry;

  while ((entry = entry_to_end (server_key (session)))) {
    const int result = take_back (session, entry, err);

    entry_settle (entry, result == 0 ? GONE : LEFT);
    if (result == -1)
      return -1;
  }
  return 0;
}

bool
access_is_left (void)
{
  LOCK_FOR_SCOPE (&lock);

  for (const struct entry *e = entries; e; e = e->next)
    if (e->left)
      return true;
  return false;
}

void
access_forget_left (void)
{
  LOCK_FOR_SCOPE (&lock);

  for (struct entry *e = entries, *next; e; e = next) {
    next = e->next;
    if (e->left && !e->busy)
      entry_free (e);
  }
}
