/* SPDX-License-Identifier: BSD-3-Clause */

/* How large a copy will be.  See measure.h.
 *
 * What an empty extent takes is found by making it, on a medium that keeps
 * nothing but its size.
 */

#include <config.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "convert-parts.h"
#include "measure.h"

/* Entries of a table: hosted and COWD. */
#define HOSTED_ENTRIES 512
#define COWD_ENTRIES 4096
#define COWD_TABLE_SIZE (COWD_ENTRIES * 4)

/* -- A medium that forgets ---------------------------------------------- */

static int
forget_write (struct media *media, const void *buf, size_t count,
              uint64_t offset, struct vmdk_error *err)
{
  (void) media;
  (void) buf;
  (void) count;
  (void) offset;
  (void) err;
  return 0;
}

static int
forget_truncate (struct media *media, uint64_t size, struct vmdk_error *err)
{
  (void) media;
  (void) size;
  (void) err;
  return 0;
}

static const struct media_ops forgetful_ops = {
  .pwrite = forget_write,
  .truncate = forget_truncate,
};

/* -- Counting grains ---------------------------------------------------- */

/* Grains that are not zeros, and tables that have some. */
struct count {
  uint64_t grain; /* bytes */
  uint64_t table; /* bytes of the disk that a table is for */
  uint64_t nr_grains, nr_tables;
  uint64_t next_grain; /* those before were counted */
  uint64_t next_table;
};

/* [offset, end), above all before. */
static void
count_range (struct count *count, uint64_t offset, uint64_t end)
{
  const uint64_t first = max_u64 (offset / count->grain, count->next_grain);
  const uint64_t after = div_round_up (end, count->grain);
  const uint64_t first_table =
    max_u64 (first * count->grain / count->table, count->next_table);
  const uint64_t after_table =
    div_round_up (after * count->grain, count->table);

  if (first >= after)
    return;
  count->nr_grains += after - first;
  count->next_grain = after;
  if (first_table >= after_table)
    return;
  count->nr_tables += after_table - first_table;
  count->next_table = after_table;
}

static int
count_mapped (const struct copy_source *source, struct count *count,
              const struct copy_share *share, struct vmdk_error *err)
{
  uint64_t start, stop;

  for (uint64_t at = 0; at < source->size; at = stop) {
    if (source->find_data (source->opaque, at, source->size, &start, &stop,
                           err)
          == -1
        || operation_progress (share->operation, share->before + at,
                               share->total, err)
             == -1)
      return -1;
    if (start < stop)
      count_range (count, start, stop);
  }
  return 0;
}

static int
look_for_zeros (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  const struct count *count = opaque;

  (void) err;
  copy_find_zeros (piece, count->grain);
  return 0;
}

static int
count_piece (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  struct count *count = opaque;
  const size_t nr = div_round_up (piece->count, count->grain);

  (void) err;
  for (size_t i = 0; i < nr; i++)
    if (piece->lengths[i] > 0)
      count_range (count, piece->offset + i * count->grain,
                   piece->offset + (i + 1) * count->grain);
  return 0;
}

static int
count_read (const struct copy_source *source, struct count *count,
            const struct copy_share *share, unsigned nr_threads,
            struct vmdk_error *err)
{
  const struct copy_target target = {
    .opaque = count,
    .unit = count->grain,
    .fill = look_for_zeros,
    .place = count_piece,
  };

  return copy_run (source, &target, nr_threads, share, err);
}

static int
count_grains (const struct conversion *c, uint64_t start, uint64_t size,
              bool exact, struct count *count, struct vmdk_error *err)
{
  struct copy_window window = { &c->source, start };
  const struct copy_source source = copy_source_of_window (&window, size);
  const struct copy_share share = { c->operation, start, c->source.size };
  const bool cowd = c->link.kind->layout == LAYOUT_COWD;

  *count = (struct count){ .grain = sectors_to_bytes (c->link.grain) };
  count->table = count->grain * (cowd ? COWD_ENTRIES : HOSTED_ENTRIES);
  return exact ? count_read (&source, count, &share, c->rules->nr_threads, err)
               : count_mapped (&source, count, &share, err);
}

/* -- Extents ------------------------------------------------------------ */

/* Without grains. */
static int
size_of_empty (const struct conversion *c, size_t i, const char *text,
               size_t len, uint64_t *size, struct vmdk_error *err)
{
  struct media media = { .ops = &forgetful_ops };
  const struct new_extent extent = {
    .layout = c->link.kind->layout,
    .nr_sectors = new_link_extent_sectors (&c->link, i),
    .grain = c->link.grain,
    .text = text,
    .len = len,
    .geometry = &c->link.geometry,
  };

  if (new_extent_fill (&media, &extent, err) == -1)
    return -1;
  *size = media.size;
  return 0;
}

/* With those of COUNT. */
static uint64_t
size_of_grains (const struct conversion *c, uint64_t empty,
                const struct count *count)
{
  const struct stream_export_rules rules = conversion_stream (c, NULL, 0);

  switch (c->link.kind->layout) {
  case LAYOUT_STREAM:
    return stream_export_bound (&rules, count->nr_grains, count->nr_tables);
  case LAYOUT_COWD:
    return empty + count->nr_tables * COWD_TABLE_SIZE
           + count->nr_grains * count->grain;
  case LAYOUT_SPARSE:
    return empty + count->nr_grains * count->grain;
  case LAYOUT_HOLE:
  case LAYOUT_RESERVED:
    break;
  }
  return empty;
}

static int
add_extent (const struct conversion *c, size_t i, const char *text, size_t len,
            bool exact, struct measure *m, struct vmdk_error *err)
{
  const uint64_t start =
    sectors_to_bytes (i * new_link_extent_sectors (&c->link, 0));
  const uint64_t size =
    sectors_to_bytes (new_link_extent_sectors (&c->link, i));
  struct count count = { 0 }, all;
  uint64_t empty;

  if (size_of_empty (c, i, text, len, &empty, err) == -1)
    return -1;
  if (c->link.grain && count_grains (c, start, size, exact, &count, err) == -1)
    return -1;
  all = (struct count){ .grain = count.grain };
  if (c->link.grain) {
    all.nr_grains = div_round_up (size, count.grain);
    all.nr_tables = div_round_up (size, count.table);
  }
  m->required += size_of_grains (c, empty, &count);
  m->fully_allocated += size_of_grains (c, empty, &all);
  return 0;
}

static int
add_extents (const struct conversion *c, const char *name, bool exact,
             struct measure *m, struct vmdk_error *err)
{
  size_t len;
  CLEANUP_FREE char *text = new_link_text (&c->link, name, &len, err);
  const bool embedded = !c->link.kind->suffix;

  if (!text)
    return -1;
  for (size_t i = 0; i < new_link_nr_extents (&c->link); i++)
    if (add_extent (c, i, embedded ? text : NULL, len, exact, m, err) == -1)
      return -1;
  m->required += embedded ? 0 : len;
  m->fully_allocated += embedded ? 0 : len;
  return 0;
}

int
disk_measure (const struct operation *operation,
              const struct convert_source *source, const char *name,
              const struct convert_rules *rules, bool exact,
              struct measure *measure, struct vmdk_error *err)
{
  struct conversion c;
  int r = conversion_begin (&c, operation, source, rules, err);

  *measure = (struct measure){ 0 };
  if (r == 0 && rules->raw)
    measure->required = measure->fully_allocated = c.source.size;
  else if (r == 0)
    r = add_extents (&c, name, exact, measure, err);
  if (r == 0)
    r = operation_progress (operation, c.source.size, c.source.size, err);
  conversion_end (&c);
  return r;
}
