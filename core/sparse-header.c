/* SPDX-License-Identifier: BSD-3-Clause */

/* The KDMV header.  See sparse-header.h.
 *
 * Every check comes before anything is allocated or read by its value.  What
 * qemu accepts and we do not (directories past the end of the file, unknown
 * incompatible flags, newline bytes mangled by a text-mode transfer) reads
 * as zeros or garbage there.
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "sparse-header.h"

/* VMware's readers take grains of 8 to 128 sectors, qemu up to 1 GiB.  32
 * MiB is more than any producer writes, and bounds what inflating or copying
 * one grain costs.
 */
#define MIN_GRAIN_SECTORS 8
#define MAX_GRAIN_SECTORS 65536

/* Always 512 in practice; the specification lets it vary. */
#define MIN_GTES_PER_GT 128
#define MAX_GTES_PER_GT 65536

#define MAX_TABLES (UINT64_C (1) << 25)
#define MAX_DESCRIPTOR_SECTORS 8192

void
sparse_header_decode (const uint8_t *in, struct sparse_header *out)
{
  struct bytes b = bytes_of ((uint8_t *) in, SPARSE_HEADER_SIZE);

  out->magic = bytes_take32 (&b);
  out->version = bytes_take32 (&b);
  out->flags = bytes_take32 (&b);
  out->capacity = bytes_take64 (&b);
  out->grain_size = bytes_take64 (&b);
  out->descriptor_offset = bytes_take64 (&b);
  out->descriptor_size = bytes_take64 (&b);
  out->nr_gtes_per_gt = bytes_take32 (&b);
  out->rgd_offset = bytes_take64 (&b);
  out->gd_offset = bytes_take64 (&b);
  out->overhead = bytes_take64 (&b);
  out->unclean_shutdown = bytes_take8 (&b);
  bytes_take (&b, out->newline_test, sizeof out->newline_test);
  out->compress_algorithm = bytes_take16 (&b);
  bytes_take (&b, out->pad, sizeof out->pad);
}

void
sparse_header_encode (const struct sparse_header *in, uint8_t *out)
{
  struct bytes b = bytes_of (out, SPARSE_HEADER_SIZE);

  bytes_put32 (&b, in->magic);
  bytes_put32 (&b, in->version);
  bytes_put32 (&b, in->flags);
  bytes_put64 (&b, in->capacity);
  bytes_put64 (&b, in->grain_size);
  bytes_put64 (&b, in->descriptor_offset);
  bytes_put64 (&b, in->descriptor_size);
  bytes_put32 (&b, in->nr_gtes_per_gt);
  bytes_put64 (&b, in->rgd_offset);
  bytes_put64 (&b, in->gd_offset);
  bytes_put64 (&b, in->overhead);
  bytes_put8 (&b, in->unclean_shutdown);
  bytes_put (&b, in->newline_test, sizeof in->newline_test);
  bytes_put16 (&b, in->compress_algorithm);
  bytes_put (&b, in->pad, sizeof in->pad);
}

uint64_t
sparse_header_nr_tables (const struct sparse_header *h)
{
  return div_round_up (div_round_up (h->capacity, h->grain_size),
                       h->nr_gtes_per_gt);
}

bool
sparse_header_only_descriptor (const struct sparse_header *h)
{
  return h->capacity == 0 && h->descriptor_offset != 0;
}

