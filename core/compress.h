/* SPDX-License-Identifier: BSD-3-Clause */

/* Inflating one grain.
 *
 * Grains are RFC 1950 (zlib) streams.  The vendor note says RFC 1951, but
 * every known producer writes the zlib wrapper, so a raw or gzip stream is
 * an error here.  libdeflate does the work when configured in, zlib
 * otherwise; the results are the same.
 */

#ifndef VMDKIT_COMPRESS_H
#define VMDKIT_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* Decompressor objects, lent to one thread at a time and kept for the
 * next: allocating one costs more than inflating a small grain.
 */
struct inflater_pool;

extern struct inflater_pool *inflater_pool_new (struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1)));
extern void inflater_pool_free (struct inflater_pool *pool);

/* Inflate the zlib stream IN completely into OUT, which has room for SIZE
 * bytes.  *written is how much came out.  ERR_DAMAGED when the stream is
 * broken, does not end within IN, has a bad checksum or would give more than
 * SIZE bytes.  Bytes of IN behind the stream's end are ignored.
 */
extern int inflate_grain (struct inflater_pool *pool, const uint8_t *in,
                          size_t in_size, uint8_t *out, size_t size,
                          size_t *written, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 6, 7)));

/* "libdeflate" or "zlib". */
extern const char *compress_library (void);

#endif /* VMDKIT_COMPRESS_H */
