/* SPDX-License-Identifier: BSD-3-Clause */

/* Grain tables that were changed and are not yet, or not only, on the
 * medium.
 *
 * Tables in the cache are constant.  Before a table is changed for the first
 * time a copy of it comes here, and from then on everybody who looks up a
 * grain finds the copy (grain-table.c asks here first).  Its entries are
 * read and written one at a time, atomically, so a new entry is seen at once
 * and readers take no lock for it.
 *
 *  (1) An entry is set only after the grain it names has been written.
 *  (2) table_changes_write writes entries as they were when
 *      table_changes_begin was called, and the caller flushes the file
 *      between the two: so entries reach the medium after their grains.
 *  (3) A table that no directory entry names yet is written and flushed
 *      before its directory entry is.
 *  (4) A table stays here until it has been written, and then until
 *      table_changes_trim drops it.
 */

#ifndef VMDKIT_TABLE_CHANGES_H
#define VMDKIT_TABLE_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct grain_index;
struct media;
struct table_changes;

/* A table in use; the entries are aligned for atomic access. */
struct changed_table {
  uint64_t table;
  uint8_t *entries;
};

extern struct table_changes *table_changes_new (struct grain_index *index,
                                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern void table_changes_free (struct table_changes *changes);

/* Whether there is any.  Takes no lock. */
extern bool table_changes_any (const struct table_changes *changes)
  __attribute__ ((nonnull (1)));

/* The changed copy of TABLE, pinned until table_changes_put; NULL when it is
 * as on the medium.
 */
extern struct changed_table *table_changes_find (struct table_changes *changes,
                                                 uint64_t table)
  __attribute__ ((nonnull (1)));
extern void table_changes_put (struct table_changes *changes,
                               struct changed_table *changed);

/* The same, making the copy if there is none.  When the table is on no
 * medium as yet, ALLOCATE (OPAQUE) is asked for room for it and for its
 * redundant copy (0: none), in bytes.  Pinned.
 */
extern struct changed_table *
table_changes_get (struct table_changes *changes, uint64_t table,
                   int (*allocate) (void *opaque, uint64_t *offset,
                                    uint64_t *mirror, struct vmdk_error *err),
                   void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 5)));

/* Set the entry of GRAIN, which lies in CHANGED.  Returns what it was. */
extern uint64_t table_changes_set (struct table_changes *changes,
                                   struct changed_table *changed,
                                   uint64_t grain, uint64_t entry)
  __attribute__ ((nonnull (1, 2)));

/* A commit: collect what is dirty; returns whether anything is.  Then (the
 * caller has flushed the file) write it; 0 means that the caller's next flush
 * makes it durable.  After a failure everything is dirty again.  Commits do
 * not overlap.
 */
struct table_commit;
extern int table_changes_begin (struct table_changes *changes,
                                struct table_commit **commit,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));
extern int table_changes_write (struct table_changes *changes,
                                struct table_commit *commit,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* OK says whether it is all durable now.  NULL is allowed. */
extern void table_changes_end (struct table_changes *changes,
                               struct table_commit *commit, bool ok)
  __attribute__ ((nonnull (1)));

/* Whether there are so many tables that those which are on the medium should
 * be dropped; and dropping them, for which the caller makes sure that nobody
 * looks anything up meanwhile.
 */
extern bool table_changes_are_many (const struct table_changes *changes)
  __attribute__ ((nonnull (1)));
extern void table_changes_trim (struct table_changes *changes)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_TABLE_CHANGES_H */
