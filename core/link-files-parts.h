/* SPDX-License-Identifier: BSD-3-Clause */

/* What removing and renaming a link share.  Private to link-files.c and
 * link-rename.c.
 */

#ifndef VMDKIT_LINK_FILES_PARTS_H
#define VMDKIT_LINK_FILES_PARTS_H

#include "descriptor.h"
#include "link-files.h"
#include "log.h"
#include "vector.h"

DEFINE_VECTOR (file_list, struct renamed_file)

#define CHANGE_TRACKING_KEY "changeTrackPath"

/* Add a file; it has one place in the list, however many extent lines name
 * it.  NEW may be NULL.
 */
extern int files_add (struct file_list *files, const char *old,
                      const char *new, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* The file of an extent line, or NULL if it is none of the link's own. */
extern const char *files_own (const struct extent_line *line,
                              const struct vmdk_log *log)
  __attribute__ ((nonnull (1, 2)));

/* Where VMware tracks the link's changes, or NULL. */
extern const char *files_tracking (const struct descriptor *descriptor)
  __attribute__ ((nonnull (1)));

/* 1, 0, or -1 with err set. */
extern int files_is_there (struct store *store, const char *name,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Put the children of NAME that are in its folder into REPORT. */
extern int files_find_children (struct store *store, const char *name,
                                const struct operation *operation,
                                struct files_report *report,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));

/* That it is gone already is no error. */
extern int files_remove (struct store *store, const char *name,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

#endif /* VMDKIT_LINK_FILES_PARTS_H */
