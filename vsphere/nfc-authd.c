/* SPDX-License-Identifier: BSD-3-Clause */

/* The dialogue with the authentication daemon.  See nfc-authd.h. */

#include <config.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <openssl/rand.h>

#include "nfc-authd.h"
#include "report.h"

/* --------------------------------------------------------------------- */
/* Lines. */

/* One item of the list of what the daemon can do. */
static void
greeting_item (struct nfc_greeting *greeting, const char *item, size_t len)
{
  static const char nfc_tls[] = "NFCSSL supported";
  static const char sha256[] = "SHA256 supported";
  const char *slash = memchr (item, '/', len);

  if (slash)
    len = (size_t) (slash - item);
  while (len > 0 && isspace ((unsigned char) item[len - 1]))
    len--;
  if (len == sizeof nfc_tls - 1 && memcmp (item, nfc_tls, len) == 0)
    greeting->nfc_tls = true;
  if (len == sizeof sha256 - 1 && memcmp (item, sha256, len) == 0)
    greeting->sha256 = true;
}

int
nfc_greeting_parse (struct nfc_greeting *greeting, const char *line,
                    struct vmdk_error *err)
{
  const char *p = strstr (line, ": ");

  *greeting = (struct nfc_greeting){ 0 };
  if (strncmp (line, "220 ", 4) != 0)
    return fail (err, ERR_SYSTEM,
                 "the host greets with \"%s\": is this port 902 of an ESXi "
                 "host?",
                 NAME (line));
  /* "SSL Required" is how hosts say it; any SSL is reason enough to try */
  greeting->tls = strstr (line, "SSL") != NULL;
  for (p = p ? p + 2 : ""; *p;) {
    const size_t len = strcspn (p, ",");
    const size_t spaces = strspn (p, " ");

    if (spaces < len)
      greeting_item (greeting, p + spaces, len - spaces);
    p += len + (p[len] == ',');
  }
  return 0;
}

int
nfc_reply_parse (unsigned *code, const char **text, const char *line)
{
  *code = 0;
  for (size_t i = 0; i < 3; i++) {
    if (!isdigit ((unsigned char) line[i]))
      return -1;
    *code = *code * 10 + (unsigned) (line[i] - '0');
  }
  if (line[3] != ' ' && line[3] != '\0')
    return -1;
  *text = line + 3 + strspn (line + 3, " ");
  return 0;
}

static bool
ends_in_ssl (const char *name)
{
  const size_t len = strlen (name);

  return len >= 3 && strcmp (name + len - 3, "ssl") == 0;
}

/* No text from a server may end a line early. */
static bool
is_word (const char *text)
{
  for (const char *p = text; *p; p++)
    if (!isgraph ((unsigned char) *p))
      return false;
  return *text != '\0';
}

int
nfc_service_name (char out[NFC_SERVICE_SIZE], const char *service, bool tls,
                  struct vmdk_error *err)
{
  if (!is_word (service) || strlen (service) + 4 > NFC_SERVICE_SIZE)
    return fail (err, ERR_SYSTEM, "the ticket is for \"%s\", which is no name",
                 NAME (service));
  snprintf (out, NFC_SERVICE_SIZE, "%s%s", service,
            tls && !ends_in_ssl (service) ? "ssl" : "");
  return 0;
}

int
nfc_endpoint_check (const char *text, bool tls, struct vmdk_error *err)
{
  static const char connect[] = "Connect ";
  const size_t len = sizeof connect - 1;

  if (strncmp (text, connect, len) != 0 || !is_word (text + len))
    return fail (err, ERR_SYSTEM, "the host answered \"%s\" to PROXY",
                 NAME (text));
  if (tls && !ends_in_ssl (text + len))
    return fail (err, ERR_SYSTEM,
                 "the host offers \"%s\", which would carry the disk in clear",
                 NAME (text + len));
  return 0;
}

/* --------------------------------------------------------------------- */
/* The dialogue. */

static int
send_line (struct nfc_dialogue *dialogue, struct nfc_wire *wire,
           const char *verb, const char *argument, bool secret,
           struct nfc_fault *fault)
{
  char line[NFC_LINE_SIZE];
  const int len = snprintf (line, sizeof line, "%s %s\r\n", verb, argument);
  int r;

