/* SPDX-License-Identifier: BSD-3-Clause */

/* Private to remote.c (words, beginning and end) and remote-disk.c (opening a
 * disk by one transport after the other).
 */

#ifndef VMDKIT_REMOTE_PARTS_H
#define VMDKIT_REMOTE_PARTS_H

#include <pthread.h>

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

  pthread_mutex_t lock; /* held while it begins and ends */
  bool begun;

  /* Constant once begun: */
  struct session *session;
  struct vim_ref vm_ref;
  struct access *access;
  struct vim_ref taken; /* our snapshot, to be removed; id "": none */
  bool has_snapshot;
  struct vm vm;               /* the machine, and its disks */
  struct frozen_disks frozen; /* those of the snapshot */
  struct place place;
  struct datastore_list datastores;
  struct folder_server *folders;
};

/* Begin (rule 1), unless that was done. */
extern int remote_begin (struct remote *remote, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_REMOTE_PARTS_H */
