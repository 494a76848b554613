/* SPDX-License-Identifier: BSD-3-Clause */

/* Connecting and connecting again.  See nfc-keeper.h. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "checked.h"
#include "cleanup.h"
#include "deadline.h"
#include "nfc-keeper.h"
#include "nfc-wire.h"

#define SLICE 200       /* milliseconds until it is asked whether to stop */
#define FIRST_RETRIES 3 /* while the user waits for a disk to open */
#define LOCK_RETRIES 6  /* an old handle may hold its lock for a while */

struct nfc_keeper {
  struct nfc_settings settings;   /* .stopped is ours, and asks: */
  bool (*stopped) (void *opaque); /* the user's; or NULL */
  void *opaque;
  struct nfc_ticket_office office;
  struct nfc_quirks quirks; /* the connecting thread's alone */
  struct vmdk_log log;
  char *path;
  bool writable;
  struct nfc_opened opened; /* constant once open */
  bool was_open;            /* the same */

  struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct nfc_session *session;
    struct nfc_keeper_hook hook;
    unsigned users, replaced, limit;
    bool connecting, cancelled, dead;
    struct nfc_fault why; /* dead */
  } state;
};

/* --------------------------------------------------------------------- */
/* Waiting. */

static bool
is_cancelled (struct nfc_keeper *keeper)
{
  LOCK_FOR_SCOPE (&keeper->state.lock);
  return keeper->state.cancelled;
}

static bool
is_stopped (void *opaque)
{
  struct nfc_keeper *keeper = opaque;

  return is_cancelled (keeper)
         || (keeper->stopped && keeper->stopped (keeper->opaque));
}

static void
sleep_unless_cancelled (struct nfc_keeper *keeper, int milliseconds)
{
  const struct timespec until = deadline_after ((uint64_t) milliseconds);
  LOCK_FOR_SCOPE (&keeper->state.lock);
  while (!keeper->state.cancelled)
    if (pthread_cond_timedwait (&keeper->state.changed, &keeper->state.lock,
                                &until)
        != 0)
      return;
}

int
nfc_keeper_pause (struct nfc_keeper *keeper, int milliseconds)
{
  while (milliseconds > 0 && !is_stopped (keeper)) {
    const int slice = min_u64 ((uint64_t) milliseconds, SLICE);

    sleep_unless_cancelled (keeper, slice);
    milliseconds -= slice;
  }
  return is_stopped (keeper) ? -1 : 0;
}

void
nfc_keeper_cancel (struct nfc_keeper *keeper)
{
  LOCK_FOR_SCOPE (&keeper->state.lock);
  keeper->state.cancelled = true;
  if (keeper->state.session)
    nfc_session_break (keeper->state.session);
  pthread_cond_broadcast (&keeper->state.changed);
}

static int
fail_cancelled (struct nfc_fault *fault)
{
  return NFC_FAIL (fault, NFC_FAILED, ERR_SYSTEM, "the disk is being closed");
}

static void
fail_stopped (struct nfc_keeper *keeper, struct nfc_fault *fault)
{
  if (is_cancelled (keeper)) {
    fail_cancelled (fault);
    return;
  }
  fail (&fault->error, ERR_SYSTEM, "stopped");
  fault->error.errnum = ECANCELED;
  fault->reason = NFC_FAILED;
}

/* --------------------------------------------------------------------- */
/* One attempt. */

static int
get_ticket (struct nfc_keeper *keeper, struct nfc_ticket *ticket,
            struct nfc_fault *fault)
{
  const struct nfc_ticket_office *office = &keeper->office;
  enum vmdk_error_kind kind;

  if (office->ticket (office->opaque, keeper->writable, ticket, &fault->error)
      == 0) {
    log_debug (&keeper->log, LOG_OPEN, "a ticket for %s, port %u, service %s",
               ticket->host, ticket->port, ticket->service);
    return 0;
  }
  kind = fault->error.kind;
  return nfc_blame (fault, kind == ERR_DENIED || kind == ERR_MISSING
                               || kind == ERR_UNSUPPORTED
                             ? NFC_TICKET
                             : NFC_LOST);
}

