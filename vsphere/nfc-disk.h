/* SPDX-License-Identifier: BSD-3-Clause */

/* A managed disk over port 902 (nbd and nbdssl): the public face of the nfc
 * rooms, from the top down:
 *
 *   nfc-disk      reads, writes, tries again what failed
 *     nfc-ahead     reads what will be asked for next
 *     nfc-bitmap    what is allocated
 *     nfc-ranges    overlapping requests wait
 *   nfc-keeper    connects, and connects again
 *   nfc-session   one connection: operations in flight
 *     nfc-open      its beginning and its end
 *     nfc-receive   its thread
 *   nfc-authd  nfc-handshake    how a connection begins
 *   nfc-frame  nfc-pack         messages and fragments as bytes
 *   nfc-wire      TCP and TLS
 *
 * A connection that is lost is made again with a new ticket, and what was not
 * answered is sent again; nobody above notices but by the time it takes.  Only
 * when that does not help does a request fail (EIO).  No request returns
 * bytes that the host did not send for just that place.
 *
 * All functions may be called from several threads at once, but for those
 * that open and close.  LOCKING: a range (nfc-ranges) is taken first and held
 * for a whole request; then nfc-ahead's lock, the keeper's, a session's
 * send_lock, its state.lock.
 */

#ifndef VMDKIT_NFC_DISK_H
#define VMDKIT_NFC_DISK_H

#include "disk.h"
#include "nfc-fault.h"
#include "nfc-settings.h"
#include "nfc-ticket.h"

struct nfc_disk;

/* Open PATH, "[datastore] folder/name.vmdk": a descriptor, whose parents the
 * host finds.  SETTINGS and LOG are copied; OFFICE's opaque is used until the
 * disk is closed.  *REASON tells what a failure means: see
 * nfc_reason_try_next.
 */
extern struct nfc_disk *
nfc_disk_open (const struct nfc_settings *settings,
               const struct nfc_ticket_office *office, const char *path,
               bool writable, const struct vmdk_log *log,
               enum nfc_reason *reason, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5, 6, 7)));

/* Close the disk, which no request uses, and tell whether the host had
 * something against it: an error is one of the last writes.
 */
extern int nfc_disk_finish (struct nfc_disk *disk, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* The same without an answer.  NULL is allowed. */
extern void nfc_disk_close (struct nfc_disk *disk);
DEFINE_CLEANUP (nfc_disk, struct nfc_disk *, nfc_disk_close)

/* Requests fail soon from now on, also those that wait for a connection; from
 * any thread.
 */
extern void nfc_disk_cancel (struct nfc_disk *disk)
  __attribute__ ((nonnull (1)));

/* Bytes. */
extern uint64_t nfc_disk_size (const struct nfc_disk *disk)
  __attribute__ ((nonnull (1)));

struct nfc_geometry {
  uint32_t cylinders, heads, sectors;
};
extern struct nfc_geometry nfc_disk_geometry (const struct nfc_disk *disk)
  __attribute__ ((nonnull (1)));

/* Any range within the disk, aligned or not. */
extern int nfc_disk_read (struct nfc_disk *disk, void *buf, size_t count,
                          uint64_t offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5)));

/* What was written has been answered by the host when this returns.  After a
 * failure each sector of the range holds old bytes or new ones.
 */
extern int nfc_disk_write (struct nfc_disk *disk, const void *buf,
                           size_t count, uint64_t offset,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5)));

/* Write zeros, which takes hardly any bytes on the wire. */
extern int nfc_disk_zero (struct nfc_disk *disk, uint64_t count,
                          uint64_t offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* There is no message for it: all writes have been answered, and if the
 * settings say so the disk is closed and opened again.
 */
extern int nfc_disk_flush (struct nfc_disk *disk, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* As disk_map: pieces that the host has not allocated are holes and zeros. */
extern int
nfc_disk_map (struct nfc_disk *disk, uint64_t offset, uint64_t count,
              bool (*emit) (void *opaque, const struct disk_piece *piece),
              void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4, 6)));

/* An entry of the descriptor's disk database, KEY without "ddb."; to be freed.
 * NULL when there is none, or the host does not tell.
 */
extern int nfc_disk_entry (struct nfc_disk *disk, const char *key,
                           char **value, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

#endif /* VMDKIT_NFC_DISK_H */
