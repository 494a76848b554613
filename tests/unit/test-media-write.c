/* SPDX-License-Identifier: BSD-3-Clause */

/* The writing half of the bytes interface: what may be written, sizes, holes,
 * space, and flushes that failed.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "folder-helper.h"
#include "media-helper.h"
#include "store.h"

static uint64_t
size_on_disk (const char *name)
{
  struct stat st;

  assert_int_equal (fstatat (folder_fd, name, &st, 0), 0);
  return (uint64_t) st.st_size;
}

/* Tests of what all kinds have in common run once per kind. */
enum { KIND_FILE, KIND_MEMORY, NR_KINDS };

struct bench {
  struct store *store;
  struct media *media; /* "bench", of ten bytes */
};

static struct bench
make_bench (int kind)
{
  struct bench bench;
  struct vmdk_error err;

  bench.store = kind == KIND_FILE ? store_dir_new (folder, &err)
                                  : store_memory_new ("m", &err);
  assert_non_null (bench.store);
  if (kind == KIND_FILE)
    write_file ("bench", "0123456789", 10);
  else
    assert_int_equal (
      store_memory_add (bench.store, "bench", "0123456789", 10, &err), 0);
  bench.media =
    store_open (bench.store, "bench", STORE_FROM_FILE | STORE_WRITABLE, &err);
  assert_non_null (bench.media);
  return bench;
}

static void
clear_bench (struct bench *bench)
{
  media_close (bench->media);
  store_close (bench->store);
}

/* What the medium holds, by itself and for one who opens it now.  COUNT is
 * at most 64.
 */
static void
assert_holds (const struct bench *bench, const void *bytes, size_t count)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *again =
    store_open (bench->store, "bench", STORE_FROM_FILE, &err);
  char buf[64];

  assert_non_null (again);
  assert_int_equal (bench->media->size, count);
  assert_int_equal (again->size, count);
  assert_int_equal (media_pread (bench->media, buf, count, 0, &err), 0);
  assert_memory_equal (buf, bytes, count);
  assert_int_equal (media_pread (again, buf, count, 0, &err), 0);
  assert_memory_equal (buf, bytes, count);
}

static void
test_write (void **state)
{
  struct vmdk_error err;
  int kind;

  (void) state;
  for (kind = 0; kind < NR_KINDS; kind++) {
    struct bench bench = make_bench (kind);
    CLEANUP_MEDIA struct media *other =
      store_open (bench.store, "bench", STORE_FROM_FILE, &err);
    char buf[4] = "";

    assert_int_equal (media_pwrite (bench.media, "abc", 3, 2, &err), 0);
    assert_holds (&bench, "01abc56789", 10);
    assert_int_equal (media_pwrite (bench.media, "", 0, 99, &err), 0);
    assert_holds (&bench, "01abc56789", 10);
    assert_int_equal (media_pwrite (bench.media, "xyz", 3, 9, &err), 0);
    assert_holds (&bench, "01abc5678xyz", 12);
    assert_int_equal (media_pwrite (bench.media, "!", 1, 15, &err), 0);
    assert_holds (&bench, "01abc5678xyz\0\0\0!", 16);
    media_write_back (bench.media, 0, 16);
    assert_int_equal (media_flush (bench.media, &err), 0);
    assert_holds (&bench, "01abc5678xyz\0\0\0!", 16);

    /* Who had it open sees the bytes, not the new size. */
    assert_int_equal (media_pread (other, buf, 3, 2, &err), 0);
    assert_string_equal (buf, "abc");
    assert_int_equal (other->size, 10);
    clear_bench (&bench);
  }
}

