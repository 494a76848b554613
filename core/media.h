/* SPDX-License-Identifier: BSD-3-Clause */

/* The bytes interface: one file, wherever it lives.
 *
 * A medium is what a store opens by name (store.h): a file in a local
 * folder, a member of a tar archive, a buffer in memory, later a file on a
 * datastore.  Everything above reads and writes through the functions
 * below, which check arguments and bounds once for all kinds.
 *
 * Reads are whole or fail: a file that ends early (it shrank while open) is
 * an error, never bytes that nobody wrote.  All functions may be called from
 * several threads at once, media_close excepted.
 *
 * Error texts here do not name the file; the caller puts its name in front.
 */

#ifndef VMDKIT_MEDIA_H
#define VMDKIT_MEDIA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"

struct media;

/* Which file this is, for telling two names of one file apart.  Zeros when
 * the medium cannot know.  Memory has the device number UINT64_MAX.
 */
struct media_identity {
  uint64_t device, inode;
  uint64_t offset; /* of a member within an archive */
};

enum media_lock {
  MEDIA_LOCK_READ,  /* we read, and want nobody to write */
  MEDIA_LOCK_WRITE, /* we read and write, and want nobody to do either */
};

struct media_ops {
  /* Read exactly COUNT bytes at OFFSET; the range was checked against the
   * size.
   */
  int (*pread) (struct media *media, void *buf, size_t count, uint64_t offset,
                struct vmdk_error *err);

  /* Write exactly COUNT bytes at OFFSET, extending the file if need be.
   * NULL: the medium is read-only.
   */
  int (*pwrite) (struct media *media, const void *buf, size_t count,
                 uint64_t offset, struct vmdk_error *err);

  /* Make what was written durable.  NULL when there is nothing to do. */
  int (*flush) (struct media *media, struct vmdk_error *err);

  /* Make sure that writing within [offset, offset+count) cannot fail for
   * want of space, extending the file if need be: afterwards it reaches at
   * least that far, and what nobody wrote reads as zeros.  A file system that
   * cannot promise space is not an error; ENOSPC is.  NULL: cannot.
   */
  int (*reserve) (struct media *media, uint64_t offset, uint64_t count,
                  struct vmdk_error *err);

  /* Set the size.  NULL: cannot. */
  int (*truncate) (struct media *media, uint64_t size, struct vmdk_error *err);

  /* Turn a range, which lies within the size, into a hole that reads as
   * zeros.  NULL, or ERR_UNSUPPORTED: cannot.
   */
  int (*punch) (struct media *media, uint64_t offset, uint64_t count,
                struct vmdk_error *err);

  /* Make a range, which lies within the size, read as zeros and keep its
   * space.  NULL, or ERR_UNSUPPORTED: not faster than by writing them.
   */
  int (*clear) (struct media *media, uint64_t offset, uint64_t count,
                struct vmdk_error *err);

  /* Find whether the byte at OFFSET lies in a hole (reads as zeros and takes
   * no space) and how many bytes, at most COUNT and at least 1, are alike.
   * NULL: everything is data.
   */
  int (*map) (struct media *media, uint64_t offset, uint64_t count, bool *hole,
              uint64_t *length, struct vmdk_error *err);

  /* A hint that the range will be read soon.  NULL: ignored. */
  void (*readahead) (struct media *media, uint64_t offset, uint64_t count);

  /* A hint that the range, which was written, will not change soon and is to
   * be durable in the end: that may begin.  NULL: ignored.
   */
  void (*write_back) (struct media *media, uint64_t offset, uint64_t count);

  /* Take the byte locks with which qemu's tools and we tell each other how a
   * file is used.  ERR_LOCKED, naming the holder where that can be found
   * out, when another program's use excludes ours.  Held until close; a
   * medium that gives up its file and reopens it locks again.  NULL: the
   * medium cannot be locked, which is not an error.
   */
  int (*lock) (struct media *media, enum media_lock lock,
               struct vmdk_error *err);

  /* Who keeps a writer out by such locks: one printable line, or "".  Takes
   * none.  NULL: nobody.
   */
  void (*lock_holder) (struct media *media, char *text, size_t size);

  /* Take over who may do what from FROM, of the same kind; what the system
   * does not permit is left as it is.  NULL: there are no permissions.
   */
  int (*copy_permissions) (struct media *media, struct media *from,
                           struct vmdk_error *err);

  /* Free the medium.  Does not flush.  Accepts a half-built one. */
  void (*close) (struct media *media);
};

/* Embedded first in each implementation. */
struct media {
  const struct media_ops *ops;
  char *name; /* for messages; owned */

  /* Bytes, as found at open; only our own writes change it.  Reads beyond it
   * are refused before they reach the file.
   */
  _Atomic uint64_t size;
  struct media_identity identity;
  bool is_regular; /* a plain file or member, not a block device */
};

/* Read exactly COUNT bytes at OFFSET.  A range outside the size is
 * ERR_DAMAGED and names both.
 */
