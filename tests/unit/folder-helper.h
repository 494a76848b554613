/* SPDX-License-Identifier: BSD-3-Clause */

/* A folder for the files of a test program, and what is asserted of errors.
 * make_folder and remove_folder are a group's setup and teardown.
 */

#ifndef VMDKIT_TESTS_FOLDER_HELPER_H
#define VMDKIT_TESTS_FOLDER_HELPER_H

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

#include <cmocka.h> /* last: it has a macro called fail */

static char folder[] = "/tmp/test-vmdkit-XXXXXX";
static int folder_fd = -1;

static inline void
assert_error (const struct vmdk_error *err, enum vmdk_error_kind kind,
              const char *text)
{
  assert_string_equal (err->text, text);
  assert_int_equal (err->kind, kind);
}

static inline int
make_folder (void **state)
{
  (void) state;
  if (!mkdtemp (folder))
    return -1;
  folder_fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return folder_fd == -1 ? -1 : 0;
}

static inline int
remove_one (const char *path, const struct stat *st, int type,
            struct FTW *where)
{
  (void) st;
  (void) type;
  (void) where;
  return remove (path);
}

static inline int
remove_folder (void **state)
{
  (void) state;
  close (folder_fd);
  return nftw (folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void
write_file (const char *name, const void *bytes, size_t count)
{
  const int fd =
    openat (folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

  assert_int_not_equal (fd, -1);
  assert_int_equal (write (fd, bytes, count), count);
  assert_int_equal (close (fd), 0);
}

#endif /* VMDKIT_TESTS_FOLDER_HELPER_H */
