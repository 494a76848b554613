/* SPDX-License-Identifier: BSD-3-Clause */

/* The store, its media and the record.  See store-fault.h; replay.c makes
 * power cuts of the record.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "record.h"

struct fault_media {
  struct media media;
  struct fault_store *store; /* borrowed */
  unsigned file;
  bool flush_failed; /* under the store's lock */
};

/* -- Faults and the record, with the lock held -------------------------- */

/* Whether the fault strikes now. */
static bool
strikes (struct fault_store *store, enum fault_kind kind)
{
  const struct fault *fault = &store->fault;
  bool hit;

  if (fault->nth == 0 || !(fault->kinds & kind))
    return false;
  store->nr_counted++;
  hit = store->nr_counted == fault->nth
        || (fault->lasting && store->nr_counted > fault->nth);
  store->nr_hits += hit;
  return hit;
}

static int
check_fault (struct fault_store *store, enum fault_kind kind, const char *what,
             struct vmdk_error *err)
{
  return strikes (store, kind)
           ? fail_errno (err, store->fault.errnum, "%s", what)
           : 0;
}

static void
record (struct fault_store *store, struct op op)
{
  if (op_list_append (&store->ops, op) == -1)
    abort ();
}

static int
check_limit (const struct fault_store *store, uint64_t end,
             struct vmdk_error *err)
{
  return end > store->limit ? fail_errno (err, ENOSPC, "grow") : 0;
}

static struct file *
file_of (struct media *media)
{
  const struct fault_media *m = (struct fault_media *) media;

  return m->store->files.ptr[m->file];
}

/* -- Media -------------------------------------------------------------- */

static int
fault_pread (struct media *media, void *buf, size_t count, uint64_t offset,
             struct vmdk_error *err)
{
  struct fault_store *store = ((struct fault_media *) media)->store;
  LOCK_FOR_SCOPE (&store->lock);
  const struct content *live = &file_of (media)->live;

  if (check_fault (store, FAULT_READ, "pread", err) == -1)
    return -1;
  if (!range_inside (offset, count, live->size))
    return fail (err, ERR_DAMAGED, "the file became shorter");
  content_read (live, buf, count, offset);
  return 0;
}

/* Write and record it, so much of it as there is. */
static void
write_live (struct media *media, const void *buf, size_t count,
            uint64_t offset)
{
  struct fault_media *m = (struct fault_media *) media;
  uint8_t *copy;

  if (count == 0)
    return;
  copy = malloc (count);
  if (!copy)
    abort ();
  memcpy (copy, buf, count);
  content_write (&file_of (media)->live, buf, count, offset);
  record (m->store, (struct op){ .kind = OP_WRITE,
                                 .file = m->file,
                                 .offset = offset,
                                 .count = count,
                                 .data = copy });
}

static int
fault_pwrite (struct media *media, const void *buf, size_t count,
              uint64_t offset, struct vmdk_error *err)
{
  struct fault_store *store = ((struct fault_media *) media)->store;
  LOCK_FOR_SCOPE (&store->lock);

  if (check_limit (store, offset + count, err) == -1)
    return -1;
  if (check_fault (store, FAULT_WRITE, "pwrite", err) == -1) {
    const uint64_t middle = (offset + count / 2) / SECTOR_SIZE * SECTOR_SIZE;

    write_live (media, buf, middle > offset ? middle - offset : 0, offset);
    return -1;
  }
  write_live (media, buf, count, offset);
  return 0;
}

static int
fault_flush (struct media *media, struct vmdk_error *err)
{
  struct fault_media *m = (struct fault_media *) media;
  LOCK_FOR_SCOPE (&m->store->lock);

  if (m->flush_failed)
    return fail_errno (err, EIO, "flush, after an earlier one failed");
  if (check_fault (m->store, FAULT_FLUSH, "flush", err) == -1) {
    m->flush_failed = m->store->flush_failed = true;
    return -1;
  }
  record (m->store, (struct op){ .kind = OP_FLUSH, .file = m->file });
  return 0;
}

static void
resize_live (struct media *media, uint64_t size)
{
  struct fault_media *m = (struct fault_media *) media;

  content_resize (&file_of (media)->live, size);
  record (m->store,
          (struct op){ .kind = OP_RESIZE, .file = m->file, .offset = size });
}

