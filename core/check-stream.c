/* SPDX-License-Identifier: BSD-3-Clause */

/* Streams: the footer, blocks that no table names, and a stream that has no
 * directory, which gets one, as does one whose tables are damaged while all
 * grains are there.
 *
 * If only the footer is missing, it is put where it was, and the stream is
 * what its writer made.  Otherwise tables, directory and footer are appended,
 * the footer last; until it is there the stream is scanned as before.  Where
 * the scan shows that nothing is missing, nothing is overwritten.  Where the
 * file was cut, they follow the last whole grain, in place of the rest of one.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check-parts.h"
#include "checked.h"
#include "stream-footer.h"
#include "stream-marker.h"
#include "stream-scan.h"

/* Padding is stepped over in pieces of this size. */
#define STEP ((uint64_t) 64 << 10)

/* -- Blocks ------------------------------------------------------------- */

/* What a marker and what it announces take, as far as nothing names that: a
 * directory or table that another one has replaced.  They are small.
 */
static uint64_t
marker_length (const struct stream_marker *marker, uint64_t count)
{
  const uint64_t most = div_round_up (count, SECTOR_SIZE);
  uint64_t following = 0;

  if (marker->type == MARKER_FOOTER)
    following = 1;
  else if (marker->type == MARKER_GRAIN_TABLE
           || marker->type == MARKER_GRAIN_DIRECTORY)
    following = marker->value;
  return following < most ? sectors_to_bytes (1 + following) : SECTOR_SIZE;
}

static int
skip_zeros (const struct extent_check *check, uint64_t offset, uint64_t count,
            uint64_t *length, struct vmdk_error *err)
{
  CLEANUP_FREE uint8_t *bytes = malloc (STEP);
  const uint64_t size = min_u64 (count, STEP);

  if (!bytes)
    return fail_memory (err);
  if (media_pread (check->extent->media, bytes, size, offset, err) == -1)
    return -1;
  while (
    *length < size
    && bytes_are_zero (bytes + *length, min_u64 (SECTOR_SIZE, size - *length)))
    *length = min_u64 (*length + SECTOR_SIZE, size);
  return 0;
}

int
check_stream_block (const struct extent_check *check, uint64_t offset,
                    uint64_t count, uint64_t *length, bool *leaked,
                    struct vmdk_error *err)
{
  uint8_t sector[SECTOR_SIZE] = { 0 };
  struct stream_marker marker;

  *length = min_u64 (count, SECTOR_SIZE);
  if (media_pread (check->extent->media, sector, *length, offset, err) == -1)
    return -1;
  *leaked = false;
  if (bytes_are_zero (sector, sizeof sector))
    return skip_zeros (check, offset, count, length, err);
  marker = stream_marker_decode (sector);
  if (marker.size == 0 && marker.type <= MARKER_PROGRESS) {
    *length = min_u64 (count, marker_length (&marker, count));
    return 0;
  }
  *leaked = true;
  if (marker.size > 0 && marker.size <= 2 * check->index->grain_size)
    *length = min_u64 (
      count, div_round_up (STREAM_GRAIN_HEADER_SIZE + (uint64_t) marker.size,
                           SECTOR_SIZE)
               * SECTOR_SIZE);
  return 0;
}

/* -- Rebuilding --------------------------------------------------------- */

struct rebuild {
  struct extent_check *check;
  const struct sparse_header *header;
  struct stream_scan *scan;
  uint64_t end;       /* where the next block is put */
  uint64_t last_end;  /* of the last whole grain */
  uint64_t nr_grains; /* that were found */
  uint64_t nr_doubtful;
  uint8_t *directory;
};

static uint64_t
nr_all_grains (const struct rebuild *rebuild)
{
  return div_round_up (rebuild->header->capacity, rebuild->header->grain_size);
}

/* Count what the scan has found. */
static int
survey (struct rebuild *rebuild, struct vmdk_error *err)
{
  struct extent_check *check = rebuild->check;
  uint64_t sector, end, length;

  for (uint64_t grain = 0; grain < nr_all_grains (rebuild); grain = end)
    switch (stream_scan_find (rebuild->scan, grain, &sector, &end)) {
    case RUN_PACKED:
      if (check->layout.check_grain (check->extent, grain,
                                     sectors_to_bytes (sector), &length, err)
          == -1)
        return -1;
      rebuild->nr_grains++;
      rebuild->last_end =
        max_u64 (rebuild->last_end, sectors_to_bytes (sector) + length);
      break;
    case RUN_DAMAGED:
      rebuild->nr_doubtful += end - grain;
      break;
    default:
      break;
    }
  return 0;
}

