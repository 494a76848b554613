/* SPDX-License-Identifier: BSD-3-Clause */

/* A table of names and bytes, for tests and fuzzing.  See store.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "store.h"
#include "vector.h"

/* Each entry is a whole medium, whose name is the entry's; what open gives
 * are slices of it.
 */
DEFINE_VECTOR (media_list, struct media *)

struct store_memory {
  struct store store;
  struct media_list entries; /* owned */
};

static struct media **
find (struct store_memory *memory, const char *name)
{
  size_t i;

  for (i = 0; i < memory->entries.len; i++)
    if (strcmp (memory->entries.ptr[i]->name, name) == 0)
      return &memory->entries.ptr[i];
  return NULL;
}

static struct media *
memory_open (struct store *store, const char *name,
             enum store_open_flags flags, struct vmdk_error *err)
{
  struct media **entry = find ((struct store_memory *) store, name);

  (void) flags;
  if (!entry) {
    fail (err, ERR_MISSING, "no such file");
    return NULL;
  }
  return media_slice_new (*entry, name, 0, (*entry)->size, err);
}

static int
memory_list (struct store *store,
             int (*visit) (void *opaque, const char *name,
                           struct vmdk_error *err),
             void *opaque, struct vmdk_error *err)
{
  const struct store_memory *memory = (struct store_memory *) store;
  size_t i;

  for (i = 0; i < memory->entries.len; i++)
    if (visit (opaque, memory->entries.ptr[i]->name, err) == -1)
      return -1;
  return 0;
}

static void
memory_close (struct store *store)
{
  struct store_memory *memory = (struct store_memory *) store;
  size_t i;

  for (i = 0; i < memory->entries.len; i++)
    media_close (memory->entries.ptr[i]);
  media_list_reset (&memory->entries);
  free (store->name);
  free (memory);
}

static const struct store_ops memory_ops = {
  .open = memory_open,
  .list = memory_list,
  .close = memory_close,
};

struct store *
store_memory_new (const char *name, struct vmdk_error *err)
{
  CLEANUP_STORE struct store *store = NULL;
  struct store_memory *memory = calloc (1, sizeof *memory);

  if (!memory) {
    fail_memory (err);
    return NULL;
  }
  store = &memory->store;
  store->ops = &memory_ops;
  store->name = strdup (name);
  if (!store->name) {
    fail_memory (err);
    return NULL;
  }
  return steal_ptr (&store);
}

int
store_memory_add (struct store *store, const char *name, const void *bytes,
                  size_t count, struct vmdk_error *err)
{
  struct store_memory *memory = (struct store_memory *) store;
  CLEANUP_MEDIA struct media *media = NULL;
  struct media **old;

  media = media_memory_new (name, bytes, count, err);
  if (!media)
    return -1;
  old = find (memory, name);
  if (old) {
    media_close (*old);
    *old = steal_ptr (&media);
    return 0;
  }
  if (media_list_append (&memory->entries, media) == -1)
    return fail_memory (err);
  (void) steal_ptr (&media);
  return 0;
}
