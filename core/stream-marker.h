/* SPDX-License-Identifier: BSD-3-Clause */

/* The blocks a streamOptimized extent is made of: what they say, and their
 * bytes.  No file is touched here, so that whoever writes streams, into a
 * file or down a pipe, makes the same ones.
 *
 * Each starts on a sector.  A grain is 12 bytes of header and its compressed
 * bytes; a marker is one sector and says what follows it.  The two are told
 * apart by the size, which is 0 in a marker; where a marker has its type, a
 * grain already has compressed data.
 *
 *   offset  grain            marker
 *   0       lba, 8 bytes     sectors of metadata that follow, 8 bytes
 *   8       size, 4 bytes    0
 *   12      compressed data  type, 4 bytes
 *
 * A whole stream, for readers that see it once and in order:
 *
 *   header                          gdOffset is SPARSE_GD_AT_END
 *   descriptor                      zeros up to overHead
 *   for each table in ascending order
 *     its grains in ascending order, each once, zeros left out
 *     GRAIN_TABLE marker, table     4 sectors; left out when it is empty
 *   GRAIN_DIRECTORY marker, directory
 *   FOOTER marker, footer           the header again, with gdOffset
 *   EOS marker
 *
 * Layouts: VMware, "Virtual Disk Format 5.0", section "Stream-Optimized
 * Compressed Sparse Extents".  What it leaves open is as VMware's exports
 * have it: version 3 (ESXi refuses streams that say 1), flags 0x30001, a
 * zlib stream (RFC 1950) a grain, and a last grain that is filled up with
 * zeros (VirtualBox takes no shorter one).
 */

#ifndef VMDKIT_STREAM_MARKER_H
#define VMDKIT_STREAM_MARKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "deflate.h"
#include "error.h"
#include "sparse-header.h"

#define STREAM_GRAIN_HEADER_SIZE 12
#define STREAM_MARKER_SIZE 16 /* of which we know the meaning */

/* Entries of a table are 32 bits, 512 of them in every stream. */
#define STREAM_TABLE_ENTRIES 512
#define STREAM_TABLE_SECTORS 4

/* FOOTER marker, footer, EOS marker; in bytes. */
#define STREAM_END_SIZE (3 * SECTOR_SIZE)

enum stream_marker_type {
  MARKER_EOS = 0,
  MARKER_GRAIN_TABLE = 1,
  MARKER_GRAIN_DIRECTORY = 2,
  MARKER_FOOTER = 3,
  MARKER_PROGRESS = 4, /* seen in exports of vSphere; nothing follows it */
};

struct stream_marker {
  uint64_t value; /* lba or number of sectors */
  uint32_t size;  /* 0: not a grain */
  uint32_t type;  /* only if size is 0 */
};

/* Decode STREAM_MARKER_SIZE bytes. */
static inline struct stream_marker
stream_marker_decode (const uint8_t *p)
{
  return (struct stream_marker){
    .value = le64_load (p),
    .size = le32_load (p + 8),
    .type = le32_load (p + 12),
  };
}

/* The header of a stream of CAPACITY sectors in grains of GRAIN_SIZE sectors,
 * with room for a descriptor of DESCRIPTOR_SIZE sectors from sector 1 on (0:
 * there is none); its directory is at the end.  Of the sectors before
 * overHead, where the blocks begin, FRONT follow the descriptor at least.
 */
extern struct sparse_header stream_header_make (uint64_t capacity,
                                                uint64_t grain_size,
                                                uint64_t descriptor_size,
                                                uint64_t front);

/* HEADER's SPARSE_HEADER_SIZE bytes, with the directory at sector GD_OFFSET
 * (or SPARSE_GD_AT_END).  UNCLEAN: it is being written.
 */
extern void stream_header_encode (const struct sparse_header *header,
                                  uint64_t gd_offset, bool unclean,
                                  uint8_t *out)
  __attribute__ ((nonnull (1, 4)));

/* A marker of SECTOR_SIZE bytes, and how many sectors follow it: those of
 * the table (STREAM_TABLE_SECTORS) or of the directory
 * (stream_directory_sectors), 1 footer, or none.
 */
extern void stream_marker_encode (enum stream_marker_type type,
                                  uint64_t nr_sectors, uint8_t *out)
  __attribute__ ((nonnull (3)));

/* The sectors of a directory of NR_TABLES entries. */
extern uint64_t stream_directory_sectors (uint64_t nr_tables);

/* The last STREAM_END_SIZE bytes of a stream whose directory (not its marker)
 * is at sector GD_OFFSET.
 */
extern void stream_end_encode (const struct sparse_header *header,
                               uint64_t gd_offset, uint8_t *out)
  __attribute__ ((nonnull (1, 3)));

/* Compress a grain: SIZE bytes, a whole one, which start at sector LBA of the
 * extent.  *block is the deflater's; *block_size, in bytes, is a multiple of
 * SECTOR_SIZE.
 */
extern int stream_grain_encode (struct deflater *deflater,
                                const uint8_t *bytes, size_t size,
                                uint64_t lba, uint8_t **block,
                                size_t *block_size, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5, 6, 7)));

#endif /* VMDKIT_STREAM_MARKER_H */
