/* SPDX-License-Identifier: BSD-3-Clause */

/* What a link's text says against what its files are.
 *
 * What cannot be served at all is not told here: the link does not open then.
 * createType is a hint that nobody of us needs; other programs do.
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "bytes.h"
#include "check-parts.h"
#include "checked.h"
#include "descriptor.h"
#include "sparse-header.h"

/* Which extents a createType is for.  More than one line: any of them. */
static const struct {
  const char *name;
  enum extent_type type;
  bool packed;
} types[] = {
  { "monolithicSparse", EXTENT_SPARSE, false },
  { "streamOptimized", EXTENT_SPARSE, true },
  { "monolithicFlat", EXTENT_FLAT, false },
  { "twoGbMaxExtentSparse", EXTENT_SPARSE, false },
  { "2GbMaxExtentSparse", EXTENT_SPARSE, false },
  { "twoGbMaxExtentFlat", EXTENT_FLAT, false },
  { "2GbMaxExtentFlat", EXTENT_FLAT, false },
  { "vmfs", EXTENT_VMFS, false },
  { "vmfsSparse", EXTENT_VMFSSPARSE, false },
  { "seSparse", EXTENT_SESPARSE, false },
  { "vmfsSeSparse", EXTENT_SESPARSE, false },
};

static bool
is_packed (struct extent *extent)
{
  struct extent_layout layout = { 0 };

  if (!extent || !extent->ops->layout)
    return false;
  extent->ops->layout (extent, &layout);
  return layout.check_grain != NULL;
}

/* The two words for a file of bytes are used as one. */
static enum extent_type
plain_type (enum extent_type type)
{
  return type == EXTENT_VMFS ? EXTENT_FLAT : type;
}

/* Whether an extent is of one of the types that NAME is for; *known: there
 * are such.
 */
static bool
fits (const char *name, const struct extent_line *line, struct extent *extent,
      bool *known)
{
  bool fit = false;

  *known = false;
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    if (strcasecmp (types[i].name, name) != 0)
      continue;
    *known = true;
    fit |= plain_type (types[i].type) == plain_type (line->type)
           && (!extent || types[i].packed == is_packed (extent));
  }
  return fit;
}

static void
check_create_type (struct checker *checker, const struct link *link)
{
  const char *name = descriptor_create_type (link->descriptor);
  bool known;

  for (size_t i = 0; i < link->nr_extents; i++) {
    const struct extent_line *line = descriptor_extent (link->descriptor, i);
    struct extent *extent = link->extents[i];

    if (fits (name, line, extent, &known) || !known)
      continue;
    check_tell (checker, CHECK_CREATE_TYPE, CHECK_NOTE, CHECK_STAYS,
                CHECK_NOWHERE, "createType is %s, and extent %zu is %s%s",
                NAME (name), i + 1, is_packed (extent) ? "compressed " : "",
                extent_type_name (line->type));
    return;
  }
}

static void
check_capacity (struct checker *checker, const struct link *link, size_t i)
{
  struct extent *extent = link->extents[i];
  struct extent_layout layout = { 0 };
  const uint64_t line = bytes_to_sectors (extent->size);

  if (!extent->ops->layout)
    return;
  extent->ops->layout (extent, &layout);
  if (layout.capacity <= line
      || layout.capacity - line < bytes_to_sectors (extent->grain_size))
    return;
  check_tell (checker, CHECK_CAPACITY, CHECK_ERROR, CHECK_STAYS, CHECK_NOWHERE,
              "extent %zu: its header's capacity is %" PRIu64
              " sectors, and the descriptor's line says %" PRIu64
              ": the smaller one is served; if the line is wrong, correct it",
              i + 1, layout.capacity, line);
}

static void
check_change_tracking (struct checker *checker, const struct link *link)
{
  const char *name = descriptor_get (link->descriptor, "changeTrackPath");
  struct vmdk_error ignored;

  if (!name)
    return;
  CLEANUP_MEDIA struct media *media =
    store_name_is_inside (name)
      ? store_open (link->store, name, STORE_FROM_FILE, &ignored)
      : NULL;
  if (!media)
    check_tell (checker, CHECK_DESCRIPTOR, CHECK_NOTE, CHECK_STAYS,
                CHECK_NOWHERE, "the change tracking file \"%s\" is not there",
                NAME (name));
}

/* qemu rewrites the text in whole sectors, without cutting the rest. */
static int
check_tail (struct checker *checker, const struct link *link,
            struct vmdk_error *err)
{
  struct media *media = link->text;
  size_t len;
  uint8_t bytes[SECTOR_SIZE] = { 0 };

  if (!media || media->size < 4 || media->size > DESCRIPTOR_MAX_SIZE)
    return 0;
  if (media_pread (media, bytes, 4, 0, err) == -1)
    return -1;
  if (le32_load (bytes) == SPARSE_MAGIC)
    return 0;
  CLEANUP_FREE char *text = descriptor_print (link->descriptor, &len, err);
  if (!text)
    return -1;
  for (uint64_t at = len; at < media->size; at += sizeof bytes) {
    const uint64_t n = min_u64 (sizeof bytes, media->size - at);

    if (media_pread (media, bytes, n, at, err) == -1)
      return -1;
    if (bytes_are_zero (bytes, n))
      continue;
    check_tell (checker, CHECK_DESCRIPTOR, CHECK_NOTE, CHECK_STAYS, len,
                "%" PRIu64
                " bytes follow the end of the text, and are not looked at",
                media->size - len);
    return 0;
  }
  return 0;
}

int
check_descriptor (struct checker *checker, const struct link *link,
                  struct vmdk_error *err)
{
  check_create_type (checker, link);
  for (size_t i = 0; i < link->nr_extents; i++)
    if (link->extents[i])
      check_capacity (checker, link, i);
  check_change_tracking (checker, link);
  return check_tail (checker, link, err);
}
