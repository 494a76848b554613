/* SPDX-License-Identifier: BSD-3-Clause */

/* The recovery scan.  See stream-scan.h for what it concludes.
 *
 * From overHead on, block after block is recognised and stepped over.  Where
 * nothing can be recognised (damage, tables without markers, zeros), the
 * scan goes on sector by sector: a gap.  Every step advances, so the time is
 * bounded by the size of the file; holes of the file are skipped whole.
 * That what follows a gap is a grain, and not a guest's data, is then told by
 * nothing but its looks; the checksum is tested when it is read.
 *
 * What was found is an array of numbers, grain << 32 | sector, sorted in the
 * end.  A sector of 0 makes an entry a mark: from this grain on to the next
 * entry, grains may have been lost.  Of the entries of one grain the highest
 * counts, which is the last copy in the file (a writer that was interrupted
 * and resumed appends), and never a mark if there is a copy.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "checked.h"
#include "stream-marker.h"
#include "stream-scan.h"

/* Sectors that are read at once while stepping through a gap. */
#define WINDOW_SECTORS 128

/* A writer with many threads puts a grain this many places out of order at
 * most (a guess, on the safe side), and a stream in which that happens
 * seldom may look as if it were in order.
 */
#define MAX_DISORDER 64

struct entries {
  uint64_t *ptr;
  size_t len, capacity;
};

struct stream_scan {
  struct entries found;
  uint64_t nr_grains;
  bool doubtful; /* any grain that was not found may have been lost */
};

/* While scanning. */
struct scanner {
  const struct extent *extent;
  const struct sparse_header *header;
  struct stream_scan *scan;
  uint64_t first_lba;
  uint64_t sector, end; /* where we are; whole sectors of the file */
  uint64_t next_grain;  /* one more than the last that was found */
  uint64_t since_gap;   /* grains found since the last one */
  uint64_t nr_copies;   /* grains that were found again */
  bool in_order;        /* each grain's number was above the one before */
  bool gap;             /* blocks may be missing just before */
  bool any_gap;
  bool complete; /* the directory's marker came, and no grain after it */
  uint64_t window_start, window_sectors;
  uint8_t window[WINDOW_SECTORS * SECTOR_SIZE];
};

static uint64_t
make_entry (uint64_t grain, uint64_t sector)
{
  return grain << 32 | sector;
}

static uint64_t
entry_grain (uint64_t entry)
{
  return entry >> 32;
}

static uint64_t
entry_sector (uint64_t entry)
{
  return entry & UINT32_MAX;
}

static int
compare_entries (const void *a, const void *b)
{
  const uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

  return (x > y) - (x < y);
}

static bool
is_sorted (const struct entries *entries)
{
  for (size_t i = 1; i < entries->len; i++)
    if (entries->ptr[i - 1] > entries->ptr[i])
      return false;
  return true;
}

/* Sort, and keep the highest entry of each grain. */
static void
compact (struct scanner *scanner)
{
  struct entries *found = &scanner->scan->found;
  size_t kept = 0;

  if (found->len == 0)
    return;
  if (!is_sorted (found))
    qsort (found->ptr, found->len, sizeof *found->ptr, compare_entries);
  for (size_t i = 1; i < found->len; i++) {
    if (entry_grain (found->ptr[i]) != entry_grain (found->ptr[kept]))
      kept++;
    else if (entry_sector (found->ptr[kept]) != 0)
      scanner->nr_copies++;
    found->ptr[kept] = found->ptr[i];
  }
  found->len = kept + 1;
}

/* Make room for an entry.  Copies of a grain, however many, take none. */
static int
reserve_entry (struct scanner *scanner, struct vmdk_error *err)
{
  struct entries *found = &scanner->scan->found;
  const size_t more = found->capacity ? found->capacity * 2 : 64;
  uint64_t *grown;

  if (found->len < found->capacity)
    return 0;
  compact (scanner);
  if (found->len < found->capacity / 2)
    return 0;
  grown = realloc (found->ptr, more * sizeof *grown);
  if (!grown)
    return fail_memory (err);
  found->ptr = grown;
  found->capacity = more;
  return 0;
}

