/* SPDX-License-Identifier: BSD-3-Clause */

/* The n-th call of the store fails, for n = 1, 2, 3 ... until a workload
 * meets no failure (C6).
 *
 *  - Some request fails with the error that was injected, and says so.
 *  - What was readable stays readable: every sector is as it was, or in the
 *    range of the request that failed as it would have become.
 *  - Requests go on afterwards; when nothing fails any more they work, but
 *    for flushes after one has failed.
 *  - The disk opens again, after the process died and after a power cut, and
 *    has lost nothing that was flushed.
 *
 * FAULT_SEED is the first workload's seed, FAULT_ROUNDS how many there are for
 * each kind of disk and of fault, FAULT_FLAVOUR the only kind of disk; every
 * FAULT_STRIDE-th call fails (1: each).
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "rig.h"

#define NR_STEPS 40
#define NR_STEPS_AFTER 6

struct trial {
  size_t flavour;
  uint64_t seed;
  struct fault fault;
  const char *top;
  struct store *store;
  struct rig rig;
};

static uint64_t nr_trials;

static void __attribute__ ((noreturn))
broken (const struct trial *t, const char *what, const char *text)
{
  print_error ("%s, seed %" PRIu64 ", call %" PRIu64
               " of kinds %u%s fails with %s\n%s: %s\n",
               flavour_name (t->flavour), t->seed, t->fault.nth,
               t->fault.kinds, t->fault.lasting ? " and all later ones" : "",
               strerror (t->fault.errnum), what, text);
  _fail (__FILE__, __LINE__);
  abort ();
}

static void
stop_faults (const struct trial *t)
{
  const struct fault none = { 0 };

  store_fault_set (t->store, &none);
}

/* A request failed: rightly? */
static void
check_failure (struct trial *t, enum outcome outcome,
               const struct vmdk_error *err)
{
  if (outcome == IS_WRONG)
    broken (t, "contents", t->rig.text);
  if (outcome != WENT_WELL && store_fault_hits (t->store) == 0)
    broken (t, "failed without a fault", err->text);
  if (outcome != WENT_WELL && err->errnum != t->fault.errnum)
    broken (t, "failed in another way", err->text);
}

/* Requests until one fails or, when the fault lasts, some more; then the
 * contents are settled.  Reading has to work for that, so faults of reading
 * do not last.  Returns whether one failed.
 */
static bool
run_with_fault (struct trial *t)
{
  struct vmdk_error err = { 0 };
  int left = NR_STEPS_AFTER;

  for (int i = 0; i < NR_STEPS && left > 0; i++) {
    const enum outcome outcome = rig_step (&t->rig, &err);

    if (outcome == WENT_WELL)
      continue;
    check_failure (t, outcome, &err);
    if (rig_settle (&t->rig) != WENT_WELL)
      broken (t, "after the failure", t->rig.text);
    left--;
  }
  return left < NR_STEPS_AFTER;
}

/* A cleanup may have met the fault and not told, as when space that is not
 * needed cannot be given back.  A fault of a flush must not be lost.
 */
static void
check_told (const struct trial *t, bool told)
{
  if (!told && t->fault.kinds == FAULT_FLUSH)
    broken (t, "the fault", "nobody was told");
}

static void
run_without_fault (struct trial *t)
{
  struct vmdk_error err = { 0 };

  for (int i = 0; i < NR_STEPS_AFTER; i++) {
    const enum outcome outcome = rig_step (&t->rig, &err);

    if (outcome == IS_WRONG
        || (outcome != WENT_WELL && !store_fault_flush_failed (t->store)))
      broken (t, "request afterwards",
              outcome == IS_WRONG ? t->rig.text : err.text);
    if (outcome != WENT_WELL && rig_settle (&t->rig) != WENT_WELL)
      broken (t, "request afterwards", t->rig.text);
  }
  if (rig_flush (&t->rig, &err) != WENT_WELL
      && !store_fault_flush_failed (t->store))
    broken (t, "flush afterwards", err.text);
  if (rig_compare (&t->rig) != WENT_WELL)
    broken (t, "at the end", t->rig.text);
}

/* The disk as another process finds it, then changed by that. */
static void
check_reopen (struct trial *t, struct store *store, const char *how)
{
  const size_t at = store_fault_nr_ops (t->store);
  char text[HISTORY_TEXT_SIZE];
  struct vmdk_error err = { 0 };
  struct rig rig;
  CLEANUP_FREE uint8_t *bytes = NULL;

  if (rig_open (&rig, store, t->top, true, t->seed, &err) == -1
      || !(bytes = rig_read_all (&rig, &err)))
    broken (t, how, err.text);
  if (history_check (t->rig.history, bytes, at, text) == -1)
    broken (t, how, text);
  rig.history = history_new (bytes, disk_size (rig.disk));
  for (int i = 0; i < NR_STEPS_AFTER; i++)
    if (rig_step (&rig, &err) != WENT_WELL)
      broken (t, how, *rig.text ? rig.text : err.text);
  if (rig_compare (&rig) != WENT_WELL || disk_finish (rig.disk, &err) == -1)
    broken (t, how, *rig.text ? rig.text : err.text);
  history_free (rig.history);
  rig_close (&rig);
}

