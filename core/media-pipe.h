/* SPDX-License-Identifier: BSD-3-Clause */

/* A medium that can only be appended to: a pipe, a FIFO, a socket, or a file
 * that is written as if it were one of these.
 */

#ifndef VMDKIT_MEDIA_PIPE_H
#define VMDKIT_MEDIA_PIPE_H

#include "error.h"
#include "media.h"

/* FD, open for writing, is borrowed.  Its size is what was written so far,
 * which is also the only place where one can write.
 */
extern struct media *media_pipe_new (int fd, const char *name,
                                     struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2, 3)));

#endif /* VMDKIT_MEDIA_PIPE_H */
