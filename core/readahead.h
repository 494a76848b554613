/* SPDX-License-Identifier: BSD-3-Clause */

/* One thread that does work before anybody waits for it.
 *
 * A compressed disk read in order by one client with small requests would
 * leave all processors but one idle; the extent asks here for its next
 * grains to be inflated into the grain cache meanwhile.  The queue is short
 * and drops what does not fit: a job is a hint.
 *
 * The thread starts with the first job, so that a program may fork between
 * making this object and using it.
 */

#ifndef VMDKIT_READAHEAD_H
#define VMDKIT_READAHEAD_H

#include <stdint.h>

#include "error.h"

struct readahead;

extern struct readahead *readahead_new (struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1)));

/* Stops the thread.  NULL is allowed. */
extern void readahead_free (struct readahead *readahead);

/* Ask for WORK (WHO, WHAT) to be called soon, perhaps never.  Never waits. */
extern void readahead_ask (struct readahead *readahead,
                           void (*work) (void *who, uint64_t what), void *who,
                           uint64_t what) __attribute__ ((nonnull (1, 2)));

/* Drop every job of WHO and wait for one that is running.  After this WHO
 * may be freed.
 */
extern void readahead_cancel (struct readahead *readahead, void *who)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_READAHEAD_H */
