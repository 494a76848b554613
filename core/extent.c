/* SPDX-License-Identifier: BSD-3-Clause */

/* The table of extent drivers, and what all extents have in common.
 *
 * The descriptor's type word promises a family (raw bytes, sparse, nothing
 * at all); within the sparse family the file's magic decides, because
 * producers and other readers mix the words: qemu takes COWD under SPARSE
 * and KDMV under VMFSSPARSE, and so do we, with a warning.  A sparse type
 * over a file without a sparse magic is refused: raw bytes must not be
 * served in place of what the word promised.
 */

#include <config.h>

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "extent.h"
#include "sparse-header.h"

#define COWD_MAGIC UINT32_C (0x44574f43)
#define SESPARSE_MAGIC UINT64_C (0x00000000cafebabe)

/* Damage beyond this many places of one extent is not told any more. */
#define MAX_REPORTS 64

typedef struct extent *open_function (const struct extent_source *source,
                                      struct vmdk_error *err);

/* Hosted sparse and streamOptimized share their header; a flag tells. */
static struct extent *
kdmv_open (const struct extent_source *source, struct vmdk_error *err)
{
  uint8_t flags[4] = { 0 };

  if (media_pread (source->media, flags, sizeof flags, 8, err) == -1) {
    media_close (source->media);
    return NULL;
  }
  if (le32_load (flags) & SPARSE_COMPRESSED)
    return extent_stream_open (source, err);
  return extent_sparse_open (source, err);
}

/* One row for each sparse format. */
static const struct format {
  uint64_t magic, mask;
  enum extent_type type; /* the word that canonically goes with it */
  open_function *open;
} formats[] = {
  { SPARSE_MAGIC, UINT32_MAX, EXTENT_SPARSE, kdmv_open },
  { SPARSE_MAGIC_UNFINISHED, UINT32_MAX, EXTENT_SPARSE, kdmv_open },
  { COWD_MAGIC, UINT32_MAX, EXTENT_VMFSSPARSE, extent_cowd_open },
  { SESPARSE_MAGIC, UINT64_MAX, EXTENT_SESPARSE, extent_sesparse_open },
};

static open_function *
sparse_driver (const struct extent_source *source, struct vmdk_error *err)
{
  uint8_t start[8] = { 0 };
  const uint64_t size = source->media->size;

  if (size < sizeof start) {
    fail (err, ERR_CORRUPT,
          "%s extent is too small: %" PRIu64 " bytes hold no header",
          extent_type_name (source->line->type), size);
    return NULL;
  }
  if (media_pread (source->media, start, sizeof start, 0, err) == -1)
    return NULL;

  for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
    const struct format *format = &formats[i];

    if ((le64_load (start) & format->mask) != format->magic)
      continue;
    if (format->type != source->line->type)
      log_warning (&source->rules->log,
                   "%s: the descriptor says %s and the file is %s: reading "
                   "it as what it is",
                   NAME (source->media->name),
                   extent_type_name (source->line->type),
                   extent_type_name (format->type));
    return format->open;
  }
  fail (err, ERR_CORRUPT,
        "the descriptor says %s and the file starts with none of the sparse "
        "formats' magic numbers",
        extent_type_name (source->line->type));
  return NULL;
}

static open_function *
driver_of (const struct extent_source *source, struct vmdk_error *err)
{
  if (source->line->access == ACCESS_NOACCESS)
    return extent_noaccess_open;

  switch (source->line->type) {
  case EXTENT_ZERO:
    return extent_zero_open;
  case EXTENT_FLAT:
  case EXTENT_VMFS:
  case EXTENT_VMFSRDM:
  case EXTENT_VMFSRAW:
    return extent_flat_open;
  case EXTENT_SPARSE:
  case EXTENT_VMFSSPARSE:
  case EXTENT_SESPARSE:
    return sparse_driver (source, err);
  case EXTENT_VSANSPARSE:
    break;
  }
  fail (err, ERR_UNSUPPORTED, "%s extents cannot be served from files",
        extent_type_name (source->line->type));
  return NULL;
}

