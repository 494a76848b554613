/* SPDX-License-Identifier: BSD-3-Clause */

/* Other work than opening disks.  See remote-manager.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "changed.h"
#include "datastore-path.h"
#include "remote-manager.h"
#include "remote-parts.h"

struct session *
remote_session (struct remote *remote, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&remote->lock);

  return remote_log_in (remote, err) == -1 ? NULL : remote->session;
}

const char *
remote_identity (const struct remote *remote)
{
  return remote->identity;
}

int
remote_vm (struct remote *remote, struct vim_ref *vm, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&remote->lock);

  if (remote_log_in (remote, err) == -1 || remote_find_vm (remote, err) == -1)
    return -1;
  *vm = remote->vm_ref;
  return 0;
}

/* --------------------------------------------------------------------- */
/* Disks by their names. */

/* The datastore's datacenter; of several of that name, the machine's. */
static int
find_place (struct remote *remote, const char *datastore,
            struct vmdk_error *err)
{
  CLEANUP_PLACE struct place machine = { 0 };
  const struct datastore *found;

  if (remote->vm_spec
      && (remote_find_vm (remote, err) == -1
          || place_read (remote->session, &remote->vm_ref, &machine, err)
               == -1))
    return -1;
  found = datastore_find (remote->session, &remote->datastores, datastore,
                          machine.dc_path, err);
  place_reset (&remote->place);
  return found ? place_read (remote->session, &found->ref, &remote->place, err)
               : -1;
}

int
remote_manager (struct remote *remote, const char *path,
                const struct task_watch *watch, struct disk_manager *manager,
                char **name, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&remote->lock);
  CLEANUP_DATASTORE_PATH struct datastore_path parsed = { 0 };
  struct datastore_list *known = &remote->datastores;

  if (remote_log_in (remote, err) == -1)
    return -1;
  datastore_list_reset (known);
  if (datastore_list_read (remote->session, known, err) == -1
      || datastore_path_parse (&parsed, path, known->names, known->len, err)
           == -1
      || find_place (remote, parsed.datastore, err) == -1)
    return -1;
  *manager = (struct disk_manager){
    .session = remote->session,
    .watch = *watch,
  };
  if (session_about (remote->session)->is_vcenter)
    manager->datacenter = remote->place.datacenter;
  *name = datastore_path_text (&parsed, err);
  return *name ? 0 : -1;
}

int
remote_check_unused (struct remote *remote, const char *path, bool removed,
                     struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&remote->lock);
  CLEANUP_VM struct vm vm = { 0 };
  const struct vm_disk *disk;
  struct vmdk_error ignored;
  size_t link;

  if (!remote->vm_spec)
    return 0;
  if (remote_log_in (remote, err) == -1 || remote_find_vm (remote, err) == -1
      || vm_read (remote->session, &remote->vm_ref, &vm, err) == -1)
    return -1;
  disk = disk_find (&vm.disks, path, &link, &ignored);
  if (!disk)
    return 0;
  if (vm.running)
    return fail (err, ERR_LOCKED,
                 "the machine %s is running and uses this disk: shut it down",
                 NAME (vm.name));
  if (removed)
    return fail (err, ERR_LOCKED,
                 "the disk belongs to the machine %s (%s): take it out of the "
                 "machine first",
                 NAME (vm.name), NAME (disk->label));
  if (disk->nr_links > 1)
    return fail (err, ERR_UNSUPPORTED,
                 "the disk is one of %zu that are based on each other: remove "
                 "the snapshots of the machine %s first",
                 disk->nr_links, NAME (vm.name));
  return 0;
}

/* --------------------------------------------------------------------- */
/* What a machine knows of its disk. */

static int
add_files (struct remote_about *about, const struct vm_disk *disk, size_t link,
           struct vmdk_error *err)
{
  about->files = calloc (disk->nr_links, sizeof *about->files);
  if (!about->files)
    return fail_memory (err);
  for (; link < disk->nr_links; link++)
    about->files[about->nr_files++] = (struct remote_file){
      .file = disk->links[link].file,
      .content_id = disk->links[link].content_id,
      .change_id = disk->links[link].change_id,
      .uuid = disk->links[link].uuid,
    };
  return 0;
}

int
remote_describe (struct remote *remote, const char *path,
                 struct remote_about *about, struct vmdk_error *err)
{
  const struct vm_disk *disk;
  size_t link;

  *about = (struct remote_about){ 0 };
  if (remote_keep (remote, err) == -1)
    return -1;
  disk = remote_find_disk (remote, path, &link, &about->in_use, err);
  if (!disk)
    return -1;
  about->vm = remote->vm.name;
  about->power = remote->vm.power;
  about->label = disk->label;
  about->backing = disk->backing;
  about->mode = disk->mode;
  about->key = disk->key;
  about->capacity = disk->capacity;
  about->tracked = remote->vm.change_tracking;
  return add_files (about, disk, link, err);
}

void
remote_about_reset (struct remote_about *about)
{
  free (about->files);
  *about = (struct remote_about){ 0 };
}

int
remote_ask_changed (struct remote *remote, const struct vm_disk *disk,
                    const char *change_id,
                    int (*each) (void *opaque, uint64_t offset, uint64_t count,
                                 struct vmdk_error *err),
                    void *opaque, struct vmdk_error *err)
{
  const struct changed_query query = {
    .vm = remote->vm_ref,
    .snapshot = remote->frozen_ref,
    .key = disk->key,
    .capacity = disk->capacity,
    .change_id = change_id,
  };

  return changed_areas (remote->session, &query, each, opaque, err);
}

int
remote_changed (struct remote *remote, const char *path, const char *change_id,
                int (*each) (void *opaque, uint64_t offset, uint64_t count,
                             struct vmdk_error *err),
                void *opaque, struct vmdk_error *err)
{
  const struct vm_disk *disk;
  bool in_use;
  size_t link;

  if (remote_keep (remote, err) == -1)
    return -1;
  disk = remote_find_disk (remote, path, &link, &in_use, err);
  if (!disk)
    return -1;
  if (!remote->has_snapshot && remote->vm.running)
    return fail (err, ERR_LOCKED,
                 "the machine %s is running: only a snapshot's changes can be "
                 "asked for; pass snapshot=ID, or snapshot=temporary",
                 NAME (remote->vm.name));
  return remote_ask_changed (remote, disk, change_id, each, opaque, err);
}
