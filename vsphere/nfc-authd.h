/* SPDX-License-Identifier: BSD-3-Clause */

/* The authentication daemon, which answers first on port 902: lines of text,
 * after the greeting within TLS, by which a ticket becomes a connection to the
 * service that serves disks.
 *
 *   < 220 VMware Authentication Daemon ...: SSL Required, ...
 *     TLS
 *   > SESSION ticket                   (no answer)
 *   > BANNER                           < 220 ...
 *   > THUMBPRINT_SHA2 tag              < 200 AB:CD:...
 *   > PROXY nfcssl                     < 200 Connect ha-nfcssl
 *     TLS is abandoned
 */

#ifndef VMDKIT_NFC_AUTHD_H
#define VMDKIT_NFC_AUTHD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"
#include "nfc-frame.h"
#include "nfc-ticket.h"
#include "nfc-wire.h"

/* Lines, without a connection. */

#define NFC_LINE_SIZE 1024

struct nfc_greeting {
  bool tls;     /* starts TLS now */
  bool nfc_tls; /* disks can be served within TLS */
  bool sha256;  /* knows THUMBPRINT_SHA2, and the tag */
};

extern int nfc_greeting_parse (struct nfc_greeting *greeting, const char *line,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* "200 text": three digits and a space.  *TEXT points into LINE. */
extern int nfc_reply_parse (unsigned *code, const char **text,
                            const char *line)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* The name of a service as PROXY wants it: with "ssl" at its end for TLS. */
#define NFC_SERVICE_SIZE 64
extern int nfc_service_name (char out[NFC_SERVICE_SIZE], const char *service,
                             bool tls, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* "Connect name", from a reply 200; whether it may be used. */
extern int nfc_endpoint_check (const char *text, bool tls,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* The dialogue. */

struct nfc_dialogue {
  const struct nfc_ticket *ticket;
  bool tls;                      /* disks within TLS */
  bool no_tag;                   /* do as if the host knew none */
  const struct tls_trust *trust; /* where the ticket tells no thumbprint */
  int64_t deadline;
  const struct vmdk_log *log;

  /* what came of it */
  char tag[NFC_TAG_SIZE + 1]; /* "": the host knows none */
  struct tls_pin certificate; /* of the host, SHA-256 */
};

/* On return the connection is clear again, and the service listens to it. */
extern int nfc_authd_talk (struct nfc_dialogue *dialogue,
                           struct nfc_wire *wire, struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

#endif /* VMDKIT_NFC_AUTHD_H */
