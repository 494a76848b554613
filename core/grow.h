/* SPDX-License-Identifier: BSD-3-Clause */

/* Making a disk larger, in place.  What is new reads as zeros.
 *
 * The last extent grows; a split disk gets more pieces when that is full.
 * Children, and disks that have children in their folder, are refused: the
 * sizes of a chain's links belong together.
 *
 * The descriptor is changed last.  Until then the disk has its old size and
 * can be used; nothing of what was prepared does harm.
 */

#ifndef VMDKIT_GROW_H
#define VMDKIT_GROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "operation.h"
#include "store.h"

struct grow_report {
  uint64_t size_before, size_after; /* of the disk, bytes */
  uint64_t moved; /* bytes of grains, to make room for tables */
  size_t nr_new_extents;
};

/* Grow NAME to SIZE bytes, with GEOMETRY that is recorded anew.  To have that
 * size already is no error.  ERR_ARGUMENT for a smaller one, and for one that
 * the type cannot hold; ERR_UNSUPPORTED for types that cannot grow.
 */
extern int disk_grow (struct store *store, const char *name,
                      enum store_open_flags flags, uint64_t size,
                      bool geometry, const struct operation *operation,
                      struct grow_report *report, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 6, 7, 8)));

#endif /* VMDKIT_GROW_H */
