/* SPDX-License-Identifier: BSD-3-Clause */

/* What a new link takes over from the disk databases of a chain.
 *
 * A key is looked up as VMware does: in the youngest link, then in its
 * ancestors.  The values come from files, so only those that can be written
 * again are taken over; the rest is made up as for a new disk.
 */

#ifndef VMDKIT_INHERIT_H
#define VMDKIT_INHERIT_H

#include <stdint.h>

#include "chain.h"
#include "create.h"

/* The value of KEY, which has its "ddb." prefix: NULL when there is none, or
 * one that a descriptor could not hold.  Lives as long as the chain.
 */
extern const char *inherited_value (const struct chain *chain, const char *key)
  __attribute__ ((nonnull (1, 2)));

extern const char *inherited_adapter (const struct chain *chain)
  __attribute__ ((nonnull (1), returns_nonnull));
extern unsigned inherited_hw_version (const struct chain *chain)
  __attribute__ ((nonnull (1)));

/* What else the databases have, as lines of a descriptor ("" when there is
 * nothing); owned by the caller.  Not what is above, nor what is true only of
 * the old files: identities of VirtualBox and of snapshots that the storage
 * makes, filters, IDs of contents.
 */
extern char *inherited_rest (const struct chain *chain, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* For a disk of NR_SECTORS on ADAPTER, where the chain has none. */
extern struct disk_geometry inherited_geometry (const struct chain *chain,
                                                uint64_t nr_sectors,
                                                const char *adapter)
  __attribute__ ((nonnull (1, 3)));

#endif /* VMDKIT_INHERIT_H */
