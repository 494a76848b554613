/* SPDX-License-Identifier: BSD-3-Clause */

/* A server's disk as source or target of a copy.  See server.h.
 *
 * A target is first copied into a local sparse disk, which then goes to the
 * server whole: so nothing is changed there before all of the source has been
 * read.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server-parts.h"

int
server_source_open (struct server_source *source, const char *text,
                    struct operation *operation, struct convert_source *from,
                    struct vmdk_error *err)
{
  struct chain_rules *rules = &operation->rules;

  source->remote = server_remote (operation, err);
  if (!source->remote)
    return -1;
  source->disk = remote_disk_open (source->remote, text, false, err);
  if (!source->disk)
    return -1;
  rules->keep_cid = source->disk->keep_cid;
  rules->search = (const char *const *) source->disk->search;
  rules->nr_search = source->disk->nr_search;
  *from = (struct convert_source){
    .store = source->disk->store,
    .name = source->disk->name,
    .flags = source->disk->flags,
  };
  return 0;
}

void
server_source_close (struct server_source *source)
{
  remote_disk_close (source->disk);
  remote_free (source->remote);
}

/* --------------------------------------------------------------------- */
/* A target. */

/* A part of the whole work's progress, in thousandths. */
struct share {
  const struct operation *operation;
  unsigned from, to;
};

static bool
report (void *opaque, uint64_t done, uint64_t total)
{
  const struct share *share = opaque;
  const struct operation *operation = share->operation;
  const unsigned __int128 part =
    total == 0 || done > total
      ? share->to - share->from
      : (unsigned __int128) (share->to - share->from) * done / total;

  return !operation->progress
         || operation->progress (operation->opaque,
                                 share->from + (uint64_t) part, 1000);
}

/* A file in a folder of its own. */
struct scratch {
  char folder[256];
  char file[256 + REMOTE_CLONE_NAME_SIZE];
  char name[REMOTE_CLONE_NAME_SIZE];
};

static int
scratch_make (struct scratch *scratch, struct vmdk_error *err)
{
  const char *where = getenv ("TMPDIR");
  const int len =
    snprintf (scratch->folder, sizeof scratch->folder, "%s/vmdkit-XXXXXX",
              where && *where ? where : "/var/tmp");

  if (len >= (int) sizeof scratch->folder || !mkdtemp (scratch->folder)) {
    const int errnum = errno;

    scratch->folder[0] = '\0';
    return fail_errno (err, errnum, "TMPDIR: no folder for a copy");
  }
  remote_clone_name (scratch->name);
  snprintf (scratch->file, sizeof scratch->file, "%s/%s", scratch->folder,
            scratch->name);
  return 0;
}

static void
scratch_remove (struct scratch *scratch)
{
  if (!scratch->folder[0])
    return;
  unlink (scratch->file);
  rmdir (scratch->folder);
}

static int
copy_here (const struct operation *operation, struct share *share,
           const struct convert_source *from, const struct place *place,
           const struct convert_rules *rules, struct vmdk_error *err)
{
  struct operation part = *operation;
  struct convert_rules sparse = *rules;
  const struct convert_target target = {
    .store = place->store,
    .name = place->name,
  };

  part.progress = report;
  part.opaque = share;
  sparse.type = DISK_MONOLITHIC_SPARSE;
  sparse.overwrite = false;
  share->from = 0;
  share->to = 400;
  return disk_convert (&part, from, &target, &sparse, err);
}

static int
send_there (struct remote *remote, struct share *share,
            const struct scratch *local, const struct place *place,
            const struct remote_clone *clone, struct vmdk_error *err)
{
  const struct task_watch watch = { report, share };
  CLEANUP_MEDIA struct media *media =
    store_open (place->store, place->name, place->flags, err);

  if (!media)
    return -1;
  share->from = 400;
  share->to = 1000;
  return remote_clone (remote, media, local->name, clone, &watch, err);
}

/* Whoever is wrong about the server shall hear so before the work. */
static int
ask_first (struct remote *remote, const char *text, struct vmdk_error *err)
{
  const struct task_watch nobody = { NULL, NULL };
  struct disk_manager manager;
  CLEANUP_FREE char *name = NULL;

  return remote_manager (remote, text, &nobody, &manager, &name, err);
}

static int
copy_and_send (struct remote *remote, const struct operation *operation,
               const struct convert_source *from,
               const struct remote_clone *clone,
               const struct convert_rules *rules, struct vmdk_error *err)
{
  struct share share = { .operation = operation };
  struct vmdk_error late;
  __attribute__ ((cleanup (scratch_remove))) struct scratch scratch = {
    .folder = "",
  };
  CLEANUP_PLACE struct place place = { 0 };

  if (ask_first (remote, clone->path, err) == -1)
    return fail_prefix (err, "%s", NAME (clone->path));
  if (operation->dry_run)
    return 0;
  if (scratch_make (&scratch, err) == -1
      || place_open (&place, scratch.file, false, err) == -1
      || copy_here (operation, &share, from, &place, rules, err) == -1)
    return -1;
  if (send_there (remote, &share, &scratch, &place, clone, err) == -1)
    return fail_prefix (err, "%s", NAME (clone->path));
  /* it is there now, whoever wants to stop it */
  (void) operation_progress (operation, 1000, 1000, &late);
  return 0;
}

int
server_convert (const struct operation *operation,
                const struct convert_source *from, const char *text,
                const struct convert_rules *rules, struct vmdk_error *err)
{
  const struct remote_clone clone = {
    .path = text,
    .type = server_type (rules->type),
    .adapter = server_adapter (rules->adapter),
    .overwrite = rules->overwrite,
  };
  struct remote *remote;
  int r;

  if (!clone.type || !clone.adapter)
    return fail (err, ERR_UNSUPPORTED,
                 "servers make vmfs-flat and vmfs-thin disks, and no others");
  remote = server_remote (operation, err);
  if (!remote)
    return -1;
  r = copy_and_send (remote, operation, from, &clone, rules, err);
  remote_free (remote);
  return r;
}
