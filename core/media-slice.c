/* SPDX-License-Identifier: BSD-3-Clause */

/* A window of another medium: a member of an archive.  See media.h.
 *
 * The wrappers have checked a range against the slice's size before it comes
 * here, and the slice lies within the whole, so adding the offset cannot
 * overflow.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "media.h"

struct slice {
  struct media media;
  struct media *whole; /* borrowed */
  uint64_t offset;
};

static int
slice_pread (struct media *media, void *buf, size_t count, uint64_t offset,
             struct vmdk_error *err)
{
  const struct slice *slice = (struct slice *) media;

  return media_pread (slice->whole, buf, count, slice->offset + offset, err);
}

static int
slice_map (struct media *media, uint64_t offset, uint64_t count, bool *hole,
           uint64_t *length, struct vmdk_error *err)
{
  const struct slice *slice = (struct slice *) media;

  return media_map (slice->whole, slice->offset + offset, count, hole, length,
                    err);
}

static void
slice_readahead (struct media *media, uint64_t offset, uint64_t count)
{
  const struct slice *slice = (struct slice *) media;

  media_readahead (slice->whole, slice->offset + offset, count);
}

static int
slice_lock (struct media *media, enum media_lock lock, struct vmdk_error *err)
{
  const struct slice *slice = (struct slice *) media;

  return media_lock (slice->whole, lock, err);
}

static void
slice_lock_holder (struct media *media, char *text, size_t size)
{
  const struct slice *slice = (struct slice *) media;

  media_lock_holder (slice->whole, text, size);
}

static void
slice_close (struct media *media)
{
  free (media->name);
  free ((struct slice *) media);
}

static const struct media_ops slice_ops = {
  .pread = slice_pread,
  .map = slice_map,
  .readahead = slice_readahead,
  .lock = slice_lock,
  .lock_holder = slice_lock_holder,
  .close = slice_close,
};

struct media *
media_slice_new (struct media *whole, const char *name, uint64_t offset,
                 uint64_t size, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = NULL;
  struct slice *slice;

  if (!range_inside (offset, size, whole->size)) {
    fail (err, ERR_CORRUPT,
          "%" PRIu64 " bytes at byte %" PRIu64
          " run past the end at byte %" PRIu64,
          size, offset, whole->size);
    return NULL;
  }
  slice = calloc (1, sizeof *slice);
  if (!slice) {
    fail_memory (err);
    return NULL;
  }
  media = &slice->media;
  media->ops = &slice_ops;
  media->size = size;
  media->is_regular = true;
  media->identity = whole->identity;
  if (media->identity.device || media->identity.inode)
    media->identity.offset += offset;
  slice->whole = whole;
  slice->offset = offset;
  media->name = strdup (name);
  if (!media->name) {
    fail_memory (err);
    return NULL;
  }
  return steal_ptr (&media);
}
