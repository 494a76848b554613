/* SPDX-License-Identifier: BSD-3-Clause */

/* What the tests of the check share: disks in memory, what is found in them,
 * and whether a repair kept what can be read.
 * Include after extent-helper.h.
 */

#ifndef VMDKIT_TESTS_CHECK_HELPER_H
#define VMDKIT_TESTS_CHECK_HELPER_H

#include "check.h"
#include "disk.h"
#include "repair.h"
#include "store.h"

#define MAX_FOUND 64
#define FOUND_SIZE 400

struct bench {
  struct store *store;
  struct resources *resources;
  struct operation operation;
  struct check_options options;
  struct check_result result;
  struct vmdk_error err;
  char found[MAX_FOUND][FOUND_SIZE];
  size_t nr_found;
};

/* "error+ table-entry 2048: ...": + is mended, ~ mendable, 2048 the place. */
static inline void
bench_found (void *opaque, const struct check_finding *finding)
{
  static const char marks[] = { '-', '~', '+' };
  struct bench *b = opaque;
  char place[32] = "";

  if (b->nr_found == MAX_FOUND)
    return;
  if (finding->offset != CHECK_NOWHERE)
    snprintf (place, sizeof place, " %llu",
              (unsigned long long) finding->offset);
  snprintf (b->found[b->nr_found++], FOUND_SIZE, "%s%c %s%s: %s",
            check_severity_name (finding->severity), marks[finding->mending],
            check_kind_name (finding->kind), place, finding->text);
}

static inline void
bench_init (struct bench *b)
{
  memset (b, 0, sizeof *b);
  b->store = store_memory_new ("memory", &b->err);
  b->resources = resources_new (1 << 20, 1 << 20, &b->err);
  assert_non_null (b->store);
  assert_non_null (b->resources);
  b->operation.rules.open.resources = b->resources;
  b->operation.rules.open.lock = true;
  b->options.found = bench_found;
  b->options.opaque = b;
}

static inline void
bench_free (struct bench *b)
{
  free (b->result.backup);
  store_close (b->store);
  resources_free (b->resources);
}

static inline void
bench_put (struct bench *b, const char *name, const struct image *image)
{
  assert_int_equal (
    store_memory_add (b->store, name, image->bytes, image->size, &b->err), 0);
}

static inline struct image
bench_get (struct bench *b, const char *name)
{
  struct media *media = store_open (b->store, name, STORE_FROM_FILE, &b->err);
  struct image image = { 0 };

  assert_non_null (media);
  image_grow (&image, media->size);
  assert_int_equal (media_pread (media, image.bytes, image.size, 0, &b->err),
                    0);
  media_close (media);
  return image;
}

static inline void
bench_put_text (struct bench *b, const char *name, const char *text)
{
  assert_int_equal (
    store_memory_add (b->store, name, text, strlen (text), &b->err), 0);
}

static inline void
bench_poke (struct bench *b, const char *name, uint64_t offset,
            const void *bytes, size_t count)
{
  struct media *media =
    store_open (b->store, name, STORE_FROM_FILE | STORE_WRITABLE, &b->err);

  assert_non_null (media);
  assert_int_equal (media_pwrite (media, bytes, count, offset, &b->err), 0);
  media_close (media);
}

static inline void
bench_poke32 (struct bench *b, const char *name, uint64_t offset,
              uint32_t value)
{
  uint8_t bytes[4];

  le32_store (bytes, value);
  bench_poke (b, name, offset, bytes, sizeof bytes);
}

static inline int
bench_try (struct bench *b, const char *name)
{
  free (b->result.backup);
  b->nr_found = 0;
  return disk_check (b->store, name, STORE_FROM_USER, &b->operation,
                     &b->options, &b->result, &b->err);
}

/* Check, and compare what is found with WANTED, which NULL ends. */
static inline void
bench_check (struct bench *b, const char *name, const char *const *wanted)
{
  size_t n = 0;

  if (bench_try (b, name) == -1)
    print_error ("not checked: %s\n", b->err.text);
  while (wanted && wanted[n])
    n++;
  for (size_t i = 0; i < b->nr_found || i < n; i++) {
    const char *found = i < b->nr_found ? b->found[i] : "(nothing)";
    const char *want = i < n ? wanted[i] : "(nothing)";

    if (strcmp (found, want) != 0)
      print_error ("found:  %s\nwanted: %s\n", found, want);
    assert_string_equal (found, want);
  }
}

#define FINDINGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* All sectors of a disk, and which of them can be read. */
struct contents {
  uint64_t size;
  uint8_t *bytes;
  bool *readable; /* a sector each */
};

static inline struct contents
bench_read (struct bench *b, const char *name)
{
  struct disk *disk =
    disk_open (b->store, name, STORE_FROM_USER, &b->operation.rules, &b->err);
  struct contents c;

  if (!disk)
    print_error ("%s\n", b->err.text);
  assert_non_null (disk);
  c.size = disk_size (disk);
  c.bytes = calloc (1, c.size);
  c.readable = calloc (c.size / 512 + 1, sizeof *c.readable);
  for (uint64_t at = 0; at < c.size; at += 512)
    c.readable[at / 512] =
      disk_read (disk, c.bytes + at, 512, at, &b->err) == 0;
  disk_close (disk);
  return c;
}

static inline void
contents_free (struct contents *c)
{
  free (c->bytes);
  free (c->readable);
}

/* What could be read before reads the same. */
static inline void
assert_nothing_lost (const struct contents *before,
                     const struct contents *after)
{
  assert_int_equal (before->size, after->size);
  for (uint64_t at = 0; at < before->size; at += 512) {
    if (!before->readable[at / 512])
      continue;
    assert_true (after->readable[at / 512]);
    assert_memory_equal (before->bytes + at, after->bytes + at, 512);
  }
}

#endif /* VMDKIT_TESTS_CHECK_HELPER_H */
