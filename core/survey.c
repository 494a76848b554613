/* SPDX-License-Identifier: BSD-3-Clause */

/* Figures about an open disk.  See survey.h. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "checked.h"
#include "layout.h"
#include "media.h"
#include "store.h"
#include "survey.h"

/* The progress of the whole: bytes of all links. */
struct watch {
  const struct operation *operation;
  uint64_t done, total;
  unsigned nr_runs;
};

/* Runs are looked at faster than anybody wants to hear of. */
static int
watch_run (struct watch *watch, uint64_t length, struct vmdk_error *err)
{
  watch->done += length;
  if (++watch->nr_runs % 1024 != 0)
    return 0;
  return operation_progress (watch->operation, watch->done, watch->total, err);
}

static void
scatter_add (struct scatter *sum, const struct scatter *more)
{
  sum->nr_pairs += more->nr_pairs;
  sum->nr_apart += more->nr_apart;
}

/* -- Extents ------------------------------------------------------------ */

/* Where the last run of data ended: on the disk and in the file. */
struct data_end {
  uint64_t offset, media_offset;
};

static void
add_scatter (struct survey_extent *se, uint64_t offset, const struct run *run,
             struct data_end *last)
{
  const uint64_t grain = se->extent->grain_size;

  if (grain == 0)
    return;
  se->scatter.nr_pairs += div_round_up (run->length, grain) - 1;
  if (offset > 0 && last->offset == offset) {
    se->scatter.nr_pairs++;
    se->scatter.nr_apart += last->media_offset != run->media_offset;
  }
  *last =
    (struct data_end){ offset + run->length, run->media_offset + run->length };
}

/* Of a run of data, what counts as allocated. */
static int
add_data (struct survey_extent *se, const struct run *run,
          struct vmdk_error *err)
{
  uint64_t done, length;
  bool hole;

  for (done = 0; done < run->length; done += length) {
    if (layout_hole (se->extent, run->media_offset + done, run->length - done,
                     &hole, &length, err)
        == -1)
      return -1;
    if (!hole)
      se->allocated += length;
  }
  return 0;
}

static int
add_run (struct survey_extent *se, uint64_t offset, const struct run *run,
         struct data_end *last, struct vmdk_error *err)
{
  switch (run->state) {
  case RUN_DATA:
    add_scatter (se, offset, run, last);
    return add_data (se, run, err);
  case RUN_PACKED:
    se->allocated += run->length;
    break;
  case RUN_ZERO:
    se->zeros += run->length;
    break;
  case RUN_DAMAGED:
    se->damaged += run->length;
    break;
  case RUN_ABSENT:
  case RUN_HOLE:
    break;
  }
  return 0;
}

static int
walk_extent (struct extent *extent, struct survey_extent *se,
             struct watch *watch, struct vmdk_error *err)
{
  struct data_end last = { 0, 0 };
  uint64_t offset;
  struct run run;

  for (offset = 0; offset < extent->size; offset += run.length) {
    if (extent_map (extent, offset, extent->size - offset, MAP_WHERE, &run,
                    err)
          == -1
        || add_run (se, offset, &run, &last, err) == -1
        || watch_run (watch, run.length, err) == -1)
      return -1;
  }
  return 0;
}

/* -- Files -------------------------------------------------------------- */

static int
file_figures (struct media *media, uint64_t *size, uint64_t *allocated,
              struct vmdk_error *err)
{
  uint64_t offset, length;
  bool hole;

  *size = media->size;
  *allocated = 0;
  for (offset = 0; offset < *size; offset += length) {
    if (media_map (media, offset, *size - offset, &hole, &length, err) == -1)
      return -1;
    if (!hole)
      *allocated += length;
  }
  return 0;
}

static int
survey_extent (struct extent *extent, struct survey_extent *se,
               struct watch *watch, struct vmdk_error *err)
{
  struct extent_layout layout = { 0 };

  se->extent = extent;
  if (extent->ops->layout)
    extent->ops->layout (extent, &layout);
  se->unclean = layout.unclean;
  if ((extent->media
       && file_figures (extent->media, &se->file_size, &se->file_allocated,
                        err)
            == -1)
      || walk_extent (extent, se, watch, err) == -1)
    return fail_prefix (err, "%s", NAME (extent->name));
  return 0;
}

static int
compare_files (const void *pa, const void *pb)
{
  const struct survey_extent *const *a = pa, *const *b = pb;

  return memcmp (&(*a)->extent->media->identity,
                 &(*b)->extent->media->identity,
                 sizeof (struct media_identity));
}

/* Extents can be ranges of one file. */
static int
add_files (struct survey_link *sl, struct vmdk_error *err)
{
  CLEANUP_FREE const struct survey_extent **files =
    calloc (sl->nr_extents ? sl->nr_extents : 1, sizeof *files);
  size_t i, n = 0;

  if (!files)
    return fail_memory (err);
  for (i = 0; i < sl->nr_extents; i++)
    if (sl->extents[i].extent->media)
      files[n++] = &sl->extents[i];
  qsort (files, n, sizeof *files, compare_files);
  for (i = 0; i < n; i++)
    if (i == 0
        || !media_same (files[i - 1]->extent->media,
                        files[i]->extent->media)) {
      sl->file_size += files[i]->file_size;
      sl->file_allocated += files[i]->file_allocated;
    }
  return 0;
}

