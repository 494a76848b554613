/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit commit: merge a child into its parent.  The work is done in
 * merge.h.
 */

#include <config.h>

#include "link-files.h"
#include "merge.h"
#include "tool.h"

static int remove_child;

static const struct poptOption options[] = {
  { "unlink", 0, POPT_ARG_NONE, &remove_child, 0,
    "Remove the child afterwards", NULL },
  OPTION_DRY_RUN ("Only say what would be copied"),
  POPT_TABLEEND
};

static int
print (const struct place *place, const struct merge_report *report)
{
  char copied[32], zeroed[32];

  progress_hide ();
  if (settings.json)
    return print_json (json_pack (
      "{s:o, s:o, s:I, s:I, s:b}", "file", json_text (place->text), "parent",
      json_text (report->parent), "copied", (json_int_t) report->copied,
      "zeroed", (json_int_t) report->zeroed, "dry-run", settings.dry_run));
  if (settings.quiet)
    return EXIT_DONE;
  printf ("%s: %s %s, %s zeroed\n", NAME (report->parent),
          size_text (report->copied, copied, sizeof copied),
          settings.dry_run ? "would be copied" : "copied",
          size_text (report->zeroed, zeroed, sizeof zeroed));
  return print_finish ();
}

/* Its own children would be left without a parent: then it stays. */
static int
remove_merged (const struct place *place, const struct operation *operation)
{
  struct files_report report;
  struct vmdk_error err;
  const int r =
    disk_unlink (place->store, place->name, false, operation, &report, &err);
  int status = EXIT_DONE;

  if (r == -1 && report.nr_children > 0)
    tell_note ("%s stays: it is the parent of %s, which vmdkit rebase "
               "--unsafe can base on what it was merged into",
               NAME (place->text), NAME (report.children[0]));
  else if (r == -1)
    status = tell_failure (place->text, &err);
  files_report_free (&report);
  return status;
}

static int
run (const char **arguments, struct operation *operation)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct merge_report report = { 0 };
  struct vmdk_error err;
  int status;

  if (place_find (&place, arguments[0], &err) == -1
      || disk_merge (place.store, place.name, place.flags, operation, &report,
                     &err)
           == -1)
    status = tell_failure (arguments[0], &err);
  else
    status = print (&place, &report);
  if (status == EXIT_DONE && remove_child)
    status = remove_merged (&place, operation);
  free (report.parent);
  return status;
}

const struct command command_commit = {
  .name = "commit",
  .arguments = "CHILD",
  .min = 1,
  .max = 1,
  .summary = "Merge a child into its parent",
  .options = options,
  .run = run,
  .title = "Merging",
};
