/* SPDX-License-Identifier: BSD-3-Clause */

/* A virtual machine's disks, from the words that a user writes to a store and
 * a name that core's disk_open takes.
 *
 * 1. Nothing is asked of the server before the first disk is opened (but see
 *    remote_check).  Then: log in, find the machine, keep it from being moved
 *    (access.h), take a snapshot if that is wanted, read what its disks are.
 * 2. Each disk is opened by the first transport that can: port 902 with the
 *    data in TLS (nbdssl) or in clear (nbd), or HTTPS.
 * 3. When the last disk is closed the machine may be moved again, and what was
 *    read of it is forgotten; the next open begins anew, in the same session.
 *    With a temporary snapshot nothing ends before remote_end: who comes again
 *    must find the same disk, which a move would not leave where it is.
 * 4. remote_free, or remote_end, undoes all of it in reverse: it removes our
 *    snapshot, lets the machine be moved again, and logs out.  So does
 * whatever fails on the way in.
 * 5. A disk that a running machine writes to is refused, whatever the server
 *    would answer.
 */

#ifndef VMDKIT_REMOTE_H
#define VMDKIT_REMOTE_H

#include <stdbool.h>
#include <stddef.h>

#include "cleanup.h"
#include "error.h"
#include "log.h"
#include "store.h"

enum remote_prepare { REMOTE_TRY, REMOTE_REQUIRE, REMOTE_OFF };

/* All texts are copied. */
struct remote_settings {
  const char *server;
  unsigned port;     /* 0: 443 */
  unsigned nfc_port; /* 0: what the ticket tells, or 902 */
  const char *user, *password;
  const char *cookie; /* of somebody's session, instead of both */
  const char *thumbprint, *ca_file; /* tls.h; NULL */
  bool insecure;
  const char *vm; /* as vm_find takes it */

  const char *transports;  /* NULL: "nbdssl:nbd:https" */
  const char *compression; /* NULL: "skipz" */
  const char *config;      /* a file of the vddk plugin's; NULL */
  bool single_link;
  size_t cache; /* bytes of blocks from HTTPS; 0: the usual */

  const char
    *snapshot;  /* an id, or "temporary"; NULL: the disks as they are */
  bool quiesce; /* a temporary one */
  const char *changed_since; /* a change id: see remote_disk_changed; NULL */

  enum remote_prepare prepare;
  const char *identity;     /* NULL: made up */
  unsigned prepare_seconds; /* how long a move is waited for */

  /* Asked while the server, or a host, is waited for; true ends that.  May be
   * NULL.
   */
  bool (*stopped) (void *opaque);
  void *opaque;
  struct vmdk_log log;
};

struct remote;

/* Checks the words and asks nobody. */
extern struct remote *remote_new (const struct remote_settings *settings,
                                  struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* No disk may be open.  NULL is allowed. */
extern void remote_free (struct remote *remote);
DEFINE_CLEANUP (remote, struct remote *, remote_free)
#define CLEANUP_REMOTE CLEANUP (remote)

/* Log in, find the machine and PATH (if not NULL) among its disks, and log
 * out: what is wrong is said at once.  Leaves no thread behind, so a process
 * may fork afterwards.
 */
extern int remote_check (struct remote *remote, const char *path,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* Rule 4; what cannot be undone is told to the log.  The next open begins
 * again.
 */
extern void remote_end (struct remote *remote) __attribute__ ((nonnull (1)));

/* The process is to end, and clients stay: whatever they read or write fails
 * from now on, and what keeps others from working is undone (our snapshot, the
 * protection).  Beside any other call, from any thread; remote_end remains to
 * be called.
 */
extern void remote_abandon (struct remote *remote)
  __attribute__ ((nonnull (1)));

/* As if a disk was open, for who opens one twice. */
extern int remote_hold (struct remote *remote, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern void remote_release (struct remote *remote)
  __attribute__ ((nonnull (1)));

/* What core's disk_open is given, and with it rules: .search of these folders,
 * and .keep_cid where that is set.
 */
struct remote_disk {
  struct remote *remote;
  struct store *store;
  const char *name;
  enum store_open_flags flags;
  const char *transport; /* "nbdssl", "nbd", "https" */
  bool keep_cid;

  char **search; /* folders of the disk's chain */
  size_t nr_search;
  void *office, *nfc, *changed; /* private, as is: */
  struct remote_disk *next;     /* that is open */
};

/* Open PATH, a disk of the machine.  ERR_READ_ONLY when WRITABLE cannot be.
 * Any number of disks may be open, from any threads.
 */
extern struct remote_disk *remote_disk_open (struct remote *remote,
                                             const char *path, bool writable,
                                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* An entry of the real disk's database, KEY without "ddb.", where the store's
 * descriptor is not the disk's own; to be freed.  NULL: not known here.
 */
extern int remote_disk_entry (struct remote_disk *disk, const char *key,
                              char **value, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* Whether the byte at OFFSET may have changed since settings.changed_since, of
 * which *LENGTH bytes from there have the same to say.  All of a disk has
 * where nothing was asked for.  Disks with changed_since are only read.
 */
extern bool remote_disk_changed (const struct remote_disk *disk,
                                 uint64_t offset, uint64_t *length)
  __attribute__ ((nonnull (1, 3)));

/* After core's disk_close.  Of the last one this takes a question to the
 * server, seconds if it is gone.  NULL is allowed.
 */
extern void remote_disk_close (struct remote_disk *disk);
DEFINE_CLEANUP (remote_disk, struct remote_disk *, remote_disk_close)

#endif /* VMDKIT_REMOTE_H */