extern int media_pread (struct media *media, void *buf, size_t count,
                        uint64_t offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5)));

/* Write exactly COUNT bytes at OFFSET.  ERR_READ_ONLY for a medium that
 * cannot be written, which holds for all below but media_flush too.  The
 * size follows.  After a failure the range holds old bytes or new ones.
 */
extern int media_pwrite (struct media *media, const void *buf, size_t count,
                         uint64_t offset, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5)));

/* Once this has failed it fails for good: nobody knows any more what was
 * lost.
 */
extern int media_flush (struct media *media, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* As the ops.  A medium without reserve promises nothing, and its size stays;
 * else the size follows.
 */
extern int media_reserve (struct media *media, uint64_t offset, uint64_t count,
                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* To shorten below what other threads are writing is the caller's mistake. */
extern int media_truncate (struct media *media, uint64_t size,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* Where there can be no hole, zeros are written.  A range outside the size is
 * ERR_DAMAGED.
 */
extern int media_punch (struct media *media, uint64_t offset, uint64_t count,
                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* The range keeps its space.  Where zeros would have to be written, FAST fails
 * with ERR_UNSUPPORTED.
 */
extern int media_clear (struct media *media, uint64_t offset, uint64_t count,
                        bool fast, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5)));

/* As ops->map, but a medium without one is all data.  COUNT is not 0. */
extern int media_map (struct media *media, uint64_t offset, uint64_t count,
                      bool *hole, uint64_t *length, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4, 5, 6)));

extern void media_readahead (struct media *media, uint64_t offset,
                             uint64_t count) __attribute__ ((nonnull (1)));

/* Without it, whoever writes much and flushes once waits for all of it then,
 * doing nothing else.
 */
extern void media_write_back (struct media *media, uint64_t offset,
                              uint64_t count) __attribute__ ((nonnull (1)));

/* As ops->lock; 0 for a medium without one.  MEDIA_LOCK_WRITE is for media
 * that can be written, and cannot follow MEDIA_LOCK_READ.
 */
extern int media_lock (struct media *media, enum media_lock lock,
                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* As ops->lock_holder; SIZE is not 0, some 100 bytes hold any text.  What we
 * hold through MEDIA itself does not count.
 */
extern void media_lock_holder (struct media *media, char *text, size_t size)
  __attribute__ ((nonnull (1, 2)));

/* Give MEDIA, which is to replace FROM, its mode and owner.  Where the owner
 * or the group cannot be had, nobody else gets what was theirs.
 */
extern int media_copy_permissions (struct media *media, struct media *from,
                                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Whether both are known to be the same file (or member). */
extern bool media_same (const struct media *a, const struct media *b)
  __attribute__ ((nonnull (1, 2)));

/* NULL is allowed. */
extern void media_close (struct media *media);
DEFINE_CLEANUP (media, struct media *, media_close)
#define CLEANUP_MEDIA CLEANUP (media)

/* media-file.c: a local file or block device.
 *
 * Takes over FD, NAME and source.path in every case.  SOURCE
 * tells how to get the file back after its descriptor was given up, because
 * split disks can have thousands of extents (see the pool in media-file.c);
 * the file must then still be the same one, reached without following a
 * symbolic link at the end of the path.  The medium can be written when FD
 * can; then FD stays open whatever SOURCE says, because nobody else may come
 * in while a writer's lock is given up.
 */
struct media_file_source {
  int dirfd;  /* borrowed; outlives the medium; -1: keep FD open for good */
  char *path; /* relative to dirfd; NULL when dirfd is -1 */
};
extern struct media *media_file_new (int fd, char *name,
                                     struct media_file_source source,
                                     struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2, 4)));

/* openat, as careful as a stranger's file needs: does not block, takes no
 * terminal, and leaves the access time alone where the kernel lets us.  FLAGS
 * are O_RDONLY or O_RDWR, with O_NOFOLLOW or O_DIRECTORY.  Sets errno.
 */
extern int media_file_openat (int dirfd, const char *path, int flags)
  __attribute__ ((warn_unused_result, nonnull (2)));

/* For tests: how many files with a source may be open at once; 0 is the
 * default, which follows the process's limit of descriptors.  A smaller
 * number takes effect with the next open.
 */
extern void media_file_pool_limit (size_t limit);

/* Of local files: the kernel is asked to forget what was read, and what was
 * written once it is flushed.  For all files, from now on.
 */
extern void media_file_unbuffered (bool unbuffered);

/* media-memory.c: COUNT bytes, copied from BYTES.  Read-only; a store in
 * memory has writable ones.  Tests and fuzzing.
 */
extern struct media *media_memory_new (const char *name, const void *bytes,
                                       size_t count, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* media-slice.c: a window [offset, offset+size) of another medium, which is
 * borrowed and must outlive it (a member of an archive).  Locking it locks
 * the whole, until that is closed.
 */
extern struct media *media_slice_new (struct media *whole, const char *name,
                                      uint64_t offset, uint64_t size,
                                      struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

#endif /* VMDKIT_MEDIA_H */
