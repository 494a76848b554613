/* SPDX-License-Identifier: BSD-3-Clause */

/* Which disks the server has, and which of them are open.
 *
 * There are five kinds of server:
 *
 *   file=DISK     one disk, open from start to end; whatever name a client
 *                 asks for, it gets that disk
 *   file=ARCHIVE  the disks of an archive, by name; "" is the first
 *   dir=FOLDER    the disks of a folder, by name, as they come and go; "" is
 *                 the only one
 *
 * A disk is opened for its first client, shared by the others and closed
 * with the last.  A disk that "" means at the start of a file= server is
 * opened then, for reading, so that a bad file ends the server before anybody
 * connects; it is kept, with its locks, until somebody wants to write.
 *
 * Locking: a table lock guards the list and the counts; each export's own
 * lock is held while its disk is being opened, so that a slow one keeps only
 * those waiting who want it.  The own lock is never taken under the table
 * lock.
 */

#ifndef VMDKIT_EXPORTS_H
#define VMDKIT_EXPORTS_H

#include <stdbool.h>
#include <stddef.h>

#include "chain.h"
#include "child.h"
#include "create.h"
#include "disk.h"
#include "error.h"
#include "parameters.h"

struct export;

/* Open what FILE or DIR (the other is NULL) says.  DISK picks one disk of an
 * archive, by name or by number from 1; NULL: all.  RULES must outlive
 * exports_stop.
 */
struct exports_source {
  const char *file, *dir, *disk;

  /* A disk of a server: FILE is its path there, or clients name it by one that
   * matches remote->wildcard.  NULL: a local one.
   */
  const struct parameters *remote;

  /* A child of FILE, made if need be, as the rules say.  One that is there
   * must not contradict them: a grain size that is not 0, and the type if it
   * was asked for.
   */
  const char *overlay;
  const struct child_rules *overlay_rules;
  bool overlay_type_given;

  const struct create_rules *create; /* make FILE first; NULL: it is there */
  const struct chain_rules *rules;
};
extern int exports_start (const struct exports_source *source,
                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Keep the disk that "" means open, as said above, now that the server has
 * forked for the last time.
 */
extern int exports_keep (struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1)));

/* No request may be in flight.  Closes what is still open. */
extern void exports_stop (void);

/* Open the disk a client asks for, or join those who have it open.  A disk
 * that can be written is, unless READ_ONLY; one that cannot (its medium or
 * its format is not) is served read-only.
 */
extern struct export *export_acquire (const char *name, bool read_only,
                                      struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* The last one out closes the disk cleanly; what fails then is told to the
 * log.  NULL is allowed.
 */
extern void export_release (struct export *export);

extern bool export_is_writable (const struct export *export)
  __attribute__ ((nonnull (1)));

/* Whether the byte at OFFSET, and *LENGTH bytes from there, may have changed
 * since the moment that somebody asked about; true where nobody did.
 */
extern bool export_changed (const struct export *export, uint64_t offset,
                            uint64_t *length) __attribute__ ((nonnull (1, 3)));

extern struct disk *export_disk (const struct export *export)
  __attribute__ ((nonnull (1)));

/* The names a client can choose from, owned by the caller
 * (disk_list_free).  A server with one disk has the one name "".
 */
extern int exports_list (char ***names, size_t *count, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* What "" means, owned by the caller; fails when it means nothing. */
extern char *exports_default (struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1)));

#endif /* VMDKIT_EXPORTS_H */
