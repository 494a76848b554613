/* SPDX-License-Identifier: BSD-3-Clause */

/* What the tests of new disks share: a store that counts what is done to it
 * and fails when told to, and looking at what was made.
 * Include after extent-helper.h.
 */

#ifndef VMDKIT_TESTS_CREATE_HELPER_H
#define VMDKIT_TESTS_CREATE_HELPER_H

#include <errno.h>

#include "descriptor.h"
#include "disk.h"
#include "store.h"

/* Everything goes through to INNER, but for the call that is to fail: the
 * FAIL_AT-th that changes or flushes something (counted from 1; 0: none).
 * Removals are not counted, they undo.
 */
struct faulty_store {
  struct store store;
  struct store *inner; /* borrowed */
  unsigned nr_calls, fail_at;
  unsigned nr_open, nr_flushed; /* media */
  unsigned nr_store_flushes;
  bool keep; /* removals fail */
};

struct faulty_media {
  struct media media;
  struct media *inner;
  struct faulty_store *store;
};

static inline int
faulty_call (struct faulty_store *f, struct vmdk_error *err)
{
  if (++f->nr_calls != f->fail_at)
    return 0;
  return fail_errno (err, ENOSPC, "told to fail");
}

static inline int
faulty_pwrite (struct media *media, const void *buf, size_t count,
               uint64_t offset, struct vmdk_error *err)
{
  struct faulty_media *m = (struct faulty_media *) media;

  if (faulty_call (m->store, err) == -1)
    return -1;
  return media_pwrite (m->inner, buf, count, offset, err);
}

static inline int
faulty_flush (struct media *media, struct vmdk_error *err)
{
  struct faulty_media *m = (struct faulty_media *) media;

  if (faulty_call (m->store, err) == -1)
    return -1;
  m->store->nr_flushed++;
  return media_flush (m->inner, err);
}

static inline int
faulty_reserve (struct media *media, uint64_t offset, uint64_t count,
                struct vmdk_error *err)
{
  struct faulty_media *m = (struct faulty_media *) media;

  if (faulty_call (m->store, err) == -1)
    return -1;
  return media_reserve (m->inner, offset, count, err);
}

static inline int
faulty_truncate (struct media *media, uint64_t size, struct vmdk_error *err)
{
  struct faulty_media *m = (struct faulty_media *) media;

  if (faulty_call (m->store, err) == -1)
    return -1;
  return media_truncate (m->inner, size, err);
}

static inline void
faulty_media_close (struct media *media)
{
  struct faulty_media *m = (struct faulty_media *) media;

  m->store->nr_open--;
  media_close (m->inner);
  free (media->name);
  free (m);
}

static const struct media_ops faulty_media_ops = {
  .pwrite = faulty_pwrite,
  .flush = faulty_flush,
  .reserve = faulty_reserve,
  .truncate = faulty_truncate,
  .close = faulty_media_close,
};

static inline struct media *
faulty_create (struct store *store, const char *name, unsigned mode,
               struct vmdk_error *err)
{
  struct faulty_store *f = (struct faulty_store *) store;
  struct faulty_media *m;
  struct media *inner;

  if (faulty_call (f, err) == -1)
    return NULL;
  inner = store_create (f->inner, name, mode, err);
  if (!inner)
    return NULL;
  m = calloc (1, sizeof *m);
  assert_non_null (m);
  m->media.ops = &faulty_media_ops;
  m->media.name = strdup (name);
  m->inner = inner;
  m->store = f;
  f->nr_open++;
  assert_int_equal (f->nr_open, 1); /* never more than one at a time */
  return &m->media;
}

static inline struct media *
faulty_open (struct store *store, const char *name,
             enum store_open_flags flags, struct vmdk_error *err)
{
  return store_open (((struct faulty_store *) store)->inner, name, flags, err);
}

static inline int
faulty_remove (struct store *store, const char *name, struct vmdk_error *err)
{
  struct faulty_store *f = (struct faulty_store *) store;

  assert_int_equal (f->nr_open, 0);
  if (f->keep)
    return fail_errno (err, EACCES, "told to keep it");
  return store_remove (f->inner, name, err);
}

static inline int
faulty_store_flush (struct store *store, struct vmdk_error *err)
{
  struct faulty_store *f = (struct faulty_store *) store;

  if (faulty_call (f, err) == -1)
    return -1;
  f->nr_store_flushes++;
  return store_flush (f->inner, err);
}

