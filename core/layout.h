/* SPDX-License-Identifier: BSD-3-Clause */

/* Where the bytes of a disk are: piece by piece which link answers, and from
 * which place in which file.
 *
 * Block status (disk_map) says what is data; this says more, and costs more:
 * the holes of flat files are asked of the file system.
 */

#ifndef VMDKIT_LAYOUT_H
#define VMDKIT_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"
#include "error.h"
#include "extent.h"

struct layout_piece {
  uint64_t offset, length; /* on the disk */
  enum run_state state;    /* not ABSENT; HOLE of a link or of all */

  /* Who answers; NULL with HOLE: no link has anything. */
  const struct link *link;
  const struct extent *extent;
  size_t depth; /* of the link; 0 is the top */

  uint64_t media_offset; /* DATA: in the extent's file */
};

/* Call EMIT for consecutive pieces of the whole disk; neighbours that are one
 * piece in the file too are merged.  Nobody writes meanwhile.  Stops early
 * when EMIT returns false.
 */
extern int disk_layout (struct disk *disk,
                        bool (*emit) (void *opaque,
                                      const struct layout_piece *piece),
                        void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* Whether the byte at OFFSET of a run of DATA at MEDIA_OFFSET of EXTENT's file
 * is in a hole of it, and for how many bytes, at most COUNT, that stays so.
 * Grains are never in a hole: that they are allocated is what counts.
 */
extern int layout_hole (const struct extent *extent, uint64_t media_offset,
                        uint64_t count, bool *hole, uint64_t *length,
                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4, 5, 6)));

#endif /* VMDKIT_LAYOUT_H */