static void
test_truncate (void **state)
{
  struct vmdk_error err;
  int kind;

  (void) state;
  for (kind = 0; kind < NR_KINDS; kind++) {
    struct bench bench = make_bench (kind);
    CLEANUP_MEDIA struct media *other =
      store_open (bench.store, "bench", STORE_FROM_FILE, &err);
    char buf[16];

    assert_int_equal (media_truncate (bench.media, 4, &err), 0);
    assert_holds (&bench, "0123", 4);
    assert_int_equal (media_pread (bench.media, buf, 5, 0, &err), -1);
    assert_error (&err, ERR_DAMAGED,
                  "wanted 5 bytes at byte 0, but the file ends at byte 4");
    assert_int_equal (media_pread (other, buf, 10, 0, &err), -1);
    assert_int_equal (err.kind, ERR_DAMAGED);
    /* What was cut off does not come back. */
    assert_int_equal (media_truncate (bench.media, 8, &err), 0);
    assert_holds (&bench, "0123\0\0\0\0", 8);
    assert_int_equal (media_truncate (bench.media, 8, &err), 0);
    assert_int_equal (media_truncate (bench.media, 0, &err), 0);
    assert_holds (&bench, "", 0);
    clear_bench (&bench);
  }
}

static void
test_reserve (void **state)
{
  struct vmdk_error err;
  int kind;

  (void) state;
  for (kind = 0; kind < NR_KINDS; kind++) {
    struct bench bench = make_bench (kind);

    assert_int_equal (media_reserve (bench.media, 2, 5, &err), 0);
    assert_int_equal (media_reserve (bench.media, 2, 0, &err), 0);
    assert_int_equal (media_reserve (bench.media, 99, 0, &err), 0);
    assert_holds (&bench, "0123456789", 10);
    assert_int_equal (media_reserve (bench.media, 8, 6, &err), 0);
    assert_holds (&bench, "0123456789\0\0\0\0", 14);
    assert_int_equal (media_reserve (bench.media, 16, 2, &err), 0);
    assert_holds (&bench, "0123456789\0\0\0\0\0\0\0\0", 18);
    clear_bench (&bench);
  }
}

static void
test_punch (void **state)
{
  struct vmdk_error err;
  int kind;

  (void) state;
  for (kind = 0; kind < NR_KINDS; kind++) {
    struct bench bench = make_bench (kind);

    assert_int_equal (media_punch (bench.media, 3, 4, &err), 0);
    assert_int_equal (media_punch (bench.media, 9, 0, &err), 0);
    assert_holds (&bench, "012\0\0\0\000789", 10);
    assert_int_equal (media_punch (bench.media, 9, 1, &err), 0);
    assert_holds (&bench, "012\0\0\0\00078\0", 10);
    assert_int_equal (media_punch (bench.media, 9, 2, &err), -1);
    assert_error (&err, ERR_DAMAGED,
                  "wanted 2 bytes at byte 9, but the file ends at byte 10");
    assert_holds (&bench, "012\0\0\0\00078\0", 10);
    clear_bench (&bench);
  }
}

static void
test_clear (void **state)
{
  struct vmdk_error err;
  int kind;

  (void) state;
  for (kind = 0; kind < NR_KINDS; kind++) {
    struct bench bench = make_bench (kind);

    assert_int_equal (media_clear (bench.media, 3, 4, false, &err), 0);
    assert_int_equal (media_clear (bench.media, 9, 0, false, &err), 0);
    assert_holds (&bench, "012\0\0\0\000789", 10);
    assert_int_equal (media_clear (bench.media, 9, 2, false, &err), -1);
    assert_error (&err, ERR_DAMAGED,
                  "wanted 2 bytes at byte 9, but the file ends at byte 10");
    assert_holds (&bench, "012\0\0\0\000789", 10);
    clear_bench (&bench);
  }
}

#define NO_FILE " are beyond what any file can hold"

