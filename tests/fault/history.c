/* SPDX-License-Identifier: BSD-3-Clause */

/* See history.h. */

#include <config.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "cleanup.h"
#include "history.h"
#include "vector.h"

#define NOT_ENDED UINT64_MAX

struct version {
  size_t began;   /* changes of the store before it */
  uint64_t ended; /* the history's clock */
  uint8_t bytes[SECTOR_SIZE];
};

DEFINE_VECTOR (version_list, struct version *)

struct flush {
  uint64_t began; /* the history's clock */
  size_t ended;   /* changes of the store before that */
};

DEFINE_VECTOR (flush_list, struct flush)

struct history {
  uint64_t nr_sectors;
  struct version_list *sectors; /* the last one is the present version */
  atomic_uint stamp;
  _Atomic uint64_t clock;
  pthread_mutex_t lock;
  struct flush_list flushes; /* under lock */
};

static void
push (struct version_list *sector, const uint8_t *bytes, size_t began,
      uint64_t ended)
{
  struct version *v = malloc (sizeof *v);

  if (!v || version_list_append (sector, v) == -1)
    abort ();
  v->began = began;
  v->ended = ended;
  memcpy (v->bytes, bytes, SECTOR_SIZE);
}

static struct version *
last (const struct version_list *sector)
{
  return sector->ptr[sector->len - 1];
}

struct history *
history_new (const uint8_t *bytes, uint64_t size)
{
  struct history *history = calloc (1, sizeof *history);

  if (!history)
    abort ();
  history->nr_sectors = bytes_to_sectors (size);
  history->sectors = calloc (history->nr_sectors, sizeof *history->sectors);
  if (!history->sectors)
    abort ();
  for (uint64_t s = 0; s < history->nr_sectors; s++)
    push (&history->sectors[s], bytes + sectors_to_bytes (s), 0, 0);
  history->clock = 1;
  pthread_mutex_init (&history->lock, NULL);
  return history;
}

void
history_free (struct history *history)
{
  for (uint64_t s = 0; s < history->nr_sectors; s++) {
    for (size_t i = 0; i < history->sectors[s].len; i++)
      free (history->sectors[s].ptr[i]);
    version_list_reset (&history->sectors[s]);
  }
  free (history->sectors);
  flush_list_reset (&history->flushes);
  pthread_mutex_destroy (&history->lock);
  free (history);
}

uint64_t
history_size (const struct history *history)
{
  return sectors_to_bytes (history->nr_sectors);
}

/* -- Stamps ------------------------------------------------------------- */

uint32_t
history_next_stamp (struct history *history)
{
  return atomic_fetch_add (&history->stamp, 1) + 1;
}

static uint8_t
stamp_byte (uint64_t at, uint32_t stamp)
{
  const uint32_t sector = bytes_to_sectors (at);

  switch (at % 8) {
  case 0:
  case 1:
  case 2:
  case 3:
    return stamp >> at % 4 * 8;
  case 7: /* differs along the sector, and is never 0 */
    return at % SECTOR_SIZE / 8 + 1;
  default:
    return sector >> at % 4 * 8;
  }
}

void
history_stamp (uint8_t *buf, size_t count, uint64_t offset, uint32_t stamp)
{
  for (size_t i = 0; i < count; i++)
    buf[i] = stamp_byte (offset + i, stamp);
}

/* Words about a sector's bytes: the stamps at its start and end. */
static void
explain (const uint8_t *bytes, char *text, size_t size)
{
  const uint8_t *end = bytes + SECTOR_SIZE - 8;

  if (bytes_are_zero (bytes, SECTOR_SIZE))
    snprintf (text, size, "zeros");
  else
    snprintf (text, size,
              "(write %" PRIu32 " of sector %" PRIu32 " ... write %" PRIu32
              " of sector %" PRIu32 ")",
              le32_load (bytes), le32_load (bytes + 4) & 0xffffff,
              le32_load (end), le32_load (end + 4) & 0xffffff);
}

/* -- Changes ------------------------------------------------------------ */

/* The part of sector S that lies in the range. */
struct part {
  uint64_t start; /* within the sector */
  uint64_t count;
  uint64_t buf_offset; /* within the range */
};

static struct part
part_of (uint64_t s, uint64_t count, uint64_t offset)
{
  const uint64_t first = max_u64 (offset, sectors_to_bytes (s));
  const uint64_t end = min_u64 (offset + count, sectors_to_bytes (s + 1));

  return (struct part){ first % SECTOR_SIZE, end - first, first - offset };
}

#define FOR_EACH_SECTOR(s, count, offset)      \
  for (uint64_t s = bytes_to_sectors (offset); \
       (count) > 0 && sectors_to_bytes (s) < (offset) + (count); s++)

