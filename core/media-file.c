/* SPDX-License-Identifier: BSD-3-Clause */

/* A local file or block device, read through a descriptor that may come and
 * go, or read and written through one that stays.  See media.h.
 *
 * The pool.  A split disk can have thousands of extents, more than a process
 * may have descriptors.  A file that has a source can be had back by name, so
 * once pool.limit such files are open, the next one to open closes one that
 * nobody is reading, the least recently used by the clock rule.  Reading a
 * closed file opens it again.  When all are being read, the limit is
 * exceeded for a while.
 *
 * (1) file->pins is the number of threads that are using file->fd, plus
 *     CLOSED while there is no descriptor.  A thread pins before it looks at
 *     fd and unpins after its last use.
 * (2) CLOSED is set only by a compare-and-swap from 0, so never under a
 *     pinned file, and only with pool.lock held.  It is cleared only with
 *     pool.lock held, after fd was stored.  So whoever pins and does not see
 *     CLOSED has a descriptor that stays until he unpins.
 * (3) A file is in the ring if and only if it is not CLOSED and has a source.
 * (4) A thread that pinned a CLOSED file keeps its pin and takes
 *     file->lock; the first one there opens the file, the others find it
 *     open.
 * (5) Order: file->lock, then pool.lock.  No file is opened or closed with
 *     pool.lock held.
 *
 * The way of a read through an open file is thus two atomic operations and
 * no lock; without a source it is none, for such a file never closes.
 *
 * Closing a file drops its byte locks.  They are taken again when it comes
 * back, and if the file was modified in between (or ever since it was first
 * locked), what the caller remembers of it may be wrong: reading it fails
 * from then on.
 *
 * A file that can be written has no source.  Whatever moves its end, a write
 * beyond it too, happens under length_lock; see writable_reserve.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/fs.h>
#endif

#include "checked.h"
#include "file-lock.h"
#include "file-write.h"
#include "media.h"

#ifndef O_NOATIME
#define O_NOATIME 0
#endif

#define CLOSED (UINT32_C (1) << 31)
#define POOL_LIMIT_MAX 512

struct file {
  struct media media;
  struct media_file_source source;
  struct timespec modified; /* when first locked */
  pthread_mutex_t lock;     /* opening again, locking */
  bool is_locked;           /* under lock; the byte locks are wanted */
  enum media_lock held;     /* when is_locked: which */

  struct file *next, *previous; /* the ring; under pool.lock */
  int fd;                       /* see (2) */
  _Atomic uint32_t pins;
  atomic_bool is_used; /* since the clock's hand came by */

  /* A range that is known to be data; under data_lock.  Holes are not
   * remembered: a stale hole would hide data.
   */
  pthread_mutex_t data_lock;
  uint64_t data_start, data_end;
  uint64_t data_version; /* goes up when data goes */

  pthread_mutex_t length_lock;
  pthread_mutex_t flush_lock;
  int flush_errnum; /* under flush_lock; not 0 once a flush has failed */
};

