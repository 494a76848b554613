/* SPDX-License-Identifier: BSD-3-Clause */

/* Moves ranges of whole sectors: several operations at once, each tried again
 * as its failure deserves.
 *
 *   the connection was lost            on the next one
 *   an answer made no sense            once more; then it fails
 *   a fragment did not unpack          once more, and unpacked from then on
 *   the host has no memory             in halves, after a pause, fewer at once
 *   the host cannot                    once more, on another connection
 */

#ifndef VMDKIT_NFC_TRANSFER_H
#define VMDKIT_NFC_TRANSFER_H

#include <pthread.h>

#include "nfc-keeper.h"

struct nfc_transfer {
  struct nfc_keeper *keeper;
  struct nfc_settings settings;
  struct vmdk_log log;

  struct {
    pthread_mutex_t lock;
    enum nfc_compression compression;
    uint32_t max_io;    /* bytes of one operation */
    unsigned requests;  /* in flight */
    unsigned successes; /* since max_io changed */
    uint64_t progress;  /* operations that were done, ever */
  } state;
};

extern void nfc_transfer_init (struct nfc_transfer *transfer,
                               struct nfc_keeper *keeper,
                               const struct nfc_settings *settings,
                               const struct vmdk_log *log)
  __attribute__ ((nonnull (1, 2, 3, 4)));
extern void nfc_transfer_destroy (struct nfc_transfer *transfer)
  __attribute__ ((nonnull (1)));

/* What reads ask for now. */
extern enum nfc_compression
nfc_transfer_compression (struct nfc_transfer *transfer)
  __attribute__ ((nonnull (1)));

/* Read or write whole sectors; BUF NULL: write zeros. */
extern int nfc_transfer_run (struct nfc_transfer *transfer, bool write,
                             void *buf, uint64_t offset, uint64_t count,
                             struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 6)));

#endif /* VMDKIT_NFC_TRANSFER_H */
