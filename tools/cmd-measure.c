/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit measure: how much room a copy would take.  See measure.h. */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "convert-words.h"
#include "copy.h"
#include "deflate.h"
#include "measure.h"

static char *type, *format, *grain_size, *name;
static int exact;

static const struct poptOption options[] = {
  { "type", 't', POPT_ARG_STRING, &type, 0,
    "monolithicSparse (default), raw, ...", "TYPE" },
  { "source-format", 'f', POPT_ARG_STRING, &format, 0, "vmdk or raw",
    "FORMAT" },
  { "exact", 0, POPT_ARG_NONE, &exact, 0, "Read all, to look for zeros",
    NULL },
  { "grain-size", 0, POPT_ARG_STRING, &grain_size, 0,
    "Unit of allocation of sparse types", "SIZE" },
  { "name", 0, POPT_ARG_STRING, &name, 0, "What the copy will be called",
    "NAME" },
  POPT_TABLEEND
};

static int
words_to_rules (const struct command *command, struct convert_rules *rules)
{
  const int status = check_format (command, format);
  struct vmdk_error err;

  *rules = (struct convert_rules){ .level = DEFLATE_DEFAULT_LEVEL };
  if (status != -1)
    return status;
  if (!type_parse (type ? type : "monolithicSparse", rules))
    return usage_error (command, "there is no type '%s'", type);
  if (grain_size && size_parse (grain_size, &rules->grain_size, &err) == -1)
    return usage_error (command, "%s", err.text);
  return -1;
}

static int
print (const struct measure *measure)
{
  char required[32], all[32];

  if (settings.json)
    return print_json (
      json_pack ("{s:I, s:I}", "required", (json_int_t) measure->required,
                 "fully-allocated", (json_int_t) measure->fully_allocated));
  print_field ("Required", "%s (%" PRIu64 " bytes)",
               size_text (measure->required, required, sizeof required),
               measure->required);
  print_field ("Fully allocated", "%s (%" PRIu64 " bytes)",
               size_text (measure->fully_allocated, all, sizeof all),
               measure->fully_allocated);
  return print_finish ();
}

/* The name matters, if little: descriptors have it. */
static const char *
name_of_copy (const struct source *source)
{
  return name ? name : source->place.name ? source->place.name : "disk.vmdk";
}

static int
measure (const struct operation *operation, const char *from,
         const struct convert_rules *rules)
{
  CLEANUP_SOURCE struct source source = { 0 };
  struct measure result;
  struct vmdk_error err;

  if (source_find (&source, from, format, copy_threads (0), &err) == -1)
    return tell_failure (from, &err);
  if (disk_measure (operation, &source.source, name_of_copy (&source), rules,
                    exact, &result, &err)
      == -1) {
    source_hint (format, &err);
    return tell_failure (from, &err);
  }
  return print (&result);
}

static int
run (const struct command *command, int argc, const char **argv)
{
  struct operation operation;
  struct convert_rules rules;
  struct vmdk_error err;
  const char **arguments;
  int status = options_parse (command, options, argc, argv, 1, 1, &arguments);

  if (status == -1)
    status = words_to_rules (command, &rules);
  if (status != -1)
    return status;
  if (operation_begin (&operation, "measure", &err) == -1)
    return tell_failure (NULL, &err);
  status = measure (&operation, arguments[0], &rules);
  operation_end (&operation);
  return status;
}

const struct command command_measure = {
  .name = "measure",
  .arguments = "SOURCE",
  .summary = "Say how much room a copy would take",
  .run = run,
};
