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
run (const char **arguments, struct operation *operation)
{
  const int status = child_make (arguments, operation);

  if (status == EXIT_DONE && !settings.json)
    tell_note ("%s reads as %s did; point the virtual machine to it, or "
               "commit it when it is right",
               NAME (arguments[1]), NAME (arguments[0]));
  return status;
}

const struct command command_rollback = {
  .name = "rollback",
  .arguments = "SNAPSHOT NEWCHILD",
  .min = 2,
  .max = 2,
  .summary = "Go back to a snapshot, in a new child",
  .options = child_options,
  .check = child_check,
  .run = run,
};
