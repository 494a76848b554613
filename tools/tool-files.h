/* SPDX-License-Identifier: BSD-3-Clause */

/* What the commands that rename and remove files share. */

#ifndef VMDKIT_TOOL_FILES_H
#define VMDKIT_TOOL_FILES_H

#include "link-files.h"
#include "tool.h"

/* Say which files were renamed or removed, with --verbose, --dry-run and
 * --json.  Returns an exit code.
 */
extern int print_files (const struct files_report *report);

#endif /* VMDKIT_TOOL_FILES_H */
