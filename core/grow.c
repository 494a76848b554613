/* SPDX-License-Identifier: BSD-3-Clause */

/* Growing.  See grow.h.
 *
 *  (1) New pieces are complete before anything else is changed.
 *  (2) The last extent holds its new size before its line says so.
 *  (3) The descriptor is replaced at once, with all lines of extents.
 *
 * So a crash leaves a disk of the old size or one of the new size, and what
 * was prepared is found and used by the next run.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checked.h"
#include "cleanup.h"
#include "create-parts.h"
#include "grow-parts.h"
#include "link-edit.h"
#include "link-text.h"
#include "siblings.h"

struct growing {
  struct rearranging r;
  struct new_pieces pieces;
  size_t last;           /* the extent that grows */
  uint64_t nr_sectors;   /* of the disk */
  uint64_t last_sectors; /* of that extent */
  bool geometry;
};

/* -- What can grow ------------------------------------------------------ */

/* Before the disk is opened: that would look for the parent. */
static int
check_link (struct store *store, const char *name, enum store_open_flags flags,
            const struct operation *operation, struct vmdk_error *err)
{
  CLEANUP_DESCRIPTOR struct descriptor *d =
    link_look (store, name, flags, operation, NULL, err);

  if (!d)
    return -1;
  if (descriptor_parent_cid (d) != CID_NONE) {
    fail (err, ERR_UNSUPPORTED,
          "is a child, whose size is its parent's: commit it into the parent, "
          "or convert it to a disk of its own, and grow that");
    return fail_prefix (err, "%s", NAME (name));
  }
  return 0;
}

static bool
is_split (const struct descriptor *d)
{
  const char *type = descriptor_create_type (d);

  return strcasecmp (type, "twoGbMaxExtentSparse") == 0
         || strcasecmp (type, "twoGbMaxExtentFlat") == 0
         || strcasecmp (type, "2GbMaxExtentSparse") == 0
         || strcasecmp (type, "2GbMaxExtentFlat") == 0;
}

static bool
is_sparse (const struct extent *extent)
{
  struct extent_layout layout = { 0 };

  if (!extent->index || !extent->ops->layout)
    return false;
  extent->ops->layout ((struct extent *) extent, &layout);
  return layout.header;
}

/* Two extents in one file: one would grow into the other. */
static bool
shares_file (const struct link *link, size_t last)
{
  for (size_t i = 0; i < last; i++)
    if (link->extents[i]->media
        && media_same (link->extents[i]->media, link->extents[last]->media))
      return true;
  return false;
}

static int
check_last (const struct growing *g, struct vmdk_error *err)
{
  const struct extent *extent = g->r.extent;
  const struct extent_line *line =
    descriptor_extent (g->r.link->descriptor, g->last);

  if (line->access != ACCESS_RW || !extent->media)
    return fail (err, ERR_UNSUPPORTED,
                 "cannot grow: its last extent is not written (%s %s)",
                 extent_access_name (line->access),
                 extent_type_name (line->type));
  if (extent->grain_size != 0 && !is_sparse (extent))
    return fail (err, ERR_UNSUPPORTED,
                 "%s extents cannot grow: convert the disk to another type",
                 extent->ops->name);
  if (extent->grain_size == 0
      && (!extent->media->is_regular || shares_file (g->r.link, g->last)))
    return fail (err, ERR_UNSUPPORTED,
                 "cannot grow: its last extent (%s) has no file of its own",
                 NAME (extent->name));
  return 0;
}

/* -- The plan ----------------------------------------------------------- */

static int
check_size (const struct growing *g, uint64_t size, struct vmdk_error *err)
{
  const uint64_t now = g->r.link->size;

  if (size % SECTOR_SIZE != 0 || bytes_to_sectors (size) > MAX_SECTORS)
    return fail (err, ERR_ARGUMENT,
                 "a size of %" PRIu64 " bytes is not a multiple of %d up to "
                 "%" PRIu64,
                 size, SECTOR_SIZE, sectors_to_bytes (MAX_SECTORS));
  if (size < now)
    return fail (err, ERR_ARGUMENT,
                 "%" PRIu64 " bytes are less than its %" PRIu64
                 ": a disk cannot lose capacity (shrink makes its files "
                 "smaller)",
                 size, now);
  return 0;
}