static int
check_same (const struct nfc_keeper *keeper, const struct nfc_opened *opened,
            struct nfc_fault *fault)
{
  if (!keeper->was_open || opened->capacity == keeper->opened.capacity)
    return 0;
  return NFC_FAIL (fault, NFC_CHANGED, ERR_SYSTEM,
                   "the disk had %" PRIu64 " bytes and has %" PRIu64
                   " after connecting again",
                   keeper->opened.capacity, opened->capacity);
}

static struct nfc_session *
connect_once (struct nfc_keeper *keeper, struct nfc_fault *fault)
{
  struct nfc_ticket ticket = { 0 };
  struct nfc_session *session = NULL;

  if (get_ticket (keeper, &ticket, fault) == 0)
    session =
      nfc_session_open (&keeper->settings, &keeper->quirks, &ticket,
                        keeper->path, keeper->writable, &keeper->log, fault);
  nfc_ticket_clear (&ticket);
  if (session
      && check_same (keeper, nfc_session_opened (session), fault) == -1) {
    nfc_session_close (session, NULL);
    return NULL;
  }
  return session;
}

/* --------------------------------------------------------------------- */
/* Attempts. */

struct attempts {
  int64_t began;
  int failures; /* that were followed by a pause */
  int locked, turned_away;
};

/* What can be done at once after a failure, each but once. */
static bool
learn (struct nfc_keeper *keeper, struct attempts *attempts,
       enum nfc_reason reason)
{
  struct nfc_quirks *quirks = &keeper->quirks;
  bool *quirk = NULL;

  switch (reason) {
  case NFC_TURNED_AWAY:
    return attempts->turned_away++ == 0;
  case NFC_TAG:
    quirk = &quirks->no_tag;
    break;
  case NFC_NO_SESSION:
    /* or it is our version that the host does not like */
    quirk =
      quirks->zero_buffers ? &quirks->newer_version : &quirks->zero_buffers;
    break;
  case NFC_HANDSHAKE:
    quirk = &quirks->newer_version;
    break;
  default:
    return false;
  }
  if (*quirk)
    return false;
  *quirk = true;
  return true;
}

/* What no time will change. */
static bool
is_final (const struct nfc_keeper *keeper, enum nfc_reason reason)
{
  switch (reason) {
  case NFC_NO_TLS:
  case NFC_UNTRUSTED:
  case NFC_TICKET:
  case NFC_TOO_OLD:
  case NFC_NOT_ALLOWED:
  case NFC_IN_USE:
  case NFC_CHANGED:
  case NFC_FAILED:
    return true;
  case NFC_TURNED_AWAY:
  case NFC_TAG:
  case NFC_HANDSHAKE:
  case NFC_NO_SESSION:
  case NFC_IO_ERROR:
    /* a host that did serve the disk may do so again */
    return !keeper->was_open;
  default:
    return false;
  }
}

static bool
is_enough (const struct nfc_keeper *keeper, const struct attempts *attempts)
{
  const struct nfc_times *times = &keeper->settings.times;

  if (!keeper->was_open)
    /* a host that says nothing is waited for twice, not four times */
    return attempts->failures > FIRST_RETRIES
           || nfc_clock () - attempts->began >= 2 * (int64_t) times->step;
  if (attempts->locked > LOCK_RETRIES)
    return true;
  return attempts->failures >= times->attempts
         && nfc_clock () - attempts->began >= times->budget;
}

static int
pause_length (const struct nfc_times *times, int failures)
{
  int length = times->pause;

  for (int i = 1; i < failures && length < times->max_pause; i++)
    length *= 2;
  return length < times->max_pause ? length : times->max_pause;
}

