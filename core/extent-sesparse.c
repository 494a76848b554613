/* SPDX-License-Identifier: BSD-3-Clause */

/* seSparse extents: the redo logs of newer ESXi, "-sesparse.vmdk".
 *
 * There is no public specification.  What is known comes from reading real
 * files, and was first found out for qemu; whatever differs from it is
 * refused.
 *
 *   constant header  512 bytes at 0, says where the eight regions are
 *   volatile header  one sector: is there a journal to replay?
 *   journal header, journal
 *   grain directory  u64: 0, or 0x10000000 << 32 | number of a table
 *   grain tables     of 4096 u64, in the order of their first use
 *   free bitmap, back map: for whoever allocates
 *   grains           4 KiB each, in the order of their first use
 *
 * An entry of a table has its kind in the top nibble and a grain's number,
 * rotated by 12 bits, below.
 *
 * (1) Regions do not overlap and those of metadata lie within the file, so
 *     a number below its region's length cannot lead astray.
 * (2) The region of grains is as long as the disk and the file grows into
 *     it, so each grain is compared with the end of the file.
 *
 * To allocate a grain, or to give one back, is to change the bitmap, the back
 * map and the journal, whose contents are not known.  So only grains that are
 * there are written, and no other byte: see grain-overwrite.h.
 */

#include <config.h>

#include <inttypes.h>

#include "bytes.h"
#include "checked.h"
#include "extent.h"
#include "grain-overwrite.h"
#include "grain-table.h"

#define SE_MAGIC UINT64_C (0x00000000cafebabe)
#define SE_VERSION UINT64_C (0x0000000200000001)
#define SE_VOLATILE_MAGIC UINT64_C (0x00000000cafecafe)
#define SE_HEADER_SIZE 512
#define SE_GRAIN_SECTORS 8
#define SE_TABLE_SECTORS 64
#define SE_ENTRIES 4096
#define SE_ENTRY_SIZE 8
#define SE_DIRECTORY_TAG UINT64_C (0x10000000)
#define SE_MAX_SECTORS                                  \
  (UINT64_C (1) << 37) /* 64 TiB, vSphere's limit is 62 \
                        */

enum se_region_name {
  SE_VOLATILE_HEADER,
  SE_JOURNAL_HEADER,
  SE_JOURNAL,
  SE_DIRECTORY,
  SE_TABLES,
  SE_FREE_BITMAP,
  SE_BACK_MAP,
  SE_GRAINS, /* the only one that may pass the end of the file */
  SE_NR_REGIONS,
};

static const char *const region_names[SE_NR_REGIONS] = {
  "volatile header", "journal header", "journal",  "grain directory",
  "grain tables",    "free bitmap",    "back map", "grains",
};

struct se_region {
  uint64_t start, length; /* sectors */
};

/* Host byte order. */
struct se_header {
  uint64_t magic;
  uint64_t version;
  uint64_t capacity;   /* sectors */
  uint64_t grain_size; /* sectors */
  uint64_t table_size; /* sectors */
  uint64_t flags;
  uint64_t reserved[4];
  struct se_region regions[SE_NR_REGIONS];
  uint8_t pad[304];
};

struct se_volatile_header {
  uint64_t magic;
  uint64_t free_table_number;
  uint64_t next_transaction;
  uint64_t replay_journal;
  uint8_t pad[480];
};

struct sesparse {
  struct extent extent;
  struct grain_index index;
  struct se_region tables, grains;
  uint64_t capacity; /* sectors, as the header says */
  bool dirty;        /* the journal was not replayed */
  struct grain_overwriter writer; /* if it is writable */
};

static const struct sesparse *
sesparse_of (const struct grain_index *index)
{
  return (const struct sesparse *) index->extent;
}

static int
sesparse_locate (const struct grain_index *index, uint64_t table,
                 uint64_t entry, uint64_t *offset, struct vmdk_error *err)
{
  const struct sesparse *se = sesparse_of (index);
  const uint64_t number = entry & UINT32_MAX;

  if (entry >> 32 != SE_DIRECTORY_TAG)
    return fail (err, ERR_DAMAGED,
                 "grain directory entry %" PRIu64 " is 0x%016" PRIx64
                 ", which names no table",
                 table, entry);
  if (number >= se->tables.length / SE_TABLE_SECTORS)
    return fail (err, ERR_DAMAGED,
                 "grain directory entry %" PRIu64 " names table %" PRIu64
                 ", there is room for %" PRIu64,
                 table, number, se->tables.length / SE_TABLE_SECTORS);
  *offset = sectors_to_bytes (se->tables.start + number * SE_TABLE_SECTORS);
  return 0;
}

