/* SPDX-License-Identifier: BSD-3-Clause */

/* Directories, tables and their redundant copies, entry by entry.  See
 * check.h for what is mended.
 *
 * Changes of entries are a few bytes within one sector: whichever of them have
 * reached the medium at a crash, a reader finds each grain where he found it
 * before.  A table that has to be made is appended to the file, and named when
 * it is durable.  But that makes the file longer, and what was beyond its end
 * is then in it: so it is done last, and only if no bad entry is left.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "bytes.h"
#include "check-parts.h"
#include "checked.h"
#include "grain-directory.h"

/* Tables that were appended and wait to be named. */
#define MAX_NEW_TABLES 256

/* Entries are 32-bit sector numbers, of the formats that have copies. */
#define MAX_FILE_SIZE (SECTOR_SIZE * (UINT64_C (1) << 32))

/* What a walk is for. */
enum purpose {
  COUNT,   /* the errors that will be left, without telling them */
  ENTRIES, /* tell everything, and mend entries */
  TABLES,  /* add tables */
};

struct mending {
  struct extent_check *check;
  enum purpose purpose;
  bool may_add;       /* there is nothing bad but what is mended */
  uint64_t nr_to_add; /* tables */
  uint64_t end;       /* where the next table is appended */
  struct new_table {
    uint64_t nr, offset;
    bool mirror;
  } tables[MAX_NEW_TABLES];
  size_t nr_tables;
};

/* -- Mending ------------------------------------------------------------ */

static int
write_bytes (struct extent_check *check, uint64_t offset, const void *bytes,
             uint64_t count, struct vmdk_error *err)
{
  if (!check->checker->repairer)
    return 0;
  return repair_write (check->checker->repairer, check->extent->media,
                       check->file, offset, bytes, count, err);
}

/* Whether entries are mended: not where a table has room that something else
 * has, too, for that would change it as well.
 */
static int
may_mend (struct extent_check *check, enum check_mending *mending,
          struct vmdk_error *err)
{
  bool shared;

  if (check->tables == ROOM_UNKNOWN) {
    if (check_rooms_of_tables (check, &shared, err) == -1)
      return -1;
    check->tables = shared ? ROOM_SHARED : ROOM_OWN;
  }
  *mending =
    check->tables == ROOM_SHARED ? CHECK_STAYS : check_mends (check->checker);
  return 0;
}

static int
mend_entry (struct extent_check *check, const struct walked_copy *copy,
            uint64_t i, uint64_t entry, struct vmdk_error *err)
{
  uint8_t bytes[8];

  check->nr_bad += check->tables == ROOM_SHARED;
  if (check->checker->silent || check->tables == ROOM_SHARED)
    return 0;
  le64_store (bytes, entry);
  return write_bytes (check, copy->offset + i * check->index->entry_size,
                      bytes, check->index->entry_size, err);
}

static int
name_new_tables (struct mending *mending, struct vmdk_error *err)
{
  struct extent_check *check = mending->check;
  const struct grain_index *index = check->index;
  struct repairer *repairer = check->checker->repairer;

  if (!repairer)
    return 0;
  if (repair_commit (repairer, err) == -1)
    return -1;
  for (size_t i = 0; i < mending->nr_tables; i++) {
    const struct new_table *table = &mending->tables[i];
    const uint64_t directory =
      table->mirror ? index->mirror_offset : index->directory_offset;
    uint8_t bytes[8];

    index->rules->name_table (index, bytes, table->offset);
    if (write_bytes (check, directory + table->nr * index->entry_size, bytes,
                     index->entry_size, err)
        == -1)
      return -1;
  }
  mending->nr_tables = 0;
  return repair_commit (repairer, err);
}

