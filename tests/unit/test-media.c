/* SPDX-License-Identifier: BSD-3-Clause */

/* The bytes interface: bounds, the kinds of media, the pool of descriptors. */

#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder-helper.h"
#include "media-helper.h"

static size_t
nr_descriptors (void)
{
  DIR *list = opendir ("/proc/self/fd");
  size_t nr = 0;

  if (!list)
    skip ();
  while (readdir (list))
    nr++;
  closedir (list);
  return nr;
}

static void
test_memory (void **state)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media =
    media_memory_new ("m", "abcdef", 6, &err);
  CLEANUP_MEDIA struct media *empty = media_memory_new ("e", NULL, 0, &err);
  char buf[8] = "";
  bool hole = true;
  uint64_t length = 0;

  (void) state;
  assert_non_null (media);
  assert_non_null (empty);
  assert_int_equal (media->size, 6);
  assert_int_equal (media_pread (media, buf, 3, 2, &err), 0);
  assert_memory_equal (buf, "cde", 4);
  assert_int_equal (media_pread (media, buf, 0, 6, &err), 0);
  assert_int_equal (media_pread (empty, NULL, 0, 0, &err), 0);
  assert_int_equal (media_map (media, 1, 5, &hole, &length, &err), 0);
  assert_false (hole);
  assert_int_equal (length, 5);
  assert_int_equal (media_lock (media, MEDIA_LOCK_READ, &err), 0);
  media_readahead (media, 0, 6);
  media_readahead (media, 7, UINT64_MAX);
  media_write_back (media, 0, 6);
  assert_true (media_same (media, media));
  assert_false (media_same (media, empty));
}

static void
test_bounds (void **state)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media =
    media_memory_new ("m", "abcdef", 6, &err);
  char buf[8];
  bool hole;
  uint64_t length;

  (void) state;
  assert_int_equal (media_pread (media, buf, 3, 4, &err), -1);
  assert_error (&err, ERR_DAMAGED,
                "wanted 3 bytes at byte 4, but the file ends at byte 6");
  assert_int_equal (media_pread (media, buf, 2, UINT64_MAX, &err), -1);
  assert_error (&err, ERR_DAMAGED,
                "wanted 2 bytes at byte 18446744073709551615, but the file "
                "ends at byte 6");
  assert_int_equal (media_map (media, 6, 1, &hole, &length, &err), -1);
  assert_error (&err, ERR_DAMAGED,
                "wanted 1 bytes at byte 6, but the file ends at byte 6");
}

static void
test_slice (void **state)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *whole =
    media_memory_new ("m", "abcdef", 6, &err);
  CLEANUP_MEDIA struct media *a = media_slice_new (whole, "a", 2, 3, &err);
  CLEANUP_MEDIA struct media *b = media_slice_new (whole, "b", 2, 3, &err);
  CLEANUP_MEDIA struct media *c = media_slice_new (whole, "c", 3, 3, &err);
  char buf[8] = "";

  (void) state;
  assert_int_equal (media_pread (a, buf, 3, 0, &err), 0);
  assert_string_equal (buf, "cde");
  assert_int_equal (media_pread (c, buf, 1, 2, &err), 0);
  assert_string_equal (buf, "fde");
  assert_int_equal (media_pread (a, buf, 1, 3, &err), -1);
  assert_error (&err, ERR_DAMAGED,
                "wanted 1 bytes at byte 3, but the file ends at byte 3");
  assert_true (media_same (a, b));
  assert_false (media_same (a, c));
  assert_false (media_same (a, whole));
  assert_null (media_slice_new (whole, "d", 4, 3, &err));
  assert_error (&err, ERR_CORRUPT,
                "3 bytes at byte 4 run past the end at byte 6");
}

static void
test_file (void **state)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media = NULL, *twin = NULL;
  char buf[8] = "";

  (void) state;
  write_file ("plain", "0123456789", 10);
  media = open_file ("plain", O_RDONLY, false);
  twin = open_file ("plain", O_RDONLY, true);
  assert_int_equal (media->size, 10);
  assert_true (media->is_regular);
  assert_true (media_same (media, twin));
  assert_int_equal (media_pread (media, buf, 4, 6, &err), 0);
  assert_string_equal (buf, "6789");
  media_readahead (media, 0, UINT64_MAX);
}