static uint64_t
grain_number (uint64_t entry)
{
  return (entry >> 48 & 0xfff) | (entry & UINT64_C (0xffffffffffff)) << 12;
}

/* The region's length was checked, so once the number is below it nothing
 * below overflows.
 */
static bool
number_in_region (const struct sesparse *se, uint64_t number)
{
  return number < se->grains.length / SE_GRAIN_SECTORS;
}

static uint64_t
offset_of_number (const struct sesparse *se, uint64_t number)
{
  return sectors_to_bytes (se->grains.start + number * SE_GRAIN_SECTORS);
}

/* Whether the file holds all of GRAIN that belongs to the extent. */
static bool
inside_file (const struct grain_index *index, uint64_t grain, uint64_t offset)
{
  const uint64_t rest = index->extent->size - grain * index->grain_size;

  return range_inside (offset, min_u64 (index->grain_size, rest),
                       index->extent->media->size);
}

static enum run_state
sesparse_classify (const struct grain_index *index, uint64_t grain,
                   uint64_t entry, uint64_t *media_offset)
{
  const struct sesparse *se = sesparse_of (index);
  const uint64_t number = grain_number (entry);

  switch (entry >> 60) {
  case 1: /* The guest unmapped it and ESXi has not reclaimed it: the number
             is still there, but guests see zeros. */
  case 2:
    return RUN_ZERO;
  case 3:
    if (!number_in_region (se, number)
        || !inside_file (index, grain, offset_of_number (se, number)))
      return RUN_DAMAGED;
    *media_offset = offset_of_number (se, number);
    return RUN_DATA;
  default:
    return RUN_DAMAGED;
  }
}

static void
sesparse_explain (const struct grain_index *index, uint64_t grain,
                  uint64_t entry, struct vmdk_error *err)
{
  const struct sesparse *se = sesparse_of (index);
  const uint64_t number = grain_number (entry);

  if (entry >> 60 != 3)
    fail (err, ERR_DAMAGED,
          "entry of grain %" PRIu64 " is 0x%016" PRIx64 ", of no known kind",
          grain, entry);
  else if (!number_in_region (se, number))
    fail (err, ERR_DAMAGED,
          "entry of grain %" PRIu64 " is 0x%016" PRIx64 ", number %" PRIu64
          ", there is room for %" PRIu64,
          grain, entry, number, se->grains.length / SE_GRAIN_SECTORS);
  else
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 " at sector %" PRIu64
          " is cut off by the end of the file, byte %" PRIu64,
          grain, bytes_to_sectors (offset_of_number (se, number)),
          index->extent->media->size);
}

static const struct grain_rules sesparse_rules = {
  .locate = sesparse_locate,
  .classify = sesparse_classify,
  .explain = sesparse_explain,
};

static int
sesparse_map (struct extent *extent, uint64_t offset, uint64_t count,
              enum map_detail detail, struct run *run, struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  return grain_index_map (&se->index, offset, count, detail, run, err);
}

static int
sesparse_read (struct extent *extent, void *buf, size_t count, uint64_t offset,
               struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  (void) buf, (void) count;
  return grain_index_damage (&se->index, offset, err);
}

/* What else the file holds, and which of the grains are free, only ESXi can
 * say.
 */
static void
sesparse_layout (struct extent *extent, struct extent_layout *layout)
{
  struct sesparse *se = (struct sesparse *) extent;
  const uint64_t grains = sectors_to_bytes (se->grains.start);
  const uint64_t tables = sectors_to_bytes (se->tables.start);
  const uint64_t within = grains % extent->grain_size;

  *layout = (struct extent_layout){
    .index = &se->index,
    .capacity = se->capacity,
    .unclean = se->dirty,
    .unit = tables % extent->grain_size == within ? extent->grain_size
                                                  : SECTOR_SIZE,
    .base = within,
  };
}

static void
sesparse_close (struct extent *extent)
{
  struct sesparse *se = (struct sesparse *) extent;

  grain_index_destroy (&se->index);
}

static const struct extent_ops sesparse_ops = {
  .name = "seSparse",
  .layout = sesparse_layout,
  .map = sesparse_map,
  .read = sesparse_read,
  .close = sesparse_close,
};

/* -- Writing ------------------------------------------------------------ */

