/* SPDX-License-Identifier: BSD-3-Clause */

/* What is allocated.  See nfc-bitmap.h. */

#include <config.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "cleanup.h"
#include "nfc-bitmap.h"
#include "nfc-frame.h"

#define MAX_WINDOWS 256 /* that are kept: 16 MiB */

struct window {
  uint8_t *bits; /* NULL: not asked for yet */
  bool written;
};

struct nfc_bitmap {
  uint64_t disk_size;
  uint64_t nr_chunks; /* whole ones */
  struct nfc_bitmap_source source;
  size_t nr_windows;

  /* Held across questions to the host: who waits here wants an answer. */
  pthread_mutex_t ask_lock;
  bool asked, refused;    /* under ask_lock */
  size_t nr_kept;         /* the same */
  struct window *windows; /* bits under ask_lock */

  pthread_mutex_t written_lock; /* guards windows[].written */
};

struct nfc_bitmap *
nfc_bitmap_new (uint64_t disk_size, struct nfc_bitmap_source source,
                struct vmdk_error *err)
{
  struct nfc_bitmap *bitmap = calloc (1, sizeof *bitmap);

  if (bitmap) {
    bitmap->disk_size = disk_size;
    bitmap->nr_chunks = disk_size / NFC_CHUNK_SIZE;
    bitmap->source = source;
    bitmap->nr_windows = div_round_up (disk_size, NFC_WINDOW_BYTES);
    bitmap->windows = calloc (bitmap->nr_windows, sizeof *bitmap->windows);
    pthread_mutex_init (&bitmap->ask_lock, NULL);
    pthread_mutex_init (&bitmap->written_lock, NULL);
  }
  if (!bitmap || !bitmap->windows) {
    nfc_bitmap_free (bitmap);
    fail_memory (err);
    return NULL;
  }
  return bitmap;
}

static void
forget (struct nfc_bitmap *bitmap)
{
  for (size_t i = 0; i < bitmap->nr_windows; i++) {
    free (bitmap->windows[i].bits);
    bitmap->windows[i].bits = NULL;
  }
  bitmap->nr_kept = 0;
}

void
nfc_bitmap_free (struct nfc_bitmap *bitmap)
{
  if (!bitmap)
    return;
  if (bitmap->windows)
    forget (bitmap);
  free (bitmap->windows);
  pthread_mutex_destroy (&bitmap->ask_lock);
  pthread_mutex_destroy (&bitmap->written_lock);
  free (bitmap);
}

void
nfc_bitmap_written (struct nfc_bitmap *bitmap, uint64_t offset, uint64_t count)
{
  LOCK_FOR_SCOPE (&bitmap->written_lock);
  for (uint64_t i = offset / NFC_WINDOW_BYTES;
       count > 0 && i <= (offset + count - 1) / NFC_WINDOW_BYTES; i++)
    bitmap->windows[i].written = true;
}

static bool
was_written (struct nfc_bitmap *bitmap, size_t i)
{
  LOCK_FOR_SCOPE (&bitmap->written_lock);
  return bitmap->windows[i].written;
}

/* --------------------------------------------------------------------- */

static int
ask (struct nfc_bitmap *bitmap, uint64_t offset, uint64_t nr_chunks,
     uint8_t *bits, size_t size, struct vmdk_error *err)
{
  const int r = bitmap->source.ask (bitmap->source.opaque, offset, nr_chunks,
                                    bits, size, err);

  bitmap->refused |= r == 1;
  return r;
}

/* A host that does not tell is asked for one chunk only. */
static int
probe (struct nfc_bitmap *bitmap, struct vmdk_error *err)
{
  uint8_t bits[4];

  if (bitmap->asked)
    return 0;
  if (ask (bitmap, 0, 1, bits, sizeof bits, err) == -1)
    return -1;
  bitmap->asked = true;
  return 0;
}

/* Have windows[I].bits, unless that is refused. */
static int
load (struct nfc_bitmap *bitmap, size_t i, struct vmdk_error *err)
{
  const uint64_t first = (uint64_t) i * NFC_WINDOW_CHUNKS;
  const uint64_t n = min_u64 (NFC_WINDOW_CHUNKS, bitmap->nr_chunks - first);
  const size_t size = nfc_allocated_bytes (n);
  CLEANUP_FREE uint8_t *bits = NULL;

  if (bitmap->windows[i].bits || bitmap->refused || probe (bitmap, err) == -1
      || bitmap->refused)
    return bitmap->asked || bitmap->windows[i].bits ? 0 : -1;
  bits = malloc (size);
  if (!bits)
    return fail_memory (err);
  if (ask (bitmap, first * NFC_CHUNK_SIZE, n, bits, size, err) == -1)
    return -1;
  if (bitmap->refused)
    return 0;
  if (bitmap->nr_kept == MAX_WINDOWS)
    forget (bitmap);
  bitmap->nr_kept++;
  bitmap->windows[i].bits = steal_ptr (&bits);
  return 0;
}

/* How the chunk at OFFSET is, and where what is alike ends; within a window
 * and before END.
 */
static int
run_at (struct nfc_bitmap *bitmap, uint64_t offset, uint64_t end, bool *hole,
        uint64_t *run_end, struct vmdk_error *err)
{
  const size_t i = offset / NFC_WINDOW_BYTES;
  const uint64_t start = (uint64_t) i * NFC_WINDOW_BYTES;
  uint64_t chunk = offset / NFC_CHUNK_SIZE;
  const uint8_t *bits;
  unsigned bit;

  end = min_u64 (end, start + NFC_WINDOW_BYTES);
  *hole = false;
  *run_end = end;
  if (chunk >= bitmap->nr_chunks || was_written (bitmap, i))
    return 0;
  LOCK_FOR_SCOPE (&bitmap->ask_lock);
  if (load (bitmap, i, err) == -1)
    return -1;
  bits = bitmap->windows[i].bits;
  /* it may have been written while we asked */
  if (!bits || was_written (bitmap, i))
    return 0;
  end = min_u64 (end, bitmap->nr_chunks * NFC_CHUNK_SIZE);
  chunk -= (uint64_t) i * NFC_WINDOW_CHUNKS;
  bit = bits[chunk / 8] >> chunk % 8 & 1;
  do
    chunk++;
  while (start + chunk * NFC_CHUNK_SIZE < end
         && (bits[chunk / 8] >> chunk % 8 & 1) == bit);
  *hole = bit == 0;
  *run_end = min_u64 (end, start + chunk * NFC_CHUNK_SIZE);
  return 0;
}

int
nfc_bitmap_map (struct nfc_bitmap *bitmap, uint64_t offset, uint64_t count,
                bool (*emit) (void *opaque, const struct disk_piece *piece),
                void *opaque, struct vmdk_error *err)
{
  struct disk_piece piece = { .offset = offset };
  const uint64_t end = offset + count;

  while (offset < end) {
    uint64_t run_end;
    bool hole;

    if (run_at (bitmap, offset, end, &hole, &run_end, err) == -1)
      return -1;
    if (piece.length > 0 && hole != piece.hole) {
      if (!emit (opaque, &piece))
        return 0;
      piece.offset = offset;
      piece.length = 0;
    }
    piece.hole = piece.zero = hole;
    piece.length += run_end - offset;
    offset = run_end;
  }
  if (piece.length > 0)
    emit (opaque, &piece);
  return 0;
}
