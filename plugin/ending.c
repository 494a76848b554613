/* SPDX-License-Identifier: BSD-3-Clause */

/* A pipe that a signal's handler writes to, and a thread that reads it.  See
 * ending.h.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include "ending.h"

static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP };
#define NR_SIGNALS (sizeof signals / sizeof signals[0])

static struct {
  bool started;
  pthread_t thread;
  void (*late) (void);
  int grace_ms;
  int told[2];      /* a byte: nbdkit was told to end */
  int unloading[2]; /* end of file: we are being unloaded */
  struct sigaction old[NR_SIGNALS];
} ending = { .told = { -1, -1 }, .unloading = { -1, -1 } };

/* Does what nbdkit does, and tells our thread. */
static void
handler (int number, siginfo_t *info, void *context)
{
  const int saved = errno;
  ssize_t r = write (ending.told[1], "", 1);

  (void) r; /* it is full: the thread knows */
  for (size_t i = 0; i < NR_SIGNALS; i++) {
    const struct sigaction *old = &ending.old[i];

    if (signals[i] != number)
      continue;
    if (old->sa_flags & SA_SIGINFO)
      old->sa_sigaction (number, info, context);
    else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN)
      old->sa_handler (number);
  }
  errno = saved;
}

/* Wait for either; whether we are being unloaded. */
static bool
wait_for (int milliseconds, bool *told)
{
  struct pollfd fds[] = {
    { .fd = ending.unloading[0], .events = POLLIN },
    { .fd = *told ? -1 : ending.told[0], .events = POLLIN },
  };

  poll (fds, 2, milliseconds);
  if (fds[1].revents)
    *told = true;
  return fds[0].revents != 0;
}

static void *
watch (void *opaque)
{
  bool told = false, unloading = false;

  (void) opaque;
  while (!told && !unloading)
    unloading = wait_for (-1, &told);
  if (!unloading)
    unloading = wait_for (ending.grace_ms, &told);
  if (!unloading)
    ending.late ();
  return NULL;
}

/* A signal that nbdkit leaves alone (as it does SIGINT in the background) is
 * left alone.
 */
static void
take_signals (void)
{
  struct sigaction ours = { .sa_sigaction = handler };

  sigemptyset (&ours.sa_mask);
  for (size_t i = 0; i < NR_SIGNALS; i++) {
    struct sigaction *old = &ending.old[i];

    if (sigaction (signals[i], NULL, old) == -1
        || (!(old->sa_flags & SA_SIGINFO)
            && (old->sa_handler == SIG_DFL || old->sa_handler == SIG_IGN)))
      continue;
    ours.sa_flags = SA_SIGINFO | (old->sa_flags & SA_RESTART);
    sigaction (signals[i], &ours, NULL);
  }
}

static void
give_signals_back (void)
{
  struct sigaction now;

  for (size_t i = 0; i < NR_SIGNALS; i++)
    if (sigaction (signals[i], NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO)
        && now.sa_sigaction == handler)
      sigaction (signals[i], &ending.old[i], NULL);
}

int
ending_watch (void (*late) (void), unsigned grace_ms, struct vmdk_error *err)
{
  sigset_t all, old;
  int r;

  ending.late = late;
  ending.grace_ms = (int) grace_ms;
  if (pipe2 (ending.told, O_CLOEXEC | O_NONBLOCK) == -1
      || pipe2 (ending.unloading, O_CLOEXEC) == -1)
    return fail_errno (err, errno, "a pipe");
  /* signals are for nbdkit's own threads */
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &old);
  r = pthread_create (&ending.thread, NULL, watch, NULL);
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  if (r != 0)
    return fail_errno (err, r, "a thread");
  ending.started = true;
  take_signals ();
  return 0;
}

static void
close_pipe (int fds[2])
{
  for (int i = 0; i < 2; i++) {
    if (fds[i] >= 0)
      close (fds[i]);
    fds[i] = -1;
  }
}

void
ending_forget (void)
{
  if (ending.started) {
    give_signals_back ();
    close (ending.unloading[1]);
    ending.unloading[1] = -1;
    pthread_join (ending.thread, NULL);
    ending.started = false;
  }
  close_pipe (ending.told);
  close_pipe (ending.unloading);
}
