/* SPDX-License-Identifier: BSD-3-Clause */

/* Where in the file the grain tables of an extent are: all of them, as a
 * list of places.  It is made by reading the whole directory, when somebody
 * first asks, and is constant from then on: a driver asks about every entry
 * it looks at.
 */

#ifndef VMDKIT_TABLE_PLACES_H
#define VMDKIT_TABLE_PLACES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct grain_index;
struct table_ranges;

/* Embedded in struct grain_index. */
struct table_places {
  pthread_mutex_t lock;                   /* for making the list */
  _Atomic (struct table_ranges *) ranges; /* NULL: not made yet */
};

extern void table_places_init (struct table_places *places)
  __attribute__ ((nonnull (1)));
extern void table_places_destroy (struct table_places *places)
  __attribute__ ((nonnull (1)));

/* Whether [offset, offset+count) of the file touches a grain table (of the
 * directory or of the redundant one): a grain cannot be there.  Reads the
 * whole directory once, on first use.  For rules->classify.  Where tables
 * lie scattered all over the file only the first few thousand places are
 * known; a full check belongs to a checking tool.
 */
extern bool grain_index_hits_table (const struct grain_index *index,
                                    uint64_t offset, uint64_t count)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_TABLE_PLACES_H */
