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
static struct convert_rules rules = { .level = DEFLATE_DEFAULT_LEVEL };

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
check (const char **arguments)
{
  const int status = check_format (format);
  struct vmdk_error err;

  (void) arguments;
  if (status != -1)
    return status;
  if (!type_parse (type ? type : "monolithicSparse", &rules))
    return type_error (type, true);
  if (grain_size && size_parse (grain_size, &rules.grain_size, &err) == -1)
    return usage_error ("%s", err.text);
  return -1;
}

static int
print (const struct measure *measure)
{
  char required[32], all[32];

  progress_hide ();
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
run (const char **arguments, struct operation *operation)
{
  CLEANUP_SOURCE struct source source = { 0 };
  struct measure measure;
  struct vmdk_error err;

  if (source_find (&source, arguments[0], format, copy_threads (0), &err)
      == -1)
    return tell_failure (arguments[0], &err);
  if (disk_measure (operation, &source.source, name_of_copy (&source), &rules,
                    exact, &measure, &err)
      == -1) {
    source_hint (format, &err);
    return tell_failure (arguments[0], &err);
  }
  return print (&measure);
}

const struct command command_measure = {
  .name = "measure",
  .arguments = "SOURCE",
  .min = 1,
  .max = 1,
  .summary = "Say how much room a copy would take",
  .options = options,
  .check = check,
  .run = run,
  .title = "measure",
};