static int
make_plan (struct growing *g, uint64_t size, struct vmdk_error *err)
{
  const struct link *link = g->r.link;
  const struct descriptor *d = link->descriptor;
  uint64_t most;

  if (check_size (g, size, err) == -1)
    return -1;
  g->nr_sectors = bytes_to_sectors (size);
  g->last_sectors = g->nr_sectors - bytes_to_sectors (link->starts[g->last]);
  g->pieces = (struct new_pieces){ .link = g->r.link };
  if (!is_split (d))
    return 0;
  g->pieces.piece_sectors =
    g->last > 0 ? descriptor_extent (d, 0)->nr_sectors : PIECE_SECTORS;
  most = max_u64 (g->pieces.piece_sectors,
                  descriptor_extent (d, g->last)->nr_sectors);
  if (g->last_sectors <= most)
    return 0;
  g->pieces.nr_sectors = g->last_sectors - most;
  g->last_sectors = most;
  g->pieces.nr = div_round_up (g->pieces.nr_sectors, g->pieces.piece_sectors);
  if (link->nr_extents + g->pieces.nr > DESCRIPTOR_MAX_EXTENTS)
    return fail (err, ERR_ARGUMENT,
                 "%" PRIu64 " bytes would need %zu extents, and a disk has at "
                 "most %d",
                 size, link->nr_extents + g->pieces.nr,
                 DESCRIPTOR_MAX_EXTENTS);
  return 0;
}

/* A whole header is what a run that was interrupted leaves. */
static bool
is_done (const struct growing *g)
{
  const struct extent *extent = g->r.extent;
  struct extent_layout layout = { 0 };

  if (sectors_to_bytes (g->nr_sectors) != g->r.link->size)
    return false;
  if (extent->grain_size == 0)
    return true;
  extent->ops->layout ((struct extent *) extent, &layout);
  return layout.capacity - bytes_to_sectors (extent->size)
         < bytes_to_sectors (extent->grain_size);
}

/* -- Flat extents ------------------------------------------------------- */

/* Whether the file system has all of it. */
static int
is_reserved (struct media *media, uint64_t start, uint64_t end, bool *reserved,
             struct vmdk_error *err)
{
  *reserved = true;
  while (*reserved && start < end) {
    uint64_t length;
    bool hole;

    if (media_map (media, start, end - start, &hole, &length, err) == -1)
      return -1;
    *reserved = !hole;
    start += length;
  }
  return 0;
}

static int
grow_flat (struct growing *g, struct vmdk_error *err)
{
  const struct descriptor *d = g->r.link->descriptor;
  const char *thin = descriptor_get (d, "ddb.thinProvisioned");
  struct media *media = g->r.extent->media;
  const uint64_t start =
    sectors_to_bytes (descriptor_extent (d, g->last)->offset_sector);
  const uint64_t old_end = start + g->r.extent->size;
  const uint64_t end = start + sectors_to_bytes (g->last_sectors);
  bool reserved;

  if (g->r.operation->dry_run || old_end == end)
    return 0;
  if (is_reserved (media, start, old_end, &reserved, err) == -1)
    return -1;
  /* What lies behind the old end was nobody's, and becomes zeros. */
  if (media->size > old_end
      && media_punch (media, old_end, min_u64 (media->size, end) - old_end,
                      err)
           == -1)
    return -1;
  if (media->size < end && media_truncate (media, end, err) == -1)
    return -1;
  if (reserved && !(thin && strcmp (thin, "1") == 0)
      && media_reserve (media, old_end, end - old_end, err) == -1)
    return -1;
  return media_flush (media, err);
}

/* -- The descriptor ----------------------------------------------------- */

static int
set_number (struct descriptor *d, const char *key, uint64_t value,
            struct vmdk_error *err)
{
  char text[24];

  snprintf (text, sizeof text, "%" PRIu64, value);
  return descriptor_set (d, key, text, err);
}

static int
set_geometry (struct growing *g, struct descriptor *d, struct vmdk_error *err)
{
  const char *adapter = descriptor_get (d, "ddb.adapterType");
  const struct disk_geometry geometry =
    disk_geometry_for (g->nr_sectors, adapter ? adapter : "lsilogic");

  if (set_number (d, "ddb.geometry.cylinders", geometry.cylinders, err) == -1
      || set_number (d, "ddb.geometry.heads", geometry.heads, err) == -1)
    return -1;
  return set_number (d, "ddb.geometry.sectors", geometry.sectors, err);
}

/* Blocks that VMware tracks are counted by the old size. */
static int
drop_change_tracking (struct growing *g, struct descriptor *d,
                      struct vmdk_error *err)
{
  bool dropped;

