/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit defragment: grains into the disk's order.  The work is done in
 * defragment.h. */

#include <config.h>

#include <inttypes.h>

#include "defragment.h"
#include "server.h"

static const struct poptOption options[] = {
  OPTION_DRY_RUN ("Only say how scattered the disk is"), POPT_TABLEEND
};

static int
print_report_json (const char *file, const struct defragment_report *r)
{
  return print_json (
    json_pack ("{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "file",
               json_text (file), "dry-run", settings.dry_run, "size-before",
               (json_int_t) r->size_before, "size-after",
               (json_int_t) r->size_after, "grains", (json_int_t) r->nr_grains,
               "breaks-before", (json_int_t) r->nr_breaks_before,
               "breaks-after", (json_int_t) r->nr_breaks_after, "moved",
               (json_int_t) r->moved, "extra", (json_int_t) r->extra));
}

/* How many of a hundred grains do not follow the one before. */
static double
percent (const struct defragment_report *r, uint64_t nr_breaks)
{
  return r->nr_grains > 1 ? 100.0 * nr_breaks / (r->nr_grains - 1) : 0;
}

static int
print_report (const char *file, const struct defragment_report *r)
{
  char before[32], after[32];

  progress_hide ();
  if (settings.json)
    return print_report_json (file, r);
  if (settings.quiet)
    return EXIT_DONE;
  if (settings.dry_run)
    printf ("%s: %.1f %% of its grains are out of order\n", NAME (file),
            percent (r, r->nr_breaks_before));
  else
    printf ("%s: %.1f %% of its grains are out of order, were %.1f %%\n",
            NAME (file), percent (r, r->nr_breaks_after),
            percent (r, r->nr_breaks_before));
  if (r->moved > 0) {
    print_field ("Moved", "%s", size_text (r->moved, after, sizeof after));
    print_field ("Size", "%s, was %s",
                 size_text (r->size_after, after, sizeof after),
                 size_text (r->size_before, before, sizeof before));
  }
  if (r->extra > 0)
    print_field ("Grew meanwhile by", "%s",
                 size_text (r->extra, after, sizeof after));
  return print_finish ();
}

static int
run (const char **arguments, struct operation *operation)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct defragment_report report;
  struct vmdk_error err;

  if (server_has (arguments[0]))
    return server_defragment (arguments[0], operation);
  if (place_find (&place, arguments[0], &err) == -1
      || disk_defragment (place.store, place.name, place.flags, operation,
                          &report, &err)
           == -1)
    return tell_failure (arguments[0], &err);
  return print_report (arguments[0], &report);
}

const struct command command_defragment = {
  .name = "defragment",
  .arguments = "DISK",
  .min = 1,
  .max = 1,
  .summary = "Bring the grains of a disk into its order",
  .options = options,
  .run = run,
  .title = "defragment",
  .server = SERVER_DISK,
};
