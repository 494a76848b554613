/* SPDX-License-Identifier: BSD-3-Clause */

/* Byte locks.  See file-lock.h. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>

#include "file-lock.h"

#ifdef F_OFD_SETLK

enum { PERMISSION_READ = 0, PERMISSION_WRITE = 1, PERMISSION_RESIZE = 3 };
enum { BYTE_USED = 100, BYTE_NOT_SHARED = 200 };

/* What qemu's own readers hold. */
static const int reader_bytes[] = {
  BYTE_USED + PERMISSION_READ,
  BYTE_NOT_SHARED + PERMISSION_WRITE,
  BYTE_NOT_SHARED + PERMISSION_RESIZE,
};
static const int conflicting_bytes[] = {
  BYTE_NOT_SHARED + PERMISSION_READ,
  BYTE_USED + PERMISSION_WRITE,
  BYTE_USED + PERMISSION_RESIZE,
};
#define NR_READER_BYTES 3

static int
byte_lock (int fd, int command, short type, int byte, struct flock *lock)
{
  int r;

  do {
    *lock = (struct flock){
      .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
    };
    r = fcntl (fd, command, lock);
  } while (r == -1 && errno == EINTR);
  return r;
}

static int
fail_locked (struct vmdk_error *err, int byte, pid_t pid)
{
  const char *what = byte == BYTE_NOT_SHARED + PERMISSION_READ
                       ? "lets nobody else read it"
                       : "has it open for writing";

  /* The kernel does not say who holds a lock that belongs to an open file
   * rather than to a process; qemu's and ours are of that kind.
   */
  if (pid > 0)
    return fail (err, ERR_LOCKED, "another program (process %jd) %s",
                 (intmax_t) pid, what);
  return fail (err, ERR_LOCKED, "another program %s", what);
}

static void
unlock_reader_bytes (int fd)
{
  struct flock lock;
  size_t i;

  for (i = 0; i < NR_READER_BYTES; i++)
    byte_lock (fd, F_OFD_SETLK, F_UNLCK, reader_bytes[i], &lock);
}

/* First lock, then look: of two who come at the same time one at least sees
 * the other.  A file system without such locks is not an error.
 */
int
file_lock_read (int fd, struct vmdk_error *err)
{
  struct flock lock;
  size_t i;

  for (i = 0; i < NR_READER_BYTES; i++) {
    if (byte_lock (fd, F_OFD_SETLK, F_RDLCK, reader_bytes[i], &lock) == 0)
      continue;
    if (errno != EAGAIN && errno != EACCES)
      return 0;
    if (byte_lock (fd, F_OFD_GETLK, F_RDLCK, reader_bytes[i], &lock) == -1)
      lock.l_pid = -1;
    unlock_reader_bytes (fd);
    return fail_locked (err, reader_bytes[i], lock.l_pid);
  }
  for (i = 0; i < NR_READER_BYTES; i++) {
    if (byte_lock (fd, F_OFD_GETLK, F_WRLCK, conflicting_bytes[i], &lock) == 0
        && lock.l_type != F_UNLCK) {
      unlock_reader_bytes (fd);
      return fail_locked (err, conflicting_bytes[i], lock.l_pid);
    }
  }
  return 0;
}

#else /* !F_OFD_SETLK */

int
file_lock_read (int fd, struct vmdk_error *err)
{
  (void) fd;
  (void) err;
  return 0;
}

#endif
