/* SPDX-License-Identifier: BSD-3-Clause */

/* What the commands that rename and remove files share.  See tool-files.h. */

#include <config.h>

#include "tool-files.h"

static int
print_files_json (const struct files_report *report)
{
  json_t *files = json_array (), *children = json_array ();

  for (size_t i = 0; i < report->nr_files; i++) {
    const struct renamed_file *file = &report->files[i];

    json_array_append_new (
      files, json_pack ("{s:o, s:o}", "old", json_text (file->old), "new",
                        file->new ? json_text (file->new) : json_null ()));
  }
  for (size_t i = 0; i < report->nr_children; i++)
    json_array_append_new (children, json_text (report->children[i]));
  return print_json (json_pack ("{s:o, s:o, s:b}", "files", files, "children",
                                children, "dry-run", settings.dry_run));
}

int
print_files (const struct files_report *report)
{
  if (settings.json)
    return print_files_json (report);
  for (size_t i = 0;
       (settings.dry_run || settings.verbose) && i < report->nr_files; i++) {
    const struct renamed_file *file = &report->files[i];

    if (file->new)
      print_field (file->old, "%s", file->new);
    else
      print_field (settings.dry_run ? "Would remove" : "Removed", "%s",
                   file->old);
  }
  return print_finish ();
}
