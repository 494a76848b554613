/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks of every kind are shrunk while the power goes and calls fail: what
 * is read never changes, and a run that was not disturbed leaves nothing to do
 * for the next.
 */

#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "shrink.h"
#include "maintenance.h"
#include "mess.h"

static int
run_with (struct store *store, const char *top, struct shrink_report *out,
          struct vmdk_error *err)
{
  struct operation *operation = mess_operation ();
  struct shrink_report report;
  const int r =
    disk_shrink (store, top, STORE_FROM_FILE, false, operation, &report, err);

  mess_operation_free (operation);
  *out = report;
  return r;
}

static int
run (struct store *store, const char *top, struct vmdk_error *err)
{
  struct shrink_report report;

  return run_with (store, top, &report, err);
}

static int
nothing_is_left (struct store *store, const char *top, struct vmdk_error *err)
{
  struct shrink_report report;

  if (run_with (store, top, &report, err) == -1)
    return -1;
  if (report.moved != 0 || report.size_after != report.size_before)
    return fail (err, ERR_ARGUMENT,
                 "another run moves %" PRIu64 " bytes, and %" PRIu64
                 " bytes become %" PRIu64,
                 report.moved, report.size_before, report.size_after);
  return 0;
}

static const char *const kinds[] = {
  "flat",
  "sparse, small grains",
  "sparse, usual grains, zero entries",
  "sparse, tables missing",
  "split sparse",
  "child over flat",
  "child over shorter sparse, zero entries",
  "COWD, grains of a sector, no table",
  "COWD child over flat",
};

static const char *kind; /* the one whose turn it is */

static void
prepare (struct built *built, uint64_t seed)
{
  build_mess (built, kind, seed);
}

static void
test_kinds (void **state)
{
  (void) state;
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    const struct maintenance op = {
      .name = "shrink",
      .prepare = prepare,
      .run = run,
      .after = nothing_is_left,
      .may_ignore = FAULT_PUNCH,
      .leaves_nothing = true,
    };

    kind = kinds[i];
    print_message ("%s\n", kind);
    maintenance_check (&op);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_kinds),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