/* A file that shrinks while it is open gives errors, never made-up bytes. */
static void
test_shrunk (void **state)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media = NULL;
  char buf[8];
  bool hole = true;
  uint64_t length = 0;

  (void) state;
  write_file ("shrinks", "0123456789", 10);
  media = open_file ("shrinks", O_RDONLY, false);
  write_file ("shrinks", "012345", 6);
  assert_int_equal (media_pread (media, buf, 4, 5, &err), -1);
  assert_error (&err, ERR_DAMAGED, "ends at byte 6, wanted 3 more");
  assert_int_equal (media_pread (media, buf, 4, 6, &err), -1);
  assert_error (&err, ERR_DAMAGED, "ends at byte 6, wanted 4 more");
  assert_int_equal (media_map (media, 7, 3, &hole, &length, &err), 0);
  assert_false (hole);
  assert_int_equal (length, 3);
}

static void
test_not_a_file (void **state)
{
  const struct media_file_source source = { .dirfd = -1 };
  struct vmdk_error err;
  int fds[2];

  (void) state;
  assert_int_equal (pipe (fds), 0);
  assert_null (media_file_new (fds[0], strdup ("pipe"), source, &err));
  assert_error (&err, ERR_DENIED,
                "is neither a regular file nor a block device");
  assert_int_equal (fcntl (fds[0], F_GETFD), -1); /* it was taken over */
  close (fds[1]);
}

#define MIB (UINT64_C (1) << 20)

static void
assert_map (struct media *media, uint64_t offset, uint64_t count,
            bool expected_hole, uint64_t expected_length)
{
  struct vmdk_error err;
  bool hole;
  uint64_t length;

  assert_int_equal (media_map (media, offset, count, &hole, &length, &err), 0);
  assert_int_equal (hole, expected_hole);
  assert_int_equal (length, expected_length);
}

static void
test_holes (void **state)
{
  struct vmdk_error err;
  CLEANUP_MEDIA struct media *media = NULL, *slice = NULL;
  CLEANUP_FREE char *bytes = calloc (1, MIB);
  int fd;

  (void) state;
  fd = openat (folder_fd, "holes", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  memset (bytes, 'x', MIB);
  assert_int_equal (pwrite (fd, bytes, MIB, MIB), MIB);
  assert_int_equal (ftruncate (fd, 4 * MIB), 0);
  assert_int_equal (fsync (fd), 0);
  if (lseek (fd, 0, SEEK_DATA) != (off_t) MIB)
    skip (); /* this file system has no holes */
  close (fd);
  media = open_file ("holes", O_RDONLY, false);
  assert_map (media, 0, 4 * MIB, true, MIB);
  assert_map (media, 1000, 1000, true, 1000);
  assert_map (media, MIB, 3 * MIB, false, MIB);
  assert_map (media, MIB + 1, 10, false, 10); /* remembered */
  assert_map (media, MIB + 1, 3 * MIB - 1, false, MIB - 1);
  assert_map (media, 2 * MIB, 2 * MIB, true, 2 * MIB);
  assert_map (media, 4 * MIB - 1, 1, true, 1);
  assert_map (media, MIB - 1, 2, true, 1);

  slice = media_slice_new (media, "slice", MIB / 2, 3 * MIB, &err);
  assert_map (slice, 0, 3 * MIB, true, MIB / 2);
  assert_map (slice, MIB / 2, 2 * MIB, false, MIB);
}

#define CACHED_PAGES 256

/* How many pages of a file are in the kernel's cache. */
static size_t
nr_cached (const char *name)
{
  const size_t page = (size_t) sysconf (_SC_PAGESIZE);
  const int fd = media_file_openat (folder_fd, name, 0);
  uint8_t there[CACHED_PAGES];
  size_t nr = 0;
  void *map = mmap (NULL, CACHED_PAGES * page, PROT_READ, MAP_SHARED, fd, 0);

  assert_ptr_not_equal (map, MAP_FAILED);
  assert_int_equal (mincore (map, CACHED_PAGES * page, there), 0);
  for (size_t i = 0; i < CACHED_PAGES; i++)
    nr += there[i] & 1;
  munmap (map, CACHED_PAGES * page);
  close (fd);
  return nr;
}

/* Some file systems are nothing but cache. */
static void
test_unbuffered (void **state)
{
  const size_t size = CACHED_PAGES * (size_t) sysconf (_SC_PAGESIZE);
  CLEANUP_FREE uint8_t *bytes = calloc (1, size);
  struct vmdk_error err;
  struct media *media;
  int fd;

  (void) state;
  write_file ("unbuffered", bytes, size);
  fd = media_file_openat (folder_fd, "unbuffered", 0);
  fdatasync (fd);
  posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED);
  close (fd);
  if (nr_cached ("unbuffered") > 0)
    skip ();
  media = open_file ("unbuffered", O_RDONLY, false);
  assert_int_equal (media_pread (media, bytes, size, 0, &err), 0);
  assert_int_equal (nr_cached ("unbuffered"), CACHED_PAGES);
  media_file_unbuffered (true);
  for (size_t at = 0; at < size; at += size / 8)
    assert_int_equal (media_pread (media, bytes, size / 8, at, &err), 0);
  media_file_unbuffered (false);
  assert_in_range (nr_cached ("unbuffered"), 0, CACHED_PAGES / 4);
  media_close (media);
}

