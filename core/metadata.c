/* SPDX-License-Identifier: BSD-3-Clause */

/* A disk's metadata.  See metadata.h. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "descriptor-model.h"
#include "link-edit.h"
#include "metadata.h"

#define PREFIX "ddb."

/* Longer ones are in no descriptor; descriptor_set says so. */
#define MAX_KEY 512

/* As descriptors have it; who knows those may say KEY with the prefix. */
static void
with_prefix (char full[MAX_KEY], const char *key)
{
  snprintf (full, MAX_KEY, "%s%s", key_is_ddb (key) ? "" : PREFIX, key);
}

struct visit {
  const struct descriptor *descriptor;
  void (*visit) (void *opaque, const char *key, const char *value);
  void *opaque;
};

static bool
visit_line (void *opaque, const char *key, const char *value)
{
  const struct visit *v = opaque;

  if (key_is_ddb (key) && descriptor_get (v->descriptor, key) == value)
    v->visit (v->opaque, key + strlen (PREFIX), value);
  return true;
}

void
metadata_each (const struct descriptor *descriptor,
               void (*visit) (void *opaque, const char *key,
                              const char *value),
               void *opaque)
{
  struct visit v = { descriptor, visit, opaque };

  descriptor_each (descriptor, visit_line, &v);
}

const char *
metadata_get (const struct descriptor *descriptor, const char *key)
{
  char full[MAX_KEY];

  with_prefix (full, key);
  return descriptor_get (descriptor, full);
}

struct change {
  char key[MAX_KEY];
  const char *value;
};

static int
set (void *opaque, struct descriptor *d, struct vmdk_error *err)
{
  const struct change *change = opaque;

  return descriptor_set (d, change->key, change->value, err);
}

static int delete (void *opaque, struct descriptor *d, struct vmdk_error *err)
{
  const struct change *change = opaque;

  return descriptor_remove (d, change->key)
           ? 0
           : fail (err, ERR_MISSING, "has no metadata of the key %s",
                   NAME (change->key + strlen (PREFIX)));
}

int
metadata_set (struct store *store, const char *name,
              enum store_open_flags flags, const char *key, const char *value,
              const struct operation *operation, struct vmdk_error *err)
{
  struct change change = { .value = value };

  with_prefix (change.key, key);
  if (change.key[strlen (PREFIX)] == '\0')
    return fail (err, ERR_ARGUMENT, "a key cannot be empty");
  return link_edit (store, name, flags, operation, set, &change, err);
}

int
metadata_delete (struct store *store, const char *name,
                 enum store_open_flags flags, const char *key,
                 const struct operation *operation, struct vmdk_error *err)
{
  struct change change;

  with_prefix (change.key, key);
  return link_edit (store, name, flags, operation, delete, &change, err);
}
