/* SPDX-License-Identifier: BSD-3-Clause */

/* Private to remote.c (words, beginning and end), remote-disk.c (opening a
 * disk by one transport after the other) and remote-manager.c (other work).
 */

#ifndef VMDKIT_REMOTE_PARTS_H
#define VMDKIT_REMOTE_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "access.h"
#include "folder-store.h"
#include "inventory.h"
#include "nfc-settings.h"
#include "remote.h"
#include "secret.h"
#include "snapshot.h"

enum transport { TRANSPORT_NBDSSL, TRANSPORT_NBD, TRANSPORT_HTTPS };
#define MAX_TRANSPORTS 3

extern const char *transport_name (enum transport transport);

struct remote {
  /* Constant: */
  struct vmdk_log log;
  char *server, *user, *vm_spec, *ca_file, *snapshot_spec, *identity;
  char *changed_since;
  struct secret *password, *cookie; /* or NULL */
  unsigned port;
  struct tls_trust trust;
  struct nfc_settings nfc; /* .tls is the transport's */
  enum transport transports[MAX_TRANSPORTS];
  size_t nr_transports;
  bool single_link, quiesce;
  size_t cache;
  enum remote_prepare prepare;
  unsigned prepare_seconds;
  bool (*stopped) (void *opaque); /* or NULL */
  void *opaque;

  pthread_mutex_t lock; /* held while it begins and ends */
  bool begun;
  size_t nr_users; /* guarded by it as well */
  bool kept;       /* likewise: one of them is remote_keep's */
  atomic_bool abandoned;
  _Atomic size_t worked;    /* the transport that opened a disk last */
  struct remote_disk *open; /* guarded by lock as well */

  struct session *session; /* from the first use to the end */

  /* Constant while there are users: */
  struct vim_ref vm_ref;
  struct access *access;
  struct vim_ref taken; /* our snapshot, to be removed; id "": none */
  bool has_snapshot;
  struct vim_ref frozen_ref;  /* the snapshot; id "": none */
  struct vm vm;               /* the machine, and its disks */
  struct frozen_disks frozen; /* those of the snapshot */
  struct place place;
  struct datastore_list datastores;
  struct folder_server *folders;
};

/* The steps of beginning that other work needs as well; the caller holds the
 * lock.  Who is logged in stays so.
 */
extern int remote_log_in (struct remote *remote, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern int remote_find_vm (struct remote *remote, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
/* When .place and .datastores are there. */
extern int remote_start_folders (struct remote *remote, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* The disk PATH of the machine, or of the snapshot; *IN_USE: a running machine
 * writes to just this file.
 */
extern const struct vm_disk *
remote_find_disk (struct remote *remote, const char *path, size_t *link,
                  bool *in_use, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));

/* Whether whatever waits shall end: OPAQUE is the struct remote. */
extern bool remote_is_stopped (void *opaque) __attribute__ ((nonnull (1)));

extern int remote_fail_abandoned (struct vmdk_error *err)
  __attribute__ ((nonnull (1)));

/* changed_areas of DISK, at the moment that is read. */
extern int
remote_ask_changed (struct remote *remote, const struct vm_disk *disk,
                    const char *change_id,
                    int (*each) (void *opaque, uint64_t offset, uint64_t count,
                                 struct vmdk_error *err),
                    void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 6)));

/* remote_hold until remote_end: what is told lives as long. */
extern int remote_keep (struct remote *remote, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_REMOTE_PARTS_H */
