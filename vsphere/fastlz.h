/* SPDX-License-Identifier: BSD-3-Clause */

/* FastLZ blocks, levels 1 and 2: what hosts pack fragments of a disk with.
 *
 * A block is a chain of instructions, each a run of literal bytes or a match
 * with bytes that were already produced; see fastlz.c.  Neither function
 * allocates or reads and writes outside of what it is given.
 */

#ifndef VMDKIT_FASTLZ_H
#define VMDKIT_FASTLZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Unpack a whole block into exactly OUT_SIZE bytes.  False: malformed, or of
 * another size.
 */
extern bool fastlz_unpack (uint8_t *out, size_t out_size, const uint8_t *in,
                           size_t in_size) __attribute__ ((nonnull (1, 3)));

/* Pack IN into at most OUT_SIZE bytes; returns how many, or 0 when it does not
 * fit (or is too short to bother).  Blocks from 64 KiB on are of level 2.
 */
extern size_t fastlz_pack (uint8_t *out, size_t out_size, const uint8_t *in,
                           size_t in_size) __attribute__ ((nonnull (1, 3)));

#endif /* VMDKIT_FASTLZ_H */
