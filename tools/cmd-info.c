/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit info: what a disk is made of.  The figures are survey.h's, the rest
 * is in the descriptors.
 *
 * Nothing is locked: a disk that is in use is looked at all the same.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "chain.h"
#include "checked.h"
#include "disk.h"
#include "server.h"
#include "survey.h"

/* -- For programs ------------------------------------------------------- */

static json_t *
text_or_null (const char *text)
{
  return text && *text ? json_text (text) : json_null ();
}

static json_t *
path_json (const struct store *store, const char *name)
{
  CLEANUP_FREE char *path = name ? file_path (store, name) : NULL;

  return text_or_null (path);
}

static json_t *
cid_json (bool given, uint32_t cid)
{
  char text[9];

  if (!given)
    return json_null ();
  snprintf (text, sizeof text, "%08" PRIx32, cid);
  return json_string (text);
}

static json_t *
size_or_null (uint64_t size)
{
  return size ? json_integer ((json_int_t) size) : json_null ();
}

/* In percent, one digit behind the point. */
static json_t *
scatter_json (const struct scatter *scatter)
{
  if (scatter->nr_pairs == 0)
    return json_null ();
  return json_real ((double) (scatter->nr_apart * 1000 / scatter->nr_pairs)
                    / 10);
}

static json_t *
geometry_json (const struct descriptor *descriptor, enum geometry_kind kind)
{
  struct disk_geometry g;

  if (!survey_geometry (descriptor, kind, &g))
    return json_null ();
  return json_pack ("{s:I, s:I, s:I}", "cylinders", (json_int_t) g.cylinders,
                    "heads", (json_int_t) g.heads, "sectors",
                    (json_int_t) g.sectors);
}

/* A number where it is one. */
static json_t *
hw_version_json (const char *text)
{
  unsigned number;
  char end;

  if (text && sscanf (text, "%5u%c", &number, &end) == 1)
    return json_integer (number);
  return text_or_null (text);
}

static json_t *
extent_json (const struct survey_link *sl, const struct survey_extent *se)
{
  const struct extent_line *line = se->line;

  return json_pack (
    "{s:o, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o, "
    "s:b}",
    "file", path_json (sl->link->store, line->name), "type",
    extent_type_name (line->type), "access", extent_access_name (line->access),
    "format", se->extent->ops->name, "start", (json_int_t) se->start, "size",
    (json_int_t) se->extent->size, "offset",
    line->has_offset
      ? json_integer ((json_int_t) sectors_to_bytes (line->offset_sector))
      : json_null (),
    "grain-size", size_or_null (se->extent->grain_size), "allocated",
    (json_int_t) se->allocated, "zeros", (json_int_t) se->zeros, "damaged",
    (json_int_t) se->damaged, "file-size", (json_int_t) se->file_size,
    "file-allocated", (json_int_t) se->file_allocated, "fragmentation",
    scatter_json (&se->scatter), "unclean", se->unclean);
}

static json_t *
extents_json (const struct survey_link *sl)
{
  json_t *list = json_array ();

  for (size_t i = 0; list && i < sl->nr_extents; i++)
    json_array_append_new (list, extent_json (sl, &sl->extents[i]));
  return list;
}

static json_t *
tracking_json (const struct survey_link *sl)
{
  if (!sl->tracking)
    return json_null ();
  return json_pack ("{s:o, s:b}", "file", json_text (sl->tracking), "exists",
                    sl->tracking_exists);
}

static json_t *
link_json (const struct survey_link *sl)
{
  const struct descriptor *d = sl->link->descriptor;
  uint32_t cid = 0;
  const bool has_cid = descriptor_cid (d, &cid);

  return json_pack (
    "{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:b, s:o, s:o}",
    "file", path_json (sl->link->store, sl->link->name), "type",
    text_or_null (descriptor_create_type (d)), "cid", cid_json (has_cid, cid),
    "parent-cid",
    cid_json (link_has_parent (sl->link), descriptor_parent_cid (d)),
    "parent-hint", text_or_null (descriptor_parent_hint (d)), "allocated",
    (json_int_t) sl->allocated, "file-size", (json_int_t) sl->file_size,
    "file-allocated", (json_int_t) sl->file_allocated, "fragmentation",
    scatter_json (&sl->scatter), "change-tracking", tracking_json (sl),
    "unclean", sl->unclean, "in-use", text_or_null (sl->user), "extents",
    extents_json (sl));
}

/* What holds for any link of the disk is said of the disk. */
static bool
is_unclean (const struct survey *survey)
{
  for (size_t i = 0; i < survey->nr_links; i++)
    if (survey->links[i].unclean)
      return true;
  return false;
}

static const char *
first_user (const struct survey *survey)
{
  for (size_t i = 0; i < survey->nr_links; i++)
    if (survey->links[i].user[0])
      return survey->links[i].user;
  return "";
}

/* The disk database's: the youngest link that has it counts. */
static const char *
look_up (const struct survey *survey, const char *key)
{
  for (size_t i = 0; i < survey->nr_links; i++) {
    const char *value =
      descriptor_get (survey->links[i].link->descriptor, key);

    if (value)
      return value;
  }
  return NULL;
}

