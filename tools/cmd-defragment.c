/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit defragment: grains into the disk's order.  The work is done in
 * defragment.h. */

#include <config.h>

#include <inttypes.h>

#include "defragment.h"
#include "server.h"

static int dry_run;

static const struct poptOption options[] = {
  { "dry-run", 'n', POPT_ARG_NONE, &dry_run, 0,
    "Only say how scattered the disk is", NULL },
  POPT_TABLEEND
};

static int
print_report_json (const char *file, const struct defragment_report *r)
{
  return print_json (
    json_pack ("{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "file",
               json_text (file), "dry-run", dry_run, "size-before",
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

  if (settings.json)
    return print_report_json (file, r);
  if (settings.quiet)
    return EXIT_DONE;
  if (dry_run)
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
defragment (const char *text, const struct operation *operation,
            struct defragment_report *report)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct vmdk_error err;

  if (place_find (&place, text, &err) == -1
      || disk_defragment (place.store, place.name, place.flags, operation,
                          report, &err)
           == -1)
    return tell_failure (text, &err);
  return EXIT_DONE;
}

static int
run (const struct command *command, int argc, const char **argv)
{
  struct operation operation;
  struct defragment_report report;
  struct vmdk_error err;
  const char **arguments;
  int status = options_parse (command, options, argc, argv, 1, 1, &arguments);

  if (status != -1)
    return status;
  if (server_has (arguments[0]))
    return server_defragment (arguments[0], dry_run);
  if (operation_begin (&operation, "defragment", &err) == -1)
    return tell_failure (NULL, &err);
  operation.dry_run = dry_run;
  status = defragment (arguments[0], &operation, &report);
  operation_end (&operation);
  return status == EXIT_DONE ? print_report (arguments[0], &report) : status;
}

const struct command command_defragment = {
  .name = "defragment",
  .arguments = "DISK",
  .summary = "Bring the grains of a disk into its order",
  .run = run,
  .server = SERVER_DISK,
};
