/* SPDX-License-Identifier: BSD-3-Clause */

/* Moving grains.  See grain-move.h.
 *
 * Moves are made in the order of where the grains come from, a buffer full at
 * a time: the buffer is read in as few pieces as the grains lie in, and
 * written in as few as they go to.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "cleanup.h"
#include "grain-move.h"
#include "grain-table.h"
#include "grain-write.h"

/* One system call for so much; more only pushes it out of the CPU's cache. */
#define BUFFER_SIZE ((uint64_t) 2 << 20)

static int
compare_moves (const void *pa, const void *pb)
{
  const struct grain_move *a = pa, *b = pb;

  return (a->from > b->from) - (a->from < b->from);
}

/* How many of the NR moves at M come from, or go to, places side by side. */
static size_t
side_by_side (const struct grain_move *m, size_t nr, uint64_t grain_size,
              bool to)
{
  size_t n = 1;

  while (n < nr
         && (to ? m[n].to == m[0].to + n * grain_size
                : m[n].from == m[0].from + n * grain_size))
    n++;
  return n;
}

/* The last grain of a file may be cut there, behind the disk's end. */
static int
read_grains (struct media *media, const struct grain_move *m, size_t nr,
             uint64_t grain_size, uint8_t *buf, struct vmdk_error *err)
{
  for (size_t i = 0; i < nr;) {
    const size_t n = side_by_side (m + i, nr - i, grain_size, false);
    const uint64_t size = media->size, wanted = n * grain_size;
    const uint64_t count =
      m[i].from < size ? min_u64 (wanted, size - m[i].from) : 0;
    uint8_t *to = buf + i * grain_size;

    if (media_pread (media, to, count, m[i].from, err) == -1)
      return -1;
    memset (to + count, 0, wanted - count);
    i += n;
  }
  return 0;
}

static int
write_grains (struct media *media, const struct grain_move *m, size_t nr,
              uint64_t grain_size, const uint8_t *buf, struct vmdk_error *err)
{
  for (size_t i = 0; i < nr;) {
    const size_t n = side_by_side (m + i, nr - i, grain_size, true);

    if (media_pwrite (media, buf + i * grain_size, n * grain_size, m[i].to,
                      err)
        == -1)
      return -1;
    i += n;
  }
  return 0;
}

static int
set_entries (struct extent *extent, const struct grain_move *m, size_t nr,
             struct vmdk_error *err)
{
  const struct grain_index *index = extent->index;

  for (size_t i = 0; i < nr; i++)
    if (grain_extent_set_entry (extent, m[i].grain,
                                index->rules->encode (index, m[i].to), err)
        == -1)
      return -1;
  return 0;
}

int
grain_moves_make (struct grain_moves *moves, struct extent *extent,
                  grain_moved *moved, void *opaque, struct vmdk_error *err)
{
  const uint64_t grain_size = extent->index->grain_size;
  const size_t most = max_u64 (BUFFER_SIZE / grain_size, 1);
  CLEANUP_FREE uint8_t *buf = malloc (most * grain_size);

  if (!buf)
    return fail_memory (err);
  if (moves->len > 0)
    qsort (moves->ptr, moves->len, sizeof moves->ptr[0], compare_moves);
  for (size_t i = 0; i < moves->len; i += most) {
    const struct grain_move *m = &moves->ptr[i];
    const size_t nr = min_u64 (most, moves->len - i);

    if (read_grains (extent->media, m, nr, grain_size, buf, err) == -1
        || write_grains (extent->media, m, nr, grain_size, buf, err) == -1
        || set_entries (extent, m, nr, err) == -1
        || moved (opaque, nr * grain_size, err) == -1)
      return -1;
  }
  moves->len = 0;
  return 0;
}
