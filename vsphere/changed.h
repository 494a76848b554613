/* SPDX-License-Identifier: BSD-3-Clause */

/* Which areas of a disk have changed since a change id was noted, or, for the
 * id "*", which have ever been written.
 */

#ifndef VMDKIT_CHANGED_H
#define VMDKIT_CHANGED_H

#include "session.h"

struct changed_query {
  struct vim_ref vm;
  struct vim_ref snapshot; /* id "": the machine, which must be off */
  int32_t key;             /* the disk's device */
  uint64_t capacity;       /* its bytes */
  const char *change_id;
};

/* EACH is called for each area, in their order, none twice; all lie within
 * the disk.  What lies between has not changed.  On failure nothing is known
 * of the rest: then all of the disk has to be taken as changed.
 */
extern int changed_areas (struct session *session,
                          const struct changed_query *query,
                          int (*each) (void *opaque, uint64_t offset,
                                       uint64_t count, struct vmdk_error *err),
                          void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5)));

#endif /* VMDKIT_CHANGED_H */
