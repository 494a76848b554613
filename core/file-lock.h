/* SPDX-License-Identifier: BSD-3-Clause */

/* Byte locks, at the positions that qemu uses, so that its tools and we keep
 * out of one another's way.
 *
 * A byte at 100 + n says "I use permission n", one at 200 + n says "I do not
 * share permission n".  All are read locks of the open file description;
 * testing for a write lock finds anybody's.  They are given back when the
 * descriptor is closed.
 */

#ifndef VMDKIT_FILE_LOCK_H
#define VMDKIT_FILE_LOCK_H

#include <stddef.h>

#include "error.h"

/* We read FD's file, and want nobody to write or resize it.  ERR_LOCKED when
 * somebody does.  A file system without such locks is not an error.
 */
extern int file_lock_read (int fd, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2)));

/* We read, write and resize it, and want nobody else to write or resize it;
 * so we and those who forbid that, all readers among them, exclude each
 * other.  FD must hold no lock from here as yet: a failure drops it.
 */
extern int file_lock_write (int fd, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2)));

/* Who keeps a writer out of FD's file: "another program has it open for
 * writing", or "" when nobody does.  Locks nothing.
 */
extern void file_lock_holder (int fd, char *text, size_t size)
  __attribute__ ((nonnull (2)));

#endif /* VMDKIT_FILE_LOCK_H */
