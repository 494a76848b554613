/* SPDX-License-Identifier: BSD-3-Clause */

/* Where things lie: folders, datacenters, datastores, hosts.  See
 * inventory.h.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inventory-parts.h"
#include "properties.h"
#include "vector.h"

/* Folders in folders; a server that sends us in circles stops here. */
#define MAX_LEVELS 64
#define MAX_PATH_BYTES 4096

DEFINE_VECTOR (datastore_vector, struct datastore);

/* --------------------------------------------------------------------- */
/* Places. */

/* Put NAME before PATH. */
static int
put_before (char **path, const char *name, struct vmdk_error *err)
{
  char *longer;

  if (strlen (*path) + strlen (name) > MAX_PATH_BYTES)
    return fail (err, ERR_CORRUPT,
                 "a path in the inventory has more than %d bytes",
                 MAX_PATH_BYTES);
  if (asprintf (&longer, "%s%s%s", name, **path ? "/" : "", *path) == -1)
    return fail_memory (err);
  free (*path);
  *path = longer;
  return 0;
}

/* One step up: *REF becomes its parent, or none for the root. */
static int
climb (struct session *session, struct vim_ref *ref, struct place *place,
       struct vmdk_error *err)
{
  static const char *const names[] = { "name", "parent", NULL };
  static const char *const vm_names[] = { "name", "parent", "parentVApp",
                                          NULL };
  const bool is_vm = strcmp (ref->type, "VirtualMachine") == 0;
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  const struct xml_node *object;
  struct vim_ref parent;

  if (properties_read (session, ref, is_vm ? vm_names : names, &answer, err)
      == -1)
    return -1;
  object = properties_object (&answer);
  if (!soap_ref (property (object, "parent"), &parent))
    soap_ref (property (object, "parentVApp"), &parent);
  /* the root's own name is in no path */
  if (parent.id[0]) {
    if (put_before (&place->path, property_text (object, "name"), err) == -1)
      return -1;
    if (place->datacenter.id[0]
        && put_before (&place->dc_path, property_text (object, "name"), err)
             == -1)
      return -1;
  }
  *ref = parent;
  return 0;
}

static int
read_place (struct session *session, struct vim_ref ref, struct place *place,
            struct vmdk_error *err)
{
  place->path = strdup ("");
  place->dc_path = strdup ("");
  if (!place->path || !place->dc_path)
    return fail_memory (err);
  for (unsigned level = 0; ref.id[0]; level++) {
    if (level == MAX_LEVELS)
      return fail (err, ERR_CORRUPT, "%s lies deeper than %d folders",
                   NAME (place->path), MAX_LEVELS);
    if (strcmp (ref.type, "Datacenter") == 0)
      place->datacenter = ref;
    if (climb (session, &ref, place, err) == -1)
      return -1;
  }
  return 0;
}

int
place_read (struct session *session, const struct vim_ref *ref,
            struct place *place, struct vmdk_error *err)
{
  *place = (struct place){ 0 };
  if (read_place (session, *ref, place, err) == 0)
    return 0;
  place_reset (place);
  return -1;
}

void
place_reset (struct place *place)
{
  free (place->path);
  free (place->dc_path);
  *place = (struct place){ 0 };
}

/* --------------------------------------------------------------------- */
/* Datastores. */

static void
datastore_reset (struct datastore *datastore)
{
  free (datastore->name);
  free (datastore->type);
  free (datastore->url);
}

static int
add_datastore (void *opaque, const struct vim_ref *ref,
               const struct xml_node *object, struct vmdk_error *err)
{
  struct datastore_vector *list = opaque;
  struct datastore datastore = {
    .ref = *ref,
    .name = strdup (property_text (object, "name")),
    .type = strdup (property_text (object, "summary.type")),
    .url = strdup (property_text (object, "summary.url")),
  };

  if (!datastore.name || !datastore.type || !datastore.url
      || datastore_vector_append (list, datastore) == -1) {
    datastore_reset (&datastore);
    return fail_memory (err);
  }
  return 0;
}

static int
list_names (struct datastore_list *list, struct vmdk_error *err)
{
  list->names = calloc (list->len ? list->len : 1, sizeof *list->names);
  if (!list->names)
    return fail_memory (err);
  for (size_t i = 0; i < list->len; i++)
    list->names[i] = list->ptr[i].name;
  return 0;
}

int
datastore_list_read (struct session *session, struct datastore_list *list,
                     struct vmdk_error *err)
{
  static const char *const names[] = { "name", "summary.type", "summary.url",
                                       NULL };
  struct datastore_vector found = VECTOR_EMPTY;
  const int result =
    properties_each (session, "Datastore", names, add_datastore, &found, err);

  *list = (struct datastore_list){ .ptr = found.ptr,
                                   .len = found.len,
                                   .capacity = found.capacity };
  if (result == 0 && list_names (list, err) == 0)
    return 0;
  datastore_list_reset (list);
  return -1;
}

void
datastore_list_reset (struct datastore_list *list)
{
  for (size_t i = 0; i < list->len; i++)
    datastore_reset (&list->ptr[i]);
  free (list->ptr);
  free (list->names);
  *list = (struct datastore_list){ 0 };
}

static bool
lies_in (struct session *session, const struct datastore *datastore,
         const char *dc_path)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct vmdk_error ignored;

  return place_read (session, &datastore->ref, &place, &ignored) == 0
         && strcmp (place.dc_path, dc_path) == 0;
}

const struct datastore *
datastore_find (struct session *session, const struct datastore_list *list,
                const char *name, const char *dc_path, struct vmdk_error *err)
{
  const struct datastore *found = NULL;
  size_t count = 0;

  for (size_t i = 0; i < list->len; i++)
    if (strcmp (list->ptr[i].name, name) == 0) {
      found = &list->ptr[i];
      count++;
    }
  if (count == 1)
    return found;
  for (size_t i = 0; dc_path && i < list->len; i++)
    if (strcmp (list->ptr[i].name, name) == 0
        && lies_in (session, &list->ptr[i], dc_path))
      return &list->ptr[i];
  if (count == 0)
    fail (err, ERR_MISSING, "%s: there is no datastore \"%s\"",
          session_server (session), NAME (name));
  else
    fail (err, ERR_ARGUMENT,
          "%s: %zu datacenters have a datastore \"%s\": say which is meant",
          session_server (session), count, NAME (name));
  return NULL;
}

/* --------------------------------------------------------------------- */
/* Hosts. */

int
host_read (struct session *session, const struct vim_ref *ref,
           struct host *host, struct vmdk_error *err)
{
  static const char *const names[] = { "name", "runtime.connectionState",
                                       "summary.config.sslThumbprint",
                                       "summary.managementServerIp", NULL };
  const struct xml_node *object;

  *host = (struct host){ 0 };
  if (properties_read (session, ref, names, &host->answer, err) == -1) {
    host_reset (host);
    return -1;
  }
  object = properties_object (&host->answer);
  host->name = property_text (object, "name");
  host->connection = property_text (object, "runtime.connectionState");
  host->thumbprint = property_text (object, "summary.config.sslThumbprint");
  host->manager = property_text (object, "summary.managementServerIp");
  return 0;
}

void
host_reset (struct host *host)
{
  soap_answer_reset (&host->answer);
}
