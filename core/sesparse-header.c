/* SPDX-License-Identifier: BSD-3-Clause */

/* The headers of seSparse extents.  See sesparse-header.h. */

#include <config.h>

#include <inttypes.h>

#include "bytes.h"
#include "checked.h"
#include "sesparse-header.h"

#define SE_MAGIC UINT64_C (0x00000000cafebabe)
#define SE_VERSION UINT64_C (0x0000000200000001)
#define SE_VOLATILE_MAGIC UINT64_C (0x00000000cafecafe)
#define SE_HEADER_SIZE 512

/* 64 TiB; vSphere's limit is 62. */
#define SE_MAX_SECTORS (UINT64_C (1) << 37)

static const char *const region_names[SE_NR_REGIONS] = {
  "volatile header", "journal header", "journal",  "grain directory",
  "grain tables",    "free bitmap",    "back map", "grains",
};

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

uint64_t
se_header_nr_tables (const struct se_header *h)
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
  if (nr_entries < se_header_nr_tables (h))
    return fail (err, ERR_CORRUPT,
                 "seSparse header: grain directory holds %" PRIu64
                 " entries, capacity %" PRIu64 " needs %" PRIu64,
                 nr_entries, h->capacity, se_header_nr_tables (h));
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

int
se_header_read (const struct extent *extent, struct se_header *h,
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

int
se_volatile_header_read (const struct extent *extent,
                         const struct se_header *h,
                         struct se_volatile_header *v, struct vmdk_error *err)
{
  const uint64_t sector = h->regions[SE_VOLATILE_HEADER].start;
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
