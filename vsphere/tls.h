/* SPDX-License-Identifier: BSD-3-Clause */

/* Which server is believed to be the one that was meant.
 *
 * The rules, for HTTPS and for port 902 alike:
 *
 *  1. Where thumbprints are given, the server's certificate must have one of
 *     them; its issuer, dates and names do not matter.
 *  2. Without thumbprints the certificate must be issued by an authority that
 *     is trusted (the system's, or those in ca_file) for the host's name.
 *  3. `insecure` takes any certificate, and is only there when asked for.
 *     Thumbprints still count.
 *
 * The check runs within the handshake, as soon as the server has shown its
 * certificate: nothing of ours, and no secret, is sent before it.
 *
 *   struct tls_check check = { .trust = &trust };
 *   curl_easy_... or SSL_...
 *   if (check.refusal.kind != ERR_NONE) ... it says which certificate
 */

#ifndef VMDKIT_TLS_H
#define VMDKIT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <curl/curl.h>
#include <openssl/ssl.h>

#include "cleanup.h"
#include "error.h"

#define TLS_SHA1_SIZE 20
#define TLS_SHA256_SIZE 32
#define TLS_MAX_PINS 4

/* A thumbprint: the digest of a certificate's DER form.  Its size says which
 * digest.
 */
struct tls_pin {
  uint8_t bytes[TLS_SHA256_SIZE];
  size_t count; /* TLS_SHA1_SIZE or TLS_SHA256_SIZE */
};

struct tls_trust {
  struct tls_pin pins[TLS_MAX_PINS];
  size_t nr_pins;
  const char *ca_file; /* PEM; borrowed; NULL: the system's */
  bool insecure;
  bool old_hosts; /* ESXi 6.5 and early 6.7: weaker keys and signatures */
};

/* Add a thumbprint: 20 or 32 pairs of hexadecimal digits, with colons between
 * the pairs or without.
 */
extern int tls_trust_add (struct tls_trust *trust, const char *thumbprint,
                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* The same for a whole certificate in PEM. */
extern int tls_trust_add_certificate (struct tls_trust *trust, const char *pem,
                                      struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* A thumbprint as text, whatever its size; *PIN is unspecified on failure. */
extern int tls_pin_parse (struct tls_pin *pin, const char *text,
                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* "AB:CD:..."; the buffer lives in the caller's block. */
#define TLS_PIN_TEXT_SIZE (3 * TLS_SHA256_SIZE)
extern const char *tls_pin_text (char buf[TLS_PIN_TEXT_SIZE],
                                 const struct tls_pin *pin)
  __attribute__ ((nonnull (1, 2)));

/* Whether both are the same, in time that does not depend on where they
 * differ.  Of different sizes is different.
 */
extern bool tls_pin_same (const struct tls_pin *a, const struct tls_pin *b)
  __attribute__ ((nonnull (1, 2)));

/* One connection (or one curl handle, used by one thread at a time).  Must
 * outlive it.
 */
struct tls_check {
  const struct tls_trust *trust; /* borrowed */

  /* Of the last handshake: */
  struct vmdk_error refusal; /* kind ERR_NONE: not refused */
  bool seen;                 /* a certificate was shown, and these are its: */
  struct tls_pin sha1, sha256;
};

/* A client's context of our own, TLS 1.2 or later, which makes the check.
 * HOST is a name or an address; used for rule 2.  *CHECK is borrowed.
 */
extern SSL_CTX *tls_context_new (struct tls_check *check, const char *host,
                                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));
DEFINE_CLEANUP (ssl_context, SSL_CTX *, SSL_CTX_free)

/* Tell the server which host is meant, when HOST is a name (SNI). */
extern int tls_set_name (SSL *ssl, const char *host, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Whether HOST is an IP address rather than a name. */
extern bool tls_host_is_address (const char *host)
  __attribute__ ((nonnull (1)));

/* The last error of OpenSSL, in its own words; empties its queue. */
#define TLS_WORDS_SIZE 256
extern const char *tls_words (char buf[TLS_WORDS_SIZE])
  __attribute__ ((nonnull (1)));

/* Make a curl handle follow the rules: sets CURLOPT_SSL_CTX_FUNCTION,
 * CURLOPT_SSL_VERIFYPEER and their relatives.  *CHECK is borrowed, and its
 * trust is read at each handshake.  Where curl_easy_perform fails and
 * check->refusal is set, that is the better text.
 */
extern int tls_curl_setup (CURL *easy, struct tls_check *check,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

#endif /* VMDKIT_TLS_H */