  if (len < 0 || (size_t) len >= sizeof line)
    return NFC_FAIL (fault, NFC_FAILED, ERR_SYSTEM,
                     "a ticket of more than %d bytes", NFC_LINE_SIZE);
  log_debug (dialogue->log, LOG_OPEN, "> %s %s", verb,
             secret ? "<ticket>" : argument);
  r = nfc_wire_write (wire, line, (size_t) len,
                      nfc_wait_until (dialogue->deadline), fault);
  OPENSSL_cleanse (line, sizeof line);
  return r;
}

/* Read a line and log it, whether it is one or not. */
static int
read_line (struct nfc_dialogue *dialogue, struct nfc_wire *wire,
           const char *what, char line[NFC_LINE_SIZE], struct nfc_fault *fault)
{
  const int r =
    nfc_wire_read_line (wire, line, NFC_LINE_SIZE, dialogue->deadline, fault);

  report_mask (line, dialogue->ticket->session_id);
  if (r == 0) {
    log_debug (dialogue->log, LOG_OPEN, "< %s", NAME (line));
    return 0;
  }
  if (line[0])
    report_bytes (dialogue->log, "< no line of text", line, strlen (line));
  fail_prefix (&fault->error, "%s", what);
  return -1;
}

/* Read a reply, which must have the code WANT. */
static int
read_reply (struct nfc_dialogue *dialogue, struct nfc_wire *wire,
            const char *verb, unsigned want, char line[NFC_LINE_SIZE],
            const char **text, struct nfc_fault *fault)
{
  unsigned code;

  if (read_line (dialogue, wire, verb, line, fault) == -1)
    return -1;
  if (nfc_reply_parse (&code, text, line) == -1)
    return NFC_FAIL (fault, NFC_NONSENSE, ERR_SYSTEM,
                     "the host answered \"%s\" to %s", NAME (line), verb);
  if (code != want)
    return NFC_FAIL (fault, NFC_TURNED_AWAY, ERR_DENIED,
                     "the host refused %s: %s", verb, NAME (line));
  return 0;
}

static int
read_greeting (struct nfc_dialogue *dialogue, struct nfc_wire *wire,
               struct nfc_greeting *greeting, struct nfc_fault *fault)
{
  char line[NFC_LINE_SIZE];

  if (read_line (dialogue, wire, "waiting for a greeting", line, fault) == -1)
    return -1;
  if (nfc_greeting_parse (greeting, line, &fault->error) == -1)
    return nfc_blame (fault, NFC_HANDSHAKE);
  if (!greeting->tls)
    return NFC_FAIL (fault, NFC_NO_TLS, ERR_UNSUPPORTED,
                     "the host's daemon has no TLS: a ticket is not sent in "
                     "clear");
  if (dialogue->tls && !greeting->nfc_tls)
    return NFC_FAIL (fault, NFC_NO_TLS, ERR_UNSUPPORTED,
                     "the host serves no disks within TLS (nbdssl)");
  return 0;
}

/* What the ticket says of the host's certificate counts; it came from a
 * server that was checked.
 */
static int
ticket_trust (struct tls_trust *trust, const struct nfc_dialogue *dialogue,
              struct nfc_fault *fault)
{
  const struct nfc_ticket *ticket = dialogue->ticket;

  *trust = *dialogue->trust;
  if (!ticket->certificate && !ticket->ssl_thumbprint)
    return 0;
  trust->nr_pins = 0;
  if ((ticket->certificate
         ? tls_trust_add_certificate (trust, ticket->certificate,
                                      &fault->error)
         : tls_trust_add (trust, ticket->ssl_thumbprint, &fault->error))
      == 0)
    return 0;
  fail_prefix (&fault->error, "the ticket");
  return nfc_blame (fault, NFC_UNTRUSTED);
}

static void
log_tls (const struct vmdk_log *log, SSL *ssl)
{
  log_debug (log, LOG_OPEN, "%s, %s", SSL_get_version (ssl),
             SSL_get_cipher_name (ssl));
}

static int
start_tls (struct nfc_dialogue *dialogue, struct nfc_wire *wire,
           struct nfc_fault *fault)
{
  struct tls_trust trust;
  struct tls_check check = { .trust = &trust };