static int
add_entry (struct scanner *scanner, uint64_t grain, uint64_t sector,
           struct vmdk_error *err)
{
  struct entries *found = &scanner->scan->found;

  if (grain >= scanner->scan->nr_grains) /* a mark behind the last grain */
    return 0;
  if (reserve_entry (scanner, err) == -1)
    return -1;
  found->ptr[found->len++] = make_entry (grain, sector);
  return 0;
}

/* Something is missing here: doubt what lies behind the last grains.  (What
 * is out of order is doubted everywhere, without marks.)
 */
static int
doubt_last_grains (struct scanner *scanner, struct vmdk_error *err)
{
  const struct entries *found = &scanner->scan->found;
  uint64_t last[MAX_DISORDER];
  size_t n = 0, i = found->len;

  while (i > 0 && n < MAX_DISORDER)
    if (entry_sector (found->ptr[--i]) != 0)
      last[n++] = entry_grain (found->ptr[i]);
  if (n < MAX_DISORDER && add_entry (scanner, 0, 0, err) == -1)
    return -1;
  for (i = 0; i < n; i++)
    if (add_entry (scanner, last[i] + 1, 0, err) == -1)
      return -1;
  return 0;
}

/* The bytes of the current sector. */
static const uint8_t *
look (struct scanner *scanner, struct vmdk_error *err)
{
  const uint64_t within = scanner->sector - scanner->window_start;
  const bool stepping = scanner->gap || scanner->complete;

  if (scanner->sector < scanner->window_start
      || within >= scanner->window_sectors) {
    scanner->window_start = scanner->sector;
    scanner->window_sectors =
      min_u64 (stepping ? WINDOW_SECTORS : 1, scanner->end - scanner->sector);
    if (media_pread (scanner->extent->media, scanner->window,
                     sectors_to_bytes (scanner->window_sectors),
                     sectors_to_bytes (scanner->sector), err)
        == -1)
      return NULL;
    return scanner->window;
  }
  return scanner->window + sectors_to_bytes (within);
}

static bool
is_zlib (const uint8_t *p)
{
  return (p[0] & 0x0f) == 8 && (p[0] * 256 + p[1]) % 31 == 0;
}

/* Whether SECTOR starts a whole grain, and which. */
static bool
is_grain (const struct scanner *scanner, const uint8_t *sector,
          uint64_t *grain, uint64_t *nr_sectors)
{
  const struct sparse_header *h = scanner->header;
  const struct stream_marker marker = stream_marker_decode (sector);
  const uint64_t bytes = STREAM_GRAIN_HEADER_SIZE + (uint64_t) marker.size;
  uint64_t lba = marker.value;

  if (lba >= h->capacity && lba >= scanner->first_lba)
    lba -= scanner->first_lba;
  if (marker.size == 0 || marker.size > 2 * sectors_to_bytes (h->grain_size)
      || lba >= h->capacity || lba % h->grain_size != 0
      || !is_zlib (sector + STREAM_GRAIN_HEADER_SIZE)
      || !range_inside (sectors_to_bytes (scanner->sector), bytes,
                        scanner->extent->media->size))
    return false;
  *grain = lba / h->grain_size;
  *nr_sectors = div_round_up (bytes, SECTOR_SIZE);
  return true;
}

static int
start_gap (struct scanner *scanner, struct vmdk_error *err)
{
  scanner->gap = scanner->any_gap = true;
  scanner->complete = false;
  scanner->since_gap = 0;
  return scanner->in_order ? doubt_last_grains (scanner, err) : 0;
}

