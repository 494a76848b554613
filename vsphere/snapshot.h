/* SPDX-License-Identifier: BSD-3-Clause */

/* Snapshots: taking one for as long as it is read, and removing it.
 *
 * Only what was made here is removed here.  A temporary snapshot has a
 * description that no other has, by which it is found again when the server's
 * answer was lost.
 */

#ifndef VMDKIT_SNAPSHOT_H
#define VMDKIT_SNAPSHOT_H

#include "task.h"

#define SNAPSHOT_NAME "vmdkit-temporary"

struct snapshot {
  struct vim_ref ref;
  const char *name, *description, *created;
  bool quiesced, current;
};

/* All snapshots of a machine, parents first; EACH ends the reading with -1.
 * The texts live as long as the call.
 */
extern int snapshot_each (struct session *session, const struct vim_ref *vm,
                          int (*each) (void *opaque,
                                       const struct snapshot *snapshot,
                                       struct vmdk_error *err),
                          void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5)));

/* Without memory; with QUIESCE the guest brings its file systems in order
 * first, or this fails.  WATCH can end the waiting for another task of the
 * machine; a snapshot that has begun is waited for, so that it can be removed.
 */
extern int snapshot_take (struct session *session, const struct vim_ref *vm,
                          bool quiesce, const struct task_watch *watch,
                          struct vim_ref *snapshot, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5, 6)));

/* Its changes become part of the disks; snapshots of it stay.  One that is not
 * there any more is no error.
 */
extern int snapshot_remove (struct session *session, const struct vim_ref *vm,
                            const struct vim_ref *snapshot,
                            const struct task_watch *watch,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5)));

#endif /* VMDKIT_SNAPSHOT_H */
