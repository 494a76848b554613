/* SPDX-License-Identifier: BSD-3-Clause */

/* A medium that is a buffer, for tests and fuzzing.  See media.h.
 *
 * Its identity is the buffer's address on a device that no kernel has, so
 * that two slices of one buffer are recognised as the same file.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "media.h"

struct memory {
  struct media media;
  uint8_t *bytes; /* owned */
};

static int
memory_pread (struct media *media, void *buf, size_t count, uint64_t offset,
              struct vmdk_error *err)
{
  const struct memory *memory = (struct memory *) media;

  (void) err;
  memcpy (buf, memory->bytes + offset, count);
  return 0;
}

static void
memory_close (struct media *media)
{
  struct memory *memory = (struct memory *) media;

  free (memory->bytes);
  free (media->name);
  free (memory);
}

static const struct media_ops memory_ops = {
  .pread = memory_pread,
  .close = memory_close,
};

struct media *
media_memory_new (const char *name, const void *bytes, size_t count,
                  struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = NULL;
  struct memory *memory = calloc (1, sizeof *memory);

  if (!memory) {
    fail_memory (err);
    return NULL;
  }
  media = &memory->media;
  media->ops = &memory_ops;
  media->size = count;
  media->is_regular = true;
  media->name = strdup (name);
  /* Exactly COUNT bytes, so that sanitizers see every step outside. */
  memory->bytes = malloc (count > 0 ? count : 1);
  if (!media->name || !memory->bytes) {
    fail_memory (err);
    return NULL;
  }
  if (count > 0)
    memcpy (memory->bytes, bytes, count);
  media->identity.device = UINT64_MAX;
  media->identity.inode = (uintptr_t) memory->bytes;
  return steal_ptr (&media);
}
