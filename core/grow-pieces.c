/* SPDX-License-Identifier: BSD-3-Clause */

/* New pieces of a split disk.  See grow-parts.h.
 *
 * A piece is complete and durable before the descriptor names it.  One that
 * an interrupted run left has no data: its room is not larger than its
 * metadata, or it is all zeros.  Nothing else is ever removed.
 */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "create-parts.h"
#include "grow-parts.h"

#define FILE_MODE 0644

/* The last of the extents that are there. */
static const struct extent_line *
model_line (const struct new_pieces *p)
{
  const struct descriptor *d = p->link->descriptor;

  return descriptor_extent (d, descriptor_nr_extents (d) - 1);
}

static const struct extent *
model_extent (const struct new_pieces *p)
{
  return p->link->extents[p->link->nr_extents - 1];
}

static uint64_t
sectors_of (const struct new_pieces *p, size_t i)
{
  return min_u64 (p->piece_sectors, p->nr_sectors - i * p->piece_sectors);
}

/* The last one's name with a higher number, as wide as that is. */
static char *
name_of (const struct new_pieces *p, size_t i, struct vmdk_error *err)
{
  const char *name = model_line (p)->name;
  const char *dot = strrchr (name, '.');
  size_t end =
    dot && !strchr (dot, '/') ? (size_t) (dot - name) : strlen (name);
  size_t start = end;
  char *text;

  while (start > 0 && end - start < 9
         && isdigit ((unsigned char) name[start - 1]))
    start--;
  if (start == end) {
    fail (err, ERR_UNSUPPORTED,
          "cannot grow: the name of the last piece, %s, has no number",
          NAME (name));
    return NULL;
  }
  if (asprintf (&text, "%.*s%0*lu%s", (int) start, name, (int) (end - start),
                strtoul (name + start, NULL, 10) + i + 1, name + end)
      == -1) {
    fail_memory (err);
    return NULL;
  }
  return text;
}

/* -- What an interrupted run left --------------------------------------- */

/* More bytes than that has a piece that has a grain. */
static uint64_t
empty_piece_size (const struct new_pieces *p)
{
  const uint64_t grain = bytes_to_sectors (model_extent (p)->grain_size);
  const uint64_t nr =
    div_round_up (div_round_up (p->piece_sectors, grain), 512);
  const uint64_t metadata =
    1 + 2 * (div_round_up (nr * 4, SECTOR_SIZE) + nr * 4);

  return sectors_to_bytes (div_round_up (metadata, grain) * grain);
}

static bool
is_all_zero (struct media *media)
{
  static const size_t step = 65536;
  CLEANUP_FREE uint8_t *buf = malloc (step);
  struct vmdk_error ignored;

  for (uint64_t at = 0; buf && at < media->size;) {
    uint64_t length;
    bool hole;

    if (media_map (media, at, media->size - at, &hole, &length, &ignored)
        == -1)
      return false;
    if (!hole) {
      length = min_u64 (length, step);
      if (media_pread (media, buf, length, at, &ignored) == -1
          || !bytes_are_zero (buf, length))
        return false;
    }
    at += length;
  }
  return buf;
}

/* Nothing behind the metadata, and a header as pieces have it, or (when that
 * was not written any more) zeros.  A disk with a descriptor of its own is
 * somebody else's, whatever it is called.
 */
static bool
is_empty_piece (const struct new_pieces *p, struct media *media)
{
  uint8_t bytes[SPARSE_HEADER_SIZE] = { 0 };
  struct sparse_header h;
  struct vmdk_error ignored;

  if (media->size > empty_piece_size (p)
      || media_pread (media, bytes, min_u64 (sizeof bytes, media->size), 0,
                      &ignored)
           == -1)
    return false;
  sparse_header_decode (bytes, &h);
  if (h.magic != SPARSE_MAGIC)
    return bytes_are_zero (bytes, sizeof bytes);
  return h.descriptor_offset == 0 && h.capacity <= p->piece_sectors
         && div_round_up (media->size, SECTOR_SIZE) <= h.overhead;
}

