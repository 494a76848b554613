/* SPDX-License-Identifier: BSD-3-Clause */

/* Where could a link's parent be?  Private to those who look for
 * parents and children.
 *
 * A child's descriptor has a hint: a bare name, a path of another host
 * ("C:\VMs\a.vmdk", "/vmfs/volumes/..."), "[datastore] vm/a.vmdk".  Hints go
 * stale when folders move, so there are several places to try, in order; the
 * content ID tells whether the right file was found.
 */

#ifndef VMDKIT_PARENT_H
#define VMDKIT_PARENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "descriptor.h"
#include "error.h"
#include "store.h"
#include "vector.h"

struct parent_place {
  char *path;   /* relative to the child's folder, or absolute */
  bool outside; /* of the child's folder */
  enum store_open_flags flags;
};
DEFINE_VECTOR (parent_places, struct parent_place)

/* The file's name in a hint of any form. */
extern const char *parent_last_component (const char *hint)
  __attribute__ ((nonnull (1)));

/* Every place to look for HINT, in order, best first.  SEARCH are the
 * operator's folders.  With ALLOW_OUTSIDE hints that lead out of the child's
 * folder are followed as they are; their last component is looked for in the
 * child's folder anyway.
 */
extern int parent_find_places (const char *hint, bool allow_outside,
                               const char *const *search, size_t nr_search,
                               struct parent_places *places,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5, 6)));

/* The one place the operator named. */
extern int parent_add_place (struct parent_places *places, const char *path,
                             bool outside, enum store_open_flags flags,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

extern void parent_places_free (struct parent_places *places)
  __attribute__ ((nonnull (1)));

/* Whether a parent with content ID CID has CHILD's own.  A merge of CHILD
 * into it begins so (merge.h), and when it was killed right then CHILD is
 * complete and its child still, whatever its parentCID.
 */
extern bool parent_is_being_merged (const struct descriptor *child,
                                    uint32_t cid) __attribute__ ((nonnull (1)));

#endif /* VMDKIT_PARENT_H */
