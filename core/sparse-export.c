/* SPDX-License-Identifier: BSD-3-Clause */

/* Writing the grains of a new extent in order.  See sparse-export.h.
 *
 * The tables of hosted extents are where the directories say, from the
 * start, twice.  Those of COWD extents get a place before the first grain of
 * theirs.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "sparse-export.h"
#include "sparse-header.h"

#define MAX_FILE_SECTORS (UINT64_C (1) << 32)

#define ENTRY_SIZE 4
#define HOSTED_ENTRIES 512
#define COWD_ENTRIES 4096

/* In a COWD header. */
#define COWD_GRAIN_AT 16
#define COWD_DIRECTORY_AT 20
#define COWD_NR_TABLES_AT 24
#define COWD_FREE_AT 28

#define NO_TABLE UINT64_MAX

struct sparse_export {
  struct media *media;
  size_t grain_size;  /* bytes */
  size_t nr_entries;  /* of a table */
  uint64_t nr_tables; /* of a COWD directory */

  /* Hosted: the sectors of the two first tables.  COWD: 0. */
  uint64_t tables, mirror;

  /* Hosted: NULL. */
  uint8_t *directory;
  uint64_t directory_sector;

  /* Of whoever places a piece. */
  uint64_t next;  /* sector */
  uint64_t table; /* the number of the one in entries, or NO_TABLE */
  uint8_t entries[COWD_ENTRIES * ENTRY_SIZE];
};

static size_t
table_size (const struct sparse_export *s)
{
  return s->nr_entries * ENTRY_SIZE;
}

static uint64_t
sectors_of (uint64_t bytes)
{
  return div_round_up (bytes, SECTOR_SIZE);
}

/* -- Making ------------------------------------------------------------- */

static void
set_hosted (struct sparse_export *s, const uint8_t *header)
{
  struct sparse_header h;
  uint64_t directory;

  sparse_header_decode (header, &h);
  directory = sectors_of (sparse_header_nr_tables (&h) * ENTRY_SIZE);
  s->grain_size = sectors_to_bytes (h.grain_size);
  s->nr_entries = HOSTED_ENTRIES;
  s->tables = h.gd_offset + directory;
  s->mirror = h.rgd_offset + directory;
  s->next = h.overhead;
}

static int
set_cowd (struct sparse_export *s, const uint8_t *header,
          struct vmdk_error *err)
{
  s->grain_size = sectors_to_bytes (le32_load (header + COWD_GRAIN_AT));
  s->nr_entries = COWD_ENTRIES;
  s->nr_tables = le32_load (header + COWD_NR_TABLES_AT);
  s->directory_sector = le32_load (header + COWD_DIRECTORY_AT);
  s->next = le32_load (header + COWD_FREE_AT);
  s->directory = calloc (sectors_of (s->nr_tables * ENTRY_SIZE), SECTOR_SIZE);
  return s->directory ? 0 : fail_memory (err);
}

struct sparse_export *
sparse_export_new (struct media *media, struct vmdk_error *err)
{
  CLEANUP_SPARSE_EXPORT struct sparse_export *s = calloc (1, sizeof *s);
  uint8_t header[SPARSE_HEADER_SIZE];

  if (!s) {
    fail_memory (err);
    return NULL;
  }
  s->media = media;
  s->table = NO_TABLE;
  if (media_pread (media, header, sizeof header, 0, err) == -1)
    return NULL;
  if (le32_load (header) == SPARSE_MAGIC)
    set_hosted (s, header);
  else if (set_cowd (s, header, err) == -1)
    return NULL;
  return steal_ptr (&s);
}

void
sparse_export_free (struct sparse_export *s)
{
  if (!s)
    return;
  free (s->directory);
  free (s);
}

/* -- Places ------------------------------------------------------------- */

static int
take_room (struct sparse_export *s, uint64_t nr_sectors, uint64_t *sector,
           struct vmdk_error *err)
{
  if (nr_sectors >= MAX_FILE_SECTORS - s->next) {
    fail (err, ERR_SYSTEM,
          "the extent has reached the %" PRIu64
          " bytes that its tables can name; split and flat types can hold "
          "more",
          sectors_to_bytes (MAX_FILE_SECTORS));
    err->errnum = EFBIG;
    return -1;
  }
  *sector = s->next;
  s->next += nr_sectors;
  return 0;
}

