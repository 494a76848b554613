/* SPDX-License-Identifier: BSD-3-Clause */

/* The thread of a session that receives: puts fragments where they belong,
 * matches answers with operations, and knows when a host takes too long.
 *
 * Whatever an answer says is checked against what was asked before a byte of
 * it is stored.  What cannot be right ends the session, for the place where
 * the next frame begins is then not known either.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "nfc-pack.h"
#include "nfc-session-parts.h"

#define MAX_STRANGE 64 /* frames that nobody asked for, before we give up */
#define SLICE 1000     /* how often the clock is looked at, at least */

/* --------------------------------------------------------------------- */
/* Patience. */

/* What is outstanding, and since when. */
struct outstanding {
  bool any, writes;
  int64_t oldest;
};

static struct outstanding
look (struct nfc_session *session)
{
  struct outstanding found = { .oldest = INT64_MAX };

  LOCK_FOR_SCOPE (&session->state.lock);
  for (size_t i = 0; i < NFC_TABLE_SIZE; i++) {
    const struct nfc_op *op = session->state.ops[i];

    if (!op)
      continue;
    found.any = true;
    found.writes |= op->write;
    if (op->since < found.oldest)
      found.oldest = op->since;
  }
  return found;
}

/* An idle connection is kept by reading a sector now and then.  Not if that
 * means to wait: this thread must not.
 */
static void
keep (struct nfc_session *session)
{
  struct nfc_op *op = &session->in.keeper;

  if (session->in.keeping && !op->done)
    return;
  if (!atomic_load (&session->is_open)
      || pthread_mutex_trylock (&session->send_lock) != 0)
    return;
  pthread_mutex_unlock (&session->send_lock);
  *op = (struct nfc_op){ .type = NFC_IO,
                         .buf = session->in.sector,
                         .count = sizeof session->in.sector };
  session->in.keeping = nfc_session_try_submit (session, op);
}

static int
check_patience (struct nfc_session *session, int64_t now,
                struct nfc_fault *fault)
{
  const struct nfc_times *times = &session->settings.times;
  const struct outstanding out = look (session);
  const int64_t silence = now - atomic_load (&session->last_byte);
  const int limit = out.writes ? times->write : times->read;

  if (!out.any) {
    if (silence >= times->idle)
      keep (session);
    return 0;
  }
  if (silence >= limit)
    return NFC_FAIL (fault, NFC_LOST, ERR_SYSTEM,
                     "the host has not answered for %d s", limit / 1000);
  /* one that sends a byte now and then does not answer either */
  if (now - out.oldest >= (int64_t) limit * 10)
    return NFC_FAIL (fault, NFC_LOST, ERR_SYSTEM,
                     "the host has not finished a request for %d s",
                     limit / 100);
  return 0;
}

static int
slice (const struct nfc_session *session)
{
  const struct nfc_times *times = &session->settings.times;
  const int least =
    (int) min_u64 (min_u64 ((uint64_t) times->read, (uint64_t) times->write),
                   (uint64_t) times->idle)
    / 4;

  return least < 1 ? 1 : least < SLICE ? least : SLICE;
}

/* Receive exactly COUNT bytes, as long as it takes or patience lasts. */
static int
receive (struct nfc_session *session, void *buf, size_t count,
         struct nfc_fault *fault)
{
  uint8_t *p = buf;

  while (count > 0) {
    const ssize_t n =
      nfc_wire_receive (&session->wire, p, count, slice (session), fault);
    int64_t now;

    if (n < 0)
      return -1;
    now = nfc_clock ();
    if (n > 0)
      atomic_store (&session->last_byte, now);
    if (n == 0 || now >= session->in.next_look) {
      session->in.next_look = now + slice (session);
      if (check_patience (session, now, fault) == -1)
        return -1;
    }
    p += n;
    count -= (size_t) n;
  }
  return 0;
}

static int
discard (struct nfc_session *session, uint64_t count, struct nfc_fault *fault)
{
  while (count > 0) {
    const size_t n = min_u64 (count, nfc_packed_bound (NFC_MAX_IO));

    if (receive (session, session->in.packed, n, fault) == -1)
      return -1;
    count -= n;
  }
  return 0;
}

/* --------------------------------------------------------------------- */
/* Operations. */

static struct nfc_op *
find (struct nfc_session *session, uint32_t id)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  for (size_t i = 0; i < NFC_TABLE_SIZE; i++)
    if (session->state.ops[i] && session->state.ops[i]->id == id)
      return session->state.ops[i];
  return NULL;
}

