/* SPDX-License-Identifier: BSD-3-Clause */

/* The neighbours of a link: is one of them its child?
 *
 * A child holds only what differs from its parent, so to write to the parent
 * is to change the child too, in places.  Nothing in a parent tells that it
 * is one.  But children live mostly in their parent's folder.
 */

#ifndef VMDKIT_SIBLINGS_H
#define VMDKIT_SIBLINGS_H

#include "descriptor.h"
#include "error.h"
#include "log.h"
#include "store.h"

/* How many files of a folder are opened, and how much is read of each
 * descriptor: the keys that matter come first.
 */
#define SIBLINGS_MAX_FILES 1000
#define SIBLINGS_MAX_TEXT (64 << 10)

/* ERR_READ_ONLY, with the child's name, when a descriptor in STORE's folder
 * names NAME as its parent, with the content ID that is DESCRIPTOR's.  (A
 * child with another ID is none any more, unless it is being merged.)  The caller puts NAME in front.
 * What cannot be read or understood is no child; that some of the folder was
 * not looked at is told to LOG.  EXCEPT, when not NULL, is a file that may
 * be its child.
 */
extern int siblings_check_no_child (struct store *store, const char *name,
                                    const struct descriptor *descriptor,
                                    const char *except,
                                    const struct vmdk_log *log,
                                    struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5, 6)));

#endif /* VMDKIT_SIBLINGS_H */
