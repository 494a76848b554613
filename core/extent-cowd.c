/* SPDX-License-Identifier: BSD-3-Clause */

/* COWD extents (VMFSSPARSE): the redo logs of ESX and ESXi, "-delta.vmdk".
 *
 *   sector 0      header, 2048 bytes of which 32 matter
 *   gdOffset (4)  grain directory: one u32 for each table, 0 = no table
 *   then, as the guest wrote, tables and grains among each other
 *
 * A table is 4096 u32 sector numbers, 32 sectors of the file.  A grain is
 * usually one sector.  There is no second copy of anything, no entry that
 * means zeros, and no alignment beyond a sector.
 *
 * (1) Nothing but the header lies before the end of the directory, so an
 *     entry below that is damage, also the 1 which means zeros elsewhere.
 * (2) Sector numbers are 32 bits: sums and products of two of them fit in
 *     64 bits.
 *
 * The names and generations in the header are not looked at: the text
 * descriptor says who the parent is.
 *
 * Writing appends grains and tables behind all that is there, whatever
 * freeSector says; freeSector is brought up to date when the extent is
 * closed.
 */

#include <config.h>

#include <inttypes.h>

#include "bytes.h"
#include "checked.h"
#include "extent.h"
#include "grain-table.h"
#include "grain-write.h"
#include "table-check.h"

#define COWD_MAGIC UINT32_C (0x44574f43) /* "COWD" */
#define COWD_HEADER_SIZE 2048
#define COWD_HEADER_SECTORS (COWD_HEADER_SIZE / SECTOR_SIZE)
#define COWD_MAX_GRAIN 2048
#define COWD_ENTRIES 4096
#define COWD_ENTRY_SIZE 4
#define COWD_TABLE_BYTES (COWD_ENTRIES * COWD_ENTRY_SIZE)
#define COWD_FREE_SECTOR_AT 28
#define COWD_UNCLEAN_AT 1648

/* Host byte order, without what only an older ESX cared for. */
struct cowd_header {
  uint32_t magic;
  uint32_t version;
  uint32_t flags;
  uint32_t nr_sectors;
  uint32_t grain_size; /* sectors */
  uint32_t gd_offset;  /* sector */
  uint32_t nr_gd_entries;
  uint32_t free_sector;
  uint32_t unclean_shutdown;
};

struct cowd {
  struct extent extent;
  struct grain_index index;
  struct grain_writer writer; /* if it is writable */
  uint64_t gd_end;            /* sector */
  struct cowd_header header;  /* as it was at open */
};

static const struct cowd *
cowd_of (const struct grain_index *index)
{
  return (const struct cowd *) index->extent;
}

static int
cowd_locate (const struct grain_index *index, uint64_t table, uint64_t entry,
             uint64_t *offset, struct vmdk_error *err)
{
  const struct cowd *cowd = cowd_of (index);
  const uint64_t size = cowd->extent.media->size;

  if (entry < cowd->gd_end)
    return fail (
      err, ERR_DAMAGED,
      "grain table %" PRIu64 " at sector %" PRIu64
      " lies before the end of the grain directory, sector %" PRIu64,
      table, entry, cowd->gd_end);
  *offset = sectors_to_bytes (entry); /* invariant 2 */
  if (!range_inside (*offset, COWD_TABLE_BYTES, size))
    return fail (err, ERR_DAMAGED,
                 "grain table %" PRIu64 " at sector %" PRIu64
                 " is cut off by the end of the file, byte %" PRIu64,
                 table, entry, size);
  return 0;
}

/* The bytes of GRAIN that belong to the extent: all but for the last. */
static uint64_t
needed_bytes (const struct grain_index *index, uint64_t grain)
{
  return min_u64 (index->grain_size,
                  index->extent->size - grain * index->grain_size);
}

static enum run_state
cowd_classify (const struct grain_index *index, uint64_t grain, uint64_t entry,
               uint64_t *media_offset)
{
  const struct cowd *cowd = cowd_of (index);
  const uint64_t offset = sectors_to_bytes (entry); /* invariant 2 */
  const uint64_t needed = needed_bytes (index, grain);

  if (entry < cowd->gd_end
      || !range_inside (offset, needed, cowd->extent.media->size)
      || grain_index_hits_table (index, offset, needed))
    return RUN_DAMAGED;
  *media_offset = offset;
  return RUN_DATA;
}

static void
cowd_explain (const struct grain_index *index, uint64_t grain, uint64_t entry,
              struct vmdk_error *err)
{
  const struct cowd *cowd = cowd_of (index);
  const uint64_t size = cowd->extent.media->size;
  const uint64_t needed = needed_bytes (index, grain);

