/* SPDX-License-Identifier: BSD-3-Clause */

/* The layouts of new extents.
 *
 * Hosted sparse, as VMware and qemu lay it out, sector by sector:
 *
 *   0            header
 *   1 .. 20      descriptor; absent in the pieces of a split disk
 *   R            redundant directory of G sectors, its tables, 4 each
 *   P            directory of G sectors, its tables
 *   overHead     first grain, at the next multiple of the grain size
 *
 * Every table has its place from the start, since VMware's products cannot
 * use an image without.  They are zeros, so only the directories are
 * written; the tables are holes that cost nothing until they are used.
 *
 * The header is written last: a file that was not finished is no VMDK.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "create-parts.h"
#include "sparse-header.h"
#include "stream-marker.h"

#define FILE_MAX_SECTORS (UINT64_C (1) << 32)

#define ENTRY_SIZE 4
#define TABLE_ENTRIES 512
#define TABLE_SECTORS (TABLE_ENTRIES * ENTRY_SIZE / SECTOR_SIZE)

#define COWD_MAGIC UINT32_C (0x44574f43) /* "COWD" */
#define COWD_HEADER_SIZE 2048
#define COWD_HEADER_SECTORS (COWD_HEADER_SIZE / SECTOR_SIZE)
#define COWD_TABLE_ENTRIES 4096
#define COWD_TABLE_SECTORS (COWD_TABLE_ENTRIES * ENTRY_SIZE / SECTOR_SIZE)

/* Readers (qemu's, ours) take no directory of more than 2^25 entries. */
#define STREAM_MAX_TABLES (UINT64_C (1) << 25)

static uint64_t
directory_sectors (uint64_t nr_tables)
{
  return div_round_up (nr_tables * ENTRY_SIZE, SECTOR_SIZE);
}

static uint64_t
nr_tables_for (uint64_t nr_sectors, uint64_t grain, uint64_t entries)
{
  return div_round_up (div_round_up (nr_sectors, grain), entries);
}

static uint64_t
round_to_grain (uint64_t nr_sectors, uint64_t grain)
{
  return div_round_up (nr_sectors, grain) * grain;
}

/* Sectors. */
struct sparse_layout {
  uint64_t nr_tables, directory;
  uint64_t rgd, gd; /* where they start */
  uint64_t overhead;
};

static struct sparse_layout
sparse_layout (uint64_t nr_sectors, uint64_t grain, bool embedded)
{
  const uint64_t n = nr_tables_for (nr_sectors, grain, TABLE_ENTRIES);
  struct sparse_layout l = { .nr_tables = n,
                             .directory = directory_sectors (n) };
  const uint64_t copy = l.directory + n * TABLE_SECTORS;

  l.rgd = 1 + (embedded ? DESCRIPTOR_AREA_SECTORS : 0);
  l.gd = l.rgd + copy;
  l.overhead = round_to_grain (l.gd + copy, grain);
  return l;
}

/* The sectors of a file that has every grain. */
static uint64_t
full_file (enum layout layout, uint64_t nr_sectors, uint64_t grain,
           bool embedded)
{
  uint64_t before;

  if (layout == LAYOUT_SPARSE)
    before = sparse_layout (nr_sectors, grain, embedded).overhead;
  else {
    const uint64_t n = nr_tables_for (nr_sectors, grain, COWD_TABLE_ENTRIES);

    before =
      COWD_HEADER_SECTORS + directory_sectors (n) + n * COWD_TABLE_SECTORS;
  }
  return before + round_to_grain (nr_sectors, grain);
}

uint64_t
layout_max_sectors (enum layout layout, uint64_t grain, bool embedded)
{
  uint64_t fits = 0, exceeds = FILE_MAX_SECTORS;

  if (layout == LAYOUT_HOLE || layout == LAYOUT_RESERVED)
    return MAX_SECTORS;
  if (layout == LAYOUT_STREAM) /* grains shrink: only the tables are bounded */
    return STREAM_MAX_TABLES * TABLE_ENTRIES * grain;
  while (exceeds - fits > 1) {
    const uint64_t middle = fits + (exceeds - fits) / 2;

    if (full_file (layout, middle, grain, embedded) <= FILE_MAX_SECTORS)
      fits = middle;
    else
      exceeds = middle;
  }
  return fits;
}

static int
write_sectors (struct media *media, const void *buf, size_t count,
               uint64_t sector, struct vmdk_error *err)
{
  return media_pwrite (media, buf, count, sectors_to_bytes (sector), err);
}

/* A directory at SECTOR whose tables follow it. */
static int
write_directory (struct media *media, const struct sparse_layout *l,
                 uint64_t sector, struct vmdk_error *err)
{
  const size_t size = sectors_to_bytes (l->directory);
  CLEANUP_FREE uint8_t *entries = calloc (1, size);

  if (!entries)
    return fail_memory (err);
  for (uint64_t i = 0; i < l->nr_tables; i++)
    le32_store (entries + i * ENTRY_SIZE,
                (uint32_t) (sector + l->directory + i * TABLE_SECTORS));
  return write_sectors (media, entries, size, sector, err);
}