/* Magic, version, newline bytes: what every KDMV file must have. */
static int
check_identity (const struct sparse_header *h, struct vmdk_error *err)
{
  static const uint8_t newlines[4] = { '\n', ' ', '\r', '\n' };

  if (h->magic == SPARSE_MAGIC_UNFINISHED)
    return fail (err, ERR_CORRUPT,
                 "the stream is incomplete: its writer never finished it "
                 "(magic \"kdmv\")");
  if (h->magic != SPARSE_MAGIC)
    return fail (err, ERR_NOT_VMDK,
                 "sparse header has magic 0x%08" PRIx32 ", not 0x%08" PRIx32
                 " (\"KDMV\")",
                 h->magic, SPARSE_MAGIC);

  /* Before the version: a text-mode transfer may have moved the fields. */
  if ((h->flags & SPARSE_NEWLINE_TEST)
      && memcmp (h->newline_test, newlines, sizeof newlines) != 0)
    return fail (err, ERR_CORRUPT,
                 "sparse header: newline test bytes are %02x %02x %02x %02x, "
                 "not 0a 20 0d 0a: the file was damaged by a text-mode "
                 "transfer, copy it again in binary mode",
                 h->newline_test[0], h->newline_test[1], h->newline_test[2],
                 h->newline_test[3]);
  if (h->version < 1 || h->version > 3)
    return fail (err, ERR_UNSUPPORTED,
                 "sparse header: version %" PRIu32
                 " is not supported, only 1 to 3",
                 h->version);
  return 0;
}

static int
check_flags (const struct sparse_header *h, struct vmdk_error *err)
{
  const uint32_t unknown = h->flags & SPARSE_INCOMPATIBLE
                           & ~(uint32_t) (SPARSE_COMPRESSED | SPARSE_MARKERS);
  const bool compressed = h->flags & SPARSE_COMPRESSED;

  if (unknown)
    return fail (err, ERR_UNSUPPORTED,
                 "sparse header: unknown incompatible flags 0x%08" PRIx32,
                 unknown);
  if (h->compress_algorithm != (compressed ? 1 : 0))
    return fail (err, ERR_CORRUPT,
                 "sparse header: compressAlgorithm %u does not go with flags "
                 "0x%08" PRIx32,
                 h->compress_algorithm, h->flags);
  if (compressed != !!(h->flags & SPARSE_MARKERS))
    return fail (err, ERR_CORRUPT,
                 "sparse header: flags 0x%08" PRIx32 " have one of the "
                 "compression and marker bits without the other",
                 h->flags);
  return 0;
}

static int
check_sizes (const struct sparse_header *h, struct vmdk_error *err)
{
  if (!is_power_of_2 (h->grain_size) || h->grain_size < MIN_GRAIN_SECTORS
      || h->grain_size > MAX_GRAIN_SECTORS)
    return fail (err, ERR_CORRUPT,
                 "sparse header: grainSize %" PRIu64
                 " is not a power of two from %d to %d sectors",
                 h->grain_size, MIN_GRAIN_SECTORS, MAX_GRAIN_SECTORS);
  if (!is_power_of_2 (h->nr_gtes_per_gt) || h->nr_gtes_per_gt < MIN_GTES_PER_GT
      || h->nr_gtes_per_gt > MAX_GTES_PER_GT)
    return fail (err, ERR_CORRUPT,
                 "sparse header: numGTEsPerGT %" PRIu32
                 " is not a power of two from %d to %d",
                 h->nr_gtes_per_gt, MIN_GTES_PER_GT, MAX_GTES_PER_GT);
  if (h->capacity == 0 || h->capacity > MAX_SECTORS)
    return fail (err, ERR_CORRUPT,
                 "sparse header: capacity %" PRIu64
                 " is not from 1 to %" PRIu64 " sectors",
                 h->capacity, MAX_SECTORS);
  return 0;
}

/* The embedded descriptor's area lies within the file and behind the
 * header.
 */
static int
check_descriptor_area (const struct sparse_header *h, uint64_t file_sectors,
                       struct vmdk_error *err)
{
  if (h->descriptor_offset == 0)
    return 0;
  if (h->descriptor_size == 0 || h->descriptor_size > MAX_DESCRIPTOR_SECTORS)
    return fail (err, ERR_CORRUPT,
                 "sparse header: descriptorSize %" PRIu64
                 " is not from 1 to %d sectors",
                 h->descriptor_size, MAX_DESCRIPTOR_SECTORS);
  if (!range_inside (h->descriptor_offset, h->descriptor_size, file_sectors))
    return fail (err, ERR_CORRUPT,
                 "sparse header: the descriptor at sector %" PRIu64
                 " with %" PRIu64 " sectors ends beyond the file's %" PRIu64
                 " sectors",
                 h->descriptor_offset, h->descriptor_size, file_sectors);
  return 0;
}

