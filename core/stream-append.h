/* SPDX-License-Identifier: BSD-3-Clause */

/* What is appended to a streamOptimized extent: compressed grains, tables
 * and, in the end, the directory and the footer.  Who writes which grain, and
 * when it is complete, is decided in stream-write.
 *
 * Directory and tables are changed as those of other sparse extents are
 * (grain-write.h): new tables are appended, entries written in place.  So a
 * crash at any time leaves an extent that is as it was when it was last
 * flushed, with perhaps some garbage at its end.
 *
 *  (1) While the extent is being written, its header names the directory and
 *      says uncleanShutdown; then a footer counts for nothing.
 *  (2) Finishing appends a directory and a footer, and makes the header say
 *      that the directory is at the end.
 *  (3) Room in the file is used once.  What a sector holds of a grain stays
 *      true, so that readers need no lock for it.
 *  (4) The directory that is changed lies in front, just before overHead,
 *      where no reader looks for blocks, and the one at the end is a copy of
 *      it.  When writing begins again and the two are the same, the one at
 *      the end is cut off with the footer.  Where there is no such room, or
 *      it holds something else, the directory stays where it was, and grains
 *      follow it.
 *
 * So a new stream that is written once, in order and in whole grains is
 * clean for readers that see it once and in order, as importers of OVF
 * packages do: they find grains, tables behind their markers, the directory,
 * the footer and the end.  That is lost for good when a grain is written
 * again (its old copy comes first; and where it has become zeros, nothing
 * comes after it), when grains are written out of order, and when a writer
 * was interrupted; a copy of the disk is clean again.
 */

#ifndef VMDKIT_STREAM_APPEND_H
#define VMDKIT_STREAM_APPEND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "deflate.h"
#include "error.h"
#include "extent.h"
#include "grain-table.h"
#include "grain-write.h"
#include "sparse-header.h"

struct stream_appender {
  /* Set before stream_appender_init, all else zeros. */
  struct grain_index *index;   /* borrowed; started; its directory moves */
  struct sparse_header header; /* not for the place of the directory */
  bool has_parent;
  bool has_footer; /* the header said that the directory is at the end, and
                      the index has the footer's */

  bool interrupted; /* a writer before us did not finish */
  struct extent *extent;
  struct deflater_pool *deflaters;
  struct grain_writer tables; /* its in_use is held by whoever stores */
  bool ready;

  struct {
    pthread_mutex_t lock;
    bool begun;    /* the header says that we are writing; may be set before
                      init, if it does already */
    uint64_t next; /* where the next block is appended, in bytes */
  } end;
};

/* ERR_READ_ONLY for a stream of a kind that is not written. */
extern int stream_appender_init (struct stream_appender *appender,
                                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Accepts one that was never initialised (all zeros), or not all of it. */
extern void stream_appender_destroy (struct stream_appender *appender)
  __attribute__ ((nonnull (1)));

/* Before anything is stored: say that the extent is being written. */
extern int stream_appender_begin (struct stream_appender *appender,
                                  struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* GRAIN holds BYTES, grain_size of them, from now on.  Nobody else stores or
 * forgets it meanwhile.  Durable after grain_extent_flush.
 */
extern int stream_appender_store (struct stream_appender *appender,
                                  uint64_t grain, const uint8_t *bytes,
                                  struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));

/* GRAIN is zeros, for want of an entry.  Only without a parent. */
extern int stream_appender_forget (struct stream_appender *appender,
                                   uint64_t grain, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* What was stored has been flushed.  Grains that an interrupted writer left
 * and no table names make a stream without any table look like one that has
 * lost its directory: then it gets an empty one.  Flush again.
 */
extern int stream_appender_show_empty (struct stream_appender *appender,
                                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* What was stored has been flushed: make the file a whole stream, durably.
 * Writing can begin again.
 */
extern int stream_appender_finish (struct stream_appender *appender,
                                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_STREAM_APPEND_H */
