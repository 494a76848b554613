/* SPDX-License-Identifier: BSD-3-Clause */

/* See changed-list.h. */

#include <config.h>

#include <stdlib.h>

#include "changed-list.h"

static int
grow (struct changed_list *list, struct vmdk_error *err)
{
  const size_t more = list->capacity ? 2 * list->capacity : 64;
  struct changed_area *ptr = reallocarray (list->ptr, more, sizeof *ptr);

  if (!ptr)
    return fail_memory (err);
  list->ptr = ptr;
  list->capacity = more;
  return 0;
}

int
changed_list_add (void *opaque, uint64_t offset, uint64_t count,
                  struct vmdk_error *err)
{
  struct changed_list *list = opaque;
  const size_t limit = list->limit ? list->limit : CHANGED_LIST_MAX;
  struct changed_area *last = list->len ? &list->ptr[list->len - 1] : NULL;

  if (last && (offset <= last->end || list->len >= limit)) {
    if (offset + count > last->end)
      last->end = offset + count;
    return 0;
  }
  if (list->len == list->capacity && grow (list, err) == -1)
    return -1;
  list->ptr[list->len++] = (struct changed_area){ offset, offset + count };
  return 0;
}

/* The first area that ends behind OFFSET. */
static size_t
find (const struct changed_list *list, uint64_t offset)
{
  size_t low = 0, high = list->len;

  while (low < high) {
    const size_t middle = low + (high - low) / 2;

    if (list->ptr[middle].end > offset)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

bool
changed_list_has (const struct changed_list *list, uint64_t offset,
                  uint64_t *length)
{
  const size_t i = find (list, offset);
  const bool changed = i < list->len && list->ptr[i].start <= offset;

  *length = (i == list->len ? UINT64_MAX
             : changed      ? list->ptr[i].end
                            : list->ptr[i].start)
            - offset;
  return changed;
}

void
changed_list_reset (struct changed_list *list)
{
  free (list->ptr);
  *list = (struct changed_list){ 0 };
}
