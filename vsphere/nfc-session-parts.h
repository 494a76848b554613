/* SPDX-License-Identifier: BSD-3-Clause */

/* What the parts of a session share: nfc-open.c opens and closes,
 * nfc-session.c sends, nfc-receive.c is the thread that receives.
 */

#ifndef VMDKIT_NFC_SESSION_PARTS_H
#define VMDKIT_NFC_SESSION_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "cleanup.h"
#include "nfc-session.h"
#include "nfc-wire.h"
#include "report.h"

#define NFC_TABLE_SIZE (NFC_MAX_REQUESTS + 8) /* and those of our own */
#define NFC_NR_FAILED 64

struct nfc_session {
  struct nfc_settings settings;
  struct vmdk_log log;
  struct nfc_wire wire;
  struct nfc_opened opened;
  bool writable;
  pthread_t thread;
  bool has_thread;

  /* Held while a message is sent, fragments of one write together.  Taken
   * before state.lock.
   */
  pthread_mutex_t send_lock;

  struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct nfc_op *ops[NFC_TABLE_SIZE]; /* sent, not done; NULL: free */
    unsigned nr_ops, reserved; /* in the table; those and on the way */
    uint64_t bytes;            /* what these will move */
    unsigned limit;
    uint32_t next_id;
    bool broken, worn;
    struct nfc_fault why;

    /* Refused: what else may come for them is not looked at. */
    uint32_t failed[NFC_NR_FAILED];
    unsigned nr_failed;
  } state;

  struct report_trace trace;
  struct nfc_op goodbye; /* here, for it may never be answered */

  atomic_bool is_open;            /* opened is set, and does not change */
  atomic_int_least64_t last_byte; /* when the host last sent something */

  /* The receiver's alone. */
  struct {
    uint8_t payload[NFC_MAX_PAYLOAD];
    uint8_t *packed; /* as long as the largest fragment may be */
    int64_t next_look;
    unsigned nr_strange;
    bool warned; /* of a type that we do not know */
    struct nfc_op keeper; /* the operation that keeps a connection */
    uint8_t sector[512];
    bool keeping;
  } in;

  struct {
    uint64_t operations, read, written, wire_in;
    uint64_t most_bytes;
    unsigned most_operations;
  } counted; /* under state.lock */
};

/* nfc-receive.c: the thread's function. */
extern void *nfc_receive_thread (void *session);

/* Whether OP is done before so much time has passed. */
extern bool nfc_session_wait_briefly (struct nfc_session *session,
                                      struct nfc_op *op, int milliseconds)
  __attribute__ ((nonnull (1, 2)));

/* The operation OP is done; under state.lock. */
extern void nfc_session_done (struct nfc_session *session, struct nfc_op *op)
  __attribute__ ((nonnull (1, 2)));

/* Remember why the session fails, if it is not known already. */
extern void nfc_session_blame (struct nfc_session *session,
                               const struct nfc_fault *fault)
  __attribute__ ((nonnull (1, 2)));

#endif /* VMDKIT_NFC_SESSION_PARTS_H */