static const struct descriptor *
find_geometry (const struct survey *survey, enum geometry_kind kind)
{
  struct disk_geometry ignored;

  for (size_t i = 0; i < survey->nr_links; i++)
    if (survey_geometry (survey->links[i].link->descriptor, kind, &ignored))
      return survey->links[i].link->descriptor;
  return survey->links[0].link->descriptor;
}

static int
show_json (const char *text, struct disk *disk, const struct survey *survey,
           const char *problem)
{
  const struct descriptor *top = survey->links[0].link->descriptor;
  json_t *links = json_array ();

  for (size_t i = 0; links && i < survey->nr_links; i++)
    json_array_append_new (links, link_json (&survey->links[i]));
  return print_json (json_pack (
    "{s:o, s:o, s:I, s:o, s:o, s:o, s:{s:o, s:o}, s:o, s:I, s:o, s:b, s:o, "
    "s:o, s:o}",
    "disk", json_text (text), "type",
    text_or_null (descriptor_create_type (top)), "capacity",
    (json_int_t) disk_size (disk), "grain-size",
    size_or_null (disk_grain_size (disk)), "adapter",
    text_or_null (look_up (survey, "ddb.adapterType")), "hw-version",
    hw_version_json (look_up (survey, "ddb.virtualHWVersion")), "geometry",
    "physical",
    geometry_json (find_geometry (survey, GEOMETRY_PHYSICAL),
                   GEOMETRY_PHYSICAL),
    "bios",
    geometry_json (find_geometry (survey, GEOMETRY_BIOS), GEOMETRY_BIOS),
    "uuid", text_or_null (look_up (survey, "ddb.uuid")), "allocated",
    (json_int_t) survey->allocated, "fragmentation",
    scatter_json (&survey->scatter), "unclean", is_unclean (survey), "in-use",
    text_or_null (first_user (survey)), "chain-problem",
    text_or_null (problem), "links", links));
}

/* -- For people --------------------------------------------------------- */

#define SIZE(bytes) size_text ((bytes), (char[32]){ 0 }, 32)

static void
show_scatter (const char *key, const struct scatter *scatter)
{
  if (scatter->nr_pairs > 0)
    print_field (key, "%.1f %% (%" PRIu64 " of %" PRIu64 ")",
                 (double) (scatter->nr_apart * 1000 / scatter->nr_pairs) / 10,
                 scatter->nr_apart, scatter->nr_pairs);
}

static void
show_text (const char *key, const char *text)
{
  if (text && *text)
    print_field (key, "%s", text);
}

static void
show_geometry (const char *key, const struct descriptor *descriptor,
               enum geometry_kind kind)
{
  struct disk_geometry g;

  if (survey_geometry (descriptor, kind, &g))
    print_field (key, "%" PRIu64 " cylinders, %u heads, %u sectors",
                 g.cylinders, g.heads, g.sectors);
}

static void
show_extent (const struct survey_extent *se)
{
  const struct extent_line *line = se->line;
  char grains[64] = "", damaged[64] = "";

  if (se->extent->grain_size)
    snprintf (grains, sizeof grains, ", grains of %s",
              SIZE (se->extent->grain_size));
  if (se->damaged)
    snprintf (damaged, sizeof damaged, ", %s DAMAGED", SIZE (se->damaged));
  print_field ("  Extent", "%s %s %s, %s at %s%s, %s allocated%s%s",
               line->name ? NAME (line->name) : "(no file)",
               extent_type_name (line->type),
               extent_access_name (line->access), SIZE (se->extent->size),
               SIZE (se->start), grains, SIZE (se->allocated), damaged,
               se->unclean ? ", not closed cleanly" : "");
}

/* A split disk can have thousands. */
#define MAX_EXTENTS_SHOWN 20

static void
show_extents (const struct survey_link *sl)
{
  size_t n = sl->nr_extents;

  if (n > MAX_EXTENTS_SHOWN && !settings.verbose)
    n = MAX_EXTENTS_SHOWN;
  for (size_t i = 0; i < n; i++)
    show_extent (&sl->extents[i]);
  if (n < sl->nr_extents)
    print_field ("  Extent", "... and %zu more (all with --verbose)",
                 sl->nr_extents - n);
}

static void
show_link (size_t i, const struct survey_link *sl)
{
  const struct descriptor *d = sl->link->descriptor;
  CLEANUP_FREE char *path = file_path (sl->link->store, sl->link->name);
  uint32_t cid;

  putchar ('\n');
  print_field ("Link", "%zu, %s", i, path ? path : sl->link->name);
  show_text ("  Type", descriptor_create_type (d));
  if (descriptor_cid (d, &cid))
    print_field ("  CID", "%08" PRIx32, cid);
  if (link_has_parent (sl->link)) {
    print_field ("  Parent CID", "%08" PRIx32, descriptor_parent_cid (d));
    show_text ("  Parent", descriptor_parent_hint (d));
  }
  print_field ("  Allocated", "%s", SIZE (sl->allocated));
  print_field ("  Files", "%s (%s without holes)", SIZE (sl->file_size),
               SIZE (sl->file_allocated));
  show_scatter ("  Fragmentation", &sl->scatter);
  if (sl->tracking)
    print_field ("  Change tracking", "%s%s", sl->tracking,
                 sl->tracking_exists ? "" : " (missing)");
  show_text ("  In use", sl->user);
  show_extents (sl);
}