static int
append (struct rebuild *rebuild, const void *bytes, uint64_t count,
        struct vmdk_error *err)
{
  struct extent_check *check = rebuild->check;
  const uint8_t *p = bytes;

  while (count > 0) {
    const uint64_t n = min_u64 (count, REPAIR_MAX_BYTES);

    if (repair_write (check->checker->repairer, check->extent->media,
                      check->file, rebuild->end, p, n, err)
        == -1)
      return -1;
    rebuild->end += n;
    p += n;
    count -= n;
  }
  return 0;
}

static int
append_marker (struct rebuild *rebuild, enum stream_marker_type type,
               uint64_t nr_sectors, struct vmdk_error *err)
{
  uint8_t sector[SECTOR_SIZE];

  stream_marker_encode (type, nr_sectors, sector);
  return append (rebuild, sector, sizeof sector, err);
}

/* Fill TABLE with its grains; false if there are none. */
static bool
fill_table (const struct rebuild *rebuild, uint64_t nr, uint8_t *table)
{
  const uint64_t nr_entries = rebuild->header->nr_gtes_per_gt;
  const uint64_t first = nr * nr_entries;
  const uint64_t last = min_u64 (first + nr_entries, nr_all_grains (rebuild));
  bool any = false;
  uint64_t sector, end;

  for (uint64_t grain = first; grain < last; grain = end)
    if (stream_scan_find (rebuild->scan, grain, &sector, &end) == RUN_PACKED) {
      if (!any)
        memset (table, 0, nr_entries * 4);
      any = true;
      le32_store (table + (grain - first) * 4, (uint32_t) sector);
    }
  return any;
}

static int
append_tables (struct rebuild *rebuild, struct vmdk_error *err)
{
  const uint64_t size = rebuild->header->nr_gtes_per_gt * UINT64_C (4);
  const uint64_t nr_tables = sparse_header_nr_tables (rebuild->header);
  CLEANUP_FREE uint8_t *table = malloc (size);

  if (!table)
    return fail_memory (err);
  for (uint64_t i = 0; i < nr_tables; i++) {
    if (!fill_table (rebuild, i, table))
      continue;
    if (append_marker (rebuild, MARKER_GRAIN_TABLE, bytes_to_sectors (size),
                       err)
        == -1)
      return -1;
    le32_store (rebuild->directory + i * 4,
                (uint32_t) bytes_to_sectors (rebuild->end));
    if (append (rebuild, table, size, err) == -1)
      return -1;
  }
  return 0;
}

/* -- A directory that is there ------------------------------------------ */

/* What comes behind the last grain: tables with markers and the directory.
 * *offset is where that is; 0: there is none.
 */
static int
find_directory (const struct rebuild *rebuild, uint64_t *offset,
                struct vmdk_error *err)
{
  struct media *media = rebuild->check->extent->media;
  const uint64_t nr_sectors =
    stream_directory_sectors (sparse_header_nr_tables (rebuild->header));
  uint64_t at = div_round_up (rebuild->last_end, SECTOR_SIZE) * SECTOR_SIZE;
  uint8_t bytes[STREAM_MARKER_SIZE];

  *offset = 0;
  for (; range_inside (at, SECTOR_SIZE, media->size); at += SECTOR_SIZE) {
    struct stream_marker marker;

    if (media_pread (media, bytes, sizeof bytes, at, err) == -1)
      return -1;
    marker = stream_marker_decode (bytes);
    if (marker.size != 0 || marker.value > bytes_to_sectors (media->size))
      return 0;
    if (marker.type == MARKER_GRAIN_TABLE)
      at += sectors_to_bytes (marker.value);
    else if (marker.type == MARKER_GRAIN_DIRECTORY) {
      at += SECTOR_SIZE;
      if (marker.value == nr_sectors
          && range_inside (at, sectors_to_bytes (nr_sectors), media->size))
        *offset = at;
      return 0;
    }
    else if (marker.type != MARKER_PROGRESS)
      return 0;
  }
  return 0;
}

/* Whether the table at SECTOR (0: there is none) is WANTED (NULL: empty). */
static int
compare_table (const struct rebuild *rebuild, uint64_t sector,
               const uint8_t *wanted, uint8_t *buf, bool *same,
               struct vmdk_error *err)
{
  const uint64_t size = rebuild->header->nr_gtes_per_gt * UINT64_C (4);
  const uint64_t offset = sectors_to_bytes (sector);
  struct media *media = rebuild->check->extent->media;

