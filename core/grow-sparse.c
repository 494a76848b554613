/* SPDX-License-Identifier: BSD-3-Clause */

/* A hosted sparse extent gets more capacity.
 *
 *   before   header  directories, tables  | grains ................
 *   after    header  directories, tables  | directories, new tables | grains
 *
 * The new directories name the old tables, where they are, and the new ones.
 * They lie behind the old metadata, so that the file can be shrunk; grains
 * that are in the way move to its end first.  One sector, the header, then
 * makes all of that valid at once:
 *
 *  (1) what the old header names stays as it is;
 *  (2) all that the new header names is durable before it is written.
 *
 * What the file has behind the old capacity (in the last grain, in the last
 * table) becomes visible, and so has to be zeros.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "cleanup.h"
#include "create-parts.h"
#include "grain-directory.h"
#include "grain-write.h"
#include "grow-parts.h"

/* Sector numbers are 32 bits. */
#define FILE_MAX_SECTORS (UINT64_C (1) << 32)

#define ENTRY_SIZE 4

/* The new metadata; sectors. */
struct plan {
  struct sparse_header header;   /* the new one */
  uint64_t nr_old, nr_new;       /* tables */
  uint64_t directory, table;     /* the size of each */
  uint64_t rgd, gd, end;         /* where; rgd 0: there is none */
  uint64_t first_slot, end_slot; /* the room that is needed */
  bool new_tables;
};

/* -- What becomes visible ----------------------------------------------- */

/* The last grain's bytes behind the old end. */
static int
clear_last_grain (struct rearranging *r, struct vmdk_error *err)
{
  struct extent *extent = r->extent;
  const uint64_t grain_size = extent->index->grain_size;
  const uint64_t within = extent->size & (grain_size - 1);
  CLEANUP_FREE uint8_t *zeros = calloc (1, grain_size);
  struct run run;

  if (!zeros)
    return fail_memory (err);
  if (within == 0)
    return 0;
  if (grain_index_map (extent->index, extent->size - within, within, MAP_WHERE,
                       &run, err)
      == -1)
    return -1;
  if (run.state != RUN_DATA || r->operation->dry_run)
    return 0;
  if (media_pwrite (extent->media, zeros, grain_size - within,
                    run.media_offset + within, err)
      == -1)
    return -1;
  return media_flush (extent->media, err);
}

/* GRAIN lies behind the disk's end. */
static int
clear_entry (void *opaque, uint64_t grain, struct vmdk_error *err)
{
  struct rearranging *r = opaque;

  return r->operation->dry_run
           ? 0
           : grain_extent_set_entry (r->extent, grain, 0, err);
}

static int
clear_tail (struct rearranging *r, struct vmdk_error *err)
{
  if (clear_last_grain (r, err) == -1
      || grain_room_walk_behind (r->extent->index, clear_entry, r, err) == -1)
    return -1;
  return r->operation->dry_run ? 0 : rearrange_commit (r, err);
}

/* -- Room for the new tables -------------------------------------------- */

/* The first slots, NR of them, behind the metadata that no table is in. */
static uint64_t
find_room (const struct grain_room *room, uint64_t nr)
{
  uint64_t first = room->first, slot = first;

  while (slot < first + nr && slot < room->nr_slots)
    if (grain_room_fixed (room, slot++))
      first = slot;
  return first;
}

static int
make_plan (const struct rearranging *r, const struct sparse_header *h,
           uint64_t nr_sectors, struct plan *p, struct vmdk_error *err)
{
  const struct grain_index *index = r->extent->index;
  uint64_t size, start;

  *p = (struct plan){ .header = *h, .nr_old = index->nr_tables };
  p->header.capacity = nr_sectors;
  p->nr_new = sparse_header_nr_tables (&p->header);
  p->new_tables = p->nr_new > p->nr_old;
  if (!p->new_tables)
    return 0;
  p->directory = div_round_up (p->nr_new * ENTRY_SIZE, SECTOR_SIZE);
  p->table = bytes_to_sectors (index->table_bytes);
  size = p->directory + (p->nr_new - p->nr_old) * p->table;
  const uint64_t nr_slots =
    div_round_up (sectors_to_bytes (index->mirror_offset ? 2 * size : size),
                  index->grain_size);
  p->first_slot = find_room (&r->room, nr_slots);
  p->end_slot = p->first_slot + nr_slots;
  start = bytes_to_sectors (grain_room_offset (&r->room, p->first_slot));
  p->rgd = index->mirror_offset ? start : 0;
  p->gd = index->mirror_offset ? start + size : start;
  p->end = bytes_to_sectors (grain_room_offset (&r->room, p->end_slot));
  if (max_u64 (p->end_slot, grain_room_end (&r->room)) + nr_slots
      > (FILE_MAX_SECTORS << 9) >> index->grain_shift)
    return fail (err, ERR_ARGUMENT,
                 "the file has no room for more tables: it can have at most "
                 "%" PRIu64 " bytes",
                 sectors_to_bytes (FILE_MAX_SECTORS));
  p->header.gd_offset = p->gd;
  if (p->rgd)
    p->header.rgd_offset = p->rgd;
  if (p->first_slot == r->room.first)
    p->header.overhead = p->end;
  return 0;
}

