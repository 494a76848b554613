/* SPDX-License-Identifier: BSD-3-Clause */

/* Who uses which room of an extent's file: no two tables or grains the same,
 * and what does nobody?
 *
 * What the header names, all tables and all grains are marked in a map of the
 * file (room-map.h), which is exact.  Who it is that has used the room before
 * is found by a second walk, if there is need: the map does not know.
 *
 * Room that nothing names is leaked, but for
 *
 *  - what is shorter than a grain: padding that aligns the next one;
 *  - holes of the file, which take no space;
 *  - what lies before the first grain;
 *  - in a stream, its markers and zeros.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "check-parts.h"
#include "checked.h"
#include "grain-directory.h"
#include "room-map.h"
#include "vector.h"

/* Blocks of file systems: around a hole less than this cannot be one. */
#define HOLE_BLOCK 4096

/* Leaks that one repair gives back; the next one finds the others. */
#define MAX_LEAKS 65536

/* Room that two want. */
struct conflict {
  uint64_t offset, length;
  uint64_t grain; /* the one that came later */
  uint64_t other; /* or NOBODY as yet; A_TABLE */
};
#define NOBODY UINT64_MAX
#define A_TABLE (UINT64_MAX - 1)

DEFINE_VECTOR (room_list, struct repair_room)

struct rooms {
  struct extent_check *check;
  struct room_map *map;
  uint64_t window;
  struct walked_table *table;

  struct conflict *conflicts; /* CHECK_MAX_TOLD of them at most */
  size_t nr_conflicts;
  uint64_t nr_more; /* that are only counted */
  uint64_t longest; /* of the conflicts */

  struct room_list leaks;
  uint64_t nr_more_leaks;

  /* Only to see how it would be. */
  enum copy_verdict verdict;
  struct rooms_tally *tally; /* NULL: this is no trial */
};

/* What a walk does with each table and each grain that is stored. */
struct visitor {
  void (*table) (struct rooms *rooms, uint64_t offset);
  int (*grain) (struct rooms *rooms, uint64_t grain, uint64_t offset,
                uint64_t length, struct vmdk_error *err);
};

/* -- Walking ------------------------------------------------------------ */

/* How much of the file a grain takes. */
static int
grain_length (const struct extent_check *check, uint64_t grain,
              uint64_t offset, uint64_t *length, struct vmdk_error *err)
{
  const uint64_t size = check->extent->media->size;

  if (check->layout.check_grain)
    return check->layout.check_grain (check->extent, grain, offset, length,
                                      err);
  *length = min_u64 (check->index->grain_size, size - offset);
  return 0;
}

/* A stored grain that is none.  Told by the first walk alone. */
static void
tell_bad_grain (struct rooms *rooms, uint64_t offset,
                const struct vmdk_error *why)
{
  if (rooms->window != 0)
    return;
  check_tell (rooms->check->checker, CHECK_ENTRY, CHECK_ERROR, CHECK_STAYS,
              offset, "%s", why->text);
  rooms->check->nr_bad++;
}

/* What counts as the entry of a grain, or will when it is mended. */
static enum run_state
see (struct rooms *rooms, uint64_t i, uint64_t *offset)
{
  const struct grain_index *index = rooms->check->index;
  bool doubtful;
  enum run_state state;

  if (rooms->verdict == COPY_UNKNOWN)
    return check_tables_see (index, rooms->table, i, offset);
  state = check_tables_suppose (index, rooms->table, i, rooms->verdict, offset,
                                &doubtful);
  if (doubtful && rooms->tally && rooms->window == 0) {
    rooms->tally->nr_bad += state == RUN_DAMAGED;
    rooms->tally->nr_absent += state == RUN_ABSENT || state == RUN_ZERO;
  }
  return state;
}

static int
visit_grain (struct rooms *rooms, const struct visitor *visitor, uint64_t i,
             struct vmdk_error *err)
{
  struct extent_check *check = rooms->check;
  const uint64_t grain = (rooms->table->nr << check->index->table_shift) + i;
  uint64_t offset = 0, length = 0;
  const enum run_state state = see (rooms, i, &offset);

