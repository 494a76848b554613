/* SPDX-License-Identifier: BSD-3-Clause */

/* Files as media.  Include after folder-helper.h. */

#ifndef VMDKIT_TESTS_MEDIA_HELPER_H
#define VMDKIT_TESTS_MEDIA_HELPER_H

#include <string.h>

#include "media.h"

/* FLAGS are O_RDONLY or O_RDWR; with a source, when POOLED. */
static inline struct media *
open_file (const char *name, int flags, bool pooled)
{
  struct media_file_source source = { .dirfd = -1 };
  struct vmdk_error err;
  struct media *media;
  const int fd = media_file_openat (folder_fd, name, flags);

  assert_int_not_equal (fd, -1);
  if (pooled) {
    source.dirfd = folder_fd;
    source.path = strdup (name);
  }
  media = media_file_new (fd, strdup (name), source, &err);
  assert_non_null (media);
  return media;
}

#endif /* VMDKIT_TESTS_MEDIA_HELPER_H */
