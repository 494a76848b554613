/* SPDX-License-Identifier: BSD-3-Clause */

/* Private to server.c, server-disk.c and server-convert.c. */

#ifndef VMDKIT_SERVER_PARTS_H
#define VMDKIT_SERVER_PARTS_H

#include "remote-manager.h"
#include "server.h"

/* The server that the words name, of which nothing was asked yet.  Messages
 * go where the operation's go.
 */
extern struct remote *server_remote (const struct operation *operation,
                                     struct vmdk_error *err)
  __attribute__ ((warn_unused_result));

/* Another machine than vm= names. */
extern int server_set_vm (const char *vm, struct vmdk_error *err)
  __attribute__ ((warn_unused_result));

/* As servers call them: "thin", "preallocated"; "lsiLogic".  NULL: they have
 * no such thing.
 */
extern const char *server_type (enum disk_type type);
extern const char *server_adapter (const char *adapter);

#endif /* VMDKIT_SERVER_PARTS_H */
