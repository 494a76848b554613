/* SPDX-License-Identifier: BSD-3-Clause */

/* A store in memory whose media fail when told to, and whose power can be
 * cut.
 *
 * Every change (write, truncate, punch, reserve, flush, and those of names)
 * is recorded in one order.  A replay of that record makes, for any moment
 * of it, a new store that holds what a machine might find after the power
 * went away there:
 *
 *  - what was flushed, file by file;
 *  - each sector of 512 bytes that was written since: as it was, or as any
 *    one of the later writes left it, whatever became of the others;
 *  - of the sizes that a file had since its flush any one; what a truncation
 *    cut off does not come back in a file that grew again afterwards;
 *  - names as they were at the last flush of the store, and then any number
 *    of the changes since in their order, as journals of file systems keep
 *    it.
 *
 * Stores, and media from them, may be used by many threads; a replay by one,
 * when nobody changes its store.
 */

#ifndef VMDKIT_TESTS_STORE_FAULT_H
#define VMDKIT_TESTS_STORE_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

/* Close it with store_close.  What is added is durable; it must not be there
 * yet.
 */
extern struct store *store_fault_new (void);
extern void store_fault_add (struct store *store, const char *name,
                             const void *bytes, size_t count);

/* What of the store can fail. */
enum fault_kind {
  FAULT_READ = 1,
  FAULT_WRITE = 2,
  FAULT_FLUSH = 4, /* of a medium */
  FAULT_TRUNCATE = 8,
  FAULT_PUNCH = 16,
  FAULT_RESERVE = 32,
  FAULT_NAMES = 64, /* create, remove, rename, and the store's flush */
};
#define FAULT_ALL 127
#define FAULT_CHANGES (FAULT_ALL & ~FAULT_READ)
/* What a full file system refuses. */
#define FAULT_SPACE (FAULT_WRITE | FAULT_PUNCH | FAULT_RESERVE | FAULT_NAMES)

struct fault {
  unsigned kinds;
  uint64_t nth; /* of those kinds, counted from 1 when the fault is set;
                   0: none */
  bool lasting; /* all that follow too */
  int errnum;
};

/* A write that fails has written some of its sectors.  A flush that failed
 * fails for good on that medium (media.h).
 */
extern void store_fault_set (struct store *store, const struct fault *fault);

/* How often the fault was met. */
extern uint64_t store_fault_hits (struct store *store);

/* Whether the fault has struck a flush. */
extern bool store_fault_flush_failed (struct store *store);

/* ENOSPC for what would make a file larger than BYTES. */
extern void store_fault_limit (struct store *store, uint64_t bytes);

/* All stores from now on: a file has one name, as on FAT. */
extern void store_fault_forbid_links (bool forbidden);

/* How many changes were recorded; what failed and did nothing is not. */
extern size_t store_fault_nr_ops (struct store *store);

/* One of them in words, for messages. */
extern void store_fault_describe (struct store *store, size_t op, char *text,
                                  size_t size);

/* -- Power cuts --------------------------------------------------------- */

struct replay;

/* STORE is borrowed. */
extern struct replay *replay_new (struct store *store);
extern void replay_free (struct replay *replay);

/* Go on to the moment after the first NR_OPS changes.  Never backwards. */
extern void replay_to (struct replay *replay, size_t nr_ops);

/* Whether there is anything that a power cut now could take away. */
extern bool replay_has_unflushed (const struct replay *replay);

enum power_cut {
  CUT_LOSES_ALL,  /* that was not flushed */
  CUT_KEEPS_ALL,  /* as when only the process dies */
  CUT_BY_SECTORS, /* each sector has its own fate, from the seed */
  CUT_BY_FILES,   /* each file has, and so have sizes and names */
};
extern struct store *replay_cut (const struct replay *replay,
                                 enum power_cut cut, uint64_t seed);

#endif /* VMDKIT_TESTS_STORE_FAULT_H */
