/* SPDX-License-Identifier: BSD-3-Clause */

/* Bringing the grains of a disk into the disk's order, extent by extent, so
 * that what is read in order lies in order.
 *
 * A grain that is in the way of others is moved aside first, so each moves
 * about twice at most; the file grows meanwhile by no more than what is moved
 * aside at a time.  Long stretches that are in order already stay where they
 * are, if that leaves gaps of no more than a hundredth.  Flat extents are in
 * order always.
 */

#ifndef VMDKIT_DEFRAGMENT_H
#define VMDKIT_DEFRAGMENT_H

#include <stdint.h>

#include "error.h"
#include "operation.h"
#include "store.h"

struct defragment_report {
  uint64_t size_before, size_after; /* bytes, of all files of extents */
  uint64_t nr_grains;               /* that have room */

  /* Of these, how many do not lie behind the one before them in the disk's
   * order.  In a dry run both are as before.
   */
  uint64_t nr_breaks_before, nr_breaks_after;
  uint64_t moved; /* bytes, of all moves */
  uint64_t extra; /* bytes: by how much a file grew meanwhile */
};

/* ERR_UNSUPPORTED for a stream, whose grains are in order by nature. */
extern int disk_defragment (struct store *store, const char *name,
                            enum store_open_flags flags,
                            const struct operation *operation,
                            struct defragment_report *report,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5, 6)));

#endif /* VMDKIT_DEFRAGMENT_H */
