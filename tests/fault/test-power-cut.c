/* SPDX-License-Identifier: BSD-3-Clause */

/* Power cuts at every moment of random workloads, on every kind of disk.
 *
 * After each cut, whichever unflushed sectors, sizes and names survived:
 *
 *  - the disk opens for reading, which writes nothing (B4), and each sector
 *    holds its last flushed version or a later one; sectors that nobody wrote
 *    are untouched (C1, C2, C3);
 *  - if the contents changed, so did the content ID (C7);
 *  - a check finds leaks at most, and it opens for writing without repair, and
 *    reads the same (C4);
 *  - what is written then and flushed is there after the next power cut, all
 *    the rest is unchanged (no two grains share their room), and sometimes
 *    the power goes in the midst of that, too.
 *
 * FAULT_SCHEDULES is how many cuts are wanted at least, FAULT_SEED the first
 * workload's seed, FAULT_FLAVOUR the only kind of disk.
 */

#include <config.h>

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

#include "check.h"
#include "checked.h"
#include "rig.h"

/* Sanitizers make all this ten times as slow. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define DEFAULT_SCHEDULES 2000
#else
#define DEFAULT_SCHEDULES 10000
#endif

#define NR_STEPS 40
#define NR_THREADS 4
#define NR_STEPS_AFTER 4

/* One cut, for messages. */
struct schedule {
  size_t flavour;
  uint64_t seed;
  size_t at; /* changes of the first store */
  enum power_cut cut;
  const struct built *first;
  bool parallel; /* the workload has threads */
};

static uint64_t nr_schedules;

static void __attribute__ ((noreturn))
broken (const struct schedule *s, const char *what, const char *text)
{
  static const char *const cuts[] = { "loses all", "keeps all", "by sectors",
                                      "by files" };
  char op[200] = "nothing";

  if (s->at > 0)
    store_fault_describe (s->first->store, s->at - 1, op, sizeof op);
  print_error ("%s, seed %" PRIu64 "%s, cut after %zu changes (last: %s), %s\n"
               "%s: %s\n",
               flavour_name (s->flavour), s->seed,
               s->parallel ? ", threads" : "", s->at, op, cuts[s->cut], what,
               text);
  _fail (__FILE__, __LINE__);
  abort ();
}

/* Read all of a disk that was opened for writing or not. */
static uint8_t *
read_crashed (const struct schedule *s, struct rig *rig, struct store *store,
              const char *top, bool writable)
{
  struct vmdk_error err;
  uint8_t *bytes;

  if (rig_open (rig, store, top, writable, s->seed + s->at, &err) == -1)
    broken (s, writable ? "open for writing" : "open", err.text);
  bytes = rig_read_all (rig, &err);
  if (!bytes)
    broken (s, writable ? "read while writable" : "read", err.text);
  return bytes;
}

/* A child must not take changed contents for those it was made on. */
static void
check_cid (const struct schedule *s, const struct rig *rig,
           const uint8_t *bytes)
{
  const struct link *link = chain_link (disk_chain (rig->disk), 0);
  uint32_t cid;

  if (!descriptor_cid (link->descriptor, &cid))
    broken (s, "content ID", "there is none");
  if (cid == built_cid (s->first)
      && memcmp (bytes, s->first->bytes, s->first->size) != 0)
    broken (s, "content ID", "is the old one, but the contents changed");
}

static void
note_error (void *opaque, const struct check_finding *finding)
{
  if (finding->severity == CHECK_ERROR)
    snprintf (opaque, ERROR_TEXT_SIZE, "%s", finding->text);
}

/* A check calls nothing wrong; it may find room that nothing uses. */
static void
check_sound (const struct schedule *s, const struct rig *rig,
             struct store *store, const char *top)
{
  char text[ERROR_TEXT_SIZE] = "";
  const struct operation operation = {
    .rules = { .open = { .resources = rig->resources, .lock = true } },
  };
  const struct check_options options = { .found = note_error, .opaque = text };
  struct check_result result;
  struct vmdk_error err;

  if (disk_check (store, top, STORE_FROM_FILE, &operation, &options, &result,
                  &err)
      == -1)
    broken (s, "check", err.text);
  if (result.nr_errors > 0)
    broken (s, "check", text);
}

/* Open read-only; compare with HISTORY at the moment AT. */
static uint8_t *
check_read_only (const struct schedule *s, struct store *store,
                 const char *top, struct history *history, size_t at)
{
  const size_t nr_ops = store_fault_nr_ops (store);
  char text[HISTORY_TEXT_SIZE];
  struct rig rig;
  uint8_t *bytes = read_crashed (s, &rig, store, top, false);

  if (history_check (history, bytes, at, text) == -1)
    broken (s, "contents", text);
  check_cid (s, &rig, bytes);
  check_sound (s, &rig, store, top);
  rig_close (&rig);
  if (store_fault_nr_ops (store) != nr_ops)
    broken (s, "open for reading", "something was written");
  return bytes;
}

/* Cut the power once more, while the disk that survived the first cut is
 * opened and changed.
 */
