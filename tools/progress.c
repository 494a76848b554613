/* SPDX-License-Identifier: BSD-3-Clause */

/* How far an operation is: a bar on the terminal, or a JSON object a line on
 * stderr; and the signals that ask it to stop.
 *
 * Bars are drawn, and lines written, a few times a second, however often the
 * operation reports; the end always is.
 */

#include <config.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

#define BAR_WIDTH 40
#define BAR_INTERVAL_MS 100
#define JSON_INTERVAL_MS 1000

static volatile sig_atomic_t stop_signal;

static struct {
  const char *title;
  enum progress_mode mode;
  bool active;

  pthread_mutex_t lock; /* messages come from any thread */
  bool shown;           /* there is a bar on the terminal */
  int64_t last_ms;      /* when it was last drawn; -1: never */
} bar = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int64_t
now_ms (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* In thousandths.  128 bits, since both are anything up to 2^64. */
static unsigned
thousandths (uint64_t done, uint64_t total)
{
  if (done >= total)
    return 1000;
  return (unsigned) ((unsigned __int128) done * 1000 / total);
}

static void
bar_draw (unsigned part)
{
  char line[BAR_WIDTH + 1];
  const size_t filled = part * BAR_WIDTH / 1000;

  memset (line, ' ', BAR_WIDTH);
  memset (line, '=', filled);
  if (filled > 0 && filled < BAR_WIDTH)
    line[filled - 1] = '>';
  line[BAR_WIDTH] = '\0';
  fprintf (stderr, "\r%s [%s] %3u.%u %%", bar.title, line, part / 10,
           part % 10);
  fflush (stderr);
  bar.shown = true;
}

static void
bar_erase (void)
{
  if (bar.shown)
    fputs ("\r\033[K", stderr);
  bar.shown = false;
}

static void
json_line (uint64_t done, uint64_t total)
{
  char line[256];

  snprintf (line, sizeof line,
            "{\"progress\":{\"operation\":\"%s\",\"done\":%llu,"
            "\"total\":%llu,\"percent\":%u.%u}}",
            bar.title, (unsigned long long) done, (unsigned long long) total,
            thousandths (done, total) / 10, thousandths (done, total) % 10);
  fprintf (stderr, "%s\n", line);
}

static bool
progress_report (void *opaque, uint64_t done, uint64_t total)
{
  LOCK_FOR_SCOPE (&bar.lock);
  const int64_t now = now_ms ();
  const int64_t interval =
    bar.mode == PROGRESS_JSON ? JSON_INTERVAL_MS : BAR_INTERVAL_MS;

  (void) opaque;
  if (stop_signal)
    return false;
  if (bar.mode == PROGRESS_NEVER
      || (bar.last_ms >= 0 && now - bar.last_ms < interval && done < total))
    return true;
  bar.last_ms = now;
  if (bar.mode == PROGRESS_JSON)
    json_line (done, total);
  else
    bar_draw (thousandths (done, total));
  return true;
}

void
progress_hide (void)
{
  LOCK_FOR_SCOPE (&bar.lock);

  bar_erase ();
}

/* --------------------------------------------------------------------- */
/* Signals. */

static const int stopping[] = { SIGINT, SIGTERM, SIGHUP };

/* The next one finds the default action. */
static void
stop_soon (int number)
{
  stop_signal = number;
}

static void
signals_set (void (*handler) (int))
{
  struct sigaction action = { .sa_handler = handler };
  struct sigaction old;

  action.sa_flags = (int) (SA_RESETHAND | SA_RESTART);
  sigemptyset (&action.sa_mask);
  for (size_t i = 0; i < sizeof stopping / sizeof stopping[0]; i++)
    /* what was ignored (nohup) stays so */
    if (sigaction (stopping[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
      sigaction (stopping[i], &action, NULL);
}

void
progress_catch (void)
{
  if (!stop_signal)
    signals_set (stop_soon);
}

int
progress_signal (void)
{
  return stop_signal;
}

/* --------------------------------------------------------------------- */

void
progress_begin (struct operation *operation, const char *title,
                enum progress_mode mode)
{
  if (mode == PROGRESS_AUTO)
    mode = isatty (STDERR_FILENO) ? PROGRESS_ALWAYS : PROGRESS_NEVER;
  bar.title = title;
  bar.mode = mode;
  bar.active = true;
  bar.last_ms = -1;
  operation->progress = progress_report;
  signals_set (stop_soon);

  /* Whoever read our messages is gone; the disk still wants to be tidy. */
  signal (SIGPIPE, SIG_IGN);
}

void
progress_end (void)
{
  if (!bar.active)
    return;
  progress_hide ();
  bar.active = false;
  signals_set (SIG_DFL);
}
