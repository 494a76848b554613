/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks that belong to no machine: what the server itself does with them.
 *
 * Disks are named "[datastore] folder/disk.vmdk" (the descriptor); the server
 * does the rest to the files behind it.  All of these wait until it is done.
 */

#ifndef VMDKIT_DISK_MANAGER_H
#define VMDKIT_DISK_MANAGER_H

#include "task.h"

/* Who is asked, about files of which datacenter, and who watches. */
struct disk_manager {
  struct session *session;
  struct vim_ref datacenter; /* a host needs none: id "" */
  struct task_watch watch;
};

struct new_disk {
  uint64_t capacity;   /* bytes, a multiple of 1024 */
  const char *type;    /* "thin", "preallocated", "eagerZeroedThick" ... */
  const char *adapter; /* "lsiLogic", "busLogic", "ide" */
};

extern int disk_manager_create (const struct disk_manager *manager,
                                const char *name, const struct new_disk *disk,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

extern int disk_manager_extend (const struct disk_manager *manager,
                                const char *name, uint64_t capacity,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

extern int disk_manager_shrink (const struct disk_manager *manager,
                                const char *name, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

extern int disk_manager_defragment (const struct disk_manager *manager,
                                    const char *name, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* A new name, on the same datastore or another; never over a disk that is
 * there.
 */
extern int disk_manager_move (const struct disk_manager *manager,
                              const char *name, const char *new_name,
                              struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* A copy, in the server's own format: of DISK's type and adapter (its capacity
 * is the source's) where the server takes such wishes, else flat.  NEW_NAME is
 * not there yet.
 */
extern int disk_manager_copy (const struct disk_manager *manager,
                              const char *name, const char *new_name,
                              const struct new_disk *disk,
                              struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));

extern int disk_manager_delete (const struct disk_manager *manager,
                                const char *name, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* As the server has it; sync. */
#define DISK_UUID_SIZE 64
extern int disk_manager_uuid (const struct disk_manager *manager,
                              const char *name, char uuid[DISK_UUID_SIZE],
                              struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* A folder, with those above it; one that is there is no error. */
extern int disk_manager_make_folder (const struct disk_manager *manager,
                                     const char *name, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* One file; the server does not know that it may be part of a disk. */
extern int disk_manager_delete_file (const struct disk_manager *manager,
                                     const char *name, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

#endif /* VMDKIT_DISK_MANAGER_H */
