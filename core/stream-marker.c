/* SPDX-License-Identifier: BSD-3-Clause */

/* The bytes of a stream's blocks.  See stream-marker.h. */

#include <config.h>

#include <string.h>

#include "checked.h"
#include "stream-marker.h"

/* Where blocks begin; always 128 in the field, unless more is in front. */
#define USUAL_OVERHEAD 128

struct sparse_header
stream_header_make (uint64_t capacity, uint64_t grain_size,
                    uint64_t descriptor_size, uint64_t front)
{
  const uint64_t used = 1 + descriptor_size + front;

  return (struct sparse_header){
    .magic = SPARSE_MAGIC,
    .version = 3,
    .flags = SPARSE_NEWLINE_TEST | SPARSE_COMPRESSED | SPARSE_MARKERS,
    .capacity = capacity,
    .grain_size = grain_size,
    .descriptor_offset = descriptor_size == 0 ? 0 : 1,
    .descriptor_size = descriptor_size,
    .nr_gtes_per_gt = STREAM_TABLE_ENTRIES,
    .gd_offset = SPARSE_GD_AT_END,
    .overhead = div_round_up (used, USUAL_OVERHEAD) * USUAL_OVERHEAD,
    .newline_test = { '\n', ' ', '\r', '\n' },
    .compress_algorithm = 1,
  };
}

void
stream_header_encode (const struct sparse_header *header, uint64_t gd_offset,
                      bool unclean, uint8_t *out)
{
  struct sparse_header h = *header;

  h.gd_offset = gd_offset;
  h.unclean_shutdown = unclean;
  sparse_header_encode (&h, out);
}

void
stream_marker_encode (enum stream_marker_type type, uint64_t nr_sectors,
                      uint8_t *out)
{
  memset (out, 0, SECTOR_SIZE);
  le64_store (out, nr_sectors);
  le32_store (out + STREAM_GRAIN_HEADER_SIZE, type);
}

uint64_t
stream_directory_sectors (uint64_t nr_tables)
{
  return div_round_up (nr_tables * 4, SECTOR_SIZE);
}

void
stream_end_encode (const struct sparse_header *header, uint64_t gd_offset,
                   uint8_t *out)
{
  stream_marker_encode (MARKER_FOOTER, 1, out);
  stream_header_encode (header, gd_offset, false, out + SECTOR_SIZE);
  stream_marker_encode (MARKER_EOS, 0, out + 2 * SECTOR_SIZE);
}

int
stream_grain_encode (struct deflater *deflater, const uint8_t *bytes,
                     size_t size, uint64_t lba, uint8_t **block,
                     size_t *block_size, struct vmdk_error *err)
{
  size_t written;

  if (deflate_grain (deflater, bytes, size, STREAM_GRAIN_HEADER_SIZE,
                     SECTOR_SIZE, block, &written, err)
      == -1)
    return -1;
  le64_store (*block, lba);
  le32_store (*block + 8, (uint32_t) written);
  *block_size = div_round_up (STREAM_GRAIN_HEADER_SIZE + written, SECTOR_SIZE)
                * SECTOR_SIZE;
  return 0;
}
