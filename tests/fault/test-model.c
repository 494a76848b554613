/* SPDX-License-Identifier: BSD-3-Clause */

/* Random requests by several threads, without faults, on every kind of disk:
 * afterwards the disk holds what was written, also when it is opened again.
 *
 * FAULT_SEED is the first seed, FAULT_ROUNDS how many there are.
 */

#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "rig.h"

#define NR_OPENS 4
#define NR_STEPS 400

static void __attribute__ ((noreturn))
broken (size_t flavour, uint64_t seed, const char *what, const char *text)
{
  print_error ("%s, seed %" PRIu64 ": %s: %s\n", flavour_name (flavour), seed,
               what, text);
  _fail (__FILE__, __LINE__);
  abort ();
}

/* Open, change, close; with and without a clean end. */
static void
run_once (size_t flavour, uint64_t seed, const struct built *b,
          struct history *history, unsigned nr_threads)
{
  struct vmdk_error err = { 0 };
  struct rig rig;

  if (rig_open (&rig, b->store, b->top, true, seed, &err) == -1)
    broken (flavour, seed, "open", err.text);
  rig.history = history;
  if (rig_compare (&rig) != WENT_WELL)
    broken (flavour, seed, "as opened", rig.text);
  if (rig_run_threads (&rig, nr_threads, NR_STEPS / nr_threads, &err)
      != WENT_WELL)
    broken (flavour, seed, "request", *rig.text ? rig.text : err.text);
  if (rig_compare (&rig) != WENT_WELL)
    broken (flavour, seed, "at the end", rig.text);
  if (seed % 2 ? disk_flush (rig.disk, &err) == -1
               : disk_finish (rig.disk, &err) == -1)
    broken (flavour, seed, "flush", err.text);
  if (rig_compare (&rig) != WENT_WELL)
    broken (flavour, seed, "after the flush", rig.text);
  rig_close (&rig);
}

static void
check_read_only (size_t flavour, uint64_t seed, const struct built *b,
                 struct history *history)
{
  struct vmdk_error err = { 0 };
  struct rig rig;

  if (rig_open (&rig, b->store, b->top, false, seed, &err) == -1)
    broken (flavour, seed, "open read-only", err.text);
  rig.history = history;
  if (rig_compare (&rig) != WENT_WELL)
    broken (flavour, seed, "read-only", rig.text);
  if (disk_write (rig.disk, "x", 1, 0, &err) != -1
      || err.kind != ERR_READ_ONLY)
    broken (flavour, seed, "read-only", "it was written");
  rig_close (&rig);
}

static void
check_disk (size_t flavour, uint64_t seed, unsigned nr_threads)
{
  struct built b;
  struct history *history;

  build (&b, flavour, seed);
  history = history_new (b.bytes, b.size);
  for (unsigned i = 0; i < NR_OPENS; i++) {
    run_once (flavour, seed + i * 1000, &b, history, nr_threads);
    check_read_only (flavour, seed, &b, history);
  }
  history_free (history);
  built_free (&b);
}

static void
check_all (unsigned nr_threads)
{
  const uint64_t first = number_from_environment ("FAULT_SEED", 1);
  const uint64_t rounds = number_from_environment ("FAULT_ROUNDS", 3);

  for (size_t flavour = 0; flavour < nr_flavours; flavour++)
    for (uint64_t seed = first; seed < first + rounds; seed++)
      check_disk (flavour, seed, nr_threads);
}

static void
test_two_threads (void **state)
{
  (void) state;
  check_all (2);
}

static void
test_many_threads (void **state)
{
  (void) state;
  check_all (8);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_two_threads),
    cmocka_unit_test (test_many_threads),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