static void
test_beyond (void **state)
{
  struct vmdk_error err;
  int kind;

  (void) state;
  for (kind = 0; kind < NR_KINDS; kind++) {
    struct bench bench = make_bench (kind);

    assert_int_equal (media_pwrite (bench.media, "ab", 2, UINT64_MAX, &err),
                      -1);
    assert_error (&err, ERR_ARGUMENT,
                  "2 bytes at byte 18446744073709551615" NO_FILE);
    assert_int_equal (media_pwrite (bench.media, "ab", 2, INT64_MAX - 1, &err),
                      -1);
    assert_error (&err, ERR_ARGUMENT,
                  "2 bytes at byte 9223372036854775806" NO_FILE);
    assert_int_equal (media_reserve (bench.media, 1, UINT64_MAX, &err), -1);
    assert_error (&err, ERR_ARGUMENT,
                  "18446744073709551615 bytes at byte 1" NO_FILE);
    assert_int_equal (media_punch (bench.media, 2, UINT64_MAX - 1, &err), -1);
    assert_error (&err, ERR_ARGUMENT,
                  "18446744073709551614 bytes at byte 2" NO_FILE);
    assert_int_equal (
      media_truncate (bench.media, (uint64_t) INT64_MAX + 1, &err), -1);
    assert_error (&err, ERR_ARGUMENT,
                  "0 bytes at byte 9223372036854775808" NO_FILE);
    assert_holds (&bench, "0123456789", 10);
    clear_bench (&bench);
  }
}

#define READ_ONLY \
  "was opened for reading only; to change it, open it for writing"

static void
assert_read_only (struct media *media)
{
  struct vmdk_error err;

  assert_int_equal (media_pwrite (media, "a", 1, 0, &err), -1);
  assert_error (&err, ERR_READ_ONLY, READ_ONLY);
  assert_int_equal (media_pwrite (media, "a", 0, 0, &err), -1);
  assert_error (&err, ERR_READ_ONLY, READ_ONLY);
  assert_int_equal (media_reserve (media, 0, 1, &err), -1);
  assert_error (&err, ERR_READ_ONLY, READ_ONLY);
  assert_int_equal (media_truncate (media, 10, &err), -1);
  assert_error (&err, ERR_READ_ONLY, READ_ONLY);
  assert_int_equal (media_punch (media, 0, 1, &err), -1);
  assert_error (&err, ERR_READ_ONLY, READ_ONLY);
  assert_int_equal (media_lock (media, MEDIA_LOCK_WRITE, &err), -1);
  assert_error (&err, ERR_READ_ONLY, READ_ONLY);
  assert_int_equal (media_flush (media, &err), 0);
}

static void
test_read_only (void **state)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *memory =
    media_memory_new ("m", "0123456789", 10, &err);
  CLEANUP_MEDIA struct media *file = NULL, *writable = NULL, *slice = NULL;

  (void) state;
  write_file ("reading", "0123456789", 10);
  file = open_file ("reading", O_RDONLY, false);
  writable = open_file ("reading", O_RDWR, false);
  slice = media_slice_new (writable, "slice", 2, 3, &err);
  assert_read_only (memory);
  assert_read_only (file);
  assert_read_only (slice);
  assert_int_equal (size_on_disk ("reading"), 10);
}

/* A medium that does what the test says. */
struct puppet {
  struct media media;
  enum vmdk_error_kind fails; /* all fail so, if any */
  size_t nr_writes, largest;
  uint64_t hinted; /* bytes, by media_write_back */
  uint64_t next;   /* where the next write should go on */
};

static int
puppet_result (struct media *media, struct vmdk_error *err)
{
  const struct puppet *puppet = (struct puppet *) media;

  return puppet->fails ? (fail) (err, puppet->fails, "the puppet fails") : 0;
}

static int
puppet_pwrite (struct media *media, const void *buf, size_t count,
               uint64_t offset, struct vmdk_error *err)
{
  struct puppet *puppet = (struct puppet *) media;
  const uint8_t *p = buf;
  size_t i;

  assert_int_equal (offset, puppet->next);
  for (i = 0; i < count; i++)
    if (p[i] != 0)
      fail_msg ("not a zero at byte %" PRIu64, offset + i);
  puppet->next += count;
  puppet->nr_writes++;
  if (count > puppet->largest)
    puppet->largest = count;
  return puppet->fails == ERR_UNSUPPORTED ? 0 : puppet_result (media, err);
}

static int
puppet_truncate (struct media *media, uint64_t size, struct vmdk_error *err)
{
  (void) size;
  return puppet_result (media, err);
}

static int
puppet_range (struct media *media, uint64_t offset, uint64_t count,
              struct vmdk_error *err)
{
  (void) offset;
  (void) count;
  return puppet_result (media, err);
}

