/* SPDX-License-Identifier: BSD-3-Clause */

/* Shrinking.  See shrink.h.
 *
 * The file is read once, in its own order and in large pieces; holes in it
 * are known to be zeros and not read.  The order of moves follows the file,
 * too: the lowest grain that has to go takes the lowest free place, so what
 * was in order stays so.  Nobody waits for the medium before the zeros are
 * found, and then again before the end is cut off: two commits in all, but
 * for disks so large that their tables do not fit in memory.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "cleanup.h"
#include "grain-write.h"
#include "rearrange.h"
#include "shrink.h"

/* Small enough for the CPU's cache, large enough for the system call. */
#define PIECE ((uint64_t) 2 << 20)

/* Asked for ahead. */
#define AHEAD ((uint64_t) 8 << 20)

/* Flat extents are looked at in such units, at least. */
#define FLAT_UNIT ((uint64_t) 64 << 10)

struct shrinking {
  struct rearranging r; /* first */
  struct shrink_report *report;
  bool punch;
  uint8_t *buf; /* PIECE, or a grain if that is larger */
  uint64_t buf_size;
  uint8_t *below; /* a grain; NULL: not needed as yet */
  uint64_t below_size;
};

static bool
is_dry (const struct shrinking *s)
{
  return s->r.operation->dry_run;
}

/* -- Zero grains -------------------------------------------------------- */

/* Bytes of GRAIN that belong to the extent. */
static uint64_t
valid_bytes (const struct grain_index *index, uint64_t grain)
{
  return min_u64 (index->grain_size,
                  index->extent->size - (grain << index->grain_shift));
}

/* Whether zeros are seen where this link has nothing. */
static int
is_zero_below (struct shrinking *s, uint64_t grain, bool *zero,
               struct vmdk_error *err)
{
  const struct grain_index *index = s->r.extent->index;
  const uint64_t count = valid_bytes (index, grain);

  *zero = !link_has_parent (s->r.link);
  if (chain_nr_links (s->r.chain) == 1)
    return 0; /* a child alone says nothing of its parent */
  if (s->below_size < index->grain_size) {
    free (s->below);
    s->below_size = index->grain_size;
    s->below = malloc (s->below_size);
    if (!s->below)
      return fail_memory (err);
  }
  if (chain_read_below (s->r.chain, s->below, count,
                        s->r.start + (grain << index->grain_shift), err)
      == -1)
    return -1;
  *zero = bytes_are_zero (s->below, count);
  return 0;
}

static int
give_back (struct shrinking *s, uint64_t grain, uint64_t slot,
           struct vmdk_error *err)
{
  const struct grain_index *index = s->r.extent->index;
  uint64_t entry = 0;
  bool zero;

  if (link_has_parent (s->r.link) && index->zero_entry != 0)
    entry = index->zero_entry;
  else {
    if (is_zero_below (s, grain, &zero, err) == -1)
      return -1;
    if (!zero) {
      s->report->kept += index->grain_size;
      return 0;
    }
  }
  s->report->zeros += index->grain_size;
  if (is_dry (s))
    return grain_room_set (&s->r.room, slot, ROOM_NO_GRAIN, err);
  return rearrange_drop (&s->r, grain, slot, entry, err);
}

static int
punch (struct shrinking *s, struct media *media, uint64_t offset,
       uint64_t count, struct vmdk_error *err)
{
  s->report->punched += count;
  return is_dry (s) ? 0 : media_punch (media, offset, count, err);
}

/* SLOT holds zeros. */
static int
found_zeros (struct shrinking *s, uint64_t slot, bool hole,
             struct vmdk_error *err)
{
  const struct grain_room *room = &s->r.room;
  const uint64_t offset = grain_room_offset (room, slot);
  struct media *media = s->r.extent->media;

  if (!s->punch)
    return give_back (s, grain_room_owner (room, slot), slot, err);
  return hole ? 0
              : punch (s, media, offset,
                       min_u64 (room->index->grain_size, media->size - offset),
                       err);
}

/* Whether the bytes of SLOT that count, at BUF, COUNT of them in the file,
 * are zeros.
 */
static bool
is_zero (const struct shrinking *s, uint64_t slot, const uint8_t *buf,
         uint64_t count)
{
  const struct grain_room *room = &s->r.room;

  if (!s->punch)
    count = min_u64 (count,
                     valid_bytes (room->index, grain_room_owner (room, slot)));
  return bytes_are_zero (buf, count);
}

