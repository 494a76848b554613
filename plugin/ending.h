/* SPDX-License-Identifier: BSD-3-Clause */

/* Noticing that nbdkit was told to end.
 *
 * nbdkit then waits until its clients have gone, without end, before it
 * unloads a plugin; whoever told it may not wait so long, and kills it.  It
 * tells plugins nothing, so its handlers of signals are called by ours, as
 * long as we are loaded.
 */

#ifndef VMDKIT_ENDING_H
#define VMDKIT_ENDING_H

#include "error.h"

/* After the last fork.  LATE is called once, from a thread of its own, when
 * nbdkit was told to end and has not unloaded us within GRACE_MS.
 */
extern int ending_watch (void (*late) (void), unsigned grace_ms,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* Before being unloaded.  LATE does not run any more when this returns. */
extern void ending_forget (void);

#endif /* VMDKIT_ENDING_H */
