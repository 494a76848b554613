/* SPDX-License-Identifier: BSD-3-Clause */

/* Giving back the room of a disk that nobody needs.
 *
 * Grains that hold nothing but zeros lose their room, the last grains move
 * into the holes, and the file is cut.  What is read stays the same, in the
 * disk and in its children; the capacity stays, and so does the content ID.
 *
 * A zero grain of a child hides what the parent has there.  It is given back
 * where the header knows an entry for zeros, or where the parent reads as
 * zeros too; else it stays.
 *
 * Tables stay where they are.  Formats that put them between the grains (COWD,
 * and hosted sparse files of some producers) are cut behind the last one; free
 * room before it becomes holes of the file.
 *
 * Flat extents have no room to give back, but the host's file system can
 * have holes in their place: that is what punching is.  It moves and cuts
 * nothing.
 */

#ifndef VMDKIT_SHRINK_H
#define VMDKIT_SHRINK_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "operation.h"
#include "store.h"

/* Bytes; in a dry run what would come out. */
struct shrink_report {
  uint64_t size_before, size_after; /* of all files of extents */
  uint64_t zeros;                   /* in grains that lost their room */
  uint64_t kept;    /* in zero grains that a child has to keep */
  uint64_t moved;   /* in grains that were moved */
  uint64_t punched; /* turned into holes of the file */
};

/* Shrink NAME; with PUNCH only make holes.  Nothing to do (as with a flat
 * disk) is no error.  ERR_UNSUPPORTED for a stream.
 */
extern int disk_shrink (struct store *store, const char *name,
                        enum store_open_flags flags, bool punch,
                        const struct operation *operation,
                        struct shrink_report *report, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5, 6, 7)));

#endif /* VMDKIT_SHRINK_H */
