/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks of every kind are defragmented while the power goes and calls fail:
 * what is read never changes, and a run that was not disturbed leaves nothing
 * to do for the next.
 */

#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "defragment.h"
#include "mess.h"

static int
run_with (struct store *store, const char *top,
          struct defragment_report *report, struct vmdk_error *err)
{
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();

  return disk_defragment (store, top, STORE_FROM_FILE, operation, report, err);
}

static int
run (struct store *store, const char *top, struct vmdk_error *err)
{
  struct defragment_report report;

  return run_with (store, top, &report, err);
}

static int
nothing_is_left (struct store *store, const char *top, struct vmdk_error *err)
{
  struct defragment_report report;

  if (run_with (store, top, &report, err) == -1)
    return -1;
  if (report.moved != 0 || report.size_after != report.size_before)
    return fail (err, ERR_ARGUMENT,
                 "another run moves %" PRIu64 " bytes, and %" PRIu64
                 " bytes become %" PRIu64,
                 report.moved, report.size_before, report.size_after);
  return 0;
}

static void
test_kinds (void **state)
{
  (void) state;
  mess_check (&(struct maintenance){
    .name = "defragment",
    .run = run,
    .after = nothing_is_left,
  });
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_kinds),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