static bool
has_failed (struct nfc_session *session, uint32_t id)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  for (unsigned i = 0; i < session->state.nr_failed && i < NFC_NR_FAILED; i++)
    if (session->state.failed[i] == id)
      return true;
  return false;
}

static void
succeed (struct nfc_session *session, struct nfc_op *op)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  if (op->type == NFC_IO)
    *(op->write ? &session->counted.written : &session->counted.read) +=
      op->count;
  nfc_session_done (session, op);
}

/* The host refused OP, with op->fault set: the connection goes on until the
 * others have their answers, and is then replaced.
 */
static void
refuse (struct nfc_session *session, struct nfc_op *op)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  session->state.failed[session->state.nr_failed++ % NFC_NR_FAILED] = op->id;
  session->state.worn = true;
  nfc_session_done (session, op);
}

static int
nonsense (struct nfc_fault *fault, const struct nfc_op *op, const char *what,
          uint64_t value)
{
  return NFC_FAIL (fault, NFC_NONSENSE, ERR_SYSTEM,
                   "the host's answer (%s) does not belong to the question: "
                   "%s is %" PRIu64,
                   nfc_type_name (op->type), what, value);
}

/* --------------------------------------------------------------------- */
/* Errors. */

static int
take_error (struct nfc_session *session, struct nfc_op *op, uint64_t code,
            uint64_t text_size, struct nfc_fault *fault)
{
  char text[512];
  const size_t kept = min_u64 (text_size, sizeof text - 1);

  if (receive (session, text, kept, fault) == -1
      || discard (session, text_size - kept, fault) == -1)
    return -1;
  text[kept] = '\0';
  log_debug (&session->log, LOG_OPEN,
             "< error for %s %" PRIu32 ": code %" PRIu64 ", \"%s\"",
             nfc_type_name (op->type), op->id, code, text);
  nfc_fault_refusal (&op->fault, code, text,
                     session->writable
                       && (op->write || op->type == NFC_OPEN_FILE));
  refuse (session, op);
  return 0;
}

/* --------------------------------------------------------------------- */
/* Reading. */

/* Sectors [start, start+length), or bytes of these: whether they come for the
 * first time; marks them.
 */
static bool
cover_bits (uint64_t *covered, uint32_t start, uint32_t length)
{
  for (uint32_t i = start; i < start + length; i++) {
    const uint64_t bit = UINT64_C (1) << i % 64;

    if (covered[i / 64] & bit)
      return false;
    covered[i / 64] |= bit;
  }
  return true;
}

/* From now on count OP's bytes: the host cuts where it likes. */
static int
count_bytes (struct nfc_op *op)
{
  op->covered_bytes =
    calloc (div_round_up (op->count, 64), sizeof *op->covered_bytes);
  if (!op->covered_bytes)
    return -1;
  for (uint32_t s = 0; s < op->count / 512; s++)
    if (op->covered[s / 64] >> s % 64 & 1)
      memset ((uint8_t *) op->covered_bytes + 64 * (size_t) s, 0xff, 64);
  return 0;
}

/* Whether a fragment comes for the first time; marks it. */
static int
cover (struct nfc_op *op, uint32_t start, uint32_t length,
       struct nfc_fault *fault)
{
  if (!op->covered_bytes && (start % 512 != 0 || length % 512 != 0)
      && count_bytes (op) == -1) {
    fail_memory (&fault->error);
    return nfc_blame (fault, NFC_FAILED);
  }
  if (op->covered_bytes ? cover_bits (op->covered_bytes, start, length)
                        : cover_bits (op->covered, start / 512, length / 512))
    return 0;
  return nonsense (fault, op, "a fragment that had come already", start);
}

static int
check_fragment (struct nfc_op *op, const struct nfc_io *io,
                struct nfc_fault *fault)
{
  if (!io->read)
    return nonsense (fault, op, "reading", 0);
  if (io->offset != op->offset)
    return nonsense (fault, op, "the offset", io->offset);
  if (io->total != op->count)
    return nonsense (fault, op, "the length", io->total);
  if (io->length == 0 || !range_inside (io->start, io->length, op->count))
    return nonsense (fault, op, "the length of a fragment", io->length);
  if (io->extra > nfc_packed_bound (io->length)
      || (io->compression == NFC_PLAIN && io->extra != io->length))
    return nonsense (fault, op, "the size of a fragment", io->extra);
  return cover (op, io->start, io->length, fault);
}