static struct {
  pthread_mutex_t lock;
  size_t limit;      /* 0: not yet asked for */
  size_t nr_open;    /* in the ring, or about to be */
  struct file *hand; /* somewhere in the ring; NULL when it is empty */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

void
media_file_pool_limit (size_t limit)
{
  LOCK_FOR_SCOPE (&pool.lock);
  pool.limit = limit;
}

/* Half of what the process may have, because sockets and other plugins need
 * some; and not so many that the clock's hand has far to go.
 */
static size_t
default_limit (void)
{
  struct rlimit rlimit;

  if (getrlimit (RLIMIT_NOFILE, &rlimit) == -1
      || rlimit.rlim_cur == RLIM_INFINITY
      || rlimit.rlim_cur / 2 > POOL_LIMIT_MAX)
    return POOL_LIMIT_MAX;
  return rlimit.rlim_cur >= 2 ? rlimit.rlim_cur / 2 : 1;
}

static void
ring_add (struct file *file)
{
  if (!pool.hand)
    pool.hand = file->next = file->previous = file;
  else {
    /* Behind the hand: the last that it will come to. */
    file->next = pool.hand;
    file->previous = pool.hand->previous;
    file->previous->next = file;
    file->next->previous = file;
  }
}

static void
ring_remove (struct file *file)
{
  if (pool.hand == file)
    pool.hand = file->next == file ? NULL : file->next;
  file->next->previous = file->previous;
  file->previous->next = file->next;
  file->next = file->previous = NULL;
}

/* Take the descriptor from a file that nobody is using; -1 when all are in
 * use.  With pool.lock held.
 */
static int
pool_evict (void)
{
  size_t tries;

  for (tries = 2 * pool.nr_open; pool.hand && tries > 0; tries--) {
    struct file *file = pool.hand;
    uint32_t unused = 0;
    int fd;

    pool.hand = file->next;
    if (atomic_exchange_explicit (&file->is_used, false, memory_order_relaxed)
        || !atomic_compare_exchange_strong (&file->pins, &unused, CLOSED))
      continue;
    ring_remove (file);
    pool.nr_open--;
    fd = file->fd;
    file->fd = -1;
    return fd;
  }
  return -1;
}

/* Count one more open file, first closing others if there are too many. */
static void
pool_reserve (void)
{
  for (;;) {
    int fd;

    {
      LOCK_FOR_SCOPE (&pool.lock);
      if (pool.limit == 0)
        pool.limit = default_limit ();
      fd = pool.nr_open < pool.limit ? -1 : pool_evict ();
      if (fd == -1) {
        pool.nr_open++;
        return;
      }
    }
    close (fd);
  }
}

static void
pool_unreserve (void)
{
  LOCK_FOR_SCOPE (&pool.lock);
  pool.nr_open--;
}

/* FD is the file's from now on, and a place in the pool was reserved. */
static void
pool_publish (struct file *file, int fd)
{
  LOCK_FOR_SCOPE (&pool.lock);
  file->fd = fd;
  ring_add (file);
  atomic_fetch_and (&file->pins, ~CLOSED); /* invariant 2 */
}

int
media_file_openat (int dirfd, const char *path, int flags)
{
  int fd;

  flags |= O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
  fd = openat (dirfd, path, flags | O_NOATIME);
  if (fd == -1 && errno == EPERM && O_NOATIME != 0)
    fd = openat (dirfd, path, flags); /* somebody else's file */
  return fd;
}

/* O_NONBLOCK was only for the moment of opening. */
static int
make_blocking (int fd, struct vmdk_error *err)
{
  const int flags = fcntl (fd, F_GETFL);

  if (flags == -1 || fcntl (fd, F_SETFL, flags & ~O_NONBLOCK) == -1)
    return fail_errno (err, errno, "flags of the file");
  return 0;
}

/* Is what ST says still the file that we had? */
static int
check_same (const struct file *file, const struct stat *st,
            struct vmdk_error *err)
{
  const struct media *media = &file->media;

  if (!S_ISREG (st->st_mode) || st->st_dev != media->identity.device
      || st->st_ino != media->identity.inode)
    return fail (err, ERR_DAMAGED, "was replaced while open");
  if ((uint64_t) st->st_size < media->size)
    return fail (err, ERR_DAMAGED,
                 "shrank while open, to %ju bytes from %" PRIu64,
                 (uintmax_t) st->st_size, (uint64_t) media->size);
  if (file->is_locked
      && (st->st_mtim.tv_sec != file->modified.tv_sec
          || st->st_mtim.tv_nsec != file->modified.tv_nsec))
    return fail (err, ERR_DAMAGED, "was modified while open");
  return 0;
}

static int
fail_reopen (struct vmdk_error *err, int errnum)
{
  if (errnum == ENOENT || errnum == ENOTDIR)
    return fail (err, ERR_DAMAGED, "was removed or renamed while open");
  return fail_errno (err, errnum, "cannot be opened again");
}

/* The lock comes before the test of what changed, so that nothing can change
 * unseen.
 */
static int
check_reopened (const struct file *file, int fd, struct vmdk_error *err)
{
  struct stat st;

  if (make_blocking (fd, err) == -1)
    return -1;
  if (file->is_locked && file_lock_read (fd, err) == -1)
    return fail (err, ERR_DAMAGED,
                 "is now in use by another program; its "
                 "lock was given up to save descriptors");
  if (fstat (fd, &st) == -1)
    return fail_errno (err, errno, "fstat");
  return check_same (file, &st, err);
}

/* Returns the descriptor.  What has taken the file's place in the folder is
 * not opened, since that could act (a tape) or wait (a FIFO).
 */
static int
open_again (const struct file *file, struct vmdk_error *err)
{
  const struct media_file_source *source = &file->source;
  struct stat st;
  int fd;

  if (fstatat (source->dirfd, source->path, &st, AT_SYMLINK_NOFOLLOW) == -1)
    return fail_reopen (err, errno);
  if (check_same (file, &st, err) == -1)
    return -1;
  fd = media_file_openat (source->dirfd, source->path, O_RDONLY | O_NOFOLLOW);
  if (fd == -1)
    return fail_reopen (err, errno);
  if (check_reopened (file, fd, err) == -1) {
    close (fd);
    return -1;
  }
  return fd;
}

/* The caller has pinned FILE and found it CLOSED; invariant 4. */
static int
file_reopen (struct file *file, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&file->lock);
  int fd;

