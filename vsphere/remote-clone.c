/* SPDX-License-Identifier: BSD-3-Clause */

/* A local disk becomes one of the server's.  See remote-manager.h.
 *
 * Servers make disks of their own format only themselves.  What they all read
 * is a hosted sparse disk beside it, which they copy: so one is put there, for
 * a while.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "remote-manager.h"
#include "remote-parts.h"

struct work {
  struct remote *remote;
  const struct remote_clone *clone;
  struct disk_manager manager;
  struct disk_manager tidy; /* the same, that nobody stops */
  char *target;             /* where the copy shall be */
  char *upload;             /* what is put there for a while */
  char *made;               /* the copy, until it takes the target's place */
};

void
remote_clone_name (char name[REMOTE_CLONE_NAME_SIZE])
{
  uint64_t random;

  if (getrandom (&random, sizeof random, GRND_NONBLOCK) != sizeof random)
    random = (uint64_t) time (NULL);
  snprintf (name, REMOTE_CLONE_NAME_SIZE, "vmdkit-%016llx.vmdk",
            (unsigned long long) random);
}

static void
work_free (struct work *w)
{
  free (w->target);
  free (w->upload);
  free (w->made);
}

/* NAME in the target's folder. */
static char *
beside (const char *target, const char *prefix, const char *name,
        struct vmdk_error *err)
{
  const char *slash = strrchr (target, '/');
  const char *bracket = strstr (target, "] ");
  const char *end = slash ? slash + 1 : bracket + 2;
  char *text;

  if (asprintf (&text, "%.*s%s%s", (int) (end - target), target, prefix, name)
      != -1)
    return text;
  fail_memory (err);
  return NULL;
}

static int
make_folder (struct work *w, struct vmdk_error *err)
{
  const char *slash = strrchr (w->target, '/');
  CLEANUP_FREE char *folder = NULL;

  if (!slash)
    return 0;
  folder = strndup (w->target, (size_t) (slash - w->target));
  if (!folder)
    return fail_memory (err);
  return disk_manager_make_folder (&w->manager, folder, err);
}

static bool
is_there (struct work *w)
{
  char uuid[DISK_UUID_SIZE];
  struct vmdk_error err;

  return disk_manager_uuid (&w->manager, w->target, uuid, &err) == 0
         || err.kind != ERR_MISSING;
}

static int
start (struct work *w, const char *name, const struct task_watch *watch,
       struct vmdk_error *err)
{
  const struct remote_clone *clone = w->clone;

  if (remote_manager (w->remote, clone->path, watch, &w->manager, &w->target,
                      err)
      == -1)
    return -1;
  w->tidy = w->manager;
  w->tidy.watch = (struct task_watch){ 0 };
  w->upload = beside (w->target, "", name, err);
  w->made = w->upload ? beside (w->target, "new-", name, err) : NULL;
  if (!w->made)
    return -1;
  if (!w->remote->folders && remote_start_folders (w->remote, err) == -1)
    return -1;
  return make_folder (w, err);
}

static void
say_left (struct work *w, const char *what, const struct vmdk_error *why)
{
  log_warning (&w->remote->log, "%s is still there, remove it yourself: %s",
               NAME (what), why->text);
}

/* The copy is made under a name of its own, which nobody else's disk has: so
 * whatever is there after a failure is ours.
 */
static int
copy (struct work *w, struct vmdk_error *err)
{
  const struct new_disk disk = {
    .type = w->clone->type,
    .adapter = w->clone->adapter,
  };
  struct vmdk_error why;

  if (disk_manager_copy (&w->manager, w->upload, w->made, &disk, err) == 0)
    return 0;
  if (disk_manager_delete (&w->tidy, w->made, &why) == -1
      && why.kind != ERR_MISSING)
    say_left (w, w->made, &why);
  return -1;
}

static int
put_and_copy (struct work *w, struct media *media, struct vmdk_error *err)
{
  const struct task_watch *watch = &w->manager.watch;
  struct vmdk_error why;
  int r = folder_upload (w->remote->folders, w->upload, media, watch->progress,
                         watch->opaque, err);

  if (r == 0)
    r = copy (w, err);
  if (disk_manager_delete_file (&w->tidy, w->upload, &why) == -1
      && why.kind != ERR_MISSING)
    say_left (w, w->upload, &why);
  return r;
}

/* It takes the target's place.  A move never does so over a disk that is
 * there, whoever made it meanwhile.
 */
static int
move_in (struct work *w, bool replace, struct vmdk_error *err)
{
  struct vmdk_error why;
  bool removed = false;
  int r = 0;

  if (replace) {
    r = disk_manager_delete (&w->tidy, w->target, err);
    removed = r == 0;
  }
  if (r == 0)
    r = disk_manager_move (&w->tidy, w->made, w->target, err);
  if (r == 0)
    return 0;
  if (removed)
    return fail_prefix (err,
                        "the old disk is gone, and the new one is called %s",
                        NAME (w->made));
  if (disk_manager_delete (&w->tidy, w->made, &why) == -1)
    say_left (w, w->made, &why);
  return -1;
}

int
remote_clone (struct remote *remote, struct media *media, const char *name,
              const struct remote_clone *clone, const struct task_watch *watch,
              struct vmdk_error *err)
{
  __attribute__ ((cleanup (work_free))) struct work w = {
    .remote = remote,
    .clone = clone,
  };
  bool replace;

  if (start (&w, name, watch, err) == -1)
    return -1;
  replace = is_there (&w);
  if (replace && !clone->overwrite) {
    fail (err, ERR_SYSTEM, "there is a disk of that name");
    err->errnum = EEXIST;
    return -1;
  }
  if (replace && remote_check_unused (remote, clone->path, true, err) == -1)
    return -1;
  return put_and_copy (&w, media, err) == -1 ? -1 : move_in (&w, replace, err);
}
