/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit create: a new disk.  The work is done in create.h. */

#include <config.h>

#include <inttypes.h>

#include "create.h"
#include "server.h"

static char *type, *adapter, *hw_version, *grain_size;
static struct create_rules rules; /* what they say */

static const struct poptOption options[] = {
  { "type", 't', POPT_ARG_STRING, &type, 0,
    "monolithicSparse (default), vmfs-thin, ...", "TYPE" },
  { "adapter", 'a', POPT_ARG_STRING, &adapter, 0,
    "ide, buslogic or lsilogic (default)", "ADAPTER" },
  { "hwversion", 'w', POPT_ARG_STRING, &hw_version, 0,
    "workstation5 (default), esx65, ... or a number", "VERSION" },
  { "grain-size", 0, POPT_ARG_STRING, &grain_size, 0,
    "Unit of allocation of sparse types", "SIZE" },
  POPT_TABLEEND
};

static int
check (const char **arguments)
{
  struct vmdk_error err;
  const int found = type ? disk_type_parse (type) : 0;

  if (found == -1)
    return type_error (type, false);
  rules.type = type              ? (enum disk_type) found
               : server_given () ? DISK_VMFS_FLAT
                                 : DISK_MONOLITHIC_SPARSE;
  if (adapter && !(rules.adapter = disk_adapter_parse (adapter)))
    return usage_error ("adapter %s is not ide, buslogic or lsilogic",
                        adapter);
  if (hw_version && !(rules.hw_version = disk_hw_version_parse (hw_version)))
    return usage_error ("hardware version %s is not esx65 or the like, nor a "
                        "number",
                        hw_version);
  if (size_parse (arguments[1], &rules.size, &err) == -1
      || (grain_size
          && size_parse (grain_size, &rules.grain_size, &err) == -1))
    return usage_error ("%s", err.text);
  if (server_has (arguments[0]) && (grain_size || hw_version))
    return usage_error ("--grain-size, --hwversion: the server decides that "
                        "itself");
  return -1;
}

static int
print (const char *file)
{
  char text[32];

  if (settings.json)
    return print_json (json_pack ("{s:o, s:s, s:I}", "file", json_text (file),
                                  "type", disk_type_name (rules.type),
                                  "capacity", (json_int_t) rules.size));
  if (settings.quiet)
    return EXIT_DONE;
  printf ("%s: %s, %s\n", NAME (file), disk_type_name (rules.type),
          size_text (rules.size, text, sizeof text));
  return print_finish ();
}

static int
run (const char **arguments, struct operation *operation)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct vmdk_error err;

  if (server_has (arguments[0]))
    return server_create (arguments[0], &rules, operation);
  if (place_find (&place, arguments[0], &err) == -1
      || disk_create (place.store, place.name, &rules, &err) == -1)
    return tell_failure (arguments[0], &err);
  return print (arguments[0]);
}

const struct command command_create = {
  .name = "create",
  .arguments = "DISK SIZE",
  .min = 2,
  .max = 2,
  .summary = "Make a new disk",
  .options = options,
  .check = check,
  .run = run,
  .server = SERVER_DISK,
};
