/* SPDX-License-Identifier: BSD-3-Clause */

/* Finding and reading virtual machines.  See inventory.h. */

#include <config.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "inventory-parts.h"
#include "properties.h"
#include "vector.h"

DEFINE_VECTOR (ref_list, struct vim_ref);

/* How many of those that share a name are told. */
#define MAX_TOLD 4

/* --------------------------------------------------------------------- */
/* Finding. */

static int
fail_none (struct session *session, const char *what, const char *value,
           struct vmdk_error *err)
{
  return fail (err, ERR_MISSING,
               "%s: there is no virtual machine with the %s \"%s\", or the "
               "user may not see it",
               session_server (session), what, NAME (value));
}

static int
fail_many (struct session *session, const struct ref_list *found,
           const char *what, const char *value, struct vmdk_error *err)
{
  char told[700] = "";
  size_t used = 0;

  for (size_t i = 0; i < found->len && i < MAX_TOLD; i++) {
    CLEANUP_PLACE struct place place = { 0 };
    struct vmdk_error ignored;
    const char *path = "?";

    if (place_read (session, &found->ptr[i], &place, &ignored) == 0)
      path = place.path;
    used += (size_t) snprintf (told + used, sizeof told - used,
                               "%s%.100s (moref=%.40s)", i ? ", " : "", path,
                               found->ptr[i].id);
  }
  return fail (err, ERR_ARGUMENT,
               "%s: %zu virtual machines have the %s \"%s\": name one by path "
               "or moref=: %s%s",
               session_server (session), found->len, what, NAME (value), told,
               found->len > MAX_TOLD ? ", ..." : "");
}

static int
choose_only (struct session *session, const struct ref_list *found,
             const char *what, const char *value, struct vim_ref *ref,
             struct vmdk_error *err)
{
  if (found->len == 0)
    return fail_none (session, what, value, err);
  if (found->len > 1)
    return fail_many (session, found, what, value, err);
  *ref = found->ptr[0];
  return 0;
}

static int
find_by_path (struct session *session, const char *path, struct vim_ref *ref,
              struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  soap_begin (&request, "FindByInventoryPath",
              session_service (session, SERVICE_SEARCH));
  soap_add (&request, "inventoryPath", path);
  if (session_call (session, &request, &answer, err) == -1)
    return -1;
  if (!soap_ref (answer.value, ref))
    return fail_none (session, "path", path, err);
  if (strcmp (ref->type, "VirtualMachine") != 0)
    return fail (err, ERR_ARGUMENT, "%s: \"%s\" is not a virtual machine: %s",
                 session_server (session), NAME (path), ref->type);
  return 0;
}

static int
collect (struct ref_list *found, const struct soap_answer *answer,
         struct vmdk_error *err)
{
  for (const struct xml_node *value = answer->value; value;
       value = xml_same (value)) {
    struct vim_ref ref;

    if (soap_ref (value, &ref) && ref_list_append (found, ref) == -1)
      return fail_memory (err);
  }
  return 0;
}

/* Copies share the BIOS' uuid, so all are asked for; not every server can. */
static int
ask_uuid (struct session *session, const char *method, const char *uuid,
          bool instance, struct ref_list *found, bool *unsupported,
          struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  soap_begin (&request, method, session_service (session, SERVICE_SEARCH));
  soap_add (&request, "uuid", uuid);
  soap_add_bool (&request, "vmSearch", true);
  soap_add_bool (&request, "instanceUuid", instance);
  if (session_call (session, &request, &answer, err) == -1) {
    *unsupported = soap_is_unsupported (&answer);
    return -1;
  }
  return collect (found, &answer, err);
}

static int
find_uuids (struct session *session, const char *uuid, bool instance,
            struct ref_list *found, struct vmdk_error *err)
{
  bool unsupported = false;

  if (ask_uuid (session, "FindAllByUuid", uuid, instance, found, &unsupported,
                err)
      == 0)
    return 0;
  return unsupported ? ask_uuid (session, "FindByUuid", uuid, instance, found,
                                 &unsupported, err)
                     : -1;
}

static void
ref_list_free (struct ref_list *list)
{
  ref_list_reset (list);
}
#define CLEANUP_REF_LIST __attribute__ ((cleanup (ref_list_free)))

#define UUID_SIZE 37

/* As servers search for it: small letters, and dashes in their places.  VMX
 * files have "42 01 02 ...", others nothing between the digits.  False: this
 * is something else.
 */
static bool
canonical_uuid (char out[UUID_SIZE], const char *text)
{
  size_t n = 0;

  for (; *text; text++) {
    if (*text == ' ' || *text == '-')
      continue;
    if (!isxdigit ((unsigned char) *text) || n == UUID_SIZE - 1)
      return false;
    if (n == 8 || n == 13 || n == 18 || n == 23)
      out[n++] = '-';
    out[n++] = (char) tolower ((unsigned char) *text);
  }
  out[n] = '\0';
  return n == UUID_SIZE - 1;
}

static int
find_by_uuid (struct session *session, const char *text, struct vim_ref *ref,
              struct vmdk_error *err)
{
  CLEANUP_REF_LIST struct ref_list found = VECTOR_EMPTY;
  char canonical[UUID_SIZE];
  const char *uuid = canonical_uuid (canonical, text) ? canonical : text;

  if (find_uuids (session, uuid, false, &found, err) == -1)
    return -1;
  if (found.len == 0 && find_uuids (session, uuid, true, &found, err) == -1)
    return -1;
  return choose_only (session, &found, "uuid", uuid, ref, err);
}

struct search {
  const char *name;
  struct ref_list found;
};

