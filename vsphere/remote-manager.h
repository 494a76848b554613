/* SPDX-License-Identifier: BSD-3-Clause */

/* What else a server is asked with a user's words (remote.h) than to open
 * disks: work on disks by their names, who keeps machines from being moved,
 * what a machine knows of its disk, and which areas of it have changed.
 *
 * From one thread at a time.  remote_end logs out.  Between remote_manager and
 * remote_end no disk is opened.
 */

#ifndef VMDKIT_REMOTE_MANAGER_H
#define VMDKIT_REMOTE_MANAGER_H

#include "disk-manager.h"
#include "remote.h"

/* Log in, unless that was done.  The session is borrowed until remote_end. */
extern struct session *remote_session (struct remote *remote,
                                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* The identity that the words have; or NULL. */
extern const char *remote_identity (const struct remote *remote)
  __attribute__ ((nonnull (1)));

/* The machine that the words name. */
extern int remote_vm (struct remote *remote, struct vim_ref *vm,
                      struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Who does the work on PATH, and how the server writes that name (to be
 * freed).  The datacenter is that of the path's datastore.
 */
extern int remote_manager (struct remote *remote, const char *path,
                           const struct task_watch *watch,
                           struct disk_manager *manager, char **name,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5, 6)));

/* What becomes of a local disk that is put on a server. */
struct remote_clone {
  const char *path;
  const char *type, *adapter; /* as struct new_disk has them */
  bool overwrite;
};

/* How the file is called that is put there for a while, and that MEDIA below
 * has to call itself.
 */
#define REMOTE_CLONE_NAME_SIZE 64
extern void remote_clone_name (char name[REMOTE_CLONE_NAME_SIZE])
  __attribute__ ((nonnull (1)));

/* Put MEDIA, a monolithicSparse disk, there under NAME, let the server copy it
 * into a disk of its own format, and remove it.  After a failure nothing is
 * left, and what was to be overwritten is as it was.
 */
extern int remote_clone (struct remote *remote, struct media *media,
                         const char *name, const struct remote_clone *clone,
                         const struct task_watch *watch,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5, 6)));

/* Whether PATH may be changed: where the words name a machine that has it,
 * ERR_LOCKED if that is running, ERR_UNSUPPORTED if the disk has snapshots,
 * or, with REMOVED, in any case.  Without a machine nobody can tell but the
 * server.
 */
extern int remote_check_unused (struct remote *remote, const char *path,
                                bool removed, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* What the machine (or the snapshot) knows of its disk PATH.  Texts live until
 * remote_end.
 */
struct remote_file {
  const char *file, *content_id, *change_id, *uuid; /* "": not known */
};
struct remote_about {
  const char *vm, *power, *label, *backing, *mode;
  int32_t key;
  uint64_t capacity;
  bool tracked;              /* changed blocks are */
  bool in_use;               /* a running machine writes to it */
  struct remote_file *files; /* the chain, from PATH on; to be freed */
  size_t nr_files;
};
extern int remote_describe (struct remote *remote, const char *path,
                            struct remote_about *about, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));
extern void remote_about_reset (struct remote_about *about)
  __attribute__ ((nonnull (1)));
#define CLEANUP_REMOTE_ABOUT __attribute__ ((cleanup (remote_about_reset)))

/* changed_areas of the disk PATH, since CHANGE_ID. */
extern int
remote_changed (struct remote *remote, const char *path, const char *change_id,
                int (*each) (void *opaque, uint64_t offset, uint64_t count,
                             struct vmdk_error *err),
                void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 6)));

#endif /* VMDKIT_REMOTE_MANAGER_H */
