/* SPDX-License-Identifier: BSD-3-Clause */

/* What every operation on a whole disk is given: whose rules hold, who
 * watches, and whether it is only a rehearsal.
 *
 * Operations (growing, copying, checking, renaming ...) open what they need
 * themselves, with locks, and have closed it when they return.  Those that
 * change a disk can be stopped or killed at any moment: it is then as before,
 * or as after, or readable with nothing lost, and the operation can be run
 * again.
 */

#ifndef VMDKIT_OPERATION_H
#define VMDKIT_OPERATION_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "chain.h"
#include "error.h"

struct operation {
  struct chain_rules rules; /* .writable is the operation's business */
  bool dry_run;             /* look, check and report; change nothing */

  /* How far it is: DONE of TOTAL, in bytes of work or whatever else is
   * proportional to time; TOTAL may change.  Called now and then from one
   * thread at a time, and with DONE == TOTAL at the end.  False asks the
   * operation to stop.  NULL: nobody watches.
   */
  bool (*progress) (void *opaque, uint64_t done, uint64_t total);
  void *opaque;
};

/* -1 with ECANCELED when the operation shall stop. */
static inline int
operation_progress (const struct operation *operation, uint64_t done,
                    uint64_t total, struct vmdk_error *err)
{
  if (!operation->progress
      || operation->progress (operation->opaque, done, total))
    return 0;
  fail (err, ERR_SYSTEM, "stopped");
  err->errnum = ECANCELED;
  return -1;
}

#endif /* VMDKIT_OPERATION_H */