  if (state != RUN_DATA && state != RUN_PACKED)
    return 0;
  if (grain_length (check, grain, offset, &length, err) == -1) {
    if (err->kind != ERR_DAMAGED)
      return -1;
    tell_bad_grain (rooms, offset, err);
    return 0;
  }
  return visitor->grain (rooms, grain, offset, length, err);
}

static int
visit_table (struct rooms *rooms, const struct visitor *visitor,
             struct vmdk_error *err)
{
  const struct grain_index *index = rooms->check->index;
  const struct walked_table *table = rooms->table;
  const uint64_t first = table->nr << index->table_shift;
  const uint64_t nr =
    min_u64 (index->entries_per_table, index->nr_grains - first);

  if (first >= index->nr_grains
      || (!table->primary.entries && !table->mirror.entries))
    return 0;
  for (uint64_t i = 0; i < nr; i++)
    if (visit_grain (rooms, visitor, i, err) == -1)
      return -1;
  return 0;
}

/* All tables, then all grains. */
static int
walk (struct rooms *rooms, const struct visitor *visitor, bool grains,
      struct vmdk_error *err)
{
  struct extent_check *check = rooms->check;
  CLEANUP_TABLE_WALK struct table_walk *tables =
    table_walk_new (check->index, err);
  uint64_t next = 0;

  if (!tables)
    return -1;
  for (;;) {
    if (table_walk_next (tables, rooms->table, err) == -1)
      return -1;
    if (grains
        && check_advance (check->checker, rooms->table->nr - next, err) == -1)
      return -1;
    next = rooms->table->nr;
    if (next == check->index->nr_tables)
      return 0;
    if (grains) {
      if (visit_table (rooms, visitor, err) == -1)
        return -1;
      continue;
    }
    if (rooms->table->primary.offset != 0)
      visitor->table (rooms, rooms->table->primary.offset);
    if (rooms->table->mirror.offset != 0)
      visitor->table (rooms, rooms->table->mirror.offset);
  }
}

/* -- Marking ------------------------------------------------------------ */

static void
mark_areas (struct rooms *rooms)
{
  const struct extent_layout *layout = &rooms->check->layout;

  for (size_t i = 0; i < layout->nr_areas; i++)
    room_map_take (rooms->map, layout->areas[i].offset,
                   layout->areas[i].length);
}

static void
note_end (struct rooms *rooms, uint64_t end)
{
  rooms->check->used_end = max_u64 (rooms->check->used_end, end);
}

static void
mark_table (struct rooms *rooms, uint64_t offset)
{
  struct extent_check *check = rooms->check;

  note_end (rooms, offset + check->index->table_bytes);
  if (room_map_take (rooms->map, offset, check->index->table_bytes))
    return;
  check_tell (check->checker, CHECK_SHARED_TABLE, CHECK_ERROR, CHECK_STAYS,
              offset,
              "grain table %" PRIu64 " at sector %" PRIu64
              " shares its room with another table",
              rooms->table->nr, bytes_to_sectors (offset));
  check->nr_bad++;
}

static int
mark_grain (struct rooms *rooms, uint64_t grain, uint64_t offset,
            uint64_t length, struct vmdk_error *err)
{
  struct extent_check *check = rooms->check;

  (void) err;
  if (rooms->window == 0)
    check->checker->result->nr_grains++;
  note_end (rooms, offset + length);
  if (room_map_take (rooms->map, offset, length))
    return 0;
  if (rooms->nr_conflicts == CHECK_MAX_TOLD) {
    rooms->nr_more++;
    return 0;
  }
  rooms->conflicts[rooms->nr_conflicts++] =
    (struct conflict){ offset, length, grain, NOBODY };
  rooms->longest = max_u64 (rooms->longest, length);
  return 0;
}

/* -- Conflicts ---------------------------------------------------------- */

static int
compare_conflicts (const void *pa, const void *pb)
{
  const struct conflict *a = pa, *b = pb;

  return a->offset != b->offset
           ? (a->offset < b->offset ? -1 : 1)
           : (a->grain > b->grain) - (a->grain < b->grain);
}

