/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit attach: join a child made elsewhere to its parent.  The work is done
 * in rebase.h.
 */

#include <config.h>

#include "tool-chain.h"

static const struct poptOption options[] = {
  OPTION_DRY_RUN ("Only say whether it is possible"), POPT_TABLEEND
};

static int
attach (const struct pair *pair, const struct operation *operation)
{
  struct vmdk_error err;

  if (disk_attach (pair->child.store, pair->child.name, pair->child.flags,
                   &pair->new_parent, operation, &err)
      == -1)
    return tell_failure (pair->child.text, &err);
  tell_outside (pair->child.text, pair->hint);
  if (settings.json)
    return print_json (json_pack (
      "{s:o, s:o, s:b}", "file", json_text (pair->child.text), "parent",
      json_text (pair->hint), "attached", !settings.dry_run));
  if (settings.dry_run)
    tell_note ("%s can be attached to %s", NAME (pair->child.text),
               NAME (pair->hint));
  return EXIT_DONE;
}

static int
run (const char **arguments, struct operation *operation)
{
  CLEANUP_PAIR struct pair pair = { 0 };

  return pair_find (&pair, arguments[1], arguments[0]) == 0
           ? attach (&pair, operation)
           : EXIT_FAILED;
}

const struct command command_attach = {
  .name = "attach",
  .arguments = "PARENT CHILD",
  .min = 2,
  .max = 2,
  .summary = "Join a child made elsewhere to its parent",
  .options = options,
  .run = run,
};
