/* SPDX-License-Identifier: BSD-3-Clause */

/* Operations, tried again.  See nfc-transfer.h. */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "checked.h"
#include "cleanup.h"
#include "nfc-transfer.h"

#define MIN_IO (64 * 1024)
#define BATCH 32        /* operations of one request that are begun at once */
#define GROW_AFTER 256  /* operations that are done before limits grow back */
#define MAX_REFUSALS 10 /* for want of memory */
#define MAX_LOSSES 5    /* with nothing else done in between */
#define MAX_LOSSES_EVER 20 /* of one operation */

/* One operation, over all attempts. */
struct part {
  struct nfc_op op;
  unsigned losses, all_losses, nonsense, refusals, errors;
  uint64_t progress; /* at the last loss */
};

void
nfc_transfer_init (struct nfc_transfer *transfer, struct nfc_keeper *keeper,
                   const struct nfc_settings *settings,
                   const struct vmdk_log *log)
{
  transfer->keeper = keeper;
  transfer->settings = *settings;
  transfer->log = *log;
  pthread_mutex_init (&transfer->state.lock, NULL);
  transfer->state.compression = settings->compression;
  transfer->state.max_io = NFC_MAX_IO;
  transfer->state.requests = settings->requests;
  transfer->state.successes = 0;
  transfer->state.progress = 0;
}

void
nfc_transfer_destroy (struct nfc_transfer *transfer)
{
  pthread_mutex_destroy (&transfer->state.lock);
}

enum nfc_compression
nfc_transfer_compression (struct nfc_transfer *transfer)
{
  LOCK_FOR_SCOPE (&transfer->state.lock);
  return transfer->state.compression;
}

static uint32_t
max_io (struct nfc_transfer *transfer)
{
  LOCK_FOR_SCOPE (&transfer->state.lock);
  return transfer->state.max_io;
}

static uint64_t
progress (struct nfc_transfer *transfer)
{
  LOCK_FOR_SCOPE (&transfer->state.lock);
  return transfer->state.progress;
}

/* --------------------------------------------------------------------- */
/* The host's memory is shared: less of it, and more again slowly. */

static void
set_limits (struct nfc_transfer *transfer, uint32_t io, unsigned requests)
{
  transfer->state.max_io = io;
  transfer->state.requests = requests;
  transfer->state.successes = 0;
  nfc_keeper_limit (transfer->keeper, requests);
}

static void
ask_for_less (struct nfc_transfer *transfer)
{
  LOCK_FOR_SCOPE (&transfer->state.lock);
  set_limits (transfer,
              (uint32_t) max_u64 (transfer->state.max_io / 2, MIN_IO),
              transfer->state.requests > 1 ? transfer->state.requests / 2 : 1);
}

static void
count_success (struct nfc_transfer *transfer)
{
  LOCK_FOR_SCOPE (&transfer->state.lock);
  transfer->state.progress++;
  if (transfer->state.max_io == NFC_MAX_IO
      && transfer->state.requests == transfer->settings.requests)
    return;
  if (++transfer->state.successes >= GROW_AFTER)
    set_limits (
      transfer,
      (uint32_t) min_u64 ((uint64_t) transfer->state.max_io * 2, NFC_MAX_IO),
      (unsigned) min_u64 (transfer->state.requests * 2,
                          transfer->settings.requests));
}

static void
stop_packing (struct nfc_transfer *transfer)
{
  LOCK_FOR_SCOPE (&transfer->state.lock);
  if (transfer->state.compression != NFC_PLAIN)
    log_warning (&transfer->log,
                 "what the host packs does not unpack: it is asked for "
                 "plain data from now on");
  transfer->state.compression = NFC_PLAIN;
}

/* --------------------------------------------------------------------- */
/* What to do after a failure. */

/* Whether PART, which was lost with its connection, is tried again. */
static bool
after_loss (struct nfc_transfer *transfer, struct part *part)
{
  const uint64_t now = progress (transfer);

  if (now != part->progress)
    part->losses = 0;
  part->progress = now;
  part->losses++;
  part->all_losses++;
  return part->losses <= MAX_LOSSES && part->all_losses <= MAX_LOSSES_EVER;
}

static bool
after_memory (struct nfc_transfer *transfer, struct part *part)
{
  /* 100 ms, twice that, and so on up to 5 s */
  const int longest = transfer->settings.times.max_pause / 6;
  int pause = transfer->settings.times.pause / 10;

  ask_for_less (transfer);
  if (++part->refusals > MAX_REFUSALS)
    return false;
  for (unsigned i = 1; i < part->refusals && pause < longest; i++)
    pause *= 2;
  return nfc_keeper_pause (transfer->keeper, pause < longest ? pause : longest)
         == 0;
}

