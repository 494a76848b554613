/* SPDX-License-Identifier: BSD-3-Clause */

/* Grain directory and grain tables: the two-level index that hosted sparse,
 * streamOptimized, COWD and seSparse extents share.
 *
 *   directory --(table index)--> table --(entry index)--> grain
 *
 * This room loads tables through the cache, walks them and merges what it
 * finds into runs; where a table is tells grain-directory, and where all of
 * them are table-places.  What an entry means differs from format to format,
 * and so does what is allowed; the driver answers that in struct grain_rules.
 *
 * Nothing here is proportional to the capacity: a directory is loaded a page
 * at a time, a table that lies in a hole of its file is known to be empty
 * without being read.  Where the extent has a redundant directory, its copy
 * of an entry stands in for one that cannot be right, with a warning.
 */

#ifndef VMDKIT_GRAIN_TABLE_H
#define VMDKIT_GRAIN_TABLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "cache.h"
#include "error.h"
#include "extent.h"
#include "table-places.h"

struct grain_index;

struct grain_rules {
  /* Where is the table that directory entry ENTRY (never 0) of table TABLE
   * names?  Sets *offset in bytes; the whole table lies inside the file.
   * Fails with ERR_DAMAGED for an entry that cannot be right.  Pure: no I/O,
   * no log.
   */
  int (*locate) (const struct grain_index *index, uint64_t table,
                 uint64_t entry, uint64_t *offset, struct vmdk_error *err);

  /* What does ENTRY (never 0: that is ABSENT in every format) of grain GRAIN
   * say?  For RUN_DATA sets *media_offset to where the grain starts; for
   * RUN_PACKED to where its marker does.  RUN_DAMAGED when it cannot be
   * right.  Called for each entry of a scan: cheap, no I/O in the good case.
   */
  enum run_state (*classify) (const struct grain_index *index, uint64_t grain,
                              uint64_t entry, uint64_t *media_offset);

  /* Set err for an entry that classify called RUN_DAMAGED. */
  void (*explain) (const struct grain_index *index, uint64_t grain,
                   uint64_t entry, struct vmdk_error *err);

  /* For formats that are written (grain-write.h): the entry that names a
   * grain at MEDIA_OFFSET, and the directory entry for a table at OFFSET,
   * stored at BYTES.
   */
  uint64_t (*encode) (const struct grain_index *index, uint64_t media_offset);
  void (*name_table) (const struct grain_index *index, uint8_t *bytes,
                      uint64_t offset);
};

/* Embedded in a driver's struct.  The first group is set by the driver
 * before grain_index_init and is constant afterwards.
 */
struct grain_index {
  struct extent *extent; /* the extent it belongs to: media, size, log */
  const struct grain_rules *rules;
  uint64_t grain_size;        /* bytes, a power of two */
  uint64_t entries_per_table; /* a power of two */
  uint64_t nr_tables;
  unsigned entry_size;       /* bytes of a table's and directory's entry */
  uint64_t directory_offset; /* bytes; that of a stream moves */
  uint64_t mirror_offset;    /* bytes, of the redundant directory; 0 = none */
  uint64_t metadata_end;     /* bytes: of what lies before all grains */
  uint64_t zero_entry;       /* "zeros, do not ask the parent"; 0: none */

  /* Set by grain_index_init. */
  unsigned grain_shift;
  unsigned table_shift; /* entries_per_table == 1 << table_shift */
  uint64_t nr_grains;
  uint64_t table_bytes;
  struct cache *cache;
  _Atomic uint64_t owner;

  /* Tables that were changed; NULL for an extent that is only read. */
  struct table_changes *changes;

  /* The last hole and the last data found in the file: a table in a hole is
   * empty (grain-directory).
   */
  struct {
    pthread_mutex_t lock;
    uint64_t hole_start, hole_end;
    uint64_t data_start, data_end;
  } holes;

  /* The last stretch of absent tables. */
  struct {
    pthread_mutex_t lock;
    uint64_t absent_first, absent_end; /* tables */

    /* Which of the tables that were last read together are zeros: bit i is
     * for table zeros_first + i.
     */
    uint64_t zeros_first, zeros;
  } seen;

  struct table_places places;
  _Atomic uint64_t last_table; /* loaded: to see sequential use */
  _Atomic bool mirror_used;    /* told to the log */
  bool ready;
};

extern int grain_index_init (struct grain_index *index, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Accepts one that was never initialised (all zeros). */
extern void grain_index_destroy (struct grain_index *index)
  __attribute__ ((nonnull (1)));

/* extent_ops.map for extents with an index. */
extern int grain_index_map (struct grain_index *index, uint64_t offset,
                            uint64_t count, enum map_detail detail,
                            struct run *run, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5, 6)));

/* One grain's entry; 0 when its table is absent.  *next, when not NULL, gets
 * the smallest entry of the same table that is greater (0 if there is none):
 * a bound for where a packed grain ends.
 */
extern int grain_index_entry (struct grain_index *index, uint64_t grain,
                              uint64_t *entry, uint64_t *next,
                              struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 5)));

/* Set err to why OFFSET, which map called DAMAGED, cannot be read.  Always
 * returns -1.  The error is prefixed and logged with extent_damaged.
 */
extern int grain_index_damage (struct grain_index *index, uint64_t offset,
                               struct vmdk_error *err)
  __attribute__ ((nonnull (1, 3)));

/* Forget what was read, because the medium has changed.  Nobody else uses
 * the index meanwhile.
 */
extern void grain_index_reload (struct grain_index *index)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_GRAIN_TABLE_H */
