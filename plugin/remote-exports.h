/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks of servers as exports: the plugin's parameters become what vsphere
 * wants, and what it gives becomes what core's disk_open wants.  For exports.c
 * only.  In a build without vsphere there is nothing behind it, and the
 * parameters that lead here are refused before.
 */

#ifndef VMDKIT_REMOTE_EXPORTS_H
#define VMDKIT_REMOTE_EXPORTS_H

#include <stdbool.h>

#include "chain.h"
#include "disk.h"
#include "error.h"
#include "parameters.h"

/* Check the parameters and ask the server once whether they are right; before
 * the server forks.
 */
extern int remote_exports_start (const struct parameters *p,
                                 const struct vmdk_log *log,
                                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* After the last fork: watch for the end, which clients that stay connected
 * put off for as long as they like.
 */
extern int remote_exports_watch (struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1)));

/* No disk is open.  Undoes what was done to the machine. */
extern void remote_exports_stop (void);

/* remote_hold, remote_release: around what opens a disk more than once. */
extern int remote_exports_hold (struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1)));
extern void remote_exports_release (void);

/* PATH with all that belongs to it: *DISK is what is read, and *KEEP is given
 * back afterwards.
 */
extern int remote_export_open (const char *path, bool writable,
                               const struct chain_rules *rules,
                               struct disk **disk, void **keep,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4, 5, 6)));

/* remote_disk_changed. */
extern bool remote_export_changed (const void *keep, uint64_t offset,
                                   uint64_t *length)
  __attribute__ ((nonnull (1, 3)));

/* After disk_close.  NULL is allowed. */
extern void remote_export_close (void *keep);

#endif /* VMDKIT_REMOTE_EXPORTS_H */
