/* SPDX-License-Identifier: BSD-3-Clause */

/* Rearranging a disk's grains.  See rearrange.h. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "cleanup.h"
#include "grain-write.h"
#include "rearrange.h"
#include "table-changes.h"

/* So much is planned before it is copied. */
#define BATCH ((uint64_t) 64 << 20)

int
rearrange_progress (struct rearranging *r, uint64_t count,
                    struct vmdk_error *err)
{
  r->done += count;
  r->total = max_u64 (r->total, r->done);
  return operation_progress (r->operation, r->done, r->total, err);
}

/* What is done is done, also when somebody wants it stopped only now. */
void
rearrange_end_progress (const struct operation *operation, uint64_t total)
{
  struct vmdk_error ignored;

  if (operation_progress (operation, total, total, &ignored) == -1)
    return;
}

/* -- Moves -------------------------------------------------------------- */

static int
moved (void *opaque, uint64_t count, struct vmdk_error *err)
{
  struct rearranging *r = opaque;

  r->moved += count;
  return rearrange_progress (r, count, err);
}

static int
make_moves (struct rearranging *r, struct vmdk_error *err)
{
  return grain_moves_make (&r->moves, r->extent, moved, r, err);
}

static int
leave (struct rearranging *r, uint64_t slot, struct vmdk_error *err)
{
  return slot_list_append (&r->left, slot) == -1 ? fail_memory (err) : 0;
}

/* Changed tables wait in memory for the commit. */
static int
commit_if_many (struct rearranging *r, struct vmdk_error *err)
{
  return table_changes_are_many (r->extent->index->changes)
           ? rearrange_commit (r, err)
           : 0;
}

static int
append_move (struct rearranging *r, const struct grain_move *move,
             uint64_t to_slot, struct vmdk_error *err)
{
  const uint64_t grain_size = r->extent->index->grain_size;

  if (grain_moves_append (&r->moves, *move) == -1)
    return fail_memory (err);
  if (grain_room_set (&r->room, to_slot, move->grain, err) == -1)
    return -1;
  if (r->moves.len < max_u64 (BATCH / grain_size, 1))
    return 0;
  return make_moves (r, err) == -1 ? -1 : commit_if_many (r, err);
}

int
rearrange_move (struct rearranging *r, uint64_t grain, uint64_t from,
                uint64_t to, struct vmdk_error *err)
{
  const struct grain_move move = {
    .grain = grain,
    .from = grain_room_offset (&r->room, from),
    .to = grain_room_offset (&r->room, to),
  };

  if (leave (r, from, err) == -1)
    return -1;
  return append_move (r, &move, to, err);
}

int
rearrange_drop (struct rearranging *r, uint64_t grain, uint64_t slot,
                uint64_t entry, struct vmdk_error *err)
{
  if (leave (r, slot, err) == -1
      || grain_extent_set_entry (r->extent, grain, entry, err) == -1)
    return -1;
  return commit_if_many (r, err);
}

int
rearrange_commit (struct rearranging *r, struct vmdk_error *err)
{
  if (make_moves (r, err) == -1 || grain_extent_flush (r->extent, err) == -1)
    return -1;
  for (size_t i = 0; i < r->left.len; i++)
    if (grain_room_set (&r->room, r->left.ptr[i], ROOM_NO_GRAIN, err) == -1)
      return -1;
  r->left.len = 0;
  return 0;
}

/* -- Ending ------------------------------------------------------------- */

/* What is used may end within the file's last grain. */
static uint64_t
file_end (const struct rearranging *r)
{
  return min_u64 (
    r->extent->media->size,
    max_u64 (grain_room_offset (&r->room, grain_room_end (&r->room)),
             r->extent->index->metadata_end));
}

int
rearrange_finish (struct rearranging *r, struct vmdk_error *err)
{
  struct media *media = r->extent->media;
  uint64_t end;

  if (rearrange_commit (r, err) == -1)
    return -1;
  end = file_end (r);
  if (media->size > end
      && (grain_extent_begin (r->extent, err) == -1
          || media_truncate (media, end, err) == -1
          || media_flush (media, err) == -1))
    return -1;
  grain_extent_set_end (r->extent, end);
  return grain_extent_finish (r->extent, err);
}

/* Moves that were not made are forgotten, the others are committed. */
static void
end_stopped (struct rearranging *r)
{
  struct vmdk_error ignored;

  if (!r->room.index || !r->extent->writer)
    return;
  r->moves.len = 0;
  grain_extent_set_end (r->extent, file_end (r));
  if (grain_extent_finish (r->extent, &ignored) == -1)
    return; /* as after a crash: nothing is lost */
}

