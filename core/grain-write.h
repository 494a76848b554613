/* SPDX-License-Identifier: BSD-3-Clause */

/* Writing to an extent that has grains, in crash-safe order.
 *
 *  (1) A grain's data is on the medium before any table entry that names it:
 *      grain_extent_flush flushes, writes the tables, flushes.
 *  (2) A new grain is written whole, once: its parts that the request does
 *      not cover come from below, or are zeros because the room was.
 *  (3) Two requests for one grain that is not there wait for each other;
 *      requests for different grains do not.
 *  (4) A grain that was freed is used for nothing else before a commit has
 *      forgotten it.
 *
 * What differs from format to format (how entries look, where tables go,
 * what the header says) is in grain_rules and grain_writer_rules.
 */

#ifndef VMDKIT_GRAIN_WRITE_H
#define VMDKIT_GRAIN_WRITE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "extent.h"
#include "grain-alloc.h"
#include "grain-table.h"

struct grain_writer;

struct grain_writer_rules {
  /* Called once, before the first change of a table: say on the medium that
   * the extent is in use, durably.
   */
  int (*begin) (struct extent *extent, struct vmdk_error *err);

  /* Called once at the end, after everything is durable: say that it is
   * clean, durably.  Only if begin was called.
   */
  int (*finish) (struct extent *extent, struct vmdk_error *err);
};

/* Embedded in a driver's struct. */
struct grain_writer {
  struct grain_index *index; /* NULL: not writable */
  const struct grain_writer_rules *rules;
  struct grain_alloc alloc;

  struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct busy_grains *busy; /* being allocated or freed */
    bool begun;               /* rules->begin was called */
    uint64_t slab, slab_end;  /* room for new tables */
  } state;

  /* Held shared by whoever may use a grain that he looked up, and
   * exclusively, for a moment, before freed grains are used again.
   */
  pthread_rwlock_t in_use;
  _Atomic bool unflushed; /* something was written since the last flush */
};

extern int
grain_writer_init (struct grain_writer *writer, struct grain_index *index,
                   const struct grain_writer_rules *rules, uint64_t next,
                   uint64_t limit, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 6)));
extern void grain_writer_destroy (struct grain_writer *writer)
  __attribute__ ((nonnull (1)));

/* extent_ops for extents with an index, whose extent->writer is set. */
extern int grain_extent_write (struct extent *extent, const void *buf,
                               size_t count, uint64_t offset,
                               const struct below *below,
                               struct vmdk_error *err);
extern int grain_extent_check (struct extent *extent, uint64_t count,
                               uint64_t offset, unsigned flags,
                               const struct below *below,
                               struct vmdk_error *err);
extern int grain_extent_zero (struct extent *extent, uint64_t count,
                              uint64_t offset, unsigned flags,
                              const struct below *below,
                              struct vmdk_error *err);
extern int grain_extent_flush (struct extent *extent, struct vmdk_error *err);
extern int grain_extent_finish (struct extent *extent, struct vmdk_error *err);
extern void grain_extent_use_begin (struct extent *extent);
extern void grain_extent_use_end (struct extent *extent);

/* For operations that have the whole extent for themselves: they choose where
 * grains lie, and keep account of the room.
 *
 * Set the entry of GRAIN, whose table exists.  What the old entry named is
 * not freed: it is used again after the next grain_extent_flush, not before
 * (invariant 4), and what ENTRY names is written already (invariant 1).
 */
extern int grain_extent_set_entry (struct extent *extent, uint64_t grain,
                                   uint64_t entry, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* Say that the extent is in use, as the first change does: before the file is
 * cut, so that it is finished, also by who opens it next.
 */
extern int grain_extent_begin (struct extent *extent, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* The file ends at END, or is to be cut there by grain_extent_finish. */
extern void grain_extent_set_end (struct extent *extent, uint64_t end)
  __attribute__ ((nonnull (1)));

#define GRAIN_EXTENT_WRITE_OPS                                \
  .check = grain_extent_check, .write = grain_extent_write,   \
  .zero = grain_extent_zero,                                  \
  .flush = grain_extent_flush, .finish = grain_extent_finish, \
  .use_begin = grain_extent_use_begin, .use_end = grain_extent_use_end

#endif /* VMDKIT_GRAIN_WRITE_H */