/* Grains that are in the way go to the end. */
static int
make_room (struct rearranging *r, const struct plan *p, struct vmdk_error *err)
{
  struct grain_room *room = &r->room;
  uint64_t to = max_u64 (grain_room_end (room), p->end_slot);

  for (uint64_t slot = p->first_slot; slot < p->end_slot; slot++) {
    if (!grain_room_used (room, slot))
      continue;
    if (r->operation->dry_run) {
      r->moved += room->index->grain_size;
      continue;
    }
    if (grain_room_look (room, slot, slot, err) == -1
        || rearrange_move (r, grain_room_owner (room, slot), slot, to++, err)
             == -1)
      return -1;
  }
  return r->operation->dry_run ? 0 : rearrange_commit (r, err);
}

/* -- The new tables ----------------------------------------------------- */

/* They, and all of their room, are zeros. */
static int
clear_room (struct media *media, const struct plan *p, struct vmdk_error *err)
{
  const uint64_t start = sectors_to_bytes (p->rgd ? p->rgd : p->gd);
  const uint64_t end = sectors_to_bytes (p->end), size = media->size;

  if (size > start
      && media_punch (media, start, min_u64 (end, size) - start, err) == -1)
    return -1;
  return size < end ? media_truncate (media, end, err) : 0;
}

/* The directory at sector FROM, with more entries, to sector TO. */
static int
write_directory (struct media *media, const struct plan *p, uint64_t from,
                 uint64_t to, struct vmdk_error *err)
{
  const size_t size = sectors_to_bytes (p->directory);
  CLEANUP_FREE uint8_t *entries = calloc (1, size);

  if (!entries)
    return fail_memory (err);
  if (media_pread (media, entries, p->nr_old * ENTRY_SIZE,
                   sectors_to_bytes (from), err)
      == -1)
    return -1;
  for (uint64_t t = p->nr_old; t < p->nr_new; t++)
    le32_store (entries + t * ENTRY_SIZE,
                (uint32_t) (to + p->directory + (t - p->nr_old) * p->table));
  return media_pwrite (media, entries, size, sectors_to_bytes (to), err);
}

static int
write_tables (struct rearranging *r, const struct plan *p,
              const struct sparse_header *old, struct vmdk_error *err)
{
  struct media *media = r->extent->media;

  if (clear_room (media, p, err) == -1
      || (p->rgd
          && write_directory (media, p, old->rgd_offset, p->rgd, err) == -1)
      || write_directory (media, p, old->gd_offset, p->gd, err) == -1)
    return -1;
  return media_flush (media, err); /* invariant 2 */
}

/* -- The extent --------------------------------------------------------- */

static int
check_limit (const struct extent *extent, uint64_t nr_sectors, bool embedded,
             struct vmdk_error *err)
{
  const uint64_t most = layout_max_sectors (
    LAYOUT_SPARSE, bytes_to_sectors (extent->grain_size), embedded);

  if (nr_sectors <= most)
    return 0;
  return fail (err, ERR_ARGUMENT,
               "a sparse extent with grains of %" PRIu64
               " bytes has at most %" PRIu64 " bytes, not %" PRIu64,
               extent->grain_size, sectors_to_bytes (most),
               sectors_to_bytes (nr_sectors));
}

/* Say that it is clean, and cut the file. */
static int
finish (struct rearranging *r, const struct plan *p, struct vmdk_error *err)
{
  const uint64_t end =
    max_u64 (max_u64 (grain_room_offset (&r->room, grain_room_end (&r->room)),
                      r->extent->index->metadata_end),
             sectors_to_bytes (p->end));

  grain_extent_set_end (r->extent, min_u64 (end, r->extent->media->size));
  return grain_extent_finish (r->extent, err);
}

int
grow_sparse (struct rearranging *r, uint64_t nr_sectors, bool embedded,
             struct vmdk_error *err)
{
  struct extent_layout layout = { 0 };
  struct sparse_header old;
  struct plan p;

  r->extent->ops->layout (r->extent, &layout);
  old = *layout.header;
  if (check_limit (r->extent, nr_sectors, embedded, err) == -1
      || rearrange_begin (r, err) == -1 || clear_tail (r, err) == -1
      || make_plan (r, &old, nr_sectors, &p, err) == -1
      || make_room (r, &p, err) == -1)
    return -1;
  if (r->operation->dry_run)
    return 0;
  if (p.new_tables && write_tables (r, &p, &old, err) == -1)
    return -1;
  if (old.capacity != nr_sectors
      && extent_sparse_set_header (r->extent, &p.header, err) == -1)
    return -1;
  return finish (r, &p, err);
}
