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
check (const char **arguments)
{
  const bool list = strcmp (arguments[0], "list") == 0;

  if (!server_given ())
    return usage_error ("server= is missing: which server?");
  if (!list && strcmp (arguments[0], "release") != 0)
    return usage_error ("'%s' is not list or release", arguments[0]);
  if (list && (arguments[1] || anyone))
    return usage_error ("list shows all machines");
  return -1;
}

static int
run (const char **arguments, struct operation *operation)
{
  return strcmp (arguments[0], "list") == 0
           ? server_access_list (operation)
           : server_access_release (arguments[1], anyone, operation);
}

const struct command command_access = {
  .name = "access",
  .arguments = "list|release [VM] server=HOST ...",
  .min = 1,
  .max = 2,
  .summary = "Let a server's machine be moved again",
  .options = options,
  .check = check,
  .run = run,
  .title = "access",
  .server = SERVER,
};
