/* SPDX-License-Identifier: BSD-3-Clause */

/* Group commit, and the thread that commits in the background.  See
 * commit.h.
 *
 * Who flushes joins the list of those who wait for the next commit.  When
 * none runs, the first of them who has the lock runs it, for everybody on the
 * list at that moment:
 *
 *   flush, flush, flush --> [ commit 1 ]
 *             flush, flush ..........--> [ commit 2 ]
 *
 * (1) A commit takes the list before it looks at anything, so it began after
 *     everybody on it had asked.
 * (2) `noted' is cleared by an exchange before a commit begins, and set by an
 *     exchange after a change was made.  Whoever finds it set already has
 *     therefore made his change before the commit that will clear it.
 * (3) The lock is held neither while a commit runs nor while the log is told.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "commit.h"
#include "deadline.h"

#define DEFAULT_DELAY 1000 /* milliseconds */

/* Somebody who waits in committer_flush, on his stack. */
struct waiter {
  struct waiter *next;
  bool done;
  int result;
  struct vmdk_error *err; /* set when result is -1 */
};

enum thread_state {
  THREAD_NONE,
  THREAD_RUNS,
  THREAD_REFUSED, /* it could not be started: we do without */
};

struct committer {
  int (*commit) (void *who, struct vmdk_error *err);
  void *who;
  struct vmdk_log log;

  atomic_bool noted; /* there is something to commit */

  pthread_mutex_t lock;   /* guards all that follows */
  pthread_cond_t changed; /* any of it; uses the monotonic clock */
  struct waiter *waiting; /* for the next commit */
  bool running;           /* a commit is */
  struct timespec due;    /* when the background commits what was noted */
  unsigned delay;         /* milliseconds */
  bool told;              /* the log was told that the background fails */
  enum thread_state state;
  pthread_t thread;
  bool stop;
};

struct committer *
committer_new (int (*commit) (void *who, struct vmdk_error *err), void *who,
               const struct vmdk_log *log, struct vmdk_error *err)
{
  struct committer *committer = calloc (1, sizeof *committer);
  pthread_condattr_t monotonic;

  if (!committer) {
    fail_memory (err);
    return NULL;
  }
  committer->commit = commit;
  committer->who = who;
  committer->log = *log;
  committer->delay = DEFAULT_DELAY;
  pthread_mutex_init (&committer->lock, NULL);
  pthread_condattr_init (&monotonic);
  pthread_condattr_setclock (&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init (&committer->changed, &monotonic);
  pthread_condattr_destroy (&monotonic);
  return committer;
}

/* The lock is held. */
static void
set_due (struct committer *committer)
{
  committer->due = deadline_after (committer->delay);
  pthread_cond_broadcast (&committer->changed);
}

static bool
is_due (const struct committer *committer)
{
  const struct timespec *due = &committer->due;
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return now.tv_sec != due->tv_sec ? now.tv_sec > due->tv_sec
                                   : now.tv_nsec >= due->tv_nsec;
}

/* Tell everybody on the list how the commit ended.  The lock is held; each
 * is gone from his stack once it is not.
 */
static void
serve (struct waiter *list, int result, const struct vmdk_error *err)
{
  struct waiter *next;

  for (; list; list = next) {
    next = list->next;
    if (result == -1)
      *list->err = *err;
    list->result = result;
    list->done = true;
  }
}

/* One commit, for those who wait now.  The lock is held, but not meanwhile;
 * no other commit runs.
 */
static int
run_commit (struct committer *committer, struct vmdk_error *err)
{
  struct waiter *list = steal_ptr (&committer->waiting); /* invariant 1 */
  const bool noted = atomic_exchange (&committer->noted, false);
  int result;

  committer->running = true;
  pthread_mutex_unlock (&committer->lock);
  result = committer->commit (committer->who, err);
  pthread_mutex_lock (&committer->lock);
  committer->running = false;
  if (result == 0)
    committer->told = false;
  else if (noted) {
    atomic_store (&committer->noted, true);
    set_due (committer);
  }
  serve (list, result, err);
  pthread_cond_broadcast (&committer->changed);
  return result;
}

int
committer_flush (struct committer *committer, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&committer->lock);
  struct waiter self = { .next = committer->waiting, .err = err };

  committer->waiting = &self;
  while (!self.done)
    if (committer->running)
      pthread_cond_wait (&committer->changed, &committer->lock);
    else {
      struct vmdk_error own;

      (void) run_commit (committer, &own);
    }
  return self.result;
}

/* -- The background ----------------------------------------------------- */

/* The lock is held, but not meanwhile.  A medium that stays broken is told
 * once, not every second.
 */
static void
run_in_background (struct committer *committer)
{
  struct vmdk_error err;

  if (run_commit (committer, &err) == 0 || committer->told)
    return;
  committer->told = true;
  pthread_mutex_unlock (&committer->lock);
  log_warning (&committer->log, "%s (will be tried again)", err.text);
  pthread_mutex_lock (&committer->lock);
}

static void *
thread_main (void *opaque)
{
  struct committer *committer = opaque;
  LOCK_FOR_SCOPE (&committer->lock);

  while (!committer->stop)
    if (committer->running || !atomic_load (&committer->noted))
      pthread_cond_wait (&committer->changed, &committer->lock);
    else if (!is_due (committer))
      pthread_cond_timedwait (&committer->changed, &committer->lock,
                              &committer->due);
    else
      run_in_background (committer);
  return NULL;
}

/* The lock is held.  Signals are the program's business: the thread gets
 * none.  Without a thread, changes wait for a flush.
 */
static void
start_thread (struct committer *committer)
{
  sigset_t all, old;

  sigfillset (&all);
  pthread_sigmask (SIG_BLOCK, &all, &old);
  committer->state =
    pthread_create (&committer->thread, NULL, thread_main, committer) == 0
      ? THREAD_RUNS
      : THREAD_REFUSED;
  pthread_sigmask (SIG_SETMASK, &old, NULL);
}

void
committer_note (struct committer *committer)
{
  if (atomic_exchange (&committer->noted, true)) /* invariant 2 */
    return;
  LOCK_FOR_SCOPE (&committer->lock);

  if (committer->state == THREAD_NONE)
    start_thread (committer);
  set_due (committer);
}

void
committer_set_delay (struct committer *committer, unsigned milliseconds)
{
  LOCK_FOR_SCOPE (&committer->lock);

  committer->delay = milliseconds;
  set_due (committer);
}

void
committer_free (struct committer *committer)
{
  if (!committer)
    return;
  {
    LOCK_FOR_SCOPE (&committer->lock);

    committer->stop = true;
    pthread_cond_broadcast (&committer->changed);
  }
  if (committer->state == THREAD_RUNS)
    pthread_join (committer->thread, NULL);
  pthread_cond_destroy (&committer->changed);
  pthread_mutex_destroy (&committer->lock);
  free (committer);
}
