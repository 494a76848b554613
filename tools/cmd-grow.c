/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit grow: more capacity.  The work is done in grow.h. */

#include <config.h>

#include <inttypes.h>

#include "grow.h"
#include "server.h"

static int geometry;
static uint64_t size;

static const struct poptOption options[] = {
  { "geometry", 0, POPT_ARG_NONE, &geometry, 0,
    "Record cylinders, heads and sectors anew", NULL },
  OPTION_DRY_RUN ("Only check, and say what would be done"),
  POPT_TABLEEND
};

static int
print_report (const char *file, const struct grow_report *r)
{
  char before[32], after[32];

  progress_hide ();
  if (settings.json)
    return print_json (json_pack (
      "{s:o, s:b, s:I, s:I, s:I, s:I}", "file", json_text (file), "dry-run",
      settings.dry_run, "capacity-before", (json_int_t) r->size_before,
      "capacity", (json_int_t) r->size_after, "moved", (json_int_t) r->moved,
      "new-extents", (json_int_t) r->nr_new_extents));
  if (settings.quiet)
    return EXIT_DONE;
  size_text (r->size_after, after, sizeof after);
  if (r->size_before == r->size_after)
    printf ("%s: has %s already\n", NAME (file), after);
  else
    printf ("%s: %s%s, was %s\n", NAME (file),
            settings.dry_run ? "would have " : "", after,
            size_text (r->size_before, before, sizeof before));
  if (r->nr_new_extents > 0)
    print_field ("New extents", "%zu", r->nr_new_extents);
  if (r->moved > 0)
    print_field ("Moved", "%s", size_text (r->moved, after, sizeof after));
  return print_finish ();
}

static int
check (const char **arguments)
{
  struct vmdk_error err;

  if (size_parse (arguments[1], &size, &err) == -1)
    return usage_error ("%s", err.text);
  if (server_has (arguments[0]) && geometry)
    return usage_error ("--geometry: the server decides that itself");
  return -1;
}

static int
run (const char **arguments, struct operation *operation)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct grow_report report;
  struct vmdk_error err;

  if (server_has (arguments[0]))
    return server_grow (arguments[0], size, operation);
  if (place_find (&place, arguments[0], &err) == -1
      || disk_grow (place.store, place.name, place.flags, size, geometry,
                    operation, &report, &err)
           == -1)
    return tell_failure (arguments[0], &err);
  return print_report (arguments[0], &report);
}

const struct command command_grow = {
  .name = "grow",
  .arguments = "DISK SIZE",
  .min = 2,
  .max = 2,
  .summary = "Make a disk larger",
  .options = options,
  .check = check,
  .run = run,
  .title = "grow",
  .server = SERVER_DISK,
};
