/* SPDX-License-Identifier: BSD-3-Clause */

/* Virtual machines, their disks, and where these lie.
 *
 * Texts are those of the server's answer, which the structs keep; they are
 * freed together.  Names in an inventory have '%', '/' and '\' as %25, %2f
 * and %5c, here as on the server.
 */

#ifndef VMDKIT_INVENTORY_H
#define VMDKIT_INVENTORY_H

#include "session.h"

/* --------------------------------------------------------------------- */
/* Disks. */

/* One file of a disk's chain. */
struct disk_link {
  const char *file;       /* "[datastore] folder/disk.vmdk" */
  const char *content_id; /* "" where these are not known: */
  const char *change_id;
  const char *uuid;
  const char *object_id; /* not a file, but an object of vSAN or VVols */
  struct vim_ref datastore;
};

struct vm_disk {
  int32_t key;
  const char *label;
  const char *backing; /* "VirtualDiskFlatVer2BackingInfo" ... */
  const char *mode;
  bool independent;        /* not part of snapshots */
  bool raw_physical;       /* a LUN that VMware does not look into */
  uint64_t capacity;       /* bytes */
  struct disk_link *links; /* the leaf first */
  size_t nr_links;
};

struct disk_list {
  struct vm_disk *ptr;
  size_t len;
};

/* The disk one of whose files is PATH, written in any way that means it; which
 * of its files goes to *LINK.  NULL with an error that lists what there is.
 */
extern const struct vm_disk *disk_find (const struct disk_list *disks,
                                        const char *path, size_t *link,
                                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* By its device's key; NULL where there is none. */
extern const struct vm_disk *disk_by_key (const struct disk_list *disks,
                                          int32_t key)
  __attribute__ ((nonnull (1)));

/* --------------------------------------------------------------------- */
/* Virtual machines. */

struct vm {
  struct soap_answer answer; /* owns the texts */
  struct vim_ref ref, host;
  const char *name, *uuid, *instance_uuid, *vmx_path;
  const char *power; /* "poweredOn" ... */
  const char *connection;
  bool running; /* or suspended: its leaves are in use */
  bool change_tracking, encrypted, consolidation_needed;
  struct disk_list disks;
};

/* Find one by SPEC:
 *
 *   moref=vm-57      as the server calls it
 *   uuid=42...       the BIOS' uuid, or the instance's
 *   42010203-...     the same
 *   path=DC0/vm/web  a path in the inventory
 *   DC0/vm/web       the same
 *   name=web, web    a name that only one has
 */
extern int vm_find (struct session *session, const char *spec,
                    struct vim_ref *ref, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

extern int vm_read (struct session *session, const struct vim_ref *ref,
                    struct vm *vm, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));
extern void vm_reset (struct vm *vm) __attribute__ ((nonnull (1)));
#define CLEANUP_VM __attribute__ ((cleanup (vm_reset)))

/* What a snapshot has frozen. */
struct frozen_disks {
  struct soap_answer answer; /* owns the texts */
  struct disk_list disks;
};

extern int
frozen_disks_read (struct session *session, const struct vim_ref *snapshot,
                   struct frozen_disks *frozen, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));
extern void frozen_disks_reset (struct frozen_disks *frozen)
  __attribute__ ((nonnull (1)));
#define CLEANUP_FROZEN_DISKS __attribute__ ((cleanup (frozen_disks_reset)))

/* --------------------------------------------------------------------- */
/* Places. */

struct place {
  char *path;                /* of the object, below the root folder */
  struct vim_ref datacenter; /* that it lies in; id "" for none */
  char *dc_path;             /* that of the datacenter, "" for none */
};

extern int place_read (struct session *session, const struct vim_ref *ref,
                       struct place *place, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));
extern void place_reset (struct place *place) __attribute__ ((nonnull (1)));
#define CLEANUP_PLACE __attribute__ ((cleanup (place_reset)))

struct datastore {
  struct vim_ref ref;
  char *name;
  char *type; /* "VMFS", "NFS", "vsan" ... */
  char *url;  /* "ds:///vmfs/volumes/UUID/", "/vmfs/volumes/UUID" */
};

struct datastore_list {
  struct datastore *ptr;
  size_t len, capacity;
  const char **names; /* all of them, for datastore_path_parse */
};

/* All that the user may see. */
extern int datastore_list_read (struct session *session,
                                struct datastore_list *list,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));
extern void datastore_list_reset (struct datastore_list *list)
  __attribute__ ((nonnull (1)));
#define CLEANUP_DATASTORE_LIST __attribute__ ((cleanup (datastore_list_reset)))

/* The one of that name; where several datacenters have one, that in the
 * datacenter DC_PATH (which may be NULL).
 */
extern const struct datastore *
datastore_find (struct session *session, const struct datastore_list *list,
                const char *name, const char *dc_path, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5)));

struct host {
  struct soap_answer answer; /* owns the texts */
  const char *name, *connection;
  const char *thumbprint; /* SHA-1, "" where it is not known */
  const char *manager;    /* the address of the vCenter it belongs to, or "" */
};

extern int host_read (struct session *session, const struct vim_ref *ref,
                      struct host *host, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));
extern void host_reset (struct host *host) __attribute__ ((nonnull (1)));
#define CLEANUP_HOST __attribute__ ((cleanup (host_reset)))

#endif /* VMDKIT_INVENTORY_H */