static int
fault_reserve (struct media *media, uint64_t offset, uint64_t count,
               struct vmdk_error *err)
{
  struct fault_store *store = ((struct fault_media *) media)->store;
  LOCK_FOR_SCOPE (&store->lock);

  if (check_fault (store, FAULT_RESERVE, "reserve", err) == -1
      || check_limit (store, offset + count, err) == -1)
    return -1;
  if (offset + count > file_of (media)->live.size)
    resize_live (media, offset + count);
  return 0;
}

static int
fault_truncate (struct media *media, uint64_t size, struct vmdk_error *err)
{
  struct fault_store *store = ((struct fault_media *) media)->store;
  LOCK_FOR_SCOPE (&store->lock);

  if (check_fault (store, FAULT_TRUNCATE, "truncate", err) == -1
      || check_limit (store, size, err) == -1)
    return -1;
  resize_live (media, size);
  return 0;
}

static int
fault_punch (struct media *media, uint64_t offset, uint64_t count,
             struct vmdk_error *err)
{
  struct fault_media *m = (struct fault_media *) media;
  LOCK_FOR_SCOPE (&m->store->lock);

  if (check_fault (m->store, FAULT_PUNCH, "punch", err) == -1)
    return -1;
  content_write (&file_of (media)->live, NULL, count, offset);
  record (m->store, (struct op){ .kind = OP_WRITE,
                                 .file = m->file,
                                 .offset = offset,
                                 .count = count });
  return 0;
}

static int
fault_map (struct media *media, uint64_t offset, uint64_t count, bool *hole,
           uint64_t *length, struct vmdk_error *err)
{
  struct fault_store *store = ((struct fault_media *) media)->store;
  LOCK_FOR_SCOPE (&store->lock);
  const struct content *live = &file_of (media)->live;
  uint64_t at = offset;

  if (!range_inside (offset, count, live->size))
    return fail (err, ERR_DAMAGED, "the file became shorter");
  *hole = content_is_hole (live, offset);
  do
    at = (at / PAGE_BYTES + 1) * PAGE_BYTES;
  while (at < offset + count && content_is_hole (live, at) == *hole);
  *length = min_u64 (count, at - offset);
  return 0;
}

static void
fault_close_media (struct media *media)
{
  free (media->name);
  free ((struct fault_media *) media);
}

static const struct media_ops read_only_ops = {
  .pread = fault_pread,
  .map = fault_map,
  .close = fault_close_media,
};

static const struct media_ops writable_ops = {
  .pread = fault_pread,
  .pwrite = fault_pwrite,
  .flush = fault_flush,
  .reserve = fault_reserve,
  .truncate = fault_truncate,
  .punch = fault_punch,
  .map = fault_map,
  .close = fault_close_media,
};

static struct media *
media_new (struct fault_store *store, const char *name, unsigned file,
           bool writable)
{
  struct fault_media *m = calloc (1, sizeof *m);

  if (!m)
    abort ();
  m->media.ops = writable ? &writable_ops : &read_only_ops;
  m->media.name = strdup (name);
  m->media.size = store->files.ptr[file]->live.size;
  m->media.is_regular = true;
  m->media.identity.device = UINT64_MAX;
  m->media.identity.inode = (uintptr_t) store->files.ptr[file];
  m->store = store;
  m->file = file;
  return &m->media;
}

/* -- Names -------------------------------------------------------------- */

void
names_free (struct name_table *names)
{
  for (size_t i = 0; i < names->len; i++)
    free (names->ptr[i].name);
  name_table_reset (names);
}

static struct name_entry *
find_name (const struct name_table *names, const char *name)
{
  for (size_t i = 0; i < names->len; i++)
    if (strcmp (names->ptr[i].name, name) == 0)
      return &names->ptr[i];
  return NULL;
}

static void
put_name (struct name_table *names, const char *name, unsigned file)
{
  struct name_entry *old = find_name (names, name);
  const struct name_entry entry = { old ? NULL : strdup (name), file };

  if (old)
    old->file = file;
  else if (!entry.name || name_table_append (names, entry) == -1)
    abort ();
}

static void
remove_name (struct name_table *names, const char *name)
{
  struct name_entry *old = find_name (names, name);

  free (old->name);
  *old = names->ptr[--names->len];
}

