/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit map: the disk from start to end, and where it is.  Printed as it is
 * found: the list of a large disk is long.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "disk.h"
#include "layout.h"
#include "tool.h"

static const struct poptOption options[] = { POPT_TABLEEND };

struct printer {
  size_t nr_links;
  size_t nr_pieces;
};

static const char *
state_name (enum run_state state)
{
  switch (state) {
  case RUN_DATA:
    return "data";
  case RUN_PACKED:
    return "packed";
  case RUN_ZERO:
    return "zero";
  case RUN_DAMAGED:
    return "damaged";
  case RUN_ABSENT:
  case RUN_HOLE:
    break;
  }
  return "hole";
}

static bool
has_data (const struct layout_piece *piece)
{
  return piece->state == RUN_DATA || piece->state == RUN_PACKED
         || piece->state == RUN_DAMAGED;
}

/* -- For people --------------------------------------------------------- */

static bool
print_line (void *opaque, const struct layout_piece *piece)
{
  struct printer *printer = opaque;
  char depth[24] = "-", offset[24] = "-";
  CLEANUP_FREE char *path = NULL;

  if (printer->nr_pieces++ == 0)
    printf ("%-16s %-16s %-7s %-5s %-16s %s\n", "Start", "Length", "State",
            "Depth", "Offset", "File");
  if (piece->link)
    snprintf (depth, sizeof depth, "%zu", piece->depth);
  if (piece->state == RUN_DATA)
    snprintf (offset, sizeof offset, "%#" PRIx64, piece->media_offset);
  if (has_data (piece))
    path = file_path (piece->link->store, piece->extent->name);
  printf ("%#-16" PRIx64 " %#-16" PRIx64 " %-7s %-5s %-16s %s\n",
          piece->offset, piece->length, state_name (piece->state), depth,
          offset, path ? NAME (path) : "-");
  return !ferror (stdout);
}

/* -- For programs ------------------------------------------------------- */

static json_t *
piece_json (const struct printer *printer, const struct layout_piece *piece)
{
  const bool data = has_data (piece);
  json_t *object = json_pack (
    "{s:I, s:I, s:I, s:b, s:b, s:b, s:b}", "start", (json_int_t) piece->offset,
    "length", (json_int_t) piece->length, "depth",
    (json_int_t) (piece->link ? piece->depth : printer->nr_links - 1),
    "present", piece->link != NULL, "zero", !data, "data", data, "compressed",
    piece->state == RUN_PACKED);
  CLEANUP_FREE char *path = NULL;

  if (object && piece->state == RUN_DAMAGED)
    json_object_set_new (object, "damaged", json_true ());
  if (object && piece->state == RUN_DATA)
    json_object_set_new (object, "offset",
                         json_integer ((json_int_t) piece->media_offset));
  if (object && data) {
    path = file_path (piece->link->store, piece->extent->name);
    json_object_set_new (object, "filename",
                         path ? json_text (path) : json_null ());
  }
  return object;
}

static bool
print_object (void *opaque, const struct layout_piece *piece)
{
  struct printer *printer = opaque;
  json_t *object = piece_json (printer, piece);
  int r = -1;

  fputs (printer->nr_pieces++ == 0 ? "[" : ",\n ", stdout);
  if (object)
    r = json_dumpf (object, stdout, json_flags ());
  json_decref (object);
  return r == 0 && !ferror (stdout);
}

/* --------------------------------------------------------------------- */

static int
look (const struct operation *operation, const char *text)
{
  CLEANUP_PLACE struct place place = { 0 };
  CLEANUP_DISK struct disk *disk = NULL;
  struct printer printer = { 0 };
  struct vmdk_error err;

  if (place_find (&place, text, &err) == -1)
    return tell_failure (text, &err);
  disk =
    disk_open (place.store, place.name, place.flags, &operation->rules, &err);
  if (!disk)
    return tell_failure (text, &err);
  printer.nr_links = chain_nr_links (disk_chain (disk));
  if (disk_layout (disk, settings.json ? print_object : print_line, &printer,
                   &err)
      == -1)
    return tell_failure (text, &err);
  if (settings.json)
    puts ("]");
  return print_finish ();
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

const struct command command_map = {
  .name = "map",
  .arguments = "DISK",
  .summary = "List which ranges have data, and where",
  .run = run,
};
