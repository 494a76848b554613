/* SPDX-License-Identifier: BSD-3-Clause */

/* Files that take the place of others.  See replace.h. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "create.h"
#include "replace.h"
#include "siblings.h"

/* As create.c's. */
#define FILE_MODE 0644

/* -- What was there ----------------------------------------------------- */

static int
fail_exists (const char *name, struct vmdk_error *err)
{
  fail (err, ERR_ARGUMENT, "%s exists already", NAME (name));
  err->errnum = EEXIST;
  return -1;
}

static int
add_name (struct replace_names *names, const char *name,
          struct vmdk_error *err)
{
  char *copy = strdup (name);

  if (copy && replace_names_append (names, copy) == 0)
    return 0;
  free (copy);
  return fail_memory (err);
}

static void
free_names (struct replace_names *names)
{
  for (size_t i = 0; i < names->len; i++)
    free (names->ptr[i]);
  replace_names_reset (names);
}

/* Whether FILE is called like an extent of DISK: "disk-flat.vmdk".  A
 * descriptor can name any file; what was not made for it is not removed with
 * it.
 */
static bool
is_called_after (const char *file, const char *disk)
{
  const char *dot = strrchr (disk, '.');
  const size_t stem = dot ? (size_t) (dot - disk) : strlen (disk);

  return strncmp (file, disk, stem) == 0 && file[stem] == '-'
         && store_name_is_inside (file) && !strchr (file, '/');
}

static int
note_extents (struct replace *r, struct vmdk_error *err)
{
  const struct descriptor *d = r->old->descriptor;

  for (size_t i = 0; i < descriptor_nr_extents (d); i++) {
    const char *name = descriptor_extent (d, i)->name;

    if (!name || strcmp (store_plain_name (name), r->name) == 0)
      continue;
    if (!is_called_after (store_plain_name (name), r->name))
      log_warning (&r->operation->rules.open.log,
                   "%s: its extent %s stays, because it is not called like "
                   "one",
                   NAME (r->name), NAME (name));
    else if (add_name (&r->extents, store_plain_name (name), err) == -1)
      return -1;
  }
  return 0;
}

/* Something else than a disk, or a disk that is past use. */
static bool
is_no_disk (const struct vmdk_error *err)
{
  switch (err->kind) {
  case ERR_CORRUPT:
  case ERR_DAMAGED:
  case ERR_NOT_VMDK:
  case ERR_UNSUPPORTED:
  case ERR_MISSING:
  case ERR_DENIED:
    return true;
  default:
    return false;
  }
}

/* Writable, because that is what its users must not be in the way of.  Its
 * parents do not matter.
 */
static struct link *
open_old_link (struct replace *r, struct vmdk_error *err)
{
  const struct chain_rules *rules = &r->operation->rules;
  const struct link_source source = {
    .rules = &rules->open,
    .names = &rules->names,
    .store = r->store,
    .name = r->name,
    .media = store_open (r->store, r->name, STORE_WRITABLE, err),
    .writable = true,
  };

  return source.media ? link_open (&source, err) : NULL;
}

static int
open_old_disk (struct replace *r, struct vmdk_error *err)
{
  const struct open_rules *rules = &r->operation->rules.open;

  if (!rules->lock)
    return fail (err, ERR_ARGUMENT, "%s: nothing is overwritten with lock=off",
                 NAME (r->name));
  r->old = open_old_link (r, err);
  if (r->old)
    return siblings_check_no_child (r->store, r->name, r->old->descriptor,
                                    NULL, &rules->log, err)
               == -1
             ? fail_prefix (err, "%s", NAME (r->name))
             : note_extents (r, err);
  if (!is_no_disk (err))
    return -1;
  return media_lock (r->old_file, MEDIA_LOCK_WRITE, err) == -1
           ? fail_prefix (err, "%s", NAME (r->name))
           : 0;
}

static int
look_at_old (struct replace *r, bool overwrite, struct vmdk_error *err)
{
  const enum store_open_flags flags =
    overwrite ? STORE_WRITABLE : STORE_FROM_FILE;
  struct vmdk_error why;

  r->old_file = store_open (r->store, r->name, flags, &why);
  if (!r->old_file && why.kind == ERR_MISSING)
    return 0;
  if (!overwrite)
    return fail_exists (r->name, err);
  if (r->old_file)
    return 0;
  *err = why;
  return fail_prefix (err, "%s", NAME (r->name));
}

