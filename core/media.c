/* SPDX-License-Identifier: BSD-3-Clause */

/* The checks that every kind of medium needs, made once.  See media.h. */

#include <config.h>

#include <assert.h>
#include <inttypes.h>

#include "checked.h"
#include "media.h"

static int
check_range (const struct media *media, uint64_t offset, uint64_t count,
             struct vmdk_error *err)
{
  if (range_inside (offset, count, media->size))
    return 0;
  return fail (err, ERR_DAMAGED,
               "wanted %" PRIu64 " bytes at byte %" PRIu64
               ", but the file ends at byte %" PRIu64,
               count, offset, media->size);
}

int
media_pread (struct media *media, void *buf, size_t count, uint64_t offset,
             struct vmdk_error *err)
{
  if (check_range (media, offset, count, err) == -1)
    return -1;
  if (count == 0)
    return 0;
  return media->ops->pread (media, buf, count, offset, err);
}

int
media_map (struct media *media, uint64_t offset, uint64_t count, bool *hole,
           uint64_t *length, struct vmdk_error *err)
{
  assert (count > 0);
  if (check_range (media, offset, count, err) == -1)
    return -1;
  *hole = false;
  *length = count;
  if (!media->ops->map)
    return 0;
  if (media->ops->map (media, offset, count, hole, length, err) == -1)
    return -1;
  assert (*length > 0 && *length <= count);
  return 0;
}

void
media_readahead (struct media *media, uint64_t offset, uint64_t count)
{
  if (!media->ops->readahead || offset >= media->size)
    return;
  count = min_u64 (count, media->size - offset);
  if (count > 0)
    media->ops->readahead (media, offset, count);
}

int
media_lock (struct media *media, enum media_lock lock, struct vmdk_error *err)
{
  return media->ops->lock ? media->ops->lock (media, lock, err) : 0;
}

bool
media_same (const struct media *a, const struct media *b)
{
  const struct media_identity *x = &a->identity, *y = &b->identity;

  if (x->device == 0 && x->inode == 0)
    return a == b;
  return x->device == y->device && x->inode == y->inode
         && x->offset == y->offset;
}

void
media_close (struct media *media)
{
  if (media)
    media->ops->close (media);
}