#define NR_POOLED 40
static struct media *pooled[NR_POOLED];

static void
open_pooled (size_t limit)
{
  char name[32];
  size_t i;

  media_file_pool_limit (limit);
  for (i = 0; i < NR_POOLED; i++) {
    uint32_t words[64];
    size_t j;

    for (j = 0; j < 64; j++)
      words[j] = (uint32_t) (i * 1000 + j);
    snprintf (name, sizeof name, "pooled-%zu", i);
    write_file (name, words, sizeof words);
    pooled[i] = open_file (name, O_RDONLY, true);
  }
}

static void
close_pooled (void)
{
  size_t i;

  for (i = 0; i < NR_POOLED; i++)
    media_close (steal_ptr (&pooled[i]));
  media_file_pool_limit (0);
}

/* Returns whether word J of file I reads as it should. */
static bool
read_word (size_t i, size_t j)
{
  struct vmdk_error err;
  uint32_t word = 0;

  return media_pread (pooled[i], &word, sizeof word, j * sizeof word, &err)
           == 0
         && word == i * 1000 + j;
}

static void
test_pool (void **state)
{
  const size_t before = nr_descriptors ();
  size_t i;

  (void) state;
  open_pooled (3);
  assert_int_equal (nr_descriptors (), before + 3);
  for (i = 0; i < 3 * NR_POOLED; i++)
    assert_true (read_word (i * 7 % NR_POOLED, i % 64));
  assert_int_equal (nr_descriptors (), before + 3);
  close_pooled ();
  assert_int_equal (nr_descriptors (), before);

  open_pooled (1000);
  assert_int_equal (nr_descriptors (), before + NR_POOLED);
  close_pooled ();
}

/* A file that is used all the time stays open: nobody notices when its name
 * goes away.
 */
static void
test_pool_keeps_the_busy (void **state)
{
  size_t i;

  (void) state;
  open_pooled (3);
  for (i = 1; i < NR_POOLED; i++) {
    assert_true (read_word (0, i));
    if (i == 1)
      assert_int_equal (unlinkat (folder_fd, "pooled-0", 0), 0);
    assert_true (read_word (i, 0));
  }
  close_pooled ();
}

static void *
read_at_random (void *seed)
{
  unsigned state = (unsigned) (uintptr_t) seed, i;
  bool good = true;

  for (i = 0; i < 3000; i++) {
    state = state * 1103515245 + 12345;
    good = good && read_word (state / 65536 % NR_POOLED, i % 64);
  }
  return good ? seed : NULL;
}

static void
test_pool_threads (void **state)
{
  pthread_t threads[8];
  const size_t before = nr_descriptors ();
  uintptr_t i;

  (void) state;
  open_pooled (3);
  for (i = 0; i < 8; i++)
    assert_int_equal (
      pthread_create (&threads[i], NULL, read_at_random, (void *) (i + 1)), 0);
  for (i = 0; i < 8; i++) {
    void *result;

    assert_int_equal (pthread_join (threads[i], &result), 0);
    assert_non_null (result);
  }
  /* The limit was exceeded at most for as long as all were in use. */
  assert_true (nr_descriptors () <= before + 8);
  assert_true (read_word (0, 0));
  assert_true (read_word (1, 0));
  assert_true (nr_descriptors () <= before + 3);
  close_pooled ();
}

static void
replace_file (void)
{
  char bytes[256] = "other";

  write_file ("other", bytes, sizeof bytes);
  assert_int_equal (renameat (folder_fd, "other", folder_fd, "pooled-0"), 0);
}

static void
shrink_file (void)
{
  write_file ("pooled-0", "short", 5);
}

static void
remove_file (void)
{
  assert_int_equal (unlinkat (folder_fd, "pooled-0", 0), 0);
}

