/* SPDX-License-Identifier: BSD-3-Clause */

/* What the tests of writing share: small disks of every kind, and random
 * requests to a disk beside its history.
 *
 * Nothing here is an assertion of cmocka, so threads may use it: what went
 * wrong is a text.
 */

#ifndef VMDKIT_TESTS_RIG_H
#define VMDKIT_TESTS_RIG_H

#include "disk.h"
#include "history.h"
#include "store-fault.h"

/* -- Disks -------------------------------------------------------------- */

extern const size_t nr_flavours;
extern const char *flavour_name (size_t flavour);

/* Whether the environment wants this kind: FAULT_FLAVOUR is the only one.
 * Without, all that get through a power cut.
 */
extern bool flavour_is_wanted (size_t flavour);

/* A disk in a store. */
struct built {
  struct store *store;
  char top[32];
  unsigned top_link;
  uint8_t *bytes; /* what it holds */
  uint64_t size;
};
extern void build (struct built *built, size_t flavour, uint64_t seed);
/* The content ID that it was built with. */
extern uint32_t built_cid (const struct built *built);
extern void built_free (struct built *built);

/* -- Requests ----------------------------------------------------------- */

struct rig {
  struct store *store; /* borrowed, as the next two */
  const char *top;
  struct history *history;
  struct resources *resources;
  struct disk *disk;
  uint64_t seed;

  /* The bytes of the disk that this rig changes, and when there are others
   * at work its share of those that are dealt out by threes of sectors.
   */
  uint64_t start, end;
  uint64_t shared_end;
  unsigned share, nr_shares; /* 0: it is alone */

  char text[HISTORY_TEXT_SIZE + ERROR_TEXT_SIZE]; /* what is wrong, or "" */
};

/* Open the disk; the rig's caller sets the history when he wants one.  -1 with
 * err set when it does not open.
 */
extern int rig_open (struct rig *rig, struct store *store, const char *top,
                     bool writable, uint64_t seed, struct vmdk_error *err);
extern void rig_close (struct rig *rig);

/* How a request ended. */
enum outcome {
  WENT_WELL,
  FAILED,       /* err says how; that may be right */
  FLUSH_FAILED, /* the same, of a flush */
  IS_WRONG,     /* text says what: never right */
};

/* One request: mostly a write, sometimes a flush, zeros, a trim, a read.  The
 * history follows.
 */
extern enum outcome rig_step (struct rig *rig, struct vmdk_error *err);
extern enum outcome rig_flush (struct rig *rig, struct vmdk_error *err);

/* Many requests by several threads, each to its own sectors.  They share
 * grains, never sectors.
 */
extern enum outcome rig_run_threads (struct rig *rig, unsigned nr_threads,
                                     unsigned nr_steps,
                                     struct vmdk_error *err);

/* After a request that failed, when reading works. */
extern enum outcome rig_settle (struct rig *rig);

/* The disk is as its history says. */
extern enum outcome rig_compare (struct rig *rig);

/* Read all of it; free the result.  NULL with err set. */
extern uint8_t *rig_read_all (struct rig *rig, struct vmdk_error *err);

/* Environment variables that are numbers. */
extern uint64_t number_from_environment (const char *name, uint64_t otherwise);

/* Numbers from *STATE. */
extern uint64_t rig_random (uint64_t *state);

#endif /* VMDKIT_TESTS_RIG_H */