int
replace_begin (struct replace *r, struct store *store, const char *name,
               bool overwrite, struct vmdk_error *err)
{
  *r = (struct replace){ .store = store, .name = name };
  /* Cut, because a name may have been as long as names can be. */
  if (asprintf (&r->temporary, "%.200s.%08" PRIx32 ".part", name,
                random_cid (0))
      == -1) {
    r->temporary = NULL;
    return fail_memory (err);
  }
  return look_at_old (r, overwrite, err);
}

int
replace_lock (struct replace *r, const struct operation *operation,
              struct vmdk_error *err)
{
  r->operation = operation;
  return r->old_file ? open_old_disk (r, err) : 0;
}

bool
replace_touches (const struct replace *r, const struct media *media)
{
  const struct link *link = r->old;

  if (r->old_file && media_same (r->old_file, media))
    return true;
  for (size_t i = 0; link && i < link->nr_extents; i++)
    if (link->extents[i]->media && media_same (link->extents[i]->media, media))
      return true;
  return false;
}

/* -- What is made ------------------------------------------------------- */

struct media *
replace_create (struct replace *r, const char *name, struct vmdk_error *err)
{
  const char *as = name ? name : r->temporary;
  CLEANUP_MEDIA struct media *media =
    store_create (r->store, as, FILE_MODE, err);

  if (!media) {
    if (err->errnum == EEXIST)
      fail_exists (as, err);
    else
      fail_prefix (err, "%s", NAME (as));
    return NULL;
  }
  if (add_name (&r->made, as, err) == -1) {
    struct vmdk_error ignored;

    (void) !store_remove (r->store, as, &ignored);
    return NULL;
  }
  if (r->old_file && media_copy_permissions (media, r->old_file, err) == -1) {
    fail_prefix (err, "%s", NAME (as));
    return NULL;
  }
  return steal_ptr (&media);
}

/* So that nothing is overwritten by chance, the name is taken before it is
 * given away: an empty file is nobody's disk.
 */
static int
take_name (struct replace *r, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = NULL;

  if (r->old_file)
    return 0;
  media = store_create (r->store, r->name, FILE_MODE, err);
  if (media)
    return add_name (&r->made, r->name, err);
  return err->errnum == EEXIST ? fail_exists (r->name, err)
                               : fail_prefix (err, "%s", NAME (r->name));
}

/* invariant 2.  That one could not be removed does no harm to the new disk. */
static void
remove_old_extents (struct replace *r)
{
  struct vmdk_error err;

  for (size_t i = 0; i < r->extents.len; i++)
    if (store_remove (r->store, r->extents.ptr[i], &err) == -1
        && err.kind != ERR_MISSING)
      log_warning (&r->operation->rules.open.log,
                   "the old extent %s stays: %s", NAME (r->extents.ptr[i]),
                   err.text);
}

int
replace_commit (struct replace *r, struct vmdk_error *err)
{
  /* invariant 1: the names of extents too. */
  if (store_flush (r->store, err) == -1 || take_name (r, err) == -1)
    return -1;
  if (store_rename (r->store, r->temporary, r->name, err) == -1)
    return fail_prefix (err, "%s", NAME (r->temporary));
  r->renamed = r->old_file; /* what was there is gone, so the new one stays */
  if (store_flush (r->store, err) == -1)
    return -1;
  r->renamed = true;
  remove_old_extents (r);
  return 0;
}

/* invariant 3 */
static void
undo (struct replace *r, struct vmdk_error *err)
{
  struct vmdk_error ignored;
  bool told = false;

  for (size_t i = r->made.len; i-- > 0;) {
    if (store_remove (r->store, r->made.ptr[i], &ignored) == 0
        || ignored.kind == ERR_MISSING)
      continue;
    if (!told)
      fail_prefix (err, "%s could not be removed again after this",
                   NAME (r->made.ptr[i]));
    told = true;
  }
}

void
replace_end (struct replace *r, struct vmdk_error *err)
{
  if (!r->renamed)
    undo (r, err);
  link_close (r->old);
  media_close (r->old_file);
  free_names (&r->made);
  free_names (&r->extents);
  free (r->temporary);
  *r = (struct replace){ 0 };
}
