/* SPDX-License-Identifier: BSD-3-Clause */

/* New files that take the place of a name, all at once or not at all.
 *
 *  (1) The file that will have the name is made under another one, and is
 *      renamed when everything is durable.  Files beside it (extents) have
 *      names that nobody used.
 *  (2) What had the name before is not touched until then.  Then its extents
 *      go, if it was a disk.
 *  (3) After a failure every file that was made is removed, and no other.
 *
 * Whoever is killed in between leaves the old disk as it was, and perhaps
 * some files that nothing refers to.
 */

#ifndef VMDKIT_REPLACE_H
#define VMDKIT_REPLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "link.h"
#include "media.h"
#include "operation.h"
#include "store.h"
#include "vector.h"

DEFINE_VECTOR (replace_names, char *)

struct replace {
  struct store *store; /* borrowed, as the name */
  const char *name;
  char *temporary; /* what the file is called until it is complete */
  const struct operation *operation; /* borrowed, from replace_lock on */

  struct link *old;       /* the disk that had the name, locked, or NULL */
  struct media *old_file; /* what had the name, or NULL */
  struct replace_names made, extents; /* ours, and the old disk's */
  bool renamed;
};

/* Look at what there is.  What exists is refused (EEXIST) unless OVERWRITE.
 * NAME is a bare one.
 */
extern int replace_begin (struct replace *replace, struct store *store,
                          const char *name, bool overwrite,
                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5)));

/* It must be a file, or a disk, that nobody uses or builds on. */
extern int replace_lock (struct replace *replace,
                         const struct operation *operation,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Whether MEDIA is what is to be replaced, or (when that is locked) is part
 * of it.
 */
extern bool replace_touches (const struct replace *replace,
                             const struct media *media)
  __attribute__ ((nonnull (1, 2)));

/* A new file: NAME, or (NULL) the one to be renamed.  It gets the permissions
 * of what it replaces.
 */
extern struct media *replace_create (struct replace *replace, const char *name,
                                     struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* Everything that was made is complete, flushed and closed. */
extern int replace_commit (struct replace *replace, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Always call it.  Without a commit it undoes what was done; ERR, which says
 * why, is told when a file has to stay.
 */
extern void replace_end (struct replace *replace, struct vmdk_error *err)
  __attribute__ ((nonnull (1, 2)));

#endif /* VMDKIT_REPLACE_H */
