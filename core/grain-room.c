/* SPDX-License-Identifier: BSD-3-Clause */

/* What is where in an extent's file.  See grain-room.h. */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "grain-directory.h"
#include "grain-room.h"

/* Two bits each: 128 MiB, for a file of 32 TiB with usual grains. */
#define MAX_SLOTS (UINT64_C (1) << 29)

/* 32 MiB for 256 GiB of usual grains. */
static uint64_t window_slots = UINT64_C (1) << 22;

uint64_t
grain_room_window (void)
{
  return window_slots;
}

void
grain_room_set_window (uint64_t nr_slots)
{
  window_slots = nr_slots;
}

/* -- Bits --------------------------------------------------------------- */

static void
set_bit (uint64_t *bits, uint64_t i, bool value)
{
  const uint64_t bit = UINT64_C (1) << i % 64;

  bits[i / 64] = value ? bits[i / 64] | bit : bits[i / 64] & ~bit;
}

static int
grow_bits (uint64_t **bits, uint64_t old, uint64_t nr, struct vmdk_error *err)
{
  uint64_t *more = realloc (*bits, nr / 8);

  if (!more)
    return fail_memory (err);
  memset (more + old / 64, 0, (nr - old) / 8);
  *bits = more;
  return 0;
}

/* Have bits for the first NR slots, and some more. */
static int
have_slots (struct grain_room *room, uint64_t nr, struct vmdk_error *err)
{
  const uint64_t rounded = (nr + 4096) / 64 * 64;

  if (nr <= room->nr_slots)
    return 0;
  if (nr > MAX_SLOTS)
    return fail (err, ERR_UNSUPPORTED,
                 "its file has room for %" PRIu64
                 " grains, and more than %" PRIu64
                 " cannot be moved: convert the disk",
                 nr, MAX_SLOTS);
  if (grow_bits (&room->used, room->nr_slots, rounded, err) == -1
      || grow_bits (&room->fixed, room->nr_slots, rounded, err) == -1)
    return -1;
  room->nr_slots = rounded;
  return 0;
}

uint64_t
grain_room_next_free (const struct grain_room *room, uint64_t slot)
{
  while (slot < room->nr_slots && room_bit (room->used, slot))
    slot += slot % 64 == 0 && room->used[slot / 64] == UINT64_MAX ? 64 : 1;
  return slot;
}

uint64_t
grain_room_last_free (const struct grain_room *room, uint64_t slot,
                      uint64_t end)
{
  for (uint64_t s = end; s > slot;) {
    if (s % 64 == 0 && s <= room->nr_slots
        && room->used[s / 64 - 1] == UINT64_MAX) {
      s -= min_u64 (64, s - slot);
      continue;
    }
    s--;
    if (!grain_room_used (room, s))
      return s;
  }
  return end;
}

uint64_t
grain_room_end (const struct grain_room *room)
{
  uint64_t s = room->nr_slots;

  while (s > room->first && !room_bit (room->used, s - 1))
    s -= s % 64 == 0 && s >= 64 && room->used[s / 64 - 1] == 0
           ? min_u64 (64, s - room->first)
           : 1;
  return s;
}

uint64_t
grain_room_least_end (const struct grain_room *room)
{
  uint64_t nr = 0, s, end = room->first;

  for (s = room->first; s < room->nr_slots; s++)
    if (room_bit (room->fixed, s))
      end = s + 1;
    else
      nr += room_bit (room->used, s);
  for (s = room->first; nr > 0; s++)
    nr -= !grain_room_fixed (room, s);
  return max_u64 (s, end);
}

/* -- Walking ------------------------------------------------------------ */