/* Append a copy of ENTRIES, for the primary or the redundant directory. */
static int
add_table (struct mending *mending, uint64_t nr, bool mirror,
           const uint8_t *entries, struct vmdk_error *err)
{
  struct extent_check *check = mending->check;
  const uint64_t size = check->index->table_bytes;

  mending->nr_to_add++;
  if (!check->checker->repairer || mending->purpose != TABLES)
    return 0;
  if (mending->end == 0)
    mending->end =
      div_round_up (check->extent->media->size, SECTOR_SIZE) * SECTOR_SIZE;
  if (mending->end + size > MAX_FILE_SIZE)
    return fail (err, ERR_UNSUPPORTED,
                 "%s: no table can be added: the file has %" PRIu64
                 " bytes, and entries cannot name what lies beyond",
                 NAME (check->file), mending->end);
  if (mending->nr_tables == MAX_NEW_TABLES
      && name_new_tables (mending, err) == -1)
    return -1;
  if (write_bytes (check, mending->end, entries, size, err) == -1)
    return -1;
  mending->tables[mending->nr_tables++] =
    (struct new_table){ nr, mending->end, mirror };
  mending->end += size;
  return 0;
}

/* -- Entries ------------------------------------------------------------ */

static enum run_state
classify (const struct grain_index *index, uint64_t grain, uint64_t entry,
          uint64_t *media_offset)
{
  if (entry == 0)
    return RUN_ABSENT;
  return index->rules->classify (index, grain, entry, media_offset);
}

enum run_state
check_tables_see (const struct grain_index *index,
                  const struct walked_table *table, uint64_t i,
                  uint64_t *media_offset)
{
  const uint64_t grain = (table->nr << index->table_shift) + i;
  const uint8_t *entries =
    table->primary.entries ? table->primary.entries : table->mirror.entries;
  uint64_t entry, copy;
  enum run_state state;

  if (!entries)
    return RUN_DAMAGED;
  entry = grain_entry_load (index, entries, i);
  state = classify (index, grain, entry, media_offset);
  if (state != RUN_DAMAGED || entries == table->mirror.entries
      || !table->mirror.entries)
    return state;
  copy = grain_entry_load (index, table->mirror.entries, i);
  return copy == 0 ? RUN_DAMAGED : classify (index, grain, copy, media_offset);
}

enum run_state
check_tables_suppose (const struct grain_index *index,
                      const struct walked_table *table, uint64_t i,
                      enum copy_verdict verdict, uint64_t *media_offset,
                      bool *doubtful)
{
  const uint64_t grain = (table->nr << index->table_shift) + i;
  uint64_t entry, copy, copy_offset;
  enum run_state state, copy_state;

  *doubtful = false;
  if (!table->primary.entries || !table->mirror.entries)
    return check_tables_see (index, table, i, media_offset);
  entry = grain_entry_load (index, table->primary.entries, i);
  copy = grain_entry_load (index, table->mirror.entries, i);
  state = classify (index, grain, entry, media_offset);
  copy_state = classify (index, grain, copy, &copy_offset);
  *doubtful = entry != copy && copy_state != RUN_DAMAGED
              && (state != RUN_DAMAGED || copy == 0);
  if (*doubtful ? verdict == COPY_PRIMARY
                : state != RUN_DAMAGED || copy_state == RUN_DAMAGED)
    return state;
  *media_offset = copy_offset;
  return copy_state;
}

/* Where entry I of a copy is in the file. */
static uint64_t
place (const struct grain_index *index, const struct walked_copy *copy,
       uint64_t i)
{
  return copy->offset + i * index->entry_size;
}

/* An entry that is bad, with nothing to mend it from. */
static void
tell_bad (struct extent_check *check, const struct walked_copy *copy,
          uint64_t grain, uint64_t i, uint64_t entry, const char *why_not)
{
  struct vmdk_error why = { 0 };

  check->index->rules->explain (check->index, grain, entry, &why);
  check_tell (check->checker, CHECK_ENTRY, CHECK_ERROR, CHECK_STAYS,
              place (check->index, copy, i), "%s%s", why.text, why_not);
  check->nr_bad++;
}

/* One copy, or two that agree. */
static void
judge_one (struct extent_check *check, const struct walked_copy *copy,
           uint64_t grain, uint64_t i)
{
  const uint64_t entry = grain_entry_load (check->index, copy->entries, i);
  uint64_t media_offset = 0;

  if (classify (check->index, grain, entry, &media_offset) == RUN_DAMAGED)
    tell_bad (check, copy, grain, i, entry, "");
}

