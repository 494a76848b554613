/* SPDX-License-Identifier: BSD-3-Clause */

/* A new link over an existing one: what VMware's tools call a redo log or
 * CreateChild.
 *
 * The child is empty, refers to its parent by hint and CID, and has the
 * parent's capacity, geometry and adapter.  The parent is only read.
 */

#ifndef VMDKIT_CHILD_H
#define VMDKIT_CHILD_H

#include "create.h"
#include "disk.h"
#include "error.h"
#include "store.h"

struct child_rules {
  enum disk_type type; /* one of the three sparse ones */
  uint64_t grain_size; /* bytes; 0: the type's usual one */
};

/* Make the child NAME in STORE over PARENT, an open disk, for which HINT is
 * written as parentFileNameHint (a name relative to STORE's folder, or an
 * absolute one).
 */
extern int disk_create_child (struct store *store, const char *name,
                              struct disk *parent, const char *hint,
                              const struct child_rules *rules,
                              struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5, 6)));

#endif /* VMDKIT_CHILD_H */
