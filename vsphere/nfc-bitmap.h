/* SPDX-License-Identifier: BSD-3-Clause */

/* Which chunks of a disk are allocated, as the host tells: asked for when it
 * is needed, in windows of 32 GiB, and kept.
 *
 * What is not allocated reads as zeros, for the host looks at the whole chain.
 * Everything is data where it cannot be known: in the tail that is shorter
 * than a chunk, where the host refuses to tell, and in windows that we wrote
 * to, because hosts are slow to notice what they are writing.
 */

#ifndef VMDKIT_NFC_BITMAP_H
#define VMDKIT_NFC_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "disk.h"

#define NFC_CHUNK_SIZE (64 * 1024)     /* the smallest that hosts take */
#define NFC_WINDOW_CHUNKS (512 * 1024) /* the most for one question */
#define NFC_WINDOW_BYTES ((uint64_t) NFC_CHUNK_SIZE * NFC_WINDOW_CHUNKS)

struct nfc_bitmap;

struct nfc_bitmap_source {
  /* Fill in BITS for NR_CHUNKS from OFFSET: lowest bit first, whole 32-bit
   * words.  1: the host does not tell.
   */
  int (*ask) (void *opaque, uint64_t offset, uint64_t nr_chunks, uint8_t *bits,
              size_t size, struct vmdk_error *err);
  void *opaque;
};

extern struct nfc_bitmap *nfc_bitmap_new (uint64_t disk_size,
                                          struct nfc_bitmap_source source,
                                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (3)));

/* NULL is allowed. */
extern void nfc_bitmap_free (struct nfc_bitmap *bitmap);

/* As disk_map. */
extern int
nfc_bitmap_map (struct nfc_bitmap *bitmap, uint64_t offset, uint64_t count,
                bool (*emit) (void *opaque, const struct disk_piece *piece),
                void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4, 6)));

/* The range is about to be written. */
extern void nfc_bitmap_written (struct nfc_bitmap *bitmap, uint64_t offset,
                                uint64_t count) __attribute__ ((nonnull (1)));

#endif /* VMDKIT_NFC_BITMAP_H */
