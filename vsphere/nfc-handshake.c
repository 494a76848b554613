/* SPDX-License-Identifier: BSD-3-Clause */

/* The handshake.  See nfc-handshake.h.
 *
 *   > tag            (hosts that know THUMBPRINT_SHA2)
 *   > parameters
 *   > version        < status, version
 *   > names
 *   > features
 *   > frames         < frames
 *
 * Some hosts answer the parameters only once they have the version: nothing
 * is waited for before that.  Each message is a write, hence a TLS record, of
 * its own: hosts are said to take one message a record.
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "nfc-frame.h"
#include "nfc-handshake.h"
#include "report.h"

#define OLDEST_VERSION 3
#define VERSION 11
#define NEWER_VERSION 12
#define FEATURES 3 /* interruption and switch, as hosts expect of a client */
#define PURPOSE "nbdmode"

static int
send_bytes (const struct nfc_handshake *handshake, struct nfc_wire *wire,
            const uint8_t *bytes, size_t count, struct nfc_fault *fault)
{
  struct nfc_classic message;

  nfc_classic_decode (&message, bytes);
  log_debug (handshake->log, LOG_OPEN, "> message %" PRIu32, message.type);
  return nfc_wire_write (wire, bytes, count,
                         nfc_wait_until (handshake->deadline), fault);
}

static int
send_words (const struct nfc_handshake *handshake, struct nfc_wire *wire,
            enum nfc_classic_type type, uint32_t first, uint32_t second,
            struct nfc_fault *fault)
{
  uint8_t bytes[NFC_CLASSIC_SIZE];

  nfc_classic_encode (bytes, type, first, second);
  return send_bytes (handshake, wire, bytes, sizeof bytes, fault);
}

static int
send_tag (const struct nfc_handshake *handshake, struct nfc_wire *wire,
          struct nfc_fault *fault)
{
  uint8_t bytes[NFC_CLASSIC_SIZE];

  if (handshake->tag[0] == '\0')
    return 0;
  nfc_classic_encode_tag (bytes, handshake->tag);
  return send_bytes (handshake, wire, bytes, sizeof bytes, fault);
}

static int
send_names (const struct nfc_handshake *handshake, struct nfc_wire *wire,
            struct nfc_fault *fault)
{
  uint8_t bytes[NFC_NAMES_SIZE];

  return send_bytes (
    handshake, wire, bytes,
    nfc_classic_encode_names (bytes, handshake->client, PURPOSE), fault);
}

/* --------------------------------------------------------------------- */

/* The text of an error follows it. */
static int
refused (const struct nfc_handshake *handshake, struct nfc_wire *wire,
         const struct nfc_classic *message, struct nfc_fault *fault)
{
  char text[512] = "";
  const size_t count = min_u64 (message->words[2], sizeof text - 1);
  struct nfc_fault ignored;

  if (count > 0
      && nfc_wire_read (wire, text, count, handshake->deadline, &ignored)
           == -1)
    text[0] = '\0';
  return NFC_FAIL (fault, NFC_NO_SESSION, ERR_SYSTEM,
                   "the host refused the session: %s (type %" PRIu32
                   ", code %" PRIu32 ")",
                   NAME (text), message->words[0], message->words[1]);
}

static int
unexpected (const struct nfc_handshake *handshake, struct nfc_wire *wire,
            const struct nfc_classic *message, enum nfc_classic_type want,
            struct nfc_fault *fault)
{
  if (message->type == NFC_CLASSIC_ERROR)
    return refused (handshake, wire, message, fault);
  if (message->type == NFC_CLASSIC_COMPLETE)
    return NFC_FAIL (fault, NFC_HANDSHAKE, ERR_SYSTEM,
                     "the host ended the session instead of sending message "
                     "%d",
                     want);
  return NFC_FAIL (
    fault, NFC_HANDSHAKE, ERR_SYSTEM,
    "the host sent message %" PRIu32 " (%08" PRIx32 " %08" PRIx32 " %08" PRIx32
    " %08" PRIx32 " %08" PRIx32 ") instead of %d%s",
    message->type, message->words[0], message->words[1], message->words[2],
    message->words[3], message->words[4], want,
    (message->type & 0xff) == 0x15 ? ", or ended TLS" : "");
}

static int
expect (const struct nfc_handshake *handshake, struct nfc_wire *wire,
        enum nfc_classic_type want, struct nfc_classic *message,
        struct nfc_fault *fault)
{
  uint8_t bytes[NFC_CLASSIC_SIZE];

  if (nfc_wire_read (wire, bytes, sizeof bytes, handshake->deadline, fault)
      == -1) {
    fail_prefix (&fault->error, "waiting for message %d", want);
    return -1;
  }
  nfc_classic_decode (message, bytes);
  log_debug (handshake->log, LOG_OPEN,
             "< message %" PRIu32 ", %" PRIu32 " %" PRIu32 " %" PRIu32
             " %" PRIu32,
             message->type, message->words[0], message->words[1],
             message->words[2], message->words[3]);
  if (message->type != want) {
    report_bytes (handshake->log, "< message", bytes, sizeof bytes);
    return unexpected (handshake, wire, message, want, fault);
  }
  return 0;
}

/* Hosts that know no tag end the session there. */
static int
begin (const struct nfc_handshake *handshake, struct nfc_wire *wire,
       struct nfc_fault *fault)
{
  const bool newer = handshake->newer_version;
  struct nfc_classic message;

  if (send_tag (handshake, wire, fault) == 0
      && send_words (handshake, wire, NFC_CLASSIC_PARAMETERS, 0, 0, fault) == 0
      && send_words (handshake, wire, NFC_CLASSIC_VERSION,
                     newer ? NEWER_VERSION : VERSION, newer, fault)
           == 0
      && expect (handshake, wire, NFC_CLASSIC_STATUS, &message, fault) == 0)
    return 0;
  if (handshake->tag[0] != '\0'
      && (fault->reason == NFC_LOST || fault->reason == NFC_HANDSHAKE))
    fault->reason = NFC_TAG;
  return -1;
}

int
nfc_handshake_do (struct nfc_handshake *handshake, struct nfc_wire *wire,
                  struct nfc_fault *fault)
{
  struct nfc_classic message;

  if (begin (handshake, wire, fault) == -1
      || expect (handshake, wire, NFC_CLASSIC_VERSION, &message, fault) == -1)
    return -1;
  handshake->version = message.words[0];
  if (handshake->version < OLDEST_VERSION)
    return NFC_FAIL (fault, NFC_TOO_OLD, ERR_UNSUPPORTED,
                     "the host speaks version %" PRIu32
                     " of the protocol, and %d is the oldest that can be used",
                     handshake->version, OLDEST_VERSION);
  if (send_names (handshake, wire, fault) == -1
      || send_words (handshake, wire, NFC_CLASSIC_FEATURES, FEATURES, 0, fault)
           == -1
      || send_words (handshake, wire, NFC_CLASSIC_FRAMES, 0, 0, fault) == -1)
    return -1;
  return expect (handshake, wire, NFC_CLASSIC_FRAMES, &message, fault);
}
