/* SPDX-License-Identifier: BSD-3-Clause */

/* Every table of an extent, in order, as it is on the medium: for whoever
 * checks, repairs or brings in line what a crash left (table-check.h,
 * check.h).
 *
 * Nothing is judged here but where tables are.  Tables that neither
 * directory names are stepped over.  What lies side by side in the file is
 * read at once; the cache of tables is not used, and not filled.
 */

#ifndef VMDKIT_TABLE_WALK_H
#define VMDKIT_TABLE_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"
#include "grain-table.h"

/* A table, and its redundant copy where the extent has such. */
struct walked_copy {
  uint64_t entry;         /* of the directory; 0: it names no table */
  uint64_t offset;        /* bytes; 0: there is none, or BAD says why not */
  const uint8_t *entries; /* until the next step; NULL if OFFSET is 0 */
  bool is_bad;
  struct vmdk_error bad;
};

struct walked_table {
  uint64_t nr; /* the index's nr_tables: there are no more */
  struct walked_copy primary, mirror;
};

struct table_walk;

extern struct table_walk *table_walk_new (struct grain_index *index,
                                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* NULL is allowed. */
extern void table_walk_free (struct table_walk *walk);
DEFINE_CLEANUP (table_walk, struct table_walk *, table_walk_free)
#define CLEANUP_TABLE_WALK CLEANUP (table_walk)

/* The next table that one of the directories names. */
extern int table_walk_next (struct table_walk *walk,
                            struct walked_table *table, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

#endif /* VMDKIT_TABLE_WALK_H */
