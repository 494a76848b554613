/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit attach: join a child made elsewhere to its parent.  The work is done
 * in rebase.h.
 */

#include <config.h>

#include "tool-chain.h"

static int dry_run;

static const struct poptOption options[] = {
  { "dry-run", 'n', POPT_ARG_NONE, &dry_run, 0,
    "Only say whether it is possible", NULL },
  POPT_TABLEEND
};

static int
attach (const struct pair *pair, struct operation *operation)
{
  struct vmdk_error err;

  operation->dry_run = dry_run;
  if (disk_attach (pair->child.store, pair->child.name, pair->child.flags,
                   &pair->new_parent, operation, &err)
      == -1)
    return tell_failure (pair->child.text, &err);
  if (settings.json)
    return print_json (
      json_pack ("{s:o, s:o, s:b}", "file", json_text (pair->child.text),
                 "parent", json_text (pair->hint), "attached", !dry_run));
  if (dry_run)
    tell_note ("%s can be attached to %s", NAME (pair->child.text),
               NAME (pair->hint));
  return EXIT_DONE;
}

static int
run (const struct command *command, int argc, const char **argv)
{
  struct operation operation;
  struct vmdk_error err;
  struct pair pair;
  const char **arguments;
  int status = options_parse (command, options, argc, argv, 2, 2, &arguments);

  if (status != -1)
    return status;
  if (operation_begin (&operation, NULL, &err) == -1)
    return tell_failure (NULL, &err);
  status = pair_find (&pair, arguments[1], arguments[0]) == 0
             ? attach (&pair, &operation)
             : EXIT_FAILED;
  pair_free (&pair);
  operation_end (&operation);
  return status;
}

const struct command command_attach = {
  .name = "attach",
  .arguments = "PARENT CHILD",
  .summary = "Join a child made elsewhere to its parent",
  .run = run,
};