  if (!(atomic_load (&file->pins) & CLOSED))
    return 0;
  pool_reserve ();
  fd = open_again (file, err);
  if (fd == -1) {
    pool_unreserve ();
    return -1;
  }
  pool_publish (file, fd);
  return 0;
}

static inline void
file_unpin (struct file *file)
{
  if (file->source.dirfd != -1)
    atomic_fetch_sub_explicit (&file->pins, 1, memory_order_release);
}

/* Returns the descriptor, good until file_unpin; -1 on errors. */
static inline int
file_pin (struct file *file, struct vmdk_error *err)
{
  uint32_t before;

  if (file->source.dirfd == -1)
    return file->fd;
  before = atomic_fetch_add_explicit (&file->pins, 1, memory_order_acquire);
  if (before & CLOSED) {
    if (file_reopen (file, err) == -1) {
      file_unpin (file);
      return -1;
    }
    /* Not is_used as yet: files that are read once each, one after the other,
     * shall not drive out those that are read all the time.
     */
  }
  else if (!atomic_load_explicit (&file->is_used, memory_order_relaxed))
    atomic_store_explicit (&file->is_used, true, memory_order_relaxed);
  return file->fd;
}

static int
pread_whole (int fd, void *buf, size_t count, uint64_t offset,
             struct vmdk_error *err)
{
  uint8_t *p = buf;

  while (count > 0) {
    const ssize_t r = pread (fd, p, count, (off_t) offset);

    if (r == -1 && errno == EINTR)
      continue;
    if (r == -1)
      return fail_errno (err, errno, "reading %zu bytes at byte %" PRIu64,
                         count, offset);
    if (r == 0)
      return fail (err, ERR_DAMAGED,
                   "ends at byte %" PRIu64 ", wanted %zu more", offset, count);
    p += r;
    count -= (size_t) r;
    offset += (uint64_t) r;
  }
  return 0;
}

static atomic_bool is_unbuffered;

void
media_file_unbuffered (bool unbuffered)
{
  is_unbuffered = unbuffered;
}

/* Only whole pages are forgotten: those that the range touches.  COUNT 0: to
 * the end.
 */
static void
forget_cached (int fd, uint64_t offset, uint64_t count)
{
#ifdef POSIX_FADV_DONTNEED
  const uint64_t page = (uint64_t) sysconf (_SC_PAGESIZE);
  const uint64_t start = offset / page * page;

  (void) posix_fadvise (
    fd, (off_t) start,
    count ? (off_t) (div_round_up (offset + count, page) * page - start) : 0,
    POSIX_FADV_DONTNEED);
#else
  (void) fd;
  (void) offset;
  (void) count;
#endif
}

static int
file_pread (struct media *media, void *buf, size_t count, uint64_t offset,
            struct vmdk_error *err)
{
  struct file *file = (struct file *) media;
  const int fd = file_pin (file, err);
  int r;

  if (fd == -1)
    return -1;
  r = pread_whole (fd, buf, count, offset, err);
  if (atomic_load_explicit (&is_unbuffered, memory_order_relaxed) && count > 0)
    forget_cached (fd, offset, count);
  file_unpin (file);
  return r;
}

#if defined SEEK_DATA && defined SEEK_HOLE