/* The file tells which of the two is right. */
static int
judge_by_verdict (struct extent_check *check, const struct walked_table *table,
                  uint64_t grain, uint64_t i, uint64_t entry, uint64_t copy,
                  struct vmdk_error *err)
{
  const bool primary = check->verdict == COPY_PRIMARY;
  const struct walked_copy *wrong = primary ? &table->mirror : &table->primary;
  enum check_mending mending;

  if (may_mend (check, &mending, err) == -1)
    return -1;
  check_tell (check->checker, CHECK_COPIES_DIFFER, CHECK_ERROR, mending,
              place (check->index, wrong, i),
              "grain %" PRIu64 ": the primary table has %" PRIu64
              " and the redundant one %" PRIu64
              "; only by the %s tables is all room of the file used, and once",
              grain, entry, copy, primary ? "primary" : "redundant");
  return mend_entry (check, wrong, i, primary ? entry : copy, err);
}

/* Both could be right. */
static int
judge_difference (struct extent_check *check, const struct walked_table *table,
                  uint64_t grain, uint64_t i, uint64_t entry, uint64_t copy,
                  struct vmdk_error *err)
{
  struct checker *checker = check->checker;
  const uint64_t offset = place (check->index, &table->mirror, i);
  enum check_mending mending;

  if (check->layout.unclean) {
    if (may_mend (check, &mending, err) == -1)
      return -1;
    check_tell (checker, CHECK_COPIES_DIFFER, CHECK_NOTE, mending, offset,
                "grain %" PRIu64 ": the redundant table has %" PRIu64
                ", and the primary one, which counts after a crash, %" PRIu64,
                grain, copy, entry);
    return mend_entry (check, &table->mirror, i, entry, err);
  }
  if (check->verdict != COPY_UNKNOWN)
    return judge_by_verdict (check, table, grain, i, entry, copy, err);
  check_tell (checker, CHECK_COPIES_DIFFER, CHECK_ERROR, CHECK_STAYS, offset,
              "grain %" PRIu64 ": the primary table has %" PRIu64
              " and the redundant one %" PRIu64
              ", and both could be right: what is read is by the primary one; "
              "if that is good, copy the disk with vmdkit convert",
              grain, entry, copy);
  check->nr_bad++;
  return 0;
}

/* Two copies that differ. */
static int
judge_two (struct extent_check *check, const struct walked_table *table,
           uint64_t grain, uint64_t i, struct vmdk_error *err)
{
  const struct grain_index *index = check->index;
  const uint64_t entry = grain_entry_load (index, table->primary.entries, i);
  const uint64_t copy = grain_entry_load (index, table->mirror.entries, i);
  uint64_t ignored = 0;
  const bool bad = classify (index, grain, entry, &ignored) == RUN_DAMAGED;
  const bool bad_copy = classify (index, grain, copy, &ignored) == RUN_DAMAGED;
  struct vmdk_error why = { 0 };
  enum check_mending mending;

  if (!bad && !bad_copy)
    return judge_difference (check, table, grain, i, entry, copy, err);
  if (bad && copy == 0 && check->verdict == COPY_MIRROR)
    return judge_by_verdict (check, table, grain, i, entry, copy, err);
  if (bad && (bad_copy || copy == 0)) {
    tell_bad (check, &table->primary, grain, i, entry,
              bad_copy ? "; the redundant table's entry is bad too"
                       : "; the redundant table says that it was never "
                         "written");
    return 0;
  }
  if (may_mend (check, &mending, err) == -1)
    return -1;
  index->rules->explain (index, grain, bad ? entry : copy, &why);
  if (bad) {
    check_tell (check->checker, CHECK_ENTRY, CHECK_ERROR, mending,
                place (index, &table->primary, i),
                "%s; the redundant table has %" PRIu64, why.text, copy);
    return mend_entry (check, &table->primary, i, copy, err);
  }
  check_tell (check->checker, CHECK_REDUNDANT_ENTRY, CHECK_ERROR, mending,
              place (index, &table->mirror, i),
              "redundant table: %s; the primary table has %" PRIu64, why.text,
              entry);
  return mend_entry (check, &table->mirror, i, entry, err);
}

