/* SPDX-License-Identifier: BSD-3-Clause */

/* "[datastore] folder/disk.vmdk", the way files of datastores are named.
 *
 * A datastore's name may itself hold brackets and blanks.  Where the names
 * are known, the longest that fits is meant; without such a list the name
 * ends at the first ']'.
 */

#ifndef VMDKIT_DATASTORE_PATH_H
#define VMDKIT_DATASTORE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "cleanup.h"
#include "error.h"

struct datastore_path {
  char *datastore;
  char *path; /* relative, never empty, without ".." */
};

/* The blank behind the bracket may be missing. */
extern int datastore_path_parse (struct datastore_path *out, const char *text,
                                 const char *const *names, size_t nr_names,
                                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));
extern void datastore_path_reset (struct datastore_path *path)
  __attribute__ ((nonnull (1)));
#define CLEANUP_DATASTORE_PATH __attribute__ ((cleanup (datastore_path_reset)))

/* The text again, as servers write it; the caller frees it. */
extern char *datastore_path_text (const struct datastore_path *path,
                                  struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Whether TEXT is meant to be one at all: it begins with a bracket. */
extern bool datastore_path_looks_so (const char *text)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_DATASTORE_PATH_H */
