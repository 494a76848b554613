/* SPDX-License-Identifier: BSD-3-Clause */

/* What the tests of changed descriptors share: a store that tells what is done
 * to it, and fails; a flat disk with a text that has everything; and what of a
 * text may have changed.  Include after create-helper.h.
 */

#ifndef VMDKIT_TESTS_LINK_CHANGE_HELPER_H
#define VMDKIT_TESTS_LINK_CHANGE_HELPER_H

#include "create.h"

static struct fixture f;

/* -- A store that tells what is done to it, and fails ------------------- */

static struct {
  struct store store;
  struct store *inner;
  char text[4000]; /* what was done, in order, a blank after each */
  unsigned nr, fail_at;
} rec;

struct rec_media {
  struct media media;
  struct media *inner;
};

static inline int
record (const char *what, const char *name, struct vmdk_error *err)
{
  const size_t len = strlen (rec.text);

  snprintf (rec.text + len, sizeof rec.text - len, "%s:%s ", what, name);
  if (++rec.nr == rec.fail_at)
    return fail_errno (err, EIO, "told to fail");
  return 0;
}

static inline struct media *
inner_of (struct media *media)
{
  return ((struct rec_media *) media)->inner;
}

static inline int
rec_pread (struct media *media, void *buf, size_t count, uint64_t offset,
           struct vmdk_error *err)
{
  return media_pread (inner_of (media), buf, count, offset, err);
}

static inline int
rec_pwrite (struct media *media, const void *buf, size_t count,
            uint64_t offset, struct vmdk_error *err)
{
  if (record ("write", media->name, err) == -1) {
    /* Some of it is there. */
    assert_int_equal (
      media_pwrite (inner_of (media), buf, count / 2, offset, &f.err), 0);
    return -1;
  }
  return media_pwrite (inner_of (media), buf, count, offset, err);
}

static inline int
rec_flush (struct media *media, struct vmdk_error *err)
{
  return record ("flush", media->name, err) == -1
           ? -1
           : media_flush (inner_of (media), err);
}

static inline int
rec_reserve (struct media *media, uint64_t offset, uint64_t count,
             struct vmdk_error *err)
{
  return media_reserve (inner_of (media), offset, count, err);
}

static inline int
rec_truncate (struct media *media, uint64_t size, struct vmdk_error *err)
{
  return media_truncate (inner_of (media), size, err);
}

static inline void
rec_media_close (struct media *media)
{
  media_close (inner_of (media));
  free (media->name);
  free (media);
}

static const struct media_ops rec_media_ops = {
  .pread = rec_pread,
  .pwrite = rec_pwrite,
  .flush = rec_flush,
  .reserve = rec_reserve,
  .truncate = rec_truncate,
  .close = rec_media_close,
};

static inline struct media *
rec_media_new (const char *name, struct media *inner)
{
  struct rec_media *m;

  if (!inner)
    return NULL;
  m = calloc (1, sizeof *m);
  assert_non_null (m);
  m->media.ops = &rec_media_ops;
  m->media.name = strdup (name);
  m->media.size = inner->size;
  m->media.identity = inner->identity;
  m->media.is_regular = true;
  m->inner = inner;
  return &m->media;
}

static inline struct media *
rec_open (struct store *store, const char *name, enum store_open_flags flags,
          struct vmdk_error *err)
{
  (void) store;
  return rec_media_new (name, store_open (rec.inner, name, flags, err));
}

static inline struct media *
rec_create (struct store *store, const char *name, unsigned mode,
            struct vmdk_error *err)
{
  (void) store;
  if (record ("create", name, err) == -1)
    return NULL;
  return rec_media_new (name, store_create (rec.inner, name, mode, err));
}

static inline int
rec_remove (struct store *store, const char *name, struct vmdk_error *err)
{
  (void) store;
  return store_remove (rec.inner, name, err);
}

static inline int
rec_rename (struct store *store, const char *from, const char *to,
            struct vmdk_error *err)
{
  (void) store;
  return record ("rename", to, err) == -1
           ? -1
           : store_rename (rec.inner, from, to, err);
}

static inline int
rec_list (struct store *store,
          int (*visit) (void *opaque, const char *name,
                        struct vmdk_error *err),
          void *opaque, struct vmdk_error *err)
{
  (void) store;
  return store_list (rec.inner, visit, opaque, err);
}

static inline int
rec_store_flush (struct store *store, struct vmdk_error *err)
{
  (void) store;
  return record ("flush", "/", err);
}

static const struct store_ops rec_ops = {
  .open = rec_open,
  .list = rec_list,
  .create = rec_create,
  .remove = rec_remove,
  .rename = rec_rename,
  .flush = rec_store_flush,
};

/* -- Disks -------------------------------------------------------------- */