  if (entry < cowd->gd_end)
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 " at sector %" PRIu64
          " lies before the end of the grain directory, sector %" PRIu64,
          grain, entry, cowd->gd_end);
  else if (!range_inside (sectors_to_bytes (entry), needed, size))
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 " at sector %" PRIu64
          " is cut off by the end of the file, byte %" PRIu64,
          grain, entry, size);
  else
    fail (err, ERR_DAMAGED,
          "grain %" PRIu64 " at sector %" PRIu64 " lies in a grain table",
          grain, entry);
}

static uint64_t
cowd_encode (const struct grain_index *index, uint64_t media_offset)
{
  (void) index;
  return bytes_to_sectors (media_offset);
}

static void
cowd_name_table (const struct grain_index *index, uint8_t *bytes,
                 uint64_t offset)
{
  (void) index;
  le32_store (bytes, (uint32_t) bytes_to_sectors (offset));
}

static const struct grain_rules cowd_rules = {
  .locate = cowd_locate,
  .classify = cowd_classify,
  .explain = cowd_explain,
  .encode = cowd_encode,
  .name_table = cowd_name_table,
};

static int
cowd_map (struct extent *extent, uint64_t offset, uint64_t count,
          enum map_detail detail, struct run *run, struct vmdk_error *err)
{
  struct cowd *cowd = (struct cowd *) extent;

  return grain_index_map (&cowd->index, offset, count, detail, run, err);
}

static int
cowd_read (struct extent *extent, void *buf, size_t count, uint64_t offset,
           struct vmdk_error *err)
{
  struct cowd *cowd = (struct cowd *) extent;

  (void) buf, (void) count;
  return grain_index_damage (&cowd->index, offset, err);
}

/* Behind freeSector is room that ESX obtained ahead. */
static void
cowd_layout (struct extent *extent, struct extent_layout *layout)
{
  struct cowd *cowd = (struct cowd *) extent;
  const uint64_t start = sectors_to_bytes (cowd->gd_end);

  *layout = (struct extent_layout){
    .index = &cowd->index,
    .capacity = cowd->header.nr_sectors,
    .unclean = cowd->header.unclean_shutdown,
    .unclean_at = COWD_UNCLEAN_AT,
    .unclean_size = 4,
    .free_sector_at = COWD_FREE_SECTOR_AT,
    .free_sector = cowd->header.free_sector,
    .start = start,
    .end = max_u64 (start, min_u64 (extent->media->size,
                                    sectors_to_bytes (
                                      cowd->header.free_sector))),
    .unit = SECTOR_SIZE,
  };
  extent_layout_add (layout, "the header", 0, COWD_HEADER_SIZE);
  extent_layout_add (layout, "the grain directory",
                     cowd->index.directory_offset,
                     start - cowd->index.directory_offset);
}

static void
cowd_close (struct extent *extent)
{
  struct cowd *cowd = (struct cowd *) extent;

  grain_writer_destroy (&cowd->writer);
  grain_index_destroy (&cowd->index);
}

/* -- Writing ------------------------------------------------------------ */

/* Sector numbers are 32 bits. */
#define MAX_FILE_SIZE (SECTOR_SIZE * (UINT64_C (1) << 32))

/* Change one field of the header; all others stay as they are. */
static int
header_write (struct extent *extent, size_t at, uint32_t value,
              struct vmdk_error *err)
{
  const size_t start = at / SECTOR_SIZE * SECTOR_SIZE;
  uint8_t buf[SECTOR_SIZE];

  if (media_pread (extent->media, buf, sizeof buf, start, err) == -1)
    return -1;
  le32_store (buf + (at - start), value);
  if (media_pwrite (extent->media, buf, sizeof buf, start, err) == -1)
    return -1;
  return media_flush (extent->media, err);
}

static int
cowd_begin (struct extent *extent, struct vmdk_error *err)
{
  return header_write (extent, COWD_UNCLEAN_AT, 1, err);
}

static int
cowd_finished (struct extent *extent, struct vmdk_error *err)
{
  const uint64_t end = bytes_to_sectors (extent->media->size);

  /* One after the other: clean, and an end that is not there, would look as
   * if the file had been cut off.
   */
  if (header_write (extent, COWD_FREE_SECTOR_AT,
                    (uint32_t) min_u64 (end, UINT32_MAX), err)
      == -1)
    return -1;
  return header_write (extent, COWD_UNCLEAN_AT, 0, err);
}

