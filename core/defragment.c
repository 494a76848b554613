/* SPDX-License-Identifier: BSD-3-Clause */

/* Defragmenting.  See defragment.h.
 *
 *   | in order | batch: the next slots | not looked at yet       | aside |
 *
 * The slots behind those that are in order are filled batch by batch.  Which
 * grains belong into a batch follows from walking the tables.  What occupies
 * its slots goes aside, to the highest free slots, where it will not soon be
 * in the way again; commit; then the batch is moved in, and commit.  Where
 * enough of a batch's slots are free, nothing has to go aside.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "checked.h"
#include "cleanup.h"
#include "defragment.h"
#include "rearrange.h"

/* Bytes of a batch: what two commits are spread over, and by how much the
 * file may grow.
 */
#define BATCH ((uint64_t) 64 << 20)

/* Free slots for so much are worth a commit of their own. */
#define ENOUGH ((uint64_t) 8 << 20)

/* A stretch of N grains stays if the gap before it is at most N / this. */
#define GAP_SHARE 100

struct defragmenting {
  struct rearranging r; /* first */
  struct defragment_report *report;

  /* What is done. */
  uint64_t next_grain; /* those before are in order */
  uint64_t next_slot;  /* and end here */

  /* The batch, in the disk's order.  Places are slots. */
  struct grain_moves batch;
  uint64_t batch_grain, batch_slot; /* where the next batch begins */
};

/* -- Planning ----------------------------------------------------------- */

static uint64_t
next_place (const struct grain_room *room, uint64_t slot)
{
  while (grain_room_fixed (room, slot))
    slot++;
  return slot;
}

/* The slots of a batch lie within a window. */
static bool
is_full (const struct defragmenting *d)
{
  return d->batch.len >= max_u64 (BATCH >> d->r.room.index->grain_shift, 1)
         || (d->batch.len > 0
             && d->batch_slot - d->batch.ptr[0].to > grain_room_window () / 4);
}

/* Grains that lie side by side. */
static int
plan_stretch (void *opaque, uint64_t grain, uint64_t nr, uint64_t media_offset,
              struct vmdk_error *err)
{
  struct defragmenting *d = opaque;
  const struct grain_room *room = &d->r.room;
  const uint64_t slot = grain_room_slot (room, media_offset);
  const uint64_t place = next_place (room, d->batch_slot);

  if (slot >= place && slot - place <= nr / GAP_SHARE) {
    d->batch_grain = grain + nr;
    d->batch_slot = slot + nr;
    return is_full (d);
  }
  for (uint64_t i = 0; i < nr && !is_full (d); i++) {
    const struct grain_move move = {
      .grain = grain + i,
      .from = slot + i,
      .to = next_place (room, d->batch_slot),
    };

    if (move.from != move.to && grain_moves_append (&d->batch, move) == -1)
      return fail_memory (err);
    d->batch_grain = grain + i + 1;
    d->batch_slot = move.to + 1;
  }
  return is_full (d);
}

static int
plan_batch (struct defragmenting *d, struct vmdk_error *err)
{
  d->batch.len = 0;
  d->batch_grain = d->next_grain;
  d->batch_slot = d->next_slot;
  return grain_room_walk (d->r.room.index, d->next_grain, plan_stretch, d, err)
             == -1
           ? -1
           : 0;
}

/* -- Moving ------------------------------------------------------------- */

/* How many moves from the first on go to free slots. */
static size_t
nr_free (const struct defragmenting *d)
{
  size_t n = 0;

  while (n < d->batch.len && !grain_room_used (&d->r.room, d->batch.ptr[n].to))
    n++;
  return n;
}

static int
compare_grains (const void *pa, const void *pb)
{
  const struct grain_move *a = pa, *b = pb;

  return (a->grain > b->grain) - (a->grain < b->grain);
}

/* GRAIN, which may be one of the batch, is in another slot now. */
static void
follow (struct defragmenting *d, uint64_t grain, uint64_t slot)
{
  const struct grain_move key = { .grain = grain };
  struct grain_move *move =
    bsearch (&key, d->batch.ptr, d->batch.len, sizeof key, compare_grains);

  if (move)
    move->from = slot;
}