struct extent *
extent_open (const struct extent_source *source, struct vmdk_error *err)
{
  open_function *open = driver_of (source, err);

  if (!open) {
    media_close (source->media);
    return NULL;
  }
  return open (source, err);
}

void *
extent_alloc (size_t size, const struct extent_ops *ops,
              const struct extent_source *source, struct vmdk_error *err)
{
  struct extent *extent = calloc (1, size);

  if (extent) {
    extent->name =
      strdup (source->line->name ? source->line->name
                                 : extent_type_name (source->line->type));
  }
  if (!extent || !extent->name) {
    free (extent);
    media_close (source->media);
    fail_memory (err);
    return NULL;
  }
  extent->ops = ops;
  extent->rules = source->rules;
  extent->media = source->media;
  extent->size = sectors_to_bytes (source->line->nr_sectors);
  return extent;
}

void
extent_close (struct extent *extent)
{
  if (!extent)
    return;
  if (extent->ops->close)
    extent->ops->close (extent);
  media_close (extent->media);
  free (extent->name);
  free (extent);
}

int
extent_map (struct extent *extent, uint64_t offset, uint64_t count,
            enum map_detail detail, struct run *run, struct vmdk_error *err)
{
  if (extent->ops->map (extent, offset, count, detail, run, err) == -1)
    return -1;
  run->extent = extent;
  run->extent_offset = offset;
  return 0;
}

int
extent_read (struct extent *extent, void *buf, size_t count, uint64_t offset,
             struct vmdk_error *err)
{
  return extent->ops->read (extent, buf, count, offset, err);
}

/* Of what the system refuses the drivers do not say where. */
static int
named (const struct extent *extent, int r, struct vmdk_error *err)
{
  if (r == -1 && err->kind == ERR_SYSTEM)
    fail_prefix (err, "%s", NAME (extent->name));
  return r;
}

static int
fail_read_only (const struct extent *extent, struct vmdk_error *err)
{
  return fail (err, ERR_READ_ONLY, "%s: cannot be written: %s",
               NAME (extent->name), extent->why_read_only);
}

int
extent_check (struct extent *extent, uint64_t count, uint64_t offset,
              unsigned flags, const struct below *below,
              struct vmdk_error *err)
{
  if (extent->why_read_only)
    return flags & ZERO_ADVICE ? 0 : fail_read_only (extent, err);
  if (!extent->ops->check)
    return 0;
  return named (extent,
                extent->ops->check (extent, count, offset, flags, below, err),
                err);
}

int
extent_write (struct extent *extent, const void *buf, size_t count,
              uint64_t offset, const struct below *below,
              struct vmdk_error *err)
{
  if (extent->why_read_only)
    return fail_read_only (extent, err);
  return named (
    extent, extent->ops->write (extent, buf, count, offset, below, err), err);
}

int
extent_zero (struct extent *extent, uint64_t count, uint64_t offset,
             unsigned flags, const struct below *below, struct vmdk_error *err)
{
  if (extent->why_read_only)
    return flags & ZERO_ADVICE ? 0 : fail_read_only (extent, err);
  return named (
    extent, extent->ops->zero (extent, count, offset, flags, below, err), err);
}

int
extent_damaged (struct extent *extent, uint64_t place, struct vmdk_error *err)
{
  const uint64_t hash = (place + 1) * UINT64_C (0x9e3779b97f4a7c15);
  const unsigned bit = hash >> 54; /* one of 1024 */
  const uint32_t mask = UINT32_C (1) << bit % 32;

  fail_prefix (err, "%s", NAME (extent->name));
  if (atomic_fetch_or (&extent->reported[bit / 32], mask) & mask)
    return -1;

  const unsigned before = atomic_fetch_add (&extent->nr_reported, 1);
  if (before < MAX_REPORTS)
    log_warning (&extent->rules->log, "%s", err->text);
  else if (before == MAX_REPORTS)
    log_warning (&extent->rules->log, "%s: more damage is not reported here",
                 NAME (extent->name));
  return -1;
}
