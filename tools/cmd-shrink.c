/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit shrink: give room back.  The work is done in shrink.h. */

#include <config.h>

#include <inttypes.h>

#include "server.h"
#include "shrink.h"

static int punch;

static const struct poptOption options[] = {
  { "punch", 0, POPT_ARG_NONE, &punch, 0,
    "Only make holes in the files; move and cut nothing", NULL },
  OPTION_DRY_RUN ("Only say what would be given back"),
  POPT_TABLEEND
};

static int
print_report_json (const char *file, const struct shrink_report *r)
{
  return print_json (json_pack (
    "{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "file", json_text (file),
    "dry-run", settings.dry_run, "size-before", (json_int_t) r->size_before,
    "size-after", (json_int_t) r->size_after, "zeros", (json_int_t) r->zeros,
    "kept-zeros", (json_int_t) r->kept, "moved", (json_int_t) r->moved,
    "punched", (json_int_t) r->punched));
}

static void
print_amount (const char *what, uint64_t bytes)
{
  char text[32];

  if (bytes > 0)
    print_field (what, "%s", size_text (bytes, text, sizeof text));
}

static int
print_report (const char *file, const struct shrink_report *r)
{
  char before[32], after[32];

  progress_hide ();
  if (settings.json)
    return print_report_json (file, r);
  if (settings.quiet)
    return EXIT_DONE;
  if (r->size_before == r->size_after && r->punched == 0)
    printf ("%s: there is nothing to give back\n", NAME (file));
  else
    printf ("%s: %s%s, was %s\n", NAME (file),
            settings.dry_run ? "would be " : "",
            size_text (r->size_after, after, sizeof after),
            size_text (r->size_before, before, sizeof before));
  print_amount ("Zeros given back", r->zeros);
  print_amount ("Zeros kept", r->kept);
  print_amount ("Moved", r->moved);
  print_amount ("Punched", r->punched);
  return print_finish ();
}

static int
check (const char **arguments)
{
  return server_has (arguments[0]) && punch
           ? usage_error ("--punch: the server decides that itself")
           : -1;
}

static int
run (const char **arguments, struct operation *operation)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct shrink_report report;
  struct vmdk_error err;

  if (server_has (arguments[0]))
    return server_shrink (arguments[0], operation);
  if (place_find (&place, arguments[0], &err) == -1
      || disk_shrink (place.store, place.name, place.flags, punch, operation,
                      &report, &err)
           == -1)
    return tell_failure (arguments[0], &err);
  return print_report (arguments[0], &report);
}

const struct command command_shrink = {
  .name = "shrink",
  .arguments = "DISK",
  .min = 1,
  .max = 1,
  .summary = "Give back room that holds only zeros",
  .options = options,
  .check = check,
  .run = run,
  .title = "shrink",
  .server = SERVER_DISK,
};
