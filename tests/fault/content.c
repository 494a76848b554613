/* SPDX-License-Identifier: BSD-3-Clause */

/* See content.h. */

#include <config.h>

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "content.h"

struct page {
  atomic_uint nr_uses; /* written only while there is one */
  uint8_t bytes[PAGE_BYTES];
};

static void *
must (void *p)
{
  if (!p)
    abort ();
  return p;
}

static void
page_free (struct page *page)
{
  if (page && atomic_fetch_sub (&page->nr_uses, 1) == 1)
    free (page);
}

struct content
content_copy (const struct content *from)
{
  struct content copy = *from;

  if (copy.nr_pages == 0)
    return copy;
  copy.pages = must (malloc (copy.nr_pages * sizeof *copy.pages));
  memcpy (copy.pages, from->pages, copy.nr_pages * sizeof *copy.pages);
  for (size_t i = 0; i < copy.nr_pages; i++)
    if (copy.pages[i])
      atomic_fetch_add (&copy.pages[i]->nr_uses, 1);
  return copy;
}

void
content_free (struct content *content)
{
  for (size_t i = 0; i < content->nr_pages; i++)
    page_free (content->pages[i]);
  free (content->pages);
  *content = (struct content){ 0 };
}

void
content_read (const struct content *content, void *buf, size_t count,
              uint64_t offset)
{
  uint8_t *to = buf;

  assert (range_inside (offset, count, content->size));
  while (count > 0) {
    const struct page *page = content->pages[offset / PAGE_BYTES];
    const size_t start = offset % PAGE_BYTES;
    const size_t n = min_u64 (count, PAGE_BYTES - start);

    if (page)
      memcpy (to, page->bytes + start, n);
    else
      memset (to, 0, n);
    to += n;
    offset += n;
    count -= n;
  }
}

/* The page, for writing. */
static struct page *
own_page (struct page **page)
{
  struct page *own;

  if (*page && atomic_load (&(*page)->nr_uses) == 1)
    return *page;
  own = must (calloc (1, sizeof *own));
  own->nr_uses = 1;
  if (*page)
    memcpy (own->bytes, (*page)->bytes, PAGE_BYTES);
  page_free (*page);
  return *page = own;
}

static void
grow (struct content *content, uint64_t size)
{
  const size_t nr = div_round_up (size, PAGE_BYTES);

  if (nr > content->nr_pages) {
    content->pages =
      must (realloc (content->pages, nr * sizeof *content->pages));
    memset (content->pages + content->nr_pages, 0,
            (nr - content->nr_pages) * sizeof *content->pages);
    content->nr_pages = nr;
  }
  content->size = max_u64 (content->size, size);
}

static void
write_page (struct page **page, const uint8_t *buf, size_t count, size_t start)
{
  if (buf)
    memcpy (own_page (page)->bytes + start, buf, count);
  else if (count == PAGE_BYTES) {
    page_free (*page);
    *page = NULL;
  }
  else if (*page)
    memset (own_page (page)->bytes + start, 0, count);
}

void
content_write (struct content *content, const void *buf, uint64_t count,
               uint64_t offset)
{
  const uint8_t *from = buf;

  grow (content, offset + count);
  while (count > 0) {
    const size_t start = offset % PAGE_BYTES;
    const size_t n = min_u64 (count, PAGE_BYTES - start);

    write_page (&content->pages[offset / PAGE_BYTES], from, n, start);
    if (from)
      from += n;
    offset += n;
    count -= n;
  }
}

void
content_resize (struct content *content, uint64_t size)
{
  if (size < content->size) /* what comes back later is zeros */
    content_write (content, NULL, content->nr_pages * PAGE_BYTES - size, size);
  grow (content, size);
  content->size = size;
}

bool
content_is_hole (const struct content *content, uint64_t offset)
{
  return !content->pages[offset / PAGE_BYTES];
}
