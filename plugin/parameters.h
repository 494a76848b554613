/* SPDX-License-Identifier: BSD-3-Clause */

/* What the operator wrote behind `nbdkit vmdk`.
 *
 * parameter_set takes one KEY=VALUE at a time, in any order;
 * parameters_complete checks what can only be judged together.  Both tell
 * nbdkit about a mistake themselves and return -1.  The help text and the
 * list of names come from the same table, so that they cannot drift apart.
 */

#ifndef VMDKIT_PARAMETERS_H
#define VMDKIT_PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chain.h"
#include "child.h"
#include "create.h"
#include "remote-words.h"

/* A disk of a vCenter or an ESXi host. */
struct remote_parameters {
  struct remote_words words; /* without single-link */
  char *wildcard;            /* export=; owned, or NULL, as is: */
  char *changed_since;
  size_t cache;
};

struct parameters {
  char *file; /* as given, for a remote disk; else absolute, no symbolic link
                 resolved; or NULL */
  bool is_remote;
  struct remote_parameters remote;

  char *dir;  /* absolute; or NULL */
  char *disk; /* which disk of an archive; or NULL */
  char *parent;

  char **search;
  size_t nr_search;
  char **devices;
  size_t nr_devices;

  char *overlay; /* absolute; or NULL */
  struct child_rules overlay_rules;
  bool overlay_type_given;
  enum detect_zeroes detect_zeroes;

  int create;
  struct create_rules create_rules;

  int single_link, ignore_cid, allow_outside, lone_extent;
  int recover, accept_journal, write_sesparse, lock;
  size_t table_budget, grain_budget;
};

extern struct parameters parameters;

extern int parameter_set (const char *key, const char *value)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern int parameters_complete (void) __attribute__ ((warn_unused_result));

/* Fill in the rules that the parameters stand for.  Logging and resources
 * are the caller's.  RULES borrows from PARAMETERS.
 */
extern void parameters_to_rules (struct chain_rules *rules)
  __attribute__ ((nonnull (1)));

/* "file,dir,disk,...": every parameter, as --dump-plugin shows them. */
extern void parameters_print_names (void);

/* Once others have them. */
extern void parameters_forget_secrets (void);

extern void parameters_free (void);

#define PARAMETERS_HELP                                                       \
  "file=DISK.vmdk                The disk, or an OVA or tar archive of "      \
  "disks.\n"                                                                  \
  "dir=FOLDER                    Every disk in this folder is an export.\n"   \
  "disk=NAME|NUMBER              Which disk of an archive.\n"                 \
  "single-link=BOOL              The disk's own link, without its parents.\n" \
  "parent=PATH                   The parent, if it is not where the disk "    \
  "says.\n"                                                                   \
  "search=FOLDER                 Look here for parents (may be repeated).\n"  \
  "ignore-cid=BOOL               Accept a parent that was changed since.\n"   \
  "allow-outside=BOOL            Follow names that lead out of the folder.\n" \
  "allow-device=NAME             Open this raw device (may be repeated).\n"   \
  "lone-extent=BOOL              Serve one extent file without a "            \
  "descriptor.\n"                                                             \
  "recover=BOOL                  Scan streams that lost their footer.\n"      \
  "accept-journal=BOOL           Read seSparse disks with a pending "         \
  "journal.\n"                                                                \
  "cache=SIZE                    Memory for tables (default 64M).\n"          \
  "grain-cache=SIZE              Memory for inflated grains (default 64M).\n" \
  "lock=on|off                   Take and honour locks (default on).\n"       \
  "overlay=CHILD.vmdk            Write to this child, made if need be.\n"     \
  "overlay-type=TYPE             monolithic-sparse, split-sparse, "           \
  "vmfs-sparse.\n"                                                            \
  "overlay-grain-size=SIZE       Of a new overlay (default 64K).\n"           \
  "write-sesparse=BOOL           Overwrite what a seSparse disk has.\n"       \
  "detect-zeroes=off|on|unmap    What becomes of writes of zeros.\n"          \
  "create=BOOL                   Make the disk first.\n"                      \
  "create-size=SIZE              How large.\n"                                \
  "create-type=TYPE              monolithic-sparse, vmfs-flat, ...\n"         \
  "create-adapter-type=TYPE      ide, scsi-buslogic, scsi-lsilogic.\n"        \
  "create-hwversion=VERSION      workstation5, esx65, ... or a number.\n"     \
  "create-grain-size=SIZE        Of a sparse disk (default 64K).\n\n"         \
  "Disks of a vCenter or an ESXi host, file='[DATASTORE] VM/DISK.vmdk':\n"    \
  "server=HOST                   Which server.\n"                             \
  "user=NAME                     Who we are there.\n"                         \
  "password=TEXT|-|+FILE|-FD     And that we are.\n"                          \
  "cookie=TEXT|-|+FILE|-FD       Of a session, instead of logging in.\n"      \
  "vm=moref=ID|PATH|NAME         Whose disk it is.\n"                         \
  "thumbprint=XX:XX:...          Of the server's certificate.\n"              \
  "cafile=FILE                   Authorities that are trusted.\n"             \
  "insecure=BOOL                 Take any certificate.\n"                     \
  "port=PORT                     Of the server (default 443).\n"              \
  "nfchostport=PORT              Of the host (default 902).\n"                \
  "transports=T:T...             To be tried (default nbdssl:nbd:https).\n"   \
  "compression=TYPE              none, zlib, fastlz, skipz (default).\n"      \
  "snapshot=ID|temporary         Of this moment, or of now.\n"                \
  "quiesce=BOOL                  Of a temporary one.\n"                       \
  "changed-since=ID              Only what changed since is allocated.\n"     \
  "export=WILDCARD               Clients ask for disks by their paths.\n"     \
  "prepare=try|require|off       Keep the machine from being moved.\n"        \
  "prepare-timeout=SECONDS       Wait so long for a move (default 600).\n"    \
  "identity=TEXT                 Who keeps it.\n"                             \
  "remote-cache=SIZE             Memory for blocks (default 64M).\n"          \
  "config=FILE                   Of the vddk plugin.\n"                       \
  "libdir=FOLDER                 Accepted, and not used.\n"                   \
  "unbuffered=BOOL               Keep local files out of the page cache.\n"   \
  "vimapiver=VERSION             Accepted, and not used."

#endif /* VMDKIT_PARAMETERS_H */
