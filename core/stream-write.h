/* SPDX-License-Identifier: BSD-3-Clause */

/* Writing to a streamOptimized extent: grains are compressed and appended
 * (stream-append.h).
 *
 * A grain that is written again is appended again, and the old copy stays
 * in the file as garbage.  Writes of parts of grains are gathered in a few
 * open grains, each a buffer, which are appended when they are complete,
 * when too many are open, and when the extent is flushed.
 *
 * An open grain is the truth about its grain; it goes away only after the
 * tables have what it holds.
 */

#ifndef VMDKIT_STREAM_WRITE_H
#define VMDKIT_STREAM_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "extent.h"
#include "grain-table.h"
#include "sparse-header.h"

struct stream_writer;

struct stream_writer_source {
  struct grain_index *index; /* borrowed; started */
  const struct sparse_header *header;
  bool has_parent;
  bool has_footer; /* the header said that the directory is at the end */
  bool begun;      /* the header already says that we write */

  /* Read what the tables say that GRAIN holds, all of it, into BUF.  *absent:
   * they say nothing, and there are zeros in BUF.
   */
  int (*read_stored) (struct extent *extent, uint64_t grain, uint8_t *buf,
                      bool *absent, struct vmdk_error *err);
};

/* ERR_READ_ONLY for a stream of a kind that is not written. */
extern struct stream_writer *
stream_writer_new (const struct stream_writer_source *source,
                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* What was not flushed is lost.  NULL is allowed. */
extern void stream_writer_free (struct stream_writer *writer);

/* RUN is what the tables say of the range at OFFSET: make it say what is
 * true with the open grains.
 */
extern void stream_writer_map (struct stream_writer *writer, uint64_t offset,
                               struct run *run) __attribute__ ((nonnull (1)));

/* Read from GRAIN if it is open; returns whether it is. */
extern bool stream_writer_read (struct stream_writer *writer, uint64_t grain,
                                uint8_t *buf, size_t count, size_t within)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* As the extent_ops. */
extern int stream_writer_write (struct stream_writer *writer, const void *buf,
                                size_t count, uint64_t offset,
                                const struct below *below,
                                struct vmdk_error *err);
extern int stream_writer_check (struct stream_writer *writer, uint64_t count,
                                uint64_t offset, unsigned flags,
                                const struct below *below,
                                struct vmdk_error *err);
extern int stream_writer_zero (struct stream_writer *writer, uint64_t count,
                               uint64_t offset, unsigned flags,
                               const struct below *below,
                               struct vmdk_error *err);
extern int stream_writer_flush (struct stream_writer *writer,
                                struct vmdk_error *err);
extern int stream_writer_finish (struct stream_writer *writer,
                                 struct vmdk_error *err);

#endif /* VMDKIT_STREAM_WRITE_H */
