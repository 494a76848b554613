/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit rebase: another parent, or none.  The work is done in rebase.h. */

#include <config.h>

#include <inttypes.h>

#include "tool-chain.h"

static int unsafe, no_parent;

static const struct poptOption options[] = {
  { "unsafe", 'u', POPT_ARG_NONE, &unsafe, 0,
    "Change the hint only, whatever the contents", NULL },
  { "no-parent", 0, POPT_ARG_NONE, &no_parent, 0,
    "Make it a disk of its own (no NEWPARENT then)", NULL },
  OPTION_DRY_RUN ("Only say what would be copied"),
  POPT_TABLEEND
};

static int
print (const struct pair *pair, uint64_t copied)
{
  char size[32];

  progress_hide ();
  if (settings.json)
    return print_json (
      json_pack ("{s:o, s:o, s:I, s:b}", "file", json_text (pair->child.text),
                 "parent", pair->hint ? json_text (pair->hint) : json_null (),
                 "copied", (json_int_t) copied, "dry-run", settings.dry_run));
  if (settings.quiet || unsafe)
    return EXIT_DONE;
  printf ("%s %s\n", size_text (copied, size, sizeof size),
          settings.dry_run ? "would be copied" : "copied");
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

  if (r == -1)
    return tell_failure (child->text, &err);
  tell_outside (child->text, pair->hint);
  return print (pair, copied);
}

static int
check (const char **arguments)
{
  return !arguments[1] == !no_parent
           ? usage_error ("name the new parent, or say --no-parent")
           : -1;
}

static int
run (const char **arguments, struct operation *operation)
{
  CLEANUP_PAIR struct pair pair = { 0 };

  if (!unsafe)
    operation_show (operation, "Rebasing");
  return pair_find (&pair, arguments[0], arguments[1]) == 0
           ? rebase (&pair, operation)
           : EXIT_FAILED;
}

const struct command command_rebase = {
  .name = "rebase",
  .arguments = "CHILD [NEWPARENT]",
  .min = 1,
  .max = 2,
  .summary = "Give a child another parent, or none",
  .options = options,
  .check = check,
  .run = run,
};
