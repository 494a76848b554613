/* SPDX-License-Identifier: BSD-3-Clause */

/* Which link of a chain answers for each unit of its address space.
 *
 * Asking every link in turn makes deep chains slow.  Here, region by region,
 * one byte a unit tells which link is the first that holds anything of that
 * unit, so that a random read costs the same at depth 32 as at depth 1.
 * Regions are made on first touch and live in the table cache, so they count
 * against its budget.
 *
 * An owner is where the search starts, not a promise: links before it hold
 * nothing of the unit; the owner holds some of it, perhaps not all.  That
 * stays right whatever the links' grain sizes and however their extents are
 * aligned.
 */

#ifndef VMDKIT_OWNERS_H
#define VMDKIT_OWNERS_H

#include <stddef.h>
#include <stdint.h>

#include "cache.h"
#include "error.h"
#include "link.h"

#define CHAIN_MAX_LINKS 255 /* numbers 0 to 254; 255 is OWNER_NONE */
#define OWNER_NONE 255

struct owners;

/* LINKS and VISIBLE (how far each link can be seen from the top, in bytes)
 * are borrowed.
 */
extern struct owners *owners_new (struct cache *cache, struct link **links,
                                  const uint64_t *visible, size_t nr_links,
                                  struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5)));
extern void owners_free (struct owners *owners);

/* A region in use; all zeros at first. */
struct owners_view {
  struct cache_block *block;
  uint64_t region;
};

/* The owner at OFFSET, and in *length for how many bytes from there (at
 * least 1, at most COUNT) it is the same.  Keeps the region pinned in VIEW.
 * Returns -1 with err set when it cannot be had, then ask the links.
 */
extern int owners_find (struct owners *owners, struct owners_view *view,
                        uint64_t offset, uint64_t count, uint64_t *length,
                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5, 6)));

extern void owners_view_finish (struct owners *owners,
                                struct owners_view *view)
  __attribute__ ((nonnull (2)));

#endif /* VMDKIT_OWNERS_H */
