/* SPDX-License-Identifier: BSD-3-Clause */

/* Byte locks.  See file-lock.h. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "file-lock.h"

#ifdef F_OFD_SETLK

enum { PERMISSION_READ = 0, PERMISSION_WRITE = 1, PERMISSION_RESIZE = 3 };
enum { BYTE_USED = 100, BYTE_NOT_SHARED = 200 };

/* A kind of user: what it holds, and what in others' hands excludes it. */
struct user {
  int bytes[5];
  int conflicts[5];
  size_t nr_bytes, nr_conflicts;
};

/* As qemu's own readers and writers.  Writing before sharing: what a message
 * says first shall be what matters most.
 */
static const struct user reader = {
  .bytes = { BYTE_USED + PERMISSION_READ, BYTE_NOT_SHARED + PERMISSION_WRITE,
             BYTE_NOT_SHARED + PERMISSION_RESIZE },
  .nr_bytes = 3,
  .conflicts = { BYTE_NOT_SHARED + PERMISSION_READ,
                 BYTE_USED + PERMISSION_WRITE, BYTE_USED + PERMISSION_RESIZE },
  .nr_conflicts = 3,
};
static const struct user writer = {
  .bytes = { BYTE_USED + PERMISSION_READ, BYTE_USED + PERMISSION_WRITE,
             BYTE_USED + PERMISSION_RESIZE, BYTE_NOT_SHARED + PERMISSION_WRITE,
             BYTE_NOT_SHARED + PERMISSION_RESIZE },
  .nr_bytes = 5,
  .conflicts = { BYTE_NOT_SHARED + PERMISSION_READ,
                 BYTE_USED + PERMISSION_WRITE, BYTE_USED + PERMISSION_RESIZE,
                 BYTE_NOT_SHARED + PERMISSION_WRITE,
                 BYTE_NOT_SHARED + PERMISSION_RESIZE },
  .nr_conflicts = 5,
};

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

static const char *
conflict_text (int byte)
{
  switch (byte) {
  case BYTE_NOT_SHARED + PERMISSION_READ:
    return "lets nobody else read it";
  case BYTE_NOT_SHARED + PERMISSION_WRITE:
  case BYTE_NOT_SHARED + PERMISSION_RESIZE:
    return "uses it and lets nobody else write it";
  }
  return "has it open for writing";
}

static void
set_holder (char *text, size_t size, const char *what, pid_t pid)
{
  /* The kernel does not say who holds a lock that belongs to an open file
   * rather than to a process; qemu's and ours are of that kind.
   */
  if (pid > 0)
    snprintf (text, size, "another program (process %jd) %s", (intmax_t) pid,
              what);
  else
    snprintf (text, size, "another program %s", what);
}

static int
fail_locked (struct vmdk_error *err, const char *what, pid_t pid)
{
  char text[128];

  set_holder (text, sizeof text, what, pid);
  return fail (err, ERR_LOCKED, "%s", text);
}

static void
unlock_bytes (int fd, const struct user *user)
{
  struct flock lock;
  size_t i;

  for (i = 0; i < user->nr_bytes; i++)
    byte_lock (fd, F_OFD_SETLK, F_UNLCK, user->bytes[i], &lock);
}

/* Find who holds a conflicting byte; returns it, or 0. */
static int
find_conflict (int fd, const struct user *user, pid_t *pid)
{
  struct flock lock;
  size_t i;

  for (i = 0; i < user->nr_conflicts; i++)
    if (byte_lock (fd, F_OFD_GETLK, F_WRLCK, user->conflicts[i], &lock) == 0
        && lock.l_type != F_UNLCK) {
      *pid = lock.l_pid;
      return user->conflicts[i];
    }
  return 0;
}

/* First lock, then look: of two who come at the same time one at least sees
 * the other.  A file system without such locks is not an error.
 */
static int
lock_as (int fd, const struct user *user, struct vmdk_error *err)
{
  struct flock lock;
  pid_t pid = -1;
  size_t i;
  int byte;

  for (i = 0; i < user->nr_bytes; i++) {
    if (byte_lock (fd, F_OFD_SETLK, F_RDLCK, user->bytes[i], &lock) == 0)
      continue;
    if (errno != EAGAIN && errno != EACCES)
      return 0;
    if (byte_lock (fd, F_OFD_GETLK, F_RDLCK, user->bytes[i], &lock) == -1)
      lock.l_pid = -1;
    unlock_bytes (fd, user);
    return fail_locked (err, "has locked it", lock.l_pid);
  }
  byte = find_conflict (fd, user, &pid);
  if (byte == 0)
    return 0;
  unlock_bytes (fd, user);
  return fail_locked (err, conflict_text (byte), pid);
}

int
file_lock_read (int fd, struct vmdk_error *err)
{
  return lock_as (fd, &reader, err);
}

int
file_lock_write (int fd, struct vmdk_error *err)
{
  return lock_as (fd, &writer, err);
}

void
file_lock_holder (int fd, char *text, size_t size)
{
  pid_t pid = -1;
  const int byte = find_conflict (fd, &writer, &pid);

  if (byte == 0)
    *text = '\0';
  else
    set_holder (text, size, conflict_text (byte), pid);
}

#else /* !F_OFD_SETLK */

int
file_lock_read (int fd, struct vmdk_error *err)
{
  (void) fd;
  (void) err;
  return 0;
}

int
file_lock_write (int fd, struct vmdk_error *err)
{
  (void) fd;
  (void) err;
  return 0;
}

void
file_lock_holder (int fd, char *text, size_t size)
{
  (void) fd;
  (void) size;
  *text = '\0';
}

#endif