  if (descriptor_drop_tracking (d, &dropped, err) == -1)
    return -1;
  if (dropped)
    log_warning (&g->r.link->rules->log,
                 "%s: change tracking is dropped, because it is for the old "
                 "size: the next backup has to be a full one",
                 NAME (g->r.link->name));
  return 0;
}

static int
edit (struct growing *g, struct descriptor *d, struct vmdk_error *err)
{
  if (sectors_to_bytes (g->nr_sectors) != g->r.link->size
      && (descriptor_set_extent_sectors (d, g->last, g->last_sectors, err)
            == -1
          || new_pieces_describe (&g->pieces, d, err) == -1
          || drop_change_tracking (g, d, err) == -1))
    return -1;
  return g->geometry ? set_geometry (g, d, err) : 0;
}

static int
describe (struct growing *g, struct vmdk_error *err)
{
  CLEANUP_DESCRIPTOR struct descriptor *d = NULL;

  if (sectors_to_bytes (g->nr_sectors) == g->r.link->size && !g->geometry)
    return 0;
  d = link_text_now (g->r.link, err);
  if (!d)
    return -1;
  if (edit (g, d, err) == -1)
    return fail_prefix (err, "%s", NAME (g->r.link->name));
  return link_replace_text (g->r.link, d, err);
}

/* -- The operation ------------------------------------------------------ */

static int
grow_last (struct growing *g, struct vmdk_error *err)
{
  const struct extent *extent = g->r.extent;
  const bool embedded = !g->r.link->text;
  const int r = extent->grain_size == 0
                  ? grow_flat (g, err)
                  : grow_sparse (&g->r, g->last_sectors, embedded, err);

  return r == -1 ? rearrange_fail (&g->r, extent, err) : 0;
}

static int
check_no_child (const struct growing *g, struct vmdk_error *err)
{
  const struct link *link = g->r.link;

  if (siblings_check_no_child (link->store, link->name, link->descriptor, NULL,
                               &link->rules->log, err)
      == 0)
    return 0;
  return fail_prefix (err, "cannot grow");
}

/* Extents that a crash left unclean were brought in order by opening them. */
static int
finish_extents (struct growing *g, struct vmdk_error *err)
{
  for (size_t i = 0; i < g->r.link->nr_extents; i++) {
    struct extent *extent = g->r.link->extents[i];

    if (extent->ops->finish && !extent->why_read_only
        && extent->ops->finish (extent, err) == -1)
      return rearrange_fail (&g->r, extent, err);
  }
  return 0;
}

/* All but the descriptor. */
static int
prepare (struct growing *g, uint64_t size, struct vmdk_error *err)
{
  if (check_last (g, err) == -1 || check_no_child (g, err) == -1
      || make_plan (g, size, err) == -1)
    return -1;
  if (!is_done (g)
      && (new_pieces_make (&g->pieces, &g->r, err) == -1
          || grow_last (g, err) == -1))
    return -1;
  return g->r.operation->dry_run ? 0 : finish_extents (g, err);
}

static int
grow (struct growing *g, uint64_t size, struct vmdk_error *err)
{
  g->r.link = chain_link (g->r.chain, 0);
  g->last = g->r.link->nr_extents - 1;
  g->r.extent = g->r.link->extents[g->last];
  g->r.start = g->r.link->starts[g->last];
  if (prepare (g, size, err) == -1)
    return fail_prefix (err, "%s", NAME (g->r.link->name));
  return g->r.operation->dry_run ? 0 : describe (g, err);
}

int
disk_grow (struct store *store, const char *name, enum store_open_flags flags,
           uint64_t size, bool geometry, const struct operation *operation,
           struct grow_report *report, struct vmdk_error *err)
{
  struct chain_rules rules = operation->rules;
  struct growing g = { .r.operation = operation, .geometry = geometry };
  int r;

  *report = (struct grow_report){ 0 };
  if (check_link (store, name, flags, operation, err) == -1)
    return -1;
  rules.writable = !operation->dry_run;
  rules.keep_cid = true;
  g.r.chain = chain_open (store, name, flags, &rules, err);
  if (!g.r.chain)
    return -1;
  report->size_before = report->size_after = chain_size (g.r.chain);
  r = grow (&g, size, err);
  if (r == 0) {
    report->size_after = size;
    report->moved = g.r.moved;
    report->nr_new_extents = g.pieces.nr;
  }
  rearrange_reset (&g.r, r == -1 ? err : NULL);
  chain_close (g.r.chain);
  if (r == 0)
    rearrange_end_progress (operation, 1);
  return r;
}
