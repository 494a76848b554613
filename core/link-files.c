/* SPDX-License-Identifier: BSD-3-Clause */

/* Which files a link has, and removing them.  See link-files.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "forest.h"
#include "link-edit.h"
#include "link-files-parts.h"

DEFINE_VECTOR (media_list, struct media *)
DEFINE_VECTOR (child_list, char *)

void
files_report_free (struct files_report *report)
{
  for (size_t i = 0; i < report->nr_files; i++) {
    free (report->files[i].old);
    free (report->files[i].new);
  }
  for (size_t i = 0; i < report->nr_children; i++)
    free (report->children[i]);
  free (report->files);
  free (report->children);
  *report = (struct files_report){ 0 };
}

/* -- Which files there are ---------------------------------------------- */

int
files_add (struct file_list *files, const char *old, const char *new,
           struct vmdk_error *err)
{
  struct renamed_file file = { .old = NULL };

  for (size_t i = 0; i < files->len; i++)
    if (strcmp (files->ptr[i].old, old) == 0)
      return 0;
  file.old = strdup (old);
  file.new = new ? strdup (new) : NULL;
  if (file.old && (!new || file.new) && file_list_append (files, file) == 0)
    return 0;
  free (file.old);
  free (file.new);
  return fail_memory (err);
}

const char *
files_own (const struct extent_line *line, const struct vmdk_log *log)
{
  const char *name = line->name ? store_plain_name (line->name) : NULL;

  if (!name)
    return NULL;
  if (line->type != EXTENT_VMFSRDM && line->type != EXTENT_VMFSRAW
      && store_name_is_inside (name))
    return name;
  log_warning (log, "%s: is not in the link's folder, and stays as it is",
               NAME (line->name));
  return NULL;
}

const char *
files_tracking (const struct descriptor *d)
{
  const char *path = descriptor_get (d, CHANGE_TRACKING_KEY);

  return path && store_name_is_inside (store_plain_name (path))
           ? store_plain_name (path)
           : NULL;
}

int
files_is_there (struct store *store, const char *name, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media =
    store_open (store, name, STORE_FROM_FILE, err);

  return media ? 1 : err->kind == ERR_MISSING ? 0 : -1;
}

/* -- Children ----------------------------------------------------------- */

int
files_find_children (struct store *store, const char *name,
                     const struct operation *operation,
                     struct files_report *report, struct vmdk_error *err)
{
  struct child_list children = VECTOR_EMPTY;
  struct forest forest;
  int r = 0;

  if (forest_read (store, operation, &forest, err) == -1)
    return -1;
  for (size_t i = 0; r == 0 && i < forest.nr_links; i++) {
    const struct forest_link *link = &forest.links[i];
    char *copy;

    if (link->outside || link->parent == FOREST_NONE
        || strcmp (forest.links[link->parent].name, name) != 0)
      continue;
    copy = strdup (link->name);
    if (!copy || child_list_append (&children, copy) == -1) {
      free (copy);
      r = fail_memory (err);
    }
  }
  forest_free (&forest);
  report->children = children.ptr;
  report->nr_children = children.len;
  return r;
}

/* -- Removing ----------------------------------------------------------- */

/* The line of an extent that has the descriptor in it can have an old name:
 * of a file that is somebody else's by now.
 */
static int
list_files (const char *name, const struct descriptor *d, bool embedded,
            const struct operation *operation, struct file_list *files,
            struct vmdk_error *err)
{
  for (size_t i = embedded; i < descriptor_nr_extents (d); i++) {
    const char *file =
      files_own (descriptor_extent (d, i), &operation->rules.open.log);

    if (file && strcmp (file, name) != 0
        && files_add (files, file, NULL, err) == -1)
      return -1;
  }
  if (files_tracking (d)
      && files_add (files, files_tracking (d), NULL, err) == -1)
    return -1;
  return files_add (files, name, NULL, err);
}

/* Nobody uses the file, and nobody begins to: MEDIA keeps the lock. */
static int
lock_file (struct store *store, const char *name,
           const struct operation *operation, struct media_list *media,
           struct vmdk_error *err)
{
  char holder[512];
  struct media *file;

  if (store_lock_holder (store, name, holder, sizeof holder, err) == -1)
    return -1;
  if (holder[0] && operation->rules.open.lock)
    return fail (err, ERR_LOCKED, "%s", holder);
  file = store_open (store, name, STORE_FROM_FILE | STORE_WRITABLE, err);
  if (!file)
    return err->kind == ERR_MISSING ? 0 : -1;
  if (media_list_append (media, file) == -1) {
    media_close (file);
    return fail_memory (err);
  }
  return operation->rules.open.lock ? media_lock (file, MEDIA_LOCK_WRITE, err)
                                    : 0;
}

static int
lock_files (struct store *store, const struct file_list *files,
            const struct operation *operation, struct media_list *media,
            struct vmdk_error *err)
{
  for (size_t i = 0; i < files->len; i++)
    if (lock_file (store, files->ptr[i].old, operation, media, err) == -1)
      return fail_prefix (err, "%s", NAME (files->ptr[i].old));
  return 0;
}

int
files_remove (struct store *store, const char *name, struct vmdk_error *err)
{
  if (store_remove (store, name, err) == 0 || err->kind == ERR_MISSING)
    return 0;
  return fail_prefix (err, "%s", NAME (name));
}

/* The last of them, the descriptor, when the others are gone for good. */
static int
remove_files (struct store *store, const struct file_list *files,
              struct vmdk_error *err)
{
  for (size_t i = 0; i < files->len; i++)
    if ((i + 1 == files->len && store_flush (store, err) == -1)
        || files_remove (store, files->ptr[i].old, err) == -1)
      return -1;
  return store_flush (store, err);
}

static int
unlink_files (struct store *store, const struct file_list *files,
              const struct operation *operation, struct vmdk_error *err)
{
  struct media_list media = VECTOR_EMPTY;
  int r = lock_files (store, files, operation, &media, err);

  if (r == 0 && !operation->dry_run)
    r = remove_files (store, files, err);
  for (size_t i = 0; i < media.len; i++)
    media_close (media.ptr[i]);
  media_list_reset (&media);
  return r;
}

int
disk_unlink (struct store *store, const char *name, bool force,
             const struct operation *operation, struct files_report *report,
             struct vmdk_error *err)
{
  CLEANUP_DESCRIPTOR struct descriptor *d = NULL;
  struct file_list files = VECTOR_EMPTY;
  bool embedded;
  int r;

  *report = (struct files_report){ 0 };
  name = store_plain_name (name);
  d = link_look (store, name, STORE_FROM_FILE, operation, &embedded, err);
  if (!d || files_find_children (store, name, operation, report, err) == -1)
    return -1;
  if (report->nr_children > 0 && !force)
    return fail (err, ERR_ARGUMENT,
                 "%s: is the parent of %s, which cannot be read without it: "
                 "commit or rebase that first, or remove this one all the "
                 "same with --force",
                 NAME (name), NAME (report->children[0]));
  r = list_files (name, d, embedded, operation, &files, err);
  report->files = files.ptr;
  report->nr_files = files.len;
  return r == -1 ? -1 : unlink_files (store, &files, operation, err);
}
