/* SPDX-License-Identifier: BSD-3-Clause */

/* What the parts of the check share.  Private to check*.c.
 *
 *   check             links and extents, findings, data
 *   check-header      a directory that the header has lost
 *   check-descriptor  the text against the extents
 *   check-tables      directories, tables and their copies, entry by entry
 *   check-rooms       who uses which room of the file, and what nobody does
 *   check-stream      the blocks of a stream, and a stream without directory
 */

#ifndef VMDKIT_CHECK_PARTS_H
#define VMDKIT_CHECK_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "extent.h"
#include "link.h"
#include "repair.h"
#include "table-walk.h"

struct checker {
  const struct operation *operation;
  const struct check_options *options;
  struct check_result *result;
  uint64_t done, total; /* progress */

  const char *link, *file;   /* what is being looked at */
  struct repairer *repairer; /* NULL: not to be repaired */
  bool may_repair;           /* the first link, if that is wanted */
  bool is_ancestor;          /* this is not the first link */
  bool silent;               /* it is being looked at again: tell nothing */
};

/* Which copy is right where two entries differ and both could be. */
enum copy_verdict { COPY_UNKNOWN, COPY_PRIMARY, COPY_MIRROR };

/* An extent with grains. */
struct extent_check {
  struct checker *checker;
  struct extent *extent;
  const char *file; /* its name within the store */
  struct extent_layout layout;
  struct grain_index *index;
  uint64_t nr_bad;   /* errors that a repair leaves */
  uint64_t used_end; /* bytes: of the last grain or table */
  enum copy_verdict verdict;
  enum { ROOM_UNKNOWN, ROOM_OWN, ROOM_SHARED } tables;
  bool is_new; /* what is open is no longer what is there */
};

/* Tell a finding about what the checker looks at. */
extern void check_tell (struct checker *checker, enum check_kind kind,
                        enum check_severity severity,
                        enum check_mending mending, uint64_t offset,
                        const char *fmt, ...)
  __attribute__ ((format (printf, 6, 7), nonnull (1, 6)));

/* What a finding that a repair mends is, here and now. */
static inline enum check_mending
check_mends (const struct checker *checker)
{
  if (checker->is_ancestor || !checker->may_repair)
    return CHECK_STAYS;
  return checker->repairer && !checker->operation->dry_run ? CHECK_MENDED
                                                           : CHECK_MENDABLE;
}

/* NR more units of work are done. */
extern int check_advance (struct checker *checker, uint64_t nr,
                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* Look for headers of NAME's files in which one of the two directories is
 * lost and can be found by the other; mend them.  *found: there are such.
 */
extern int check_lost_directories (struct checker *checker,
                                   struct store *store, const char *name,
                                   enum store_open_flags flags, bool *found,
                                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 5, 6)));

/* The text of LINK against what its extents are; EXTENTS may be NULL. */
extern int check_descriptor (struct checker *checker, const struct link *link,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Find what is wrong with directories and tables, and mend it. */
extern int check_tables (struct extent_check *check, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* What a reader sees: the entry of GRAIN, by the primary table or the
 * redundant one in its place.  RUN_DATA or RUN_PACKED set *media_offset.
 */
extern enum run_state check_tables_see (const struct grain_index *index,
                                        const struct walked_table *table,
                                        uint64_t i, uint64_t *media_offset)
  __attribute__ ((nonnull (1, 2, 4)));

/* The same with VERDICT (not COPY_UNKNOWN) where the copies differ and neither
 * is bad, or where the primary one is and the other says 0.  *doubtful: that
 * is so here.
 */
extern enum run_state
check_tables_suppose (const struct grain_index *index,
                      const struct walked_table *table, uint64_t i,
                      enum copy_verdict verdict, uint64_t *media_offset,
                      bool *doubtful) __attribute__ ((nonnull (1, 2, 5, 6)));

/* How the room of the file would be used with VERDICT.  Tells nothing. */
struct rooms_tally {
  uint64_t nr_shared; /* grains and tables that want the room of others */
  uint64_t nr_bad;    /* doubtful entries that cannot be right */
  uint64_t nr_absent; /* doubtful entries that name no room */
  uint64_t leaked;    /* bytes */
};
extern int
check_rooms_suppose (struct extent_check *check, enum copy_verdict verdict,
                     struct rooms_tally *tally, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));

/* Whether a table has room that a grain or another table has, too: then what
 * is changed in it changes something else.  Bad grains count as such.
 */
extern int check_rooms_of_tables (struct extent_check *check, bool *shared,
                                  struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Then who uses which room: sets used_end. */
extern int check_rooms (struct extent_check *check, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* How much of the room from OFFSET on, which no entry names, is a block of a
 * stream that belongs there (a marker, padding), or *leaked: a grain that
 * nothing names, or other bytes.
 */
extern int check_stream_block (const struct extent_check *check,
                               uint64_t offset, uint64_t count,
                               uint64_t *length, bool *leaked,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4, 5, 6)));

/* After tables and rooms, where they told more than BEFORE: new tables for a
 * stream whose own are damaged, when a scan shows that no grain is missing.
 */
extern int check_stream_tables (struct extent_check *check,
                                const struct check_result *before,
                                bool *mended, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* Headers, footer and markers of a stream; rebuilds one without a directory.
 */
extern int check_stream (struct extent_check *check, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_CHECK_PARTS_H */
