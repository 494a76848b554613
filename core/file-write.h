/* SPDX-License-Identifier: BSD-3-Clause */

/* Changing a local file or block device through a descriptor that is open
 * for writing.  No state and no locks: that is media-file.c's.
 */

#ifndef VMDKIT_FILE_WRITE_H
#define VMDKIT_FILE_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* All of it or an error, which keeps the errno value (ENOSPC, EDQUOT, EFBIG).
 * OFFSET + COUNT fits in off_t; here and below.
 */
extern int file_write (int fd, const void *buf, size_t count, uint64_t offset,
                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2, 5)));

/* The data, and of the rest what is needed to read it again, such as the
 * size.
 */
extern int file_flush (int fd, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2)));

/* Begin to write a range to the medium, without waiting for it, so that a
 * flush later has less to do.  Promises nothing; what goes wrong is told by
 * the flush.
 */
extern void file_write_back (int fd, uint64_t offset, uint64_t count);

/* Take the space for a range, as far as the file system can, and make the
 * file reach to its end.  Nobody else may change the file's length meanwhile.
 */
extern int file_reserve (int fd, uint64_t offset, uint64_t count,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (4)));

extern int file_truncate (int fd, uint64_t size, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (3)));

/* Make a range read as zeros and take no space or, failing that, read as
 * zeros without any being written; the length stays.  ERR_UNSUPPORTED when
 * the file system or device can do neither.
 */
extern int file_punch (int fd, uint64_t offset, uint64_t count,
                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (4)));

/* Make a range read as zeros and keep its space, without any being written.
 * ERR_UNSUPPORTED when the file system or device cannot.
 */
extern int file_clear (int fd, uint64_t offset, uint64_t count,
                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (4)));

#endif /* VMDKIT_FILE_WRITE_H */
