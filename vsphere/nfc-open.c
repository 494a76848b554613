/* SPDX-License-Identifier: BSD-3-Clause */

/* Sessions: from the connection to the open disk, and the end.  See
 * nfc-session.h.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "checked.h"
#include "nfc-authd.h"
#include "nfc-handshake.h"
#include "nfc-pack.h"
#include "nfc-session-parts.h"

#define DEFAULT_PORT 902
#define GOODBYE_TIME 2000 /* milliseconds */

static int
ask (struct nfc_session *session, struct nfc_op *op, enum nfc_type type,
     const char *key, struct nfc_fault *fault)
{
  *op = (struct nfc_op){ .type = type, .key = key };
  nfc_session_submit (session, op);
  if (nfc_session_wait (session, op) == 0)
    return 0;
  *fault = op->fault;
  return -1;
}

/* For the log of who meets a host that does otherwise: the answer in hex. */
static void
log_answer (const struct nfc_session *session, const struct nfc_op *op)
{
  char hex[2 * sizeof op->answer + 1] = "";

  for (size_t i = 0; i < op->answer_size; i++)
    snprintf (hex + 2 * i, 3, "%02x", op->answer[i]);
  log_debug (&session->log, LOG_OPEN, "< %s: %s", nfc_type_name (op->type),
             hex);
}

static int
check_opened (struct nfc_session *session, struct nfc_fault *fault)
{
  struct nfc_opened *opened = &session->opened;

  if (opened->sector_size == 0)
    opened->sector_size = SECTOR_SIZE;
  if (opened->status != 0)
    return NFC_FAIL (fault, NFC_IO_ERROR, ERR_SYSTEM,
                     "the host answers with status %" PRIu64, opened->status);
  if (opened->sector_size != SECTOR_SIZE)
    return NFC_FAIL (fault, NFC_CHANGED, ERR_UNSUPPORTED,
                     "the host says that sectors have %" PRIu32
                     " bytes; only 512 are understood",
                     opened->sector_size);
  if (opened->capacity == 0 || opened->capacity % SECTOR_SIZE != 0
      || bytes_to_sectors (opened->capacity) > MAX_SECTORS)
    return NFC_FAIL (fault, NFC_NONSENSE, ERR_SYSTEM,
                     "the host says that the disk has %" PRIu64 " bytes",
                     opened->capacity);
  return 0;
}

static int
open_file (struct nfc_session *session, const char *path,
           struct nfc_fault *fault)
{
  struct nfc_op op;

  if (ask (session, &op, NFC_OPEN_FILE, path, fault) == -1)
    return -1;
  log_answer (session, &op);
  if (nfc_decode_opened (&session->opened, op.answer, op.answer_size,
                         &fault->error)
      == -1)
    return nfc_blame (fault, NFC_NONSENSE);
  return check_opened (session, fault);
}

static int
open_session (struct nfc_session *session, const char *path,
              struct nfc_fault *fault)
{
  struct nfc_op op;

  if (ask (session, &op, NFC_OPEN_SESSION, NULL, fault) == -1) {
    /* whatever the words: the sizes are all that can be wrong */
    if (fault->reason == NFC_IO_ERROR || fault->reason == NFC_NO_MEMORY)
      fault->reason = NFC_NO_SESSION;
    return -1;
  }
  if (ask (session, &op, NFC_SOCKET_OPTIONS, NULL, fault) == -1)
    return -1;
  log_answer (session, &op);
  if (ask (session, &op, NFC_RESOURCE_POOL, NULL, fault) == -1)
    return -1;
  return open_file (session, path, fault);
}

/* What is open is ended politely, by those who use it. */
static bool
is_stopped (void *opaque)
{
  const struct nfc_session *session = opaque;

  return !atomic_load (&session->is_open)
         && session->settings.stopped (session->settings.opaque);
}

