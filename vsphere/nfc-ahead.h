/* SPDX-License-Identifier: BSD-3-Clause */

/* Reading ahead.  Who reads a disk from one end to the other asks for what
 * comes next before the host has answered; who asks piece by piece would wait
 * for the network each time.  Once reads follow one another, blocks after them
 * are requested, as many as may be in flight.
 *
 * A block that was written, or is being written, while it was on its way is
 * thrown away.
 */

#ifndef VMDKIT_NFC_AHEAD_H
#define VMDKIT_NFC_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nfc-keeper.h"

struct nfc_ahead;

/* BYTES may be on their way or waiting to be used. */
extern struct nfc_ahead *nfc_ahead_new (struct nfc_keeper *keeper,
                                        uint64_t disk_size, uint64_t bytes,
                                        struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* No read is in progress.  NULL is allowed. */
extern void nfc_ahead_free (struct nfc_ahead *ahead);

/* Someone is about to read the range, whole sectors: look whether this goes
 * on from the last reads, and request more.  COMPRESSION is how.
 */
extern void nfc_ahead_note (struct nfc_ahead *ahead, uint64_t offset,
                            uint64_t count, enum nfc_compression compression)
  __attribute__ ((nonnull (1)));

/* Copy to BUF what was read ahead from OFFSET on, waiting for it if it is on
 * its way; returns how many bytes of COUNT that is.  0: they must be read, up
 * to *MISSING.
 */
extern size_t nfc_ahead_take (struct nfc_ahead *ahead, void *buf, size_t count,
                              uint64_t offset, size_t *missing)
  __attribute__ ((nonnull (1, 2, 5)));

/* The range is being written: forget it.  To be called before the first byte
 * is sent and again after the last answer.
 */
extern void nfc_ahead_forget (struct nfc_ahead *ahead, uint64_t offset,
                              uint64_t count) __attribute__ ((nonnull (1)));

#endif /* VMDKIT_NFC_AHEAD_H */