static void
puppet_write_back (struct media *media, uint64_t offset, uint64_t count)
{
  assert_in_range (offset + count, 1, media->size);
  ((struct puppet *) media)->hinted += count;
}

static const struct media_ops bare_ops = { .pwrite = puppet_pwrite };
static const struct media_ops full_ops = {
  .pwrite = puppet_pwrite,
  .reserve = puppet_range,
  .truncate = puppet_truncate,
  .punch = puppet_range,
  .clear = puppet_range,
  .write_back = puppet_write_back,
};

#define MIB (UINT64_C (1024) * 1024)

/* Where a medium can make no holes, zeros are written, a piece at a time. */
static void
test_punch_writes_zeros (void **state)
{
  static const struct media_ops *const ops[] = { &bare_ops, &full_ops };
  size_t i;

  (void) state;
  for (i = 0; i < 2; i++) {
    struct puppet puppet = { .media = { .ops = ops[i], .size = 4 * MIB },
                             .fails = i == 1 ? ERR_UNSUPPORTED : ERR_NONE,
                             .next = 7 };
    struct vmdk_error err;

    assert_int_equal (media_punch (&puppet.media, 7, 2 * MIB + 5, &err), 0);
    assert_int_equal (puppet.next, 7 + 2 * MIB + 5);
    assert_in_range (puppet.largest, 4096, MIB);
    assert_in_range (puppet.nr_writes, 3, 1000);
    puppet.fails = ERR_SYSTEM;
    puppet.next = 0;
    assert_int_equal (media_punch (&puppet.media, 0, MIB, &err), -1);
    assert_error (&err, ERR_SYSTEM, "the puppet fails");
    assert_in_range (puppet.next, 0, MIB - 1);
  }
}

/* The same where zeros could take the place of data only by being written,
 * unless that is too slow.
 */
static void
test_clear_writes_zeros (void **state)
{
  static const struct media_ops *const ops[] = { &bare_ops, &full_ops };
  size_t i;

  (void) state;
  for (i = 0; i < 2; i++) {
    struct puppet puppet = { .media = { .ops = ops[i], .size = 4 * MIB },
                             .fails = i == 1 ? ERR_UNSUPPORTED : ERR_NONE,
                             .next = 7 };
    struct vmdk_error err;

    assert_int_equal (media_clear (&puppet.media, 7, MIB, true, &err), -1);
    assert_error (&err, ERR_UNSUPPORTED, "zeros would have to be written");
    assert_int_equal (puppet.nr_writes, 0);
    assert_int_equal (media_clear (&puppet.media, 7, MIB, false, &err), 0);
    assert_int_equal (puppet.next, 7 + MIB);
  }
}

/* A punch that fails for a good reason is not followed by zeros. */
static void
test_punch_fails (void **state)
{
  struct puppet puppet = { .media = { .ops = &full_ops, .size = MIB },
                           .fails = ERR_SYSTEM };
  struct vmdk_error err;

  (void) state;
  assert_int_equal (media_punch (&puppet.media, 0, MIB, &err), -1);
  assert_int_equal (puppet.nr_writes, 0);
}

static void
test_size_after_failure (void **state)
{
  struct puppet puppet = { .media = { .ops = &full_ops, .size = 10 },
                           .fails = ERR_SYSTEM };
  struct vmdk_error err;

  (void) state;
  puppet.next = 8;
  assert_int_equal (media_pwrite (&puppet.media, "\0\0\0\0", 4, 8, &err), -1);
  assert_int_equal (puppet.media.size, 10);
  assert_int_equal (media_reserve (&puppet.media, 8, 4, &err), -1);
  assert_int_equal (puppet.media.size, 10);
  assert_int_equal (media_truncate (&puppet.media, 12, &err), -1);
  assert_int_equal (puppet.media.size, 10);
  assert_int_equal (media_truncate (&puppet.media, 8, &err), -1);
  assert_int_equal (puppet.media.size, 10);
}