  if (ticket_trust (&trust, dialogue, fault) == -1
      || nfc_wire_start_tls (wire, &check, dialogue->ticket->host, false,
                             dialogue->deadline, fault)
           == -1)
    return -1;
  dialogue->certificate = check.sha256;
  log_tls (dialogue->log, wire->ssl);
  return 0;
}

/* Letters and digits. */
static int
make_tag (char tag[NFC_TAG_SIZE + 1], struct nfc_fault *fault)
{
  static const char letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  uint8_t random[NFC_TAG_SIZE];

  if (RAND_bytes (random, sizeof random) != 1)
    return NFC_FAIL (fault, NFC_FAILED, ERR_SYSTEM, "no random numbers");
  for (size_t i = 0; i < NFC_TAG_SIZE; i++)
    tag[i] = letters[random[i] % (sizeof letters - 1)];
  tag[NFC_TAG_SIZE] = '\0';
  return 0;
}

/* The daemon tells the thumbprint of the certificate that it has shown. */
static int
exchange_tag (struct nfc_dialogue *dialogue, struct nfc_wire *wire,
              struct nfc_fault *fault)
{
  char line[NFC_LINE_SIZE];
  const char *text;
  struct tls_pin told;

  if (make_tag (dialogue->tag, fault) == -1
      || send_line (dialogue, wire, "THUMBPRINT_SHA2", dialogue->tag, false,
                    fault)
           == -1
      || read_reply (dialogue, wire, "THUMBPRINT_SHA2", 200, line, &text,
                     fault)
           == -1)
    return -1;
  if (tls_pin_parse (&told, text, &fault->error) == -1
      || told.count != TLS_SHA256_SIZE)
    return NFC_FAIL (fault, NFC_NONSENSE, ERR_SYSTEM,
                     "the host answered \"%s\" to THUMBPRINT_SHA2",
                     NAME (line));
  if (!tls_pin_same (&told, &dialogue->certificate))
    return NFC_FAIL (fault, NFC_UNTRUSTED, ERR_DENIED,
                     "the host says that it has another certificate than the "
                     "one it has shown: somebody may be in between");
  return 0;
}

static int
ask_for_service (struct nfc_dialogue *dialogue, struct nfc_wire *wire,
                 struct nfc_fault *fault)
{
  char service[NFC_SERVICE_SIZE], line[NFC_LINE_SIZE];
  const char *text;

  if (nfc_service_name (service, dialogue->ticket->service, dialogue->tls,
                        &fault->error)
      == -1)
    return nfc_blame (fault, NFC_NONSENSE);
  if (send_line (dialogue, wire, "PROXY", service, false, fault) == -1
      || read_reply (dialogue, wire, "PROXY", 200, line, &text, fault) == -1)
    return -1;
  if (nfc_endpoint_check (text, dialogue->tls, &fault->error) == -1)
    return nfc_blame (fault, NFC_NO_TLS);
  return 0;
}

int
nfc_authd_talk (struct nfc_dialogue *dialogue, struct nfc_wire *wire,
                struct nfc_fault *fault)
{
  struct nfc_greeting greeting;
  char line[NFC_LINE_SIZE];
  const char *text;

  dialogue->tag[0] = '\0';
  if (!is_word (dialogue->ticket->session_id))
    return NFC_FAIL (fault, NFC_FAILED, ERR_SYSTEM,
                     "the server gave a ticket that is no word");
  if (read_greeting (dialogue, wire, &greeting, fault) == -1
      || start_tls (dialogue, wire, fault) == -1
      || send_line (dialogue, wire, "SESSION", dialogue->ticket->session_id,
                    true, fault)
           == -1
      /* the space after BANNER belongs to it */
      || send_line (dialogue, wire, "BANNER", "", false, fault) == -1
      || read_reply (dialogue, wire, "BANNER", 220, line, &text, fault) == -1)
    return -1;
  if (greeting.sha256 && !dialogue->no_tag
      && exchange_tag (dialogue, wire, fault) == -1)
    return -1;
  if (ask_for_service (dialogue, wire, fault) == -1)
    return -1;
  return nfc_wire_abandon_tls (wire, fault);
}
