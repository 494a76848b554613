/* SPDX-License-Identifier: BSD-3-Clause */

/* Folders of datastores, and files in them, over HTTPS: core's names and bytes
 * (store.h, media.h), for reading.
 *
 *   https://SERVER/folder/DIRECTORY/NAME?dcPath=DATACENTER&dsName=DATASTORE
 *
 * A server gives out descriptors and extents as the files they are, so core's
 * own drivers read them.  Bytes come through range-cache.h.
 *
 * A media's text names the file as people do: "[DATASTORE] DIRECTORY/NAME".
 */

#ifndef VMDKIT_FOLDER_STORE_H
#define VMDKIT_FOLDER_STORE_H

#include <stddef.h>

#include "cleanup.h"
#include "error.h"
#include "http.h"
#include "range-cache.h"
#include "store.h"

struct folder_server;

struct folder_settings {
  struct http_settings http;
  struct range_cache_settings cache; /* .fetch is ours */

  /* The names below "/" of the server's datacenter; NULL on a plain host. */
  const char *datacenter;

  /* Where the absolute PATH of a host is ("/vmfs/volumes/UUID/vm"): as
   * "[DATASTORE] DIRECTORY", owned by the caller.  ERR_MISSING when it is not
   * known.  NULL: nothing is.
   */
  char *(*locate) (void *opaque, const char *path, struct vmdk_error *err);
  void *opaque;

  /* The names of datastores, where they are known (datastore-path.h);
   * borrowed for the server's life.
   */
  const char *const *datastores;
  size_t nr_datastores;
};

/* Nothing is asked of the server yet, and no thread started.  All but
 * http.trust and the opaque pointers is copied.
 */
extern struct folder_server *
folder_server_new (const struct folder_settings *settings,
                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Fail all that is being read, at once. */
extern void folder_server_stop (struct folder_server *server)
  __attribute__ ((nonnull (1)));

/* Its stores and media are closed.  NULL is allowed. */
extern void folder_server_free (struct folder_server *server);
DEFINE_CLEANUP (folder_server, struct folder_server *, folder_server_free)
#define CLEANUP_FOLDER_SERVER CLEANUP (folder_server)

/* The folder PATH, "[DATASTORE] DIRECTORY" or "[DATASTORE]".  SERVER is
 * borrowed.
 */
extern struct store *folder_store_new (struct folder_server *server,
                                       const char *path,
                                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* The folder of the file PATH, "[DATASTORE] DIRECTORY/NAME"; *NAME becomes the
 * file's name in it, which is a part of PATH.
 */
extern struct store *folder_store_of (struct folder_server *server,
                                      const char *path, const char **name,
                                      struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* Put all of MEDIA there as the file PATH: see http_write. */
extern int folder_upload (struct folder_server *server, const char *path,
                          struct media *media,
                          bool (*progress) (void *opaque, uint64_t done,
                                            uint64_t total),
                          void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 6)));

#endif /* VMDKIT_FOLDER_STORE_H */