static int
sesparse_write (struct extent *extent, const void *buf, size_t count,
                uint64_t offset, const struct below *below,
                struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  (void) below;
  return grain_overwrite (&se->writer, buf, count, offset, err);
}

static int
sesparse_check (struct extent *extent, uint64_t count, uint64_t offset,
                unsigned flags, const struct below *below,
                struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  return grain_overwrite_check (&se->writer, count, offset, flags, below, err);
}

static int
sesparse_zero (struct extent *extent, uint64_t count, uint64_t offset,
               unsigned flags, const struct below *below,
               struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  return grain_overwrite_zero (&se->writer, count, offset, flags, below, err);
}

static int
sesparse_flush (struct extent *extent, struct vmdk_error *err)
{
  struct sesparse *se = (struct sesparse *) extent;

  return grain_overwriter_flush (&se->writer, err);
}

static const struct extent_ops sesparse_written_ops = {
  .name = "seSparse",
  .layout = sesparse_layout,
  .map = sesparse_map,
  .read = sesparse_read,
  .check = sesparse_check,
  .write = sesparse_write,
  .zero = sesparse_zero,
  .flush = sesparse_flush,
  .close = sesparse_close,
};

/* A request that spans several extents could not be refused as a whole. */
static int
check_writable (const struct extent_source *source, uint64_t replay_journal,
                struct vmdk_error *err)
{
  if (!source->rules->write_sesparse)
    return fail (err, ERR_READ_ONLY,
                 "seSparse extents cannot be written: write to an overlay=, "
                 "or pass write-sesparse=true to overwrite what is allocated");
  if (replay_journal != 0)
    return fail (err, ERR_READ_ONLY,
                 "seSparse extent cannot be written: it has a dirty journal "
                 "(replayJournal %" PRIu64 "): write to an overlay=",
                 replay_journal);
  if (!source->single)
    return fail (err, ERR_READ_ONLY,
                 "seSparse extent cannot be written: it is one of several: "
                 "write to an overlay=");
  return 0;
}

static int
start_writer (struct sesparse *se, const struct extent_source *source,
              uint64_t replay_journal, struct vmdk_error *err)
{
  if (check_writable (source, replay_journal, err) == -1
      || grain_overwriter_init (&se->writer, &se->index, err) == -1)
    return -1;
  se->extent.ops = &sesparse_written_ops;
  return 0;
}

/* -- Opening ------------------------------------------------------------ */

static void
header_decode (struct bytes *in, struct se_header *h)
{
  h->magic = bytes_take64 (in);
  h->version = bytes_take64 (in);
  h->capacity = bytes_take64 (in);
  h->grain_size = bytes_take64 (in);
  h->table_size = bytes_take64 (in);
  h->flags = bytes_take64 (in);
  for (size_t i = 0; i < 4; i++)
    h->reserved[i] = bytes_take64 (in);
  for (size_t i = 0; i < SE_NR_REGIONS; i++) {
    h->regions[i].start = bytes_take64 (in);
    h->regions[i].length = bytes_take64 (in);
  }
  bytes_take (in, h->pad, sizeof h->pad);
}

static void
volatile_header_decode (struct bytes *in, struct se_volatile_header *v)
{
  v->magic = bytes_take64 (in);
  v->free_table_number = bytes_take64 (in);
  v->next_transaction = bytes_take64 (in);
  v->replay_journal = bytes_take64 (in);
  bytes_take (in, v->pad, sizeof v->pad);
}

static bool
all_zero (const uint8_t *p, size_t count)
{
  while (count > 0 && *p == 0)
    p++, count--;
  return count == 0;
}