static void
replace_by_link (void)
{
  assert_int_equal (
    renameat (folder_fd, "pooled-0", folder_fd, "pooled-0-elsewhere"), 0);
  assert_int_equal (symlinkat ("pooled-0-elsewhere", folder_fd, "pooled-0"),
                    0);
}

static void
replace_by_fifo (void)
{
  remove_file ();
  assert_int_equal (mkfifoat (folder_fd, "pooled-0", 0600), 0);
}

static void
grow_file (void)
{
  const int fd = openat (folder_fd, "pooled-0", O_WRONLY | O_APPEND);

  assert_int_equal (write (fd, "more", 4), 4);
  close (fd);
}

/* Another time than any that the clock could have given. */
static void
modify_file (void)
{
  const struct timespec times[2] = { { 1, 0 }, { 1, 0 } };

  assert_int_equal (utimensat (folder_fd, "pooled-0", times, 0), 0);
}

static const struct {
  void (*change) (void);
  bool lock;
  const char *text; /* NULL: it goes well */
} changes[] = {
  { replace_file, false, "was replaced while open" },
  { replace_by_link, false, "was replaced while open" },
  { replace_by_fifo, false, "was replaced while open" },
  { shrink_file, false, "shrank while open, to 5 bytes from 256" },
  { remove_file, false, "was removed or renamed while open" },
  { grow_file, false, NULL },
  { modify_file, false, NULL },
  { modify_file, true, "was modified while open" },
};

static void
test_pool_changes (void **state)
{
  struct vmdk_error err;
  char buf[4];
  size_t i;

  (void) state;
  for (i = 0; i < sizeof changes / sizeof changes[0]; i++) {
    size_t j;
    bool hole;
    uint64_t length;

    open_pooled (2);
    if (changes[i].lock)
      assert_int_equal (media_lock (pooled[0], MEDIA_LOCK_READ, &err), 0);
    for (j = 1; j < 4; j++)
      assert_true (read_word (j, j));
    changes[i].change ();
    if (!changes[i].text)
      assert_int_equal (media_pread (pooled[0], buf, 4, 0, &err), 0);
    else {
      assert_int_equal (media_pread (pooled[0], buf, 4, 0, &err), -1);
      assert_error (&err, ERR_DAMAGED, changes[i].text);
      assert_int_equal (media_map (pooled[0], 0, 4, &hole, &length, &err), -1);
      assert_error (&err, ERR_DAMAGED, changes[i].text);
      media_readahead (pooled[0], 0, 4);
    }
    assert_true (read_word (1, 1)); /* the others are well */
    close_pooled ();
    unlinkat (folder_fd, "pooled-0", 0);
  }
}

#ifdef F_OFD_SETLK

#include "lock-helper.h"

/* A lock goes with the descriptor, and is had again with the next. */
static void
test_pool_locks (void **state)
{
  struct vmdk_error err;
  static const int writer[] = { 100, 101, 103, 201, 203, 0 };
  struct holder holder;
  char buf[4];
  size_t i;

  (void) state;
  open_pooled (2);
  for (i = 0; i < NR_POOLED; i++)
    assert_int_equal (media_lock (pooled[i], MEDIA_LOCK_READ, &err), 0);
  assert_false (is_held ("pooled-0", 201));
  assert_true (read_word (0, 1));
  assert_true (is_held ("pooled-0", 201));

  assert_false (is_held ("pooled-9", 201));
  holder = start_holder ("pooled-9", F_OFD_SETLK, F_RDLCK, writer);
  assert_int_equal (media_pread (pooled[9], buf, 4, 0, &err), -1);
  assert_error (&err, ERR_DAMAGED,
                "is now in use by another program; its lock was given up to "
                "save descriptors");
  stop_holder (holder);
  assert_true (read_word (9, 1));
  close_pooled ();
}

#endif

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_memory),
    cmocka_unit_test (test_bounds),
    cmocka_unit_test (test_slice),
    cmocka_unit_test (test_file),
    cmocka_unit_test (test_shrunk),
    cmocka_unit_test (test_not_a_file),
    cmocka_unit_test (test_holes),
    cmocka_unit_test (test_pool),
    cmocka_unit_test (test_pool_keeps_the_busy),
    cmocka_unit_test (test_pool_threads),
    cmocka_unit_test (test_unbuffered),
    cmocka_unit_test (test_pool_changes),
#ifdef F_OFD_SETLK
    cmocka_unit_test (test_pool_locks),
#endif
  };

  return cmocka_run_group_tests (tests, make_folder, remove_folder);
}