static bool
try_again (struct nfc_transfer *transfer, struct part *part)
{
  switch (part->op.fault.reason) {
  case NFC_UNPACKING:
    if (!part->op.culprit)
      return after_loss (transfer, part);
    stop_packing (transfer);
    return part->nonsense++ == 0;
  case NFC_NONSENSE:
    if (!part->op.culprit)
      return after_loss (transfer, part);
    return part->nonsense++ == 0;
  case NFC_LOST:
    return after_loss (transfer, part);
  case NFC_NO_MEMORY:
    return after_memory (transfer, part);
  case NFC_IO_ERROR:
  case NFC_LOCKED:
    return part->errors++ == 0;
  default:
    return false;
  }
}

/* --------------------------------------------------------------------- */

static int
run_once (struct nfc_transfer *transfer, struct nfc_op *op,
          struct nfc_fault *fault)
{
  struct nfc_session *session = nfc_keeper_get (transfer->keeper, fault);
  int r;

  if (!session)
    return -1;
  op->compression = nfc_transfer_compression (transfer);
  nfc_session_submit (session, op);
  r = nfc_session_wait (session, op);
  nfc_keeper_put (transfer->keeper);
  *fault = op->fault;
  if (r == 0)
    count_success (transfer);
  return r;
}

/* PART, which has failed, one piece after the other until it is done or
 * hopeless.  The pieces get smaller where the host has no memory.
 */
static int
mend (struct nfc_transfer *transfer, struct part *part,
      struct nfc_fault *fault)
{
  const struct nfc_op whole = part->op;
  uint32_t done = 0;
  bool failed = true;

  *fault = part->op.fault;
  while (done < whole.count) {
    const uint32_t count =
      (uint32_t) min_u64 (max_io (transfer), whole.count - done);

    if (failed) {
      log_debug (&transfer->log, LOG_OPEN, "%s at offset %" PRIu64 ": %s",
                 whole.write ? "writing" : "reading", part->op.offset,
                 fault->error.text);
      if (!try_again (transfer, part))
        return -1;
      failed = false;
      continue; /* the limits may be others now */
    }
    part->op.buf = whole.buf ? (uint8_t *) whole.buf + done : NULL;
    part->op.offset = whole.offset + done;
    part->op.count = count;
    part->op.fault.reason = NFC_FAILED;
    if (run_once (transfer, &part->op, fault) == 0)
      done += count;
    else if (part->op.fault.reason == NFC_FAILED)
      return -1; /* there is no connection to be had */
    else
      failed = true;
  }
  return 0;
}

/* Begin all parts on one connection; each has its result then. */
static int
run_together (struct nfc_transfer *transfer, struct part *parts, size_t n,
              struct nfc_fault *fault)
{
  struct nfc_session *session = nfc_keeper_get (transfer->keeper, fault);

  if (!session)
    return -1;
  for (size_t i = 0; i < n; i++)
    nfc_session_submit (session, &parts[i].op);
  for (size_t i = 0; i < n; i++)
    if (nfc_session_wait (session, &parts[i].op) == 0)
      count_success (transfer);
  nfc_keeper_put (transfer->keeper);
  return 0;
}

static int
run_batch (struct nfc_transfer *transfer, struct part *parts, size_t n,
           struct nfc_fault *fault)
{
  if (run_together (transfer, parts, n, fault) == -1)
    return -1;
  for (size_t i = 0; i < n; i++)
    if (parts[i].op.fault.reason != NFC_FINE
        && mend (transfer, &parts[i], fault) == -1)
      return -1;
  return 0;
}

int
nfc_transfer_run (struct nfc_transfer *transfer, bool write, void *buf,
                  uint64_t offset, uint64_t count, struct nfc_fault *fault)
{
  uint8_t *p = buf;

  while (count > 0) {
    const uint32_t io = max_io (transfer);
    const size_t n = min_u64 (div_round_up (count, io), BATCH);
    CLEANUP_FREE struct part *parts = calloc (n, sizeof *parts);

    if (!parts) {
      fail_memory (&fault->error);
      return nfc_blame (fault, NFC_FAILED);
    }
    for (size_t i = 0; i < n; i++) {
      const uint32_t size = (uint32_t) min_u64 (io, count);

      parts[i].op =
        (struct nfc_op){ .type = NFC_IO,
                         .write = write,
                         .buf = p,
                         .offset = offset,
                         .count = size,
                         .compression = nfc_transfer_compression (transfer) };
      p = p ? p + size : NULL;
      offset += size;
      count -= size;
    }
    if (run_batch (transfer, parts, n, fault) == -1)
      return -1;
  }
  return 0;
}
