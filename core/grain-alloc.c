/* SPDX-License-Identifier: BSD-3-Clause */

/* Room for new grains.  See grain-alloc.h. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "cleanup.h"
#include "grain-alloc.h"

/* Room is obtained in steps of this, or of what is needed if that is more. */
#define STEP ((uint64_t) 16 << 20)

int
grain_alloc_init (struct grain_alloc *alloc, struct media *media,
                  uint64_t grain_size, uint64_t next, uint64_t limit,
                  struct vmdk_error *err)
{
  memset (alloc, 0, sizeof *alloc);
  alloc->media = media;
  alloc->grain_size = grain_size;
  alloc->limit = limit;
  if (round_up_overflow (next, grain_size, &alloc->room.next))
    return fail (err, ERR_CORRUPT, "the file's end, %" PRIu64 ", is too far",
                 next);
  alloc->room.reserved = media->size;
  pthread_mutex_init (&alloc->room.lock, NULL);
  return 0;
}

void
grain_alloc_destroy (struct grain_alloc *alloc)
{
  if (!alloc->media)
    return;
  grain_places_reset (&alloc->room.free);
  grain_places_reset (&alloc->room.forgot);
  pthread_mutex_destroy (&alloc->room.lock);
  alloc->media = NULL;
}

/* Freed grains that lie side by side, at most *nr. */
static bool
take_freed (struct grain_alloc *alloc, uint64_t *nr, uint64_t *offset)
{
  struct grain_places *free = &alloc->room.free;
  uint64_t n = 0;

  if (free->len == 0)
    return false;
  /* From the end, so that nothing has to move. */
  while (n < *nr && n < free->len
         && (n == 0
             || free->ptr[free->len - n - 1]
                  == free->ptr[free->len - n] - alloc->grain_size))
    n++;
  free->len -= n;
  *offset = free->ptr[free->len];
  *nr = n;
  return true;
}

/* Obtain the room from FROM to END.  The file is made to hold it, because an
 * entry that names a grain which the file's end cuts would be damage.
 */
static int
obtain (struct grain_alloc *alloc, uint64_t from, uint64_t end,
        struct vmdk_error *err)
{
  if (media_reserve (alloc->media, from, end - from, err) == -1)
    return -1;
  return alloc->media->size < end ? media_truncate (alloc->media, end, err)
                                  : 0;
}

/* Obtain room up to END, and a step more if that can be had. */
static int
reserve (struct grain_alloc *alloc, uint64_t end, struct vmdk_error *err)
{
  const uint64_t from = alloc->room.reserved;
  const uint64_t ahead = max_u64 (end, min_u64 (from + STEP, alloc->limit));

  if (end <= from)
    return 0;
  if (obtain (alloc, from, ahead, err) == 0) {
    alloc->room.reserved = ahead;
    return 0;
  }
  if (ahead == end || obtain (alloc, from, end, err) == -1)
    return -1;
  alloc->room.reserved = end;
  return 0;
}

static int
fail_limit (uint64_t next, struct vmdk_error *err)
{
  fail (err, ERR_SYSTEM,
        "the file has reached %" PRIu64
        " bytes, the most that its tables can name",
        next);
  err->errnum = ENOSPC;
  return -1;
}

int
grain_alloc_take (struct grain_alloc *alloc, uint64_t *nr, uint64_t *offset,
                  struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&alloc->room.lock);
  const uint64_t next = alloc->room.next;

  if (take_freed (alloc, nr, offset))
    return 0;
  if (next >= alloc->limit || alloc->limit - next < alloc->grain_size)
    return fail_limit (next, err);
  *nr = min_u64 (*nr, (alloc->limit - next) / alloc->grain_size);
  if (reserve (alloc, next + *nr * alloc->grain_size, err) == -1) {
    /* Perhaps there is room for one. */
    if (*nr == 1 || reserve (alloc, next + alloc->grain_size, err) == -1)
      return -1;
    *nr = 1;
  }
  *offset = next;
  alloc->room.next = next + *nr * alloc->grain_size;
  return 0;
}

