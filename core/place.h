/* SPDX-License-Identifier: BSD-3-Clause */

/* Where a disk is that somebody named by a path: a store, and a name in it.
 *
 *   FOLDER/DISK.vmdk      a file, which need not be there yet
 *   ARCHIVE.ova/MEMBER    a member of an archive
 *   ARCHIVE.ova           the first disk in it
 *
 * A path is the operator's own, not one from a file: symbolic links are
 * followed.  No link at its end is resolved, though: a disk's extents lie
 * beside the name by which it was called.
 */

#ifndef VMDKIT_PLACE_H
#define VMDKIT_PLACE_H

#include <stdbool.h>

#include "error.h"
#include "store.h"

struct place {
  struct store *store;  /* that has the disk; owned */
  struct store *folder; /* of the archive's file; owned; NULL: no archive */
  char *name;           /* within the store; owned */
  enum store_open_flags flags; /* for opening it */
  const char *text;            /* the path, for messages; borrowed */
};

/* All zeros before.  An archive is opened and, with LOCK, locked as what is
 * read is.  PATH is borrowed for the place's life.  Errors do not name it.
 */
extern int place_open (struct place *place, const char *path, bool lock,
                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* How a descriptor in FROM's folder names TO, owned by the caller: by its bare
 * name in the same folder, else by its absolute path.  ERR_UNSUPPORTED for a
 * member of an archive.
 */
extern char *place_hint (const struct place *from, const struct place *to,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Accepts all zeros. */
extern void place_free (struct place *place) __attribute__ ((nonnull (1)));
#define CLEANUP_PLACE __attribute__ ((cleanup (place_free)))

#endif /* VMDKIT_PLACE_H */
