/* SPDX-License-Identifier: BSD-3-Clause */

/* When changes of metadata become durable: group commit, and a commit in the
 * background.
 *
 * What a commit does is the disk's matter (disk.c); this room decides when
 * one runs and who waits for it.  At most one runs at a time.  Somebody who
 * flushes needs a commit that began after he asked; everybody who asked
 * meanwhile is served by the same one.
 *
 * A change that nobody flushes is committed in the background, beside the
 * requests, about a second after it was noted, so that little is lost when
 * the program is killed.
 */

#ifndef VMDKIT_COMMIT_H
#define VMDKIT_COMMIT_H

#include "error.h"
#include "log.h"

struct committer;

/* COMMIT (WHO) is called from whichever thread flushes, and from the one in
 * the background, never from two at once.  The thread starts with the first
 * note.
 */
extern struct committer *
committer_new (int (*commit) (void *who, struct vmdk_error *err), void *who,
               const struct vmdk_log *log, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));

/* Stops the thread, waiting for a commit that is running; does not commit.
 * NULL is allowed.
 */
extern void committer_free (struct committer *committer);

/* Returns when a commit that began after this call has ended well.  When the
 * commit that served this call failed, its error.  A commit in the background
 * that failed is told to the log and tried again later.
 */
extern int committer_flush (struct committer *committer,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* There is something to commit.  Cheap; never waits for a commit. */
extern void committer_note (struct committer *committer)
  __attribute__ ((nonnull (1)));

/* How long the background waits, in milliseconds; for tests. */
extern void committer_set_delay (struct committer *committer,
                                 unsigned milliseconds)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_COMMIT_H */
