/* SPDX-License-Identifier: BSD-3-Clause */

/* The calls behind access: DisableMethods, EnableMethods, and what shows
 * their effect.  See access.h.
 *
 * Both calls are in no public description of the API.  The usual form is a
 * body in urn:internalvim25 with the ordinary action; where a server does not
 * know that, two others are tried.
 */

#include <config.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "access-parts.h"
#include "properties.h"

static const struct {
  const char *space, *action;
} forms[] = {
  { SOAP_INTERNAL, NULL },
  { SOAP_INTERNAL, SOAP_INTERNAL },
  { SOAP_VIM25, NULL },
};

static void
write_disable (struct soap_request *request, const struct vim_ref *vm,
               const char *identity)
{
  char reason[80];

  snprintf (reason, sizeof reason, "disks are open (process %ld)",
            (long) getpid ());
  soap_add_ref (request, "entity", vm);
  soap_open (request, "method", NULL);
  soap_add (request, "method", ACCESS_METHOD);
  soap_add (request, "reasonId", reason);
  soap_close (request, "method");
  soap_add (request, "sourceId", identity);
}

static void
write_enable (struct soap_request *request, const struct vim_ref *vm,
              const char *identity)
{
  soap_add_ref (request, "entity", vm);
  soap_add (request, "method", ACCESS_METHOD);
  soap_add (request, "sourceId", identity);
}

static int
call (struct session *session, const char *method,
      void (*write_arguments) (struct soap_request *request,
                               const struct vim_ref *vm, const char *identity),
      const struct vim_ref *vm, const char *identity,
      struct soap_answer *answer, struct vmdk_error *err)
{
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    CLEANUP_SOAP_REQUEST
    struct soap_request request = { .action = forms[i].action };

    soap_begin_in (&request, forms[i].space, method,
                   session_service (session, SERVICE_AUTHORIZATION));
    write_arguments (&request, vm, identity);
    if (session_call (session, &request, answer, err) == 0)
      return 0;
    if (!soap_is (answer, "InvalidRequest")
        && !soap_is (answer, "MethodNotFound"))
      break;
  }
  return -1;
}

int
access_disable (struct session *session, const struct vim_ref *vm,
                const char *identity, struct soap_answer *answer,
                struct vmdk_error *err)
{
  return call (session, "DisableMethods", write_disable, vm, identity, answer,
               err);
}

int
access_enable (struct session *session, const struct vim_ref *vm,
               const char *identity, struct soap_answer *answer,
               struct vmdk_error *err)
{
  return call (session, "EnableMethods", write_enable, vm, identity, answer,
               err);
}

#define MANAGER_SIZE 80

static int
keep_manager (void *opaque, const struct vim_ref *ref,
              const struct xml_node *object, struct vmdk_error *err)
{
  (void) ref;
  (void) err;
  text_escape (opaque, MANAGER_SIZE,
               property_text (object, "summary.managementServerIp"));
  return 0;
}

/* The address of the vCenter that a host belongs to, or "". */
static void
find_manager (struct session *session, char manager[MANAGER_SIZE])
{
  static const char *const names[] = { "summary.managementServerIp", NULL };
  struct vmdk_error err;

  manager[0] = '\0';
  if (properties_each (session, "HostSystem", names, keep_manager, manager,
                       &err)
      == -1)
    log_debug (session_log (session), LOG_OPEN, "%s", err.text);
}

int
access_check_server (struct session *session, struct vmdk_error *err)
{
  char manager[MANAGER_SIZE];

  if (session_about (session)->is_vcenter)
    return 0;
  find_manager (session, manager);
  return fail (err, ERR_UNSUPPORTED,
               "%s is a host, not a vCenter: moving virtual machines to other "
               "datastores cannot be prevented from here%s%s",
               session_server (session),
               manager[0] ? "; connect to the vCenter that manages it: " : "",
               manager);
}

/* --------------------------------------------------------------------- */
/* What a machine's properties say. */

static bool
lists_method (const struct xml_node *value)
{
  for (const struct xml_node *s = xml_child (value, "string"); s;
       s = xml_same (s))
    if (strcmp (s->text, ACCESS_METHOD) == 0)
      return true;
  return false;
}

int
access_is_held (struct session *session, const struct vim_ref *vm, bool *held,
                struct vmdk_error *err)
{
  static const char *const names[] = { "disabledMethod", NULL };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  if (properties_read (session, vm, names, &answer, err) == -1)
    return -1;
  *held = lists_method (property (properties_object (&answer), names[0]));
  return 0;
}

static bool
moves (const struct xml_node *info)
{
  const char *what = xml_text (info, "descriptionId");
  const char *state = xml_text (info, "state");

  return (strcmp (what, "VirtualMachine.relocate") == 0
          || strcmp (what, "VirtualMachine.migrate") == 0)
         && (strcmp (state, "queued") == 0 || strcmp (state, "running") == 0);
}

static int
task_moves (struct session *session, const struct vim_ref *task, bool *moving,
            struct vmdk_error *err)
{
  static const char *const names[] = { "info", NULL };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  if (properties_read (session, task, names, &answer, err) == -1)
    /* tasks that have ended are forgotten after a while */
    return soap_is (&answer, "ManagedObjectNotFound") ? 0 : -1;
  if (moves (property (properties_object (&answer), names[0])))
    *moving = true;
  return 0;
}

int
access_is_moving (struct session *session, const struct vim_ref *vm,
                  bool *moving, struct vmdk_error *err)
{
  static const char *const names[] = { "recentTask", NULL };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  const struct xml_node *tasks;

  *moving = false;
  if (properties_read (session, vm, names, &answer, err) == -1)
    return -1;
  tasks = property (properties_object (&answer), names[0]);
  for (const struct xml_node *t = xml_child (tasks, "ManagedObjectReference");
       t && !*moving; t = xml_same (t)) {
    struct vim_ref task;

    if (soap_ref (t, &task) && task_moves (session, &task, moving, err) == -1)
      return -1;
  }
  return 0;
}

/* --------------------------------------------------------------------- */
/* What was left behind. */

struct listing {
  int (*each) (void *opaque, const struct vim_ref *vm, const char *name,
               struct vmdk_error *err);
  void *opaque;
};

static int
list_machine (void *opaque, const struct vim_ref *vm,
              const struct xml_node *object, struct vmdk_error *err)
{
  const struct listing *listing = opaque;

  if (!lists_method (property (object, "disabledMethod")))
    return 0;
  return listing->each (listing->opaque, vm, property_text (object, "name"),
                        err);
}

int
access_list (struct session *session,
             int (*each) (void *opaque, const struct vim_ref *vm,
                          const char *name, struct vmdk_error *err),
             void *opaque, struct vmdk_error *err)
{
  static const char *const names[] = { "name", "disabledMethod", NULL };
  struct listing listing = { each, opaque };

  if (access_check_server (session, err) == -1)
    return -1;
  return properties_each (session, "VirtualMachine", names, list_machine,
                          &listing, err);
}

int
access_release (struct session *session, const struct vim_ref *vm,
                const char *identity, bool *held, struct vmdk_error *err)
{
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  if (access_check_server (session, err) == -1)
    return -1;
  if (access_enable (session, vm, identity, &answer, err) == -1) {
    if (!identity && soap_is (&answer, "InvalidArgument"))
      fail_prefix (err,
                   "this server wants the identity of the entry (without it: "
                   "https://%s/mob/?moid=AuthorizationManager, enableMethods)",
                   session_server (session));
    return -1;
  }
  return access_is_held (session, vm, held, err);
}