/* -- Odd grains --------------------------------------------------------- */

static int
align (void *opaque, uint64_t grain, uint64_t nr, uint64_t media_offset,
       struct vmdk_error *err)
{
  struct rearranging *r = opaque;

  if (grain_room_is_slot (&r->room, media_offset))
    return 0;
  for (uint64_t i = 0; i < nr; i++) {
    const uint64_t to = grain_room_next_free (&r->room, r->room.first);
    const struct grain_move move = {
      .grain = grain + i,
      .from = media_offset + (i << r->extent->index->grain_shift),
      .to = grain_room_offset (&r->room, to),
    };

    if (append_move (r, &move, to, err) == -1)
      return -1;
  }
  return 0;
}

/* A few grains between the slots, as different writers of one file leave
 * them, take a slot first.
 */
static int
align_odd (struct rearranging *r, struct vmdk_error *err)
{
  if (grain_room_walk (r->extent->index, 0, align, r, err) == -1
      || rearrange_commit (r, err) == -1)
    return -1;
  grain_room_destroy (&r->room);
  return grain_room_init (&r->room, r->extent->index, err);
}

/* -- Extents ------------------------------------------------------------ */

static bool
is_worked_on (const struct rearranging *r, size_t i)
{
  return r->link->extents[i]->media
         && descriptor_extent (r->link->descriptor, i)->access == ACCESS_RW;
}

int
rearrange_fail (const struct rearranging *r, const struct extent *extent,
                struct vmdk_error *err)
{
  return strcmp (extent->name, r->link->name) == 0
           ? -1
           : fail_prefix (err, "%s", NAME (extent->name));
}

/* Nothing is begun that cannot be done to all. */
static int
check_extents (struct rearranging *r, const struct rearrange_rules *rules,
               struct vmdk_error *err)
{
  for (size_t i = 0; i < r->link->nr_extents; i++) {
    const struct extent *extent = r->link->extents[i];

    if (!is_worked_on (r, i))
      continue;
    if (extent->grain_size != 0 && !extent->index) {
      fail (err, ERR_UNSUPPORTED,
            "%s extents cannot be %s: convert the disk to another type",
            extent->ops->name, rules->done);
      return rearrange_fail (r, extent, err);
    }
    r->size_before += extent->media->size;
  }
  r->total = r->size_before;
  return 0;
}

int
rearrange_begin (struct rearranging *r, struct vmdk_error *err)
{
  if (grain_room_init (&r->room, r->extent->index, err) == -1)
    return -1;
  return r->room.nr_odd > 0 && !r->operation->dry_run ? align_odd (r, err) : 0;
}

void
rearrange_reset (struct rearranging *r, const struct vmdk_error *stopped)
{
  if (stopped && stopped->errnum == ECANCELED)
    end_stopped (r);
  grain_room_destroy (&r->room);
  grain_moves_reset (&r->moves);
  slot_list_reset (&r->left);
}

static int
one_extent (struct rearranging *r, size_t i,
            const struct rearrange_rules *rules, struct vmdk_error *err)
{
  int result = 0;

  r->extent = r->link->extents[i];
  r->start = r->link->starts[i];
  if (r->extent->index) {
    result = rearrange_begin (r, err);
    if (result == 0)
      result = rules->grains (r, err);
  }
  else {
    if (rules->flat)
      result = rules->flat (r, err);
    r->size_after += r->extent->media->size;
  }
  rearrange_reset (r, result == -1 ? err : NULL);
  return result == -1 ? rearrange_fail (r, r->extent, err) : 0;
}

static int
all_extents (struct rearranging *r, const struct rearrange_rules *rules,
             struct vmdk_error *err)
{
  if (check_extents (r, rules, err) == -1)
    return -1;
  for (size_t i = 0; i < r->link->nr_extents; i++)
    if (is_worked_on (r, i) && one_extent (r, i, rules, err) == -1)
      return -1;
  return 0;
}

int
rearrange (struct rearranging *r, struct store *store, const char *name,
           enum store_open_flags flags, const struct operation *operation,
           const struct rearrange_rules *rules, struct vmdk_error *err)
{
  struct chain_rules how = operation->rules;
  int result;

  *r = (struct rearranging){ .operation = operation };
  how.writable = !operation->dry_run;
  how.keep_cid = true;
  r->chain = chain_open (store, name, flags, &how, err);
  if (!r->chain)
    return -1;
  r->link = chain_link (r->chain, 0);
  result = all_extents (r, rules, err);
  chain_close (r->chain);
  if (result == -1)
    return fail_prefix (err, "%s", NAME (name));
  rearrange_end_progress (operation, r->total);
  return 0;
}
