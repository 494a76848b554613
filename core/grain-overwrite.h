/* SPDX-License-Identifier: BSD-3-Clause */

/* Writing to an extent whose tables we can read and not change: only grains
 * that are there can be overwritten, in place.
 *
 *  (1) No byte but those of grains that an entry names is ever written.
 *  (2) A request that touches anything else is refused as a whole, before
 *      its first byte is written.
 *  (3) No two grains share a place, so that a sector which nobody wrote does
 *      not change.
 *
 * The tables are constant, so that requests need no lock between them.
 */

#ifndef VMDKIT_GRAIN_OVERWRITE_H
#define VMDKIT_GRAIN_OVERWRITE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "extent.h"
#include "grain-table.h"

/* Embedded in a driver's struct. */
struct grain_overwriter {
  struct grain_index *index; /* NULL: not writable */
  _Atomic bool unflushed;    /* something was written since the last flush */
};

/* invariant 3: look at every table, once.  The offsets of all grains leave
 * the same remainder when divided by a grain's size, and those of tables when
 * divided by a table's.  ERR_READ_ONLY when two grains share a place or
 * anything is damaged, or when the file is too large for a bit for each of its
 * grains.
 */
extern int grain_overwriter_init (struct grain_overwriter *writer,
                                  struct grain_index *index,
                                  struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* As extent_ops; ERR_READ_ONLY names the grain that cannot be written.  Where
 * there are zeros already, zeros need not be written.  A trim does nothing.
 */
extern int grain_overwrite_check (struct grain_overwriter *writer,
                                  uint64_t count, uint64_t offset,
                                  unsigned flags, const struct below *below,
                                  struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 6)));
extern int grain_overwrite (struct grain_overwriter *writer, const void *buf,
                            size_t count, uint64_t offset,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));
extern int grain_overwrite_zero (struct grain_overwriter *writer,
                                 uint64_t count, uint64_t offset,
                                 unsigned flags, const struct below *below,
                                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5, 6)));
extern int grain_overwriter_flush (struct grain_overwriter *writer,
                                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_GRAIN_OVERWRITE_H */