static void
count_wire (struct nfc_session *session, uint32_t count)
{
  LOCK_FOR_SCOPE (&session->state.lock);
  session->counted.wire_in += count;
}

static int
take_fragment (struct nfc_session *session, struct nfc_op *op,
               const struct nfc_io *io, struct nfc_fault *fault)
{
  uint8_t *to = (uint8_t *) op->buf + io->start;

  if (check_fragment (op, io, fault) == -1)
    return -1;
  if (io->compression == NFC_PLAIN) {
    if (receive (session, to, io->length, fault) == -1)
      return -1;
  }
  else {
    if (receive (session, session->in.packed, io->extra, fault) == -1)
      return -1;
    if (nfc_unpack (io->compression, to, io->length, session->in.packed,
                    io->extra, &fault->error)
        == -1)
      return nfc_blame (fault, NFC_UNPACKING);
  }
  count_wire (session, io->extra);
  op->left -= io->length;
  if (op->left == 0)
    succeed (session, op);
  return 0;
}

static int
take_io (struct nfc_session *session, struct nfc_op *op, size_t size,
         struct nfc_fault *fault)
{
  struct nfc_io io;

  if (nfc_decode_io (&io, session->in.payload, size, &fault->error) == -1)
    return nfc_blame (fault, NFC_NONSENSE);
  if (io.handle != 0) {
    NFC_FAIL (&op->fault, NFC_IO_ERROR, ERR_SYSTEM,
              "the host answers with status %" PRIu64 " to a request at "
              "offset %" PRIu64,
              io.handle, op->offset);
    refuse (session, op);
    return 0;
  }
  if (!op->write)
    return take_fragment (session, op, &io, fault);
  if (io.read)
    return nonsense (fault, op, "reading", 1);
  if (io.offset != op->offset)
    return nonsense (fault, op, "the offset", io.offset);
  if (io.total != op->count)
    return nonsense (fault, op, "the length", io.total);
  succeed (session, op);
  return 0;
}

/* --------------------------------------------------------------------- */
/* Other answers. */

static int
take_allocated (struct nfc_session *session, struct nfc_op *op, size_t size,
                struct nfc_fault *fault)
{
  uint64_t status, nr_chunks, count;

  if (nfc_decode_allocated (&status, &nr_chunks, session->in.payload, size,
                            &fault->error)
      == -1)
    return nfc_blame (fault, NFC_NONSENSE);
  if (status != 0) {
    NFC_FAIL (&op->fault, NFC_IO_ERROR, ERR_SYSTEM,
              "the host answers with status %" PRIu64
              " when asked what is allocated",
              status);
    refuse (session, op);
    return 0;
  }
  if (nr_chunks != op->nr_chunks)
    return nonsense (fault, op, "the number of chunks", nr_chunks);
  count = nfc_allocated_bytes (nr_chunks);
  if (count > op->extra_size)
    return nonsense (fault, op, "the size of the map", count);
  if (receive (session, op->extra, count, fault) == -1)
    return -1;
  op->extra_count = count;
  succeed (session, op);
  return 0;
}

static int
take_entry (struct nfc_session *session, struct nfc_op *op, uint64_t count,
            struct nfc_fault *fault)
{
  if (count > op->extra_size)
    return nonsense (fault, op, "the length of the value", count);
  if (receive (session, op->extra, count, fault) == -1)
    return -1;
  op->extra_count = count;
  succeed (session, op);
  return 0;
}

static int
take_plain (struct nfc_session *session, struct nfc_op *op, size_t size)
{
  op->answer_size = min_u64 (size, sizeof op->answer);
  memcpy (op->answer, session->in.payload, op->answer_size);
  succeed (session, op);
  return 0;
}

/* --------------------------------------------------------------------- */
/* Frames. */

/* With what came before it.  The operator hears of the first type that we do
 * not know: everything goes on, and nobody would look.
 */
static void
log_strange (struct nfc_session *session, const struct nfc_header *header)
{
  struct vmdk_error odd;

  log_debug (&session->log, LOG_OPEN,
             "a message that was not asked for: type %" PRIu32 " size %" PRIu32
             " number %" PRIu32,
             header->type, header->size, header->id);
  report_trace_tell (&session->trace, &session->log);
  if (session->in.warned || nfc_type_is_known (header->type))
    return;
  session->in.warned = true;
  fail (&odd, ERR_SYSTEM,
        "the host sent a message of type %" PRIu32
        ", which is not known here and was passed over",
        header->type);
  report_ask (&odd, &session->log);
  log_warning (&session->log, "%s", odd.text);
}

