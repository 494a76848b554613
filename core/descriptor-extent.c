/* SPDX-License-Identifier: BSD-3-Clause */

/* Editing extent lines.
 *
 * An edited line is printed anew in its canonical form; its place and its end
 * of line stay.  Lines and extents are matched by the line's number: lines
 * that describe nothing (ZERO of no sectors) have no extent.
 */

#include <config.h>

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "checked.h"
#include "descriptor-model.h"

static struct line *
line_of (struct descriptor *d, const struct extent_line *extent)
{
  for (size_t i = 0; i < d->lines.len; i++)
    if (d->lines.ptr[i].kind == LINE_EXTENT
        && d->lines.ptr[i].number == extent->line)
      return &d->lines.ptr[i];
  return NULL;
}

static int
check_name (const char *name, struct vmdk_error *err)
{
  if (strlen (name) == 0 || strlen (name) > DESCRIPTOR_MAX_NAME)
    return fail (err, ERR_ARGUMENT,
                 "extent name of %zu bytes: 1 to %d are allowed",
                 strlen (name), DESCRIPTOR_MAX_NAME);
  if (strchr (name, '"') || text_has_control (name))
    return fail (err, ERR_ARGUMENT,
                 "extent name \"%s\": quotes and control bytes are not "
                 "allowed",
                 NAME (name));
  return 0;
}

/* What other extents and this one of NR_SECTORS add up to. */
static int
check_sum (uint64_t others, uint64_t nr_sectors, struct vmdk_error *err)
{
  if (nr_sectors == 0 || nr_sectors > MAX_SECTORS
      || others > MAX_SECTORS - nr_sectors)
    return fail (err, ERR_ARGUMENT,
                 "an extent of %" PRIu64 " sectors: 1 to %" PRIu64
                 " are allowed in all",
                 nr_sectors, MAX_SECTORS);
  return 0;
}

/* Print EXTENT to LINE, which then owns its text; the extent's name lies
 * behind it.
 */
static int
print_line (struct line *line, struct extent_line *extent,
            struct vmdk_error *err)
{
  const char *name = extent->name ? extent->name : "";
  char offset[32] = "";
  char *own;
  int len;

  if (extent->has_offset)
    snprintf (offset, sizeof offset, " %" PRIu64, extent->offset_sector);
  len = extent->name
          ? asprintf (&own, "%s %" PRIu64 " %s \"%s\"%s%c%s",
                      extent_access_name (extent->access), extent->nr_sectors,
                      extent_type_name (extent->type), name, offset, 0, name)
          : asprintf (&own, "%s %" PRIu64 " %s",
                      extent_access_name (extent->access), extent->nr_sectors,
                      extent_type_name (extent->type));
  if (len == -1)
    return fail_memory (err);
  line->own = own;
  line->text = own;
  line->len = (uint32_t) strlen (own);
  if (extent->name)
    extent->name = own + line->len + 1;
  return 0;
}

/* Put CHANGED in the place of extent I. */
static int
replace (struct descriptor *d, size_t i, struct extent_line changed,
         struct vmdk_error *err)
{
  struct line *line = line_of (d, &d->extents.ptr[i]);
  struct line new;

  assert (line);
  new = *line;
  if (print_line (&new, &changed, err) == -1)
    return -1;
  free (line->own);
  *line = new;
  d->nr_sectors += changed.nr_sectors - d->extents.ptr[i].nr_sectors;
  d->extents.ptr[i] = changed;
  return 0;
}

int
descriptor_set_extent_name (struct descriptor *d, size_t i, const char *name,
                            struct vmdk_error *err)
{
  struct extent_line changed = d->extents.ptr[i];

  assert (changed.name);
  if (check_name (name, err) == -1)
    return -1;
  if (strcmp (changed.name, name) == 0)
    return 0;
  changed.name = name;
  return replace (d, i, changed, err);
}

int
descriptor_set_extent_sectors (struct descriptor *d, size_t i,
                               uint64_t nr_sectors, struct vmdk_error *err)
{
  struct extent_line changed = d->extents.ptr[i];

  if (check_sum (d->nr_sectors - changed.nr_sectors, nr_sectors, err) == -1)
    return -1;
  if (changed.nr_sectors == nr_sectors)
    return 0;
  changed.nr_sectors = nr_sectors;
  return replace (d, i, changed, err);
}

/* Behind the last extent line; numbers of lines stay unique. */
static size_t
place_of_new (const struct descriptor *d, uint32_t *number)
{
  size_t at = d->lines.len;

  *number = 0;
  for (size_t i = 0; i < d->lines.len; i++) {
    if (d->lines.ptr[i].number > *number)
      *number = d->lines.ptr[i].number;
    if (d->lines.ptr[i].kind == LINE_EXTENT)
      at = i + 1;
  }
  ++*number;
  return at;
}

static void
insert (struct descriptor *d, size_t at, struct line line)
{
  struct line *place = &d->lines.ptr[at];

  line.eol = at > 0 && *place[-1].eol ? place[-1].eol : "\n";
  if (at == d->lines.len && at > 0 && *place[-1].eol == '\0') {
    place[-1].eol = line.eol;
    line.eol = "";
  }
  memmove (place + 1, place, (d->lines.len - at) * sizeof *place);
  *place = line;
  d->lines.len++;
}

int
descriptor_add_extent (struct descriptor *d, const struct extent_line *extent,
                       struct vmdk_error *err)
{
  struct extent_line added = *extent;
  struct line line = { .kind = LINE_EXTENT };
  size_t at;

  if ((extent->name && check_name (extent->name, err) == -1)
      || check_sum (d->nr_sectors, extent->nr_sectors, err) == -1)
    return -1;
  if (d->extents.len >= DESCRIPTOR_MAX_EXTENTS)
    return fail (err, ERR_ARGUMENT, "more than %d extents",
                 DESCRIPTOR_MAX_EXTENTS);
  at = place_of_new (d, &line.number);
  added.line = line.number;
  if (print_line (&line, &added, err) == -1)
    return -1;
  if (line_list_append (&d->lines, line) == -1) {
    free (line.own);
    return fail_memory (err);
  }
  d->lines.len--; /* it was for the room */
  if (extent_list_append (&d->extents, added) == -1) {
    free (line.own);
    return fail_memory (err);
  }
  insert (d, at, line);
  d->nr_sectors += added.nr_sectors;
  return 0;
}
