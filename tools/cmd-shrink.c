/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit shrink: give room back.  The work is done in shrink.h. */

#include <config.h>

#include <inttypes.h>

#include "server.h"
#include "shrink.h"

static int punch, dry_run;

static const struct poptOption options[] = {
  { "punch", 0, POPT_ARG_NONE, &punch, 0,
    "Only make holes in the files; move and cut nothing", NULL },
  { "dry-run", 'n', POPT_ARG_NONE, &dry_run, 0,
    "Only say what would be given back", NULL },
  POPT_TABLEEND
};

static int
print_report_json (const char *file, const struct shrink_report *r)
{
  return print_json (json_pack (
    "{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "file", json_text (file),
    "dry-run", dry_run, "size-before", (json_int_t) r->size_before,
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

  if (settings.json)
    return print_report_json (file, r);
  if (settings.quiet)
    return EXIT_DONE;
  if (r->size_before == r->size_after && r->punched == 0)
    printf ("%s: there is nothing to give back\n", NAME (file));
  else
    printf ("%s: %s%s, was %s\n", NAME (file), dry_run ? "would be " : "",
            size_text (r->size_after, after, sizeof after),
            size_text (r->size_before, before, sizeof before));
  print_amount ("Zeros given back", r->zeros);
  print_amount ("Zeros kept", r->kept);
  print_amount ("Moved", r->moved);
  print_amount ("Punched", r->punched);
  return print_finish ();
}

static int
shrink (const char *text, const struct operation *operation,
        struct shrink_report *report)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct vmdk_error err;

  if (place_find (&place, text, &err) == -1
      || disk_shrink (place.store, place.name, place.flags, punch, operation,
                      report, &err)
           == -1)
    return tell_failure (text, &err);
  return EXIT_DONE;
}

static int
run (const struct command *command, int argc, const char **argv)
{
  struct operation operation;
  struct shrink_report report;
  struct vmdk_error err;
  const char **arguments;
  int status = options_parse (command, options, argc, argv, 1, 1, &arguments);

  if (status != -1)
    return status;
  if (server_has (arguments[0]) && punch)
    return usage_error (command, "--punch: the server decides that itself");
  if (server_has (arguments[0]))
    return server_shrink (arguments[0], dry_run);
  if (operation_begin (&operation, "shrink", &err) == -1)
    return tell_failure (NULL, &err);
  operation.dry_run = dry_run;
  status = shrink (arguments[0], &operation, &report);
  operation_end (&operation);
  return status == EXIT_DONE ? print_report (arguments[0], &report) : status;
}

const struct command command_shrink = {
  .name = "shrink",
  .arguments = "DISK",
  .summary = "Give back room that holds only zeros",
  .run = run,
  .server = SERVER_DISK,
};
