/* SPDX-License-Identifier: BSD-3-Clause */

/* Which grain-sized slots of an extent's file are used, and by which grain.
 *
 * An extent knows where each grain is, and nothing knows what each part of
 * the file is for.  Operations that move grains need that.  It is found by
 * walking all tables once, and kept by whoever moves something.
 *
 *   slot 0 | metadata | slot n | slot n+1 | table | ...  | end of the file
 *
 * Slots lie where the grains do: producers that do not align them shift all
 * by the same number of bytes.  A grain that lies between two slots is odd,
 * and uses both.
 *
 * Memory: two bits a slot, and a window in which the grain of each slot is
 * known, of a fixed size, which is moved over the file.
 */

#ifndef VMDKIT_GRAIN_ROOM_H
#define VMDKIT_GRAIN_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "grain-table.h"

#define ROOM_NO_GRAIN UINT64_MAX

/* How many slots a window has, and another number, for tests. */
extern uint64_t grain_room_window (void);
extern void grain_room_set_window (uint64_t nr_slots);

struct grain_room {
  struct grain_index *index;
  uint64_t phase;    /* bytes: where slot 0 starts */
  uint64_t first;    /* slot: those below are for metadata */
  uint64_t nr_slots; /* that the bits are for */
  uint64_t *used;    /* bits: something is there */
  uint64_t *fixed;   /* bits: it is no grain, or not only one */

  /* Of the walk. */
  uint64_t nr_grains; /* that have room */
  uint64_t nr_odd;    /* of these, not in a slot */
  uint64_t nr_breaks; /* where one grain does not follow the one before */

  struct {
    uint64_t first, end; /* slots */
    uint64_t *grains;    /* plus 1; 0: none */
  } window;
};

/* ERR_DAMAGED when something is not right in the tables: an extent is
 * repaired before anything in it is moved.  Destroy it also after a failure.
 */
extern int grain_room_init (struct grain_room *room, struct grain_index *index,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Accepts all zeros. */
extern void grain_room_destroy (struct grain_room *room)
  __attribute__ ((nonnull (1)));
#define CLEANUP_ROOM __attribute__ ((cleanup (grain_room_destroy)))

/* Call VISIT for each stretch of grains that have room and lie side by side,
 * in the disk's order, from grain FIRST on: NR of them at MEDIA_OFFSET.  Ends
 * when it returns not 0, and returns that.
 */
typedef int grain_visit (void *opaque, uint64_t grain, uint64_t nr,
                         uint64_t media_offset, struct vmdk_error *err);
extern int grain_room_walk (struct grain_index *index, uint64_t first,
                            grain_visit *visit, void *opaque,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 5)));

/* Call VISIT for each entry that is not 0 of the tables that are there, for
 * grains behind the extent's end: with a header that knows a larger size
 * these count for whoever goes by it.  Ends when VISIT returns not 0.
 */
typedef int grain_behind (void *opaque, uint64_t grain,
                          struct vmdk_error *err);
extern int grain_room_walk_behind (struct grain_index *index,
                                   grain_behind *visit, void *opaque,
                                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* Make the window begin with slot FIRST, if SLOT does not lie in it. */
extern int grain_room_look (struct grain_room *room, uint64_t first,
                            uint64_t slot, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* The grain in SLOT, which lies in the window or behind it; ROOM_NO_GRAIN. */
extern uint64_t grain_room_owner (const struct grain_room *room, uint64_t slot)
  __attribute__ ((nonnull (1)));

/* GRAIN has SLOT now; ROOM_NO_GRAIN: it is free. */
extern int grain_room_set (struct grain_room *room, uint64_t slot,
                           uint64_t grain, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* The first free slot from SLOT on; behind the file all are free. */
extern uint64_t grain_room_next_free (const struct grain_room *room,
                                      uint64_t slot) __attribute__ ((nonnull));

/* The last free slot below END and not below SLOT; END: there is none. */
extern uint64_t grain_room_last_free (const struct grain_room *room,
                                      uint64_t slot, uint64_t end)
  __attribute__ ((nonnull));

/* Where the last used slot ends, or the metadata. */
extern uint64_t grain_room_end (const struct grain_room *room)
  __attribute__ ((nonnull));

/* Where the file would end if no slot were free for which there is a grain
 * that could be moved there.
 */
extern uint64_t grain_room_least_end (const struct grain_room *room)
  __attribute__ ((nonnull));

static inline bool
room_bit (const uint64_t *bits, uint64_t i)
{
  return bits[i / 64] >> i % 64 & 1;
}

static inline bool
grain_room_used (const struct grain_room *room, uint64_t slot)
{
  return slot < room->nr_slots && room_bit (room->used, slot);
}

static inline bool
grain_room_fixed (const struct grain_room *room, uint64_t slot)
{
  return slot < room->nr_slots && room_bit (room->fixed, slot);
}

static inline uint64_t
grain_room_offset (const struct grain_room *room, uint64_t slot)
{
  return room->phase + (slot << room->index->grain_shift);
}

/* Of a place that is a slot. */
static inline uint64_t
grain_room_slot (const struct grain_room *room, uint64_t media_offset)
{
  return (media_offset - room->phase) >> room->index->grain_shift;
}

static inline bool
grain_room_is_slot (const struct grain_room *room, uint64_t media_offset)
{
  return ((media_offset - room->phase) & (room->index->grain_size - 1)) == 0;
}

#endif /* VMDKIT_GRAIN_ROOM_H */