void
history_write_begin (struct history *history, const uint8_t *buf,
                     uint64_t count, uint64_t offset, size_t at)
{
  FOR_EACH_SECTOR (s, count, offset)
  {
    const struct part part = part_of (s, count, offset);
    uint8_t bytes[SECTOR_SIZE];

    memcpy (bytes, last (&history->sectors[s])->bytes, sizeof bytes);
    if (buf)
      memcpy (bytes + part.start, buf + part.buf_offset, part.count);
    else
      memset (bytes + part.start, 0, part.count);
    push (&history->sectors[s], bytes, at, NOT_ENDED);
  }
}

void
history_write_end (struct history *history, uint64_t count, uint64_t offset)
{
  const uint64_t now = atomic_fetch_add (&history->clock, 1);

  FOR_EACH_SECTOR (s, count, offset) last (&history->sectors[s])->ended = now;
}

uint64_t
history_flush_begin (struct history *history)
{
  return history->clock;
}

void
history_flush_end (struct history *history, uint64_t began, size_t at)
{
  LOCK_FOR_SCOPE (&history->lock);

  if (flush_list_append (&history->flushes, (struct flush){ began, at }) == -1)
    abort ();
}

/* -- Checks ------------------------------------------------------------- */

static int
wrong (const struct history *history, uint64_t s, const uint8_t *got,
       const char *what, char text[HISTORY_TEXT_SIZE])
{
  const struct version_list *sector = &history->sectors[s];
  const size_t first = sector->len > 4 ? sector->len - 4 : 0;
  size_t n = snprintf (text, HISTORY_TEXT_SIZE, "sector %" PRIu64 " is ", s);

  explain (got, text + n, HISTORY_TEXT_SIZE - n);
  n = strlen (text);
  n += snprintf (text + n, HISTORY_TEXT_SIZE - n,
                 ", %s; its last versions:", what);
  for (size_t i = first; i < sector->len; i++) {
    n += snprintf (text + n, HISTORY_TEXT_SIZE - n,
                   " [began at %zu: ", sector->ptr[i]->began);
    explain (sector->ptr[i]->bytes, text + n, HISTORY_TEXT_SIZE - n);
    n = strlen (text);
    n += snprintf (text + n, HISTORY_TEXT_SIZE - n, "]");
  }
  return -1;
}

static bool
same (const struct version *v, const uint8_t *bytes)
{
  return memcmp (v->bytes, bytes, SECTOR_SIZE) == 0;
}

int
history_settle (struct history *history, const uint8_t *buf, uint64_t count,
                uint64_t offset, char text[HISTORY_TEXT_SIZE])
{
  FOR_EACH_SECTOR (s, count, offset)
  {
    struct version_list *sector = &history->sectors[s];
    const uint8_t *got = buf + sectors_to_bytes (s) - offset;

    if (same (last (sector), got))
      continue;
    if (sector->len < 2 || !same (sector->ptr[sector->len - 2], got))
      return wrong (history, s, got, "neither the old nor the new", text);
    push (sector, got, last (sector)->began,
          atomic_fetch_add (&history->clock, 1));
  }
  return 0;
}

int
history_compare (struct history *history, const uint8_t *buf, uint64_t count,
                 uint64_t offset, char text[HISTORY_TEXT_SIZE])
{
  FOR_EACH_SECTOR (s, count, offset)
  {
    const struct part part = part_of (s, count, offset);

    uint8_t got[SECTOR_SIZE];

    memcpy (got, last (&history->sectors[s])->bytes, sizeof got);
    memcpy (got + part.start, buf + part.buf_offset, part.count);
    if (!same (last (&history->sectors[s]), got))
      return wrong (history, s, got, "not what was written last", text);
  }
  return 0;
}

/* What the flushes before the moment AT have promised, as a time of the
 * history's clock.
 */
static uint64_t
promised (struct history *history, size_t at)
{
  LOCK_FOR_SCOPE (&history->lock);
  uint64_t clock = 1; /* what was there at first */

  for (size_t i = 0; i < history->flushes.len; i++)
    if (history->flushes.ptr[i].ended <= at)
      clock = max_u64 (clock, history->flushes.ptr[i].began);
  return clock;
}

static bool
may_be (const struct version_list *sector, const uint8_t *got, uint64_t clock,
        size_t at)
{
  for (size_t i = sector->len; i-- > 0;) {
    const struct version *v = sector->ptr[i];

    if ((v->began < at || v->ended < clock) && same (v, got))
      return true;
    if (v->ended < clock)
      return false;
  }
  return false;
}

int
history_check (struct history *history, const uint8_t *buf, size_t at,
               char text[HISTORY_TEXT_SIZE])
{
  const uint64_t clock = promised (history, at);

  for (uint64_t s = 0; s < history->nr_sectors; s++)
    if (!may_be (&history->sectors[s], buf + sectors_to_bytes (s), clock, at))
      return wrong (history, s, buf + sectors_to_bytes (s),
                    "which it cannot be", text);
  return 0;
}
