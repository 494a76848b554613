/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit grow: more capacity.  The work is done in grow.h. */

#include <config.h>

#include <inttypes.h>

#include "grow.h"
#include "server.h"

static int geometry, dry_run;

static const struct poptOption options[] = {
  { "geometry", 0, POPT_ARG_NONE, &geometry, 0,
    "Record cylinders, heads and sectors anew", NULL },
  { "dry-run", 'n', POPT_ARG_NONE, &dry_run, 0,
    "Only check, and say what would be done", NULL },
  POPT_TABLEEND
};

static int
print_report (const char *file, const struct grow_report *r)
{
  char before[32], after[32];

  if (settings.json)
    return print_json (json_pack (
      "{s:o, s:b, s:I, s:I, s:I, s:I}", "file", json_text (file), "dry-run",
      dry_run, "capacity-before", (json_int_t) r->size_before, "capacity",
      (json_int_t) r->size_after, "moved", (json_int_t) r->moved,
      "new-extents", (json_int_t) r->nr_new_extents));
  if (settings.quiet)
    return EXIT_DONE;
  size_text (r->size_after, after, sizeof after);
  if (r->size_before == r->size_after)
    printf ("%s: has %s already\n", NAME (file), after);
  else
    printf ("%s: %s%s, was %s\n", NAME (file), dry_run ? "would have " : "",
            after, size_text (r->size_before, before, sizeof before));
  if (r->nr_new_extents > 0)
    print_field ("New extents", "%zu", r->nr_new_extents);
  if (r->moved > 0)
    print_field ("Moved", "%s", size_text (r->moved, after, sizeof after));
  return print_finish ();
}

static int
grow (const char *text, uint64_t size, const struct operation *operation,
      struct grow_report *report)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct vmdk_error err;

  if (place_find (&place, text, &err) == -1
      || disk_grow (place.store, place.name, place.flags, size, geometry,
                    operation, report, &err)
           == -1)
    return tell_failure (text, &err);
  return EXIT_DONE;
}

static int
run (const struct command *command, int argc, const char **argv)
{
  struct operation operation;
  struct grow_report report;
  struct vmdk_error err;
  const char **arguments;
  uint64_t size;
  int status = options_parse (command, options, argc, argv, 2, 2, &arguments);

  if (status != -1)
    return status;
  if (size_parse (arguments[1], &size, &err) == -1)
    return usage_error (command, "%s", err.text);
  if (server_has (arguments[0]) && geometry)
    return usage_error (command, "--geometry: the server decides that itself");
  if (server_has (arguments[0]))
    return server_grow (arguments[0], size, dry_run);
  if (operation_begin (&operation, "grow", &err) == -1)
    return tell_failure (NULL, &err);
  operation.dry_run = dry_run;
  status = grow (arguments[0], size, &operation, &report);
  operation_end (&operation);
  return status == EXIT_DONE ? print_report (arguments[0], &report) : status;
}

const struct command command_grow = {
  .name = "grow",
  .arguments = "DISK SIZE",
  .summary = "Make a disk larger",
  .run = run,
  .server = SERVER_DISK,
};
