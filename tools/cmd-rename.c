/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit rename: a disk with all its files.  The work is done in
 * link-files.h.
 */

#include <config.h>

#include <string.h>
#include <sys/stat.h>

#include "link-edit.h"
#include "link-files.h"
#include "server.h"
#include "tool-chain.h"
#include "tool-files.h"

static int children;

static const struct poptOption options[] = {
  { "children", 0, POPT_ARG_NONE, &children, 0,
    "Let its children in the folder follow", NULL },
  OPTION_DRY_RUN ("Only say what would be renamed"),
  POPT_TABLEEND
};

/* How the disk names its parent from its new folder; NULL: as before.  A name
 * that is not bare says where the parent is from anywhere, if it is absolute.
 */
static char *
moved_hint (const struct place *from, const struct place *to,
            const struct operation *operation, struct vmdk_error *err)
{
  CLEANUP_DESCRIPTOR struct descriptor *d =
    link_look (from->store, from->name, from->flags, operation, NULL, err);
  const char *hint = d ? descriptor_parent_hint (d) : NULL;
  struct place parent = { .store = from->store };
  char *path;

  if (!hint || descriptor_parent_cid (d) == CID_NONE || hint[0] == '/')
    return NULL;
  parent.name = (char *) store_plain_name (hint);
  path = place_hint (to, &parent, err);
  return path;
}

static int
rename_disk (const struct place *from, const struct place *to, bool same,
             const struct operation *operation)
{
  struct vmdk_error err;
  CLEANUP_FREE char *hint =
    same ? NULL : moved_hint (from, to, operation, &err);
  const struct rename_rules rules = {
    .update_children = children,
    .parent_hint = hint,
  };
  struct files_report report;
  int status;

  if (disk_rename (from->store, from->name, same ? from->store : to->store,
                   to->name, &rules, operation, &report, &err)
      == -1)
    status = tell_failure (from->text, &err);
  else
    status = print_files (&report);
  if (status == EXIT_DONE)
    tell_outside (to->text, hint);
  if (status == EXIT_DONE && !children && report.nr_children > 0)
    tell_note ("%s still names its parent %s: vmdkit rebase --unsafe, or "
               "rename with --children, mends that",
               NAME (report.children[0]), NAME (from->name));
  files_report_free (&report);
  return status;
}

static int
find_and_rename (const char *old, const char *new,
                 const struct operation *operation)
{
  CLEANUP_PLACE struct place from = { 0 }, to = { 0 };
  struct vmdk_error err;
  struct stat st;
  CLEANUP_FREE char *hint = NULL;

  if (place_find (&from, old, &err) == -1)
    return tell_failure (old, &err);
  if (stat (new, &st) == 0 && S_ISDIR (st.st_mode)) {
    fail (&err, ERR_ARGUMENT,
          "is a folder: say what the disk is to be called "
          "in it");
    return tell_failure (new, &err);
  }
  if (place_find (&to, new, &err) == -1)
    return tell_failure (new, &err);
  if (to.folder || from.folder) {
    fail (&err, ERR_READ_ONLY, "nothing in an archive can be renamed");
    return tell_failure (old, &err);
  }
  hint = place_hint (&from, &to, &err);
  if (!hint)
    return tell_failure (new, &err);
  return rename_disk (&from, &to, !strchr (hint, '/'), operation);
}

static int
check (const char **arguments)
{
  if (server_has (arguments[0]) != server_has (arguments[1]))
    return usage_error ("both names are the server's, or none: to bring a "
                        "disk there or back, convert it");
  if (server_has (arguments[0]) && children)
    return usage_error ("--children: the server decides that itself");
  return -1;
}

static int
run (const char **arguments, struct operation *operation)
{
  return server_has (arguments[0])
           ? server_rename (arguments[0], arguments[1], operation)
           : find_and_rename (arguments[0], arguments[1], operation);
}

const struct command command_rename = {
  .name = "rename",
  .arguments = "OLD NEW",
  .min = 2,
  .max = 2,
  .summary = "Rename a disk with all its files",
  .options = options,
  .check = check,
  .run = run,
  .server = SERVER_DISK,
};