static void
check_cuts (struct trial *t)
{
  struct replay *replay = replay_new (t->store);

  replay_to (replay, store_fault_nr_ops (t->store));
  for (enum power_cut cut = CUT_LOSES_ALL; cut <= CUT_BY_FILES; cut++) {
    struct store *store = replay_cut (replay, cut, t->seed + t->fault.nth);

    check_reopen (t, store, "after a power cut");
    store_close (store);
  }
  replay_free (replay);
}

/* Returns whether the fault was met. */
static bool
try_fault (struct trial *t)
{
  struct vmdk_error err = { 0 };
  struct built b;
  bool hit, told;

  build (&b, t->flavour, t->seed);
  t->store = b.store;
  t->top = b.top;
  if (rig_open (&t->rig, b.store, b.top, true, t->seed, &err) == -1)
    broken (t, "open", err.text);
  t->rig.history = history_new (b.bytes, b.size);
  store_fault_set (b.store, &t->fault);
  told = run_with_fault (t);
  hit = store_fault_hits (b.store) > 0;
  if (hit)
    check_told (t, told);
  stop_faults (t);
  run_without_fault (t);
  rig_close (&t->rig);
  check_cuts (t);
  check_reopen (t, b.store, "reopened");
  history_free (t->rig.history);
  built_free (&b);
  nr_trials++;
  return hit;
}

static void
try_all (const struct fault *fault)
{
  const uint64_t first = number_from_environment ("FAULT_SEED", 1);
  const uint64_t rounds = number_from_environment ("FAULT_ROUNDS", 1);
  const uint64_t stride = number_from_environment ("FAULT_STRIDE", 1);
  struct trial t = { .fault = *fault };

  for (t.flavour = 0; t.flavour < nr_flavours; t.flavour++)
    for (t.seed = first; t.seed < first + rounds; t.seed++) {
      if (!flavour_is_wanted (t.flavour))
        continue;
      t.fault.nth = 1;
      while (try_fault (&t))
        t.fault.nth += stride;
    }
  print_message ("%" PRIu64 " trials so far\n", nr_trials);
}

static void
test_one_call_fails (void **state)
{
  (void) state;
  try_all (&(struct fault){ .kinds = FAULT_CHANGES, .errnum = EIO });
}

static void
test_one_flush_fails (void **state)
{
  (void) state;
  try_all (&(struct fault){ .kinds = FAULT_FLUSH, .errnum = EIO });
}

static void
test_one_read_fails (void **state)
{
  (void) state;
  try_all (&(struct fault){ .kinds = FAULT_READ, .errnum = EIO });
}

static void
test_file_system_is_full (void **state)
{
  (void) state;
  try_all (&(struct fault){
    .kinds = FAULT_SPACE, .errnum = ENOSPC, .lasting = true });
}

static void
test_all_changes_fail (void **state)
{
  (void) state;
  try_all (
    &(struct fault){ .kinds = FAULT_CHANGES, .errnum = EIO, .lasting = true });
}

/* Files may not grow beyond so many bytes. */
static void
try_limit (size_t flavour, uint64_t seed)
{
  struct trial t = { .flavour = flavour, .seed = seed };
  struct vmdk_error err = { 0 };
  struct built b;

  t.fault.errnum = ENOSPC;
  build (&b, flavour, seed);
  t.store = b.store;
  t.top = b.top;
  if (rig_open (&t.rig, b.store, b.top, true, seed, &err) == -1)
    broken (&t, "open", err.text);
  t.rig.history = history_new (b.bytes, b.size);
  store_fault_limit (b.store, b.size / 8 + seed * 70000 % b.size);
  for (int i = 0; i < NR_STEPS; i++) {
    const enum outcome outcome = rig_step (&t.rig, &err);

    if (outcome == IS_WRONG)
      broken (&t, "contents", t.rig.text);
    if (outcome != WENT_WELL && err.errnum != ENOSPC)
      broken (&t, "failed in another way", err.text);
    if (outcome != WENT_WELL && rig_settle (&t.rig) != WENT_WELL)
      broken (&t, "after the failure", t.rig.text);
  }
  store_fault_limit (b.store, UINT64_MAX);
  run_without_fault (&t);
  rig_close (&t.rig);
  check_cuts (&t);
  check_reopen (&t, b.store, "reopened");
  history_free (t.rig.history);
  built_free (&b);
}

static void
test_limits (void **state)
{
  const uint64_t rounds = number_from_environment ("FAULT_ROUNDS", 1);
  const uint64_t stride = number_from_environment ("FAULT_STRIDE", 1);

  (void) state;
  for (size_t flavour = 0; flavour < nr_flavours; flavour++)
    for (uint64_t seed = 1; seed <= 20 * rounds; seed += stride)
      if (flavour_is_wanted (flavour))
        try_limit (flavour, seed);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_one_call_fails),
    cmocka_unit_test (test_one_flush_fails),
    cmocka_unit_test (test_one_read_fails),
    cmocka_unit_test (test_file_system_is_full),
    cmocka_unit_test (test_all_changes_fail),
    cmocka_unit_test (test_limits),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
