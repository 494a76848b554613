/* SPDX-License-Identifier: BSD-3-Clause */

/* Group commit: who flushes is served by a commit that began after he asked,
 * one runs at a time, errors reach those whom they concern, and what nobody
 * flushes is committed in the background.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "commit.h"

#define AN_HOUR 3600000u /* milliseconds */

/* -- Many who flush ----------------------------------------------------- */

#define NR_THREADS 8
#define NR_FLUSHES 100

/* A clock that only orders events. */
struct crowd {
  struct committer *committer;
  atomic_uint clock;
  atomic_uint asking;  /* threads that want a commit */
  atomic_uint running; /* commits */
  atomic_uint nr_commits;
  atomic_uint good; /* when the last commit that ended well began */
  atomic_uint nr_wrong;
};

/* Every third commit fails.  Waits until everybody wants one, so that groups
 * come together.
 */
static int
crowd_commit (void *who, struct vmdk_error *err)
{
  struct crowd *crowd = who;
  const unsigned began = atomic_fetch_add (&crowd->clock, 1);
  const unsigned n = atomic_fetch_add (&crowd->nr_commits, 1);
  int tries;

  if (atomic_fetch_add (&crowd->running, 1) != 0)
    atomic_fetch_add (&crowd->nr_wrong, 1);
  for (tries = 0; tries < 20 && crowd->asking < NR_THREADS; tries++)
    usleep (100);
  usleep (100);
  atomic_fetch_sub (&crowd->running, 1);
  if (n % 3 == 2)
    return fail (err, ERR_SYSTEM, "%u", began);
  crowd->good = began;
  return 0;
}

static void *
crowd_member (void *opaque)
{
  struct crowd *crowd = opaque;

  for (int i = 0; i < NR_FLUSHES; i++) {
    const unsigned asked = atomic_fetch_add (&crowd->clock, 1);
    struct vmdk_error err;
    unsigned began;
    int r;

    if (i % 4 == 0)
      committer_note (crowd->committer);
    atomic_fetch_add (&crowd->asking, 1);
    r = committer_flush (crowd->committer, &err);
    atomic_fetch_sub (&crowd->asking, 1);
    began = r == -1 ? strtoul (err.text, NULL, 10) : crowd->good;
    if (began <= asked)
      atomic_fetch_add (&crowd->nr_wrong, 1);
  }
  return NULL;
}

static int
nothing (void *who, struct vmdk_error *err)
{
  (void) who;
  (void) err;
  return 0;
}

static struct committer *
new_committer (int (*commit) (void *who, struct vmdk_error *err), void *who)
{
  const struct vmdk_log log = { 0 };
  struct vmdk_error err;
  struct committer *committer = committer_new (commit, who, &log, &err);

  assert_non_null (committer);
  return committer;
}

static void
test_crowd (void **state)
{
  struct crowd crowd = { 0 };
  pthread_t threads[NR_THREADS];

  (void) state;
  crowd.committer = new_committer (crowd_commit, &crowd);
  committer_set_delay (crowd.committer, 0);
  for (int i = 0; i < NR_THREADS; i++)
    assert_int_equal (pthread_create (&threads[i], NULL, crowd_member, &crowd),
                      0);
  for (int i = 0; i < NR_THREADS; i++)
    pthread_join (threads[i], NULL);
  committer_free (crowd.committer);
  print_message ("%d flushes, %u commits\n", NR_THREADS * NR_FLUSHES,
                 crowd.nr_commits);
  assert_int_equal (crowd.nr_wrong, 0);
  assert_in_range (crowd.nr_commits, 3, NR_THREADS * NR_FLUSHES / 2);
}

static void
test_unused (void **state)
{
  (void) state;
  committer_free (new_committer (nothing, NULL));
  committer_free (NULL);
}

/* -- One step at a time ------------------------------------------------- */