int
grain_alloc_take_all (struct grain_alloc *alloc, uint64_t nr,
                      uint64_t *offset, struct vmdk_error *err)
{
  if (nr == 1)
    return grain_alloc_take (alloc, &nr, offset, err);

  LOCK_FOR_SCOPE (&alloc->room.lock);
  const uint64_t next = alloc->room.next;

  if (next >= alloc->limit || (alloc->limit - next) / alloc->grain_size < nr)
    return fail_limit (next, err);
  if (reserve (alloc, next + nr * alloc->grain_size, err) == -1)
    return -1;
  *offset = next;
  alloc->room.next = next + nr * alloc->grain_size;
  return 0;
}

static int
compare_places (const void *pa, const void *pb)
{
  const uint64_t a = *(const uint64_t *) pa, b = *(const uint64_t *) pb;

  return (a > b) - (a < b);
}

/* Make PLACES free.  What memory cannot be had for is leaked, which costs
 * space until the next check.
 */
static void
add_free (struct grain_alloc *alloc, const struct grain_places *places)
{
  LOCK_FOR_SCOPE (&alloc->room.lock);

  for (size_t i = 0; i < places->len; i++)
    if (grain_places_append (&alloc->room.free, places->ptr[i]) == -1)
      break;
  if (alloc->room.free.len > 0)
    qsort (alloc->room.free.ptr, alloc->room.free.len, sizeof (uint64_t),
           compare_places);
}

/* Punch a grain out of the file.  One that cannot be is not handed out
 * again: its room would not read as zeros.
 */
static void
recycle (struct grain_alloc *alloc, struct grain_places *places)
{
  struct vmdk_error ignored;
  size_t kept = 0;

  for (size_t i = 0; i < places->len; i++)
    if (media_punch (alloc->media, places->ptr[i], alloc->grain_size, &ignored)
        == 0)
      places->ptr[kept++] = places->ptr[i];
  places->len = kept;
  add_free (alloc, places);
}

void
grain_alloc_give_back (struct grain_alloc *alloc, uint64_t offset, uint64_t nr)
{
  struct grain_places places = VECTOR_EMPTY;

  for (uint64_t i = 0; i < nr; i++)
    if (grain_places_append (&places, offset + i * alloc->grain_size) == -1)
      break;
  recycle (alloc, &places);
  grain_places_reset (&places);
}

void
grain_alloc_free (struct grain_alloc *alloc, uint64_t offset)
{
  LOCK_FOR_SCOPE (&alloc->room.lock);

  /* If memory cannot be had the room is leaked. */
  if (grain_places_append (&alloc->room.forgot, offset) == -1)
    return;
}

struct grain_places
grain_alloc_freed (struct grain_alloc *alloc)
{
  LOCK_FOR_SCOPE (&alloc->room.lock);
  const struct grain_places places = alloc->room.forgot;

  alloc->room.forgot = (struct grain_places) VECTOR_EMPTY;
  return places;
}

void
grain_alloc_forgotten (struct grain_alloc *alloc, struct grain_places *places,
                       bool ok)
{
  if (ok)
    recycle (alloc, places);
  else
    for (size_t i = 0; i < places->len; i++)
      grain_alloc_free (alloc, places->ptr[i]);
  grain_places_reset (places);
}

void
grain_alloc_set_end (struct grain_alloc *alloc, uint64_t end)
{
  LOCK_FOR_SCOPE (&alloc->room.lock);

  alloc->room.next = end;
}

int
grain_alloc_trim (struct grain_alloc *alloc, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&alloc->room.lock);

  if (alloc->media->size <= alloc->room.next)
    return 0;
  if (media_truncate (alloc->media, alloc->room.next, err) == -1)
    return -1;
  alloc->room.reserved = alloc->room.next;
  return 0;
}
