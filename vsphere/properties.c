/* SPDX-License-Identifier: BSD-3-Clause */

/* The property collector.  See properties.h. */

#include <config.h>

#include <string.h>

#include "properties.h"

/* A page is as large as the server likes; there are not more than this. */
#define PAGE_OBJECTS 500
#define MAX_PAGES 4096

static void
add_property_set (struct soap_request *request, const char *type,
                  const char *const *names)
{
  soap_open (request, "propSet", NULL);
  soap_add (request, "type", type);
  for (; *names; names++)
    soap_add (request, "pathSet", *names);
  soap_close (request, "propSet");
}

/* There is always an object in the answer on success. */
int
properties_read (struct session *session, const struct vim_ref *ref,
                 const char *const *names, struct soap_answer *answer,
                 struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };

  soap_begin (&request, "RetrieveProperties",
              session_service (session, SERVICE_PROPERTIES));
  soap_open (&request, "specSet", NULL);
  add_property_set (&request, ref->type, names);
  soap_open (&request, "objectSet", NULL);
  soap_add_ref (&request, "obj", ref);
  soap_close (&request, "objectSet");
  soap_close (&request, "specSet");
  if (session_call (session, &request, answer, err) == -1)
    return fail_prefix (err, "%s %s", ref->type, NAME (ref->id));
  if (!answer->value)
    return fail (err, ERR_MISSING, "%s: there is no %s \"%s\"",
                 session_server (session), ref->type, NAME (ref->id));
  return 0;
}

const struct xml_node *
properties_object (const struct soap_answer *answer)
{
  return answer->value;
}

const struct xml_node *
property (const struct xml_node *object, const char *name)
{
  for (const struct xml_node *set = xml_child (object, "propSet"); set;
       set = xml_same (set))
    if (strcmp (xml_text (set, "name"), name) == 0)
      return xml_child (set, "val");
  return NULL;
}

const char *
property_text (const struct xml_node *object, const char *name)
{
  const struct xml_node *value = property (object, name);

  return value ? value->text : "";
}

bool
property_refused (const struct xml_node *object, const char *name,
                  struct soap_fault *fault)
{
  for (const struct xml_node *set = xml_child (object, "missingSet"); set;
       set = xml_same (set))
    if (strcmp (xml_text (set, "path"), name) == 0) {
      soap_fault_read (
        fault, xml_path (set, "fault/fault"),
        xml_text (xml_child (set, "fault"), "localizedMessage"));
      return true;
    }
  return false;
}

/* --------------------------------------------------------------------- */
/* Many objects. */

static int
view_create (struct session *session, const char *type, struct vim_ref *view,
             struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  soap_begin (&request, "CreateContainerView",
              session_service (session, SERVICE_VIEWS));
  soap_add_ref (&request, "container",
                session_service (session, SERVICE_ROOT_FOLDER));
  soap_add (&request, "type", type);
  soap_add_bool (&request, "recursive", true);
  if (session_call (session, &request, &answer, err) == -1)
    return -1;
  if (!soap_ref (answer.value, view))
    return fail (err, ERR_CORRUPT, "CreateContainerView: no view came back");
  return 0;
}

/* Of no interest when it fails: views end with the session. */
static void
view_destroy (struct session *session, const struct vim_ref *view)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  struct vmdk_error err;

  soap_begin (&request, "DestroyView", view);
  if (session_call (session, &request, &answer, &err) == -1)
    log_debug (session_log (session), LOG_OPEN, "%s", err.text);
}

static void
ask_first (struct soap_request *request, struct session *session,
           const struct vim_ref *view, const char *type,
           const char *const *names)
{
  soap_begin (request, "RetrievePropertiesEx",
              session_service (session, SERVICE_PROPERTIES));
  soap_open (request, "specSet", NULL);
  add_property_set (request, type, names);
  soap_open (request, "objectSet", NULL);
  soap_add_ref (request, "obj", view);
  soap_add_bool (request, "skip", true);
  soap_open (request, "selectSet", "TraversalSpec");
  soap_add (request, "name", "view");
  soap_add (request, "type", "ContainerView");
  soap_add (request, "path", "view");
  soap_add_bool (request, "skip", false);
  soap_close (request, "selectSet");
  soap_close (request, "objectSet");
  soap_close (request, "specSet");
  soap_open (request, "options", NULL);
  soap_add_u64 (request, "maxObjects", PAGE_OBJECTS);
  soap_close (request, "options");
}

struct reading {
  struct session *session;
  int (*each) (void *opaque, const struct vim_ref *ref,
               const struct xml_node *object, struct vmdk_error *err);
  void *opaque;
};

static int
read_page (const struct reading *reading, const struct xml_node *page,
           struct vmdk_error *err)
{
  for (const struct xml_node *object = xml_child (page, "objects"); object;
       object = xml_same (object)) {
    struct vim_ref ref;

    if (soap_ref (xml_child (object, "obj"), &ref)
        && reading->each (reading->opaque, &ref, object, err) == -1)
      return -1;
  }
  return 0;
}

static void
cancel (struct session *session, const char *token)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  struct vmdk_error err;

  soap_begin (&request, "CancelRetrievePropertiesEx",
              session_service (session, SERVICE_PROPERTIES));
  soap_add (&request, "token", token);
  if (session_call (session, &request, &answer, &err) == -1)
    log_debug (session_log (session), LOG_OPEN, "%s", err.text);
}

/* The token alone says whether there is more. */
static int
read_pages (const struct reading *reading, struct soap_answer *answer,
            struct vmdk_error *err)
{
  for (unsigned nr_pages = 1;; nr_pages++) {
    CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };
    const struct xml_node *token = xml_child (answer->value, "token");

    if (read_page (reading, answer->value, err) == -1) {
      if (token)
        cancel (reading->session, token->text);
      return -1;
    }
    if (!token)
      return 0;
    if (nr_pages == MAX_PAGES)
      return fail (err, ERR_CORRUPT, "%s: a list has more than %d pages",
                   session_server (reading->session), MAX_PAGES);
    /* a page that was lost cannot be asked for again */
    soap_begin (&request, "ContinueRetrievePropertiesEx",
                session_service (reading->session, SERVICE_PROPERTIES));
    soap_add (&request, "token", token->text);
    if (session_call (reading->session, &request, answer, err) == -1)
      return -1;
  }
}

/* A view, and its first page.  No view is left after a failure. */
static int
view_and_first (struct session *session, const char *type,
                const char *const *names, struct vim_ref *view,
                struct soap_answer *answer, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };

  if (view_create (session, type, view, err) == -1)
    return -1;
  ask_first (&request, session, view, type, names);
  if (session_call (session, &request, answer, err) == 0)
    return 0;
  if (!soap_is (answer, "ManagedObjectNotFound"))
    view_destroy (session, view);
  return -1;
}

int
properties_each (struct session *session, const char *type,
                 const char *const *names,
                 int (*each) (void *opaque, const struct vim_ref *ref,
                              const struct xml_node *object,
                              struct vmdk_error *err),
                 void *opaque, struct vmdk_error *err)
{
  const struct reading reading = { session, each, opaque };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  struct vim_ref view;
  int result;

  result = view_and_first (session, type, names, &view, &answer, err);
  if (result == -1 && soap_is (&answer, "ManagedObjectNotFound"))
    /* the session ended in between, and the view with it */
    result = view_and_first (session, type, names, &view, &answer, err);
  if (result == -1)
    return -1;
  result = read_pages (&reading, &answer, err);
  view_destroy (session, &view);
  return result;
}
