/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit info: what a disk is made of. */

#include <config.h>

#include <inttypes.h>

#include "disk.h"
#include "tool.h"

static const struct poptOption options[] = { POPT_TABLEEND };

static int
print (struct disk *disk)
{
  char text[256], size[32];

  if (settings.json)
    return print_json (
      json_pack ("{s:I}", "capacity", (json_int_t) disk_size (disk)));
  disk_describe (disk, text, sizeof text);
  print_field ("Disk", "%s", text);
  print_field ("Capacity", "%s (%" PRIu64 " bytes)",
               size_text (disk_size (disk), size, sizeof size),
               disk_size (disk));
  return print_finish ();
}

static int
look (const struct operation *operation, const char *text)
{
  CLEANUP_PLACE struct place place = { 0 };
  CLEANUP_DISK struct disk *disk = NULL;
  struct vmdk_error err;

  if (place_find (&place, text, &err) == -1)
    return tell_failure (text, &err);
  disk =
    disk_open (place.store, place.name, place.flags, &operation->rules, &err);
  return disk ? print (disk) : tell_failure (text, &err);
}

static int
run (const struct command *command, int argc, const char **argv)
{
  struct operation operation;
  struct vmdk_error err;
  const char **arguments;
  int status = options_parse (command, options, argc, argv, 1, 1, &arguments);

  if (status != -1)
    return status;
  if (operation_begin (&operation, NULL, &err) == -1)
    return tell_failure (NULL, &err);
  status = look (&operation, arguments[0]);
  operation_end (&operation);
  return status;
}

const struct command command_info = {
  .name = "info",
  .arguments = "DISK",
  .summary = "Show what a disk is made of",
  .run = run,
};
