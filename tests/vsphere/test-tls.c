/* SPDX-License-Identifier: BSD-3-Clause */

/* Which certificates are believed: thumbprints, authorities, names; and that
 * nothing is sent to a server that is not.
 */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "nfc-helper.h"
#include "tls.h"

static EVP_PKEY *key;
static X509 *certificate;
static char ca_file[] = "/tmp/test-tls-XXXXXX";
static char pem[4096];
static struct tls_pin sha1, sha256;

static void
make_pin (struct tls_pin *pin, const EVP_MD *digest)
{
  unsigned len = 0;

  pin->count = (size_t) EVP_MD_size (digest);
  assert_int_equal (X509_digest (certificate, digest, pin->bytes, &len), 1);
  assert_int_equal (len, pin->count);
}

/* For host.example and 192.0.2.7, signed by itself. */
static int
setup (void **state)
{
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id (EVP_PKEY_ED25519, NULL);
  X509_NAME *name;
  X509_EXTENSION *names;
  FILE *file;
  BIO *bio;
  size_t len;

  (void) state;
  if (EVP_PKEY_keygen_init (context) != 1
      || EVP_PKEY_keygen (context, &key) != 1)
    return -1;
  EVP_PKEY_CTX_free (context);
  certificate = X509_new ();
  X509_set_version (certificate, 2);
  ASN1_INTEGER_set (X509_get_serialNumber (certificate), 7);
  X509_gmtime_adj (X509_getm_notBefore (certificate), -3600);
  X509_gmtime_adj (X509_getm_notAfter (certificate), 86400);
  X509_set_pubkey (certificate, key);
  name = X509_get_subject_name (certificate);
  X509_NAME_add_entry_by_txt (name, "CN", MBSTRING_ASC,
                              (const uint8_t *) "host", -1, -1, 0);
  X509_set_issuer_name (certificate, name);
  names = X509V3_EXT_conf_nid (NULL, NULL, NID_subject_alt_name,
                               "DNS:host.example,IP:192.0.2.7");
  X509_add_ext (certificate, names, -1);
  X509_EXTENSION_free (names);
  if (X509_sign (certificate, key, NULL) == 0)
    return -1;

  file = fdopen (mkstemp (ca_file), "w");
  PEM_write_X509 (file, certificate);
  fclose (file);
  bio = BIO_new (BIO_s_mem ());
  PEM_write_bio_X509 (bio, certificate);
  len = (size_t) BIO_read (bio, pem, sizeof pem - 1);
  pem[len] = '\0';
  BIO_free (bio);
  make_pin (&sha1, EVP_sha1 ());
  make_pin (&sha256, EVP_sha256 ());
  return 0;
}

static int
teardown (void **state)
{
  (void) state;
  unlink (ca_file);
  X509_free (certificate);
  EVP_PKEY_free (key);
  return 0;
}

/* --------------------------------------------------------------------- */

static void
test_parse (void **state)
{
  static const char digits20[] = "00112233445566778899aAbBcCdDeEfF00112233";
  static const char *const bad[] = {
    "",
    "00",
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22",
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:",
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:3",
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:3g",
    "00::11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33",
    "00 11 22 33 44 55 66 77 88 99 AA BB CC DD EE FF 00 11 22 33",
  };
  char text[TLS_PIN_TEXT_SIZE];
  struct tls_pin pin;
  struct vmdk_error err;

  (void) state;
  assert_int_equal (tls_pin_parse (&pin, digits20, &err), 0);
  assert_int_equal (pin.count, TLS_SHA1_SIZE);
  assert_string_equal (
    tls_pin_text (text, &pin),
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33");
  assert_int_equal (tls_pin_parse (&pin, tls_pin_text (text, &sha256), &err),
                    0);
  assert_true (tls_pin_same (&pin, &sha256));
  assert_false (tls_pin_same (&pin, &sha1));
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_int_equal (tls_pin_parse (&pin, bad[i], &err), -1);
    assert_int_equal (err.kind, ERR_ARGUMENT);
  }
  assert_string_equal (
    err.text,
    "thumbprint \"00 11 22 33 44 55 66 77 88 99 AA BB CC DD EE FF 00 11 22 "
    "33\": it must be 20 (SHA-1) or 32 (SHA-256) pairs of hexadecimal "
    "digits, separated by colons");
}

static void
test_trust (void **state)
{
  struct tls_trust trust = { 0 };
  struct vmdk_error err;

  (void) state;
  assert_int_equal (tls_trust_add_certificate (&trust, pem, &err), 0);
  assert_int_equal (trust.nr_pins, 1);
  assert_true (tls_pin_same (&trust.pins[0], &sha256));
  assert_int_equal (tls_trust_add_certificate (&trust, "no PEM", &err), -1);
  assert_int_equal (err.kind, ERR_CORRUPT);
  for (int i = 1; i < TLS_MAX_PINS; i++)
    assert_int_equal (tls_trust_add_certificate (&trust, pem, &err), 0);
  assert_int_equal (tls_trust_add_certificate (&trust, pem, &err), -1);
  assert_string_equal (err.text, "more than 4 thumbprints");
}

/* --------------------------------------------------------------------- */
/* A handshake in memory. */

struct meeting {
  bool agreed;
  struct tls_check check;
};