  *same = sector == 0 && !wanted;
  if (sector == 0 || !range_inside (offset, size, media->size))
    return 0;
  if (media_pread (media, buf, size, offset, err) == -1)
    return -1;
  *same =
    wanted ? memcmp (buf, wanted, size) == 0 : bytes_are_zero (buf, size);
  return 0;
}

/* Whether the directory at OFFSET says what the scan has found. */
static int
compare_directory (const struct rebuild *rebuild, uint64_t offset, bool *same,
                   struct vmdk_error *err)
{
  const uint64_t size = rebuild->header->nr_gtes_per_gt * UINT64_C (4);
  const uint64_t nr_tables = sparse_header_nr_tables (rebuild->header);
  CLEANUP_FREE uint8_t *wanted = malloc (size);
  CLEANUP_FREE uint8_t *buf = malloc (size);

  if (!wanted || !buf)
    return fail_memory (err);
  *same = true;
  for (uint64_t i = 0; i < nr_tables && *same; i++) {
    uint8_t entry[4];

    if (media_pread (rebuild->check->extent->media, entry, sizeof entry,
                     offset + i * sizeof entry, err)
          == -1
        || compare_table (rebuild, le32_load (entry),
                          fill_table (rebuild, i, wanted) ? wanted : NULL, buf,
                          same, err)
             == -1)
      return -1;
  }
  return 0;
}

/* What is behind the new end would hide the footer. */
static int
cut_rest (struct rebuild *rebuild, uint64_t end, struct vmdk_error *err)
{
  struct extent_check *check = rebuild->check;
  const struct repair_room rest = {
    .offset = end,
    .count = max_u64 (check->extent->media->size, end) - end,
  };

  if (rest.count == 0)
    return 0;
  return repair_drop (check->checker->repairer, check->extent->media,
                      check->file, &rest, 1, err);
}

/* The footer of the directory at OFFSET, which is all there. */
static int
restore_footer (struct rebuild *rebuild, uint64_t offset,
                struct vmdk_error *err)
{
  const uint64_t nr_sectors =
    stream_directory_sectors (sparse_header_nr_tables (rebuild->header));
  uint8_t end[STREAM_END_SIZE];

  rebuild->end = offset + sectors_to_bytes (nr_sectors);
  stream_end_encode (rebuild->header, bytes_to_sectors (offset), end);
  if (cut_rest (rebuild, rebuild->end + sizeof end, err) == -1
      || append (rebuild, end, sizeof end, err) == -1)
    return -1;
  return repair_commit (rebuild->check->checker->repairer, err);
}

static int
append_all (struct rebuild *rebuild, struct vmdk_error *err)
{
  const uint64_t nr_tables = sparse_header_nr_tables (rebuild->header);
  const uint64_t nr_sectors = stream_directory_sectors (nr_tables);
  struct repairer *repairer = rebuild->check->checker->repairer;
  uint8_t end[STREAM_END_SIZE];
  uint64_t directory;

  rebuild->directory = calloc (nr_sectors, SECTOR_SIZE);
  if (!rebuild->directory)
    return fail_memory (err);
  if (append_tables (rebuild, err) == -1
      || append_marker (rebuild, MARKER_GRAIN_DIRECTORY, nr_sectors, err)
           == -1)
    return -1;
  directory = bytes_to_sectors (rebuild->end);
  if (append (rebuild, rebuild->directory, sectors_to_bytes (nr_sectors), err)
      == -1)
    return -1;
  if (bytes_to_sectors (rebuild->end + sizeof end) > UINT32_MAX)
    return fail (err, ERR_UNSUPPORTED,
                 "%s: no directory can be added: its sectors would have "
                 "numbers beyond %" PRIu32,
                 NAME (rebuild->check->file), UINT32_MAX);
  stream_end_encode (rebuild->header, directory, end);
  if (repair_commit (repairer, err) == -1
      || cut_rest (rebuild, rebuild->end + sizeof end, err) == -1
      || append (rebuild, end, sizeof end, err) == -1)
    return -1;
  return repair_commit (repairer, err);
}

static int
mend_stream (struct rebuild *rebuild, struct vmdk_error *err)
{
  const struct extent_check *check = rebuild->check;
  uint64_t offset;
  bool same = false;

  if (find_directory (rebuild, &offset, err) == -1
      || (offset != 0
          && compare_directory (rebuild, offset, &same, err) == -1))
    return -1;
  if (same)
    return restore_footer (rebuild, offset, err);
  rebuild->end =
    div_round_up (rebuild->nr_doubtful == 0
                    ? check->extent->media->size
                    : max_u64 (rebuild->last_end, check->layout.start),
                  SECTOR_SIZE)
    * SECTOR_SIZE;
  return append_all (rebuild, err);
}

