/* SPDX-License-Identifier: BSD-3-Clause */

/* What a server does for us in its own time.
 *
 * Waiting has no limit: merging a snapshot takes hours.  It ends when the task
 * has ended, when the caller asks for it (the task is then cancelled, and
 * waited for a little longer), or when the server cannot be asked any more.
 */

#ifndef VMDKIT_TASK_H
#define VMDKIT_TASK_H

#include "session.h"

struct task_watch {
  /* How far it is, in percent of TOTAL == 100; false asks to cancel it.
   * NULL: nobody watches.
   */
  bool (*progress) (void *opaque, uint64_t done, uint64_t total);
  void *opaque;
};

struct task_result {
  struct vim_ref ref; /* what came of it; id "" for nothing */
  /* The server has forgotten the task: it has ended, and only its effect can
   * tell how.
   */
  bool unknown;
  struct soap_fault fault; /* why it failed, where a fault was given */
};

/* WATCH may be NULL. */
extern int task_wait (struct session *session, const struct vim_ref *task,
                      const struct task_watch *watch,
                      struct task_result *result, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5)));

/* Ask for a task (METHOD_Task), and wait for it. */
extern int task_run (struct session *session,
                     const struct soap_request *request,
                     const struct task_watch *watch,
                     struct task_result *result, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5)));

/* Sleep, asking now and then whether to go on; false when not. */
extern bool task_pause (const struct task_watch *watch, unsigned ms,
                        uint64_t done);

#endif /* VMDKIT_TASK_H */
