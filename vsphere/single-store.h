/* SPDX-License-Identifier: BSD-3-Clause */

/* One medium that holds a whole disk's bytes, presented as a disk: a store
 * with a descriptor, made up in memory, that has the medium as its only
 * extent.  So core serves disks that a host reads for us as it serves all
 * others.
 *
 *   SINGLE_STORE_NAME         the descriptor: RW n VMFS "disk-flat.vmdk"
 *   disk-flat.vmdk            the medium
 *
 * What is written goes to the medium.  The descriptor has no content ID worth
 * keeping: that of the real disk is the host's business.
 */

#ifndef VMDKIT_SINGLE_STORE_H
#define VMDKIT_SINGLE_STORE_H

#include "error.h"
#include "media.h"
#include "store.h"

#define SINGLE_STORE_NAME "disk.vmdk"

struct single_disk {
  const char *adapter; /* NULL, and what is none: "lsilogic" */
  uint64_t cylinders;  /* 0: made up from the size */
  unsigned heads, sectors;
};

/* Takes over MEDIA, also on failure.  Its size is a multiple of 512, and not
 * 0.
 */
extern struct store *single_store_new (struct media *media,
                                       const struct single_disk *disk,
                                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

#endif /* VMDKIT_SINGLE_STORE_H */
