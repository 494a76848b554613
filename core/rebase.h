/* SPDX-License-Identifier: BSD-3-Clause */

/* Another parent for a link.
 *
 * Attaching joins a child that was made elsewhere to the link it was made
 * on: only its hint changes.  Rebasing changes what the child is based on
 * and not what is read: the child first gets everything that its old chain
 * has and the new one has not, then its descriptor changes.  A rebase that
 * was stopped has made the child larger, and nothing else.
 */

#ifndef VMDKIT_REBASE_H
#define VMDKIT_REBASE_H

#include <stdint.h>

#include "error.h"
#include "operation.h"
#include "store.h"

/* A link to become a parent, and how the child's descriptor shall name it. */
struct new_parent {
  struct store *store; /* borrowed */
  const char *name;
  enum store_open_flags flags;
  const char *hint;
};

/* Make CHILD's descriptor name PARENT.  Checks that both are of one size, that
 * PARENT's content ID is the one that the child was made on (with
 * rules.ignore_cid the child is told the other), that the child is one, and
 * that PARENT can be a parent and is not based on the child.
 */
extern int
disk_attach (struct store *store, const char *name,
             enum store_open_flags flags, const struct new_parent *parent,
             const struct operation *operation, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5, 6)));

/* Base CHILD on PARENT; NULL makes it a disk of its own.  *copied is how many
 * bytes it had to be given, or would have to be in a dry run.
 */
extern int disk_rebase (struct store *store, const char *name,
                        enum store_open_flags flags,
                        const struct new_parent *parent,
                        const struct operation *operation, uint64_t *copied,
                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5, 6, 7)));

/* The same without looking at contents: for a parent that is known to be the
 * same and has been moved, copied or given another ID.
 */
extern int disk_rebase_unsafe (struct store *store, const char *name,
                               enum store_open_flags flags,
                               const struct new_parent *parent,
                               const struct operation *operation,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5, 6)));

#endif /* VMDKIT_REBASE_H */
