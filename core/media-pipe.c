/* SPDX-License-Identifier: BSD-3-Clause */

/* Bytes that go down a pipe.  See media-pipe.h. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "media-pipe.h"

struct pipe {
  struct media media;
  int fd;
};

/* Whoever made the pipe may have made it non-blocking. */
static void
wait_for_reader (int fd)
{
  struct pollfd p = { .fd = fd, .events = POLLOUT };

  (void) poll (&p, 1, -1);
}

static int
fail_write (uint64_t offset, struct vmdk_error *err)
{
  if (errno == EPIPE)
    return fail_errno (err, errno,
                       "nobody reads it any more, at byte %" PRIu64, offset);
  return fail_errno (err, errno, "writing at byte %" PRIu64, offset);
}

static int
pipe_pwrite (struct media *media, const void *buf, size_t count,
             uint64_t offset, struct vmdk_error *err)
{
  const struct pipe *pipe = (struct pipe *) media;
  const uint8_t *p = buf;

  if (offset != media->size)
    return fail (err, ERR_ARGUMENT,
                 "cannot be written at byte %" PRIu64
                 ", only at its end, %" PRIu64,
                 offset, (uint64_t) media->size);
  while (count > 0) {
    const ssize_t r = write (pipe->fd, p, count);

    if (r == -1 && errno == EAGAIN)
      wait_for_reader (pipe->fd);
    else if (r == -1 && errno != EINTR)
      return fail_write (offset, err);
    if (r > 0) {
      p += r;
      count -= (size_t) r;
      offset += (uint64_t) r;
    }
  }
  return 0;
}

static int
pipe_pread (struct media *media, void *buf, size_t count, uint64_t offset,
            struct vmdk_error *err)
{
  (void) media;
  (void) buf;
  return fail (err, ERR_ARGUMENT,
               "%zu bytes at byte %" PRIu64 " of a pipe cannot be read back",
               count, offset);
}

static void
pipe_close (struct media *media)
{
  free (media->name);
  free (media);
}

static const struct media_ops pipe_ops = {
  .pread = pipe_pread,
  .pwrite = pipe_pwrite,
  .close = pipe_close,
};

struct media *
media_pipe_new (int fd, const char *name, struct vmdk_error *err)
{
  struct pipe *pipe = calloc (1, sizeof *pipe);
  char *copy = strdup (name);

  if (!pipe || !copy) {
    free (pipe);
    free (copy);
    fail_memory (err);
    return NULL;
  }
  pipe->media.ops = &pipe_ops;
  pipe->media.name = copy;
  pipe->fd = fd;
  return &pipe->media;
}
