/* SPDX-License-Identifier: BSD-3-Clause */

/* Sessions: the table of operations, and sending.  See nfc-session.h;
 * nfc-open.c opens and closes.
 */

#include <config.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bytes.h"
#include "checked.h"
#include "deadline.h"
#include "nfc-pack.h"
#include "nfc-session-parts.h"
#include "skipz.h"

/* --------------------------------------------------------------------- */
/* The table of operations. */

bool
nfc_session_broken (struct nfc_session *session)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  return session->state.broken;
}

bool
nfc_session_worn (struct nfc_session *session)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  return session->state.worn;
}

void
nfc_session_blame (struct nfc_session *session, const struct nfc_fault *fault)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  if (session->state.why.reason == NFC_FINE)
    session->state.why = *fault;
}

void
nfc_session_break (struct nfc_session *session)
{
  struct nfc_fault fault;

  NFC_FAIL (&fault, NFC_LOST, ERR_SYSTEM, "the connection is given up");
  nfc_session_blame (session, &fault);
  nfc_wire_wake (&session->wire);
}

void
nfc_session_limit (struct nfc_session *session, unsigned requests)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  session->state.limit = requests > 0 ? requests : 1;
}

void
nfc_session_done (struct nfc_session *session, struct nfc_op *op)
{
  for (size_t i = 0; i < NFC_TABLE_SIZE; i++)
    if (session->state.ops[i] == op)
      session->state.ops[i] = NULL;
  session->state.nr_ops--;
  session->state.reserved--;
  session->state.bytes -= op->cost;
  free (op->covered_bytes);
  op->covered_bytes = NULL;
  op->done = true;
  pthread_cond_broadcast (&session->state.changed);
}

/* An operation that never came into the table. */
static void
fail_unsent (struct nfc_session *session, struct nfc_op *op)
{
  op->fault = session->state.why;
  op->done = true;
}

static bool
has_room (const struct nfc_session *session, const struct nfc_op *op)
{
  return session->state.reserved == 0
         || (session->state.reserved < session->state.limit
             && session->state.bytes + op->cost <= session->settings.bytes);
}

static void
reserve (struct nfc_session *session, struct nfc_op *op)
{
  session->state.reserved++;
  session->state.bytes += op->cost;
  if (session->state.bytes > session->counted.most_bytes)
    session->counted.most_bytes = session->state.bytes;
  if (session->state.reserved > session->counted.most_operations)
    session->counted.most_operations = session->state.reserved;
}

static void
unreserve (struct nfc_session *session, struct nfc_op *op)
{
  session->state.reserved--;
  session->state.bytes -= op->cost;
  pthread_cond_broadcast (&session->state.changed);
}

static bool
id_is_used (const struct nfc_session *session, uint32_t id)
{
  for (size_t i = 0; i < NFC_TABLE_SIZE; i++)
    if (session->state.ops[i] && session->state.ops[i]->id == id)
      return true;
  for (unsigned i = 0; i < session->state.nr_failed && i < NFC_NR_FAILED; i++)
    if (session->state.failed[i] == id)
      return true;
  return false;
}

/* Give OP its number and a place in the table; false: the session is broken.
 * The caller holds send_lock, so that numbers go out in order.
 */
static bool
enter (struct nfc_session *session, struct nfc_op *op)
{
  size_t i = 0;

  LOCK_FOR_SCOPE (&session->state.lock);
  if (session->state.broken) {
    unreserve (session, op);
    fail_unsent (session, op);
    return false;
  }
  while (id_is_used (session, session->state.next_id))
    session->state.next_id++;
  op->id = session->state.next_id++;
  while (session->state.ops[i])
    i++;
  assert (i < NFC_TABLE_SIZE);
  session->state.ops[i] = op;
  op->since = nfc_clock ();
  if (session->state.nr_ops++ == 0)
    atomic_store (&session->last_byte, op->since);
  session->counted.operations++;
  return true;
}

bool
nfc_session_is_done (struct nfc_session *session, const struct nfc_op *op)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  return op->done;
}

int
nfc_session_wait (struct nfc_session *session, struct nfc_op *op)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  while (!op->done)
    pthread_cond_wait (&session->state.changed, &session->state.lock);
  return op->fault.reason == NFC_FINE ? 0 : -1;
}

bool
nfc_session_wait_briefly (struct nfc_session *session, struct nfc_op *op,
                          int milliseconds)
{
  const struct timespec until = deadline_after ((uint64_t) milliseconds);
  LOCK_FOR_SCOPE (&session->state.lock);
  while (!op->done)
    if (pthread_cond_timedwait (&session->state.changed, &session->state.lock,
                                &until)
        != 0)
      break;
  return op->done;
}

/* --------------------------------------------------------------------- */
/* Sending. */

struct message {
  uint8_t small[NFC_REQUEST_SIZE + NFC_MAX_KEY];
  uint8_t *bytes; /* small, or allocated */
  size_t count;
};

static void
message_free (struct message *message)
{
  if (message->bytes != message->small)
    free (message->bytes);
}

/* A fragment of a write, from op->buf + START, at OUT; returns its size. */
static size_t
encode_fragment (const struct nfc_session *session, const struct nfc_op *op,
                 uint32_t start, uint32_t length, uint8_t *out)
{
  enum nfc_compression compression = op->compression;
  struct nfc_io io = { .handle = session->opened.handle,
                       .offset = op->offset,
                       .total = op->count,
                       .start = start,
                       .length = length };

  if (op->buf)
    io.extra = (uint32_t) nfc_pack (&compression, out + NFC_IO_SIZE,
                                    (const uint8_t *) op->buf + start, length);
  else {
    compression = NFC_SKIPZ;
    skipz_pack_zeros (out + NFC_IO_SIZE, length);
    io.extra = SKIPZ_HEADER_SIZE;
  }
  io.compression = compression;
  return nfc_encode_io (out, 0, &io) + io.extra;
}

