/* SPDX-License-Identifier: BSD-3-Clause */

/* From a path to a store and a name.  See place.h.
 *
 * The folder is the part of the path before its last slash.  When there is no
 * such folder, some part of it may be an archive: shorter and shorter ones
 * are tried, and what was cut off is the member.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "disk.h"
#include "place.h"

/* PATH up to its last slash, as a folder, and where the rest begins. */
static struct store *
folder_of (const char *path, const char **name, struct vmdk_error *err)
{
  const char *slash = strrchr (path, '/');
  CLEANUP_FREE char *folder =
    !slash ? strdup (".")
           : strndup (path, slash == path ? 1 : (size_t) (slash - path));

  *name = slash ? slash + 1 : path;
  if (!folder) {
    fail_memory (err);
    return NULL;
  }
  return store_dir_new (folder, err);
}

static int
set_name (struct place *place, const char *name, struct vmdk_error *err)
{
  place->name = strdup (name);
  return place->name ? 0 : fail_memory (err);
}

static int
first_disk (struct place *place, struct vmdk_error *err)
{
  char **names;
  size_t count;
  int r;

  if (disk_list (place->store, &names, &count, err) == -1)
    return -1;
  r = count ? set_name (place, names[0], err)
            : fail (err, ERR_MISSING, "there is no disk in this archive");
  disk_list_free (names, count);
  return r;
}

/* Takes over ARCHIVE.  MEMBER is "" for the first disk. */
static int
use_archive (struct place *place, struct media *archive, const char *member,
             bool lock, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = archive;

  if (lock && media_lock (media, MEDIA_LOCK_READ, err) == -1)
    return -1;
  place->store = store_tar_new (steal_ptr (&media), err);
  if (!place->store)
    return -1;
  place->flags = STORE_FROM_FILE;
  return *member ? set_name (place, member, err) : first_disk (place, err);
}

/* NAME is in place->folder, which the place keeps only for an archive. */
static int
use_file (struct place *place, const char *name, const char *member, bool lock,
          struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = NULL;

  if (*name == '\0')
    return fail (err, ERR_ARGUMENT, "this is a folder: name a disk in it");
  media = store_open (place->folder, name, STORE_FROM_USER, err);
  if (!media && err->kind != ERR_MISSING)
    return -1;
  if (media && store_tar_probe (media))
    return use_archive (place, steal_ptr (&media), member, lock, err);
  if (*member)
    return media
             ? fail (err, ERR_ARGUMENT,
                     "%s is neither a folder nor an archive", NAME (name))
             : fail (err, ERR_MISSING, "there is no folder %s", NAME (name));
  place->store = steal_ptr (&place->folder);
  place->flags = STORE_FROM_USER;
  return set_name (place, name, err);
}

int
place_open (struct place *place, const char *path, bool lock,
            struct vmdk_error *err)
{
  CLEANUP_FREE char *head = strdup (path);
  const char *name, *member = path + strlen (path);
  char *slash;

  place->text = path;
  if (!head)
    return fail_memory (err);
  if (*path == '\0')
    return fail (err, ERR_ARGUMENT, "the name of the disk is empty");
  while (!(place->folder = folder_of (head, &name, err))) {
    slash = strrchr (head, '/');
    if (err->kind != ERR_MISSING || !slash || slash == head)
      return -1;
    *slash = '\0';
    member = path + (slash - head) + 1;
  }
  return use_file (place, name, member, lock, err);
}

char *
place_hint (const struct place *from, const struct place *to,
            struct vmdk_error *err)
{
  CLEANUP_FREE char *folder = realpath (to->store->name, NULL);
  CLEANUP_FREE char *own = realpath (from->store->name, NULL);
  char *hint;

  if (to->folder) {
    fail (err, ERR_UNSUPPORTED,
          "a disk in an archive cannot be a parent: extract it first");
    return NULL;
  }
  if (!folder || !own) {
    fail_errno (err, errno, "%s",
                NAME (folder ? from->store->name : to->store->name));
    return NULL;
  }
  if (strcmp (folder, own) == 0)
    hint = strdup (to->name);
  else if (asprintf (&hint, "%s/%s", strcmp (folder, "/") == 0 ? "" : folder,
                     to->name)
           == -1)
    hint = NULL;
  if (!hint)
    fail_memory (err);
  return hint;
}

void
place_free (struct place *place)
{
  store_close (place->store);
  store_close (place->folder); /* the archive's file belongs to it */
  free (place->name);
  *place = (struct place){ 0 };
}
