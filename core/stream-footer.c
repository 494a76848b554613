/* SPDX-License-Identifier: BSD-3-Clause */

/* Finding and checking the footer.  See stream-footer.h.
 *
 * A file that is as its writer left it ends in
 *
 *   FOOTER marker, footer, EOS marker
 *
 * of one sector each.  Files get padding behind them (tar blocks, upload
 * parts) or lose the EOS marker.  When the header has no other directory we
 * look for the footer further up.  Since it is written after all grains and
 * tables, nothing is missing once it is found whole.  When the header does
 * name a directory only the proper place counts: far from the end, what
 * looks like a footer is more likely a guest's data.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "checked.h"
#include "stream-footer.h"
#include "stream-marker.h"

#define SEARCH_SECTORS 2048 /* 1 MiB */

/* Sectors of the proper end. */
#define END_SECTORS 3

static bool
is_marker (const uint8_t *sector, enum stream_marker_type type)
{
  const struct stream_marker marker = stream_marker_decode (sector);

  return marker.size == 0 && marker.type == type;
}

static bool
is_eos (const uint8_t *sector)
{
  return is_marker (sector, MARKER_EOS) && le64_load (sector) == 0;
}

/* A marker and the footer behind it. */
static bool
is_footer (const uint8_t *sectors)
{
  return is_marker (sectors, MARKER_FOOTER)
         && le32_load (sectors + SECTOR_SIZE) == SPARSE_MAGIC;
}

/* The last N whole sectors of the file. */
static int
read_tail (const struct extent *extent, uint8_t *buf, uint64_t n,
           struct vmdk_error *err)
{
  const uint64_t end = bytes_to_sectors (extent->media->size);

  return media_pread (extent->media, buf, sectors_to_bytes (n),
                      sectors_to_bytes (end - n), err);
}

/* The footer in its proper place, FOOTER marker before and EOS behind. */
static int
find_at_end (const struct extent *extent, struct sparse_header *footer,
             bool *found, struct vmdk_error *err)
{
  const uint64_t excess = extent->media->size % SECTOR_SIZE;
  uint8_t buf[END_SECTORS * SECTOR_SIZE];

  if (bytes_to_sectors (extent->media->size) <= END_SECTORS)
    return 0;
  if (read_tail (extent, buf, END_SECTORS, err) == -1)
    return -1;
  if (!is_footer (buf) || !is_eos (buf + 2 * SECTOR_SIZE))
    return 0;

  *found = true;
  sparse_header_decode (buf + SECTOR_SIZE, footer);
  if (excess != 0)
    log_warning (&extent->rules->log,
                 "%s: %" PRIu64 " bytes behind the end of the stream",
                 NAME (extent->name), excess);
  return 0;
}

/* SECTORS points at what follows the footer, up to the end of the file's N
 * whole sectors.
 */
static void
warn_of_end (const struct extent *extent, const uint8_t *sectors, uint64_t n)
{
  const uint64_t excess =
    sectors_to_bytes (n) + extent->media->size % SECTOR_SIZE;

  if (n > 0 && is_eos (sectors))
    log_warning (&extent->rules->log,
                 "%s: %" PRIu64 " bytes behind the end of the stream",
                 NAME (extent->name), excess - SECTOR_SIZE);
  else
    log_warning (&extent->rules->log,
                 "%s: the stream's end marker is missing: %" PRIu64
                 " other bytes follow the footer",
                 NAME (extent->name), excess);
}

/* The last footer in the last MiB. */
static int
search (const struct extent *extent, struct sparse_header *footer, bool *found,
        struct vmdk_error *err)
{
  const uint64_t n =
    min_u64 (bytes_to_sectors (extent->media->size), SEARCH_SECTORS);
  CLEANUP_FREE uint8_t *buf = malloc (sectors_to_bytes (n));

  if (!buf)
    return fail_memory (err);
  if (read_tail (extent, buf, n, err) == -1)
    return -1;
  for (uint64_t i = n - 1; i-- > 0;) {
    const uint8_t *sector = buf + sectors_to_bytes (i);

    if (!is_footer (sector))
      continue;
    *found = true;
    sparse_header_decode (sector + SECTOR_SIZE, footer);
    warn_of_end (extent, sector + 2 * SECTOR_SIZE, n - i - 2);
    break;
  }
  return 0;
}

static int
check_agreement (const char *field, uint64_t header, uint64_t footer,
                 struct vmdk_error *err)
{
  if (header == footer)
    return 0;
  return fail (err, ERR_CORRUPT,
               "the footer's %s is %" PRIu64 ", the header's %" PRIu64, field,
               footer, header);
}

/* A footer has no reason to differ from the header except for where the
 * directory is.
 */
static int
check_footer (const struct sparse_header *header,
              const struct sparse_header *footer, uint64_t size,
              struct vmdk_error *err)
{
  bool ignored;

  if (check_agreement ("capacity", header->capacity, footer->capacity, err)
        == -1
      || check_agreement ("grainSize", header->grain_size, footer->grain_size,
                          err)
           == -1
      || check_agreement ("numGTEsPerGT", header->nr_gtes_per_gt,
                          footer->nr_gtes_per_gt, err)
           == -1)
    return -1;
  if (header->flags != footer->flags)
    return fail (err, ERR_CORRUPT,
                 "the footer's flags are 0x%08" PRIx32
                 ", the header's 0x%08" PRIx32,
                 footer->flags, header->flags);
  if (footer->gd_offset == SPARSE_GD_AT_END)
    return fail (err, ERR_CORRUPT,
                 "the footer's gdOffset is no sector: the stream has no "
                 "grain directory");
  if (sparse_header_check (footer, size, &ignored, err) == -1)
    return fail_prefix (err, "footer");
  return 0;
}

int
stream_footer_find (const struct extent *extent,
                    const struct sparse_header *header,
                    struct sparse_header *footer, bool *found,
                    struct vmdk_error *err)
{
  *found = false;
  if (find_at_end (extent, footer, found, err) == -1)
    return -1;
  if (!*found && header->gd_offset == SPARSE_GD_AT_END
      && search (extent, footer, found, err) == -1)
    return -1;
  if (!*found)
    return 0;
  return check_footer (header, footer, extent->media->size, err);
}