/* Whether to try again, after a pause if that helps. */
static bool
try_again (struct nfc_keeper *keeper, struct attempts *attempts,
           const struct nfc_fault *fault)
{
  int length;

  log_debug (&keeper->log, LOG_OPEN, "%s: %s", keeper->path,
             fault->error.text);
  if (learn (keeper, attempts, fault->reason))
    return true;
  if (is_final (keeper, fault->reason))
    return false;
  attempts->failures++;
  attempts->locked += fault->reason == NFC_LOCKED;
  if (is_enough (keeper, attempts))
    return false;
  length = pause_length (&keeper->settings.times, attempts->failures);
  log_debug (&keeper->log, LOG_OPEN, "trying again in %d ms", length);
  return nfc_keeper_pause (keeper, length) == 0;
}

static struct nfc_session *
connect_patiently (struct nfc_keeper *keeper, struct nfc_fault *fault)
{
  struct attempts attempts = { .began = nfc_clock () };

  while (!is_stopped (keeper)) {
    struct nfc_session *session = connect_once (keeper, fault);

    if (session)
      return session;
    if (!try_again (keeper, &attempts, fault) && !is_stopped (keeper))
      return NULL;
  }
  fail_stopped (keeper, fault);
  return NULL;
}

/* --------------------------------------------------------------------- */
/* The session. */

static void
set_session (struct nfc_keeper *keeper, struct nfc_session *session,
             const struct nfc_fault *fault)
{
  LOCK_FOR_SCOPE (&keeper->state.lock);
  keeper->state.connecting = false;
  keeper->state.session = session;
  if (!session) {
    keeper->state.dead = true;
    keeper->state.why = *fault;
  }
  else if (keeper->state.limit < keeper->settings.requests)
    nfc_session_limit (session, keeper->state.limit);
  pthread_cond_broadcast (&keeper->state.changed);
}

/* The caller has set connecting, which keeps others out.  Returns what came
 * of closing the old session.
 */
static int
replace (struct nfc_keeper *keeper, struct nfc_fault *closing)
{
  struct nfc_session *old;
  struct nfc_keeper_hook hook;
  struct nfc_fault fault;
  int r;

  {
    LOCK_FOR_SCOPE (&keeper->state.lock);
    hook = keeper->state.hook;
  }
  if (hook.drain)
    hook.drain (hook.opaque);
  {
    LOCK_FOR_SCOPE (&keeper->state.lock);
    while (keeper->state.users > 0)
      pthread_cond_wait (&keeper->state.changed, &keeper->state.lock);
    old = keeper->state.session;
    keeper->state.session = NULL;
    keeper->state.replaced++;
  }
  r = nfc_session_close (old, closing);
  set_session (keeper, connect_patiently (keeper, &fault), &fault);
  return r;
}

static bool
is_good (struct nfc_session *session)
{
  return session && !nfc_session_broken (session)
         && !nfc_session_worn (session);
}

struct nfc_session *
nfc_keeper_get (struct nfc_keeper *keeper, struct nfc_fault *fault)
{
  for (;;) {
    {
      LOCK_FOR_SCOPE (&keeper->state.lock);
      while (keeper->state.connecting)
        pthread_cond_wait (&keeper->state.changed, &keeper->state.lock);
      if (keeper->state.cancelled || keeper->state.dead) {
        if (keeper->state.cancelled)
          fail_cancelled (fault);
        else
          *fault = keeper->state.why;
        return NULL;
      }
      if (is_good (keeper->state.session)) {
        keeper->state.users++;
        return keeper->state.session;
      }
      keeper->state.connecting = true;
    }
    (void) replace (keeper, NULL);
  }
}

struct nfc_session *
nfc_keeper_try_get (struct nfc_keeper *keeper)
{
  LOCK_FOR_SCOPE (&keeper->state.lock);
  if (keeper->state.connecting || keeper->state.cancelled
      || !is_good (keeper->state.session))
    return NULL;
  keeper->state.users++;
  return keeper->state.session;
}

