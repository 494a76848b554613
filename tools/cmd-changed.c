/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit changed: which areas of a server's disk have changed since a change
 * id was noted.
 */

#include <config.h>

#include <string.h>

#include "server.h"

#define SINCE "since="

/* Of the arguments, in either order. */
static const char *disk, *since;

static bool
is_since (const char *word)
{
  return word && strncmp (word, SINCE, strlen (SINCE)) == 0;
}

static int
check (const char **arguments)
{
  if (!server_given ())
    return usage_error ("server= is missing: only servers keep track of "
                        "changes");
  disk = arguments[is_since (arguments[0])];
  since = is_since (arguments[0]) ? arguments[0] : arguments[1];
  if (!disk || !is_since (since) || !since[strlen (SINCE)])
    return usage_error ("since=CHANGEID is missing: since when?  '*' is for "
                        "all that was ever written");
  return -1;
}

static int
run (const char **arguments, struct operation *operation)
{
  (void) arguments;
  return server_changed (disk, since + strlen (SINCE), operation);
}

const struct command command_changed = {
  .name = "changed",
  .arguments = "DISK since=ID server=HOST ...",
  .min = 1,
  .max = 2,
  .summary = "Show which areas of a server's disk changed",
  .check = check,
  .run = run,
  .title = "changed",
  .server = SERVER_DISK,
};
