/* SPDX-License-Identifier: BSD-3-Clause */

/* What the parts of inventory share; not for others. */

#ifndef VMDKIT_INVENTORY_PARTS_H
#define VMDKIT_INVENTORY_PARTS_H

#include "inventory.h"

/* The disks among DEVICES (which may be NULL); the texts stay theirs.  What
 * was read before an error is for disk_list_reset.
 */
extern int disk_list_read (struct disk_list *list,
                           const struct xml_node *devices,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));
extern void disk_list_reset (struct disk_list *list)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_INVENTORY_PARTS_H */