static int
show (const char *text, struct disk *disk, const struct survey *survey,
      const char *problem)
{
  const struct descriptor *top = survey->links[0].link->descriptor;

  show_text ("Disk", text);
  show_text ("Type", descriptor_create_type (top));
  print_field ("Capacity", "%s (%" PRIu64 " bytes)", SIZE (disk_size (disk)),
               disk_size (disk));
  if (disk_grain_size (disk))
    print_field ("Grain size", "%s", SIZE (disk_grain_size (disk)));
  show_text ("Adapter", look_up (survey, "ddb.adapterType"));
  show_text ("Hardware version", look_up (survey, "ddb.virtualHWVersion"));
  show_geometry ("Geometry", find_geometry (survey, GEOMETRY_PHYSICAL),
                 GEOMETRY_PHYSICAL);
  show_geometry ("BIOS geometry", find_geometry (survey, GEOMETRY_BIOS),
                 GEOMETRY_BIOS);
  show_text ("UUID", look_up (survey, "ddb.uuid"));
  print_field ("Allocated", "%s in %zu link%s", SIZE (survey->allocated),
               survey->nr_links, survey->nr_links == 1 ? "" : "s");
  show_scatter ("Fragmentation", &survey->scatter);
  if (is_unclean (survey))
    print_field ("State", "not closed cleanly");
  show_text ("In use", first_user (survey));
  for (size_t i = 0; i < survey->nr_links; i++)
    show_link (i, &survey->links[i]);
  if (problem)
    printf ("\nThe chain ends here: %s\n", problem);
  return print_finish ();
}

/* --------------------------------------------------------------------- */

/* What is wrong with the chain, or with an extent. */
struct problems {
  struct vmdk_error chain;
  bool is_broken, has_bad_extent;
};

static void
note_chain (void *opaque, const char *name, const struct vmdk_error *err)
{
  struct problems *problems = opaque;

  (void) name;
  if (!problems->is_broken)
    problems->chain = *err;
  problems->is_broken = true;
}

static void
note_extent (void *opaque, const char *name, size_t i,
             const struct vmdk_error *err)
{
  struct problems *problems = opaque;

  (void) name;
  (void) i;
  (void) err;
  problems->has_bad_extent = true;
}

/* The links above a parent that cannot be had; NULL, with ERR as it is, if
 * that is not the trouble.
 */
static struct disk *
open_what_is_there (const struct place *place,
                    const struct operation *operation, struct vmdk_error *err)
{
  struct problems problems = { 0 };
  const struct inspector inspector = { note_extent, note_chain, &problems };
  struct chain_rules rules = operation->rules;
  CLEANUP_DISK struct disk *disk = NULL;
  struct vmdk_error ignored;

  rules.inspector = &inspector;
  rules.open.log.sink = NULL; /* said already */
  if (!error_is_about_disk (err))
    return NULL;
  disk = disk_open (place->store, place->name, place->flags, &rules, &ignored);
  if (!disk || !problems.is_broken || problems.has_bad_extent)
    return NULL;
  return steal_ptr (&disk);
}

static int
look (const char *text, struct operation *operation)
{
  CLEANUP_PLACE struct place place = { 0 };
  CLEANUP_DISK struct disk *disk = NULL;
  CLEANUP_SURVEY struct survey survey = { 0 };
  struct vmdk_error err, broken = { 0 };
  char words[ERROR_TEXT_SIZE];
  const char *problem = NULL;
  int status;

  if (place_open (&place, text, false, &err) == -1)
    return tell_failure (text, &err);
  operation->rules.open.lock = false;
  disk =
    disk_open (place.store, place.name, place.flags, &operation->rules, &err);
  if (!disk) {
    broken = err;
    text_options (words, sizeof words, broken.text);
    problem = words;
    disk = open_what_is_there (&place, operation, &err);
  }
  if (!disk || disk_survey (disk, operation, &survey, &err) == -1)
    return tell_failure (text, &err);
  progress_hide ();
  status = settings.json ? show_json (text, disk, &survey, problem)
                         : show (text, disk, &survey, problem);
  return problem ? tell_failure (text, &broken) : status;
}

static int
run (const char **arguments, struct operation *operation)
{
  return server_has (arguments[0]) ? server_info (arguments[0], operation)
                                   : look (arguments[0], operation);
}

const struct command command_info = {
  .name = "info",
  .arguments = "DISK",
  .min = 1,
  .max = 1,
  .summary = "Show what a disk is made of",
  .run = run,
  .title = "info",
  .server = SERVER_DISK,
};
