/* SPDX-License-Identifier: BSD-3-Clause */

/* The public face of the core: open a disk, read it, ask what lies where.
 *
 * LOCKING
 *
 *  1. What open decides (sizes, layouts, the chain) is constant afterwards
 *     and needs no lock.
 *  2. Mutable state sits in a sub-struct beside its lock:
 *       cache.c            one lock for each shard; guards the shard's
 *                          blocks and their order
 *       grain-table.c      index.seen.lock guards the tables last seen
 *       grain-directory.c  index.holes.lock: the hole and the data last seen
 *       table-places.c     index.places.lock: the list, while it is made
 *       media-file.c       the pool's lock guards which files are open; each
 *                          file has locks of its own, see there
 *       readahead.c        the queue's lock
 *       compress.c         the pool's lock; guards idle decompressors
 *       extent.c           which damage was told is a set of atomic words
 *     and for writing:
 *       commit.c           who waits for which commit
 *       link-change.c      link.changes.lock: the descriptor
 *       grain-write.c      writer.state.lock: grains being allocated or
 *                          freed, room for tables, the unclean mark
 *       grain-alloc.c      alloc.room.lock: where the next grain goes, freed
 *                          grains
 *       table-changes.c    which tables were changed, which sectors are dirty
 *  3. Locks are leaves, and none is held across a media call or a call to the
 *     log.  The exceptions, each because everybody who waits there needs just
 *     what is being done: the file pool opens and closes files; the list of
 *     the tables' places is read once; the descriptor is rewritten and the
 *     unclean mark set before the first change of a link; room is obtained
 *     from the file system under alloc.room.lock, which may be taken while
 *     writer.state.lock is held.
 *  4. A block from the cache is pinned by its user and constant once
 *     published.  A changed table (table-changes.h) is pinned likewise; its
 *     entries are atomic.
 *  5. Whoever uses a grain that he looked up in a writable extent holds
 *     writer.in_use shared, from the look-up to the end of the use.  It is
 *     taken first, once, and exclusively only for a moment between requests:
 *     after a commit that forgot grains, before their room is used again.
 *  6. A range of grains that is being allocated or freed is busy, and others
 *     who want to change it wait.  Nobody waits for a range while he has one.
 */

#ifndef VMDKIT_DISK_H
#define VMDKIT_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chain.h"
#include "cleanup.h"
#include "error.h"
#include "extent.h"
#include "resources.h"
#include "store.h"

struct disk;

/* Open the disk NAME in STORE, for reading unless rules->writable.  STORE is
 * borrowed until disk_close.
 */
extern struct disk *
disk_open (struct store *store, const char *name, enum store_open_flags flags,
           const struct chain_rules *rules, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5)));

/* NULL is allowed. */
extern void disk_close (struct disk *disk);
DEFINE_CLEANUP (disk, struct disk *, disk_close)
#define CLEANUP_DISK CLEANUP (disk)

/* Bytes. */
extern uint64_t disk_size (const struct disk *disk)
  __attribute__ ((nonnull (1)));

/* The size of request that costs least: the top link's grain, or 0 when it
 * has none.
 */
extern uint64_t disk_grain_size (const struct disk *disk)
  __attribute__ ((nonnull (1)));

/* Read exactly COUNT bytes at OFFSET.  The range must lie within the disk. */
extern int disk_read (struct disk *disk, void *buf, size_t count,
                      uint64_t offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

/* Writing, for a disk that was opened with rules->writable.  All of these may
 * be called from several threads at once, beside reads.  Two writes that
 * overlap and are in flight together leave either one's bytes, sector by
 * sector.
 *
 * What was written is durable when a disk_flush that began afterwards has
 * returned 0 (contracts: a sector holds after a crash what was last flushed
 * there or something later; a sector that nobody wrote never changes).
 * ENOSPC leaves the disk as it was, elsewhere than in the range.
 */
extern int disk_write (struct disk *disk, const void *buf, size_t count,
                       uint64_t offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

enum disk_zero_flags {
  DISK_ZERO_MAY_FREE = 1, /* space may be given back */
  DISK_ZERO_FAST = 2,     /* fail with ENOTSUP rather than write zeros */
  DISK_ZERO_KEEP = 4,     /* what has space in a file keeps it */
};

/* The range reads as zeros afterwards. */
extern int disk_zero (struct disk *disk, uint64_t count, uint64_t offset,
                      unsigned flags, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5)));

/* Nobody needs the range any more: whole grains are given back where that
 * can be done; they read as zeros afterwards.  Parts of grains are left alone.
 */
extern int disk_trim (struct disk *disk, uint64_t count, uint64_t offset,
                      struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* Everything written before this call is durable when it returns 0. */
extern int disk_flush (struct disk *disk, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Flush, mark the disk as cleanly closed, give back space that was reserved
 * ahead.  Call before disk_close, when no request is in flight; without it
 * disk_close leaves what a crash would leave.
 */
extern int disk_finish (struct disk *disk, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Describe [offset, offset+count): EMIT is called for consecutive pieces,
 * neighbours of one kind merged.  Stops early when EMIT returns false.
 */
struct disk_piece {
  uint64_t offset, length;
  bool hole; /* takes no space */
  bool zero; /* reads as zeros */
};
extern int disk_map (struct disk *disk, uint64_t offset, uint64_t count,
                     bool (*emit) (void *opaque,
                                   const struct disk_piece *piece),
                     void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4, 6)));

/* A hint that the range will be read soon: tables are loaded, files are read
 * ahead, packed grains are inflated if there is time.
 */
extern int disk_readahead (struct disk *disk, uint64_t offset, uint64_t count,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* "monolithicSparse, 3 links, lsilogic": one line for a person. */
extern void disk_describe (const struct disk *disk, char *text, size_t size)
  __attribute__ ((nonnull (1, 2)));

extern struct chain *disk_chain (struct disk *disk)
  __attribute__ ((nonnull (1)));

/* The disks of a folder or archive: every name that link_probe takes, sorted
 * by name (in an archive: in the archive's order).  *names is an array of
 * *count strings, all owned by the caller.
 */
extern int disk_list (struct store *store, char ***names, size_t *count,
                      struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));
extern void disk_list_free (char **names, size_t count);

#endif /* VMDKIT_DISK_H */