/* Only what is there can be on its way. */
static void
test_write_back (void **state)
{
  struct puppet puppet = { .media = { .ops = &full_ops, .size = 10 } };

  (void) state;
  media_write_back (&puppet.media, 2, 8);
  assert_int_equal (puppet.hinted, 8);
  media_write_back (&puppet.media, 2, 9);
  media_write_back (&puppet.media, 10, 0);
  media_write_back (&puppet.media, UINT64_MAX, 2);
  assert_int_equal (puppet.hinted, 8);
}

static void
test_bare (void **state)
{
  struct puppet puppet = { .media = { .ops = &bare_ops, .size = 10 } };
  struct vmdk_error err;

  (void) state;
  assert_int_equal (media_flush (&puppet.media, &err), 0);
  assert_int_equal (media_reserve (&puppet.media, 8, 4, &err), 0);
  assert_int_equal (puppet.media.size, 10);
  assert_int_equal (media_truncate (&puppet.media, 8, &err), -1);
  assert_error (&err, ERR_UNSUPPORTED, "its size cannot be changed");
  assert_int_equal (puppet.media.size, 10);
  assert_int_equal (media_lock (&puppet.media, MEDIA_LOCK_WRITE, &err), 0);
  media_write_back (&puppet.media, 0, 10);
}

/* The C library's, in whose place this comes, seldom writes less than it was
 * asked to.  Here it can be told to write some bytes at most, and to be
 * interrupted every other time.
 */
static struct {
  size_t most;
  bool interrupted;
  unsigned nr;
} short_writes;

extern ssize_t pwrite (int fd, const void *buf, size_t count, off_t offset);

ssize_t
pwrite (int fd, const void *buf, size_t count, off_t offset)
{
  struct iovec iovec = { .iov_base = (void *) buf, .iov_len = count };

  if (short_writes.most > 0) {
    short_writes.nr++;
    short_writes.interrupted = !short_writes.interrupted;
    if (short_writes.interrupted) {
      errno = EINTR;
      return -1;
    }
    if (count > short_writes.most)
      iovec.iov_len = short_writes.most;
  }
  return pwritev (fd, &iovec, 1, offset);
}

static void
test_short_writes (void **state)
{
  struct bench bench = make_bench (KIND_FILE);
  struct vmdk_error err;

  (void) state;
  short_writes.most = 3;
  assert_int_equal (media_pwrite (bench.media, "abcdefgh", 8, 5, &err), 0);
  short_writes.most = 0;
  assert_int_equal (short_writes.nr, 6);
  assert_holds (&bench, "01234abcdefgh", 13);
  clear_bench (&bench);
}

/* The file may not grow beyond 8192 bytes: a write first comes to a short
 * end there, then fails.
 */
static void
test_no_space (void **state)
{
  static const char bytes[5000];
  struct vmdk_error err;
  struct rlimit before, limit;
  CLEANUP_MEDIA struct media *media = NULL;

  (void) state;
  write_file ("limited", "0123456789", 10);
  media = open_file ("limited", O_RDWR, false);
  assert_int_equal (getrlimit (RLIMIT_FSIZE, &before), 0);
  limit = before;
  limit.rlim_cur = 8192;
  signal (SIGXFSZ, SIG_IGN);
  assert_int_equal (setrlimit (RLIMIT_FSIZE, &limit), 0);

  assert_int_equal (media_pwrite (media, bytes, 5000, 0, &err), 0);
  assert_int_equal (media_pwrite (media, bytes, 5000, 5000, &err), -1);
  assert_error (&err, ERR_SYSTEM,
                "writing 1808 bytes at byte 8192: File too large");
  assert_int_equal (err.errnum, EFBIG);
  assert_int_equal (media->size, 5000);
  assert_int_equal (media_reserve (media, 8000, 5000, &err), -1);
  assert_int_equal (err.errnum, EFBIG);
  assert_int_equal (media_truncate (media, 8193, &err), -1);
  assert_error (&err, ERR_SYSTEM,
                "setting the size to 8193 bytes: File too large");
  assert_int_equal (media->size, 5000);
  setrlimit (RLIMIT_FSIZE, &before);
  signal (SIGXFSZ, SIG_DFL);
  assert_int_equal (media_pwrite (media, bytes, 5000, 5000, &err), 0);
  assert_int_equal (media->size, 10000);
}