void
nfc_keeper_put (struct nfc_keeper *keeper)
{
  LOCK_FOR_SCOPE (&keeper->state.lock);
  if (--keeper->state.users == 0)
    pthread_cond_broadcast (&keeper->state.changed);
}

int
nfc_keeper_reopen (struct nfc_keeper *keeper, struct nfc_fault *fault)
{
  {
    LOCK_FOR_SCOPE (&keeper->state.lock);
    while (keeper->state.connecting)
      pthread_cond_wait (&keeper->state.changed, &keeper->state.lock);
    if (keeper->state.dead) {
      *fault = keeper->state.why;
      return -1;
    }
    keeper->state.connecting = true;
  }
  if (replace (keeper, fault) == -1)
    return -1;
  LOCK_FOR_SCOPE (&keeper->state.lock);
  if (!keeper->state.dead)
    return 0;
  *fault = keeper->state.why;
  return -1;
}

void
nfc_keeper_limit (struct nfc_keeper *keeper, unsigned requests)
{
  LOCK_FOR_SCOPE (&keeper->state.lock);
  keeper->state.limit = requests;
  if (keeper->state.session)
    nfc_session_limit (keeper->state.session, requests);
}

unsigned
nfc_keeper_replaced (struct nfc_keeper *keeper)
{
  LOCK_FOR_SCOPE (&keeper->state.lock);
  return keeper->state.replaced;
}

void
nfc_keeper_set_hook (struct nfc_keeper *keeper, struct nfc_keeper_hook hook)
{
  LOCK_FOR_SCOPE (&keeper->state.lock);
  keeper->state.hook = hook;
}

const struct nfc_opened *
nfc_keeper_opened (const struct nfc_keeper *keeper)
{
  return &keeper->opened;
}

/* --------------------------------------------------------------------- */
/* Beginning and end. */

static struct nfc_keeper *
make_keeper (const struct nfc_settings *settings,
             const struct nfc_ticket_office *office, const char *path,
             bool writable, const struct vmdk_log *log)
{
  struct nfc_keeper *keeper = calloc (1, sizeof *keeper);
  pthread_condattr_t monotonic;

  if (!keeper)
    return NULL;
  keeper->path = strdup (path);
  if (!keeper->path) {
    free (keeper);
    return NULL;
  }
  keeper->settings = *settings;
  keeper->settings.stopped = is_stopped;
  keeper->settings.opaque = keeper;
  keeper->stopped = settings->stopped;
  keeper->opaque = settings->opaque;
  keeper->office = *office;
  keeper->log = *log;
  keeper->writable = writable;
  keeper->state.limit = settings->requests;
  pthread_mutex_init (&keeper->state.lock, NULL);
  pthread_condattr_init (&monotonic);
  pthread_condattr_setclock (&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init (&keeper->state.changed, &monotonic);
  pthread_condattr_destroy (&monotonic);
  return keeper;
}

struct nfc_keeper *
nfc_keeper_open (const struct nfc_settings *settings,
                 const struct nfc_ticket_office *office, const char *path,
                 bool writable, const struct vmdk_log *log,
                 struct nfc_fault *fault)
{
  struct nfc_keeper *keeper =
    make_keeper (settings, office, path, writable, log);

  if (!keeper) {
    fail_memory (&fault->error);
    fault->reason = NFC_FAILED;
    return NULL;
  }
  keeper->state.session = connect_patiently (keeper, fault);
  if (!keeper->state.session) {
    nfc_keeper_close (keeper, NULL);
    return NULL;
  }
  keeper->opened = *nfc_session_opened (keeper->state.session);
  keeper->was_open = true;
  return keeper;
}

int
nfc_keeper_close (struct nfc_keeper *keeper, struct nfc_fault *fault)
{
  int r;

  if (!keeper)
    return 0;
  r = nfc_session_close (keeper->state.session, fault);
  pthread_cond_destroy (&keeper->state.changed);
  pthread_mutex_destroy (&keeper->state.lock);
  free (keeper->path);
  free (keeper);
  return r;
}