static int
take_grain (struct scanner *scanner, uint64_t grain, uint64_t nr_sectors,
            struct vmdk_error *err)
{
  if (scanner->complete && start_gap (scanner, err) == -1)
    return -1;
  if (grain < scanner->next_grain)
    scanner->in_order = false;
  if (scanner->in_order && scanner->any_gap
      && scanner->since_gap < MAX_DISORDER
      && add_entry (scanner, scanner->next_grain, 0, err) == -1)
    return -1;
  if (add_entry (scanner, grain, scanner->sector, err) == -1)
    return -1;
  scanner->next_grain = grain + 1;
  scanner->since_gap++;
  scanner->gap = false;
  scanner->sector += nr_sectors;
  return 0;
}

/* The sectors a marker and what follows it take; 0 if it is none. */
static uint64_t
marker_sectors (const struct scanner *scanner, const uint8_t *sector)
{
  const struct sparse_header *h = scanner->header;
  const struct stream_marker marker = stream_marker_decode (sector);
  uint64_t expected;

  if (marker.size != 0)
    return 0;
  switch (marker.type) {
  case MARKER_GRAIN_TABLE:
    expected = div_round_up (h->nr_gtes_per_gt * UINT64_C (4), SECTOR_SIZE);
    break;
  case MARKER_GRAIN_DIRECTORY:
    expected = div_round_up (sparse_header_nr_tables (h) * 4, SECTOR_SIZE);
    break;
  case MARKER_FOOTER:
    expected = 1;
    break;
  case MARKER_PROGRESS:
    return 1; /* whatever the value says */
  default:
    return 0;
  }
  return marker.value == 0 || marker.value == expected ? 1 + expected : 0;
}

static void
take_marker (struct scanner *scanner, const uint8_t *sector,
             uint64_t nr_sectors)
{
  const uint32_t type = stream_marker_decode (sector).type;

  /* These two come when all grains have been written. */
  if (type == MARKER_GRAIN_DIRECTORY || type == MARKER_FOOTER)
    scanner->complete = !scanner->gap;
  scanner->sector += nr_sectors;
}

/* Nothing we know starts here.  Zeros are no better: padding looks like a
 * part of the file that never arrived.  Only behind the directory's marker
 * it is the end of the stream, unless more grains come.
 */
static int
take_gap (struct scanner *scanner, struct vmdk_error *err)
{
  const uint64_t offset = sectors_to_bytes (scanner->sector);
  bool hole = false;
  uint64_t length = 0;

  if (!scanner->gap && !scanner->complete && start_gap (scanner, err) == -1)
    return -1;
  if (scanner->sector % WINDOW_SECTORS == 0
      && media_map (scanner->extent->media, offset,
                    scanner->extent->media->size - offset, &hole, &length, err)
           == -1)
    return -1;
  scanner->sector += hole ? max_u64 (bytes_to_sectors (length), 1) : 1;
  return 0;
}

static int
take_block (struct scanner *scanner, struct vmdk_error *err)
{
  const uint8_t *sector = look (scanner, err);
  uint64_t grain, nr_sectors;

  if (!sector)
    return -1;
  if (is_grain (scanner, sector, &grain, &nr_sectors))
    return take_grain (scanner, grain, nr_sectors, err);
  nr_sectors = marker_sectors (scanner, sector);
  if (nr_sectors == 0)
    return take_gap (scanner, err);
  take_marker (scanner, sector, nr_sectors);
  return 0;
}

/* What an entry has room for; no table entry could name more of a file. */
static int
check_limits (const struct scanner *scanner, struct vmdk_error *err)
{
  const uint64_t capacity = scanner->header->capacity;

  if (scanner->end > UINT32_MAX || scanner->scan->nr_grains > UINT32_MAX)
    return fail (err, ERR_UNSUPPORTED,
                 "the stream cannot be recovered: it has %" PRIu64
                 " sectors and %" PRIu64 " grains, at most %" PRIu32
                 " are supported",
                 scanner->end, scanner->scan->nr_grains, UINT32_MAX);
  if (scanner->first_lba > 0 && scanner->first_lba < capacity)
    return fail (err, ERR_UNSUPPORTED,
                 "the stream cannot be recovered: with %" PRIu64
                 " sectors before this extent of %" PRIu64
                 " its grains' numbers are ambiguous",
                 scanner->first_lba, capacity);
  return 0;
}