static int
write_table (struct sparse_export *s, uint64_t sector, struct vmdk_error *err)
{
  return media_pwrite (s->media, s->entries, table_size (s),
                       sectors_to_bytes (sector), err);
}

/* The mirror first, as it is everywhere else. */
static int
end_table (struct sparse_export *s, struct vmdk_error *err)
{
  const uint64_t table = s->table;
  const uint64_t at = table * sectors_of (table_size (s));

  if (table == NO_TABLE)
    return 0;
  s->table = NO_TABLE;
  if (s->directory)
    return write_table (s, le32_load (s->directory + table * ENTRY_SIZE), err);
  if (write_table (s, s->mirror + at, err) == -1)
    return -1;
  return write_table (s, s->tables + at, err);
}

static int
begin_table (struct sparse_export *s, uint64_t table, struct vmdk_error *err)
{
  if (s->table == table)
    return 0;
  if (end_table (s, err) == -1)
    return -1;
  s->table = table;
  memset (s->entries, 0, table_size (s));
  return 0;
}

/* Give the tables of PIECE their places. */
static int
place_tables (struct sparse_export *s, const struct copy_piece *piece,
              struct vmdk_error *err)
{
  const uint64_t first = piece->offset / s->grain_size;
  const size_t nr = div_round_up (piece->count, s->grain_size);
  uint64_t sector;

  for (size_t i = 0; s->directory && i < nr; i++) {
    uint8_t *entry = s->directory + (first + i) / s->nr_entries * ENTRY_SIZE;

    if (piece->lengths[i] == 0 || le32_load (entry) != 0)
      continue;
    if (take_room (s, sectors_of (table_size (s)), &sector, err) == -1)
      return -1;
    le32_store (entry, (uint32_t) sector);
  }
  return 0;
}

static int
place_piece (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  struct sparse_export *s = opaque;
  const uint64_t first = piece->offset / s->grain_size;
  const size_t nr = div_round_up (piece->count, s->grain_size);
  uint64_t sector;

  if (place_tables (s, piece, err) == -1)
    return -1;
  piece->where = sectors_to_bytes (s->next);
  for (size_t i = 0; i < nr; i++) {
    if (piece->lengths[i] == 0)
      continue;
    if (begin_table (s, (first + i) / s->nr_entries, err) == -1
        || take_room (s, bytes_to_sectors (s->grain_size), &sector, err) == -1)
      return -1;
    le32_store (s->entries + (first + i) % s->nr_entries * ENTRY_SIZE,
                (uint32_t) sector);
  }
  return 0;
}

/* -- Grains ------------------------------------------------------------- */

static int
look_for_zeros (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  struct sparse_export *s = opaque;

  (void) err;
  copy_find_zeros (piece, s->grain_size);
  return 0;
}

/* Those that follow each other in the disk are written at once. */
static int
write_piece (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  struct sparse_export *s = opaque;
  const size_t nr = div_round_up (piece->count, s->grain_size);
  uint64_t where = piece->where;

  for (size_t i = 0, end; i < nr; i = end + 1) {
    for (end = i; end < nr && piece->lengths[end] > 0; end++)
      ;
    if (end == i)
      continue;
    if (media_pwrite (s->media, piece->bytes + i * s->grain_size,
                      (end - i) * s->grain_size, where, err)
        == -1)
      return -1;
    where += (end - i) * s->grain_size;
  }
  media_write_back (s->media, piece->where, where - piece->where);
  return 0;
}

struct copy_target
sparse_export_target (struct sparse_export *s)
{
  return (struct copy_target){
    .opaque = s,
    .unit = s->grain_size,
    .fill = look_for_zeros,
    .place = place_piece,
    .store = write_piece,
  };
}

/* -- The end ------------------------------------------------------------ */

static int
finish_cowd (struct sparse_export *s, struct vmdk_error *err)
{
  uint8_t free_sector[4];

  le32_store (free_sector, (uint32_t) s->next);
  if (media_pwrite (s->media, s->directory,
                    sectors_to_bytes (sectors_of (s->nr_tables * ENTRY_SIZE)),
                    sectors_to_bytes (s->directory_sector), err)
      == -1)
    return -1;
  return media_pwrite (s->media, free_sector, sizeof free_sector, COWD_FREE_AT,
                       err);
}

int
sparse_export_finish (struct sparse_export *s, struct vmdk_error *err)
{
  if (end_table (s, err) == -1)
    return -1;
  return s->directory ? finish_cowd (s, err) : 0;
}
