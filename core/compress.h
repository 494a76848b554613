/* SPDX-License-Identifier: BSD-3-Clause */

/* Inflating one grain.
 *
 * Grains are RFC 1950 (zlib) streams.  The vendor note says RFC 1951, but
 * every known producer writes the zlib wrapper, so a raw or gzip stream is
 * an error here.  libdeflate does the work when configured in, zlib
 * otherwise; the results are the same.
 *
 * Decompressors are borrowed: allocating one, and room for a grain's
 * compressed bytes beside it, costs more than inflating a small grain.
 */

#ifndef VMDKIT_COMPRESS_H
#define VMDKIT_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"

struct inflater_pool;
struct inflater;

/* MEMORY is how many bytes all borrowers together may say that they hold;
 * one alone may exceed it.
 */
extern struct inflater_pool *inflater_pool_new (size_t memory,
                                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2)));

/* All must have been put back.  NULL is allowed. */
extern void inflater_pool_free (struct inflater_pool *pool);

/* Borrow a decompressor for one thread.  MEMORY is what the caller is about
 * to allocate for its use.  Waits while others hold too much, so nobody may
 * hold one and wait for another.
 */
extern struct inflater *inflater_take (struct inflater_pool *pool,
                                       size_t memory, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* Give it back.  NULL is allowed. */
extern void inflater_put (struct inflater *inflater);
DEFINE_CLEANUP (inflater, struct inflater *, inflater_put)
#define CLEANUP_INFLATER CLEANUP (inflater)

/* A buffer of at least SIZE bytes that belongs to the decompressor.  What an
 * earlier call gave is lost.
 */
extern uint8_t *inflater_buffer (struct inflater *inflater, size_t size,
                                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* Inflate the zlib stream IN completely into OUT, which has room for SIZE
 * bytes.  *written is how much came out.  ERR_DAMAGED when the stream is
 * broken, does not end within IN, has a bad checksum or would give more than
 * SIZE bytes.  Bytes of IN behind the stream's end are ignored.
 */
extern int inflate_grain (struct inflater *inflater, const uint8_t *in,
                          size_t in_size, uint8_t *out, size_t size,
                          size_t *written, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 6, 7)));

/* "libdeflate" or "zlib". */
extern const char *compress_library (void);

#endif /* VMDKIT_COMPRESS_H */
