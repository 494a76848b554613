/* SPDX-License-Identifier: BSD-3-Clause */

/* The thread that works ahead: jobs are done, dropped when there are too
 * many, and gone after a cancel.
 */

#include <config.h>

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "readahead.h"

/* A client whose jobs say that they run and then wait for leave. */
struct client {
  sem_t started, leave;
  unsigned nr_done;
  uint64_t sum;
};

static void
client_init (struct client *client)
{
  sem_init (&client->started, 0, 0);
  sem_init (&client->leave, 0, 0);
  client->nr_done = 0;
  client->sum = 0;
}

static void
client_destroy (struct client *client)
{
  sem_destroy (&client->leave);
  sem_destroy (&client->started);
}

static void
work (void *who, uint64_t what)
{
  struct client *client = who;

  sem_post (&client->started);
  sem_wait (&client->leave);
  client->nr_done++;
  client->sum += what;
}

static struct readahead *
new_readahead (void)
{
  struct vmdk_error err;
  struct readahead *readahead = readahead_new (&err);

  assert_non_null (readahead);
  return readahead;
}

static void
test_unused (void **state)
{
  (void) state;
  readahead_free (new_readahead ());
  readahead_free (NULL);
}

static void
test_jobs_are_done (void **state)
{
  struct readahead *readahead = new_readahead ();
  struct client client;

  (void) state;
  client_init (&client);
  for (uint64_t i = 1; i <= 10; i++)
    readahead_ask (readahead, work, &client, i);
  for (int i = 0; i < 10; i++) {
    sem_wait (&client.started);
    sem_post (&client.leave);
  }
  readahead_cancel (readahead, &client);
  assert_int_equal (client.nr_done, 10);
  assert_int_equal (client.sum, 55);
  readahead_free (readahead);
  client_destroy (&client);
}

/* While one job runs, others are queued: each once, and not too many. */
static void
test_queue_is_bounded (void **state)
{
  struct readahead *readahead = new_readahead ();
  struct client client;

  (void) state;
  client_init (&client);
  readahead_ask (readahead, work, &client, 0);
  sem_wait (&client.started);
  for (int times = 0; times < 3; times++)
    for (uint64_t i = 0; i < 1000; i++)
      readahead_ask (readahead, work, &client, i);
  for (int i = 0; i < 65; i++)
    sem_post (&client.leave);
  for (int i = 1; i < 65; i++)
    sem_wait (&client.started);
  readahead_cancel (readahead, &client);
  assert_int_equal (client.nr_done, 65);
  assert_int_equal (client.sum, 64 * 65 / 2);
  assert_int_equal (sem_trywait (&client.started), -1);
  readahead_free (readahead);
  client_destroy (&client);
}

/* Only the one's jobs are dropped, and the order of the others is kept. */
static void
test_cancel (void **state)
{
  struct readahead *readahead = new_readahead ();
  struct client first, second, third;

  (void) state;
  client_init (&first);
  client_init (&second);
  client_init (&third);
  readahead_ask (readahead, work, &first, 1);
  sem_wait (&first.started);
  for (uint64_t i = 0; i < 20; i++) {
    readahead_ask (readahead, work, &second, i);
    readahead_ask (readahead, work, &third, i);
  }
  readahead_cancel (readahead, &second); /* does not wait for first */
  assert_int_equal (first.nr_done, 0);
  sem_post (&first.leave);
  for (int i = 0; i < 20; i++) {
    sem_wait (&third.started);
    assert_int_equal (third.sum, i * (i - 1) / 2);
    sem_post (&third.leave);
  }
  readahead_cancel (readahead, &third); /* waits for the last */
  readahead_cancel (readahead, &first);
  assert_int_equal (first.nr_done, 1);
  assert_int_equal (second.nr_done, 0);
  assert_int_equal (third.nr_done, 20);
  readahead_free (readahead);
  client_destroy (&first);
  client_destroy (&second);
  client_destroy (&third);
}

/* What is still queued when it ends is dropped. */
static void
test_free_with_jobs (void **state)
{
  struct readahead *readahead = new_readahead ();
  struct client first, second;

  (void) state;
  client_init (&first);
  client_init (&second);
  readahead_ask (readahead, work, &first, 1);
  sem_wait (&first.started);
  sem_post (&first.leave);
  readahead_cancel (readahead, &first);
  readahead_ask (readahead, work, &first, 1);
  sem_wait (&first.started);
  readahead_ask (readahead, work, &second, 1);
  readahead_cancel (readahead, &second);
  sem_post (&first.leave);
  readahead_free (readahead);
  assert_int_equal (first.nr_done, 2);
  assert_int_equal (second.nr_done, 0);
  client_destroy (&first);
  client_destroy (&second);
}

static void
ask_signals (void *who, uint64_t what)
{
  (void) what;
  pthread_sigmask (SIG_BLOCK, NULL, who);
}

/* Signals go to the program's threads. */
static void
test_signals (void **state)
{
  struct readahead *readahead = new_readahead ();
  struct client client;
  sigset_t seen, before, after;

  (void) state;
  client_init (&client);
  sigemptyset (&seen);
  pthread_sigmask (SIG_BLOCK, NULL, &before);
  readahead_ask (readahead, ask_signals, &seen, 0);
  readahead_ask (readahead, work, &client, 0);
  sem_wait (&client.started);
  sem_post (&client.leave);
  readahead_cancel (readahead, &client);
  pthread_sigmask (SIG_BLOCK, NULL, &after);
  assert_true (sigismember (&seen, SIGTERM));
  assert_true (sigismember (&seen, SIGINT));
  assert_int_equal (sigismember (&before, SIGTERM),
                    sigismember (&after, SIGTERM));
  readahead_free (readahead);
  client_destroy (&client);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_unused),
    cmocka_unit_test (test_jobs_are_done),
    cmocka_unit_test (test_queue_is_bounded),
    cmocka_unit_test (test_cancel),
    cmocka_unit_test (test_free_with_jobs),
    cmocka_unit_test (test_signals),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
