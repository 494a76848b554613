/* SPDX-License-Identifier: BSD-3-Clause */

/* Is a disk sound?  Every link of its chain, every extent, every entry of
 * every table; and mending what can be mended without guessing.
 *
 * What is found is told in findings.  An ERROR is something that is not as
 * it has to be: bytes that cannot be read, copies that differ.  A LEAK is
 * room that nothing uses.  A NOTE is odd, and does no harm.  After a crash of
 * ours there are leaks and notes only.
 *
 * A repair changes the first link alone, and only where a good copy says what
 * the bad one should be, or where the contents decide:
 *
 *   an entry that cannot be right   from its redundant copy, and the reverse
 *   a missing redundant table       made from the primary one, and the reverse
 *   a directory that the header     found beside the other one, if its tables
 *   has lost                        are the other's copies
 *   copies that both could be right
 *     after a crash                 the primary one counts
 *     if the file tells             by that one all of its room is used, and
 *                                   once; by the other it is not
 *     else                          left alone: nobody knows which it is
 *   room that nothing uses          given back, if nothing else is wrong
 *   the mark of a crash             taken off, if nothing else is wrong
 *   a stream without a directory    gets one, of the grains that it has
 *   bad tables of a stream, or an   are made anew, if a scan of it shows that
 *   empty directory over grains     no grain is missing
 *   grains that share their room    left alone: one of them is lost
 *
 * What can be read before a repair reads the same after it and at each moment
 * between, but where the primary table was found to be the wrong one, or a
 * stream's directory names nothing; it can be undone (repair.h).
 */

#ifndef VMDKIT_CHECK_H
#define VMDKIT_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "operation.h"
#include "store.h"

enum check_severity { CHECK_NOTE, CHECK_LEAK, CHECK_ERROR };

enum check_mending {
  CHECK_STAYS,    /* a repair does not touch it */
  CHECK_MENDABLE, /* a repair would */
  CHECK_MENDED,   /* and has */
};

/* Names are part of the report. */
#define CHECK_KINDS(X)                                       \
  X (CHECK_DESCRIPTOR, "descriptor")                         \
  X (CHECK_CREATE_TYPE, "create-type")                       \
  X (CHECK_CHAIN, "chain")                                   \
  X (CHECK_EXTENT, "extent")                                 \
  X (CHECK_CAPACITY, "capacity")                             \
  X (CHECK_HEADER, "header")                                 \
  X (CHECK_UNCLEAN, "unclean")                               \
  X (CHECK_DIRECTORY, "directory-entry")                     \
  X (CHECK_REDUNDANT_DIRECTORY, "redundant-directory-entry") \
  X (CHECK_ENTRY, "table-entry")                             \
  X (CHECK_REDUNDANT_ENTRY, "redundant-table-entry")         \
  X (CHECK_COPIES_DIFFER, "copies-differ")                   \
  X (CHECK_BEHIND_END, "entry-behind-end")                   \
  X (CHECK_SHARED_TABLE, "shared-table")                     \
  X (CHECK_SHARED_GRAIN, "shared-grain")                     \
  X (CHECK_STREAM, "stream")                                 \
  X (CHECK_DATA, "data")                                     \
  X (CHECK_LEAKED, "leaked")                                 \
  X (CHECK_NOT_CHECKED, "not-checked")

enum check_kind {
#define CHECK_KIND_ENUM_(id, name) id,
  CHECK_KINDS (CHECK_KIND_ENUM_)
#undef CHECK_KIND_ENUM_
    CHECK_NR_KINDS
};

extern const char *check_kind_name (enum check_kind kind);
extern const char *check_severity_name (enum check_severity severity);

#define CHECK_NOWHERE UINT64_MAX

struct check_finding {
  enum check_kind kind;
  enum check_severity severity;
  enum check_mending mending;
  const char *link;   /* the descriptor's name */
  const char *extent; /* the file's; NULL: it is about the link */
  uint64_t offset;    /* of what is wrong, in the file; or CHECK_NOWHERE */
  const char *text;   /* one printable line, without the names */
};

/* Of each kind so many findings are told; more are only counted. */
#define CHECK_MAX_TOLD 1000

struct check_options {
  bool data;   /* read all that is stored, and inflate what is packed */
  bool repair; /* with operation->dry_run: tell what a repair would do */

  /* Rebuild a stream of which grains may have been lost: they become zeros. */
  bool accept_loss;

  void (*found) (void *opaque, const struct check_finding *finding);
  void *opaque; /* FOUND may be NULL */
};

struct check_result {
  uint64_t nr_errors, nr_leaks, nr_notes; /* as found */
  uint64_t nr_mendable,
    nr_mended; /* errors and leaks; mendable: if repaired */
  uint64_t nr_errors_left, nr_leaks_left;
  uint64_t nr_of_kind[CHECK_NR_KINDS];
  uint64_t nr_unchecked; /* extents and parents that we cannot open, for no
                            fault of theirs that we know */
  uint64_t nr_links, nr_extents, nr_tables;
  uint64_t nr_grains; /* that are stored */
  uint64_t leaked;    /* bytes */
  char *backup;       /* made by a repair, or NULL; owned by the caller */
};

/* Check the disk NAME, with the chain unless the rules say single_link.  Fails
 * when that cannot be done: ERR_LOCKED when somebody writes to the disk or,
 * for a repair, has it open at all.
 */
extern int disk_check (struct store *store, const char *name,
                       enum store_open_flags flags,
                       const struct operation *operation,
                       const struct check_options *options,
                       struct check_result *result, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5, 6, 7)));

#endif /* VMDKIT_CHECK_H */
