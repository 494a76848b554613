/* SPDX-License-Identifier: BSD-3-Clause */

/* A bounded cache of blocks: grain tables, directory pages, chain regions,
 * inflated grains.
 *
 * The memory is bounded by the budget and by nothing else: not by a disk's
 * capacity, a chain's depth or the number of clients.  A block that is in
 * use is never taken away, so the budget can be exceeded by what the
 * requests in flight hold.
 *
 * Single flight: when several threads want one absent block, one of them
 * gets it to fill, the others wait until it is published or given up.  No
 * lock is held while a block is being filled.
 */

#ifndef VMDKIT_CACHE_H
#define VMDKIT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct cache;

/* A block as its users see it.  DATA is constant once published. */
struct cache_block {
  size_t size;
  uint8_t *data;
};

/* BUDGET in bytes; 0 is allowed and keeps (almost) nothing. */
extern struct cache *cache_new (size_t budget, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2)));

/* All blocks must have been put back.  NULL is allowed. */
extern void cache_free (struct cache *cache);

/* A number that no other owner of blocks in this cache has. */
extern uint64_t cache_new_owner (struct cache *cache)
  __attribute__ ((nonnull (1)));

/* Drop every block of OWNER.  None may be in use or being filled. */
extern void cache_forget (struct cache *cache, uint64_t owner)
  __attribute__ ((nonnull (1)));

/* Get block INDEX of OWNER, pinned until cache_put.
 *
 * When it is there (perhaps after waiting for another thread that fills it)
 * *fill is false.  Otherwise *fill is true and the caller gets a new block
 * with SIZE uninitialised bytes that only he can see; he must fill it and
 * call cache_publish, after which he still holds it, or cache_abandon, which
 * frees it.  NULL (memory could not be had) sets err.
 */
extern struct cache_block *cache_get (struct cache *cache, uint64_t owner,
                                      uint64_t index, size_t size, bool *fill,
                                      struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5, 6)));

/* Get it only if it is there and published; never waits.  NULL if not. */
extern struct cache_block *cache_peek (struct cache *cache, uint64_t owner,
                                       uint64_t index)
  __attribute__ ((warn_unused_result, nonnull (1)));

/* Get it to fill only if nobody has it or is filling it; never waits.  NULL
 * if somebody has, or if memory is short.  For reading ahead.
 */
extern struct cache_block *cache_claim (struct cache *cache, uint64_t owner,
                                        uint64_t index, size_t size)
  __attribute__ ((warn_unused_result, nonnull (1)));

/* Give up all but the first SIZE bytes of a block that is being filled.
 * Returns the block, which may have moved.
 */
extern struct cache_block *
cache_shrink (struct cache *cache, struct cache_block *block, size_t size)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

extern void cache_publish (struct cache *cache, struct cache_block *block)
  __attribute__ ((nonnull (1, 2)));
extern void cache_abandon (struct cache *cache, struct cache_block *block)
  __attribute__ ((nonnull (1, 2)));

/* Give back a pinned block.  NULL is allowed. */
extern void cache_put (struct cache *cache, struct cache_block *block)
  __attribute__ ((nonnull (1)));

/* Bytes in the cache now, and whether a block of SIZE bytes could be added
 * without dropping another.
 */
extern size_t cache_used (const struct cache *cache)
  __attribute__ ((nonnull (1)));
extern bool cache_has_room (const struct cache *cache, size_t size)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_CACHE_H */
