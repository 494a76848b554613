/* SPDX-License-Identifier: BSD-3-Clause */

/* Moving grains to other places of their extent's file.
 *
 *  (1) A grain is copied to a place that nothing on the medium names.
 *  (2) Its entry follows in memory, and reaches the medium with the next
 *      commit (grain_extent_flush), which flushes the copy first.
 *  (3) Its old place is free after that commit, and not before.
 *
 * So a crash at any time leaves each entry naming the old place or the new
 * one, both with the grain's bytes.  The caller keeps account of the room
 * (grain-room.h) and decides when to commit: as late as he has free places.
 */

#ifndef VMDKIT_GRAIN_MOVE_H
#define VMDKIT_GRAIN_MOVE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "extent.h"
#include "vector.h"

struct grain_move {
  uint64_t grain;
  uint64_t from, to; /* bytes of the file */
};
DEFINE_VECTOR (grain_moves, struct grain_move)

/* Called now and then with the bytes moved since the last call; -1 with ERR
 * set stops.
 */
typedef int grain_moved (void *opaque, uint64_t count, struct vmdk_error *err);

/* Copy the grains and set their entries; then MOVES is empty.  They may be
 * sorted otherwise meanwhile.  After a failure some have been moved, which
 * does no harm.
 */
extern int grain_moves_make (struct grain_moves *moves, struct extent *extent,
                             grain_moved *moved, void *opaque,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5)));

#endif /* VMDKIT_GRAIN_MOVE_H */
