/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit unlink: remove a disk's files.  The work is done in link-files.h. */

#include <config.h>

#include "server.h"
#include "tool-files.h"

static int force;

static const struct poptOption options[] = {
  { "force", 'f', POPT_ARG_NONE, &force, 0,
    "Also if a child in the folder needs it", NULL },
  OPTION_DRY_RUN ("Only say what would be removed"),
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
    status = print_files (&report);
  for (size_t i = 0; status == EXIT_DONE && i < report.nr_children; i++)
    tell_note ("%s has lost its parent", NAME (report.children[i]));
  files_report_free (&report);
  return status;
}

static int
run (const char **arguments, struct operation *operation)
{
  return server_has (arguments[0]) ? server_unlink (arguments[0], operation)
                                   : unlink_disk (arguments[0], operation);
}

const struct command command_unlink = {
  .name = "unlink",
  .arguments = "DISK",
  .min = 1,
  .max = 1,
  .summary = "Remove a disk with all its files",
  .options = options,
  .run = run,
  .server = SERVER_DISK,
};