static const struct grain_writer_rules cowd_writer = {
  .begin = cowd_begin,
  .finish = cowd_finished,
};

static int
start_writer (struct cowd *cowd, const struct cowd_header *h,
              uint64_t disk_offset, struct vmdk_error *err)
{
  struct media *media = cowd->extent.media;
  const bool is_cut = sectors_to_bytes (h->free_sector) > media->size;
  const uint64_t least = sectors_to_bytes (
    is_cut ? cowd->gd_end : max_u64 (cowd->gd_end, h->free_sector));
  uint64_t next = max_u64 (media->size, least);

  /* Unclean, it may be ours, killed after the file was shortened; whether
   * anything is missing is seen below.
   */
  if (is_cut && !h->unclean_shutdown)
    return fail (err, ERR_READ_ONLY,
                 "cannot be written: COWD header: freeSector %" PRIu32
                 " is beyond the end of the file, byte %" PRIu64,
                 h->free_sector, media->size);
  if ((h->unclean_shutdown
         ? table_check_recover (&cowd->index, least, &next, err)
         : table_check_look (&cowd->index, disk_offset, err))
      == -1)
    return -1;
  if (grain_writer_init (&cowd->writer, &cowd->index, &cowd_writer, next,
                         MAX_FILE_SIZE, err)
      == -1)
    return -1;
  /* It is clean again once it has been closed. */
  cowd->writer.state.begun = h->unclean_shutdown;
  return 0;
}

static const struct extent_ops cowd_ops = {
  .name = "COWD",
  .layout = cowd_layout,
  .map = cowd_map,
  .read = cowd_read,
  GRAIN_EXTENT_WRITE_OPS,
  .close = cowd_close,
};

static void
header_decode (struct bytes *in, struct cowd_header *h)
{
  h->magic = bytes_take32 (in);
  h->version = bytes_take32 (in);
  h->flags = bytes_take32 (in);
  h->nr_sectors = bytes_take32 (in);
  h->grain_size = bytes_take32 (in);
  h->gd_offset = bytes_take32 (in);
  h->nr_gd_entries = bytes_take32 (in);
  h->free_sector = bytes_take32 (in);
  bytes_skip (in, 1648 - 32); /* names and generations */
  h->unclean_shutdown = bytes_take32 (in);
}

static int
header_read (struct media *media, struct cowd_header *h,
             struct vmdk_error *err)
{
  uint8_t buf[COWD_HEADER_SIZE];
  struct bytes in = bytes_of (buf, sizeof buf);

  if (media->size < sizeof buf)
    return fail (err, ERR_CORRUPT,
                 "file of %" PRIu64 " bytes is too small for a COWD header"
                 " of %zu",
                 media->size, sizeof buf);
  if (media_pread (media, buf, sizeof buf, 0, err) == -1)
    return -1;
  header_decode (&in, h);
  return 0;
}

/* What the header says of itself. */
static int
header_check_fields (const struct cowd_header *h, struct vmdk_error *err)
{
  if (h->magic != COWD_MAGIC)
    return fail (err, ERR_NOT_VMDK,
                 "COWD header has magic 0x%08" PRIx32 ", not 0x%08" PRIx32,
                 h->magic, COWD_MAGIC);
  if (h->version != 1)
    return fail (err, ERR_UNSUPPORTED,
                 "COWD header: version %" PRIu32 " is not supported, only 1",
                 h->version);
  if (h->flags < 1 || h->flags > 3)
    return fail (err, ERR_UNSUPPORTED,
                 "COWD header: flags 0x%" PRIx32 " are not 1 to 3", h->flags);
  if (h->nr_sectors == 0)
    return fail (err, ERR_CORRUPT, "COWD header: numSectors is 0");
  if (!is_power_of_2 (h->grain_size) || h->grain_size > COWD_MAX_GRAIN)
    return fail (err, ERR_CORRUPT,
                 "COWD header: grainSize %" PRIu32
                 " is not a power of two from 1 to %u sectors",
                 h->grain_size, COWD_MAX_GRAIN);
  if (h->gd_offset < COWD_HEADER_SECTORS)
    return fail (err, ERR_CORRUPT,
                 "COWD header: gdOffset %" PRIu32
                 " lies in the header, which ends at sector %u",
                 h->gd_offset, COWD_HEADER_SECTORS);
  return 0;
}

static uint64_t
header_nr_tables (const struct cowd_header *h)
{
  return div_round_up (h->nr_sectors, (uint64_t) COWD_ENTRIES * h->grain_size);
}

