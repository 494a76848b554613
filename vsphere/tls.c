/* SPDX-License-Identifier: BSD-3-Clause */

/* The check of a server's certificate.  See tls.h.
 *
 * OpenSSL calls certificate_check in place of its own verification, so that
 * whether a chain leads anywhere is asked only where it matters.
 */

#include <config.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "tls.h"

DEFINE_CLEANUP (x509, X509 *, X509_free)
DEFINE_CLEANUP (bio, BIO *, BIO_free)

/* --------------------------------------------------------------------- */
/* Thumbprints. */

static int
hex_value (char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

int
tls_pin_parse (struct tls_pin *pin, const char *text, struct vmdk_error *err)
{
  const char *p = text;

  pin->count = 0;
  while (*p) {
    const int high = hex_value (p[0]);
    const int low = high < 0 ? -1 : hex_value (p[1]);

    if (low < 0 || pin->count == sizeof pin->bytes)
      break;
    pin->bytes[pin->count++] = (uint8_t) (high << 4 | low);
    p += 2;
    if (*p == ':' && p[1])
      p++;
  }
  if (*p || (pin->count != TLS_SHA1_SIZE && pin->count != TLS_SHA256_SIZE))
    return fail (err, ERR_ARGUMENT,
                 "thumbprint \"%s\": it must be 20 (SHA-1) or 32 (SHA-256) "
                 "pairs of hexadecimal digits, separated by colons",
                 NAME (text));
  return 0;
}

const char *
tls_pin_text (char buf[TLS_PIN_TEXT_SIZE], const struct tls_pin *pin)
{
  buf[0] = '\0';
  for (size_t i = 0; i < pin->count; i++)
    snprintf (buf + 3 * i, TLS_PIN_TEXT_SIZE - 3 * i, "%02X%s", pin->bytes[i],
              i + 1 < pin->count ? ":" : "");
  return buf;
}

bool
tls_pin_same (const struct tls_pin *a, const struct tls_pin *b)
{
  return a->count == b->count
         && CRYPTO_memcmp (a->bytes, b->bytes, a->count) == 0;
}

static int
trust_append (struct tls_trust *trust, const struct tls_pin *pin,
              struct vmdk_error *err)
{
  if (trust->nr_pins == TLS_MAX_PINS)
    return fail (err, ERR_ARGUMENT, "more than %d thumbprints", TLS_MAX_PINS);
  trust->pins[trust->nr_pins++] = *pin;
  return 0;
}

int
tls_trust_add (struct tls_trust *trust, const char *thumbprint,
               struct vmdk_error *err)
{
  struct tls_pin pin;

  if (tls_pin_parse (&pin, thumbprint, err) == -1)
    return -1;
  return trust_append (trust, &pin, err);
}

static int
pin_of (struct tls_pin *pin, const X509 *certificate, const EVP_MD *digest)
{
  unsigned len = 0;
  uint8_t bytes[EVP_MAX_MD_SIZE];

  if (X509_digest (certificate, digest, bytes, &len) != 1
      || len > sizeof pin->bytes)
    return -1;
  memcpy (pin->bytes, bytes, len);
  pin->count = len;
  return 0;
}

int
tls_trust_add_certificate (struct tls_trust *trust, const char *pem,
                           struct vmdk_error *err)
{
  char words[TLS_WORDS_SIZE];
  struct tls_pin pin;
  CLEANUP (bio) BIO *bio = BIO_new_mem_buf (pem, -1);
  CLEANUP (x509)
  X509 *certificate = bio ? PEM_read_bio_X509 (bio, NULL, NULL, NULL) : NULL;

  if (!certificate || pin_of (&pin, certificate, EVP_sha256 ()) == -1)
    return fail (err, ERR_CORRUPT, "the server's certificate in PEM: %s",
                 tls_words (words));
  return trust_append (trust, &pin, err);
}

/* --------------------------------------------------------------------- */
/* The check. */

static bool
pin_matches (const struct tls_check *check)
{
  for (size_t i = 0; i < check->trust->nr_pins; i++)
    if (tls_pin_same (&check->trust->pins[i], &check->sha1)
        || tls_pin_same (&check->trust->pins[i], &check->sha256))
      return true;
  return false;
}

/* What is said of a thumbprint that is none of those given shows both, of one
 * kind.
 */
static void
refuse_pin (struct tls_check *check)
{
  const struct tls_pin *wanted = &check->trust->pins[0];
  const struct tls_pin *shown =
    wanted->count == TLS_SHA1_SIZE ? &check->sha1 : &check->sha256;
  char wanted_text[TLS_PIN_TEXT_SIZE], shown_text[TLS_PIN_TEXT_SIZE];

  fail (&check->refusal, ERR_DENIED,
        "the server's certificate has the thumbprint %s, not %s: this is "
        "another server, or its certificate was renewed",
        tls_pin_text (shown_text, shown), tls_pin_text (wanted_text, wanted));
}

static void
refuse_chain (struct tls_check *check, int why)
{
  char text[TLS_PIN_TEXT_SIZE];

  fail (&check->refusal, ERR_DENIED,
        "the server's certificate is not trusted: %s; its SHA-256 thumbprint "
        "is %s: if its owner confirms that, give it as thumbprint, or name "
        "the authority's file",
        X509_verify_cert_error_string (why),
        tls_pin_text (text, &check->sha256));
}

/* 1 lets the handshake go on. */
static int
certificate_check (X509_STORE_CTX *context, void *opaque)
{
  struct tls_check *check = opaque;
  const X509 *shown = X509_STORE_CTX_get0_cert (context);

  check->refusal = (struct vmdk_error){ 0 };
  check->seen = shown && pin_of (&check->sha1, shown, EVP_sha1 ()) == 0
                && pin_of (&check->sha256, shown, EVP_sha256 ()) == 0;
  if (!check->seen)
    fail (&check->refusal, ERR_DENIED, "the server showed no certificate");
  else if (check->trust->nr_pins > 0) {
    if (!pin_matches (check))
      refuse_pin (check);
  }
  else if (!check->trust->insecure && X509_verify_cert (context) != 1)
    refuse_chain (check, X509_STORE_CTX_get_error (context));

  if (check->refusal.kind != ERR_NONE) {
    if (X509_STORE_CTX_get_error (context) == X509_V_OK)
      X509_STORE_CTX_set_error (context, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
  }
  X509_STORE_CTX_set_error (context, X509_V_OK);
  return 1;
}

static void
context_check (SSL_CTX *context, struct tls_check *check)
{
  SSL_CTX_set_verify (context, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_cert_verify_callback (context, certificate_check, check);
  SSL_CTX_set_min_proto_version (context, TLS1_2_VERSION);
  if (check->trust->old_hosts)
    SSL_CTX_set_security_level (context, 1);
}

/* --------------------------------------------------------------------- */
/* Connections of our own. */

const char *
tls_words (char buf[TLS_WORDS_SIZE])
{
  const unsigned long code = ERR_peek_last_error ();
  const char *reason = code ? ERR_reason_error_string (code) : NULL;

  snprintf (buf, TLS_WORDS_SIZE, "%s", reason ? reason : "unknown error");
  ERR_clear_error ();
  return buf;
}

bool
tls_host_is_address (const char *host)
{
  uint8_t address[sizeof (struct in6_addr)];

  return inet_pton (AF_INET, host, address) == 1
         || inet_pton (AF_INET6, host, address) == 1;
}

static int
fail_tls (struct vmdk_error *err, const char *what)
{
  char words[TLS_WORDS_SIZE];

  return fail (err, ERR_SYSTEM, "%s: %s", what, tls_words (words));
}

/* Rule 2. */
static int
trust_authorities (SSL_CTX *context, const struct tls_trust *trust,
                   const char *host, struct vmdk_error *err)
{
  X509_VERIFY_PARAM *param = SSL_CTX_get0_param (context);

  if (trust->ca_file) {
    if (SSL_CTX_load_verify_locations (context, trust->ca_file, NULL) != 1)
      return fail_tls (err, NAME (trust->ca_file));
  }
  else if (SSL_CTX_set_default_verify_paths (context) != 1)
    return fail_tls (err, "the system's certificate authorities");
  if ((tls_host_is_address (host)
         ? X509_VERIFY_PARAM_set1_ip_asc (param, host)
         : X509_VERIFY_PARAM_set1_host (param, host, 0))
      != 1)
    return fail_tls (err, NAME (host));
  return 0;
}

SSL_CTX *
tls_context_new (struct tls_check *check, const char *host,
                 struct vmdk_error *err)
{
  CLEANUP (ssl_context)
  SSL_CTX *context = SSL_CTX_new (TLS_client_method ());

  if (!context) {
    fail_tls (err, "TLS");
    return NULL;
  }
  context_check (context, check);
  SSL_CTX_set_session_cache_mode (context, SSL_SESS_CACHE_OFF);
  if (check->trust->nr_pins == 0 && !check->trust->insecure
      && trust_authorities (context, check->trust, host, err) == -1)
    return NULL;
  return steal_ptr (&context);
}

int
tls_set_name (SSL *ssl, const char *host, struct vmdk_error *err)
{
  if (!tls_host_is_address (host) && SSL_set_tlsext_host_name (ssl, host) != 1)
    return fail_tls (err, NAME (host));
  return 0;
}

/* --------------------------------------------------------------------- */
/* curl's connections. */

static CURLcode
curl_context (CURL *easy, void *context, void *opaque)
{
  struct tls_check *check = opaque;

  (void) easy;
  check->refusal = (struct vmdk_error){ 0 };
  check->seen = false;
  context_check (context, check);
  return CURLE_OK;
}

int
tls_curl_setup (CURL *easy, struct tls_check *check, struct vmdk_error *err)
{
  /* where we decide ourselves, curl shall not ask for a chain and a name */
  const long chain = check->trust->nr_pins == 0 && !check->trust->insecure;
  const char *ca_file = chain ? check->trust->ca_file : NULL;

  if (curl_easy_setopt (easy, CURLOPT_SSL_CTX_FUNCTION, curl_context)
        != CURLE_OK
      || curl_easy_setopt (easy, CURLOPT_SSL_CTX_DATA, check) != CURLE_OK)
    return fail (err, ERR_UNSUPPORTED,
                 "this libcurl is not built with OpenSSL: certificates "
                 "cannot be checked");
  if (curl_easy_setopt (easy, CURLOPT_SSL_VERIFYPEER, chain) != CURLE_OK
      || curl_easy_setopt (easy, CURLOPT_SSL_VERIFYHOST, chain ? 2L : 0L)
           != CURLE_OK
      || curl_easy_setopt (easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2)
           != CURLE_OK
      || (ca_file
          && curl_easy_setopt (easy, CURLOPT_CAINFO, ca_file) != CURLE_OK)
      /* a resumed session shows no certificate to check */
      || curl_easy_setopt (easy, CURLOPT_SSL_SESSIONID_CACHE, 0L) != CURLE_OK)
    return fail (err, ERR_SYSTEM, "libcurl refuses to be set up for TLS");
  return 0;
}