static const struct store_ops faulty_store_ops = {
  .open = faulty_open,
  .create = faulty_create,
  .remove = faulty_remove,
  .flush = faulty_store_flush,
};

static inline struct faulty_store
faulty_store_over (struct store *inner)
{
  return (struct faulty_store){
    .store = { .ops = &faulty_store_ops, .name = inner->name },
    .inner = inner,
  };
}

/* -- What was made ------------------------------------------------------ */

struct name_text {
  size_t nr;
  char text[1000]; /* sorted as the store lists them, blanks between */
};

static inline int
add_name (void *opaque, const char *name, struct vmdk_error *err)
{
  struct name_text *t = opaque;
  const size_t len = strlen (t->text);

  (void) err;
  t->nr++;
  snprintf (t->text + len, sizeof t->text - len, "%s%s", len ? " " : "", name);
  return 0;
}

static inline void
assert_files (struct store *store, const char *names)
{
  struct name_text t = { 0 };
  struct vmdk_error err;

  assert_int_equal (store_list (store, add_name, &t, &err), 0);
  assert_string_equal (t.text, names);
}

/* A whole file.  The caller frees it. */
static inline struct image
read_file (struct store *store, const char *name)
{
  struct vmdk_error err = { 0 };
  struct media *media = store_open (store, name, STORE_FROM_FILE, &err);
  struct image image = { 0 };

  assert_string_equal (err.text, "");
  assert_non_null (media);
  image.size = media->size;
  image.bytes = malloc (image.size + 1);
  assert_non_null (image.bytes);
  assert_int_equal (media_pread (media, image.bytes, image.size, 0, &err), 0);
  image.bytes[image.size] = '\0';
  media_close (media);
  return image;
}

/* Overwrite what is different each time, after a look at its form: "X" for
 * each digit that was chosen at random.
 */
static inline void
mask_random (char *text)
{
  static const char *const keys[] = { "\nCID=", "\nddb.longContentID = \"",
                                      "\nddb.uuid = \"60 00 C2 9" };
  static const size_t counts[] = { 8, 32, 25 };
  char cid[9] = "";

  for (size_t k = 0; k < 3; k++) {
    char *p = strstr (text, keys[k]);
    size_t left = counts[k];

    if (!p)
      continue;
    p += strlen (keys[k]);
    if (k == 0)
      memcpy (cid, p, 8);
    if (k == 1) /* invariant: the long ID ends in the CID */
      assert_memory_equal (p + 24, cid, 8);
    for (; left > 0; p++) {
      if (*p == ' ' || *p == '-')
        continue;
      assert_non_null (memchr ("0123456789abcdef", *p, 16));
      *p = 'X';
      left--;
    }
  }
}

/* The text of NAME, a file of its own or embedded, is WANTED but for what is
 * random.
 */
static inline void
assert_text (struct store *store, const char *name, const char *wanted)
{
  struct image image = read_file (store, name);
  char *text = (char *) image.bytes;

  if (memcmp (text, "KDMV", 4) == 0)
    text += SECTOR_SIZE;
  mask_random (text);
  assert_string_equal (text, wanted);
  image_free (&image);
}

/* Open NAME and see that it has SIZE bytes, all zeros. */
static inline void
assert_empty_disk (struct fixture *f, struct store *store, const char *name,
                   uint64_t size)
{
  const struct chain_rules rules = { .open = f->rules };
  struct disk *disk =
    disk_open (store, name, STORE_FROM_FILE, &rules, &f->err);
  uint8_t buf[4096];

  if (!disk)
    print_error ("%s\n", f->err.text);
  assert_non_null (disk);
  assert_string_equal (f->warning, "");
  assert_int_equal (disk_size (disk), size);
  for (uint64_t at = 0; at < size; at += max_u64 (size / 16, 1)) {
    const size_t count = min_u64 (sizeof buf, size - at);

    memset (buf, 1, sizeof buf);
    assert_int_equal (disk_read (disk, buf, count, at, &f->err), 0);
    assert_true (bytes_are_zero (buf, count));
  }
  disk_close (disk);
}

#endif /* VMDKIT_TESTS_CREATE_HELPER_H */
