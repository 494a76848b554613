/* SPDX-License-Identifier: BSD-3-Clause */

/* skipz: a fragment of a disk without its zeros.
 *
 *   u32 size of the fragment      u32 0
 *   u32 offset   u32 length   LENGTH bytes      a run, as many as there are
 *   ...
 *
 * What no run covers is zero: a fragment of zeros takes 8 bytes.
 */

#ifndef VMDKIT_SKIPZ_H
#define VMDKIT_SKIPZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SKIPZ_HEADER_SIZE 8

/* Unpack into exactly OUT_SIZE bytes.  Runs may come in any order.  A host may
 * call plain data skipz when it does not shrink, which is taken as such: IN is
 * then as long as OUT and does not begin with its size.  False: malformed.
 */
extern bool skipz_unpack (uint8_t *out, size_t out_size, const uint8_t *in,
                          size_t in_size) __attribute__ ((nonnull (1, 3)));

/* Pack IN into at most OUT_SIZE bytes; returns how many, or 0 when it does
 * not fit.
 */
extern size_t skipz_pack (uint8_t *out, size_t out_size, const uint8_t *in,
                          size_t in_size) __attribute__ ((nonnull (1, 3)));

/* A fragment of SIZE zeros. */
extern void skipz_pack_zeros (uint8_t out[SKIPZ_HEADER_SIZE], uint32_t size)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_SKIPZ_H */