/* Grains behind the extent's end are not read. */
static void
judge_behind_end (struct extent_check *check, const struct walked_copy *copy,
                  uint64_t grain, uint64_t i)
{
  const uint64_t entry = grain_entry_load (check->index, copy->entries, i);

  if (entry != 0)
    check_tell (check->checker, CHECK_BEHIND_END, CHECK_NOTE, CHECK_STAYS,
                place (check->index, copy, i),
                "grain %" PRIu64 " lies behind the end, and has an entry, "
                "%" PRIu64,
                grain, entry);
  check->nr_bad += entry != 0; /* its room is no leak */
}

static bool
same_entry (const struct grain_index *index, const struct walked_table *table,
            uint64_t i)
{
  return grain_entry_load (index, table->primary.entries, i)
         == grain_entry_load (index, table->mirror.entries, i);
}

static int
judge_entries (struct extent_check *check, const struct walked_table *table,
               struct vmdk_error *err)
{
  const struct grain_index *index = check->index;
  const bool both = table->primary.entries && table->mirror.entries;
  const struct walked_copy *one =
    table->primary.entries ? &table->primary : &table->mirror;

  if (!one->entries)
    return 0;
  for (uint64_t i = 0; i < index->entries_per_table; i++) {
    const uint64_t grain = (table->nr << index->table_shift) + i;

    if (grain >= index->nr_grains)
      judge_behind_end (check, one, grain, i);
    else if (!both || same_entry (index, table, i))
      judge_one (check, one, grain, i);
    else if (judge_two (check, table, grain, i, err) == -1)
      return -1;
  }
  return 0;
}

/* -- Tables ------------------------------------------------------------- */

/* Where a table's entry in a directory is. */
static uint64_t
directory_place (const struct grain_index *index, uint64_t nr, bool mirror)
{
  return (mirror ? index->mirror_offset : index->directory_offset)
         + nr * index->entry_size;
}

static enum check_mending
adds (const struct mending *mending)
{
  return mending->may_add ? check_mends (mending->check->checker)
                          : CHECK_STAYS;
}

static const char *
why_not_added (const struct mending *mending)
{
  return mending->may_add ? "" : "; none can be added beside other damage";
}

/* The primary directory does not name the table, or cannot mean it. */
static int
judge_primary (struct mending *mending, const struct walked_table *table,
               struct vmdk_error *err)
{
  struct extent_check *check = mending->check;
  const uint64_t at = directory_place (check->index, table->nr, false);
  struct vmdk_error why = table->primary.bad;

  if (table->primary.entry == 0)
    fail (&why, ERR_DAMAGED,
          "grain directory entry %" PRIu64
          " is 0 and the redundant directory's is %" PRIu64,
          table->nr, table->mirror.entry);
  if (!table->mirror.entries) {
    check_tell (check->checker, CHECK_DIRECTORY, CHECK_ERROR, CHECK_STAYS, at,
                "%s%s", why.text,
                table->mirror.is_bad
                    && table->mirror.entry != table->primary.entry
                  ? "; the redundant directory's is bad too"
                  : "");
    check->nr_bad++;
    return 0;
  }
  check_tell (check->checker, CHECK_DIRECTORY, CHECK_ERROR, adds (mending), at,
              "%s; there is a redundant table", why.text);
  return add_table (mending, table->nr, false, table->mirror.entries, err);
}

/* The same for the redundant one; the primary one is good. */
static int
judge_mirror (struct mending *mending, const struct walked_table *table,
              struct vmdk_error *err)
{
  struct extent_check *check = mending->check;
  const bool missing = table->mirror.entry == 0;

  if (missing)
    check_tell (check->checker, CHECK_REDUNDANT_DIRECTORY,
                check->layout.unclean ? CHECK_NOTE : CHECK_ERROR,
                adds (mending),
                directory_place (check->index, table->nr, true),
                "grain table %" PRIu64 " has no redundant copy%s", table->nr,
                why_not_added (mending));
  else
    check_tell (check->checker, CHECK_REDUNDANT_DIRECTORY, CHECK_ERROR,
                adds (mending),
                directory_place (check->index, table->nr, true),
                "redundant directory: %s%s", table->mirror.bad.text,
                why_not_added (mending));
  return add_table (mending, table->nr, true, table->primary.entries, err);
}

static int
judge_table (struct mending *mending, const struct walked_table *table,
             struct vmdk_error *err)
{
  struct extent_check *check = mending->check;

