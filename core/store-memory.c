/* SPDX-License-Identifier: BSD-3-Clause */

/* A table of names and bytes, for tests and fuzzing.  See store.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "media-memory.h"
#include "store.h"
#include "vector.h"

struct entry {
  char *name;                 /* owned */
  struct memory_bytes *bytes; /* one use */
};

DEFINE_VECTOR (entry_list, struct entry)

struct store_memory {
  struct store store;
  pthread_mutex_t lock;
  struct entry_list entries; /* under lock */
};

static void
entry_reset (struct entry *entry)
{
  free (entry->name);
  memory_bytes_free (entry->bytes);
}

/* With the lock held, as for the next two. */
static struct entry *
find (struct store_memory *memory, const char *name)
{
  size_t i;

  for (i = 0; i < memory->entries.len; i++)
    if (strcmp (memory->entries.ptr[i].name, name) == 0)
      return &memory->entries.ptr[i];
  return NULL;
}

/* Takes over BYTES, also on failure. */
static int
add (struct store_memory *memory, const char *name, struct memory_bytes *bytes,
     struct vmdk_error *err)
{
  struct entry entry = { .name = strdup (name), .bytes = bytes };

  if (entry.name && entry_list_append (&memory->entries, entry) == 0)
    return 0;
  entry_reset (&entry);
  return fail_memory (err);
}

static void
drop (struct store_memory *memory, struct entry *entry)
{
  const struct entry *end = memory->entries.ptr + memory->entries.len;

  entry_reset (entry);
  memmove (entry, entry + 1, (size_t) (end - entry - 1) * sizeof *entry);
  memory->entries.len--;
}

static struct media *
memory_open (struct store *store, const char *name,
             enum store_open_flags flags, struct vmdk_error *err)
{
  struct store_memory *memory = (struct store_memory *) store;
  LOCK_FOR_SCOPE (&memory->lock);
  struct entry *entry = find (memory, name);

  if (!entry) {
    fail (err, ERR_MISSING, "no such file");
    return NULL;
  }
  return memory_bytes_open (entry->bytes, name, flags & STORE_WRITABLE, err);
}

static int
fail_exists (struct vmdk_error *err)
{
  fail (err, ERR_ARGUMENT, "exists already");
  err->errnum = EEXIST;
  return -1;
}

static struct media *
memory_create (struct store *store, const char *name, unsigned mode,
               struct vmdk_error *err)
{
  struct store_memory *memory = (struct store_memory *) store;
  LOCK_FOR_SCOPE (&memory->lock);
  struct memory_bytes *bytes;
  struct media *media;

  (void) mode;
  if (find (memory, name)) {
    fail_exists (err);
    return NULL;
  }
  bytes = memory_bytes_new (NULL, 0, err);
  if (!bytes || add (memory, name, bytes, err) == -1)
    return NULL;
  media = memory_bytes_open (bytes, name, true, err);
  if (!media)
    drop (memory, find (memory, name));
  return media;
}

static int
memory_remove (struct store *store, const char *name, struct vmdk_error *err)
{
  struct store_memory *memory = (struct store_memory *) store;
  LOCK_FOR_SCOPE (&memory->lock);
  struct entry *entry = find (memory, name);

  if (!entry)
    return fail (err, ERR_MISSING, "no such file");
  drop (memory, entry);
  return 0;
}

static int
memory_rename (struct store *store, const char *from, const char *to,
               struct vmdk_error *err)
{
  struct store_memory *memory = (struct store_memory *) store;
  LOCK_FOR_SCOPE (&memory->lock);
  CLEANUP_FREE char *name = strdup (to);
  struct entry *source = find (memory, from);
  struct entry *target = find (memory, to);
  char *old;

  if (!source)
    return fail (err, ERR_MISSING, "no such file");
  if (!name)
    return fail_memory (err);
  if (source == target)
    return 0;
  old = source->name;
  source->name = steal_ptr (&name);
  free (old);
  if (target)
    drop (memory, target);
  return 0;
}

/* With the lock of STORE held by nobody: another may be wanted next. */
static struct memory_bytes *
bytes_of (struct store_memory *memory, const char *name)
{
  LOCK_FOR_SCOPE (&memory->lock);
  struct entry *entry = find (memory, name);

  return entry ? memory_bytes_use (entry->bytes) : NULL;
}

static int
memory_link (struct store *store, const char *name, struct store *to,
             const char *to_name, struct vmdk_error *err)
{
  struct store_memory *target = (struct store_memory *) to;
  CLEANUP_MEMORY_BYTES struct memory_bytes *bytes =
    bytes_of ((struct store_memory *) store, name);

  if (!bytes)
    return fail (err, ERR_MISSING, "no such file");

  LOCK_FOR_SCOPE (&target->lock);
  if (find (target, to_name))
    return fail_exists (err);
  return add (target, to_name, steal_ptr (&bytes), err);
}

static int
memory_move (struct store *store, const char *name, struct store *to,
             const char *to_name, struct vmdk_error *err)
{
  struct store_memory *memory = (struct store_memory *) store;

  if (store != to)
    return fail (err, ERR_UNSUPPORTED, "another store");
  {
    LOCK_FOR_SCOPE (&memory->lock);
    if (find (memory, to_name))
      return fail_exists (err);
  }
  return memory_rename (store, name, to_name, err);
}

/* Sets *NAME to a copy, or to NULL at the end. */
static int
nth_name (struct store_memory *memory, size_t n, char **name,
          struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&memory->lock);

  *name = NULL;
  if (n >= memory->entries.len)
    return 0;
  *name = strdup (memory->entries.ptr[n].name);
  return *name ? 0 : fail_memory (err);
}

/* VISIT may open what it was given, so it is called without the lock. */
static int
memory_list (struct store *store,
             int (*visit) (void *opaque, const char *name,
                           struct vmdk_error *err),
             void *opaque, struct vmdk_error *err)
{
  size_t i;

  for (i = 0;; i++) {
    CLEANUP_FREE char *name = NULL;

    if (nth_name ((struct store_memory *) store, i, &name, err) == -1)
      return -1;
    if (!name)
      return 0;
    if (visit (opaque, name, err) == -1)
      return -1;
  }
}

static void
memory_close (struct store *store)
{
  struct store_memory *memory = (struct store_memory *) store;
  size_t i;

  for (i = 0; i < memory->entries.len; i++)
    entry_reset (&memory->entries.ptr[i]);
  entry_list_reset (&memory->entries);
  pthread_mutex_destroy (&memory->lock);
  free (store->name);
  free (memory);
}

static const struct store_ops memory_ops = {
  .open = memory_open,
  .list = memory_list,
  .create = memory_create,
  .remove = memory_remove,
  .rename = memory_rename,
  .link = memory_link,
  .move = memory_move,
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
  pthread_mutex_init (&memory->lock, NULL);
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
  struct memory_bytes *copy = memory_bytes_new (bytes, count, err);
  LOCK_FOR_SCOPE (&memory->lock);
  struct entry *old = find (memory, name);

  if (!copy)
    return -1;
  if (!old)
    return add (memory, name, copy, err);
  memory_bytes_free (old->bytes);
  old->bytes = copy;
  return 0;
}