/* Look at slots FIRST to END, which are grains and in the window.  *next is
 * the first that was not looked at.
 */
static int
look_at_piece (struct shrinking *s, uint64_t first, uint64_t end,
               uint64_t *next, struct vmdk_error *err)
{
  const struct grain_room *room = &s->r.room;
  const uint64_t grain_size = room->index->grain_size;
  const uint64_t offset = grain_room_offset (room, first);
  struct media *media = s->r.extent->media;
  const uint64_t most =
    min_u64 ((end - first) * grain_size, media->size - offset);
  uint64_t length, count;
  bool hole;

  if (media_map (media, offset, most, &hole, &length, err) == -1)
    return -1;
  if (hole && length < min_u64 (most, grain_size)) {
    hole = false;
    length = 1;
  }
  if (hole)
    *next = first + max_u64 (length / grain_size, 1);
  else
    *next = first + div_round_up (min_u64 (length, s->buf_size), grain_size);
  count = min_u64 (most, (*next - first) * grain_size);
  if (!hole) {
    media_readahead (media, offset + count, AHEAD);
    if (media_pread (media, s->buf, count, offset, err) == -1)
      return -1;
  }
  for (uint64_t slot = first; slot < *next; slot++) {
    const uint64_t at = (slot - first) * grain_size;

    if ((hole
         || is_zero (s, slot, s->buf + at, min_u64 (grain_size, count - at)))
        && found_zeros (s, slot, hole, err) == -1)
      return -1;
  }
  return rearrange_progress (&s->r, count, err);
}

static bool
is_grain (const struct grain_room *room, uint64_t slot)
{
  return grain_room_used (room, slot) && !grain_room_fixed (room, slot);
}

static int
find_zeros (struct shrinking *s, struct vmdk_error *err)
{
  struct grain_room *room = &s->r.room;
  const uint64_t file_end = grain_room_end (room);

  for (uint64_t slot = 0, end; slot < file_end;) {
    if (!is_grain (room, slot)) {
      slot++;
      continue;
    }
    if (grain_room_look (room, slot, slot, err) == -1)
      return -1;
    for (end = slot + 1;
         end < min_u64 (file_end, room->window.end) && is_grain (room, end);)
      end++;
    while (slot < end)
      if (look_at_piece (s, slot, end, &slot, err) == -1)
        return -1;
  }
  return 0;
}

/* -- Moving ------------------------------------------------------------- */

/* From behind END to the holes before it. */
static int
move_last (struct shrinking *s, uint64_t end, struct vmdk_error *err)
{
  struct grain_room *room = &s->r.room;
  const uint64_t file_end = grain_room_end (room);
  uint64_t hole = room->first;

  for (uint64_t slot = end; slot < file_end; slot++) {
    if (!is_grain (room, slot))
      continue;
    if (grain_room_look (room, slot, slot, err) == -1)
      return -1;
    hole = grain_room_next_free (room, hole);
    if (rearrange_move (&s->r, grain_room_owner (room, slot), slot, hole, err)
        == -1)
      return -1;
  }
  return rearrange_commit (&s->r, err);
}

static uint64_t
count_grains (const struct grain_room *room, uint64_t slot)
{
  const uint64_t end = grain_room_end (room);
  uint64_t nr = 0;

  for (; slot < end; slot++)
    nr += is_grain (room, slot);
  return nr;
}

/* Where the file would be cut. */
static uint64_t
file_end (const struct shrinking *s, uint64_t end)
{
  const struct extent *extent = s->r.extent;

  return min_u64 (extent->media->size,
                  max_u64 (grain_room_offset (&s->r.room, end),
                           extent->index->metadata_end));
}

/* -- Punching ----------------------------------------------------------- */

/* Room that nothing uses, below END: for holes in the file.  That it cannot
 * be had does no harm.
 */
