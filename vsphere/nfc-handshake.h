/* SPDX-License-Identifier: BSD-3-Clause */

/* The handshake with the service that serves disks: classic messages until
 * both sides speak in frames.
 */

#ifndef VMDKIT_NFC_HANDSHAKE_H
#define VMDKIT_NFC_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "log.h"
#include "nfc-wire.h"

struct nfc_handshake {
  const char *tag;    /* "": the host knows none */
  const char *client; /* our name: 1 to 32 letters */
  bool newer_version; /* announce the other pair of numbers */
  int64_t deadline;
  const struct vmdk_log *log;

  uint32_t version; /* the host's */
};

extern int nfc_handshake_do (struct nfc_handshake *handshake,
                             struct nfc_wire *wire, struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

#endif /* VMDKIT_NFC_HANDSHAKE_H */
