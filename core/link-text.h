/* SPDX-License-Identifier: BSD-3-Clause */

/* Finding a link's descriptor: what kind of file is this, and where in it
 * is the text?  Private to link.c.
 */

#ifndef VMDKIT_LINK_TEXT_H
#define VMDKIT_LINK_TEXT_H

#include <stdbool.h>

#include "descriptor.h"
#include "error.h"
#include "log.h"
#include "media.h"
#include "store.h"

struct link_text {
  struct descriptor *descriptor; /* owned by the caller, also on failure */
  bool embedded;                 /* extent 0 is the file that holds the text */
};

/* Read the descriptor of NAME, opened as MEDIA.  With LONE_EXTENT a file
 * that has none gets a descriptor made for it, with one extent of the size
 * that the file's own header says.
 */
extern int link_text_read (struct store *store, const char *name,
                           struct media *media, bool lone_extent,
                           const struct vmdk_log *log, struct link_text *out,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5, 6, 7)));

#endif /* VMDKIT_LINK_TEXT_H */
