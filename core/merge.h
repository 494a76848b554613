/* SPDX-License-Identifier: BSD-3-Clause */

/* Merging a child into its parent: what qemu-img calls commit and VMware
 * calls deleting a snapshot.
 *
 * The parent then reads as the child does.  The child stays as it is, over a
 * parent that has all that it holds; to remove it is up to the caller.
 *
 * The parent is given the child's content ID before anything else changes,
 * and the child's parentCID follows.  So children that were made on the
 * parent's old contents are noticed, and children of the child are right for
 * the parent as well.  While grains are being copied the child still holds
 * all of them and still reads the same: a merge that was stopped or killed
 * has lost nothing, and is simply begun again.
 */

#ifndef VMDKIT_MERGE_H
#define VMDKIT_MERGE_H

#include <stdint.h>

#include "error.h"
#include "operation.h"
#include "store.h"

struct merge_report {
  char *parent;    /* its name in the child's descriptor's folder, or a path;
                      owned by the caller */
  uint64_t copied; /* bytes written to the parent */
  uint64_t zeroed; /* bytes that the child had as zeros */
};

/* ERR_ARGUMENT when NAME has no parent or is larger than it; ERR_READ_ONLY
 * when the parent has another child, which would change too.
 */
extern int disk_merge (struct store *store, const char *name,
                       enum store_open_flags flags,
                       const struct operation *operation,
                       struct merge_report *report, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5, 6)));

#endif /* VMDKIT_MERGE_H */