static void
test_memory_limit (void **state)
{
  struct bench bench = make_bench (KIND_MEMORY);
  struct vmdk_error err;

  (void) state;
  assert_int_equal (media_pwrite (bench.media, "a", 1, 1 << 30, &err), -1);
  assert_error (&err, ERR_SYSTEM,
                "1073741825 bytes in memory: No space left on device");
  assert_int_equal (err.errnum, ENOSPC);
  assert_holds (&bench, "0123456789", 10);
  clear_bench (&bench);
}

/* A pipe cannot be flushed, so for a while one takes the file's place. */
static void
test_flush_stays_failed (void **state)
{
  const struct media_file_source source = { .dirfd = -1 };
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media = NULL;
  int fd, saved, ends[2];

  (void) state;
  write_file ("flushed", "0123456789", 10);
  fd = media_file_openat (folder_fd, "flushed", O_RDWR);
  media = media_file_new (fd, strdup ("flushed"), source, &err);
  assert_non_null (media);
  assert_int_equal (media_flush (media, &err), 0);
  saved = dup (fd);
  assert_int_equal (pipe (ends), 0);
  assert_int_equal (dup2 (ends[1], fd), fd);
  assert_int_equal (media_flush (media, &err), -1);
  assert_error (&err, ERR_SYSTEM, "flushing: Invalid argument");
  assert_int_equal (dup2 (saved, fd), fd);
  assert_int_equal (media_flush (media, &err), -1);
  assert_error (&err, ERR_SYSTEM,
                "an earlier flush failed, so what was written before it may "
                "be lost: Invalid argument");
  assert_int_equal (err.errnum, EINVAL);
  /* Reading and writing go on. */
  assert_int_equal (media_pwrite (media, "a", 1, 0, &err), 0);
  assert_int_equal (media_flush (media, &err), -1);
  close (saved);
  close (ends[0]);
  close (ends[1]);
}

/* The pool would close it and, since it has moved, not find it again. */
static void
test_stays_open (void **state)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = store_dir_new (folder, &err);
  CLEANUP_MEDIA struct media *media = NULL, *a = NULL, *b = NULL;
  char buf[4] = "";

  (void) state;
  write_file ("kept", "0123456789", 10);
  write_file ("other", "0123456789", 10);
  media_file_pool_limit (1);
  media = store_open (store, "kept", STORE_FROM_FILE | STORE_WRITABLE, &err);
  a = store_open (store, "other", STORE_FROM_FILE, &err);
  b = store_open (store, "other", STORE_FROM_FILE, &err);
  assert_non_null (media);
  assert_non_null (a);
  assert_non_null (b);
  assert_int_equal (renameat (folder_fd, "kept", folder_fd, "moved"), 0);
  assert_int_equal (media_pread (a, buf, 3, 0, &err), 0);
  assert_int_equal (media_pread (b, buf, 3, 0, &err), 0);
  assert_int_equal (media_pwrite (media, "abc", 3, 0, &err), 0);
  assert_int_equal (media_pread (media, buf, 3, 0, &err), 0);
  assert_string_equal (buf, "abc");
  media_file_pool_limit (0);
}

static bool
is_hole (struct media *media, uint64_t offset)
{
  struct vmdk_error err;
  uint64_t length;
  bool hole;

  assert_int_equal (media_map (media, offset, 1, &hole, &length, &err), 0);
  return hole;
}

