/* SPDX-License-Identifier: BSD-3-Clause */

/* What can be copied: disks, media, parts of either.  See copy.h. */

#include <config.h>

#include <string.h>

#include "checked.h"
#include "copy.h"

/* How much of a disk is mapped at once: some milliseconds' work at worst. */
#define MAP_AT_ONCE (UINT64_C (1) << 30)

static int
read_disk (void *opaque, void *buf, size_t count, uint64_t offset,
           struct vmdk_error *err)
{
  return disk_read (opaque, buf, count, offset, err);
}

struct search {
  uint64_t start, stop;
};

static bool
stop_at_data (void *opaque, const struct disk_piece *piece)
{
  struct search *search = opaque;

  if (piece->zero)
    return true;
  search->start = piece->offset;
  search->stop = piece->offset + piece->length;
  return false;
}

static int
find_in_disk (void *opaque, uint64_t offset, uint64_t end, uint64_t *start,
              uint64_t *stop, struct vmdk_error *err)
{
  const uint64_t count = min_u64 (end - offset, MAP_AT_ONCE);
  struct search search = { offset + count, offset + count };

  if (disk_map (opaque, offset, count, stop_at_data, &search, err) == -1)
    return -1;
  *start = search.start;
  *stop = search.stop;
  return 0;
}

struct copy_source
copy_source_of_disk (struct disk *disk)
{
  return (struct copy_source){
    .size = disk_size (disk),
    .opaque = disk,
    .read = read_disk,
    .find_data = find_in_disk,
  };
}

static int
find_in_media (void *opaque, uint64_t offset, uint64_t end, uint64_t *start,
               uint64_t *stop, struct vmdk_error *err)
{
  uint64_t length;
  bool hole;

  if (media_map (opaque, offset, end - offset, &hole, &length, err) == -1)
    return -1;
  *start = hole ? offset + length : offset;
  *stop = offset + length;
  return 0;
}

/* Holes are not read here either: a piece may have some. */
static int
read_media (void *opaque, void *buf, size_t count, uint64_t offset,
            struct vmdk_error *err)
{
  uint8_t *to = buf;

  while (count > 0) {
    uint64_t length;
    bool hole;

    if (media_map (opaque, offset, count, &hole, &length, err) == -1)
      return -1;
    if (hole)
      memset (to, 0, length);
    else if (media_pread (opaque, to, length, offset, err) == -1)
      return -1;
    to += length;
    offset += length;
    count -= length;
  }
  return 0;
}

struct copy_source
copy_source_of_media (struct media *media)
{
  return (struct copy_source){
    .size = media->size,
    .opaque = media,
    .read = read_media,
    .find_data = find_in_media,
  };
}

static int
read_window (void *opaque, void *buf, size_t count, uint64_t offset,
             struct vmdk_error *err)
{
  const struct copy_window *window = opaque;
  const struct copy_source *source = window->source;
  const uint64_t at = window->offset + offset;
  const size_t there =
    at < source->size ? min_u64 (count, source->size - at) : 0;

  memset ((uint8_t *) buf + there, 0, count - there);
  return there ? source->read (source->opaque, buf, there, at, err) : 0;
}

static int
find_in_window (void *opaque, uint64_t offset, uint64_t end, uint64_t *start,
                uint64_t *stop, struct vmdk_error *err)
{
  const struct copy_window *window = opaque;
  const struct copy_source *source = window->source;
  const uint64_t to = min_u64 (window->offset + end, source->size);

  if (window->offset + offset >= to) {
    *start = *stop = end;
    return 0;
  }
  if (source->find_data (source->opaque, window->offset + offset, to, start,
                         stop, err)
      == -1)
    return -1;
  *start -= window->offset;
  *stop -= window->offset;
  return 0;
}

struct copy_source
copy_source_of_window (struct copy_window *window, uint64_t size)
{
  return (struct copy_source){
    .size = size,
    .opaque = window,
    .read = read_window,
    .find_data = find_in_window,
  };
}