static int
encode_write (const struct nfc_session *session, const struct nfc_op *op,
              struct message *message)
{
  const uint32_t piece = session->settings.buffer_size;
  const size_t fragments = div_round_up (op->count, piece);

  message->bytes =
    malloc (fragments * NFC_IO_SIZE
            + (op->buf ? op->count : fragments * SKIPZ_HEADER_SIZE));
  if (!message->bytes)
    return -1;
  for (uint32_t start = 0; start < op->count; start += piece)
    message->count += encode_fragment (
      session, op, start, (uint32_t) min_u64 (piece, op->count - start),
      message->bytes + message->count);
  return 0;
}

static size_t
encode_read (const struct nfc_session *session, const struct nfc_op *op,
             uint8_t *out)
{
  const struct nfc_io io = { .handle = session->opened.handle,
                             .read = true,
                             .compression = op->compression,
                             .offset = op->offset,
                             .total = op->count,
                             .length = op->count,
                             .extra = op->count };

  return nfc_encode_io (out, 0, &io);
}

static int
encode (const struct nfc_session *session, const struct nfc_op *op,
        struct message *message)
{
  const struct nfc_settings *settings = &session->settings;
  const uint64_t handle = session->opened.handle;
  uint8_t *out = message->bytes = message->small;

  message->count = 0;
  switch (op->type) {
  case NFC_IO:
    if (op->write)
      return encode_write (session, op, message);
    message->count = encode_read (session, op, out);
    break;
  case NFC_DDB_GET:
    message->count = nfc_encode_ddb_get (out, 0, handle, op->key);
    break;
  case NFC_ALLOCATED:
    message->count = nfc_encode_allocated (out, 0, handle, op->offset,
                                           op->chunk, op->nr_chunks);
    break;
  case NFC_OPEN_SESSION:
    message->count = nfc_encode_open_session (out, 0, settings->buffer_size,
                                              settings->buffer_count);
    break;
  case NFC_SOCKET_OPTIONS:
    message->count = nfc_encode_socket_options (out, 0);
    break;
  case NFC_RESOURCE_POOL:
    message->count = nfc_encode_resource_pool (out, 0);
    break;
  case NFC_OPEN_FILE:
    out = message->bytes = malloc (NFC_REQUEST_SIZE + NFC_MAX_PATH);
    if (!out)
      return -1;
    message->count = nfc_encode_open_file (out, 0, op->key, session->writable);
    break;
  case NFC_CLOSE_FILE:
    message->count = nfc_encode_close_file (out, 0, handle);
    break;
  case NFC_CLOSE_SESSION:
    message->count = nfc_encode_close_session (out, 0);
    break;
  case NFC_ERROR:
    break;
  }
  return 0;
}

/* The number is known last. */
static void
set_ids (struct message *message, const struct nfc_op *op)
{
  size_t used = 0;

  do {
    uint8_t *p = message->bytes + used;

    le32_store (p + 12, op->id);
    used = op->type == NFC_IO && op->write
             ? used + NFC_IO_SIZE + le32_load (p + NFC_HEADER_SIZE + 36)
             : message->count;
  } while (used < message->count);
}

static void
send_message (struct nfc_session *session, struct nfc_op *op,
              struct message *message)
{
  struct nfc_fault fault;

  LOCK_FOR_SCOPE (&session->send_lock);
  if (!enter (session, op))
    return;
  set_ids (message, op);
  report_trace_add (&session->trace, true, message->bytes,
                    message->bytes + NFC_HEADER_SIZE,
                    le32_load (message->bytes + 8));
  if (nfc_wire_write (&session->wire, message->bytes, message->count,
                      session->settings.times.write, &fault)
      == -1) {
    /* the receiver fails all, this one too */
    nfc_session_blame (session, &fault);
    nfc_wire_wake (&session->wire);
  }
}

/* Room is reserved. */
static void
send_op (struct nfc_session *session, struct nfc_op *op)
{
  struct message message;

  if (encode (session, op, &message) == -1) {
    LOCK_FOR_SCOPE (&session->state.lock);
    unreserve (session, op);
    fail_memory (&op->fault.error);
    op->fault.reason = NFC_FAILED;
    op->done = true;
    return;
  }
  send_message (session, op, &message);
  message_free (&message);
}

static void
prepare (struct nfc_op *op)
{
  op->fault.reason = NFC_FINE;
  op->done = op->culprit = false;
  op->left = op->count;
  op->cost = op->type == NFC_IO ? op->count : 0;
  op->extra_count = op->answer_size = 0;
  memset (op->covered, 0, sizeof op->covered);
  op->covered_bytes = NULL;
}

void
nfc_session_submit (struct nfc_session *session, struct nfc_op *op)
{
  assert (op->count <= NFC_MAX_IO);
  prepare (op);
  {
    LOCK_FOR_SCOPE (&session->state.lock);
    while (!session->state.broken && !has_room (session, op))
      pthread_cond_wait (&session->state.changed, &session->state.lock);
    if (session->state.broken) {
      fail_unsent (session, op);
      return;
    }
    reserve (session, op);
  }
  send_op (session, op);
}

bool
nfc_session_try_submit (struct nfc_session *session, struct nfc_op *op)
{
  assert (op->count <= NFC_MAX_IO);
  prepare (op);
  {
    LOCK_FOR_SCOPE (&session->state.lock);
    if (session->state.broken || session->state.worn
        || !has_room (session, op))
      return false;
    reserve (session, op);
  }
  send_op (session, op);
  return true;
}
