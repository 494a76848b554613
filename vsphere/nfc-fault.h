/* SPDX-License-Identifier: BSD-3-Clause */

/* Why something on port 902 failed: the error for the user, and a reason from
 * which those who may try again choose what to do.
 */

#ifndef VMDKIT_NFC_FAULT_H
#define VMDKIT_NFC_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

enum nfc_reason {
  NFC_FINE = 0,
  NFC_UNREACHABLE, /* no connection to be had */
  NFC_NO_TLS,      /* this host has no (NFC over) TLS */
  NFC_UNTRUSTED,   /* another host's certificate, or no handshake: stop */
  NFC_TICKET,      /* no ticket to be had: stop */
  NFC_TURNED_AWAY, /* the daemon refused; perhaps the ticket was too old */
  NFC_TAG,         /* closed right after the tag: older hosts know none */
  NFC_HANDSHAKE,   /* the handshake makes no sense */
  NFC_TOO_OLD,     /* a host without frames */
  NFC_NO_SESSION,  /* our buffers are too large for the host */
  NFC_NOT_ALLOWED, /* not with this ticket: stop */
  NFC_IN_USE,      /* by the running machine: stop */
  NFC_LOCKED,      /* by another reader or writer: may pass */
  NFC_NO_MEMORY,   /* the host's: smaller and fewer requests */
  NFC_IO_ERROR,    /* the host cannot read or write there */
  NFC_UNPACKING,   /* a fragment did not unpack */
  NFC_LOST,        /* the connection ended or hangs */
  NFC_NONSENSE,    /* the host broke the protocol */
  NFC_CHANGED,     /* another disk than before: stop */
  NFC_FAILED,      /* on our side (memory, threads): stop */
};

struct nfc_fault {
  enum nfc_reason reason;
  struct vmdk_error error;
};

/* NFC_FAIL (fault, reason, kind, format, ...): set both; -1. */
#define NFC_FAIL(fault, why, kind, ...) \
  ((fault)->reason = (why), fail (&(fault)->error, (kind), __VA_ARGS__))

/* The error is set already. */
static inline int
nfc_blame (struct nfc_fault *fault, enum nfc_reason reason)
{
  fault->reason = reason;
  return -1;
}

/* What a host's refusal means: its text counts before its code, for of the
 * codes little is known.  WRITABLE: we asked to write.  Always returns -1.
 */
extern int nfc_fault_refusal (struct nfc_fault *fault, uint64_t code,
                              const char *text, bool writable)
  __attribute__ ((nonnull (1, 3)));

/* Whether another way to the same disk (without TLS, or over HTTPS) may work
 * where this one does not.
 */
static inline bool
nfc_reason_try_next (enum nfc_reason reason)
{
  return reason == NFC_UNREACHABLE || reason == NFC_NO_TLS
         || reason == NFC_TURNED_AWAY || reason == NFC_TAG
         || reason == NFC_HANDSHAKE || reason == NFC_TOO_OLD
         || reason == NFC_NO_SESSION || reason == NFC_LOST
         || reason == NFC_NONSENSE;
}

#endif /* VMDKIT_NFC_FAULT_H */
