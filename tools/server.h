/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks of a vCenter or an ESXi host: the words server=HOST, user=NAME,
 * password=..., vm=... among a command's operands (remote-words.h), and what
 * the commands do with a disk '[DATASTORE] FOLDER/DISK.vmdk' there.
 *
 * Each server_... below that is given a disk's name is all of a command's
 * work, as its cmd-NAME.c does it for local disks: it returns an exit code.
 * server-none.c stands for all of it where vsphere/ was not built.
 */

#ifndef VMDKIT_SERVER_H
#define VMDKIT_SERVER_H

#include "convert.h"
#include "tool.h"

/* Take the words out of ARGV, where one of them is server=...  Returns -1 to
 * go on, or an exit code.
 */
extern int server_words_take (const struct command *command, int *argc,
                              const char **argv);

/* Whether there were any. */
extern bool server_given (void);

/* Whether TEXT is meant to be a disk of the server. */
extern bool server_has (const char *text);

extern int server_create (const char *text, const struct create_rules *rules,
                          struct operation *operation);
extern int server_grow (const char *text, uint64_t size,
                        struct operation *operation);
extern int server_shrink (const char *text, struct operation *operation);
extern int server_defragment (const char *text, struct operation *operation);
extern int server_rename (const char *old, const char *new,
                          struct operation *operation);
extern int server_unlink (const char *text, struct operation *operation);
extern int server_info (const char *text, struct operation *operation);
extern int server_changed (const char *text, const char *since,
                           struct operation *operation);

extern int server_access_list (struct operation *operation);
/* VM may be NULL: that of the words.  ANYONE: whoever did it. */
extern int server_access_release (const char *vm, bool anyone,
                                  struct operation *operation);

/* -- For convert --------------------------------------------------------- */

/* A disk that is read.  OPERATION's rules become those with which disk_open
 * takes it.
 */
struct server_source {
  struct remote *remote;
  struct remote_disk *disk;
};
extern int server_source_open (struct server_source *source, const char *text,
                               struct operation *operation,
                               struct convert_source *from,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result));
/* Accepts all zeros. */
extern void server_source_close (struct server_source *source);
#define CLEANUP_SERVER_SOURCE __attribute__ ((cleanup (server_source_close)))

/* Copy FROM to the disk TEXT, which the server makes: flat, or thin if RULES
 * say so.
 */
extern int server_convert (const struct operation *operation,
                           const struct convert_source *from, const char *text,
                           const struct convert_rules *rules,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result));

/* Whether servers make disks of that type. */
extern bool server_makes (enum disk_type type);

#endif /* VMDKIT_SERVER_H */
