/* SPDX-License-Identifier: BSD-3-Clause */

/* One connection with one disk open on it, from the ticket to the end.
 *
 * Operations are submitted and waited for; any number of threads may do so,
 * and answers come in any order.  A thread of the session's own receives:
 * data goes where the operation wants it, as soon as it comes.
 *
 * A session that fails does so once and for all (broken); one in which an
 * operation was refused is to be replaced before the next (worn), for nobody
 * knows what a host still sends then.  It does not try again: that is
 * nfc-disk's business.
 */

#ifndef VMDKIT_NFC_SESSION_H
#define VMDKIT_NFC_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"
#include "nfc-fault.h"
#include "nfc-frame.h"
#include "nfc-settings.h"
#include "nfc-ticket.h"

/* What hosts of some versions need, found by trying. */
struct nfc_quirks {
  bool no_tag;        /* neither THUMBPRINT_SHA2 nor the tag */
  bool newer_version; /* another version number */
  bool zero_buffers;  /* no sizes of buffers */
};

struct nfc_session;

/* *TICKET is spent, whatever comes of it. */
extern struct nfc_session *nfc_session_open (
  const struct nfc_settings *settings, const struct nfc_quirks *quirks,
  const struct nfc_ticket *ticket, const char *path, bool writable,
  const struct vmdk_log *log, struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 6, 7)));

/* What the host says of the disk; capacity and handle are checked. */
extern const struct nfc_opened *
nfc_session_opened (const struct nfc_session *session)
  __attribute__ ((nonnull (1)));

extern bool nfc_session_broken (struct nfc_session *session)
  __attribute__ ((nonnull (1)));
extern bool nfc_session_worn (struct nfc_session *session)
  __attribute__ ((nonnull (1)));

/* An operation.  Set what is above the line; the rest is the session's until
 * nfc_session_wait has returned.
 */
struct nfc_op {
  enum nfc_type type; /* NFC_IO, NFC_DDB_GET, NFC_ALLOCATED */

  /* NFC_IO: whole sectors, COUNT at most NFC_MAX_IO. */
  bool write;
  void *buf; /* to read into, or to write from; NULL: write zeros */
  uint64_t offset;
  uint32_t count;
  enum nfc_compression compression;

  const char *key; /* NFC_DDB_GET */

  /* NFC_ALLOCATED: from OFFSET. */
  uint64_t chunk, nr_chunks;

  /* NFC_DDB_GET, NFC_ALLOCATED: where the text or the bits go. */
  uint8_t *extra;
  size_t extra_size;
  /* -------- */
  size_t extra_count;
  struct nfc_fault fault; /* reason NFC_FINE: it was done */
  bool culprit;           /* an answer to this one ended the session */

  bool done;
  uint32_t id, left;
  uint64_t cost;
  int64_t since;
  uint8_t answer[64];
  size_t answer_size;
  uint64_t covered[NFC_MAX_IO / 512 / 64]; /* sectors that have come */
  uint64_t *covered_bytes; /* bytes, once a fragment was no whole sectors */
};

/* Send OP, after waiting until there is room for it.  Never fails: what
 * happened is told by nfc_session_wait, which must follow.
 */
extern void nfc_session_submit (struct nfc_session *session, struct nfc_op *op)
  __attribute__ ((nonnull (1, 2)));

/* The same if there is room at once; false: OP was not sent. */
extern bool nfc_session_try_submit (struct nfc_session *session,
                                    struct nfc_op *op)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Wait until OP is done; 0 or -1, as op->fault tells. */
extern int nfc_session_wait (struct nfc_session *session, struct nfc_op *op)
  __attribute__ ((nonnull (1, 2)));

/* Whether nfc_session_wait would return at once. */
extern bool nfc_session_is_done (struct nfc_session *session,
                                 const struct nfc_op *op)
  __attribute__ ((nonnull (1, 2)));

/* End the session, so that all operations fail; from any thread. */
extern void nfc_session_break (struct nfc_session *session)
  __attribute__ ((nonnull (1)));

/* How many operations at most are in flight from now on. */
extern void nfc_session_limit (struct nfc_session *session, unsigned requests)
  __attribute__ ((nonnull (1)));

/* Close the disk politely, unless the session is worn or broken, and free it.
 * No operation is in flight.  NULL is allowed.  -1: the host had something
 * against it; FAULT may be NULL.
 */
extern int nfc_session_close (struct nfc_session *session,
                              struct nfc_fault *fault);

#endif /* VMDKIT_NFC_SESSION_H */