/* Of a range that was data, and remembered as such. */
static void
test_new_holes (void **state)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media = NULL, *again = NULL;
  char *bytes = malloc (MIB);

  (void) state;
  memset (bytes, 'x', MIB);
  write_file ("holes", bytes, MIB);
  free (bytes);
  media = open_file ("holes", O_RDWR, false);
  assert_false (is_hole (media, MIB / 2));
  assert_int_equal (media_punch (media, MIB / 4, MIB / 2, &err), 0);
  assert_int_equal (size_on_disk ("holes"), MIB);
  again = open_file ("holes", O_RDONLY, false);
  if (!is_hole (again, MIB / 2))
    skip (); /* this file system has none */
  assert_true (is_hole (media, MIB / 2));
  assert_false (is_hole (media, 0));
  assert_int_equal (media_pwrite (media, "x", 1, MIB / 2, &err), 0);
  assert_false (is_hole (media, MIB / 2));
  assert_int_equal (media_truncate (media, 0, &err), 0);
  assert_int_equal (media_truncate (media, MIB, &err), 0);
  assert_true (is_hole (media, MIB / 2));
  assert_true (is_hole (media, 0));
}

/* Threads that make one medium longer, each by its own pieces, while another
 * one reserves.
 */
#define NR_WRITERS 4
#define NR_PIECES 200
#define PIECE 96

struct writer_args {
  struct media *media;
  unsigned first;
};

static void *
write_pieces (void *opaque)
{
  const struct writer_args *args = opaque;
  struct vmdk_error err;
  uint8_t piece[PIECE];
  unsigned i;

  for (i = args->first; i < NR_PIECES; i += NR_WRITERS) {
    memset (piece, (int) i + 1, sizeof piece);
    if (media_pwrite (args->media, piece, PIECE, i * PIECE, &err) == -1)
      return opaque;
  }
  return NULL;
}

static void *
reserve_pieces (void *opaque)
{
  struct vmdk_error err;
  uint64_t i;

  for (i = 0; i < NR_PIECES; i += 10)
    if (media_reserve (opaque, i * PIECE, PIECE, &err) == -1)
      return opaque;
  return NULL;
}

static void
run_writers (struct media *media)
{
  struct writer_args args[NR_WRITERS];
  pthread_t threads[NR_WRITERS + 1];
  unsigned i;
  void *failed;

  for (i = 0; i < NR_WRITERS; i++) {
    args[i] = (struct writer_args){ .media = media, .first = i };
    assert_int_equal (
      pthread_create (&threads[i], NULL, write_pieces, &args[i]), 0);
  }
  assert_int_equal (
    pthread_create (&threads[NR_WRITERS], NULL, reserve_pieces, media), 0);
  for (i = 0; i <= NR_WRITERS; i++) {
    assert_int_equal (pthread_join (threads[i], &failed), 0);
    assert_null (failed);
  }
}

static void
test_threads (void **state)
{
  struct vmdk_error err;
  uint8_t piece[PIECE];
  int kind;

  (void) state;
  for (kind = 0; kind < NR_KINDS; kind++) {
    struct bench bench = make_bench (kind);
    unsigned i, k;

    run_writers (bench.media);
    assert_int_equal (bench.media->size, NR_PIECES * PIECE);
    for (i = 0; i < NR_PIECES; i++) {
      assert_int_equal (
        media_pread (bench.media, piece, PIECE, i * PIECE, &err), 0);
      for (k = 0; k < PIECE; k++)
        assert_int_equal (piece[k], i + 1);
    }
    clear_bench (&bench);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_write),
    cmocka_unit_test (test_truncate),
    cmocka_unit_test (test_reserve),
    cmocka_unit_test (test_punch),
    cmocka_unit_test (test_clear),
    cmocka_unit_test (test_beyond),
    cmocka_unit_test (test_read_only),
    cmocka_unit_test (test_punch_writes_zeros),
    cmocka_unit_test (test_punch_fails),
    cmocka_unit_test (test_clear_writes_zeros),
    cmocka_unit_test (test_size_after_failure),
    cmocka_unit_test (test_write_back),
    cmocka_unit_test (test_bare),
    cmocka_unit_test (test_short_writes),
    cmocka_unit_test (test_no_space),
    cmocka_unit_test (test_memory_limit),
    cmocka_unit_test (test_flush_stays_failed),
    cmocka_unit_test (test_stays_open),
    cmocka_unit_test (test_new_holes),
    cmocka_unit_test (test_threads),
  };

  return cmocka_run_group_tests (tests, make_folder, remove_folder);
}