static bool
is_leftover (const struct new_pieces *p, struct media *media)
{
  return is_all_zero (media)
         || (model_extent (p)->grain_size != 0 && is_empty_piece (p, media));
}

static int
remove_leftover (const struct new_pieces *p, const char *name,
                 struct vmdk_error *err)
{
  struct store *store = p->link->store;
  struct vmdk_error ignored;
  struct media *media = store_open (store, name, STORE_FROM_FILE, &ignored);
  const bool ours = media && is_leftover (p, media);

  media_close (media);
  if (ours)
    return store_remove (store, name, err);
  if (media || ignored.kind != ERR_MISSING) {
    fail (err, ERR_ARGUMENT, "%s exists already, and is no part of the disk",
          NAME (name));
    err->errnum = EEXIST;
    return -1;
  }
  return 0;
}

/* -- Making ------------------------------------------------------------- */

static int
make_piece (const struct new_pieces *p, size_t i, const char *name, bool *made,
            struct vmdk_error *err)
{
  const uint64_t grain = bytes_to_sectors (model_extent (p)->grain_size);
  const struct new_extent extent = {
    .layout = grain ? LAYOUT_SPARSE : LAYOUT_HOLE,
    .nr_sectors = sectors_of (p, i),
    .grain = grain,
  };
  CLEANUP_MEDIA struct media *media =
    store_create (p->link->store, name, FILE_MODE, err);

  *made = media;
  if (!media
      || media_copy_permissions (media, model_extent (p)->media, err) == -1
      || new_extent_fill (media, &extent, err) == -1
      || media_flush (media, err) == -1)
    return fail_prefix (err, "%s", NAME (name));
  return 0;
}

static int
make_pieces (const struct new_pieces *p, struct rearranging *r,
             size_t *nr_made, struct vmdk_error *err)
{
  for (size_t i = 0; i < p->nr; i++) {
    CLEANUP_FREE char *name = name_of (p, i, err);
    bool made = false;
    int result;

    if (!name || remove_leftover (p, name, err) == -1)
      return -1;
    result = make_piece (p, i, name, &made, err);
    *nr_made = i + made;
    if (result == -1 || operation_progress (r->operation, i, p->nr, err) == -1)
      return -1;
  }
  return store_flush (p->link->store, err);
}

static void
remove_pieces (const struct new_pieces *p, size_t nr)
{
  struct vmdk_error ignored;

  for (size_t i = nr; i-- > 0;) {
    CLEANUP_FREE char *name = name_of (p, i, &ignored);

    /* What stays is recognised by the next run. */
    if (name && store_remove (p->link->store, name, &ignored) == -1)
      continue;
  }
}

static int
check_names (const struct new_pieces *p, struct vmdk_error *err)
{
  const char *name = model_line (p)->name;

  if (store_name_is_inside (store_plain_name (name)))
    return 0;
  return fail (err, ERR_UNSUPPORTED,
               "cannot grow: its pieces are outside its folder (%s)",
               NAME (name));
}

int
new_pieces_make (const struct new_pieces *p, struct rearranging *r,
                 struct vmdk_error *err)
{
  size_t nr_made = 0;

  if (p->nr == 0)
    return 0;
  if (check_names (p, err) == -1)
    return -1;
  if (r->operation->dry_run)
    return 0;
  if (make_pieces (p, r, &nr_made, err) == -1) {
    remove_pieces (p, nr_made);
    return -1;
  }
  return 0;
}

int
new_pieces_describe (const struct new_pieces *p, struct descriptor *d,
                     struct vmdk_error *err)
{
  for (size_t i = 0; i < p->nr; i++) {
    CLEANUP_FREE char *name = name_of (p, i, err);
    struct extent_line line = *model_line (p);

    if (!name)
      return -1;
    line.name = name;
    line.nr_sectors = sectors_of (p, i);
    line.offset_sector = 0;
    if (descriptor_add_extent (d, &line, err) == -1)
      return -1;
  }
  return 0;
}