  check->checker->result->nr_tables += mending->purpose == ENTRIES;
  if (!table->primary.entries) {
    if (judge_primary (mending, table, err) == -1)
      return -1;
  }
  else if (check->index->mirror_offset != 0 && !table->mirror.entries
           && judge_mirror (mending, table, err) == -1)
    return -1;
  return mending->purpose == TABLES ? 0 : judge_entries (check, table, err);
}

static int
walk (struct mending *mending, enum purpose purpose, struct vmdk_error *err)
{
  struct extent_check *check = mending->check;
  const uint64_t nr_tables = check->index->nr_tables;
  CLEANUP_TABLE_WALK struct table_walk *tables =
    table_walk_new (check->index, err);
  CLEANUP_FREE struct walked_table *table = malloc (sizeof *table);
  uint64_t next = 0;

  if (!tables)
    return -1;
  if (!table)
    return fail_memory (err);
  mending->purpose = purpose;
  mending->nr_to_add = 0;
  do {
    if (table_walk_next (tables, table, err) == -1
        || check_advance (check->checker, table->nr - next, err) == -1)
      return -1;
    next = table->nr;
    if (next < nr_tables && judge_table (mending, table, err) == -1)
      return -1;
  } while (next < nr_tables);
  return 0;
}

/* Whether tables may be added. */
static int
look_ahead (struct mending *mending, struct vmdk_error *err)
{
  struct extent_check *check = mending->check;
  const uint64_t nr_bad = check->nr_bad;
  int r;

  check->checker->silent = true;
  r = walk (mending, COUNT, err);
  check->checker->silent = false;
  mending->may_add = check->nr_bad == 0;
  check->nr_bad = nr_bad;
  return r;
}

static int
add_tables (struct mending *mending, struct vmdk_error *err)
{
  struct checker *checker = mending->check->checker;
  int r;

  if (!checker->repairer || !mending->may_add || mending->nr_to_add == 0)
    return 0;
  checker->silent = true;
  r = repair_commit (checker->repairer, err);
  if (r == 0)
    r = walk (mending, TABLES, err);
  if (r == 0)
    r = name_new_tables (mending, err);
  checker->silent = false;
  return r;
}

/* Whether the file cannot be as HERE says and not as THERE says: no grain
 * wants the room of another, and more is in use.  That a grain was never
 * written is believed only if nothing is left over that it could have been.
 */
static bool
tally_decides (const struct rooms_tally *here, const struct rooms_tally *there)
{
  return here->nr_shared == 0 && here->nr_bad == 0
         && (here->leaked == 0 || here->nr_absent == 0)
         && (there->nr_shared > 0 || there->nr_bad > 0
             || there->leaked > here->leaked);
}

/* Where both copies could be right, the rest of the file may tell. */
static int
decide (struct mending *mending, struct vmdk_error *err)
{
  struct extent_check *check = mending->check;
  struct rooms_tally primary, mirror;

  if (look_ahead (mending, err) == -1)
    return -1;
  if (check->layout.unclean || mending->may_add)
    return 0;
  if (check_rooms_suppose (check, COPY_PRIMARY, &primary, err) == -1
      || check_rooms_suppose (check, COPY_MIRROR, &mirror, err) == -1)
    return -1;
  check->verdict = tally_decides (&primary, &mirror)   ? COPY_PRIMARY
                   : tally_decides (&mirror, &primary) ? COPY_MIRROR
                                                       : COPY_UNKNOWN;
  return check->verdict == COPY_UNKNOWN ? 0 : look_ahead (mending, err);
}

/* What cannot be mended because of other damage is left, too. */
int
check_tables (struct extent_check *check, struct vmdk_error *err)
{
  CLEANUP_FREE struct mending *mending = calloc (1, sizeof *mending);

  if (!mending)
    return fail_memory (err);
  mending->check = check;
  if ((check->index->mirror_offset != 0 && decide (mending, err) == -1)
      || walk (mending, ENTRIES, err) == -1)
    return -1;
  if (!mending->may_add)
    check->nr_bad += mending->nr_to_add;
  if (add_tables (mending, err) == -1
      || (check->checker->repairer
          && repair_commit (check->checker->repairer, err) == -1))
    return -1;
  grain_index_reload (check->index);
  return 0;
}
