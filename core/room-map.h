/* SPDX-License-Identifier: BSD-3-Clause */

/* Which room of a file is taken: a bit for each unit (a sector, mostly).
 *
 * What is large is looked at through a window of bounded size, and whoever
 * fills the map does so again for each window.  So the answers are exact,
 * whatever the size of the file.
 */

#ifndef VMDKIT_ROOM_MAP_H
#define VMDKIT_ROOM_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"

struct room_map;

/* For a file of SIZE bytes, in units of UNIT bytes that are counted from byte
 * BASE.  What lies before BASE is not seen.
 */
extern struct room_map *room_map_new (uint64_t size, uint64_t unit,
                                      uint64_t base, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (4)));

/* NULL is allowed. */
extern void room_map_free (struct room_map *map);
DEFINE_CLEANUP (room_map, struct room_map *, room_map_free)
#define CLEANUP_ROOM_MAP CLEANUP (room_map)

extern uint64_t room_map_nr_windows (const struct room_map *map)
  __attribute__ ((nonnull (1)));

/* Look at window NR; all of it is free. */
extern void room_map_turn (struct room_map *map, uint64_t nr)
  __attribute__ ((nonnull (1)));

/* Take the units that [offset, offset+count) touches, as far as they are in
 * the window.  False if one was taken already.
 */
extern bool room_map_take (struct room_map *map, uint64_t offset,
                           uint64_t count) __attribute__ ((nonnull (1)));

/* The next stretch of the window, from byte FROM on, that is free: *offset,
 * and how long, in bytes.  False if there is none.
 */
extern bool room_map_free_from (const struct room_map *map, uint64_t from,
                                uint64_t *offset, uint64_t *length)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));

/* For tests: units of a window; a multiple of 64. */
extern void room_map_window (uint64_t nr_units);

#endif /* VMDKIT_ROOM_MAP_H */
