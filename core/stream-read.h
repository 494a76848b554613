/* SPDX-License-Identifier: BSD-3-Clause */

/* Private to the driver of streamOptimized extents: what it knows of one, and
 * how grains of it are read.  extent-stream.c opens it, and knows its tables.
 *
 * (1) A grain is as long as it says, and its header says which it is: a
 *     table entry that leads to another grain is an error, not data.
 * (2) Only grains that inflated without error are in the cache.
 * (3) No lock is held while a grain is read or inflated.
 */

#ifndef VMDKIT_STREAM_READ_H
#define VMDKIT_STREAM_READ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache.h"
#include "error.h"
#include "extent.h"
#include "grain-table.h"
#include "sparse-header.h"
#include "stream-scan.h"
#include "stream-write.h"

/* Sequential readers that are told apart, roughly. */
#define STREAM_NR_RECENT 16

struct stream {
  struct extent extent;
  struct grain_index index;
  struct stream_scan *scan; /* in place of the index; NULL if there is one */
  struct stream_writer *writer; /* NULL: it is only read */
  struct sparse_header header;  /* the footer's, if there is one */
  bool gd_at_end;               /* said the header itself */
  uint64_t first_lba; /* of this extent in the disk; 0 if it is all of it */
  uint64_t nr_grains;
  unsigned grain_shift;
  uint64_t owner; /* of blocks in the grain cache; 0: none yet */

  /* The grains, plus 1, of which parts were read last: grain n is in slot
   * n % STREAM_NR_RECENT.
   */
  _Atomic uint64_t recent[STREAM_NR_RECENT];
};

static inline struct cache *
stream_cache (const struct stream *stream)
{
  return stream->extent.rules->resources->grains;
}

/* The extent_ops. */
extern int stream_read (struct extent *extent, void *buf, size_t count,
                        uint64_t offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));
extern void stream_readahead (struct extent *extent, uint64_t offset,
                              uint64_t count) __attribute__ ((nonnull (1)));

/* Inflate the stored GRAIN into BUF, which has room for a whole one, past
 * the cache.
 */
extern int stream_unpack (struct stream *stream, uint64_t grain, uint8_t *buf,
                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));

/* Check the header of GRAIN, which is stored at MEDIA_OFFSET, without
 * inflating it.  *length, in bytes, is what it takes with its header.
 */
extern int stream_check_stored (struct extent *extent, uint64_t grain,
                                uint64_t media_offset, uint64_t *length,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4, 5)));

#endif /* VMDKIT_STREAM_READ_H */
