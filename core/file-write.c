/* SPDX-License-Identifier: BSD-3-Clause */

/* Changing a file through its descriptor.  See file-write.h. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file-write.h"

int
file_write (int fd, const void *buf, size_t count, uint64_t offset,
            struct vmdk_error *err)
{
  const uint8_t *p = buf;

  while (count > 0) {
    const ssize_t r = pwrite (fd, p, count, (off_t) offset);

    if (r == -1 && errno == EINTR)
      continue;
    if (r <= 0)
      return fail_errno (err, r == 0 ? EIO : errno,
                         "writing %zu bytes at byte %" PRIu64, count, offset);
    p += r;
    count -= (size_t) r;
    offset += (uint64_t) r;
  }
  return 0;
}

int
file_flush (int fd, struct vmdk_error *err)
{
  int r;

  do
    r = fdatasync (fd);
  while (r == -1 && errno == EINTR);
  return r == -1 ? fail_errno (err, errno, "flushing") : 0;
}

void
file_write_back (int fd, uint64_t offset, uint64_t count)
{
#ifdef SYNC_FILE_RANGE_WRITE
  (void) sync_file_range (fd, (off_t) offset, (off_t) count,
                          SYNC_FILE_RANGE_WRITE);
#else
  (void) fd;
  (void) offset;
  (void) count;
#endif
}

int
file_truncate (int fd, uint64_t size, struct vmdk_error *err)
{
  int r;

  do
    r = ftruncate (fd, (off_t) size);
  while (r == -1 && errno == EINTR);
  if (r == -1)
    return fail_errno (err, errno, "setting the size to %" PRIu64 " bytes",
                       size);
  return 0;
}

/* fallocate, to be had only on Linux.  Sets errno. */
static int
allocate (int fd, int mode, uint64_t offset, uint64_t count)
{
#ifdef FALLOC_FL_KEEP_SIZE
  int r;

  do
    r = fallocate (fd, mode, (off_t) offset, (off_t) count);
  while (r == -1 && errno == EINTR);
  return r;
#else
  (void) fd;
  (void) mode;
  (void) offset;
  (void) count;
  errno = ENOSYS;
  return -1;
#endif
}

/* EINVAL comes from devices (alignment) and from old kernels (the mode). */
static bool
is_refusal (int errnum)
{
  return errnum == EOPNOTSUPP || errnum == ENOTSUP || errnum == ENOSYS
         || errnum == EINVAL;
}

/* Without a promise the file is made longer all the same, so that what a
 * caller may read does not depend on the file system.
 */
int
file_reserve (int fd, uint64_t offset, uint64_t count, struct vmdk_error *err)
{
  struct stat st;

  if (allocate (fd, 0, offset, count) == 0)
    return 0;
  if (!is_refusal (errno))
    return fail_errno (err, errno,
                       "reserving %" PRIu64 " bytes at byte %" PRIu64, count,
                       offset);
  if (fstat (fd, &st) == -1)
    return fail_errno (err, errno, "fstat");
  if ((uint64_t) st.st_size >= offset + count)
    return 0;
  return file_truncate (fd, offset + count, err);
}

#ifdef FALLOC_FL_KEEP_SIZE
#ifndef FALLOC_FL_ZERO_RANGE
#define FALLOC_FL_ZERO_RANGE 0x10
#endif

/* In order of preference.  On block devices the kernel turns these into
 * discards that are sure to read as zeros, and into BLKZEROOUT.
 */
static const int punch_modes[] = {
  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
};
static const int clear_modes[] = { FALLOC_FL_ZERO_RANGE
                                   | FALLOC_FL_KEEP_SIZE };
#else
static const int punch_modes[] = { 0 }; /* refused as any other */
static const int clear_modes[] = { 0 };
#endif
#define COUNT(array) (sizeof (array) / sizeof (array)[0])

/* In the first of MODES that is not refused. */
static int
zero_range (int fd, const int *modes, size_t nr, uint64_t offset,
            uint64_t count, const char *otherwise, struct vmdk_error *err)
{
  for (size_t i = 0; i < nr; i++) {
    if (allocate (fd, modes[i], offset, count) == 0)
      return 0;
    if (!is_refusal (errno))
      return fail_errno (err, errno,
                         "zeroing %" PRIu64 " bytes at byte %" PRIu64, count,
                         offset);
  }
  return fail (err, ERR_UNSUPPORTED, "%s", otherwise);
}

int
file_punch (int fd, uint64_t offset, uint64_t count, struct vmdk_error *err)
{
  return zero_range (fd, punch_modes, COUNT (punch_modes), offset, count,
                     "cannot have holes", err);
}

int
file_clear (int fd, uint64_t offset, uint64_t count, struct vmdk_error *err)
{
  return zero_range (fd, clear_modes, COUNT (clear_modes), offset, count,
                     "zeros would have to be written", err);
}
