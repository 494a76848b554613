/* SPDX-License-Identifier: BSD-3-Clause */

/* A disk on port 902 as one of core's media (media.h): its whole chain, as the
 * host reads it.
 */

#ifndef VMDKIT_NFC_MEDIA_H
#define VMDKIT_NFC_MEDIA_H

#include "media.h"
#include "nfc-disk.h"
#include "single-store.h"

/* As nfc_disk_open.  What the host tells of the disk goes to *KNOWN, whose
 * text ADAPTER is the size of an adapter's name.
 */
#define NFC_ADAPTER_SIZE 32
extern struct media *
nfc_media_open (const struct nfc_settings *settings,
                const struct nfc_ticket_office *office, const char *path,
                bool writable, const struct vmdk_log *log,
                struct single_disk *known, char adapter[NFC_ADAPTER_SIZE],
                enum nfc_reason *reason, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull));

/* nfc_disk_entry of a medium from here. */
extern int nfc_media_entry (struct media *media, const char *key, char **value,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull));

/* nfc_disk_cancel of a medium from here. */
extern void nfc_media_cancel (struct media *media) __attribute__ ((nonnull));

#endif /* VMDKIT_NFC_MEDIA_H */