/* A directory of NR_SECTORS at OFFSET: inside the file, apart from header
 * and descriptor.
 */
static int
check_directory (const struct sparse_header *h, const char *field,
                 uint64_t offset, uint64_t nr_sectors, uint64_t file_sectors,
                 struct vmdk_error *err)
{
  if (offset == 0)
    return fail (err, ERR_CORRUPT,
                 "sparse header: %s is 0: there is no grain directory", field);
  if (!range_inside (offset, nr_sectors, file_sectors))
    return fail (err, ERR_CORRUPT,
                 "sparse header: %s %" PRIu64 " with %" PRIu64
                 " sectors ends beyond the file's %" PRIu64 " sectors",
                 field, offset, nr_sectors, file_sectors);
  if (h->descriptor_offset != 0
      && ranges_overlap (offset, nr_sectors, h->descriptor_offset,
                         h->descriptor_size))
    return fail (err, ERR_CORRUPT,
                 "sparse header: %s %" PRIu64
                 " lies in the descriptor at sector %" PRIu64,
                 field, offset, h->descriptor_offset);
  return 0;
}

static int
check_directories (const struct sparse_header *h, uint64_t file_sectors,
                   bool *use_redundant, struct vmdk_error *err)
{
  const uint64_t nr_tables = sparse_header_nr_tables (h);
  const uint64_t nr_sectors = div_round_up (nr_tables * 4, SECTOR_SIZE);
  struct vmdk_error ignored;

  if (nr_tables > MAX_TABLES || nr_sectors > file_sectors)
    return fail (err, ERR_CORRUPT,
                 "sparse header: capacity %" PRIu64
                 " needs a grain directory of %" PRIu64
                 " entries, which a file of %" PRIu64 " sectors cannot hold",
                 h->capacity, nr_tables, file_sectors);

  *use_redundant = h->flags & SPARSE_REDUNDANT_TABLES;
  if (h->gd_offset == SPARSE_GD_AT_END)
    return 0;
  if (check_directory (h, "gdOffset", h->gd_offset, nr_sectors, file_sectors,
                       err)
      == -1)
    return -1;
  if (*use_redundant
      && check_directory (h, "rgdOffset", h->rgd_offset, nr_sectors,
                          file_sectors, &ignored)
           == -1)
    *use_redundant = false;

  /* Which of the two is where it says?  Not for us to guess. */
  if (*use_redundant
      && ranges_overlap (h->gd_offset, nr_sectors, h->rgd_offset, nr_sectors))
    return fail (err, ERR_CORRUPT,
                 "sparse header: gdOffset %" PRIu64 " and rgdOffset %" PRIu64
                 ": the two grain directories of %" PRIu64 " sectors overlap",
                 h->gd_offset, h->rgd_offset, nr_sectors);
  return 0;
}

int
sparse_header_check_descriptor (const struct sparse_header *h, uint64_t size,
                                struct vmdk_error *err)
{
  if (check_identity (h, err) == -1)
    return -1;
  return check_descriptor_area (h, bytes_to_sectors (size), err);
}

int
sparse_header_check (const struct sparse_header *h, uint64_t size,
                     bool *use_redundant, struct vmdk_error *err)
{
  const uint64_t file_sectors = bytes_to_sectors (size);

  *use_redundant = false;
  if (check_identity (h, err) == -1 || check_flags (h, err) == -1
      || check_sizes (h, err) == -1
      || check_descriptor_area (h, file_sectors, err) == -1
      || check_directories (h, file_sectors, use_redundant, err) == -1)
    return -1;
  if (h->overhead > file_sectors)
    return fail (err, ERR_CORRUPT,
                 "sparse header: overHead %" PRIu64
                 " is beyond the file's %" PRIu64
                 " sectors: the file is truncated",
                 h->overhead, file_sectors);
  return 0;
}
