/* SPDX-License-Identifier: BSD-3-Clause */

/* The bytes of a file in memory, in pages that copies share until one of
 * them is written: copying a whole file costs next to nothing, and neither
 * does a hole.  What nobody wrote reads as zeros.
 *
 * A content has one user at a time; the pages may be shared by threads.
 * There is no way to fail but by want of memory, which ends the test.
 */

#ifndef VMDKIT_TESTS_CONTENT_H
#define VMDKIT_TESTS_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 4096

struct page;

/* All zeros: an empty file. */
struct content {
  struct page **pages; /* NULL: a hole */
  size_t nr_pages;     /* enough for size, or more */
  uint64_t size;       /* bytes */
};

extern struct content content_copy (const struct content *from);
extern void content_free (struct content *content);

/* The range lies within the size. */
extern void content_read (const struct content *content, void *buf,
                          size_t count, uint64_t offset);

/* Grows the file if need be.  BUF is NULL for zeros; whole pages of those
 * become holes.
 */
extern void content_write (struct content *content, const void *buf,
                           uint64_t count, uint64_t offset);
extern void content_resize (struct content *content, uint64_t size);

/* Whether the page at OFFSET is a hole. */
extern bool content_is_hole (const struct content *content, uint64_t offset);

#endif /* VMDKIT_TESTS_CONTENT_H */