static void
check_second_cut (const struct schedule *s, struct store *store,
                  const char *top, struct history *history, uint64_t seed)
{
  const size_t at = rig_random (&seed) % (store_fault_nr_ops (store) + 1);
  struct replay *replay = replay_new (store);
  struct store *again;

  replay_to (replay, at);
  again = replay_cut (replay, rig_random (&seed) % 4, seed);
  free (check_read_only (s, again, top, history, at));
  store_close (again);
  replay_free (replay);
}

/* Change the disk that survived, flush, and see that it stays. */
static void
check_writable (const struct schedule *s, struct store *store, const char *top,
                const uint8_t *bytes)
{
  struct rig rig;
  struct vmdk_error err = { 0 };
  CLEANUP_FREE uint8_t *same = read_crashed (s, &rig, store, top, true);
  struct history *history = history_new (bytes, disk_size (rig.disk));
  const uint64_t seed = s->seed * 1000003 + s->at * 4 + s->cut + 1;

  if (memcmp (bytes, same, disk_size (rig.disk)) != 0)
    broken (s, "open for writing", "the contents changed");
  rig.history = history;
  for (int i = 0; i < NR_STEPS_AFTER; i++)
    if (rig_step (&rig, &err) != WENT_WELL)
      broken (s, "request after the crash", *rig.text ? rig.text : err.text);
  if (rig_flush (&rig, &err) != WENT_WELL || rig_compare (&rig) != WENT_WELL
      || (seed % 2 && disk_finish (rig.disk, &err) == -1))
    broken (s, "after the crash", *rig.text ? rig.text : err.text);
  rig_close (&rig);

  struct replay *replay = replay_new (store);
  replay_to (replay, store_fault_nr_ops (store));
  struct store *later = replay_cut (replay, CUT_BY_SECTORS, seed);
  free (check_read_only (s, later, top, history, store_fault_nr_ops (store)));
  store_close (later);
  replay_free (replay);
  if (seed % 4 < 2)
    check_second_cut (s, store, top, history, seed);
  history_free (history);
}

static void
check_cut (const struct schedule *s, const struct replay *replay,
           const char *top, struct history *history, uint64_t seed)
{
  struct store *store = replay_cut (replay, s->cut, seed);
  CLEANUP_FREE uint8_t *bytes =
    check_read_only (s, store, top, history, s->at);

  check_writable (s, store, top, bytes);
  store_close (store);
  nr_schedules++;
}

/* Run a workload; at its end the disk is as its history says. */
static struct history *
run_workload (const struct schedule *s, struct built *b)
{
  struct rig rig;
  struct vmdk_error err = { 0 };

  if (rig_open (&rig, b->store, b->top, true, s->seed, &err) == -1)
    broken (s, "open", err.text);
  rig.history = history_new (b->bytes, b->size);
  if (s->parallel
      && rig_run_threads (&rig, NR_THREADS, NR_STEPS / NR_THREADS, &err)
           != WENT_WELL)
    broken (s, "request", *rig.text ? rig.text : err.text);
  for (int i = 0; i < NR_STEPS && !s->parallel; i++)
    if (rig_step (&rig, &err) != WENT_WELL)
      broken (s, "request", *rig.text ? rig.text : err.text);
  if (rig_compare (&rig) != WENT_WELL)
    broken (s, "at the end", rig.text);
  if (s->seed % 2) {
    const uint64_t began = history_flush_begin (rig.history);

    if (disk_finish (rig.disk, &err) == -1)
      broken (s, "finish", err.text);
    history_flush_end (rig.history, began, store_fault_nr_ops (b->store));
  }
  rig_close (&rig);
  return rig.history;
}

static void
check_workload (size_t flavour, uint64_t seed, bool parallel)
{
  struct schedule s = { .flavour = flavour,
                        .seed = seed,
                        .parallel = parallel };
  struct built b;
  struct history *history;
  struct replay *replay;

  build (&b, flavour, seed);
  s.first = &b;
  history = run_workload (&s, &b);
  replay = replay_new (b.store);
  for (s.at = 0; s.at <= store_fault_nr_ops (b.store); s.at++) {
    replay_to (replay, s.at);
    for (s.cut = CUT_LOSES_ALL; s.cut <= CUT_BY_FILES; s.cut++)
      if (s.cut == CUT_LOSES_ALL || replay_has_unflushed (replay))
        check_cut (&s, replay, b.top, history, seed * 7919 + s.at);
  }
  replay_free (replay);
  history_free (history);
  built_free (&b);
}

/* The record of a workload with threads is another one each time; a cut of
 * it cannot be had again from the seed.
 */
static void
check_workloads (uint64_t wanted, bool parallel)
{
  uint64_t seed = number_from_environment ("FAULT_SEED", 1);

  nr_schedules = 0;
  for (; nr_schedules < wanted; seed++)
    for (size_t flavour = 0; flavour < nr_flavours; flavour++)
      if (flavour_is_wanted (flavour))
        check_workload (flavour, seed, parallel);
  print_message ("%" PRIu64 " power cuts\n", nr_schedules);
}

static void
test_one_thread (void **state)
{
  (void) state;
  check_workloads (
    number_from_environment ("FAULT_SCHEDULES", DEFAULT_SCHEDULES), false);
}

static void
test_threads (void **state)
{
  (void) state;
  check_workloads (
    number_from_environment ("FAULT_SCHEDULES", DEFAULT_SCHEDULES) / 3, true);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_one_thread),
    cmocka_unit_test (test_threads),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