/* Commits that say that they run and then wait for leave. */
struct steps {
  struct committer *committer;
  sem_t started, leave;
  atomic_uint nr_started, nr_done;
  atomic_uint nr_failing; /* so many of the next fail */
  atomic_bool signals_blocked;
  atomic_uint nr_warnings;
  char warning[ERROR_TEXT_SIZE];
};

static int
steps_commit (void *who, struct vmdk_error *err)
{
  struct steps *steps = who;
  sigset_t blocked;

  pthread_sigmask (SIG_BLOCK, NULL, &blocked);
  steps->signals_blocked = sigismember (&blocked, SIGTERM) == 1
                           && sigismember (&blocked, SIGALRM) == 1;
  atomic_fetch_add (&steps->nr_started, 1);
  sem_post (&steps->started);
  sem_wait (&steps->leave);
  atomic_fetch_add (&steps->nr_done, 1);
  if (steps->nr_failing > 0) {
    atomic_fetch_sub (&steps->nr_failing, 1);
    return fail_errno (err, EIO, "disk.vmdk: fdatasync");
  }
  return 0;
}

static void
steps_sink (void *opaque, enum log_topic topic, const char *text)
{
  struct steps *steps = opaque;

  (void) topic;
  atomic_fetch_add (&steps->nr_warnings, 1);
  strcpy (steps->warning, text);
}

static void
steps_init (struct steps *steps, unsigned delay)
{
  const struct vmdk_log log = { .sink = steps_sink, .opaque = steps };
  struct vmdk_error err;

  memset (steps, 0, sizeof *steps);
  sem_init (&steps->started, 0, 0);
  sem_init (&steps->leave, 0, 0);
  steps->committer = committer_new (steps_commit, steps, &log, &err);
  assert_non_null (steps->committer);
  committer_set_delay (steps->committer, delay);
}

static void
steps_destroy (struct steps *steps)
{
  committer_free (steps->committer);
  sem_destroy (&steps->leave);
  sem_destroy (&steps->started);
}

/* Let one commit run. */
static void
steps_let (struct steps *steps)
{
  sem_wait (&steps->started);
  sem_post (&steps->leave);
}

static void *
flush_thread (void *opaque)
{
  struct steps *steps = opaque;
  struct vmdk_error err;

  return committer_flush (steps->committer, &err) == 0 ? steps : NULL;
}

static void
test_flush (void **state)
{
  struct steps steps;
  struct vmdk_error err;

  (void) state;
  steps_init (&steps, AN_HOUR);
  sem_post (&steps.leave);
  assert_int_equal (committer_flush (steps.committer, &err), 0);
  assert_false (steps.signals_blocked); /* in this thread */
  steps.nr_failing = 1;
  sem_post (&steps.leave);
  assert_int_equal (committer_flush (steps.committer, &err), -1);
  assert_string_equal (err.text, "disk.vmdk: fdatasync: Input/output error");
  assert_int_equal (err.errnum, EIO);
  sem_post (&steps.leave);
  assert_int_equal (committer_flush (steps.committer, &err), 0);
  assert_int_equal (steps.nr_done, 3);
  assert_int_equal (steps.nr_warnings, 0);
  steps_destroy (&steps);
}

/* Who asks while a commit runs is not served by it. */
static void
test_flush_while_running (void **state)
{
  struct steps steps;
  pthread_t first, second;
  void *ok;

  (void) state;
  steps_init (&steps, AN_HOUR);
  steps.nr_failing = 1;
  pthread_create (&first, NULL, flush_thread, &steps);
  sem_wait (&steps.started);
  pthread_create (&second, NULL, flush_thread, &steps);
  usleep (10000); /* probably enough for it to ask */
  sem_post (&steps.leave);
  steps_let (&steps);
  pthread_join (first, &ok);
  assert_null (ok);
  pthread_join (second, &ok);
  assert_non_null (ok);
  assert_int_equal (steps.nr_done, 2);
  steps_destroy (&steps);
}

