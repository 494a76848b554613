/* SPDX-License-Identifier: BSD-3-Clause */

/* Temporary snapshots.  See snapshot.h. */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "properties.h"
#include "snapshot.h"

#define MARK_SIZE 200

/* Another operation runs on the machine: how often we ask again, and how long
 * we wait each time (in the session's first pauses).
 */
#define MAX_BUSY 120
#define BUSY_PAUSES 10

/* --------------------------------------------------------------------- */
/* The tree. */

struct walk {
  int (*each) (void *opaque, const struct snapshot *snapshot,
               struct vmdk_error *err);
  void *opaque;
  struct vim_ref current;
};

/* The answer's depth is bounded, and so is this. */
static int
walk_tree (const struct walk *walk, const struct xml_node *node,
           struct vmdk_error *err)
{
  for (; node; node = xml_same (node)) {
    struct snapshot snapshot = {
      .name = xml_text (node, "name"),
      .description = xml_text (node, "description"),
      .created = xml_text (node, "createTime"),
      .quiesced = xml_is_true (xml_child (node, "quiesced")),
    };

    if (!soap_ref (xml_child (node, "snapshot"), &snapshot.ref))
      continue;
    snapshot.current = vim_ref_same (&snapshot.ref, &walk->current);
    if (walk->each (walk->opaque, &snapshot, err) == -1
        || walk_tree (walk, xml_child (node, "childSnapshotList"), err) == -1)
      return -1;
  }
  return 0;
}

int
snapshot_each (struct session *session, const struct vim_ref *vm,
               int (*each) (void *opaque, const struct snapshot *snapshot,
                            struct vmdk_error *err),
               void *opaque, struct vmdk_error *err)
{
  static const char *const names[] = { "snapshot", NULL };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  struct walk walk = { .each = each, .opaque = opaque };
  const struct xml_node *tree;

  if (properties_read (session, vm, names, &answer, err) == -1)
    return -1;
  tree = property (properties_object (&answer), "snapshot");
  soap_ref (xml_child (tree, "currentSnapshot"), &walk.current);
  return walk_tree (&walk, xml_child (tree, "rootSnapshotList"), err);
}

struct mark {
  const char *text;
  struct vim_ref found;
};

static int
compare_mark (void *opaque, const struct snapshot *snapshot,
              struct vmdk_error *err)
{
  struct mark *mark = opaque;

  (void) err;
  if (strcmp (snapshot->description, mark->text) == 0)
    mark->found = snapshot->ref;
  return 0;
}

static bool
find_marked (struct session *session, const struct vim_ref *vm,
             const char *text, struct vim_ref *snapshot)
{
  struct mark mark = { .text = text };
  struct vmdk_error ignored;

  if (snapshot_each (session, vm, compare_mark, &mark, &ignored) == -1
      || mark.found.id[0] == '\0')
    return false;
  *snapshot = mark.found;
  return true;
}

/* --------------------------------------------------------------------- */

/* Run a task, which RUNNING watches, again while another one keeps it from
 * starting, which WAITING watches.
 */
static int
run_when_free (struct session *session, const struct soap_request *request,
               const struct task_watch *waiting,
               const struct task_watch *running, struct task_result *result,
               struct vmdk_error *err)
{
  const unsigned pause_ms = session_poll_ms (session) * BUSY_PAUSES;

  for (unsigned nr_busy = 0;; nr_busy++) {
    if (task_run (session, request, running, result, err) == 0)
      return 0;
    if (strcmp (result->fault.type, "TaskInProgress") != 0
        || nr_busy == MAX_BUSY || !task_pause (waiting, pause_ms, 0))
      return -1;
  }
}

static void
make_mark (char mark[MARK_SIZE])
{
  char host[80] = "";
  uint64_t number = 0;

  gethostname (host, sizeof host - 1);
  if (getrandom (&number, sizeof number, GRND_NONBLOCK) == -1)
    number = (uint64_t) getpid ();
  snprintf (mark, MARK_SIZE,
            "vmdkit on %s (process %ld) reads the disks; it can be removed "
            "once that has ended. %016" PRIx64,
            host[0] ? host : "?", (long) getpid (), number);
}

static bool
is_quiesce_fault (const char *type)
{
  return strstr (type, "QuiesceFault")
         || strcmp (type, "ToolsUnavailable") == 0
         || strcmp (type, "SnapshotFault") == 0;
}

static int
take_marked (struct session *session, const struct vim_ref *vm, bool quiesce,
             const char *mark, const struct task_watch *watch,
             struct task_result *result, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };

  soap_begin (&request, "CreateSnapshot_Task", vm);
  soap_add (&request, "name", SNAPSHOT_NAME);
  soap_add (&request, "description", mark);
  soap_add_bool (&request, "memory", false);
  soap_add_bool (&request, "quiesce", quiesce);
  return run_when_free (session, &request, watch, NULL, result, err);
}

int
snapshot_take (struct session *session, const struct vim_ref *vm, bool quiesce,
               const struct task_watch *watch, struct vim_ref *snapshot,
               struct vmdk_error *err)
{
  struct task_result result;
  char mark[MARK_SIZE];
  int taken;

  make_mark (mark);
  taken = take_marked (session, vm, quiesce, mark, watch, &result, err);
  if (taken == 0 && result.ref.id[0]) {
    *snapshot = result.ref;
    return 0;
  }
  /* it is there, and nobody told us */
  if (!result.fault.type[0] && find_marked (session, vm, mark, snapshot))
    return 0;
  if (taken == 0)
    return fail (err, ERR_SYSTEM,
                 "%s: a snapshot was taken, and cannot be found",
                 session_server (session));
  if (quiesce && is_quiesce_fault (result.fault.type))
    fail_prefix (err,
                 "a quiesced snapshot of %s (it can be taken without "
                 "quiescing)",
                 NAME (vm->id));
  return -1;
}

/* --------------------------------------------------------------------- */
/* Removing. */

static int
consolidate (struct session *session, const struct vim_ref *vm,
             const struct task_watch *watch, struct vmdk_error *err)
{
  static const char *const names[] = { "runtime.consolidationNeeded", NULL };
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  struct task_result result;

  if (properties_read (session, vm, names, &answer, err) == -1)
    return -1;
  if (!xml_is_true (property (properties_object (&answer), names[0])))
    return 0;
  soap_begin (&request, "ConsolidateVMDisks_Task", vm);
  return run_when_free (session, &request, watch, watch, &result, err);
}

int
snapshot_remove (struct session *session, const struct vim_ref *vm,
                 const struct vim_ref *snapshot,
                 const struct task_watch *watch, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  struct task_result result;

  soap_begin (&request, "RemoveSnapshot_Task", snapshot);
  soap_add_bool (&request, "removeChildren", false);
  soap_add_bool (&request, "consolidate", true);
  if (run_when_free (session, &request, watch, watch, &result, err) == -1
      && strcmp (result.fault.type, "ManagedObjectNotFound") != 0)
    return fail_prefix (err,
                        "snapshot %s of %s is left behind (\"%s\"): remove it "
                        "with the vSphere client",
                        NAME (snapshot->id), NAME (vm->id), SNAPSHOT_NAME);
  return consolidate (session, vm, watch, err);
}