int
grain_room_walk (struct grain_index *index, uint64_t first, grain_visit *visit,
                 void *opaque, struct vmdk_error *err)
{
  const uint64_t size = index->extent->size;
  uint64_t offset = first << index->grain_shift;

  while (offset < size) {
    struct run run;
    int r = 0;

    if (grain_index_map (index, offset, size - offset, MAP_WHERE, &run, err)
        == -1)
      return -1;
    if (run.state == RUN_DAMAGED) {
      grain_index_damage (index, offset, err);
      return fail_prefix (err, "repair the disk first");
    }
    if (run.state == RUN_DATA)
      r = visit (opaque, offset >> index->grain_shift,
                 div_round_up (run.length, index->grain_size),
                 run.media_offset, err);
    if (r != 0)
      return r;
    offset += run.length;
  }
  return 0;
}

static int
walk_table_behind (struct grain_index *index, uint64_t table, uint8_t *entries,
                   grain_behind *visit, void *opaque, struct vmdk_error *err)
{
  const uint64_t first = table << index->table_shift;
  uint64_t offset, mirror;
  int r = 0;

  if (grain_index_places (index, table, &offset, &mirror, err) == -1)
    return -1;
  if (offset == 0)
    return 0;
  if (media_pread (index->extent->media, entries, index->table_bytes, offset,
                   err)
      == -1)
    return -1;
  for (size_t i = 0; r == 0 && i < index->entries_per_table; i++)
    if (first + i >= index->nr_grains
        && grain_entry_load (index, entries, i) != 0)
      r = visit (opaque, first + i, err);
  return r;
}

int
grain_room_walk_behind (struct grain_index *index, grain_behind *visit,
                        void *opaque, struct vmdk_error *err)
{
  CLEANUP_FREE uint8_t *entries = malloc (index->table_bytes);
  int r = 0;

  if (!entries)
    return fail_memory (err);
  for (uint64_t t = (index->nr_grains - 1) >> index->table_shift;
       r == 0 && t < index->nr_tables; t++)
    r = walk_table_behind (index, t, entries, visit, opaque, err);
  return r;
}

/* -- Filling in --------------------------------------------------------- */

static int
find_phase (void *opaque, uint64_t grain, uint64_t nr, uint64_t media_offset,
            struct vmdk_error *err)
{
  struct grain_room *room = opaque;

  (void) grain, (void) nr, (void) err;
  room->phase = media_offset & (room->index->grain_size - 1);
  return 1;
}

/* Mark the slots that [offset, offset+count) touches as fixed. */
static int
add_fixed (struct grain_room *room, uint64_t offset, uint64_t count,
           struct vmdk_error *err)
{
  const unsigned shift = room->index->grain_shift;
  const uint64_t end = offset + count;

  if (end <= room->phase)
    return 0;
  offset = max_u64 (offset, room->phase) - room->phase;
  if (have_slots (room, ((end - room->phase - 1) >> shift) + 1, err) == -1)
    return -1;
  for (uint64_t s = offset >> shift; s <= (end - room->phase - 1) >> shift;
       s++) {
    set_bit (room->used, s, true);
    set_bit (room->fixed, s, true);
  }
  return 0;
}

static int
add_tables (struct grain_room *room, struct vmdk_error *err)
{
  struct grain_index *index = room->index;

  for (uint64_t t = 0; t < index->nr_tables; t++) {
    uint64_t offset, mirror;

    if (grain_index_places (index, t, &offset, &mirror, err) == -1)
      return fail_prefix (err, "repair the disk first");
    if ((offset != 0
         && add_fixed (room, offset, index->table_bytes, err) == -1)
        || (mirror != 0
            && add_fixed (room, mirror, index->table_bytes, err) == -1))
      return -1;
  }
  return 0;
}

struct filling {
  struct grain_room *room;
  uint64_t next; /* where the grain after the last one would lie */
};

static int
fail_shared (const struct grain_room *room, uint64_t grain, uint64_t slot,
             struct vmdk_error *err)
{
  return fail (err, ERR_DAMAGED,
               "repair the disk first: grain %" PRIu64
               " shares its place, byte %" PRIu64
               ", with another grain or a table",
               grain, grain_room_offset (room, slot));
}