/* Tell of a stream whose directory is lost, WHY; mend it. */
static int
rebuild_stream (struct rebuild *rebuild, const char *why,
                struct vmdk_error *err)
{
  struct extent_check *check = rebuild->check;
  struct checker *checker = check->checker;
  const bool odd = rebuild->header->flags & SPARSE_REDUNDANT_TABLES;
  const bool mends =
    !odd && (rebuild->nr_doubtful == 0 || checker->options->accept_loss);

  check_tell (checker, CHECK_STREAM, CHECK_ERROR,
              mends ? check_mends (checker) : CHECK_STAYS, CHECK_NOWHERE,
              "%s; %" PRIu64 " grains are there, and %" PRIu64
              " may have been lost%s",
              why, rebuild->nr_grains, rebuild->nr_doubtful,
              rebuild->nr_doubtful == 0 || odd ? ""
              : mends                          ? ", and become zeros"
                      : " (--repair --accept-loss makes a disk of what is "
                        "there, with zeros for them)");
  if (!mends) {
    check->nr_bad++;
    return 0;
  }
  if (!checker->repairer || checker->operation->dry_run)
    return 0;
  return mend_stream (rebuild, err);
}

static int
check_lost (struct extent_check *check, const struct sparse_header *header,
            const char *why, struct vmdk_error *err)
{
  struct rebuild rebuild = { .check = check, .header = header };
  int r;

  rebuild.scan =
    stream_scan_new (check->extent, header, check->layout.first_lba, err);
  if (!rebuild.scan)
    return -1;
  r = survey (&rebuild, err);
  if (r == 0)
    r = rebuild_stream (&rebuild, why, err);
  free (rebuild.directory);
  stream_scan_free (rebuild.scan);
  return r;
}

/* -- Tables that do not say what is there -------------------------------- */

/* Whether what a table names there is a grain, if another one: then its header
 * may be what is damaged.
 */
static int
is_other_grain (const struct extent_check *check, uint64_t offset, bool *other,
                struct vmdk_error *err)
{
  uint8_t bytes[STREAM_MARKER_SIZE];
  struct stream_marker marker;

  *other = false;
  if (!range_inside (offset, sizeof bytes, check->extent->media->size))
    return 0;
  if (media_pread (check->extent->media, bytes, sizeof bytes, offset, err)
      == -1)
    return -1;
  marker = stream_marker_decode (bytes);
  *other = marker.size > 0 && marker.size <= 2 * check->index->grain_size;
  return 0;
}

/* What the tables say, against what the scan has found. */
struct comparison {
  uint64_t nr_tables;
  uint64_t nr_named;  /* grains, where the scan has found them */
  uint64_t nr_bad;    /* entries */
  uint64_t nr_hidden; /* grains that are there and have a bad entry */
  bool odd;           /* other grains are named than the scan has found */
};

static bool
scan_has (const struct rebuild *rebuild, uint64_t grain, uint64_t *sector)
{
  uint64_t end;

  return stream_scan_find (rebuild->scan, grain, sector, &end) == RUN_PACKED;
}

static void
count_bad (const struct rebuild *rebuild, uint64_t grain, struct comparison *c)
{
  uint64_t sector;

  c->nr_bad++;
  c->nr_hidden += scan_has (rebuild, grain, &sector);
}

/* A table names something at OFFSET for GRAIN. */
static int
compare_named (const struct rebuild *rebuild, uint64_t grain, uint64_t offset,
               struct comparison *c, struct vmdk_error *err)
{
  const struct extent_check *check = rebuild->check;
  uint64_t length, sector;
  bool other;

  if (check->layout.check_grain (check->extent, grain, offset, &length, err)
      == -1) {
    if (err->kind != ERR_DAMAGED
        || is_other_grain (check, offset, &other, err) == -1)
      return -1;
    c->odd = c->odd || other;
    count_bad (rebuild, grain, c);
    return 0;
  }
  c->nr_named++;
  c->odd = c->odd || !scan_has (rebuild, grain, &sector)
           || sectors_to_bytes (sector) != offset;
  return 0;
}

static int
compare_entries (const struct rebuild *rebuild,
                 const struct walked_table *table, struct comparison *c,
                 struct vmdk_error *err)
{
  const struct grain_index *index = rebuild->check->index;
  const uint64_t first = table->nr << index->table_shift;
  const uint64_t nr = min_u64 (index->entries_per_table,
                               max_u64 (index->nr_grains, first) - first);