/* Move aside what occupies the batch's slots. */
static int
clear_slots (struct defragmenting *d, struct vmdk_error *err)
{
  struct grain_room *room = &d->r.room;
  const uint64_t low = d->batch_slot;
  uint64_t end = max_u64 (grain_room_end (room), low);
  uint64_t high = end;

  if (grain_room_look (room, d->batch.ptr[0].to,
                       d->batch.ptr[d->batch.len - 1].to, err)
      == -1)
    return -1;
  for (size_t i = 0; i < d->batch.len; i++) {
    const uint64_t slot = d->batch.ptr[i].to;
    const uint64_t grain = grain_room_owner (room, slot);
    uint64_t aside;

    if (!grain_room_used (room, slot))
      continue;
    aside = high > low ? grain_room_last_free (room, low, high) : high;
    if (aside < high)
      high = aside;
    else {
      high = low; /* there are no more */
      aside = end++;
    }
    if (rearrange_move (&d->r, grain, slot, aside, err) == -1)
      return -1;
    follow (d, grain, aside);
  }
  return rearrange_commit (&d->r, err);
}

static void
note_extra (struct defragmenting *d, uint64_t size)
{
  const uint64_t now = d->r.extent->media->size;

  if (now > size)
    d->report->extra = max_u64 (d->report->extra, now - size);
}

/* Move the first N of the batch in. */
static int
fill_slots (struct defragmenting *d, size_t n, struct vmdk_error *err)
{
  for (size_t i = 0; i < n; i++) {
    const struct grain_move *move = &d->batch.ptr[i];

    if (rearrange_move (&d->r, move->grain, move->from, move->to, err) == -1)
      return -1;
  }
  if (rearrange_commit (&d->r, err) == -1)
    return -1;
  d->next_grain = n < d->batch.len ? d->batch.ptr[n].grain : d->batch_grain;
  d->next_slot = n < d->batch.len ? d->batch.ptr[n].to : d->batch_slot;
  return 0;
}

static int
do_batch (struct defragmenting *d, struct vmdk_error *err)
{
  size_t n = nr_free (d);

  if (n < d->batch.len && n < ENOUGH >> d->r.room.index->grain_shift) {
    if (clear_slots (d, err) == -1)
      return -1;
    n = d->batch.len;
  }
  return fill_slots (d, n, err);
}

/* -- The operation ------------------------------------------------------ */

static int
count_breaks (struct defragmenting *d, struct vmdk_error *err)
{
  struct grain_room after CLEANUP_ROOM = { 0 };

  if (grain_room_init (&after, d->r.extent->index, err) == -1)
    return -1;
  d->report->nr_breaks_after += after.nr_breaks;
  return 0;
}

static int
defragment_grains (struct rearranging *r, struct vmdk_error *err)
{
  struct defragmenting *d = (struct defragmenting *) r;
  const uint64_t size = r->extent->media->size;

  d->report->nr_grains += r->room.nr_grains;
  d->report->nr_breaks_before += r->room.nr_breaks;
  if (r->operation->dry_run) {
    d->report->nr_breaks_after += r->room.nr_breaks;
    r->size_after += size;
    return 0;
  }
  d->next_grain = 0;
  d->next_slot = r->room.first;
  while (d->next_grain < r->extent->index->nr_grains) {
    if (plan_batch (d, err) == -1)
      return -1;
    if (d->batch.len == 0)
      break;
    if (do_batch (d, err) == -1)
      return -1;
    note_extra (d, size);
  }
  if (rearrange_finish (r, err) == -1)
    return -1;
  r->size_after += r->extent->media->size;
  return count_breaks (d, err);
}

int
disk_defragment (struct store *store, const char *name,
                 enum store_open_flags flags,
                 const struct operation *operation,
                 struct defragment_report *report, struct vmdk_error *err)
{
  static const struct rearrange_rules rules = {
    .done = "defragmented",
    .grains = defragment_grains,
  };
  struct defragmenting d = { .report = report };
  int r;

  *report = (struct defragment_report){ 0 };
  r = rearrange (&d.r, store, name, flags, operation, &rules, err);
  grain_moves_reset (&d.batch);
  report->size_before = d.r.size_before;
  report->size_after = d.r.size_after;
  report->moved = d.r.moved;
  return r;
}