/* The directory, against the capacity and the file's SIZE. */
static int
header_check_directory (const struct cowd_header *h, uint64_t size,
                        struct vmdk_error *err)
{
  /* Some spare entries are allowed for, a wild number is not: a directory
   * that is too long would declare good tables to lie inside it.
   */
  const uint64_t least = header_nr_tables (h);
  const uint64_t most = max_u64 (2 * least, div_round_up (least, 128) * 128);
  const uint64_t offset = sectors_to_bytes (h->gd_offset);

  if (h->nr_gd_entries < least || h->nr_gd_entries > most)
    return fail (err, ERR_CORRUPT,
                 "COWD header: numGDEntries %" PRIu32 " is not from %" PRIu64
                 " to %" PRIu64 " for numSectors %" PRIu32,
                 h->nr_gd_entries, least, most, h->nr_sectors);
  if (!range_inside (offset, (uint64_t) COWD_ENTRY_SIZE * h->nr_gd_entries,
                     size))
    return fail (err, ERR_CORRUPT,
                 "COWD header: gdOffset %" PRIu32 " with %" PRIu32
                 " entries ends beyond the end of the file, byte %" PRIu64,
                 h->gd_offset, h->nr_gd_entries, size);
  return 0;
}

/* The header's capacity against the descriptor's. */
static int
header_check_capacity (const struct cowd_header *h,
                       const struct extent *extent, struct vmdk_error *err)
{
  const uint64_t nr_sectors = bytes_to_sectors (extent->size);

  if (h->nr_sectors < nr_sectors)
    return fail (err, ERR_CORRUPT,
                 "COWD header: numSectors %" PRIu32
                 " is less than the extent line's %" PRIu64 " sectors",
                 h->nr_sectors, nr_sectors);
  if (h->nr_sectors - nr_sectors >= h->grain_size)
    log_warning (&extent->rules->log,
                 "%s: COWD header: numSectors %" PRIu32
                 " is more than the extent line's %" PRIu64
                 " sectors: the line is used",
                 NAME (extent->name), h->nr_sectors, nr_sectors);
  return 0;
}

static void
warn_of_neglect (const struct cowd_header *h, const struct extent *extent)
{
  if (h->unclean_shutdown)
    log_warning (&extent->rules->log, "%s: COWD extent was not closed cleanly",
                 NAME (extent->name));
  if (sectors_to_bytes (h->free_sector) > extent->media->size)
    log_warning (&extent->rules->log,
                 "%s: COWD header: freeSector %" PRIu32
                 " is beyond the end of the file, byte %" PRIu64
                 ": the file may have been cut off",
                 NAME (extent->name), h->free_sector, extent->media->size);
}

static void
set_layout (struct cowd *cowd, const struct cowd_header *h)
{
  const uint64_t per_sector = SECTOR_SIZE / COWD_ENTRY_SIZE;

  cowd->header = *h;
  cowd->gd_end = h->gd_offset + div_round_up (h->nr_gd_entries, per_sector);
  cowd->extent.grain_size = sectors_to_bytes (h->grain_size);
  cowd->extent.can_be_absent = true;
  cowd->extent.index = &cowd->index;
  cowd->index.extent = &cowd->extent;
  cowd->index.rules = &cowd_rules;
  cowd->index.grain_size = cowd->extent.grain_size;
  cowd->index.entries_per_table = COWD_ENTRIES;
  cowd->index.nr_tables = header_nr_tables (h);
  cowd->index.entry_size = COWD_ENTRY_SIZE;
  cowd->index.directory_offset = sectors_to_bytes (h->gd_offset);
  cowd->index.metadata_end = sectors_to_bytes (cowd->gd_end);
}

struct extent *
extent_cowd_open (const struct extent_source *source, struct vmdk_error *err)
{
  struct cowd *cowd = extent_alloc (sizeof *cowd, &cowd_ops, source, err);
  CLEANUP_EXTENT struct extent *extent = (struct extent *) cowd;
  struct cowd_header header;

  if (!cowd || header_read (extent->media, &header, err) == -1
      || header_check_fields (&header, err) == -1
      || header_check_directory (&header, extent->media->size, err) == -1
      || header_check_capacity (&header, extent, err) == -1)
    return NULL;
  warn_of_neglect (&header, extent);
  set_layout (cowd, &header);
  if (grain_index_init (&cowd->index, err) == -1)
    return NULL;
  if (source->writable
      && start_writer (cowd, &header, source->disk_offset, err) == -1)
    return NULL;
  return steal_ptr (&extent);
}