static int
punch_free (struct shrinking *s, uint64_t end, struct vmdk_error *err)
{
  struct grain_room *room = &s->r.room;
  struct media *media = s->r.extent->media;
  uint64_t slot = room->first, stop;

  while ((slot = grain_room_next_free (room, slot)) < end) {
    const uint64_t offset = grain_room_offset (room, slot);
    uint64_t length;
    bool hole;

    for (stop = slot + 1; stop < end && !grain_room_used (room, stop);)
      stop++;
    slot = stop;
    if (offset >= media->size)
      break;
    const uint64_t count =
      min_u64 (grain_room_offset (room, stop), media->size) - offset;
    if (media_map (media, offset, count, &hole, &length, err) == -1)
      return -1;
    if (!(hole && length == count)
        && punch (s, media, offset, count, err) == -1)
      return -1;
  }
  return 0;
}

static int
punch_grains (struct shrinking *s, struct vmdk_error *err)
{
  struct media *media = s->r.extent->media;

  s->r.size_after += media->size;
  if (find_zeros (s, err) == -1
      || punch_free (s, s->r.room.nr_slots, err) == -1)
    return -1;
  return is_dry (s) ? 0 : media_flush (media, err);
}

static int
punch_flat_run (struct shrinking *s, const struct run *run,
                struct vmdk_error *err)
{
  uint64_t offset = run->media_offset;
  const uint64_t end = offset + run->length;

  while (offset < end) {
    bool hole;
    uint64_t length;

    if (media_map (run->media, offset, end - offset, &hole, &length, err)
        == -1)
      return -1;
    if (!hole) {
      length = min_u64 (min_u64 (length, FLAT_UNIT),
                        end - offset); /* aligned as the data begins */
      if (media_pread (run->media, s->buf, length, offset, err) == -1)
        return -1;
      if (bytes_are_zero (s->buf, length)
          && punch (s, run->media, offset, length, err) == -1)
        return -1;
    }
    offset += length;
    if (rearrange_progress (&s->r, length, err) == -1)
      return -1;
  }
  return 0;
}

static int
punch_flat (struct rearranging *r, struct vmdk_error *err)
{
  struct shrinking *s = (struct shrinking *) r;
  struct extent *extent = r->extent;

  for (uint64_t offset = 0; offset < extent->size;) {
    struct run run;

    if (extent_map (extent, offset, extent->size - offset, MAP_WHERE, &run,
                    err)
        == -1)
      return -1;
    if (run.state == RUN_DATA && punch_flat_run (s, &run, err) == -1)
      return -1;
    offset += run.length;
  }
  return is_dry (s) ? 0 : media_flush (extent->media, err);
}

/* -- The operation ------------------------------------------------------ */

static int
have_buffer (struct shrinking *s, uint64_t size, struct vmdk_error *err)
{
  if (size <= s->buf_size)
    return 0;
  free (s->buf);
  s->buf_size = size;
  s->buf = malloc (size);
  if (!s->buf)
    s->buf_size = 0;
  return s->buf ? 0 : fail_memory (err);
}

static int
shrink_grains (struct rearranging *r, struct vmdk_error *err)
{
  struct shrinking *s = (struct shrinking *) r;
  uint64_t end;

  if (have_buffer (s, r->extent->index->grain_size, err) == -1)
    return -1;
  if (s->punch)
    return punch_grains (s, err);
  if (find_zeros (s, err) == -1
      || (!is_dry (s) && rearrange_commit (r, err) == -1))
    return -1;
  end = grain_room_least_end (&r->room);
  r->size_after += file_end (s, end);
  if (is_dry (s)) {
    r->moved += count_grains (&r->room, end) << r->extent->index->grain_shift;
    return 0;
  }
  if (move_last (s, end, err) == -1)
    return -1;
  /* There are holes left if the last table lies behind them. */
  return punch_free (s, end, err) == -1 ? -1 : rearrange_finish (r, err);
}

int
disk_shrink (struct store *store, const char *name,
             enum store_open_flags flags, bool only_punch,
             const struct operation *operation, struct shrink_report *report,
             struct vmdk_error *err)
{
  const struct rearrange_rules rules = {
    .done = "shrunk",
    .grains = shrink_grains,
    .flat = only_punch ? punch_flat : NULL,
  };
  struct shrinking s = { .report = report, .punch = only_punch };
  int r;

  *report = (struct shrink_report){ 0 };
  if (have_buffer (&s, PIECE, err) == -1)
    return -1;
  r = rearrange (&s.r, store, name, flags, operation, &rules, err);
  free (s.buf);
  free (s.below);
  report->size_before = s.r.size_before;
  report->size_after = s.r.size_after;
  report->moved = s.r.moved;
  return r;
}