void
names_apply (struct name_table *names, const struct op *op)
{
  unsigned file;

  switch (op->kind) {
  case OP_CREATE:
    put_name (names, op->name, op->file);
    break;
  case OP_REMOVE:
    remove_name (names, op->name);
    break;
  case OP_RENAME:
    file = find_name (names, op->name)->file;
    remove_name (names, op->name);
    put_name (names, op->to, file);
    break;
  default:
    break;
  }
}

struct name_table
names_copy (const struct name_table *from)
{
  struct name_table copy = VECTOR_EMPTY;

  for (size_t i = 0; i < from->len; i++)
    put_name (&copy, from->ptr[i].name, from->ptr[i].file);
  return copy;
}

/* -- The store ---------------------------------------------------------- */

static unsigned
add_file (struct fault_store *store)
{
  struct file *file = calloc (1, sizeof *file);

  if (!file || file_list_append (&store->files, file) == -1)
    abort ();
  return store->files.len - 1;
}

static void
change_name (struct fault_store *store, enum op_kind kind, const char *name,
             const char *to, unsigned file)
{
  const struct op op = { .kind = kind,
                         .file = file,
                         .name = name ? strdup (name) : NULL,
                         .to = to ? strdup (to) : NULL };

  names_apply (&store->names, &op);
  record (store, op);
}

static struct media *
fault_open (struct store *s, const char *name, enum store_open_flags flags,
            struct vmdk_error *err)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);
  const struct name_entry *entry = find_name (&store->names, name);

  if (!entry) {
    fail (err, ERR_MISSING, "no such file");
    return NULL;
  }
  return media_new (store, name, entry->file, flags & STORE_WRITABLE);
}

static struct media *
fault_create (struct store *s, const char *name, unsigned mode,
              struct vmdk_error *err)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);
  unsigned file;

  (void) mode;
  if (check_fault (store, FAULT_NAMES, "create", err) == -1)
    return NULL;
  if (find_name (&store->names, name)) {
    fail_errno (err, EEXIST, "create");
    return NULL;
  }
  file = add_file (store);
  change_name (store, OP_CREATE, name, NULL, file);
  return media_new (store, name, file, true);
}

static int
fault_remove (struct store *s, const char *name, struct vmdk_error *err)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);

  if (check_fault (store, FAULT_NAMES, "remove", err) == -1)
    return -1;
  if (!find_name (&store->names, name))
    return fail (err, ERR_MISSING, "no such file");
  change_name (store, OP_REMOVE, name, NULL, 0);
  return 0;
}

static int
fault_rename (struct store *s, const char *from, const char *to,
              struct vmdk_error *err)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);

  if (check_fault (store, FAULT_NAMES, "rename", err) == -1)
    return -1;
  if (!find_name (&store->names, from))
    return fail (err, ERR_MISSING, "no such file");
  if (strcmp (from, to) != 0)
    change_name (store, OP_RENAME, from, to, 0);
  return 0;
}

static bool no_links;

void
store_fault_forbid_links (bool forbidden)
{
  no_links = forbidden;
}

static int
fault_link (struct store *s, const char *name, struct store *to,
            const char *to_name, struct vmdk_error *err)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);
  const struct name_entry *entry = find_name (&store->names, name);

  if (s != to || no_links)
    return fail (err, ERR_UNSUPPORTED, "no second names");
  if (check_fault (store, FAULT_NAMES, "link", err) == -1)
    return -1;
  if (!entry)
    return fail (err, ERR_MISSING, "no such file");
  if (find_name (&store->names, to_name))
    return fail_errno (err, EEXIST, "link");
  change_name (store, OP_CREATE, to_name, NULL, entry->file);
  return 0;
}

static int
fault_move (struct store *s, const char *name, struct store *to,
            const char *to_name, struct vmdk_error *err)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);

  if (s != to)
    return fail (err, ERR_UNSUPPORTED, "another store");
  if (check_fault (store, FAULT_NAMES, "move", err) == -1)
    return -1;
  if (!find_name (&store->names, name))
    return fail (err, ERR_MISSING, "no such file");
  if (find_name (&store->names, to_name))
    return fail_errno (err, EEXIST, "move");
  change_name (store, OP_RENAME, name, to_name, 0);
  return 0;
}

