/* SPDX-License-Identifier: BSD-3-Clause */

/* What the tests of the descriptor share: parsing a copy that ASan watches,
 * hearing the warnings, comparing what is printed, and texts that grow.
 */

#ifndef VMDKIT_TESTS_DESCRIPTOR_HELPER_H
#define VMDKIT_TESTS_DESCRIPTOR_HELPER_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Before cmocka.h, which has a macro of the name fail. */
#include "descriptor.h"

#include <cmocka.h>

#define UNUSED __attribute__ ((unused))
#define COUNT(array) (sizeof (array) / sizeof (array)[0])

/* Lines 1 to 5 of most texts here; nothing to warn about. */
#define HEAD                \
  "# Disk DescriptorFile\n" \
  "version=1\n"             \
  "CID=12345678\n"          \
  "parentCID=ffffffff\n"    \
  "createType=\"custom\"\n"
#define EXTENT "RW 16 FLAT \"a\" 0\n"

/* Warnings, one a line. */
struct heard {
  char text[4096];
};

static inline void
hear (void *opaque, enum log_topic topic, const char *text)
{
  struct heard *heard = opaque;
  const size_t len = strlen (heard->text);

  if (topic == LOG_WARNING)
    snprintf (heard->text + len, sizeof heard->text - len, "%s%s",
              len ? "\n" : "", text);
}

static inline struct descriptor *
parse (const char *text, size_t len, struct heard *heard,
       struct vmdk_error *err)
{
  const struct vmdk_log log = { .sink = heard ? hear : NULL, .opaque = heard };
  /* A copy without NUL: a read past the end is then seen by ASan. */
  CLEANUP_FREE char *copy = malloc (len ? len : 1);

  assert_non_null (copy);
  memcpy (copy, text, len);
  return descriptor_parse (copy, len, &log, err);
}

static inline struct descriptor *
parse_good (const char *text)
{
  struct vmdk_error err = { 0 };
  struct descriptor *d = parse (text, strlen (text), NULL, &err);

  if (!d)
    fail_msg ("%s\n%s", err.text, text);
  return d;
}

static inline void
assert_prints (const struct descriptor *d, const char *expected)
{
  struct vmdk_error err = { 0 };
  size_t len = 0;
  CLEANUP_FREE char *text = descriptor_print (d, &len, &err);

  assert_non_null (text);
  assert_string_equal (text, expected);
  assert_int_equal (len, strlen (expected));
}

/* The extents, one a line, in canonical spelling. */
static inline void
list_extents (const struct descriptor *d, char *list, size_t size)
{
  uint64_t sum = 0;
  size_t len = 0;

  *list = '\0';
  for (size_t i = 0; i < descriptor_nr_extents (d); i++) {
    const struct extent_line *e = descriptor_extent (d, i);

    len += (size_t) snprintf (list + len, size - len,
                              "%s%zu: %s %" PRIu64 " %s", i ? "\n" : "",
                              e->line, extent_access_name (e->access),
                              e->nr_sectors, extent_type_name (e->type));
    if (e->name)
      len += (size_t) snprintf (list + len, size - len, " %s", e->name);
    if (e->has_offset)
      len += (size_t) snprintf (list + len, size - len, " %" PRIu64,
                                e->offset_sector);
    assert_true (len < size);
    sum += e->nr_sectors;
  }
  assert_int_equal (sum, descriptor_nr_sectors (d));
}

/* A text that grows. */

struct text {
  char *p;
  size_t len, size;
};

static inline void
add (struct text *t, const char *piece)
{
  const size_t len = strlen (piece);

  if (t->len + len + 1 > t->size) {
    t->size = (t->len + len + 1) * 2;
    t->p = realloc (t->p, t->size);
    assert_non_null (t->p);
  }
  memcpy (t->p + t->len, piece, len + 1);
  t->len += len;
}

static inline void
add_times (struct text *t, const char *piece, size_t times)
{
  while (times-- > 0)
    add (t, piece);
}

#endif /* VMDKIT_TESTS_DESCRIPTOR_HELPER_H */