static int
add_grains (void *opaque, uint64_t grain, uint64_t nr, uint64_t media_offset,
            struct vmdk_error *err)
{
  struct filling *filling = opaque;
  struct grain_room *room = filling->room;
  const uint64_t bytes = nr << room->index->grain_shift;

  room->nr_breaks += room->nr_grains > 0 && media_offset != filling->next;
  room->nr_grains += nr;
  filling->next = media_offset + bytes;
  if (!grain_room_is_slot (room, media_offset)) {
    room->nr_odd += nr;
    return add_fixed (room, media_offset, bytes, err);
  }

  const uint64_t first = grain_room_slot (room, media_offset);
  if (have_slots (room, first + nr, err) == -1)
    return -1;
  for (uint64_t s = first; s < first + nr; s++) {
    if (room_bit (room->used, s) && room->nr_odd == 0)
      return fail_shared (room, grain + (s - first), s, err);
    set_bit (room->used, s, true);
  }
  return 0;
}

int
grain_room_init (struct grain_room *room, struct grain_index *index,
                 struct vmdk_error *err)
{
  struct filling filling = { .room = room };

  *room = (struct grain_room){ .index = index };
  if (grain_room_walk (index, 0, find_phase, room, err) == -1)
    return -1;
  room->first =
    index->metadata_end <= room->phase
      ? 0
      : div_round_up (index->metadata_end - room->phase, index->grain_size);
  if (have_slots (room,
                  max_u64 (room->first,
                           index->extent->media->size >> index->grain_shift),
                  err)
        == -1
      || add_tables (room, err) == -1)
    return -1;
  return grain_room_walk (index, 0, add_grains, &filling, err);
}

void
grain_room_destroy (struct grain_room *room)
{
  free (room->used);
  free (room->fixed);
  free (room->window.grains);
  *room = (struct grain_room){ 0 };
}

/* -- The window --------------------------------------------------------- */

static int
add_owners (void *opaque, uint64_t grain, uint64_t nr, uint64_t media_offset,
            struct vmdk_error *err)
{
  struct grain_room *room = opaque;
  uint64_t s = grain_room_slot (room, media_offset);

  (void) err;
  if (!grain_room_is_slot (room, media_offset))
    return 0;
  for (uint64_t i = 0; i < nr; i++, s++)
    if (s >= room->window.first && s < room->window.end)
      room->window.grains[s - room->window.first] = grain + i + 1;
  return 0;
}

int
grain_room_look (struct grain_room *room, uint64_t first, uint64_t slot,
                 struct vmdk_error *err)
{
  if (room->window.grains && slot >= room->window.first
      && slot < room->window.end)
    return 0;
  if (!room->window.grains) {
    /* Fewer for a small file, and then the window never moves. */
    const uint64_t nr = min_u64 (window_slots, 2 * room->nr_slots);

    room->window.grains = calloc (nr, sizeof room->window.grains[0]);
    if (!room->window.grains)
      return fail_memory (err);
    room->window.end = nr;
  }
  room->window.end = first + (room->window.end - room->window.first);
  room->window.first = first;
  memset (room->window.grains, 0,
          (room->window.end - first) * sizeof room->window.grains[0]);
  return grain_room_walk (room->index, 0, add_owners, room, err);
}

uint64_t
grain_room_owner (const struct grain_room *room, uint64_t slot)
{
  if (slot < room->window.first || slot >= room->window.end)
    return ROOM_NO_GRAIN;
  return room->window.grains[slot - room->window.first] - 1;
}

int
grain_room_set (struct grain_room *room, uint64_t slot, uint64_t grain,
                struct vmdk_error *err)
{
  if (have_slots (room, slot + 1, err) == -1)
    return -1;
  set_bit (room->used, slot, grain != ROOM_NO_GRAIN);
  if (slot >= room->window.first && slot < room->window.end)
    room->window.grains[slot - room->window.first] = grain + 1;
  return 0;
}