static SSL *
make_server (void)
{
  SSL_CTX *context = SSL_CTX_new (TLS_server_method ());
  SSL *ssl;

  SSL_CTX_use_certificate (context, certificate);
  SSL_CTX_use_PrivateKey (context, key);
  ssl = SSL_new (context);
  SSL_CTX_free (context);
  SSL_set_accept_state (ssl);
  return ssl;
}

static void
meet (struct meeting *meeting, const struct tls_trust *trust, const char *host)
{
  struct vmdk_error err = { 0 };
  SSL_CTX *context;
  SSL *client, *server = make_server ();
  BIO *a, *b;

  *meeting = (struct meeting){ .check = { .trust = trust } };
  context = tls_context_new (&meeting->check, host, &err);
  assert_non_null (context);
  client = SSL_new (context);
  SSL_CTX_free (context);
  assert_int_equal (tls_set_name (client, host, &err), 0);
  SSL_set_connect_state (client);
  BIO_new_bio_pair (&a, 65536, &b, 65536);
  SSL_set_bio (client, a, a);
  SSL_set_bio (server, b, b);
  for (int i = 0; i < 10 && !meeting->agreed; i++) {
    const int c = SSL_do_handshake (client), s = SSL_do_handshake (server);

    meeting->agreed = c == 1 && s == 1;
    if (meeting->check.refusal.kind != ERR_NONE)
      break;
  }
  /* a refused server got no finished message, so no data can follow */
  if (meeting->check.refusal.kind != ERR_NONE)
    assert_false (SSL_is_init_finished (server));
  SSL_free (client);
  SSL_free (server);
}

static struct tls_trust
pinned (const struct tls_pin *pin)
{
  return (struct tls_trust){ .pins = { *pin }, .nr_pins = 1 };
}

static void
test_pins (void **state)
{
  struct meeting meeting;
  struct tls_trust trust = pinned (&sha1);
  struct tls_pin wrong = sha256;
  char wrong_text[TLS_PIN_TEXT_SIZE], right_text[TLS_PIN_TEXT_SIZE];
  char text[512];

  (void) state;
  meet (&meeting, &trust, "other.example");
  assert_true (meeting.agreed);
  assert_true (tls_pin_same (&meeting.check.sha256, &sha256));
  trust = pinned (&sha256);
  meet (&meeting, &trust, "198.51.100.1");
  assert_true (meeting.agreed);

  wrong.bytes[31] ^= 1;
  trust = pinned (&wrong);
  /* thumbprints count even where anything would do */
  trust.insecure = true;
  meet (&meeting, &trust, "host.example");
  assert_false (meeting.agreed);
  assert_int_equal (meeting.check.refusal.kind, ERR_DENIED);
  snprintf (text, sizeof text,
            "the server's certificate has the thumbprint %s, not %s: this is "
            "another server, or its certificate was renewed",
            tls_pin_text (right_text, &sha256),
            tls_pin_text (wrong_text, &wrong));
  assert_string_equal (meeting.check.refusal.text, text);

  trust.pins[trust.nr_pins++] = sha1;
  meet (&meeting, &trust, "host.example");
  assert_true (meeting.agreed);
}

static void
test_authorities (void **state)
{
  struct meeting meeting;
  const struct tls_trust system = { 0 };
  const struct tls_trust ours = { .ca_file = ca_file };
  const struct tls_trust anything = { .insecure = true };

  (void) state;
  meet (&meeting, &ours, "host.example");
  assert_true (meeting.agreed);
  meet (&meeting, &ours, "192.0.2.7");
  assert_true (meeting.agreed);

  meet (&meeting, &ours, "other.example");
  assert_false (meeting.agreed);
  assert_non_null (
    strstr (meeting.check.refusal.text,
            "the server's certificate is not trusted: hostname mismatch"));
  meet (&meeting, &ours, "192.0.2.8");
  assert_false (meeting.agreed);

  meet (&meeting, &system, "host.example");
  assert_false (meeting.agreed);
  assert_int_equal (meeting.check.refusal.kind, ERR_DENIED);
  assert_non_null (
    strstr (meeting.check.refusal.text, "its SHA-256 thumbprint is "));

  meet (&meeting, &anything, "other.example");
  assert_true (meeting.agreed);
}

static void
test_missing_authorities (void **state)
{
  const struct tls_trust trust = { .ca_file = "/nowhere/ca.pem" };
  struct tls_check check = { .trust = &trust };
  struct vmdk_error err;

  (void) state;
  assert_null (tls_context_new (&check, "host.example", &err));
  assert_non_null (strstr (err.text, "/nowhere/ca.pem: "));
}

static void
test_addresses (void **state)
{
  (void) state;
  assert_true (tls_host_is_address ("192.0.2.7"));
  assert_true (tls_host_is_address ("2001:db8::7"));
  assert_false (tls_host_is_address ("192.0.2.7.example"));
  assert_false (tls_host_is_address ("esx1"));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_parse),
    cmocka_unit_test (test_trust),
    cmocka_unit_test (test_pins),
    cmocka_unit_test (test_authorities),
    cmocka_unit_test (test_missing_authorities),
    cmocka_unit_test (test_addresses),
  };

  return cmocka_run_group_tests (tests, setup, teardown);
}