static inline int
setup (void **state)
{
  (void) state;
  fixture_init_all (&f);
  memset (&rec, 0, sizeof rec);
  rec.inner = store_memory_new ("folder", &f.err);
  assert_non_null (rec.inner);
  rec.store.ops = &rec_ops;
  rec.store.name = rec.inner->name;
  return 0;
}

static inline int
teardown (void **state)
{
  (void) state;
  store_close (rec.inner);
  fixture_free_all (&f);
  return 0;
}

static inline void
put (const char *name, const void *bytes, size_t count)
{
  assert_int_equal (store_memory_add (rec.inner, name, bytes, count, &f.err),
                    0);
}

static inline struct disk *
open_from (struct store *store, const char *name, bool writable)
{
  const struct chain_rules rules = { .open = f.rules, .writable = writable };
  struct disk *disk = disk_open (store, name, STORE_FROM_USER, &rules, &f.err);

  if (!disk)
    print_error ("%s: %s\n", name, f.err.text);
  assert_non_null (disk);
  return disk;
}

static inline int
write_byte (struct disk *disk, uint64_t offset)
{
  return disk_write (disk, "w", 1, offset, &f.err);
}

static inline void
must_write (struct disk *disk, uint64_t offset)
{
  const int r = write_byte (disk, offset);

  if (r == -1)
    print_error ("%s\n", f.err.text);
  assert_int_equal (r, 0);
}

#define HEAD                          \
  "# Disk DescriptorFile\n"           \
  "version=1\n"                       \
  "# A line that nobody knows\n"      \
  "CID=0123abcd\n"                    \
  "parentCID=ffffffff\n"              \
  "someKey = \"  kept as it is\"  \n" \
  "createType=\"monolithicFlat\"\n"   \
  "parentFileNameHint=\"\"\n"         \
  "# Extent description\n"            \
  "RW 64 FLAT \"d-flat.vmdk\" 0\n"
#define DATABASE_WITH(equals)                                                 \
  "#DDB\n"                                                                    \
  "ddb.uuid.image=\"00000000-1111-2222-3333-444444444444\"\n"                 \
  "ddb.uuid.modification" equals "\"55555555-6666-7777-8888-999999999999\"\n" \
  "ddb.longContentID = \"0123456789abcdef012345670123abcd\"\n"                \
  "ddb.adapterType = \"ide\""
#define DATABASE DATABASE_WITH (" = ")
#define TEXT HEAD DATABASE

static inline void
put_flat (const char *text)
{
  static const uint8_t zeros[64 * SECTOR_SIZE];

  put ("d-flat.vmdk", zeros, sizeof zeros);
  put ("d.vmdk", text, strlen (text));
}

static inline uint32_t
hex_digits (const char *p, size_t n)
{
  char digits[9] = "";

  for (size_t i = 0; i < n; i++)
    assert_non_null (memchr ("0123456789abcdef", p[i], 16));
  memcpy (digits, p + n - 8, 8);
  return (uint32_t) strtoul (digits, NULL, 16);
}

static const char *
value_of (const char *text, const char *key)
{
  const char *p = strstr (text, key);

  assert_non_null (p);
  return p + strlen (key);
}

/* A good new ID, in CID and longContentID.  Returns it. */
static inline uint32_t
check_ids (const char *text, uint32_t old)
{
  const uint32_t cid = hex_digits (value_of (text, "\nCID="), 8);

  assert_int_equal (value_of (text, "\nCID=")[8], '\n');
  assert_true (cid != old && cid != 0 && cid < UINT32_C (0xfffffffe));
  assert_int_equal (hex_digits (value_of (text, "ddb.longContentID = \""), 32),
                    cid);
  return cid;
}

static inline void
blot (char *text, const char *key, size_t count)
{
  memset ((char *) value_of (text, key), 'X', count);
}

/* TEXT is WANTED but for the three values that are random. */
static inline void
assert_changed_text (char *text, const char *wanted)
{
  CLEANUP_FREE char *other = strdup (wanted);

  check_ids (text, 0x0123abcd);
  assert_null (strstr (text, "55555555-6666"));
  blot (text, "\nCID=", 8);
  blot (text, "\nddb.longContentID = \"", 32);
  blot (text, "\nddb.uuid.modification = \"", 36);
  blot (other, "\nCID=", 8);
  blot (other, "\nddb.longContentID = \"", 32);
  blot (other, "\nddb.uuid.modification = \"", 36);
  assert_string_equal (text, other);
}

static inline void
assert_file (const char *name, const char *wanted)
{
  struct image image = read_file (rec.inner, name);

  assert_string_equal ((char *) image.bytes, wanted);
  image_free (&image);
}

#endif /* VMDKIT_TESTS_LINK_CHANGE_HELPER_H */