/* -- Links -------------------------------------------------------------- */

static void
set_user (struct survey_link *sl, const char *name, const char *holder)
{
  char text[SURVEY_TEXT_SIZE];

  if (sl->user[0] || !*holder)
    return;
  snprintf (text, sizeof text, "%s: %s", NAME (name), holder);
  text_escape (sl->user, sizeof sl->user, text);
}

/* The first user that is found; a writer would be everywhere. */
static int
find_user (struct survey_link *sl, struct vmdk_error *err)
{
  const struct link *link = sl->link;
  char holder[256];

  if (store_lock_holder (link->store, link->name, holder, sizeof holder, err)
      == -1)
    return -1;
  set_user (sl, link->name, holder);
  if (link->text) {
    media_lock_holder (link->text, holder, sizeof holder);
    set_user (sl, link->name, holder);
  }
  for (size_t i = 0; i < link->nr_extents && !sl->user[0]; i++)
    if (link->extents[i]->media) {
      media_lock_holder (link->extents[i]->media, holder, sizeof holder);
      set_user (sl, link->extents[i]->name, holder);
    }
  return 0;
}

/* A name that leads elsewhere is not followed: only whether a file is there
 * would be told, but to strangers' images nothing is.
 */
static void
find_tracking (struct survey_link *sl)
{
  const char *name = descriptor_get (sl->link->descriptor, "changeTrackPath");
  CLEANUP_MEDIA struct media *media = NULL;
  struct vmdk_error ignored;

  if (!name || !*name)
    return;
  sl->tracking = name;
  media = store_open (sl->link->store, store_plain_name (name),
                      STORE_FROM_FILE, &ignored);
  sl->tracking_exists = media != NULL;
}

static int
survey_link (const struct link *link, struct survey_link *sl,
             struct watch *watch, struct vmdk_error *err)
{
  sl->link = link;
  sl->extents =
    calloc (link->nr_extents ? link->nr_extents : 1, sizeof sl->extents[0]);
  if (!sl->extents)
    return fail_memory (err);
  if (link->text
      && file_figures (link->text, &sl->file_size, &sl->file_allocated, err)
           == -1)
    return -1;
  for (size_t i = 0; i < link->nr_extents; i++) {
    struct survey_extent *se = &sl->extents[i];

    se->line = descriptor_extent (link->descriptor, i);
    se->start = link->starts[i];
    if (survey_extent (link->extents[i], se, watch, err) == -1)
      return -1;
    sl->nr_extents++;
    sl->allocated += se->allocated;
    sl->unclean = sl->unclean || se->unclean;
    scatter_add (&sl->scatter, &se->scatter);
  }
  find_tracking (sl);
  if (add_files (sl, err) == -1)
    return -1;
  return find_user (sl, err);
}

int
disk_survey (struct disk *disk, const struct operation *operation,
             struct survey *survey, struct vmdk_error *err)
{
  struct chain *chain = disk_chain (disk);
  const size_t n = chain_nr_links (chain);
  struct watch watch = { .operation = operation };

  for (size_t i = 0; i < n; i++)
    watch.total += chain_link (chain, i)->size;
  survey->links = calloc (n, sizeof survey->links[0]);
  if (!survey->links)
    return fail_memory (err);
  for (size_t i = 0; i < n; i++) {
    const struct link *link = chain_link (chain, i);
    struct survey_link *sl = &survey->links[survey->nr_links++];

    if (survey_link (link, sl, &watch, err) == -1)
      return fail_prefix (err, "%s", NAME (link->name));
    survey->allocated += sl->allocated;
    scatter_add (&survey->scatter, &sl->scatter);
  }
  return operation_progress (operation, watch.total, watch.total, err);
}

void
survey_free (struct survey *survey)
{
  for (size_t i = 0; i < survey->nr_links; i++)
    free (survey->links[i].extents);
  free (survey->links);
  *survey = (struct survey){ 0 };
}

/* -- Geometry ----------------------------------------------------------- */

/* Digits only, and a number that a geometry can have. */
static bool
geometry_number (const struct descriptor *descriptor, const char *prefix,
                 const char *what, uint64_t *number)
{
  char key[64];
  const char *text;

  snprintf (key, sizeof key, "ddb.geometry.%s%s", prefix, what);
  text = descriptor_get (descriptor, key);
  if (!text || !*text)
    return false;
  for (*number = 0; *text >= '0' && *text <= '9'; text++) {
    *number = *number * 10 + (uint64_t) (*text - '0');
    if (*number > UINT32_MAX)
      return false;
  }
  return *text == '\0';
}

bool
survey_geometry (const struct descriptor *descriptor, enum geometry_kind kind,
                 struct disk_geometry *geometry)
{
  const bool bios = kind == GEOMETRY_BIOS;
  uint64_t cylinders, heads, sectors;

  if (!geometry_number (descriptor, bios ? "bios" : "",
                        bios ? "Cylinders" : "cylinders", &cylinders)
      || !geometry_number (descriptor, bios ? "bios" : "",
                           bios ? "Heads" : "heads", &heads)
      || !geometry_number (descriptor, bios ? "bios" : "",
                           bios ? "Sectors" : "sectors", &sectors))
    return false;
  *geometry =
    (struct disk_geometry){ cylinders, (unsigned) heads, (unsigned) sectors };
  return true;
}
