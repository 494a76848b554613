/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit rebase: another parent, or none.  The work is done in rebase.h. */

#include <config.h>

#include <inttypes.h>

#include "tool-chain.h"

static int unsafe, no_parent, dry_run;

static const struct poptOption options[] = {
  { "unsafe", 'u', POPT_ARG_NONE, &unsafe, 0,
    "Change the hint only, whatever the contents", NULL },
  { "no-parent", 0, POPT_ARG_NONE, &no_parent, 0,
    "Make it a disk of its own (no NEWPARENT then)", NULL },
  { "dry-run", 'n', POPT_ARG_NONE, &dry_run, 0,
    "Only say what would be copied", NULL },
  POPT_TABLEEND
};

static int
print (const struct pair *pair, uint64_t copied)
{
  char size[32];

  if (settings.json)
    return print_json (
      json_pack ("{s:o, s:o, s:I, s:b}", "file", json_text (pair->child.text),
                 "parent", pair->hint ? json_text (pair->hint) : json_null (),
                 "copied", (json_int_t) copied, "dry-run", dry_run));
  if (settings.quiet || unsafe)
    return EXIT_DONE;
  printf ("%s %s\n", size_text (copied, size, sizeof size),
          dry_run ? "would be copied" : "copied");
  return print_finish ();
}

static int
rebase (const struct pair *pair, const struct operation *operation)
{
  const struct new_parent *parent = pair->hint ? &pair->new_parent : NULL;
  const struct place *child = &pair->child;
  struct vmdk_error err;
  uint64_t copied = 0;
  const int r = unsafe
                  ? disk_rebase_unsafe (child->store, child->name,
                                        child->flags, parent, operation, &err)
                  : disk_rebase (child->store, child->name, child->flags,
                                 parent, operation, &copied, &err);

  return r == -1 ? tell_failure (child->text, &err) : print (pair, copied);
}

static int
run (const struct command *command, int argc, const char **argv)
{
  struct operation operation;
  struct vmdk_error err;
  struct pair pair;
  const char **arguments;
  int status = options_parse (command, options, argc, argv, 1, 2, &arguments);

  if (status != -1)
    return status;
  if (!arguments[1] == !no_parent)
    return usage_error (command, "name the new parent, or say --no-parent");
  if (operation_begin (&operation, unsafe ? NULL : "Rebasing", &err) == -1)
    return tell_failure (NULL, &err);
  operation.dry_run = dry_run;
  status = pair_find (&pair, arguments[0], arguments[1]) == 0
             ? rebase (&pair, &operation)
             : EXIT_FAILED;
  pair_free (&pair);
  operation_end (&operation);
  return status;
}

const struct command command_rebase = {
  .name = "rebase",
  .arguments = "CHILD [NEWPARENT]",
  .summary = "Give a child another parent, or none",
  .run = run,
};
