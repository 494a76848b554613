/* SPDX-License-Identifier: BSD-3-Clause */

/* Private to the growers: grow.c (what grows, and in which order),
 * grow-sparse.c (a hosted sparse extent) and grow-pieces.c (new pieces of a
 * split disk); and what extent-sparse.c does for them.
 */

#ifndef VMDKIT_GROW_PARTS_H
#define VMDKIT_GROW_PARTS_H

#include "descriptor.h"
#include "error.h"
#include "grow.h"
#include "rearrange.h"
#include "sparse-header.h"

/* grow-sparse.c: make the hosted sparse extent r->extent hold NR_SECTORS,
 * which are no fewer than its line says; the line stays.  EMBEDDED: the
 * descriptor is in its file.
 */
extern int grow_sparse (struct rearranging *r, uint64_t nr_sectors,
                        bool embedded, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* grow-pieces.c: more extents for a split disk, like its last one. */
struct new_pieces {
  struct link *link;
  uint64_t nr_sectors;    /* in all of them */
  uint64_t piece_sectors; /* each, but for the last */
  size_t nr;
};

/* Make the files, complete and durable.  What an interrupted run left there
 * is replaced; other files are not, and errnum is EEXIST.  After a failure
 * none is left.
 */
extern int new_pieces_make (const struct new_pieces *pieces,
                            struct rearranging *r, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Add their lines. */
extern int new_pieces_describe (const struct new_pieces *pieces,
                                struct descriptor *descriptor,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* extent-sparse.c: the extent has another header from now on, durably.  It
 * is not used any more, but finished and closed.
 */
extern int extent_sparse_set_header (struct extent *extent,
                                     const struct sparse_header *header,
                                     struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

#endif /* VMDKIT_GROW_PARTS_H */
