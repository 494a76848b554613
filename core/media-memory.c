/* SPDX-License-Identifier: BSD-3-Clause */

/* A medium that is a buffer, for tests and fuzzing.  See media.h and
 * media-memory.h.
 *
 * Its identity is the buffer's address on a device that no kernel has, so
 * that two slices of one buffer are recognised as the same file.
 *
 * The buffer can be written through one medium and read through another, so
 * it has a lock, and can have become shorter than a medium believes.
 */

#include <config.h>

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "media-memory.h"
#include "media.h"

/* No buffer grows larger.  A file would become sparse instead. */
#define MAX_GROWN (UINT64_C (1) << 30)

struct memory_bytes {
  _Atomic size_t nr_uses;
  pthread_mutex_t lock; /* for all below */
  uint8_t *ptr;         /* owned */
  uint64_t len, capacity;
};

struct memory {
  struct media media;
  struct memory_bytes *bytes; /* one use */
};

struct memory_bytes *
memory_bytes_new (const void *from, size_t count, struct vmdk_error *err)
{
  struct memory_bytes *bytes = calloc (1, sizeof *bytes);

  /* Exactly COUNT bytes, so that sanitizers see every step outside. */
  if (bytes)
    bytes->ptr = malloc (count > 0 ? count : 1);
  if (!bytes || !bytes->ptr) {
    free (bytes);
    fail_memory (err);
    return NULL;
  }
  if (count > 0)
    memcpy (bytes->ptr, from, count);
  bytes->len = bytes->capacity = count;
  bytes->nr_uses = 1;
  pthread_mutex_init (&bytes->lock, NULL);
  return bytes;
}

struct memory_bytes *
memory_bytes_use (struct memory_bytes *bytes)
{
  atomic_fetch_add (&bytes->nr_uses, 1);
  return bytes;
}

void
memory_bytes_free (struct memory_bytes *bytes)
{
  if (!bytes || atomic_fetch_sub (&bytes->nr_uses, 1) > 1)
    return;
  pthread_mutex_destroy (&bytes->lock);
  free (bytes->ptr);
  free (bytes);
}

/* With the lock held. */
static int
set_len (struct memory_bytes *bytes, uint64_t len, struct vmdk_error *err)
{
  if (len > bytes->capacity) {
    const uint64_t more = max_u64 (len, bytes->capacity / 2 * 3);
    uint8_t *grown;

    if (len > MAX_GROWN)
      return fail_errno (err, ENOSPC, "%" PRIu64 " bytes in memory", len);
    grown = realloc (bytes->ptr, more);
    if (!grown)
      return fail_memory (err);
    bytes->ptr = grown;
    bytes->capacity = more;
  }
  if (len > bytes->len)
    memset (bytes->ptr + bytes->len, 0, len - bytes->len);
  bytes->len = len;
  return 0;
}

static int
memory_pread (struct media *media, void *buf, size_t count, uint64_t offset,
              struct vmdk_error *err)
{
  struct memory_bytes *bytes = ((struct memory *) media)->bytes;
  LOCK_FOR_SCOPE (&bytes->lock);

  if (!range_inside (offset, count, bytes->len))
    return fail (err, ERR_DAMAGED,
                 "ends at byte %" PRIu64 ", wanted %zu bytes at byte %" PRIu64,
                 bytes->len, count, offset);
  memcpy (buf, bytes->ptr + offset, count);
  return 0;
}

static int
memory_reserve (struct media *media, uint64_t offset, uint64_t count,
                struct vmdk_error *err)
{
  struct memory_bytes *bytes = ((struct memory *) media)->bytes;
  LOCK_FOR_SCOPE (&bytes->lock);

  if (range_inside (offset, count, bytes->len))
    return 0;
  return set_len (bytes, offset + count, err);
}

static int
memory_pwrite (struct media *media, const void *buf, size_t count,
               uint64_t offset, struct vmdk_error *err)
{
  struct memory_bytes *bytes = ((struct memory *) media)->bytes;
  LOCK_FOR_SCOPE (&bytes->lock);

  if (!range_inside (offset, count, bytes->len)
      && set_len (bytes, offset + count, err) == -1)
    return -1;
  memcpy (bytes->ptr + offset, buf, count);
  return 0;
}

static int
memory_truncate (struct media *media, uint64_t size, struct vmdk_error *err)
{
  struct memory_bytes *bytes = ((struct memory *) media)->bytes;
  LOCK_FOR_SCOPE (&bytes->lock);

  return set_len (bytes, size, err);
}

static void
memory_close (struct media *media)
{
  struct memory *memory = (struct memory *) media;

  memory_bytes_free (memory->bytes);
  free (media->name);
  free (memory);
}

static const struct media_ops memory_ops = {
  .pread = memory_pread,
  .close = memory_close,
};

static const struct media_ops writable_ops = {
  .pread = memory_pread,
  .pwrite = memory_pwrite,
  .reserve = memory_reserve,
  .truncate = memory_truncate,
  .close = memory_close,
};

static uint64_t
get_len (struct memory_bytes *bytes)
{
  LOCK_FOR_SCOPE (&bytes->lock);
  return bytes->len;
}

struct media *
memory_bytes_open (struct memory_bytes *bytes, const char *name, bool writable,
                   struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = NULL;
  struct memory *memory = calloc (1, sizeof *memory);

  if (!memory) {
    fail_memory (err);
    return NULL;
  }
  media = &memory->media;
  media->ops = writable ? &writable_ops : &memory_ops;
  media->size = get_len (bytes);
  media->is_regular = true;
  media->identity.device = UINT64_MAX;
  media->identity.inode = (uintptr_t) bytes;
  media->name = strdup (name);
  if (!media->name) {
    fail_memory (err);
    return NULL;
  }
  memory->bytes = memory_bytes_use (bytes);
  return steal_ptr (&media);
}

struct media *
media_memory_new (const char *name, const void *bytes, size_t count,
                  struct vmdk_error *err)
{
  CLEANUP_MEMORY_BYTES struct memory_bytes *copy =
    memory_bytes_new (bytes, count, err);

  return copy ? memory_bytes_open (copy, name, false, err) : NULL;
}
