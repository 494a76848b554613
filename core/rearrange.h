/* SPDX-License-Identifier: BSD-3-Clause */

/* What operations share that rearrange the grains of a disk and leave what
 * is read as it is: opening, planning moves, committing, cutting the file.
 *
 * They work on the top link, extent by extent.  Children do not matter, and
 * the content ID stays.  A slot that a grain has left is free after the next
 * commit (grain-move.h).
 */

#ifndef VMDKIT_REARRANGE_H
#define VMDKIT_REARRANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chain.h"
#include "error.h"
#include "grain-move.h"
#include "grain-room.h"
#include "operation.h"
#include "store.h"

DEFINE_VECTOR (slot_list, uint64_t)

struct rearranging {
  const struct operation *operation;
  struct chain *chain;
  struct link *link;
  uint64_t done, total;             /* progress, bytes */
  uint64_t moved;                   /* bytes */
  uint64_t size_before, size_after; /* of the files, bytes */

  /* The extent whose turn it is. */
  struct extent *extent;
  uint64_t start;         /* of it in the disk, bytes */
  struct grain_room room; /* if it has grains */
  struct grain_moves moves;
  struct slot_list left; /* slots that are free after the next commit */
};

struct rearrange_rules {
  const char *done; /* "shrunk": what cannot be done to some disks */

  /* Do it to one extent that has grains; size_after is added to by it. */
  int (*grains) (struct rearranging *r, struct vmdk_error *err);

  /* And to one that is flat.  NULL: there is nothing to do. */
  int (*flat) (struct rearranging *r, struct vmdk_error *err);
};

/* Open NAME and go through its extents.  Nothing is written in a dry run.
 * When it is stopped (ECANCELED) the disk is left as if closed cleanly.
 */
extern int
rearrange (struct rearranging *r, struct store *store, const char *name,
           enum store_open_flags flags, const struct operation *operation,
           const struct rearrange_rules *rules, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5, 6, 7)));

/* For operations that open the disk themselves and have set r->extent: find
 * out what is where in it.  Odd grains get a slot, but for a dry run.
 */
extern int rearrange_begin (struct rearranging *r, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Free what belongs to r->extent's turn.  STOPPED, when not NULL, is why the
 * operation ends before its time.
 */
extern void rearrange_reset (struct rearranging *r,
                             const struct vmdk_error *stopped)
  __attribute__ ((nonnull (1)));

/* Put EXTENT's name before an error, if it is not the link's too, which comes
 * before that.  Returns -1.
 */
extern int rearrange_fail (const struct rearranging *r,
                           const struct extent *extent, struct vmdk_error *err)
  __attribute__ ((nonnull (1, 2, 3)));

/* COUNT bytes of work are done. */
extern int rearrange_progress (struct rearranging *r, uint64_t count,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* All of it is. */
extern void rearrange_end_progress (const struct operation *operation,
                                    uint64_t total) __attribute__ ((nonnull));

/* GRAIN goes from slot FROM, of which it is the owner, to the free slot TO.
 * Copies now and then; commits only when the tables take much memory.
 */
extern int rearrange_move (struct rearranging *r, uint64_t grain,
                           uint64_t from, uint64_t to, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5)));

/* GRAIN, which has SLOT, becomes ENTRY, which needs no room. */
extern int rearrange_drop (struct rearranging *r, uint64_t grain,
                           uint64_t slot, uint64_t entry,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5)));

/* Make all of that durable, and what was left free. */
extern int rearrange_commit (struct rearranging *r, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Commit, cut the file behind the last used slot, say that it is clean. */
extern int rearrange_finish (struct rearranging *r, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_REARRANGE_H */