static struct nfc_session *
make_session (const struct nfc_settings *settings, bool writable,
              const struct vmdk_log *log, struct nfc_fault *fault)
{
  struct nfc_session *session = calloc (1, sizeof *session);
  pthread_condattr_t monotonic;

  if (session)
    session->in.packed = malloc (nfc_packed_bound (NFC_MAX_IO));
  if (!session || !session->in.packed) {
    free (session);
    fail_memory (&fault->error);
    fault->reason = NFC_FAILED;
    return NULL;
  }
  session->settings = *settings;
  session->log = *log;
  session->writable = writable;
  session->state.limit = settings->requests;
  nfc_wire_init (&session->wire);
  session->wire.stopped = settings->stopped ? is_stopped : NULL;
  session->wire.opaque = session;
  report_trace_init (&session->trace);
  pthread_mutex_init (&session->send_lock, NULL);
  pthread_mutex_init (&session->state.lock, NULL);
  pthread_condattr_init (&monotonic);
  pthread_condattr_setclock (&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init (&session->state.changed, &monotonic);
  pthread_condattr_destroy (&monotonic);
  return session;
}

static unsigned
port_of (const struct nfc_settings *settings, const struct nfc_ticket *ticket)
{
  if (settings->port)
    return settings->port;
  return ticket->port ? ticket->port : DEFAULT_PORT;
}

/* The second TLS must show what the first has shown. */
static int
start_second_tls (struct nfc_session *session, const char *host,
                  const struct tls_pin *certificate, int64_t deadline,
                  struct nfc_fault *fault)
{
  const struct tls_trust trust = { .pins = { *certificate },
                                   .nr_pins = 1,
                                   .old_hosts =
                                     session->settings.trust.old_hosts };
  struct tls_check check = { .trust = &trust };

  if (nfc_wire_start_tls (&session->wire, &check, host, true, deadline, fault)
      == 0)
    return 0;
  fail_prefix (&fault->error, "the second TLS");
  return -1;
}

/* From the connection to the first frame. */
static int
reach_frames (struct nfc_session *session, const struct nfc_quirks *quirks,
              const struct nfc_ticket *ticket, struct nfc_fault *fault)
{
  const struct nfc_settings *settings = &session->settings;
  struct nfc_dialogue dialogue = { .ticket = ticket,
                                   .tls = settings->tls,
                                   .no_tag = quirks->no_tag,
                                   .trust = &settings->trust,
                                   .log = &session->log };
  struct nfc_handshake handshake = { .client = settings->client,
                                     .newer_version = quirks->newer_version,
                                     .log = &session->log };

  if (nfc_wire_connect (&session->wire, ticket->host,
                        port_of (settings, ticket),
                        nfc_clock () + settings->times.connect, fault)
      == -1)
    return -1;
  dialogue.deadline = nfc_clock () + settings->times.step;
  if (nfc_authd_talk (&dialogue, &session->wire, fault) == -1)
    return -1;
  handshake.deadline = nfc_clock () + settings->times.step;
  handshake.tag = dialogue.tag;
  if (settings->tls
      && start_second_tls (session, ticket->host, &dialogue.certificate,
                           handshake.deadline, fault)
           == -1)
    return -1;
  if (nfc_handshake_do (&handshake, &session->wire, fault) == -1)
    return -1;
  return nfc_wire_set_buffered (&session->wire, fault);
}

static int
start_thread (struct nfc_session *session, struct nfc_fault *fault)
{
  const int r =
    pthread_create (&session->thread, NULL, nfc_receive_thread, session);

  if (r != 0) {
    fail_errno (&fault->error, r, "starting a thread");
    return nfc_blame (fault, NFC_FAILED);
  }
  session->has_thread = true;
  return 0;
}

/* Without a word to the host. */
static void
drop_session (struct nfc_session *session)
{
  /* The socket is shut, the thread has ended, and then only is the number of
   * the descriptor given away: else the thread could read from whatever
   * connection gets it next.
   */
  nfc_wire_wake (&session->wire);
  if (session->has_thread)
    pthread_join (session->thread, NULL);
  nfc_wire_close (&session->wire);
  pthread_cond_destroy (&session->state.changed);
  pthread_mutex_destroy (&session->state.lock);
  pthread_mutex_destroy (&session->send_lock);
  report_trace_destroy (&session->trace);
  free (session->in.packed);
  free (session);
}

/* A host that we do not understand should be known to those who could make us.
 */
static void
report (struct nfc_session *session, struct nfc_fault *fault)
{
  if (fault->reason != NFC_HANDSHAKE && fault->reason != NFC_NONSENSE)
    return;
  report_trace_tell (&session->trace, &session->log);
  report_ask (&fault->error, &session->log);
}

struct nfc_session *
nfc_session_open (const struct nfc_settings *settings,
                  const struct nfc_quirks *quirks,
                  const struct nfc_ticket *ticket, const char *path,
                  bool writable, const struct vmdk_log *log,
                  struct nfc_fault *fault)
{
  struct nfc_session *session = make_session (settings, writable, log, fault);

  if (!session)
    return NULL;
  if (quirks->zero_buffers)
    session->settings.buffer_size = session->settings.buffer_count = 0;
  if (reach_frames (session, quirks, ticket, fault) == -1
      || start_thread (session, fault) == -1
      || open_session (session, path, fault) == -1) {
    report (session, fault);
    drop_session (session);
    return NULL;
  }
  if (session->settings.buffer_size == 0)
    session->settings.buffer_size = 64 * 1024; /* what zeros mean */
  atomic_store (&session->is_open, true);
  log_debug (log, LOG_OPEN, "%s is open at %s: %" PRIu64 " bytes", path,
             ticket->host, session->opened.capacity);
  return session;
}

const struct nfc_opened *
nfc_session_opened (const struct nfc_session *session)
{
  return &session->opened;
}

/* --------------------------------------------------------------------- */
/* Closing. */

/* The disk is closed: hosts need not answer what comes after that, and some
 * have hung up already.
 */
static void
end_session (struct nfc_session *session)
{
  struct nfc_op *op = &session->goodbye;
  uint8_t complete[NFC_CLASSIC_SIZE];
  struct nfc_fault fault;

  *op = (struct nfc_op){ .type = NFC_CLOSE_SESSION };
  nfc_session_submit (session, op);
  if (!nfc_session_wait_briefly (session, op, GOODBYE_TIME))
    log_debug (&session->log, LOG_OPEN, "closing: no answer, none needed");
  if (nfc_session_broken (session))
    return;
  nfc_classic_encode (complete, NFC_CLASSIC_COMPLETE, 0, 0);
  if (nfc_wire_write (&session->wire, complete, sizeof complete,
                      session->settings.times.step, &fault)
      == -1)
    log_debug (&session->log, LOG_OPEN, "closing: %s", fault.error.text);
}

static int
say_goodbye (struct nfc_session *session, struct nfc_fault *fault)
{
  struct nfc_op op;

  if (ask (session, &op, NFC_CLOSE_FILE, NULL, fault) == -1)
    return -1;
  end_session (session);
  return 0;
}

static void
log_counted (struct nfc_session *session)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  log_debug (&session->log, LOG_OPEN,
             "closed: %" PRIu64 " operations, %" PRIu64 " bytes read (%" PRIu64
             " on the wire), %" PRIu64 " written, at most %u and %" PRIu64
             " bytes in flight",
             session->counted.operations, session->counted.read,
             session->counted.wire_in, session->counted.written,
             session->counted.most_operations, session->counted.most_bytes);
}

int
nfc_session_close (struct nfc_session *session, struct nfc_fault *fault)
{
  struct nfc_fault why;
  int r = 0;

  if (!session)
    return 0;
  if (!nfc_session_broken (session) && !nfc_session_worn (session)) {
    r = say_goodbye (session, &why);
    if (r == -1) {
      log_debug (&session->log, LOG_OPEN, "closing: %s", why.error.text);
      if (fault)
        *fault = why;
    }
  }
  log_counted (session);
  drop_session (session);
  return r;
}