/* What the file system says of OFFSET: returns whether a hole is there, and
 * where it or the data ends.  When in doubt all is data, up to UINT64_MAX.
 */
static bool
seek_hole (int fd, uint64_t offset, uint64_t *end)
{
  const off_t data = lseek (fd, (off_t) offset, SEEK_DATA);
  struct stat st;
  off_t hole;

  *end = UINT64_MAX;
  if (data == -1) {
    /* ENXIO is a hole to the end of the file, but also an offset past the
     * end of a file that shrank, and that is no hole: reading it fails.
     */
    if (errno != ENXIO || fstat (fd, &st) == -1
        || offset >= (uint64_t) st.st_size)
      return false;
    *end = (uint64_t) st.st_size;
    return true;
  }
  if ((uint64_t) data > offset) {
    *end = (uint64_t) data;
    return true;
  }
  hole = lseek (fd, (off_t) offset, SEEK_HOLE);
  if (hole != -1 && (uint64_t) hole > offset)
    *end = (uint64_t) hole;
  return false;
}

/* *VERSION is for remember_data. */
static bool
remembered_data (struct file *file, uint64_t offset, uint64_t *end,
                 uint64_t *version)
{
  LOCK_FOR_SCOPE (&file->data_lock);
  *end = file->data_end;
  *version = file->data_version;
  return offset >= file->data_start && offset < file->data_end;
}

static void
remember_data (struct file *file, uint64_t start, uint64_t end,
               uint64_t version)
{
  LOCK_FOR_SCOPE (&file->data_lock);
  if (version != file->data_version)
    return; /* some of it may have gone since we looked */
  file->data_start = start;
  file->data_end = end;
}

static int
file_map (struct media *media, uint64_t offset, uint64_t count, bool *hole,
          uint64_t *length, struct vmdk_error *err)
{
  struct file *file = (struct file *) media;
  uint64_t end, version;
  int fd;

  *hole = false;
  if (!media->is_regular || remembered_data (file, offset, &end, &version)) {
    *length = media->is_regular ? min_u64 (count, end - offset) : count;
    return 0;
  }
  fd = file_pin (file, err);
  if (fd == -1)
    return -1;
  *hole = seek_hole (fd, offset, &end);
  file_unpin (file);
  if (!*hole)
    remember_data (file, offset, end, version);
  *length = min_u64 (count, end - offset);
  return 0;
}

#else
#define file_map NULL
#endif

/* After a range became a hole, or went with the end of the file. */
static void
forget_data (struct file *file)
{
  LOCK_FOR_SCOPE (&file->data_lock);
  file->data_start = file->data_end = 0;
  file->data_version++;
}

static void
file_readahead (struct media *media, uint64_t offset, uint64_t count)
{
#ifdef POSIX_FADV_WILLNEED
  struct file *file = (struct file *) media;
  struct vmdk_error ignored;
  const int fd = file_pin (file, &ignored);

  if (fd == -1)
    return;
  (void) posix_fadvise (fd, (off_t) offset, (off_t) count,
                        POSIX_FADV_WILLNEED);
  file_unpin (file);
#else
  (void) media;
  (void) offset;
  (void) count;
#endif
}

/* With file->lock held and the file pinned. */
static int
lock_first (struct file *file, int fd, enum media_lock lock,
            struct vmdk_error *err)
{
  struct stat st;

  if (file->is_locked && lock <= file->held)
    return 0;
  /* If the writer's lock were refused, the reader's would be gone too. */
  if (file->is_locked)
    return fail (err, ERR_ARGUMENT, "is locked for reading already");
  if ((lock == MEDIA_LOCK_WRITE ? file_lock_write (fd, err)
                                : file_lock_read (fd, err))
      == -1)
    return -1;
  if (fstat (fd, &st) == -1)
    return fail_errno (err, errno, "fstat");
  file->modified = st.st_mtim;
  file->is_locked = true;
  file->held = lock;
  return 0;
}

static int
file_lock (struct media *media, enum media_lock lock, struct vmdk_error *err)
{
  struct file *file = (struct file *) media;
  const int fd = file_pin (file, err);
  int r;

  if (fd == -1)
    return -1;
  {
    LOCK_FOR_SCOPE (&file->lock);
    r = lock_first (file, fd, lock, err);
  }
  file_unpin (file);
  return r;
}

