/* SPDX-License-Identifier: BSD-3-Clause */

/* Changing a damaged disk so that it can be undone.
 *
 * Before a byte is changed, the old bytes are in a backup file beside the
 * disk, DISK.repair-backup, durably.  That is lines of text:
 *
 *   vmdkit repair backup 1
 *   bytes OFFSET OLD NEW FILE    in hex, as many new bytes as old ones
 *   added OFFSET NEW FILE        behind what was the file's end
 *   dropped OFFSET COUNT FILE    room that nothing used, whose bytes are gone
 *   parent-cid OLD NEW FILE      of a descriptor, in decimal
 *
 * in the order of the changes, numbers in decimal; FILE is the rest of its
 * line, relative to the backup's folder.  A crash can leave the last lines
 * without their changes, and a last line that is not whole.
 */

#ifndef VMDKIT_REPAIR_H
#define VMDKIT_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"
#include "media.h"
#include "operation.h"
#include "store.h"

struct repairer;

/* For the disk NAME; STORE and NAME are borrowed.  The backup is made when the
 * first change is.  With DRY_RUN nothing is, ever.
 */
extern struct repairer *repairer_new (struct store *store, const char *name,
                                      bool dry_run, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* Drops changes that were not committed.  NULL is allowed. */
extern void repairer_free (struct repairer *repairer);
DEFINE_CLEANUP (repairer, struct repairer *, repairer_free)
#define CLEANUP_REPAIRER CLEANUP (repairer)

/* The backup's name; NULL: nothing was changed. */
extern const char *repairer_backup (const struct repairer *repairer)
  __attribute__ ((nonnull (1)));

/* Change COUNT bytes (at most REPAIR_MAX_BYTES) at OFFSET of MEDIA, which is
 * the file NAME; both are borrowed.  May lie behind the file's end, in the
 * sector where it ends or the next one.  Changes are gathered: any of them may
 * be on the medium before the commit, in any order, and all of them are
 * durable after it.
 */
#define REPAIR_MAX_BYTES ((uint64_t) 1 << 20)
extern int repair_write (struct repairer *repairer, struct media *media,
                         const char *name, uint64_t offset, const void *bytes,
                         uint64_t count, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5, 7)));
extern int repair_commit (struct repairer *repairer, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Give back room that nothing uses: cut the file there, if it is its end, or
 * make a hole.  Commits first.
 */
struct repair_room {
  uint64_t offset, count;
};
extern int repair_drop (struct repairer *repairer, struct media *media,
                        const char *name, const struct repair_room *rooms,
                        size_t nr_rooms, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 6)));

/* The parentCID of the disk's descriptor is about to change; durable when it
 * returns.
 */
extern int repair_note_parent_cid (struct repairer *repairer, uint32_t old,
                                   uint32_t new, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* Put back what BACKUP, a file in STORE, has, last change first.  All files
 * must still have what the repair wrote there, or the old bytes already:
 * ERR_MISMATCH if they do not, and nothing is changed.  *nr_dropped becomes
 * how many bytes cannot be had back.
 */
extern int repair_undo (struct store *store, const char *backup,
                        const struct operation *operation,
                        uint64_t *nr_dropped, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));

#endif /* VMDKIT_REPAIR_H */
