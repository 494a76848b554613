/* SPDX-License-Identifier: BSD-3-Clause */

/* How to talk to a host: what the user may choose, and how long to wait. */

#ifndef VMDKIT_NFC_SETTINGS_H
#define VMDKIT_NFC_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "nfc-frame.h"
#include "tls.h"

/* The longest operation.  Hosts take longer ones, but older ones keep all of
 * it in memory, of which they have little.
 */
#define NFC_MAX_IO (1024 * 1024)

/* More would take too much of a host that serves others. */
#define NFC_MAX_REQUESTS 64
#define NFC_MAX_IN_FLIGHT (32 * 1024 * 1024)

/* Milliseconds. */
struct nfc_times {
  int connect;   /* until a connection stands */
  int step;      /* for the dialogue, and again for the handshake */
  int read;      /* without a byte, while reads are outstanding */
  int write;     /* the same for writes */
  int idle;      /* before a sector is read to keep the connection */
  int pause;     /* before the second attempt to connect; then twice that */
  int max_pause; /* but no longer */
  int budget;    /* attempts to connect end after that, but not before */
  int attempts;  /* there were so many (no milliseconds) */
};

struct nfc_settings {
  bool tls;      /* nbdssl: data within TLS; nbd: in clear */
  unsigned port; /* 0: what the ticket tells, or 902 */
  enum nfc_compression compression;
  uint32_t buffer_size, buffer_count; /* of the host; fragments are so long */
  unsigned requests;                  /* in flight at most */
  uint64_t bytes;                     /* the same in bytes */
  bool flush_closes;  /* flush closes and reopens the disk, for the careful */
  const char *client; /* our name: 1 to 32 letters; borrowed */
  struct tls_trust trust; /* where a ticket tells no thumbprint */
  struct nfc_times times;

  /* Asked while a connection is made, or made again; true ends that.  NULL:
   * nobody can.
   */
  bool (*stopped) (void *opaque);
  void *opaque;
};

#define NFC_TIMES_DEFAULT                                           \
  {                                                                 \
    .connect = 10 * 1000, .step = 30 * 1000, .read = 60 * 1000,     \
    .write = 120 * 1000, .idle = 5 * 60 * 1000, .pause = 1000,      \
    .max_pause = 30 * 1000, .budget = 5 * 60 * 1000, .attempts = 5, \
  }

#define NFC_SETTINGS_DEFAULT                                         \
  {                                                                  \
    .tls = true, .compression = NFC_SKIPZ, .buffer_size = 64 * 1024, \
    .buffer_count = 4, .requests = 32, .bytes = 16 * 1024 * 1024,    \
    .client = "vmdkit", .times = NFC_TIMES_DEFAULT,                  \
  }

#endif /* VMDKIT_NFC_SETTINGS_H */
