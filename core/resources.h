/* SPDX-License-Identifier: BSD-3-Clause */

/* What all open disks of a process share: the caches with their budgets,
 * the decompressors, the thread that reads ahead.
 *
 * One of these is made by the program (the plugin makes one a server), so
 * that the memory is bounded for the process and not for each disk.
 */

#ifndef VMDKIT_RESOURCES_H
#define VMDKIT_RESOURCES_H

#include <stddef.h>

#include "cache.h"
#include "compress.h"
#include "error.h"
#include "readahead.h"

#define DEFAULT_TABLE_BUDGET ((size_t) 64 << 20)
#define DEFAULT_GRAIN_BUDGET ((size_t) 64 << 20)

/* What the grains that are being inflated at one moment may take.  Some
 * hundred usual grains of 64 KiB: nobody waits for it.  Of the giant ones
 * that a hostile file may declare, one or two.
 */
#define INFLATING_MEMORY ((size_t) 64 << 20)

struct resources {
  struct cache *tables; /* grain tables, directory pages, chain regions */
  struct cache *grains; /* inflated grains */
  struct inflater_pool *inflaters;
  struct readahead *readahead;
};

extern struct resources *resources_new (size_t table_budget,
                                        size_t grain_budget,
                                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (3)));

/* Every disk that used them must be closed.  NULL is allowed. */
extern void resources_free (struct resources *resources);

#endif /* VMDKIT_RESOURCES_H */