static int
header_check_fields (const struct se_header *h, struct vmdk_error *err)
{
  if (h->magic != SE_MAGIC)
    return fail (err, ERR_NOT_VMDK,
                 "seSparse header has magic 0x%016" PRIx64
                 ", not 0x%016" PRIx64,
                 h->magic, SE_MAGIC);
  if (h->version != SE_VERSION)
    return fail (err, ERR_UNSUPPORTED,
                 "seSparse header: version 0x%016" PRIx64
                 " is not supported, only 0x%016" PRIx64 " (2.1)",
                 h->version, SE_VERSION);
  if (h->grain_size != SE_GRAIN_SECTORS)
    return fail (err, ERR_UNSUPPORTED,
                 "seSparse header: grainSize %" PRIu64
                 " is not supported, only %u sectors",
                 h->grain_size, SE_GRAIN_SECTORS);
  if (h->table_size != SE_TABLE_SECTORS)
    return fail (err, ERR_UNSUPPORTED,
                 "seSparse header: grainTableSize %" PRIu64
                 " is not supported, only %u sectors",
                 h->table_size, SE_TABLE_SECTORS);
  if (h->flags != 0)
    return fail (err, ERR_UNSUPPORTED,
                 "seSparse header: flags 0x%" PRIx64
                 " are not supported, only 0",
                 h->flags);
  for (size_t i = 0; i < 4; i++)
    if (h->reserved[i] != 0)
      return fail (err, ERR_UNSUPPORTED,
                   "seSparse header: reserved%zu is 0x%" PRIx64 ", not 0",
                   i + 1, h->reserved[i]);
  if (!all_zero (h->pad, sizeof h->pad))
    return fail (err, ERR_UNSUPPORTED,
                 "seSparse header: bytes after the known fields are not 0");
  if (h->capacity == 0 || h->capacity > SE_MAX_SECTORS)
    return fail (err, ERR_CORRUPT,
                 "seSparse header: capacity %" PRIu64
                 " is not from 1 to %" PRIu64 " sectors",
                 h->capacity, SE_MAX_SECTORS);
  return 0;
}

/* One region, against the constant header and the file's SIZE. */
static int
region_check (const struct se_header *h, size_t i, uint64_t size,
              struct vmdk_error *err)
{
  const struct se_region *r = &h->regions[i];
  uint64_t end;

  if (add_overflow (r->start, r->length, &end) || end > MAX_SECTORS)
    return fail (err, ERR_CORRUPT,
                 "seSparse header: %s at sector %" PRIu64 " with %" PRIu64
                 " sectors ends beyond sector %" PRIu64,
                 region_names[i], r->start, r->length, MAX_SECTORS);
  if (r->start == 0 && r->length > 0)
    return fail (err, ERR_CORRUPT,
                 "seSparse header: %s at sector 0 with %" PRIu64
                 " sectors overlaps the header",
                 region_names[i], r->length);
  if (i != SE_GRAINS && r->length > 0 && sectors_to_bytes (end) > size)
    return fail (err, ERR_CORRUPT,
                 "seSparse header: %s at sector %" PRIu64 " with %" PRIu64
                 " sectors ends beyond the end of the file, byte %" PRIu64,
                 region_names[i], r->start, r->length, size);
  return 0;
}

/* invariant 1 */
static int
regions_check (const struct se_header *h, uint64_t size,
               struct vmdk_error *err)
{
  for (size_t i = 0; i < SE_NR_REGIONS; i++) {
    const struct se_region *a = &h->regions[i];

    if (region_check (h, i, size, err) == -1)
      return -1;
    for (size_t j = 0; j < i; j++) {
      const struct se_region *b = &h->regions[j];

      if (ranges_overlap (a->start, a->length, b->start, b->length))
        return fail (err, ERR_CORRUPT,
                     "seSparse header: %s at sector %" PRIu64
                     " and %s at sector %" PRIu64 " overlap",
                     region_names[j], b->start, region_names[i], a->start);
    }
  }
  return 0;
}

static uint64_t
header_nr_tables (const struct se_header *h)
{
  return div_round_up (h->capacity, SE_ENTRIES * SE_GRAIN_SECTORS);
}

/* The regions that a reader cannot do without. */
static int
header_check_lengths (const struct se_header *h, struct vmdk_error *err)
{
  const uint64_t per_sector = SECTOR_SIZE / SE_ENTRY_SIZE;
  const uint64_t nr_entries = h->regions[SE_DIRECTORY].length * per_sector;

  if (h->regions[SE_VOLATILE_HEADER].length == 0)
    return fail (err, ERR_CORRUPT,
                 "seSparse header: volatile header has 0 sectors");
  if (nr_entries < header_nr_tables (h))
    return fail (err, ERR_CORRUPT,
                 "seSparse header: grain directory holds %" PRIu64
                 " entries, capacity %" PRIu64 " needs %" PRIu64,
                 nr_entries, h->capacity, header_nr_tables (h));
  return 0;
}

static int
header_check_capacity (const struct se_header *h, const struct extent *extent,
                       struct vmdk_error *err)
{
  const uint64_t nr_sectors = bytes_to_sectors (extent->size);

