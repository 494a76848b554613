/* SPDX-License-Identifier: BSD-3-Clause */

/* Changing a link's descriptor, and nothing else of it.
 *
 * For operations on closed disks: metadata, hints, content IDs.  The link is
 * opened alone, so its parent may be anywhere, and locked for writing, so
 * that nobody has it open meanwhile.  A crash leaves the old text or the new
 * one.
 */

#ifndef VMDKIT_LINK_EDIT_H
#define VMDKIT_LINK_EDIT_H

#include "descriptor.h"
#include "error.h"
#include "link.h"
#include "operation.h"
#include "store.h"

/* Open NAME in STORE, let CHANGE edit a copy of its descriptor, and make the
 * result durable.  Nothing is written when CHANGE leaves the text as it was
 * (which may be a killed call's work, and is made durable), when it fails, or
 * in a dry run.
 */
extern int
link_edit (struct store *store, const char *name, enum store_open_flags flags,
           const struct operation *operation,
           int (*change) (void *opaque, struct descriptor *descriptor,
                          struct vmdk_error *err),
           void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5, 7)));

/* The same to LINK, which is open for writing, or for a dry run: nobody comes
 * between what was done to it before and its new text.
 */
extern int link_edit_open (struct link *link, bool dry_run,
                           int (*change) (void *opaque,
                                          struct descriptor *descriptor,
                                          struct vmdk_error *err),
                           void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 5)));

/* Only look: NAME's descriptor, owned by the caller.  Takes no lock, opens no
 * extent, so it does for links that are in use or incomplete.  *embedded, when
 * not NULL: it lies in the file of extent 0, whatever that one's line says.
 */
extern struct descriptor *link_look (struct store *store, const char *name,
                                     enum store_open_flags flags,
                                     const struct operation *operation,
                                     bool *embedded, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 6)));

#endif /* VMDKIT_LINK_EDIT_H */