/* "a%2fb" as the inventory has it, or "a/b" as people see it. */
static bool
same_name (const char *stored, const char *wanted)
{
  static const struct {
    const char *code;
    char c;
  } codes[] = { { "%25", '%' }, { "%2f", '/' }, { "%5c", '\\' } };

  if (strcmp (stored, wanted) == 0)
    return true;
  while (*stored && *wanted) {
    char c = *stored++;

    for (size_t i = 0; c == '%' && i < 3; i++)
      if (strncasecmp (stored - 1, codes[i].code, 3) == 0) {
        c = codes[i].c;
        stored += 2;
        break;
      }
    if (c != *wanted++)
      return false;
  }
  return *stored == *wanted;
}

static int
compare_name (void *opaque, const struct vim_ref *ref,
              const struct xml_node *object, struct vmdk_error *err)
{
  struct search *search = opaque;

  if (same_name (property_text (object, "name"), search->name)
      && ref_list_append (&search->found, *ref) == -1)
    return fail_memory (err);
  return 0;
}

static int
find_by_name (struct session *session, const char *name, struct vim_ref *ref,
              struct vmdk_error *err)
{
  static const char *const names[] = { "name", NULL };
  struct search search = { .name = name };
  int result;

  result = properties_each (session, "VirtualMachine", names, compare_name,
                            &search, err);
  if (result == 0)
    result = choose_only (session, &search.found, "name", name, ref, err);
  ref_list_reset (&search.found);
  return result;
}

static bool
looks_like_uuid (const char *text)
{
  static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

  for (size_t i = 0; i < sizeof shape; i++)
    if (shape[i] == 'x' ? !isxdigit ((unsigned char) text[i])
                        : text[i] != shape[i])
      return false;
  return true;
}

/* What stands behind PREFIX, or NULL. */
static const char *
behind (const char *text, const char *prefix)
{
  const size_t len = strlen (prefix);

  return strncmp (text, prefix, len) == 0 ? text + len : NULL;
}

int
vm_find (struct session *session, const char *spec, struct vim_ref *ref,
         struct vmdk_error *err)
{
  const char *value;

  *ref = (struct vim_ref){ 0 };
  if ((value = behind (spec, "moref=")))
    return vim_ref_set (ref, "VirtualMachine", value, err);
  if ((value = behind (spec, "uuid=")))
    return find_by_uuid (session, value, ref, err);
  if ((value = behind (spec, "path=")))
    return find_by_path (session, value, ref, err);
  if ((value = behind (spec, "name=")))
    return find_by_name (session, value, ref, err);
  if (looks_like_uuid (spec))
    return find_by_uuid (session, spec, ref, err);
  if (strchr (spec, '/'))
    return find_by_path (session, spec, ref, err);
  return find_by_name (session, spec, ref, err);
}

/* --------------------------------------------------------------------- */
/* Reading. */

static const char *const vm_properties[] = {
  "name",
  "runtime.powerState",
  "runtime.connectionState",
  "runtime.host",
  "runtime.consolidationNeeded",
  "config.uuid",
  "config.instanceUuid",
  "config.files.vmPathName",
  "config.changeTrackingEnabled",
  "config.keyId",
  "config.hardware.device",
  NULL,
};

static int
check_visible (struct session *session, const struct vm *vm,
               const struct xml_node *object, struct vmdk_error *err)
{
  struct soap_fault fault;

  if (property (object, "config.hardware.device"))
    return 0;
  if (property_refused (object, "config.hardware.device", &fault))
    return soap_fail_fault (err, NAME (vm->name), &fault);
  return fail (err, ERR_DENIED,
               "%s: %s: the server does not show the disks of this machine "
               "(state %s): the user needs the right to read it",
               session_server (session), NAME (vm->name),
               vm->connection[0] ? vm->connection : "unknown");
}

static int
read_vm (struct session *session, const struct vim_ref *ref, struct vm *vm,
         struct vmdk_error *err)
{
  const struct xml_node *object;

  if (properties_read (session, ref, vm_properties, &vm->answer, err) == -1)
    return -1;
  object = properties_object (&vm->answer);
  vm->ref = *ref;
  vm->name = property_text (object, "name");
  vm->power = property_text (object, "runtime.powerState");
  vm->running = strcmp (vm->power, "poweredOff") != 0;
  vm->connection = property_text (object, "runtime.connectionState");
  soap_ref (property (object, "runtime.host"), &vm->host);
  vm->consolidation_needed =
    xml_is_true (property (object, "runtime.consolidationNeeded"));
  vm->uuid = property_text (object, "config.uuid");
  vm->instance_uuid = property_text (object, "config.instanceUuid");
  vm->vmx_path = property_text (object, "config.files.vmPathName");
  vm->change_tracking =
    xml_is_true (property (object, "config.changeTrackingEnabled"));
  vm->encrypted = property (object, "config.keyId") != NULL;
  if (check_visible (session, vm, object, err) == -1)
    return -1;
  if (disk_list_read (&vm->disks, property (object, "config.hardware.device"),
                      err)
      == -1)
    return fail_prefix (err, "%s", NAME (vm->name));
  return 0;
}

int
vm_read (struct session *session, const struct vim_ref *ref, struct vm *vm,
         struct vmdk_error *err)
{
  *vm = (struct vm){ 0 };
  if (read_vm (session, ref, vm, err) == 0)
    return 0;
  vm_reset (vm);
  return -1;
}

void
vm_reset (struct vm *vm)
{
  disk_list_reset (&vm->disks);
  soap_answer_reset (&vm->answer);
}
