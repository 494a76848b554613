/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit changed: which areas of a server's disk have changed since a change
 * id was noted.
 */

#include <config.h>

#include <string.h>

#include "server.h"

static const struct poptOption options[] = { POPT_TABLEEND };

#define SINCE "since="

static bool
is_since (const char *word)
{
  return word && strncmp (word, SINCE, strlen (SINCE)) == 0;
}

static int
run (const struct command *command, int argc, const char **argv)
{
  const char **arguments, *disk, *since;
  int status = options_parse (command, options, argc, argv, 1, 2, &arguments);

  if (status != -1)
    return status;
  if (!server_given ())
    return usage_error (command, "server= is missing: only servers keep "
                                 "track of changes");
  disk = arguments[is_since (arguments[0])];
  since = is_since (arguments[0]) ? arguments[0] : arguments[1];
  if (!disk || !is_since (since) || !since[strlen (SINCE)])
    return usage_error (command, "since=CHANGEID is missing: since when?  '*' "
                                 "is for all that was ever written");
  return server_changed (disk, since + strlen (SINCE));
}

const struct command command_changed = {
  .name = "changed",
  .arguments = "DISK since=ID server=HOST ...",
  .summary = "Show which areas of a server's disk changed",
  .run = run,
  .server = SERVER_DISK,
};
