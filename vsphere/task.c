/* SPDX-License-Identifier: BSD-3-Clause */

/* Waiting for tasks.  See task.h.
 *
 * The tasks are asked, again and again, rather than waited for with a filter:
 * filters belong to the session, and go with it.
 */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <time.h>

#include "properties.h"
#include "task.h"

#define MAX_PAUSE_MS 5000

/* How often in a row the server may not answer at all; each time has been
 * repeated by itself.
 */
#define MAX_SILENT 10

/* How often a task that we cancelled is still asked for. */
#define MAX_CANCELLED 60

#define SLICE_MS 200

bool
task_pause (const struct task_watch *watch, unsigned ms, uint64_t done)
{
  while (ms > 0) {
    const unsigned slice = ms < SLICE_MS ? ms : SLICE_MS;
    const struct timespec span = { 0, (long) slice * 1000000 };

    if (watch && watch->progress
        && !watch->progress (watch->opaque, done, 100))
      return false;
    nanosleep (&span, NULL);
    ms -= slice;
  }
  return true;
}

struct waiting {
  struct session *session;
  const struct vim_ref *task;
  const struct task_watch *watch;
  struct task_result *result;
  uint64_t done; /* percent */
  bool cancelled;
  unsigned nr_silent, nr_cancelled;
};

static void
cancel (struct waiting *w)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  struct vmdk_error err;

  w->cancelled = true;
  soap_begin (&request, "CancelTask", w->task);
  if (session_call (w->session, &request, &answer, &err) == -1)
    log_debug (session_log (w->session), LOG_OPEN, "%s", err.text);
}

enum state { RUNNING, ENDED, FAILED };

static int
fail_stopped (struct vmdk_error *err)
{
  fail (err, ERR_SYSTEM, "stopped");
  err->errnum = ECANCELED;
  return -1;
}

static enum state
read_failure (struct waiting *w, const struct xml_node *info,
              struct vmdk_error *err)
{
  const struct xml_node *error = xml_child (info, "error");

  soap_fault_read (&w->result->fault, xml_child (error, "fault"),
                   xml_text (error, "localizedMessage"));
  if (w->cancelled)
    fail_stopped (err);
  else
    soap_fail_fault (err, session_server (w->session), &w->result->fault);
  return FAILED;
}

static enum state
read_info (struct waiting *w, const struct xml_node *info,
           struct vmdk_error *err)
{
  const char *state = xml_text (info, "state");
  uint64_t percent;

  if (strcmp (state, "success") == 0) {
    soap_ref (xml_child (info, "result"), &w->result->ref);
    return ENDED;
  }
  if (strcmp (state, "error") == 0)
    return read_failure (w, info, err);
  if (strcmp (state, "queued") != 0 && strcmp (state, "running") != 0) {
    fail (err, ERR_CORRUPT, "%s: a task is in the state \"%s\"",
          session_server (w->session), NAME (state));
    return FAILED;
  }
  if (xml_u64 (xml_child (info, "progress"), &percent) == 0 && percent < 100)
    w->done = percent;
  return RUNNING;
}

static enum state
look (struct waiting *w, struct vmdk_error *err)
{
  static const char *const names[] = { "info", NULL };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  if (properties_read (w->session, w->task, names, &answer, err) == 0) {
    w->nr_silent = 0;
    return read_info (w, property (properties_object (&answer), "info"), err);
  }
  if (soap_is (&answer, "ManagedObjectNotFound")) {
    w->result->unknown = true;
    return ENDED;
  }
  /* a network that is away for a while ends no task */
  return !answer.fault.type[0] && ++w->nr_silent < MAX_SILENT ? RUNNING
                                                              : FAILED;
}

static int
go_on (struct waiting *w, unsigned pause_ms, struct vmdk_error *err)
{
  if (w->cancelled) {
    if (++w->nr_cancelled == MAX_CANCELLED)
      return fail_stopped (err);
    task_pause (NULL, pause_ms, 0);
  }
  else if (!task_pause (w->watch, pause_ms, w->done))
    cancel (w);
  return 0;
}

int
task_wait (struct session *session, const struct vim_ref *task,
           const struct task_watch *watch, struct task_result *result,
           struct vmdk_error *err)
{
  struct waiting w = {
    .session = session, .task = task, .watch = watch, .result = result
  };
  unsigned pause_ms = session_poll_ms (session);

  *result = (struct task_result){ 0 };
  for (;;) {
    const enum state state = look (&w, err);

    if (state == FAILED)
      return -1;
    if (state == ENDED)
      break;
    if (go_on (&w, pause_ms, err) == -1)
      return -1;
    pause_ms += pause_ms / 2;
    if (pause_ms > MAX_PAUSE_MS)
      pause_ms = MAX_PAUSE_MS;
  }
  if (watch && watch->progress)
    watch->progress (watch->opaque, 100, 100);
  return 0;
}

int
task_run (struct session *session, const struct soap_request *request,
          const struct task_watch *watch, struct task_result *result,
          struct vmdk_error *err)
{
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  struct vim_ref task;

  *result = (struct task_result){ 0 };
  if (session_call (session, request, &answer, err) == -1) {
    result->fault = answer.fault;
    /* it may have begun all the same */
    result->unknown = answer.fault.type[0] == '\0';
    return -1;
  }
  if (!soap_ref (answer.value, &task))
    return fail (err, ERR_CORRUPT, "%s: %s: no task came back",
                 session_server (session), request->method);
  if (task_wait (session, &task, watch, result, err) == -1)
    return fail_prefix (err, "%s", request->method);
  return 0;
}
