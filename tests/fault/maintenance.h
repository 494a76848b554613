/* SPDX-License-Identifier: BSD-3-Clause */

/* Operations of maintenance (grow, shrink, defragment, repair, rename ...)
 * against faults and power cuts: contract C8.
 *
 * A test describes an operation and calls maintenance_check.  That
 *
 *  - runs it, and runs it a second time;
 *  - cuts the power at each change that the run made, in each way that
 *    store-fault.h knows.  The disk then opens, without being written, and
 *    reads as before or as after; it can be used; the operation can be run
 *    again, also when the power goes in the midst of that, and also when the
 *    disk was changed in between; in the end all is as after a good run;
 *  - lets the n-th call of the store fail, for n = 1, 2, 3 ...: the operation
 *    says so, the disk is whole, and the next run succeeds.
 *
 * A test program needs no more than
 *
 *   static int
 *   grow (struct store *store, const char *top, struct vmdk_error *err)
 *   {
 *     return disk_grow (store, top, NEW_SIZE, err);
 *   }
 *
 *   static const struct maintenance op = {
 *     .name = "grow", .flavour = "split sparse", .run = grow,
 *     .grows_by = 512 * 1000,
 *   };
 *   ...
 *     maintenance_check (&op);
 *
 * FAULT_SEED is the first disk's seed, FAULT_ROUNDS how many there are (1);
 * every FAULT_STRIDE-th call fails (1: each); MAINTENANCE_MOMENTS is about how
 * many changes of a run get a power cut (of a run that makes more, every
 * second, or third ...).
 */

#ifndef VMDKIT_TESTS_MAINTENANCE_H
#define VMDKIT_TESTS_MAINTENANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"
#include "operation.h"
#include "rig.h"
#include "store.h"

/* All but name, run and one of the next two can be left out. */
struct maintenance {
  const char *name; /* for messages */

  /* The disk: one of flavours.c by its name, or what PREPARE builds from a
   * seed.  That sets store (store_fault_new), top, bytes and size (what the
   * disk reads as, malloc'ed); it may have changed the store in any way, all
   * of which is durable when the operation runs.
   */
  const char *flavour;
  void (*prepare) (struct built *built, uint64_t seed);

  /* The operation; TOP is the name before it. */
  int (*run) (struct store *store, const char *top, struct vmdk_error *err);

  /* What else must hold after a run that succeeded, TOP being the name after
   * it.  `return fail (err, ...)` if it does not.
   */
  int (*after) (struct store *store, const char *top, struct vmdk_error *err);

  /* The disk has another name afterwards, and not the old one.  The old name
   * may go or stay until then.
   */
  const char *top_after;

  /* It is larger by so many bytes afterwards, which are zeros. */
  uint64_t grows_by;

  /* It reads as something else afterwards: BYTES is what it read as before
   * (and zeros), to be changed.  With MIXED a crash may leave some sectors
   * as before and some as after.
   */
  void (*change) (uint8_t *bytes, uint64_t size);
  bool mixed;

  /* Until the operation is done, opening the disk fails with this. */
  enum vmdk_error_kind error_before;

  /* Until it is done, some of the disk cannot be read (ERR_DAMAGED). */
  bool damaged_before;

  /* When the disk is as after the operation, running it again may fail with
   * this: ENOENT of a rename, EEXIST.
   */
  int errnum_again;

  /* Failures of these kinds (FAULT_TRUNCATE ...) need not be told, as when
   * they only mean that space is not given back.  FAULT_PUNCH and
   * FAULT_RESERVE never need be.
   */
  unsigned may_ignore;

  /* The disk cannot be opened for writing, or would not be used so. */
  bool not_written;

  /* A run leaves no names behind but those of an undisturbed run, however it
   * was disturbed before.
   */
  bool leaves_nothing;
};

/* What an operation is given, as a program would. */
extern struct operation *maintenance_operation (void);
extern void maintenance_operation_free (struct operation *operation);
DEFINE_CLEANUP (operation, struct operation *, maintenance_operation_free)
#define CLEANUP_OPERATION CLEANUP (operation)

/* What went wrong, with all that is needed to see it again. */
#define MAINTENANCE_TEXT_SIZE 3000

/* Try one disk.  -1 and TEXT if something is wrong. */
extern int maintenance_try (const struct maintenance *op, uint64_t seed,
                            char text[MAINTENANCE_TEXT_SIZE]);

/* The same as an assertion of cmocka, for all wanted seeds.  Says how many
 * cuts and faults there were.
 */
extern void maintenance_check (const struct maintenance *op);

#endif /* VMDKIT_TESTS_MAINTENANCE_H */