/* The first conflict that may reach beyond OFFSET. */
static size_t
find_conflict (const struct rooms *rooms, uint64_t offset)
{
  size_t low = 0, high = rooms->nr_conflicts;

  while (low < high) {
    const size_t middle = low + (high - low) / 2;

    if (rooms->conflicts[middle].offset + rooms->longest <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* WHO has the room [offset, offset+length): say so to those who want it. */
static void
name_other (struct rooms *rooms, uint64_t who, uint64_t offset,
            uint64_t length)
{
  for (size_t i = find_conflict (rooms, offset);
       i < rooms->nr_conflicts && rooms->conflicts[i].offset < offset + length;
       i++) {
    struct conflict *c = &rooms->conflicts[i];

    if (c->other == NOBODY && c->grain != who
        && ranges_overlap (c->offset, c->length, offset, length))
      c->other = who;
  }
}

static void
name_table (struct rooms *rooms, uint64_t offset)
{
  name_other (rooms, A_TABLE, offset, rooms->check->index->table_bytes);
}

static int
name_grain (struct rooms *rooms, uint64_t grain, uint64_t offset,
            uint64_t length, struct vmdk_error *err)
{
  (void) err;
  name_other (rooms, grain, offset, length);
  return 0;
}

static void
tell_conflict (struct rooms *rooms, const struct conflict *c)
{
  struct checker *checker = rooms->check->checker;

  if (c->other == A_TABLE)
    check_tell (
      checker, CHECK_SHARED_GRAIN, CHECK_ERROR, CHECK_STAYS, c->offset,
      "grain %" PRIu64 " at sector %" PRIu64 " lies in a grain table",
      c->grain, bytes_to_sectors (c->offset));
  else if (c->other == NOBODY)
    check_tell (checker, CHECK_SHARED_GRAIN, CHECK_ERROR, CHECK_STAYS,
                c->offset,
                "grain %" PRIu64 " at sector %" PRIu64 " lies in metadata",
                c->grain, bytes_to_sectors (c->offset));
  else
    check_tell (
      checker, CHECK_SHARED_GRAIN, CHECK_ERROR, CHECK_STAYS, c->offset,
      "grains %" PRIu64 " and %" PRIu64 " share their room, at sector %" PRIu64
      ": one of them has lost its bytes; copy the disk with vmdkit "
      "convert, and look at both",
      c->other, c->grain, bytes_to_sectors (c->offset));
}

static int
tell_conflicts (struct rooms *rooms, struct vmdk_error *err)
{
  static const struct visitor namer = { name_table, name_grain };

  if (rooms->nr_conflicts == 0)
    return 0;
  qsort (rooms->conflicts, rooms->nr_conflicts, sizeof *rooms->conflicts,
         compare_conflicts);
  rooms->window = 1; /* what the first walk told is not told again */
  if (walk (rooms, &namer, false, err) == -1
      || walk (rooms, &namer, true, err) == -1)
    return -1;
  for (size_t i = 0; i < rooms->nr_conflicts; i++)
    tell_conflict (rooms, &rooms->conflicts[i]);
  for (uint64_t i = 0; i < rooms->nr_more; i++)
    check_tell (rooms->check->checker, CHECK_SHARED_GRAIN, CHECK_ERROR,
                CHECK_STAYS, CHECK_NOWHERE, "more grains share their room");
  rooms->check->nr_bad += rooms->nr_conflicts + rooms->nr_more;
  return 0;
}

/* -- Leaks -------------------------------------------------------------- */

/* Neighbours are one leak. */
static int
add_leak (struct rooms *rooms, uint64_t offset, uint64_t count,
          struct vmdk_error *err)
{
  struct room_list *leaks = &rooms->leaks;
  struct repair_room *last =
    leaks->len > 0 ? &leaks->ptr[leaks->len - 1] : NULL;

  rooms->check->checker->result->leaked += count;
  if (last && last->offset + last->count == offset) {
    last->count += count;
    return 0;
  }
  if (leaks->len == MAX_LEAKS) {
    rooms->nr_more_leaks++;
    return 0;
  }
  if (room_list_append (leaks, (struct repair_room){ offset, count }) == -1)
    return fail_memory (err);
  return 0;
}

/* Room that nothing names, without a hole in it; AT_HOLE: beside one. */
static int
judge_data (struct rooms *rooms, uint64_t offset, uint64_t count, bool at_hole,
            struct vmdk_error *err)
{
  const struct extent_check *check = rooms->check;
  const uint64_t grain_size = check->index->grain_size;
  uint64_t length;
  bool leaked;

  if (!check->layout.check_grain)
    return count < (at_hole ? max_u64 (grain_size, HOLE_BLOCK) : grain_size)
             ? 0
             : add_leak (rooms, offset, count, err);
  for (uint64_t at = offset; at < offset + count; at += length) {
    if (check_stream_block (check, at, offset + count - at, &length, &leaked,
                            err)
        == -1)
      return -1;
    if (leaked && add_leak (rooms, at, length, err) == -1)
      return -1;
  }
  return 0;
}

static int
judge_free (struct rooms *rooms, uint64_t offset, uint64_t count,
            struct vmdk_error *err)
{
  struct media *media = rooms->check->extent->media;
  bool after_hole = false;

  while (count > 0) {
    uint64_t length;
    bool hole;

    if (media_map (media, offset, count, &hole, &length, err) == -1)
      return -1;
    length = min_u64 (length, count);
    if (!hole
        && judge_data (rooms, offset, length, after_hole || length < count,
                       err)
             == -1)
      return -1;
    after_hole = hole;
    offset += length;
    count -= length;
  }
  return 0;
}

static int
find_leaks (struct rooms *rooms, struct vmdk_error *err)
{
  const struct extent_layout *layout = &rooms->check->layout;
  uint64_t from = layout->start, offset, length;

  while (from < layout->end
         && room_map_free_from (rooms->map, from, &offset, &length)
         && offset < layout->end) {
    if (judge_free (rooms, offset, min_u64 (length, layout->end - offset), err)
        == -1)
      return -1;
    from = offset + length;
  }
  return 0;
}

/* Whatever is lost may be there: give it back only if all else is well. */
static int
tell_leaks (struct rooms *rooms, struct vmdk_error *err)
{
  struct extent_check *check = rooms->check;
  struct checker *checker = check->checker;
  const struct room_list *leaks = &rooms->leaks;
  const bool mends = check->nr_bad == 0 && !check->layout.check_grain;

  if (leaks->len == 0)
    return 0;
  for (size_t i = 0; i < leaks->len; i++)
    check_tell (
      checker, CHECK_LEAKED, CHECK_LEAK,
      mends ? check_mends (checker) : CHECK_STAYS, leaks->ptr[i].offset,
      "nothing uses %" PRIu64 " bytes%s", leaks->ptr[i].count,
      check->nr_bad > 0 ? ": they may be what is lost elsewhere" : "");
  for (uint64_t i = 0; i < rooms->nr_more_leaks; i++)
    check_tell (checker, CHECK_LEAKED, CHECK_LEAK, CHECK_STAYS, CHECK_NOWHERE,
                "more room is used by nothing: repair once more");
  if (!mends || !checker->repairer)
    return 0;
  return repair_drop (checker->repairer, check->extent->media, check->file,
                      leaks->ptr, leaks->len, err);
}

/* -- All of it ---------------------------------------------------------- */

static int
mark_all (struct rooms *rooms, struct vmdk_error *err)
{
  static const struct visitor marker = { mark_table, mark_grain };
  const uint64_t nr_windows = room_map_nr_windows (rooms->map);

  for (uint64_t i = 0; i < nr_windows; i++) {
    rooms->window = i;
    room_map_turn (rooms->map, i);
    mark_areas (rooms);
    if (walk (rooms, &marker, false, err) == -1
        || walk (rooms, &marker, true, err) == -1
        || find_leaks (rooms, err) == -1)
      return -1;
  }
  return 0;
}

static int
look_and_tell (struct rooms *rooms, struct vmdk_error *err)
{
  if (mark_all (rooms, err) == -1 || tell_conflicts (rooms, err) == -1)
    return -1;
  return tell_leaks (rooms, err);
}

static int
look_and_count (struct rooms *rooms, struct vmdk_error *err)
{
  if (mark_all (rooms, err) == -1)
    return -1;
  rooms->tally->nr_shared = rooms->nr_conflicts + rooms->nr_more;
  return 0;
}

static int
take_grain (struct rooms *rooms, uint64_t grain, uint64_t offset,
            uint64_t length, struct vmdk_error *err)
{
  (void) grain;
  (void) err;
  room_map_take (rooms->map, offset, length);
  return 0;
}

static void
take_table (struct rooms *rooms, uint64_t offset)
{
  rooms->tally->nr_shared +=
    !room_map_take (rooms->map, offset, rooms->check->index->table_bytes);
}

/* Grains come first, so that what is counted are tables alone. */
static int
look_at_tables (struct rooms *rooms, struct vmdk_error *err)
{
  static const struct visitor taker = { take_table, take_grain };
  const uint64_t nr_windows = room_map_nr_windows (rooms->map);

  for (uint64_t i = 0; i < nr_windows; i++) {
    rooms->window = i;
    room_map_turn (rooms->map, i);
    mark_areas (rooms);
    if (walk (rooms, &taker, true, err) == -1
        || walk (rooms, &taker, false, err) == -1)
      return -1;
  }
  return 0;
}

static int
look_with_map (struct extent_check *check,
               int (*look) (struct rooms *rooms, struct vmdk_error *err),
               enum copy_verdict verdict, struct rooms_tally *tally,
               struct vmdk_error *err)
{
  struct rooms rooms = {
    .check = check,
    .verdict = verdict,
    .tally = tally,
  };
  CLEANUP_ROOM_MAP struct room_map *map = room_map_new (
    check->extent->media->size, check->layout.unit, check->layout.base, err);
  CLEANUP_FREE struct walked_table *table = calloc (1, sizeof *table);
  CLEANUP_FREE struct conflict *conflicts =
    calloc (CHECK_MAX_TOLD, sizeof *conflicts);
  int r;

  if (!map)
    return -1;
  if (!table || !conflicts)
    return fail_memory (err);
  rooms.map = map;
  rooms.table = table;
  rooms.conflicts = conflicts;
  r = look (&rooms, err);
  room_list_reset (&rooms.leaks);
  return r;
}

int
check_rooms (struct extent_check *check, struct vmdk_error *err)
{
  return look_with_map (check, look_and_tell, check->verdict, NULL, err);
}

/* Without a trace. */
static int
look_quietly (struct extent_check *check,
              int (*look) (struct rooms *rooms, struct vmdk_error *err),
              enum copy_verdict verdict, struct rooms_tally *tally,
              struct vmdk_error *err)
{
  struct checker *checker = check->checker;
  const struct extent_check before = *check;
  const uint64_t nr_grains = checker->result->nr_grains;
  const uint64_t leaked = checker->result->leaked;
  const bool silent = checker->silent;
  int r;

  *tally = (struct rooms_tally){ 0 };
  checker->silent = true;
  r = look_with_map (check, look, verdict, tally, err);
  tally->nr_shared += check->nr_bad - before.nr_bad;
  tally->leaked = checker->result->leaked - leaked;
  checker->silent = silent;
  checker->result->nr_grains = nr_grains;
  checker->result->leaked = leaked;
  *check = before;
  return r;
}

int
check_rooms_suppose (struct extent_check *check, enum copy_verdict verdict,
                     struct rooms_tally *tally, struct vmdk_error *err)
{
  return look_quietly (check, look_and_count, verdict, tally, err);
}

int
check_rooms_of_tables (struct extent_check *check, bool *shared,
                       struct vmdk_error *err)
{
  struct rooms_tally tally;
  const int r =
    look_quietly (check, look_at_tables, COPY_UNKNOWN, &tally, err);

  *shared = tally.nr_shared > 0;
  return r;
}
