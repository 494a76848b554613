/* SPDX-License-Identifier: BSD-3-Clause */

/* Regions of owners.  See owners.h. */

#include <config.h>

#include <string.h>

#include "checked.h"
#include "owners.h"

/* Units of a region, which is one cache block of as many bytes. */
#define REGION_UNITS 1024

/* A unit is the chain's smallest grain, but not smaller or larger than
 * this: COWD grains of one sector would cost 128 bytes for each 64 KiB.
 */
#define MIN_UNIT 4096
#define MAX_UNIT (1 << 20)

struct owners {
  struct cache *cache;
  uint64_t id; /* owner number in the cache */
  struct link **links;
  const uint64_t *visible;
  size_t nr_links;
  unsigned unit_shift;
};

struct owners *
owners_new (struct cache *cache, struct link **links, const uint64_t *visible,
            size_t nr_links, struct vmdk_error *err)
{
  struct owners *owners = calloc (1, sizeof *owners);
  uint64_t unit = MAX_UNIT;

  if (!owners) {
    fail_memory (err);
    return NULL;
  }
  for (size_t i = 0; i < nr_links; i++) {
    const uint64_t grain = link_grain_size (links[i]);

    if (grain != 0)
      unit = min_u64 (unit, grain);
  }
  owners->cache = cache;
  owners->id = cache_new_owner (cache);
  owners->links = links;
  owners->visible = visible;
  owners->nr_links = nr_links;
  owners->unit_shift = __builtin_ctzll (max_u64 (unit, MIN_UNIT));
  return owners;
}

void
owners_free (struct owners *owners)
{
  if (!owners)
    return;
  cache_forget (owners->cache, owners->id);
  free (owners);
}

/* Give the units of [start, end), relative to the region, to LINK unless
 * they have an owner.  Returns how many units it got.
 */
static size_t
claim_units (const struct owners *owners, uint8_t *units, uint64_t start,
             uint64_t end, size_t link)
{
  const size_t first = start >> owners->unit_shift;
  const size_t last = (end - 1) >> owners->unit_shift;
  size_t claimed = 0;

  for (size_t i = first; i <= last; i++)
    if (units[i] == OWNER_NONE) {
      units[i] = (uint8_t) link;
      claimed++;
    }
  return claimed;
}

/* Fill the region that starts at BASE. */
static int
fill_region (const struct owners *owners, uint64_t base, uint8_t *units,
             struct vmdk_error *err)
{
  const uint64_t region_size = (uint64_t) REGION_UNITS << owners->unit_shift;
  size_t left = REGION_UNITS;

  memset (units, OWNER_NONE, REGION_UNITS);
  for (size_t i = 0; i < owners->nr_links && left > 0; i++) {
    const uint64_t end = min_u64 (base + region_size, owners->visible[i]);
    struct run run;

    for (uint64_t at = base; at < end; at += run.length) {
      if (link_map (owners->links[i], at, end - at, MAP_STATE, &run, err)
          == -1)
        return -1;
      if (run.state != RUN_ABSENT)
        left -=
          claim_units (owners, units, at - base, at - base + run.length, i);
    }
  }
  return 0;
}

static struct cache_block *
get_region (struct owners *owners, uint64_t region, struct vmdk_error *err)
{
  bool fill;
  struct cache_block *block =
    cache_get (owners->cache, owners->id, region, REGION_UNITS, &fill, err);

  if (!block || !fill)
    return block;
  if (fill_region (owners,
                   region * ((uint64_t) REGION_UNITS << owners->unit_shift),
                   block->data, err)
      == -1) {
    cache_abandon (owners->cache, block);
    return NULL;
  }
  cache_publish (owners->cache, block);
  return block;
}

int
owners_find (struct owners *owners, struct owners_view *view, uint64_t offset,
             uint64_t count, uint64_t *length, struct vmdk_error *err)
{
  const uint64_t unit = offset >> owners->unit_shift;
  const uint64_t region = unit / REGION_UNITS;
  size_t i = unit % REGION_UNITS;
  uint64_t next;
  uint8_t owner;

  if (!view->block || view->region != region) {
    owners_view_finish (owners, view);
    view->block = get_region (owners, region, err);
    view->region = region;
    if (!view->block)
      return -1;
  }
  owner = view->block->data[i];
  next = (unit + 1) << owners->unit_shift;
  while (++i < REGION_UNITS && next - offset < count
         && view->block->data[i] == owner)
    next += UINT64_C (1) << owners->unit_shift;
  *length = min_u64 (count, next - offset);
  return owner;
}

void
owners_view_finish (struct owners *owners, struct owners_view *view)
{
  if (view->block)
    cache_put (owners->cache, view->block);
  view->block = NULL;
}