  if (h->capacity < nr_sectors)
    return fail (err, ERR_CORRUPT,
                 "seSparse header: capacity %" PRIu64
                 " is less than the extent line's %" PRIu64 " sectors",
                 h->capacity, nr_sectors);
  if (h->capacity - nr_sectors >= SE_GRAIN_SECTORS)
    log_warning (&extent->rules->log,
                 "%s: seSparse header: capacity %" PRIu64
                 " is more than the extent line's %" PRIu64
                 " sectors: the line is used",
                 NAME (extent->name), h->capacity, nr_sectors);
  return 0;
}

static int
header_read (const struct extent *extent, struct se_header *h,
             struct vmdk_error *err)
{
  uint8_t buf[SE_HEADER_SIZE];
  struct bytes in = bytes_of (buf, sizeof buf);
  const uint64_t size = extent->media->size;

  if (size < sizeof buf)
    return fail (err, ERR_CORRUPT,
                 "file of %" PRIu64 " bytes is too small for a seSparse"
                 " header of %zu",
                 size, sizeof buf);
  if (media_pread (extent->media, buf, sizeof buf, 0, err) == -1)
    return -1;
  header_decode (&in, h);
  if (header_check_fields (h, err) == -1 || regions_check (h, size, err) == -1
      || header_check_lengths (h, err) == -1)
    return -1;
  return header_check_capacity (h, extent, err);
}

/* While the journal waits to be replayed the tables may say anything; how to
 * replay it is not known.
 */
static int
journal_check (const struct extent *extent, uint64_t replay_journal,
               struct vmdk_error *err)
{
  if (replay_journal == 0)
    return 0;
  if (!extent->rules->accept_journal)
    return fail (err, ERR_UNSUPPORTED,
                 "seSparse extent has a dirty journal (replayJournal %" PRIu64
                 "): open it once on ESXi or clone it there, or pass"
                 " accept-journal=true to read it as it is",
                 replay_journal);
  log_warning (&extent->rules->log,
               "%s: seSparse extent has a dirty journal (replayJournal"
               " %" PRIu64 "): what is read may be out of date or wrong",
               NAME (extent->name), replay_journal);
  return 0;
}

static int
volatile_header_read (const struct extent *extent, uint64_t sector,
                      struct se_volatile_header *v, struct vmdk_error *err)
{
  uint8_t buf[SE_HEADER_SIZE];
  struct bytes in = bytes_of (buf, sizeof buf);

  if (media_pread (extent->media, buf, sizeof buf, sectors_to_bytes (sector),
                   err)
      == -1)
    return -1;
  volatile_header_decode (&in, v);
  if (v->magic != SE_VOLATILE_MAGIC)
    return fail (err, ERR_CORRUPT,
                 "seSparse volatile header has magic 0x%016" PRIx64
                 ", not 0x%016" PRIx64,
                 v->magic, SE_VOLATILE_MAGIC);
  if (!all_zero (v->pad, sizeof v->pad))
    return fail (err, ERR_UNSUPPORTED,
                 "seSparse volatile header: bytes after the known fields"
                 " are not 0");
  return journal_check (extent, v->replay_journal, err);
}

static void
set_layout (struct sesparse *se, const struct se_header *h)
{
  se->tables = h->regions[SE_TABLES];
  se->grains = h->regions[SE_GRAINS];
  se->capacity = h->capacity;
  se->extent.grain_size = sectors_to_bytes (SE_GRAIN_SECTORS);
  se->extent.can_be_absent = true;
  se->index.extent = &se->extent;
  se->index.rules = &sesparse_rules;
  se->index.grain_size = se->extent.grain_size;
  se->index.entries_per_table = SE_ENTRIES;
  se->index.nr_tables = header_nr_tables (h);
  se->index.entry_size = SE_ENTRY_SIZE;
  se->index.directory_offset =
    sectors_to_bytes (h->regions[SE_DIRECTORY].start);
}

struct extent *
extent_sesparse_open (const struct extent_source *source,
                      struct vmdk_error *err)
{
  struct sesparse *se = extent_alloc (sizeof *se, &sesparse_ops, source, err);
  CLEANUP_EXTENT struct extent *extent = (struct extent *) se;
  struct se_header header;
  struct se_volatile_header state;

  if (!se || header_read (extent, &header, err) == -1
      || volatile_header_read (
           extent, header.regions[SE_VOLATILE_HEADER].start, &state, err)
           == -1)
    return NULL;
  set_layout (se, &header);
  se->dirty = state.replay_journal != 0;
  if (grain_index_init (&se->index, err) == -1
      || (source->writable
          && start_writer (se, source, state.replay_journal, err) == -1))
    return NULL;
  return steal_ptr (&extent);
}
