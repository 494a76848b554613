/* SPDX-License-Identifier: BSD-3-Clause */

/* Byte locks of other programs: setting, finding and holding them.  Include
 * after folder-helper.h, where F_OFD_SETLK is known.
 */

#ifndef VMDKIT_TESTS_LOCK_HELPER_H
#define VMDKIT_TESTS_LOCK_HELPER_H

#include <stdbool.h>
#include <sys/wait.h>

/* Set (or test) a lock on one byte; returns -1 or the type of what was
 * found.
 */
static inline int
byte_lock (int fd, int command, short type, int byte)
{
  struct flock lock = {
    .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
  };
  const int r = fcntl (fd, command, &lock);

  return r == -1 ? -1 : lock.l_type;
}

/* Whether anybody else than FD holds a lock on the byte. */
static inline bool
is_held (const char *name, int byte)
{
  const int fd = openat (folder_fd, name, O_RDONLY | O_CLOEXEC);
  const int type = byte_lock (fd, F_OFD_GETLK, F_WRLCK, byte);

  assert_int_not_equal (type, -1);
  close (fd);
  return type != F_UNLCK;
}

/* A child that holds locks of TYPE on BYTES (up to a 0) until its pipe is
 * closed. */
struct holder {
  pid_t pid;
  int pipe;
};

static inline void __attribute__ ((noreturn))
hold (const char *name, int command, short type, const int *bytes, int ready,
      int wait)
{
  const int fd = openat (folder_fd, name, O_RDWR | O_CLOEXEC);
  char c = 'y';

  for (; *bytes; bytes++)
    if (byte_lock (fd, command, type, *bytes) == -1)
      c = 'n';
  if (write (ready, &c, 1) != 1 || read (wait, &c, 1) != 0)
    _exit (1);
  _exit (0);
}

static inline struct holder
start_holder (const char *name, int command, short type, const int *bytes)
{
  struct holder holder;
  int ready[2], wait[2];
  char c = 0;

  assert_int_equal (pipe (ready), 0);
  assert_int_equal (pipe (wait), 0);
  holder.pid = fork ();
  assert_int_not_equal (holder.pid, -1);
  if (holder.pid == 0) {
    close (wait[1]);
    hold (name, command, type, bytes, ready[1], wait[0]);
  }
  close (ready[1]);
  close (wait[0]);
  assert_int_equal (read (ready[0], &c, 1), 1);
  close (ready[0]);
  holder.pipe = wait[1];
  if (c != 'y')
    skip (); /* no such locks here */
  return holder;
}

static inline void
stop_holder (struct holder holder)
{
  int status;

  close (holder.pipe);
  assert_int_equal (waitpid (holder.pid, &status, 0), holder.pid);
  assert_int_equal (status, 0);
}

#endif /* VMDKIT_TESTS_LOCK_HELPER_H */
