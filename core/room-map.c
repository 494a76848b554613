/* SPDX-License-Identifier: BSD-3-Clause */

/* Bits for the room of a file.  See room-map.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "room-map.h"

/* 64 MiB of bits: 256 GiB of sectors, 2 TiB of seSparse grains. */
#define WINDOW_UNITS (UINT64_C (1) << 29)

static uint64_t window_units = WINDOW_UNITS;

struct room_map {
  uint64_t unit, base;
  uint64_t nr_units;       /* of the file; the last may be cut */
  uint64_t size;           /* of the file */
  uint64_t first, in_view; /* units of the window */
  uint64_t window;         /* the most of them */
  uint64_t *bits;
};

void
room_map_window (uint64_t nr_units)
{
  window_units = nr_units;
}

struct room_map *
room_map_new (uint64_t size, uint64_t unit, uint64_t base,
              struct vmdk_error *err)
{
  CLEANUP_ROOM_MAP struct room_map *map = calloc (1, sizeof *map);

  if (!map) {
    fail_memory (err);
    return NULL;
  }
  map->size = size;
  map->unit = unit;
  map->base = base;
  map->nr_units = size <= base ? 0 : div_round_up (size - base, unit);
  map->window = min_u64 (map->nr_units, window_units);
  map->bits = calloc (map->window / 64 + 1, sizeof map->bits[0]);
  if (!map->bits) {
    fail_memory (err);
    return NULL;
  }
  map->in_view = map->window;
  return steal_ptr (&map);
}

void
room_map_free (struct room_map *map)
{
  if (!map)
    return;
  free (map->bits);
  free (map);
}

uint64_t
room_map_nr_windows (const struct room_map *map)
{
  return map->nr_units == 0 ? 1 : div_round_up (map->nr_units, map->window);
}

void
room_map_turn (struct room_map *map, uint64_t nr)
{
  map->first = nr * map->window;
  map->in_view = min_u64 (map->window, map->nr_units - map->first);
  memset (map->bits, 0, (map->window / 64 + 1) * sizeof map->bits[0]);
}

/* The bits of word I that are in [start, end). */
static uint64_t
mask_of (uint64_t i, uint64_t start, uint64_t end)
{
  uint64_t mask = UINT64_MAX;

  if (start > i * 64)
    mask &= UINT64_MAX << start % 64;
  if (end < (i + 1) * 64)
    mask &= (UINT64_C (1) << end % 64) - 1;
  return mask;
}

bool
room_map_take (struct room_map *map, uint64_t offset, uint64_t count)
{
  const uint64_t from = max_u64 (offset, map->base) - map->base;
  const uint64_t to = max_u64 (offset + count, map->base) - map->base;
  const uint64_t view_end = map->first + map->in_view;
  const uint64_t start = max_u64 (from / map->unit, map->first);
  const uint64_t end = min_u64 (div_round_up (to, map->unit), view_end);
  bool was_free = true;

  if (start >= end)
    return true;
  for (uint64_t i = (start - map->first) / 64;
       i <= (end - 1 - map->first) / 64; i++) {
    const uint64_t mask = mask_of (i, start - map->first, end - map->first);

    was_free &= !(map->bits[i] & mask);
    map->bits[i] |= mask;
  }
  return was_free;
}

/* The first unit of the window from I on whose bit is TAKEN; in_view if there
 * is none.
 */
static uint64_t
find_unit (const struct room_map *map, uint64_t i, bool taken)
{
  while (i < map->in_view) {
    uint64_t word = map->bits[i / 64];

    if (!taken)
      word = ~word;
    word &= UINT64_MAX << i % 64;
    if (word != 0)
      return min_u64 (i / 64 * 64 + __builtin_ctzll (word), map->in_view);
    i = (i / 64 + 1) * 64;
  }
  return map->in_view;
}

bool
room_map_free_from (const struct room_map *map, uint64_t from,
                    uint64_t *offset, uint64_t *length)
{
  const uint64_t unit =
    from <= map->base ? 0 : div_round_up (from - map->base, map->unit);
  const uint64_t start =
    find_unit (map, unit <= map->first ? 0 : unit - map->first, false);
  const uint64_t end = find_unit (map, start, true);

  if (start >= map->in_view)
    return false;
  *offset = map->base + (map->first + start) * map->unit;
  *length =
    min_u64 (map->base + (map->first + end) * map->unit, map->size) - *offset;
  return true;
}
