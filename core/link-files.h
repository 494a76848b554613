/* SPDX-License-Identifier: BSD-3-Clause */

/* The files of a link: removing them, and giving them another name.
 *
 * A link's files are its descriptor, the extents inside its folder, and the
 * file where VMware tracks changes.  What its extent lines name outside of
 * the folder, or is a device, is never touched.
 */

#ifndef VMDKIT_LINK_FILES_H
#define VMDKIT_LINK_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "operation.h"
#include "store.h"

/* What was done, or would be in a dry run.  Names are owned; free with
 * files_report_free, also after a failure.
 */
struct files_report {
  struct renamed_file {
    char *old;
    char *new; /* NULL: it was removed */
  } * files;
  size_t nr_files;

  /* Links in the folder that have this one for their parent. */
  char **children;
  size_t nr_children;
};
extern void files_report_free (struct files_report *report)
  __attribute__ ((nonnull (1)));

/* Remove every file of the link NAME.  The descriptor goes last, so what was
 * interrupted can be done again; files that are gone already are no error.
 * With children in the folder, whom this orphans, only if FORCE.
 */
extern int disk_unlink (struct store *store, const char *name, bool force,
                        const struct operation *operation,
                        struct files_report *report, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5, 6)));

struct rename_rules {
  bool update_children;    /* their hints follow */
  const char *parent_hint; /* how the link names its parent from the new
                              folder; NULL: as before */
};

/* Give the link NAME in STORE the name TO_NAME in TO, which may be the same
 * store.  Extents whose names begin as the descriptor's does are renamed
 * likewise; others keep theirs.  Nothing that exists is overwritten.
 *
 * Both names are there for a moment, so a crash leaves a whole disk under one
 * of them at least; the same call then finishes what was begun.  So the file
 * system must be the same for both, and have hard links if there is more than
 * one file beside the descriptor: ERR_UNSUPPORTED else.
 */
extern int disk_rename (struct store *store, const char *name,
                        struct store *to, const char *to_name,
                        const struct rename_rules *rules,
                        const struct operation *operation,
                        struct files_report *report, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5, 6, 7, 8)));

#endif /* VMDKIT_LINK_FILES_H */
