/* SPDX-License-Identifier: BSD-3-Clause */

/* The thread that works ahead.  See readahead.h.
 *
 * The queue is a ring of jobs under one lock.  The lock is not held while a
 * job runs; readahead_cancel waits for the job that runs, if it is one of
 * those to be cancelled.
 */

#include <config.h>

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "cleanup.h"
#include "readahead.h"

/* More jobs than one thread gets done before their grains are wanted are of
 * no use.
 */
#define QUEUE_SIZE 64

struct job {
  void (*work) (void *who, uint64_t what);
  void *who;
  uint64_t what;
};

enum thread_state {
  THREAD_NONE,
  THREAD_RUNS,
  THREAD_REFUSED, /* it could not be started: we do without */
};

struct readahead {
  pthread_mutex_t lock; /* guards all that follows */
  pthread_cond_t asked; /* a job, or the request to stop */
  pthread_cond_t done;  /* the running job ended */
  struct job queue[QUEUE_SIZE];
  unsigned first, count;
  struct job running; /* .work is NULL when none is */
  enum thread_state state;
  pthread_t thread;
  bool stop;
};

struct readahead *
readahead_new (struct vmdk_error *err)
{
  struct readahead *readahead = calloc (1, sizeof *readahead);

  if (!readahead) {
    fail_memory (err);
    return NULL;
  }
  pthread_mutex_init (&readahead->lock, NULL);
  pthread_cond_init (&readahead->asked, NULL);
  pthread_cond_init (&readahead->done, NULL);
  return readahead;
}

static struct job *
job_at (struct readahead *readahead, unsigned i)
{
  return &readahead->queue[(readahead->first + i) % QUEUE_SIZE];
}

/* Wait for a job and make it the running one.  False: stop. */
static bool
next_job (struct readahead *readahead, struct job *job)
{
  LOCK_FOR_SCOPE (&readahead->lock);

  while (!readahead->stop && readahead->count == 0)
    pthread_cond_wait (&readahead->asked, &readahead->lock);
  if (readahead->stop)
    return false;
  *job = readahead->running = *job_at (readahead, 0);
  readahead->first = (readahead->first + 1) % QUEUE_SIZE;
  readahead->count--;
  return true;
}

static void
finish_job (struct readahead *readahead)
{
  LOCK_FOR_SCOPE (&readahead->lock);

  readahead->running = (struct job){ 0 };
  pthread_cond_broadcast (&readahead->done);
}

static void *
thread_main (void *opaque)
{
  struct readahead *readahead = opaque;
  struct job job;

  while (next_job (readahead, &job)) {
    job.work (job.who, job.what);
    finish_job (readahead);
  }
  return NULL;
}

/* The lock is held.  Signals are the program's business: the thread gets
 * none.
 */
static void
start_thread (struct readahead *readahead)
{
  sigset_t all, old;

  sigfillset (&all);
  pthread_sigmask (SIG_BLOCK, &all, &old);
  readahead->state =
    pthread_create (&readahead->thread, NULL, thread_main, readahead) == 0
      ? THREAD_RUNS
      : THREAD_REFUSED;
  pthread_sigmask (SIG_SETMASK, &old, NULL);
}

void
readahead_free (struct readahead *readahead)
{
  if (!readahead)
    return;
  {
    LOCK_FOR_SCOPE (&readahead->lock);

    readahead->stop = true;
    pthread_cond_broadcast (&readahead->asked);
  }
  if (readahead->state == THREAD_RUNS)
    pthread_join (readahead->thread, NULL);
  pthread_cond_destroy (&readahead->done);
  pthread_cond_destroy (&readahead->asked);
  pthread_mutex_destroy (&readahead->lock);
  free (readahead);
}

static bool
is_job (const struct job *job, void (*work) (void *who, uint64_t what),
        void *who, uint64_t what)
{
  return job->work == work && job->who == who && job->what == what;
}

void
readahead_ask (struct readahead *readahead,
               void (*work) (void *who, uint64_t what), void *who,
               uint64_t what)
{
  LOCK_FOR_SCOPE (&readahead->lock);

  if (readahead->state == THREAD_NONE)
    start_thread (readahead);
  if (readahead->state != THREAD_RUNS || readahead->count == QUEUE_SIZE
      || is_job (&readahead->running, work, who, what))
    return;
  for (unsigned i = 0; i < readahead->count; i++)
    if (is_job (job_at (readahead, i), work, who, what))
      return;
  *job_at (readahead, readahead->count++) = (struct job){ work, who, what };
  pthread_cond_signal (&readahead->asked);
}

void
readahead_cancel (struct readahead *readahead, void *who)
{
  LOCK_FOR_SCOPE (&readahead->lock);
  unsigned kept = 0;

  for (unsigned i = 0; i < readahead->count; i++)
    if (job_at (readahead, i)->who != who)
      *job_at (readahead, kept++) = *job_at (readahead, i);
  readahead->count = kept;
  while (readahead->running.work && readahead->running.who == who)
    pthread_cond_wait (&readahead->done, &readahead->lock);
}