static int
fault_flush_names (struct store *s, struct vmdk_error *err)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);

  if (check_fault (store, FAULT_NAMES, "flush of the folder", err) == -1)
    return -1;
  change_name (store, OP_FLUSH_NAMES, NULL, NULL, 0);
  return 0;
}

/* The tests have few names and change none while they list. */
static int
fault_list (struct store *s,
            int (*visit) (void *opaque, const char *name,
                          struct vmdk_error *err),
            void *opaque, struct vmdk_error *err)
{
  const struct fault_store *store = (struct fault_store *) s;

  for (size_t i = 0; i < store->names.len; i++)
    if (visit (opaque, store->names.ptr[i].name, err) == -1)
      return -1;
  return 0;
}

static void
fault_close (struct store *s)
{
  struct fault_store *store = (struct fault_store *) s;

  for (size_t i = 0; i < store->files.len; i++) {
    content_free (&store->files.ptr[i]->live);
    content_free (&store->files.ptr[i]->first);
    free (store->files.ptr[i]);
  }
  for (size_t i = 0; i < store->ops.len; i++) {
    free (store->ops.ptr[i].data);
    free (store->ops.ptr[i].name);
    free (store->ops.ptr[i].to);
  }
  names_free (&store->names);
  names_free (&store->first_names);
  file_list_reset (&store->files);
  op_list_reset (&store->ops);
  pthread_mutex_destroy (&store->lock);
  free (store->store.name);
  free (store);
}

static const struct store_ops fault_ops = {
  .open = fault_open,
  .list = fault_list,
  .create = fault_create,
  .remove = fault_remove,
  .rename = fault_rename,
  .link = fault_link,
  .move = fault_move,
  .flush = fault_flush_names,
  .close = fault_close,
};

struct store *
store_fault_new (void)
{
  struct fault_store *store = calloc (1, sizeof *store);

  if (!store)
    abort ();
  store->store.ops = &fault_ops;
  store->store.name = strdup ("memory");
  store->limit = UINT64_MAX;
  pthread_mutex_init (&store->lock, NULL);
  return &store->store;
}

void
store_fault_adopt (struct store *s, const char *name, struct content content)
{
  struct fault_store *store = (struct fault_store *) s;
  const unsigned i = add_file (store);

  store->files.ptr[i]->live = content;
  store->files.ptr[i]->first = content_copy (&content);
  put_name (&store->names, name, i);
  put_name (&store->first_names, name, i);
}

void
store_fault_adopt_name (struct store *s, const char *name, const char *other)
{
  struct fault_store *store = (struct fault_store *) s;
  const unsigned file = find_name (&store->names, other)->file;

  put_name (&store->names, name, file);
  put_name (&store->first_names, name, file);
}

void
store_fault_add (struct store *store, const char *name, const void *bytes,
                 size_t count)
{
  struct content content = { 0 };

  content_write (&content, bytes, count, 0);
  store_fault_adopt (store, name, content);
}

void
store_fault_set (struct store *s, const struct fault *fault)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);

  store->fault = *fault;
  store->nr_counted = 0;
  store->nr_hits = 0;
}

uint64_t
store_fault_hits (struct store *s)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);

  return store->nr_hits;
}

bool
store_fault_flush_failed (struct store *s)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);

  return store->flush_failed;
}

void
store_fault_limit (struct store *s, uint64_t bytes)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);

  store->limit = bytes;
}

size_t
store_fault_nr_ops (struct store *s)
{
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);

  return store->ops.len;
}

void
store_fault_describe (struct store *s, size_t i, char *text, size_t size)
{
  static const char *const kinds[] = {
    [OP_WRITE] = "write",
    [OP_RESIZE] = "resize",
    [OP_FLUSH] = "flush",
    [OP_CREATE] = "create",
    [OP_REMOVE] = "remove",
    [OP_RENAME] = "rename",
    [OP_FLUSH_NAMES] = "flush of names",
  };
  struct fault_store *store = (struct fault_store *) s;
  LOCK_FOR_SCOPE (&store->lock);
  const struct op *op = &store->ops.ptr[i];

  snprintf (text, size, "%s%s, file %u, offset %" PRIu64 ", count %" PRIu64,
            op->kind == OP_WRITE && !op->data ? "zero-" : "", kinds[op->kind],
            op->file, op->offset, op->count);
}