/* Nobody waits for it.  If its extra bytes are more than we know of, the next
 * header will be none, and the session ends.
 */
static int
take_strange (struct nfc_session *session, const struct nfc_header *header,
              uint64_t extra, struct nfc_fault *fault)
{
  log_strange (session, header);
  if (++session->in.nr_strange > MAX_STRANGE)
    return NFC_FAIL (fault, NFC_NONSENSE, ERR_SYSTEM,
                     "the host sent %d messages that nobody asked for",
                     MAX_STRANGE);
  return discard (session, extra, fault);
}

static int
take_answer (struct nfc_session *session, const struct nfc_header *header,
             struct nfc_op *op, uint64_t extra, struct nfc_fault *fault)
{
  struct nfc_error_answer error;

  if (header->type == NFC_ERROR) {
    if (nfc_decode_error (&error, session->in.payload, header->size,
                          &fault->error)
        == -1)
      return nfc_blame (fault, NFC_NONSENSE);
    return take_error (session, op, error.code, extra, fault);
  }
  if (header->type != op->type)
    return nonsense (fault, op, "its type", header->type);
  switch (op->type) {
  case NFC_IO:
    return take_io (session, op, header->size, fault);
  case NFC_ALLOCATED:
    return take_allocated (session, op, header->size, fault);
  case NFC_DDB_GET:
    return take_entry (session, op, extra, fault);
  default:
    return take_plain (session, op, header->size);
  }
}

static bool
extra_is_bounded (uint32_t type, uint64_t extra)
{
  if (type == NFC_IO || type == NFC_ALLOCATED)
    return extra <= nfc_packed_bound (NFC_MAX_IO);
  return extra <= NFC_MAX_TEXT;
}

static int
take_frame (struct nfc_session *session, struct nfc_fault *fault)
{
  uint8_t bytes[NFC_HEADER_SIZE];
  struct nfc_header header;
  struct nfc_op *op;
  uint64_t extra;

  if (receive (session, bytes, sizeof bytes, fault) == -1)
    return -1;
  if (nfc_header_decode (&header, bytes, &fault->error) == -1) {
    report_trace_add (&session->trace, false, bytes, NULL, 0);
    return nfc_blame (fault, NFC_NONSENSE);
  }
  if (receive (session, session->in.payload, header.size, fault) == -1)
    return -1;
  report_trace_add (&session->trace, false, bytes, session->in.payload,
                    header.size);
  if (nfc_decode_extra (&extra, header.type, session->in.payload, header.size,
                        &fault->error)
      == -1)
    return nfc_blame (fault, NFC_NONSENSE);
  if (!extra_is_bounded (header.type, extra))
    return NFC_FAIL (fault, NFC_NONSENSE, ERR_SYSTEM,
                     "the host announced %" PRIu64 " bytes (%s)", extra,
                     nfc_type_name (header.type));
  /* a type that we do not know answers no question, whatever its number */
  op = nfc_type_is_known (header.type) ? find (session, header.id) : NULL;
  if (op) {
    if (take_answer (session, &header, op, extra, fault) == 0)
      return 0;
    op->culprit = true;
    return -1;
  }
  if (has_failed (session, header.id))
    return discard (session, extra, fault);
  return take_strange (session, &header, extra, fault);
}

/* All that waits fails for the same reason. */
static void
fail_all (struct nfc_session *session, const struct nfc_fault *fault)
{
  nfc_session_blame (session, fault);
  LOCK_FOR_SCOPE (&session->state.lock);
  session->state.broken = true;
  for (size_t i = 0; i < NFC_TABLE_SIZE; i++) {
    struct nfc_op *op = session->state.ops[i];

    if (op) {
      op->fault = session->state.why;
      nfc_session_done (session, op);
    }
  }
  pthread_cond_broadcast (&session->state.changed);
}

void *
nfc_receive_thread (void *opaque)
{
  struct nfc_session *session = opaque;
  struct nfc_fault fault;

  session->in.next_look = nfc_clock () + slice (session);
  while (take_frame (session, &fault) == 0)
    ;
  log_debug (&session->log, LOG_OPEN, "the connection ends: %s",
             fault.error.text);
  if (fault.reason == NFC_NONSENSE || fault.reason == NFC_UNPACKING) {
    report_trace_tell (&session->trace, &session->log);
    report_ask (&fault.error, &session->log);
  }
  fail_all (session, &fault);
  nfc_wire_wake (&session->wire);
  return NULL;
}
