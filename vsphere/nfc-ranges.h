/* SPDX-License-Identifier: BSD-3-Clause */

/* Who reads and writes where, right now: what overlaps a write waits for it,
 * for nobody knows in which order a host does what is in flight together.
 */

#ifndef VMDKIT_NFC_RANGES_H
#define VMDKIT_NFC_RANGES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct nfc_range {
  uint64_t offset, count;
  bool write;
  struct nfc_range *next;
};

struct nfc_ranges {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct nfc_range *first; /* owned by those who hold them */
};

extern void nfc_ranges_init (struct nfc_ranges *ranges)
  __attribute__ ((nonnull (1)));
extern void nfc_ranges_destroy (struct nfc_ranges *ranges)
  __attribute__ ((nonnull (1)));

/* Wait until RANGE, filled in but for next, is free, and take it.  Who holds
 * one must not take another.
 */
extern void nfc_ranges_take (struct nfc_ranges *ranges,
                             struct nfc_range *range)
  __attribute__ ((nonnull (1, 2)));
extern void nfc_ranges_give (struct nfc_ranges *ranges,
                             struct nfc_range *range)
  __attribute__ ((nonnull (1, 2)));

#endif /* VMDKIT_NFC_RANGES_H */
