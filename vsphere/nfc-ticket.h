/* SPDX-License-Identifier: BSD-3-Clause */

/* A ticket: what a vCenter or a host gives for one connection to port 902.
 * Where tickets come from is not known here.
 */

#ifndef VMDKIT_NFC_TICKET_H
#define VMDKIT_NFC_TICKET_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "error.h"

/* All texts are owned. */
struct nfc_ticket {
  char *host;           /* never NULL: the host logged into, if not told */
  unsigned port;        /* 0: 902 */
  char *ssl_thumbprint; /* SHA-1 or SHA-256; NULL: not told */
  char *certificate;    /* PEM; NULL: not told */
  char *service;        /* "vpxa-nfc" or "nfc" */
  char *session_id;     /* the secret */
};

/* Asked for once for every connection, just before it is made: a ticket opens
 * one.  May be called from any thread, by one at a time.  A failure of the
 * kind ERR_DENIED, ERR_MISSING or ERR_UNSUPPORTED is final, after others it is
 * asked again.
 */
struct nfc_ticket_office {
  int (*ticket) (void *opaque, bool writable, struct nfc_ticket *ticket,
                 struct vmdk_error *err);
  void *opaque;
};

static inline void __attribute__ ((unused))
nfc_ticket_clear (struct nfc_ticket *ticket)
{
  if (ticket->session_id)
    OPENSSL_cleanse (ticket->session_id, strlen (ticket->session_id));
  free (ticket->host);
  free (ticket->ssl_thumbprint);
  free (ticket->certificate);
  free (ticket->service);
  free (ticket->session_id);
  *ticket = (struct nfc_ticket){ 0 };
}

#endif /* VMDKIT_NFC_TICKET_H */
