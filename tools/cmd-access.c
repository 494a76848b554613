/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit access: which machines may not be moved, and letting them be moved
 * again after a program that kept them was killed.
 */

#include <config.h>

#include <string.h>

#include "server.h"

static int anyone;

static const struct poptOption options[] = {
  { "anyone", 0, POPT_ARG_NONE, &anyone, 0,
    "Whoever keeps it; this may end another backup's protection", NULL },
  POPT_TABLEEND
};

static int
run (const struct command *command, int argc, const char **argv)
{
  const char **arguments;
  int status = options_parse (command, options, argc, argv, 1, 2, &arguments);

  if (status != -1)
    return status;
  if (!server_given ())
    return usage_error (command, "server= is missing: which server?");
  if (strcmp (arguments[0], "release") == 0)
    return server_access_release (arguments[1], anyone);
  if (strcmp (arguments[0], "list") != 0)
    return usage_error (command, "'%s' is not list or release", arguments[0]);
  if (arguments[1] || anyone)
    return usage_error (command, "list shows all machines");
  return server_access_list ();
}

const struct command command_access = {
  .name = "access",
  .arguments = "list|release [VM] server=HOST ...",
  .summary = "Let a server's machine be moved again",
  .run = run,
  .server = SERVER,
};