static void
warn_of_result (const struct scanner *scanner)
{
  const struct extent *extent = scanner->extent;
  const struct stream_scan *scan = scanner->scan;
  uint64_t nr_grains = 0, nr_gaps = 0;

  for (size_t i = 0; i < scan->found.len; i++)
    if (entry_sector (scan->found.ptr[i]) != 0)
      nr_grains++;
    else
      nr_gaps++;
  log_warning (&extent->rules->log,
               "%s: recovered %" PRIu64 " grains by scanning the stream",
               NAME (extent->name), nr_grains);
  if (scanner->nr_copies > 0)
    log_warning (&extent->rules->log,
                 "%s: %" PRIu64 " grains have been stored again: the last "
                 "copy counts",
                 NAME (extent->name), scanner->nr_copies);
  if (scan->doubtful || nr_gaps > 0)
    log_warning (&extent->rules->log,
                 "%s: grains may have been lost %s: reading there gives "
                 "errors",
                 NAME (extent->name),
                 scan->doubtful ? "wherever none was found"
                                : "where the stream is broken or cut");
}

static int
scan_all (struct scanner *scanner, struct vmdk_error *err)
{
  const struct sparse_header *h = scanner->header;

  scanner->sector = h->overhead;
  if (h->overhead == 0 || h->overhead >= scanner->end)
    scanner->sector = h->descriptor_offset == 0
                        ? 1
                        : h->descriptor_offset + h->descriptor_size;
  while (scanner->sector < scanner->end)
    if (take_block (scanner, err) == -1)
      return -1;
  if (!scanner->complete && !scanner->gap && start_gap (scanner, err) == -1)
    return -1;
  scanner->scan->doubtful = !scanner->in_order && scanner->any_gap;
  compact (scanner);
  warn_of_result (scanner);
  return 0;
}

struct stream_scan *
stream_scan_new (const struct extent *extent,
                 const struct sparse_header *header, uint64_t first_lba,
                 struct vmdk_error *err)
{
  struct stream_scan *scan = calloc (1, sizeof *scan);
  CLEANUP_FREE struct scanner *scanner = calloc (1, sizeof *scanner);

  if (!scan || !scanner) {
    free (scan);
    fail_memory (err);
    return NULL;
  }
  scan->nr_grains = div_round_up (header->capacity, header->grain_size);
  scanner->in_order = true;
  scanner->extent = extent;
  scanner->header = header;
  scanner->scan = scan;
  scanner->first_lba = first_lba;
  scanner->end = bytes_to_sectors (extent->media->size);
  if (check_limits (scanner, err) == -1 || scan_all (scanner, err) == -1) {
    stream_scan_free (scan);
    return NULL;
  }
  return scan;
}

void
stream_scan_free (struct stream_scan *scan)
{
  if (!scan)
    return;
  free (scan->found.ptr);
  free (scan);
}

enum run_state
stream_scan_find (const struct stream_scan *scan, uint64_t grain,
                  uint64_t *sector, uint64_t *end)
{
  const struct entries *found = &scan->found;
  size_t low = 0, high = found->len;
  uint64_t entry;

  /* Find the first entry of a higher grain; ours is the one before. */
  while (low < high) {
    const size_t middle = low + (high - low) / 2;

    if (entry_grain (found->ptr[middle]) <= grain)
      low = middle + 1;
    else
      high = middle;
  }
  *sector = 0;
  *end = low < found->len ? entry_grain (found->ptr[low]) : scan->nr_grains;
  if (low == 0)
    return scan->doubtful ? RUN_DAMAGED : RUN_ABSENT;

  entry = found->ptr[low - 1];
  if (entry_grain (entry) == grain && entry_sector (entry) != 0) {
    *sector = entry_sector (entry);
    *end = grain + 1;
    return RUN_PACKED;
  }
  return scan->doubtful || entry_sector (entry) == 0 ? RUN_DAMAGED
                                                     : RUN_ABSENT;
}
