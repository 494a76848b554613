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
  const uint64_t size = media->size;

  if (range_inside (offset, count, size))
    return 0;
  return fail (err, ERR_DAMAGED,
               "wanted %" PRIu64 " bytes at byte %" PRIu64
               ", but the file ends at byte %" PRIu64,
               count, offset, size);
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

/* Whether a range that is to be written can be at all.  Returns its end. */
static int
check_write (const struct media *media, uint64_t offset, uint64_t count,
             uint64_t *end, struct vmdk_error *err)
{
  if (!media->ops->pwrite)
    return fail (err, ERR_READ_ONLY,
                 "was opened for reading only; to change it, open it for "
                 "writing");
  if (add_overflow (offset, count, end) || *end > INT64_MAX)
    return fail (err, ERR_ARGUMENT,
                 "%" PRIu64 " bytes at byte %" PRIu64
                 " are beyond what any file can hold",
                 count, offset);
  return 0;
}

/* Others may do the same meanwhile. */
static void
grow_size (struct media *media, uint64_t end)
{
  uint64_t size = media->size;

  while (size < end
         && !atomic_compare_exchange_weak (&media->size, &size, end))
    ;
}

int
media_pwrite (struct media *media, const void *buf, size_t count,
              uint64_t offset, struct vmdk_error *err)
{
  uint64_t end;

  if (check_write (media, offset, count, &end, err) == -1)
    return -1;
  if (count == 0)
    return 0;
  if (media->ops->pwrite (media, buf, count, offset, err) == -1)
    return -1;
  grow_size (media, end);
  return 0;
}

int
media_flush (struct media *media, struct vmdk_error *err)
{
  return media->ops->flush ? media->ops->flush (media, err) : 0;
}

int
media_reserve (struct media *media, uint64_t offset, uint64_t count,
               struct vmdk_error *err)
{
  uint64_t end;

  if (check_write (media, offset, count, &end, err) == -1)
    return -1;
  if (count == 0 || !media->ops->reserve)
    return 0;
  if (media->ops->reserve (media, offset, count, err) == -1)
    return -1;
  grow_size (media, end);
  return 0;
}

/* When the file gets shorter, nobody may rely any more on what goes before it
 * has gone.
 */
int
media_truncate (struct media *media, uint64_t size, struct vmdk_error *err)
{
  uint64_t end, before = media->size;

  if (check_write (media, size, 0, &end, err) == -1)
    return -1;
  if (!media->ops->truncate)
    return fail (err, ERR_UNSUPPORTED, "its size cannot be changed");
  while (size < before
         && !atomic_compare_exchange_weak (&media->size, &before, size))
    ;
  if (media->ops->truncate (media, size, err) == -1) {
    grow_size (media, before);
    return -1;
  }
  grow_size (media, size);
  return 0;
}

/* How many zeros are written at once. */
#define ZEROS_SIZE (256 * 1024)

static int
write_zeros (struct media *media, uint64_t offset, uint64_t count,
             struct vmdk_error *err)
{
  static const uint8_t zeros[ZEROS_SIZE];

  while (count > 0) {
    const size_t len = min_u64 (count, sizeof zeros);

    if (media->ops->pwrite (media, zeros, len, offset, err) == -1)
      return -1;
    offset += len;
    count -= len;
  }
  return 0;
}

/* Zeros by OP (NULL: cannot) or, unless it is to be FAST, by writing them.
 */
static int
put_zeros (struct media *media,
           int (*op) (struct media *media, uint64_t offset, uint64_t count,
                      struct vmdk_error *err),
           uint64_t offset, uint64_t count, bool fast, struct vmdk_error *err)
{
  uint64_t end;

  if (check_write (media, offset, count, &end, err) == -1
      || check_range (media, offset, count, err) == -1)
    return -1;
  if (count == 0)
    return 0;
  if (op) {
    if (op (media, offset, count, err) == 0)
      return 0;
    if (err->kind != ERR_UNSUPPORTED)
      return -1;
  }
  if (fast)
    return fail (err, ERR_UNSUPPORTED, "zeros would have to be written");
  return write_zeros (media, offset, count, err);
}

int
media_punch (struct media *media, uint64_t offset, uint64_t count,
             struct vmdk_error *err)
{
  return put_zeros (media, media->ops->punch, offset, count, false, err);
}

int
media_clear (struct media *media, uint64_t offset, uint64_t count, bool fast,
             struct vmdk_error *err)
{
  return put_zeros (media, media->ops->clear, offset, count, fast, err);
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
  const uint64_t size = media->size;

  if (!media->ops->readahead || offset >= size)
    return;
  count = min_u64 (count, size - offset);
  if (count > 0)
    media->ops->readahead (media, offset, count);
}

void
media_write_back (struct media *media, uint64_t offset, uint64_t count)
{
  if (media->ops->write_back && range_inside (offset, count, media->size)
      && count > 0)
    media->ops->write_back (media, offset, count);
}

int
media_lock (struct media *media, enum media_lock lock, struct vmdk_error *err)
{
  uint64_t end;

  if (lock == MEDIA_LOCK_WRITE && check_write (media, 0, 0, &end, err) == -1)
    return -1;
  return media->ops->lock ? media->ops->lock (media, lock, err) : 0;
}

void
media_lock_holder (struct media *media, char *text, size_t size)
{
  *text = '\0';
  if (media->ops->lock_holder)
    media->ops->lock_holder (media, text, size);
}

int
media_copy_permissions (struct media *media, struct media *from,
                        struct vmdk_error *err)
{
  if (!media->ops->copy_permissions || media->ops != from->ops)
    return 0;
  return media->ops->copy_permissions (media, from, err);
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
