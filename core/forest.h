/* SPDX-License-Identifier: BSD-3-Clause */

/* The links of a folder, and which is whose parent.
 *
 * Only descriptors are read: a link whose extents are missing is listed, and
 * so is one that cannot be read at all.  Parents are looked for where opening
 * a chain would look (parent.h).
 */

#ifndef VMDKIT_FOREST_H
#define VMDKIT_FOREST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "descriptor.h"
#include "error.h"
#include "operation.h"
#include "store.h"

enum parent_state {
  PARENT_NONE,      /* a base */
  PARENT_RIGHT,     /* found, with the content ID that the child names */
  PARENT_CHANGED,   /* found, with another ID */
  PARENT_MISSING,   /* not there */
  PARENT_ELSEWHERE, /* outside of the folder, where it was not looked for */
  PARENT_IS_LOOP,   /* its ancestors come back to it */
};
extern const char *parent_state_name (enum parent_state state);

#define FOREST_NONE ((size_t) -1)

struct forest_link {
  char *name;                    /* within the folder, or a path; owned */
  bool outside;                  /* of the folder: somebody's parent */
  struct descriptor *descriptor; /* NULL: it cannot be read */
  char *why;                     /* that is so; or NULL */
  enum parent_state state;
  size_t parent;      /* its index, or FOREST_NONE */
  size_t nr_children; /* that have it for their parent, right or changed */
};

struct forest {
  struct forest_link *links; /* as disk_list has them */
  size_t nr_links;
};

/* Look at every disk in STORE's folder.  A parent outside of it is looked for
 * if the rules allow it, and is then at the end of the list.
 */
extern int forest_read (struct store *store, const struct operation *operation,
                        struct forest *forest, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));
extern void forest_free (struct forest *forest) __attribute__ ((nonnull (1)));

#endif /* VMDKIT_FOREST_H */