static struct sparse_header
new_header (const struct new_extent *e)
{
  struct sparse_header h = {
    .magic = SPARSE_MAGIC,
    .version = 1,
    .flags = SPARSE_NEWLINE_TEST,
    .capacity = e->nr_sectors,
    .grain_size = e->grain,
    .nr_gtes_per_gt = TABLE_ENTRIES,
    .newline_test = { '\n', ' ', '\r', '\n' },
  };

  if (e->text) {
    h.descriptor_offset = 1;
    h.descriptor_size = DESCRIPTOR_AREA_SECTORS;
  }
  return h;
}

static int
write_header (struct media *media, const struct sparse_header *h,
              uint64_t sector, struct vmdk_error *err)
{
  uint8_t buf[SPARSE_HEADER_SIZE];

  sparse_header_encode (h, buf);
  return write_sectors (media, buf, sizeof buf, sector, err);
}

static int
write_text (struct media *media, const struct new_extent *e,
            struct vmdk_error *err)
{
  return e->text ? write_sectors (media, e->text, e->len, 1, err) : 0;
}

static int
fill_sparse (struct media *media, const struct new_extent *e,
             struct vmdk_error *err)
{
  const struct sparse_layout l =
    sparse_layout (e->nr_sectors, e->grain, e->text);
  struct sparse_header h = new_header (e);

  h.flags |= SPARSE_REDUNDANT_TABLES;
  h.rgd_offset = l.rgd;
  h.gd_offset = l.gd;
  h.overhead = l.overhead;
  if (media_truncate (media, sectors_to_bytes (l.overhead), err) == -1
      || write_directory (media, &l, l.rgd, err) == -1
      || write_directory (media, &l, l.gd, err) == -1
      || write_text (media, e, err) == -1)
    return -1;
  return write_header (media, &h, 0, err);
}

/* A whole stream without a grain: a directory of zeros, footer, end.  It has
 * room in front for the directory while it is written (stream-append.h).
 */
static int
fill_stream (struct media *media, const struct new_extent *e,
             struct vmdk_error *err)
{
  const uint64_t directory = stream_directory_sectors (
    nr_tables_for (e->nr_sectors, e->grain, STREAM_TABLE_ENTRIES));
  const struct sparse_header h = stream_header_make (
    e->nr_sectors, e->grain, e->text ? DESCRIPTOR_AREA_SECTORS : 0, directory);
  const uint64_t gd = h.overhead + 1, end = gd + directory;
  uint8_t marker[SECTOR_SIZE], last[STREAM_END_SIZE];

  stream_marker_encode (MARKER_GRAIN_DIRECTORY, directory, marker);
  stream_end_encode (&h, gd, last);
  if (media_truncate (media, sectors_to_bytes (end) + sizeof last, err) == -1
      || write_sectors (media, marker, sizeof marker, gd - 1, err) == -1
      || write_sectors (media, last, sizeof last, end, err) == -1
      || write_text (media, e, err) == -1)
    return -1;
  return write_header (media, &h, 0, err);
}

static int
fill_cowd (struct media *media, const struct new_extent *e,
           struct vmdk_error *err)
{
  const uint64_t nr_tables =
    nr_tables_for (e->nr_sectors, e->grain, COWD_TABLE_ENTRIES);
  const uint64_t end = COWD_HEADER_SECTORS + directory_sectors (nr_tables);
  uint8_t buf[COWD_HEADER_SIZE] = { 0 };
  struct bytes b = bytes_of (buf, sizeof buf);

  bytes_put32 (&b, COWD_MAGIC);
  bytes_put32 (&b, 1); /* version */
  bytes_put32 (&b, 3); /* flags, of unknown meaning, always these */
  bytes_put32 (&b, (uint32_t) e->nr_sectors);
  bytes_put32 (&b, (uint32_t) e->grain);
  bytes_put32 (&b, COWD_HEADER_SECTORS);
  bytes_put32 (&b, (uint32_t) nr_tables);
  bytes_put32 (&b, (uint32_t) end); /* first free sector */
  if (e->geometry) {                /* a child has its parent's name here */
    bytes_put32 (&b, (uint32_t) e->geometry->cylinders);
    bytes_put32 (&b, e->geometry->heads);
    bytes_put32 (&b, e->geometry->sectors);
  }
  if (media_truncate (media, sectors_to_bytes (end), err) == -1)
    return -1;
  return write_sectors (media, buf, sizeof buf, 0, err);
}

static int
fill_flat (struct media *media, const struct new_extent *e,
           struct vmdk_error *err)
{
  const uint64_t size = sectors_to_bytes (e->nr_sectors);

  if (media_truncate (media, size, err) == -1)
    return -1;
  return e->layout == LAYOUT_RESERVED ? media_reserve (media, 0, size, err)
                                      : 0;
}

int
new_extent_fill (struct media *media, const struct new_extent *extent,
                 struct vmdk_error *err)
{
  switch (extent->layout) {
  case LAYOUT_SPARSE:
    return fill_sparse (media, extent, err);
  case LAYOUT_STREAM:
    return fill_stream (media, extent, err);
  case LAYOUT_COWD:
    return fill_cowd (media, extent, err);
  case LAYOUT_HOLE:
  case LAYOUT_RESERVED:
    return fill_flat (media, extent, err);
  }
  return fail (err, ERR_ARGUMENT, "unknown layout %d", extent->layout);
}