static void
test_background (void **state)
{
  struct steps steps;

  (void) state;
  steps_init (&steps, 1);
  usleep (10000);
  assert_int_equal (steps.nr_started, 0); /* nothing was noted */
  committer_note (steps.committer);
  committer_note (steps.committer);
  sem_wait (&steps.started);
  assert_true (steps.signals_blocked);
  committer_note (steps.committer); /* too late for this one */
  sem_post (&steps.leave);
  steps_let (&steps);
  usleep (10000);
  steps_destroy (&steps);
  assert_int_equal (steps.nr_done, 2);
  assert_int_equal (steps.nr_started, 2);
}

/* Tried again until it works; the log hears of it once. */
static void
test_background_fails (void **state)
{
  struct steps steps;

  (void) state;
  steps_init (&steps, 1);
  for (unsigned round = 1; round <= 2; round++) {
    steps.nr_failing = 3;
    committer_note (steps.committer);
    for (int i = 0; i < 4; i++)
      steps_let (&steps);
    while (steps.nr_done < 4 * round)
      usleep (100);
  }
  steps_destroy (&steps);
  assert_int_equal (steps.nr_done, 8);
  assert_int_equal (steps.nr_warnings, 2);
  assert_string_equal (steps.warning, "disk.vmdk: fdatasync: Input/output "
                                      "error (will be tried again)");
}

/* A flush that fails leaves to the background what was noted before. */
static void
test_failed_flush_is_retried (void **state)
{
  struct steps steps;
  struct vmdk_error err;

  (void) state;
  steps_init (&steps, AN_HOUR);
  committer_note (steps.committer);
  steps.nr_failing = 1;
  sem_post (&steps.leave);
  assert_int_equal (committer_flush (steps.committer, &err), -1);
  sem_wait (&steps.started);
  committer_set_delay (steps.committer, 0);
  steps_let (&steps);
  steps_destroy (&steps);
  assert_int_equal (steps.nr_done, 2);
}

/* What a flush has committed leaves nothing for the background. */
static void
test_flush_serves_note (void **state)
{
  struct steps steps;
  struct vmdk_error err;

  (void) state;
  steps_init (&steps, AN_HOUR);
  committer_note (steps.committer);
  sem_post (&steps.leave);
  assert_int_equal (committer_flush (steps.committer, &err), 0);
  committer_set_delay (steps.committer, 0);
  usleep (10000);
  steps_destroy (&steps);
  assert_int_equal (steps.nr_started, 1);
}

static void *
leave_later (void *opaque)
{
  struct steps *steps = opaque;

  usleep (10000);
  sem_post (&steps->leave);
  return NULL;
}

static void
test_free_while_running (void **state)
{
  struct steps steps;
  pthread_t helper;

  (void) state;
  steps_init (&steps, 0);
  committer_note (steps.committer);
  sem_wait (&steps.started);
  pthread_create (&helper, NULL, leave_later, &steps);
  committer_free (steps.committer);
  assert_int_equal (steps.nr_done, 1);
  pthread_join (helper, NULL);
  sem_destroy (&steps.leave);
  sem_destroy (&steps.started);
}

static void
test_free_does_not_commit (void **state)
{
  struct steps steps;

  (void) state;
  steps_init (&steps, AN_HOUR);
  committer_note (steps.committer);
  steps_destroy (&steps);
  assert_int_equal (steps.nr_started, 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_unused),
    cmocka_unit_test (test_crowd),
    cmocka_unit_test (test_flush),
    cmocka_unit_test (test_flush_while_running),
    cmocka_unit_test (test_background),
    cmocka_unit_test (test_background_fails),
    cmocka_unit_test (test_failed_flush_is_retried),
    cmocka_unit_test (test_flush_serves_note),
    cmocka_unit_test (test_free_while_running),
    cmocka_unit_test (test_free_does_not_commit),
  };

  alarm (300); /* what waits for ever has failed */
  return cmocka_run_group_tests (tests, NULL, NULL);
}
