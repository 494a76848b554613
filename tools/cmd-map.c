/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit map: the disk from start to end, and where it is.  Printed as it is
 * found: the list of a large disk is long.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "layout.h"
#include "tool.h"

struct printer {
  size_t nr_links;
  size_t nr_pieces;

  /* The file of the last piece with data, as it is printed: there are many
   * pieces and few files.
   */
  const struct extent *extent;
  char *file;
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

/* NULL when memory cannot be had. */
static const char *
printed_file (struct printer *printer, const struct layout_piece *piece)
{
  CLEANUP_FREE char *path = NULL;
  json_t *text = NULL;

  if (printer->extent == piece->extent)
    return printer->file;
  free (printer->file);
  printer->extent = piece->extent;
  printer->file = NULL;
  path = file_path (piece->link->store, piece->extent->name);
  if (settings.json) {
    text = path ? json_text (path) : NULL;
    printer->file = json_dumps (text, JSON_ENCODE_ANY | json_flags ());
    json_decref (text);
  }
  else
    printer->file = path ? strdup (NAME (path)) : NULL;
  return printer->file;
}

/* -- For people --------------------------------------------------------- */

static bool
print_line (void *opaque, const struct layout_piece *piece)
{
  struct printer *printer = opaque;
  char depth[24] = "-", offset[24] = "-";
  const char *file = has_data (piece) ? printed_file (printer, piece) : "-";

  if (printer->nr_pieces++ == 0)
    printf ("%-16s %-16s %-7s %-5s %-16s %s\n", "Start", "Length", "State",
            "Depth", "Offset", "File");
  if (piece->link)
    snprintf (depth, sizeof depth, "%zu", piece->depth);
  if (piece->state == RUN_DATA)
    snprintf (offset, sizeof offset, "%#" PRIx64, piece->media_offset);
  printf ("%#-16" PRIx64 " %#-16" PRIx64 " %-7s %-5s %-16s %s\n",
          piece->offset, piece->length, state_name (piece->state), depth,
          offset, file ? file : "(out of memory)");
  return !ferror (stdout);
}

/* -- For programs ------------------------------------------------------- */

static const char *
truth (bool value)
{
  return value ? "true" : "false";
}

/* Written by hand: building objects takes ten times as long as finding what is
 * in them.
 */
static bool
print_object (void *opaque, const struct layout_piece *piece)
{
  struct printer *printer = opaque;
  const bool data = has_data (piece);
  const char *file = data ? printed_file (printer, piece) : NULL;

  printf ("%s{\"start\": %" PRIu64 ", \"length\": %" PRIu64
          ", \"depth\": %zu, \"present\": %s, \"zero\": %s, \"data\": %s, "
          "\"compressed\": %s",
          printer->nr_pieces++ == 0 ? "[" : ",\n ", piece->offset,
          piece->length, piece->link ? piece->depth : printer->nr_links - 1,
          truth (piece->link), truth (!data), truth (data),
          truth (piece->state == RUN_PACKED));
  if (piece->state == RUN_DAMAGED)
    fputs (", \"damaged\": true", stdout);
  if (piece->state == RUN_DATA)
    printf (", \"offset\": %" PRIu64, piece->media_offset);
  if (data)
    printf (", \"filename\": %s", file ? file : "null");
  putchar ('}');
  return !ferror (stdout);
}

/* --------------------------------------------------------------------- */

static int
run (const char **arguments, struct operation *operation)
{
  CLEANUP_PLACE struct place place = { 0 };
  CLEANUP_DISK struct disk *disk = NULL;
  struct printer printer = { 0 };
  struct vmdk_error err;
  int r;

  if (place_find (&place, arguments[0], &err) == -1)
    return tell_failure (arguments[0], &err);
  disk =
    disk_open (place.store, place.name, place.flags, &operation->rules, &err);
  if (!disk)
    return tell_failure (arguments[0], &err);
  printer.nr_links = chain_nr_links (disk_chain (disk));
  r = disk_layout (disk, settings.json ? print_object : print_line, &printer,
                   &err);
  free (printer.file);
  if (r == -1)
    return tell_failure (arguments[0], &err);
  if (settings.json)
    puts ("]");
  return print_finish ();
}

const struct command command_map = {
  .name = "map",
  .arguments = "DISK",
  .min = 1,
  .max = 1,
  .summary = "List which ranges have data, and where",
  .run = run,
};
