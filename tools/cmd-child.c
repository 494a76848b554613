/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit child: an empty link over an existing one.  The work is done in
 * child.h.
 */

#include <config.h>

#include "tool-chain.h"

static int
run (const struct command *command, int argc, const char **argv)
{
  const char **arguments;
  const int status =
    options_parse (command, child_options, argc, argv, 2, 2, &arguments);

  return status == -1 ? make_child (command, arguments[0], arguments[1])
                      : status;
}

const struct command command_child = {
  .name = "child",
  .arguments = "PARENT CHILD",
  .summary = "Make an empty child (redo log) over a disk",
  .run = run,
};
