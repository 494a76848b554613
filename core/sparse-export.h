/* SPDX-License-Identifier: BSD-3-Clause */

/* The grains of a new hosted sparse or COWD extent, all of them in one go.
 *
 * As with a stream (stream-export.h) they are laid down in ascending order
 * and the tables behind those who write to them, so the file has neither gaps
 * nor disorder and is the same however many threads there are.  The places
 * are given in order; the grains are then written by all threads.  In memory
 * are a table and, for COWD, the directory.
 */

#ifndef VMDKIT_SPARSE_EXPORT_H
#define VMDKIT_SPARSE_EXPORT_H

#include <stdint.h>

#include "cleanup.h"
#include "copy.h"
#include "error.h"
#include "media.h"

struct sparse_export;

/* MEDIA, which is borrowed, was filled by new_extent_fill and nothing else. */
extern struct sparse_export *sparse_export_new (struct media *media,
                                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* NULL is allowed. */
extern void sparse_export_free (struct sparse_export *sparse);
DEFINE_CLEANUP (sparse_export, struct sparse_export *, sparse_export_free)
#define CLEANUP_SPARSE_EXPORT CLEANUP (sparse_export)

/* What the extent's bytes are to be copied to. */
extern struct copy_target sparse_export_target (struct sparse_export *sparse)
  __attribute__ ((nonnull (1)));

/* After the copy.  Does not flush. */
extern int sparse_export_finish (struct sparse_export *sparse,
                                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_SPARSE_EXPORT_H */