  for (uint64_t i = 0; i < nr; i++) {
    uint64_t offset;
    const enum run_state state = check_tables_see (index, table, i, &offset);

    if (state == RUN_DAMAGED)
      count_bad (rebuild, first + i, c);
    else if (state == RUN_PACKED
             && compare_named (rebuild, first + i, offset, c, err) == -1)
      return -1;
  }
  return 0;
}

static int
compare_tables (const struct rebuild *rebuild, struct comparison *c,
                struct vmdk_error *err)
{
  CLEANUP_TABLE_WALK struct table_walk *tables =
    table_walk_new (rebuild->check->index, err);
  CLEANUP_FREE struct walked_table *table = calloc (1, sizeof *table);

  *c = (struct comparison){ 0 };
  if (!tables)
    return -1;
  if (!table)
    return fail_memory (err);
  for (;;) {
    if (table_walk_next (tables, table, err) == -1)
      return -1;
    if (table->nr == rebuild->check->index->nr_tables)
      return 0;
    c->nr_tables++;
    if (compare_entries (rebuild, table, c, err) == -1)
      return -1;
  }
}

/* A grain that no table names may have become zeros, or may be what was
 * written before a crash: an entry that is 0 is believed.  Not one that is
 * bad, nor a directory without any table in a stream that has grains before
 * it.
 */
static int
judge_tables (struct rebuild *rebuild, bool *mends, struct vmdk_error *err)
{
  const struct extent_check *check = rebuild->check;
  struct checker *checker = check->checker;
  struct comparison c;

  *mends = false;
  if (survey (rebuild, err) == -1 || compare_tables (rebuild, &c, err) == -1)
    return -1;
  if (rebuild->nr_doubtful > 0 || c.odd
      || rebuild->last_end > check->index->directory_offset
      || (c.nr_tables > 0
          && (c.nr_bad == 0 || c.nr_named + c.nr_hidden != rebuild->nr_grains))
      || (c.nr_tables == 0 && rebuild->nr_grains == 0))
    return 0;
  *mends = true;
  check_tell (checker, CHECK_STREAM, CHECK_ERROR, check_mends (checker),
              check->index->directory_offset,
              "the tables name only %" PRIu64 " of the %" PRIu64
              " grains that are there, and none was lost",
              c.nr_named, rebuild->nr_grains);
  if (!checker->repairer || checker->operation->dry_run)
    return 0;
  return mend_stream (rebuild, err);
}

int
check_stream_tables (struct extent_check *check,
                     const struct check_result *before, bool *mended,
                     struct vmdk_error *err)
{
  struct check_result *result = check->checker->result;
  struct sparse_header header;
  struct rebuild rebuild = { .check = check, .header = &header };
  uint8_t bytes[SPARSE_HEADER_SIZE];
  bool mends = false;
  int r;

  *mended = false;
  if (result->nr_errors == before->nr_errors
      && result->nr_leaks == before->nr_leaks)
    return 0;
  if (media_pread (check->extent->media, bytes, sizeof bytes, 0, err) == -1)
    return -1;
  sparse_header_decode (bytes, &header);
  if (header.gd_offset != SPARSE_GD_AT_END
      || (header.flags & SPARSE_REDUNDANT_TABLES))
    return 0;
  rebuild.scan =
    stream_scan_new (check->extent, &header, check->layout.first_lba, err);
  if (!rebuild.scan)
    return -1;
  r = judge_tables (&rebuild, &mends, err);
  free (rebuild.directory);
  stream_scan_free (rebuild.scan);
  *mended = mends && check_mends (check->checker) == CHECK_MENDED;
  if (r == 0 && *mended) { /* what was told before, too */
    result->nr_errors_left = before->nr_errors_left;
    result->nr_leaks_left = before->nr_leaks_left;
  }
  return r;
}

/* -- All of it ---------------------------------------------------------- */

int
check_stream (struct extent_check *check, struct vmdk_error *err)
{
  struct sparse_header header, footer;
  struct vmdk_error why;
  uint8_t bytes[SPARSE_HEADER_SIZE];
  bool found = false;

  if (media_pread (check->extent->media, bytes, sizeof bytes, 0, err) == -1)
    return -1;
  sparse_header_decode (bytes, &header);
  if (stream_footer_find (check->extent, &header, &footer, &found, &why) == -1)
    found = false;
  else
    fail (&why, ERR_CORRUPT,
          "the stream's grain directory should be at its end, and there is "
          "no footer there");
  if (!check->index)
    return check_lost (check, &header, why.text, err);
  return 0;
}
