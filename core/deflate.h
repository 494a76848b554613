/* SPDX-License-Identifier: BSD-3-Clause */

/* Deflating one grain: the counterpart of compress.h.
 *
 * The result is an RFC 1950 (zlib) stream.  Compressors are borrowed, since
 * allocating one, and room for its output, costs more than a small grain
 * does.
 */

#ifndef VMDKIT_DEFLATE_H
#define VMDKIT_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"

#define DEFLATE_FAST 0 /* as fast as can be: with ISA-L if it is built in */
#define DEFLATE_DEFAULT_LEVEL 6
#define DEFLATE_BEST 12 /* zlib ends at 9 */

/* "fast", "default", "best", or a number from 1 to 12.  False for others. */
extern bool deflate_level_parse (const char *text, int *level)
  __attribute__ ((nonnull (1, 2)));

struct deflater_pool;
struct deflater;

/* LEVEL is DEFLATE_FAST, or 1 (less work) to DEFLATE_BEST (less room). */
extern struct deflater_pool *deflater_pool_new (int level,
                                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2)));

/* All must have been put back.  NULL is allowed. */
extern void deflater_pool_free (struct deflater_pool *pool);

/* Borrow a compressor for one thread. */
extern struct deflater *deflater_take (struct deflater_pool *pool,
                                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Give it back, and what it gave with it.  NULL is allowed. */
extern void deflater_put (struct deflater *deflater);
DEFINE_CLEANUP (deflater, struct deflater *, deflater_put)
#define CLEANUP_DEFLATER CLEANUP (deflater)

/* Deflate SIZE bytes of IN.  *out is then a buffer of the compressor's: BEFORE
 * bytes for the caller to fill, *written bytes of zlib stream, and zeros up to
 * the next multiple of PAD.
 */
extern int deflate_grain (struct deflater *deflater, const uint8_t *in,
                          size_t size, size_t before, size_t pad,
                          uint8_t **out, size_t *written,
                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 6, 7, 8)));

#endif /* VMDKIT_DEFLATE_H */
