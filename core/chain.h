/* SPDX-License-Identifier: BSD-3-Clause */

/* A chain: links from the child that was asked for down to the base.
 *
 * A link answers for the bytes it holds (data or zero); what is absent from
 * it is asked of its parent; below the base there are zeros.  The address
 * space is the top link's.  Grain sizes and capacities differ from link to
 * link; everything is looked up by byte range.
 */

#ifndef VMDKIT_CHAIN_H
#define VMDKIT_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"
#include "link.h"
#include "owners.h"
#include "store.h"

/* vSphere allows 32 snapshots; more is served with a warning up to
 * CHAIN_MAX_LINKS, which older VMware material names as the limit.
 */
#define CHAIN_WARN_LINKS 33

/* What becomes of writes whose bytes are all zero. */
enum detect_zeroes {
  DETECT_OFF,   /* they are written */
  DETECT_ON,    /* nothing is allocated for them */
  DETECT_UNMAP, /* and what was there is freed */
};

struct chain_rules {
  struct open_rules open;  /* copied */
  struct name_rules names; /* borrowed for the call */
  bool single_link;        /* the first link alone, even if it is a child */
  bool ignore_cid;         /* accept a parent whose CID does not match */
  bool lone_extent;        /* see struct link_source */
  bool writable;           /* the first link; its ancestors are only read */
  enum detect_zeroes detect_zeroes; /* see disk_write */

  /* Write without giving the first link a new content ID, and whatever
   * children it has: the operation answers for both, because what is read
   * stays the same, or because it has seen to the ID itself.
   */
  bool keep_cid;

  /* NULL: all has to be well.  With one, a parent that cannot be had ends the
   * chain.
   */
  const struct inspector *inspector;

  /* The parent of the first link, in place of its hint; a path of the
   * operator's.  Then folders to look in for parents that are not where
   * their hints say.  Borrowed for the call.
   */
  const char *parent;
  const char *const *search;
  size_t nr_search;
};

struct chain;

/* Open NAME in STORE (borrowed until chain_close) and its ancestors. */
extern struct chain *
chain_open (struct store *store, const char *name, enum store_open_flags flags,
            const struct chain_rules *rules, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5)));

/* NULL is allowed. */
extern void chain_close (struct chain *chain);
DEFINE_CLEANUP (chain, struct chain *, chain_close)
#define CLEANUP_CHAIN CLEANUP (chain)

extern uint64_t chain_size (const struct chain *chain)
  __attribute__ ((nonnull (1)));
extern size_t chain_nr_links (const struct chain *chain)
  __attribute__ ((nonnull (1)));

/* Link 0 is the top. */
extern struct link *chain_link (const struct chain *chain, size_t i)
  __attribute__ ((nonnull (1)));

/* A walk over [offset, offset+count), run by run.  What a link answers is
 * remembered for as long as it holds, so a long walk asks each link once for
 * each of its runs, however deep the chain.
 */
struct chain_walk {
  struct chain *chain;
  uint64_t offset, end;
  enum map_detail detail;
  size_t first;                        /* link; those above are not seen */
  size_t found;                        /* whose the last run is; the number
                                          of links: nobody's */
  struct owners_view owners;           /* reading only */
  uint64_t absent_to[CHAIN_MAX_LINKS]; /* link i is ABSENT up to here */
};

/* The range lies within the chain. */
extern void chain_walk_start (struct chain_walk *walk, struct chain *chain,
                              uint64_t offset, uint64_t count,
                              enum map_detail detail)
  __attribute__ ((nonnull (1, 2)));

/* The next run, never ABSENT (what no link holds is HOLE); length 0 at the
 * end.
 */
extern int chain_walk_next (struct chain_walk *walk, struct run *run,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Read what is seen without the first link, which is being written: its
 * parent's contents, zeros beyond the parent's end.
 */
extern int chain_read_below (struct chain *chain, void *buf, size_t count,
                             uint64_t offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

/* Always call it, also before the end was reached. */
extern void chain_walk_finish (struct chain_walk *walk)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_CHAIN_H */
