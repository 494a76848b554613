/* SPDX-License-Identifier: BSD-3-Clause */

/* A whole streamOptimized disk, written once from its beginning to its end.
 *
 * Grains come in ascending order, each table behind its grains, the
 * directory and a footer last: stream-marker.h has the picture.  Nothing is
 * ever read back and, with a footer, nothing written twice, so the medium may
 * be a pipe (media-pipe).
 *
 * Grains are compressed by all threads of a copy (copy.h) and appended by one
 * at a time; the file is the same however many there are.  In memory are a
 * table and the directory, 4 bytes for each 512 grains.
 */

#ifndef VMDKIT_STREAM_EXPORT_H
#define VMDKIT_STREAM_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "copy.h"
#include "error.h"
#include "media.h"

struct stream_export;

struct stream_export_rules {
  uint64_t nr_sectors; /* of the disk */
  uint64_t grain;      /* sectors */
  const char *text;    /* the descriptor, LEN bytes; borrowed for the call */
  size_t len;
  uint64_t text_sectors; /* room for it in the file; LEN bytes fit */
  int level;             /* of compression, see deflate.h */
  unsigned version;      /* that the header says: 3, or 1 for old readers */

  /* The header is written last and says where the directory is, and there is
   * no footer: for readers that do not look for one.  Not for pipes.
   */
  bool no_footer;
};

/* MEDIA is borrowed, and empty. */
extern struct stream_export *
stream_export_new (struct media *media,
                   const struct stream_export_rules *rules,
                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* NULL is allowed. */
extern void stream_export_free (struct stream_export *stream);
DEFINE_CLEANUP (stream_export, struct stream_export *, stream_export_free)
#define CLEANUP_STREAM_EXPORT CLEANUP (stream_export)

/* What the disk's bytes are to be copied to. */
extern struct copy_target stream_export_target (struct stream_export *stream)
  __attribute__ ((nonnull (1)));

/* After the copy: what comes at the end.  Does not flush. */
extern int stream_export_finish (struct stream_export *stream,
                                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* The most bytes that a stream of NR_GRAINS grains in NR_TABLES tables can
 * have, if none of them can be compressed.
 */
extern uint64_t stream_export_bound (const struct stream_export_rules *rules,
                                     uint64_t nr_grains, uint64_t nr_tables)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_STREAM_EXPORT_H */
