/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit unlink: remove a disk's files.  The work is done in link-files.h. */

#include <config.h>

#include "server.h"
#include "tool-files.h"

static int force, dry_run;

static const struct poptOption options[] = {
  { "force", 'f', POPT_ARG_NONE, &force, 0,
    "Also if a child in the folder needs it", NULL },
  { "dry-run", 'n', POPT_ARG_NONE, &dry_run, 0,
    "Only say what would be removed", NULL },
  POPT_TABLEEND
};

static int
unlink_disk (const char *text, const struct operation *operation)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct files_report report = { 0 };
  struct vmdk_error err;
  int status;

  if (place_find (&place, text, &err) == -1
      || disk_unlink (place.store, place.name, force, operation, &report, &err)
           == -1)
    status = tell_failure (text, &err);
  else
    status = print_files (&report, dry_run);
  for (size_t i = 0; status == EXIT_DONE && i < report.nr_children; i++)
    tell_note ("%s has lost its parent", NAME (report.children[i]));
  files_report_free (&report);
  return status;
}

static int
run (const struct command *command, int argc, const char **argv)
{
  struct operation operation;
  struct vmdk_error err;
  const char **arguments;
  int status = options_parse (command, options, argc, argv, 1, 1, &arguments);

  if (status != -1)
    return status;
  if (server_has (arguments[0]))
    return server_unlink (arguments[0], dry_run);
  if (operation_begin (&operation, NULL, &err) == -1)
    return tell_failure (NULL, &err);
  operation.dry_run = dry_run;
  status = unlink_disk (arguments[0], &operation);
  operation_end (&operation);
  return status;
}

const struct command command_unlink = {
  .name = "unlink",
  .arguments = "DISK",
  .summary = "Remove a disk with all its files",
  .run = run,
  .server = SERVER_DISK,
};
