/* SPDX-License-Identifier: BSD-3-Clause */

/* Copying bytes with many threads: from whatever can be read and mapped into
 * whatever takes them.
 *
 * What is known to read as zeros is not read.  The rest is cut into pieces,
 * and each goes through three steps:
 *
 *   fill    read, compress, look for zeros    by many threads
 *   place   who goes where; append            in ascending order, by one
 *                                             thread at a time
 *   store   write                             by many threads
 *
 * A target does in each what suits it.  The pieces have a fixed number of
 * buffers, so the memory does not grow with the disk.
 */

#ifndef VMDKIT_COPY_H
#define VMDKIT_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"
#include "error.h"
#include "media.h"
#include "operation.h"

struct copy_source {
  uint64_t size; /* bytes */
  void *opaque;

  /* Read within the size; what lies beyond is never asked for. */
  int (*read) (void *opaque, void *buf, size_t count, uint64_t offset,
               struct vmdk_error *err);

  /* Find the first bytes of [offset, end) that are not known to be zeros:
   * [*start, *stop), not empty; *start == end when there are none.  May stop
   * early, in data and in zeros (then *start == *stop, and the search goes on
   * from there), lest a huge disk take long.
   */
  int (*find_data) (void *opaque, uint64_t offset, uint64_t end,
                    uint64_t *start, uint64_t *stop, struct vmdk_error *err);
};

/* Both are borrowed. */
extern struct copy_source copy_source_of_disk (struct disk *disk)
  __attribute__ ((nonnull (1)));
extern struct copy_source copy_source_of_media (struct media *media)
  __attribute__ ((nonnull (1)));

/* Some part of a source, as if it were all of it; what lies beyond the
 * source's end is zeros.  SOURCE is borrowed.
 */
struct copy_window {
  const struct copy_source *source;
  uint64_t offset;
};
extern struct copy_source copy_source_of_window (struct copy_window *window,
                                                 uint64_t size)
  __attribute__ ((nonnull (1)));

/* One piece on its way. */
struct copy_piece {
  uint64_t offset; /* of the source; a multiple of the target's unit */
  size_t count;    /* bytes */
  uint8_t *bytes;  /* those, and zeros up to the end of the last unit */

  /* For the target to use as it likes, from step to step. */
  size_t *lengths; /* one a unit */
  uint8_t *extra;
  uint64_t where;
};

/* How large a piece is at most, and what it is a multiple of. */
#define COPY_PIECE_SIZE ((size_t) 1 << 20)

struct copy_target {
  void *opaque;
  size_t unit;       /* a power of two, at most COPY_PIECE_SIZE */
  size_t extra_size; /* of a piece's extra room */
  bool takes_zeros;  /* what is known to be zeros comes as pieces too */

  /* place and store may be NULL; store only with place. */
  int (*fill) (void *opaque, struct copy_piece *piece, struct vmdk_error *err);
  int (*place) (void *opaque, struct copy_piece *piece,
                struct vmdk_error *err);
  int (*store) (void *opaque, struct copy_piece *piece,
                struct vmdk_error *err);

  /* Nothing but zeros is in [offset, offset+count): called by one thread at a
   * time, in no order with the steps above.  NULL: that goes without saying.
   */
  int (*zero) (void *opaque, uint64_t offset, uint64_t count,
               struct vmdk_error *err);
};

/* Which part of a whole operation this is, for its progress. */
struct copy_share {
  const struct operation *operation;
  uint64_t before, total; /* bytes of the source; or what is like them */
};

/* 0 threads: one for each CPU that we may use. */
extern unsigned copy_threads (unsigned wanted);

/* Copy all of SOURCE.  Progress is told by the calling thread.  After a
 * failure some of it may have been copied.
 */
extern int copy_run (const struct copy_source *source,
                     const struct copy_target *target, unsigned nr_threads,
                     const struct copy_share *share, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5)));

/* A target that is MEDIA from byte START on. */
struct copy_to_media {
  struct media *media; /* borrowed */
  uint64_t start;

  /* How many bytes of zeros, at multiples of that, are not written; 0: they
   * are written like anything else.
   */
  size_t zero_unit;
  bool fresh; /* it reads as zeros where nobody has written */
};
extern struct copy_target copy_target_of_media (struct copy_to_media *to)
  __attribute__ ((nonnull (1)));

/* A target that is a pipe (media-pipe.h), borrowed: bytes in their order,
 * zeros too.
 */
extern struct copy_target copy_target_of_pipe (struct media *pipe)
  __attribute__ ((nonnull (1)));

/* For targets: mark in piece->lengths which units are zeros (0) and which are
 * not (UNIT).  Returns how many are not.
 */
extern size_t copy_find_zeros (struct copy_piece *piece, size_t unit)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_COPY_H */
