/* SPDX-License-Identifier: BSD-3-Clause */

/* Ranges in use.  See nfc-ranges.h. */

#include <config.h>

#include "checked.h"
#include "cleanup.h"
#include "nfc-ranges.h"

void
nfc_ranges_init (struct nfc_ranges *ranges)
{
  pthread_mutex_init (&ranges->lock, NULL);
  pthread_cond_init (&ranges->changed, NULL);
  ranges->first = NULL;
}

void
nfc_ranges_destroy (struct nfc_ranges *ranges)
{
  pthread_cond_destroy (&ranges->changed);
  pthread_mutex_destroy (&ranges->lock);
}

static bool
is_free (const struct nfc_ranges *ranges, const struct nfc_range *range)
{
  for (const struct nfc_range *r = ranges->first; r; r = r->next)
    if ((r->write || range->write)
        && ranges_overlap (r->offset, r->count, range->offset, range->count))
      return false;
  return true;
}

void
nfc_ranges_take (struct nfc_ranges *ranges, struct nfc_range *range)
{
  LOCK_FOR_SCOPE (&ranges->lock);
  while (!is_free (ranges, range))
    pthread_cond_wait (&ranges->changed, &ranges->lock);
  range->next = ranges->first;
  ranges->first = range;
}

void
nfc_ranges_give (struct nfc_ranges *ranges, struct nfc_range *range)
{
  LOCK_FOR_SCOPE (&ranges->lock);
  for (struct nfc_range **p = &ranges->first; *p; p = &(*p)->next)
    if (*p == range) {
      *p = range->next;
      break;
    }
  pthread_cond_broadcast (&ranges->changed);
}