/* A file that cannot be opened again has a holder who does not matter now. */
static void
file_holder (struct media *media, char *text, size_t size)
{
  struct file *file = (struct file *) media;
  struct vmdk_error ignored;
  const int fd = file_pin (file, &ignored);

  if (fd == -1)
    return;
  file_lock_holder (fd, text, size);
  file_unpin (file);
}

static bool
is_forbidden (int errnum)
{
  return errnum == EPERM || errnum == EACCES || errnum == EOPNOTSUPP
         || errnum == ENOSYS || errnum == EINVAL; /* EINVAL: no such user */
}

/* Both are writable, so neither comes and goes. */
static int
writable_copy_permissions (struct media *media, struct media *from,
                           struct vmdk_error *err)
{
  const int fd = ((struct file *) media)->fd;
  struct stat st;
  mode_t mode;

  if (fstat (((struct file *) from)->fd, &st) == -1)
    return fail_errno (err, errno, "fstat");
  mode = st.st_mode & 0777;
  if (fchown (fd, (uid_t) -1, st.st_gid) == -1) {
    if (!is_forbidden (errno))
      return fail_errno (err, errno, "its group");
    mode &= 0707;
  }
  if (fchown (fd, st.st_uid, (gid_t) -1) == -1 && !is_forbidden (errno))
    return fail_errno (err, errno, "its owner");
  if (fchmod (fd, mode) == -1 && !is_forbidden (errno))
    return fail_errno (err, errno, "its permissions");
  return 0;
}

static int
writable_pwrite (struct media *media, const void *buf, size_t count,
                 uint64_t offset, struct vmdk_error *err)
{
  struct file *file = (struct file *) media;
  const uint64_t size = media->size;

  if (range_inside (offset, count, size))
    return file_write (file->fd, buf, count, offset, err);
  if (!media->is_regular)
    return fail_errno (err, ENOSPC,
                       "writing %zu bytes at byte %" PRIu64
                       " of a device that ends at byte %" PRIu64,
                       count, offset, size);
  LOCK_FOR_SCOPE (&file->length_lock);
  return file_write (file->fd, buf, count, offset, err);
}

/* When a write-back fails, the kernel tells it once and then forgets the
 * bytes as if they had been written, so a flush that succeeds after one that
 * failed says nothing.  The lock is for the flush that began before another
 * one was told.
 */
static int
writable_flush (struct media *media, struct vmdk_error *err)
{
  struct file *file = (struct file *) media;
  LOCK_FOR_SCOPE (&file->flush_lock);

  if (file->flush_errnum)
    return fail_errno (err, file->flush_errnum,
                       "an earlier flush failed, so what was written before "
                       "it may be lost");
  if (file_flush (file->fd, err) == 0) {
    if (is_unbuffered)
      forget_cached (file->fd, 0, 0);
    return 0;
  }
  file->flush_errnum = err->errnum;
  return -1;
}

static void
writable_write_back (struct media *media, uint64_t offset, uint64_t count)
{
  const struct file *file = (struct file *) media;

  file_write_back (file->fd, offset, count);
}

/* Where the file system cannot promise space, the file is made longer in two
 * steps, between which no other thread may do that.
 */
static int
writable_reserve (struct media *media, uint64_t offset, uint64_t count,
                  struct vmdk_error *err)
{
  struct file *file = (struct file *) media;
  const uint64_t size = media->size;

  if (media->is_regular) {
    LOCK_FOR_SCOPE (&file->length_lock);
    return file_reserve (file->fd, offset, count, err);
  }
  if (!range_inside (offset, count, size))
    return fail_errno (err, ENOSPC,
                       "%" PRIu64 " bytes at byte %" PRIu64
                       " of a device that ends at byte %" PRIu64,
                       count, offset, size);
  return 0;
}

static int
writable_truncate (struct media *media, uint64_t size, struct vmdk_error *err)
{
  struct file *file = (struct file *) media;
  int r;

  if (!media->is_regular)
    return fail (err, ERR_UNSUPPORTED, "the size of a device is fixed");
  {
    LOCK_FOR_SCOPE (&file->length_lock);
    r = file_truncate (file->fd, size, err);
  }
  forget_data (file);
  return r;
}

