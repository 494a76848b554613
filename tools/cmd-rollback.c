/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit rollback: a new child at a chosen snapshot.
 *
 * The snapshot's moment can then be read and written, and the links that were
 * made after it stay as they are.  It is a child like any other (child.h);
 * what differs is what the user wants and is told.
 */

#include <config.h>

#include "tool-chain.h"

static int
run (const struct command *command, int argc, const char **argv)
{
  const char **arguments;
  int status =
    options_parse (command, child_options, argc, argv, 2, 2, &arguments);

  if (status != -1)
    return status;
  status = make_child (command, arguments[0], arguments[1]);
  if (status == EXIT_DONE && !settings.json)
    tell_note ("%s reads as %s did; point the virtual machine to it, or "
               "commit it when it is right",
               NAME (arguments[1]), NAME (arguments[0]));
  return status;
}

const struct command command_rollback = {
  .name = "rollback",
  .arguments = "SNAPSHOT NEWCHILD",
  .summary = "Go back to a snapshot, in a new child",
  .run = run,
};