static int
writable_punch (struct media *media, uint64_t offset, uint64_t count,
                struct vmdk_error *err)
{
  struct file *file = (struct file *) media;
  const int r = file_punch (file->fd, offset, count, err);

  forget_data (file);
  return r;
}

static int
writable_clear (struct media *media, uint64_t offset, uint64_t count,
                struct vmdk_error *err)
{
  struct file *file = (struct file *) media;
  const int r = file_clear (file->fd, offset, count, err);

  forget_data (file);
  return r;
}

static void
leave_pool (struct file *file)
{
  LOCK_FOR_SCOPE (&pool.lock);
  if (file->next) {
    ring_remove (file);
    pool.nr_open--;
  }
}

static void
file_close (struct media *media)
{
  struct file *file = (struct file *) media;

  leave_pool (file);
  if (file->fd != -1)
    close (file->fd);
  pthread_mutex_destroy (&file->lock);
  pthread_mutex_destroy (&file->data_lock);
  pthread_mutex_destroy (&file->length_lock);
  pthread_mutex_destroy (&file->flush_lock);
  free (file->source.path);
  free (media->name);
  free (file);
}

static const struct media_ops file_ops = {
  .pread = file_pread,
  .map = file_map,
  .readahead = file_readahead,
  .lock = file_lock,
  .lock_holder = file_holder,
  .close = file_close,
};

static const struct media_ops writable_ops = {
  .pread = file_pread,
  .pwrite = writable_pwrite,
  .flush = writable_flush,
  .reserve = writable_reserve,
  .truncate = writable_truncate,
  .punch = writable_punch,
  .clear = writable_clear,
  .map = file_map,
  .readahead = file_readahead,
  .write_back = writable_write_back,
  .lock = file_lock,
  .lock_holder = file_holder,
  .copy_permissions = writable_copy_permissions,
  .close = file_close,
};

static int
device_size (int fd, uint64_t *size, struct vmdk_error *err)
{
  off_t end;

#ifdef BLKGETSIZE64
  if (ioctl (fd, BLKGETSIZE64, size) == 0)
    return 0;
#endif
  end = lseek (fd, 0, SEEK_END);
  if (end == -1)
    return fail_errno (err, errno, "size of the device");
  *size = (uint64_t) end;
  return 0;
}

/* Fill in what the descriptor tells. */
static int
file_examine (struct file *file, struct vmdk_error *err)
{
  struct media *media = &file->media;
  struct stat st;
  uint64_t size;

  if (fstat (file->fd, &st) == -1)
    return fail_errno (err, errno, "fstat");
  media->is_regular = S_ISREG (st.st_mode);
  media->identity.device = st.st_dev;
  media->identity.inode = st.st_ino;
  if (media->is_regular)
    size = (uint64_t) st.st_size;
  else if (!S_ISBLK (st.st_mode))
    return fail (err, ERR_DENIED,
                 "is neither a regular file nor a block device");
  else if (device_size (file->fd, &size, err) == -1)
    return -1;
  media->size = size;
  return make_blocking (file->fd, err);
}

static bool
is_writable (int fd)
{
  const int flags = fcntl (fd, F_GETFL);

  return flags != -1 && (flags & O_ACCMODE) == O_RDWR;
}

struct media *
media_file_new (int fd, char *name, struct media_file_source source,
                struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = NULL;
  struct file *file = calloc (1, sizeof *file);

  if (!file) {
    close (fd);
    free (name);
    free (source.path);
    fail_memory (err);
    return NULL;
  }
  media = &file->media;
  media->ops = is_writable (fd) ? &writable_ops : &file_ops;
  media->name = name;
  file->source = source;
  file->fd = fd;
  pthread_mutex_init (&file->lock, NULL);
  pthread_mutex_init (&file->data_lock, NULL);
  pthread_mutex_init (&file->length_lock, NULL);
  pthread_mutex_init (&file->flush_lock, NULL);
  if (file_examine (file, err) == -1)
    return NULL;
  if (!media->is_regular || media->ops == &writable_ops)
    file->source.dirfd = -1; /* a device is not opened twice either */
  if (file->source.dirfd != -1) {
    pool_reserve ();
    pool_publish (file, fd);
  }
  return steal_ptr (&media);
}
