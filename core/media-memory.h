/* SPDX-License-Identifier: BSD-3-Clause */

/* Bytes in memory that several media share, as the media of one file share
 * it.  For media-memory.c and store-memory.c only.
 */

#ifndef VMDKIT_MEDIA_MEMORY_H
#define VMDKIT_MEDIA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "cleanup.h"
#include "error.h"

struct media;
struct memory_bytes;

/* COUNT bytes, copied from BYTES. */
extern struct memory_bytes *memory_bytes_new (const void *bytes, size_t count,
                                              struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (3)));

/* One more use. */
extern struct memory_bytes *memory_bytes_use (struct memory_bytes *bytes)
  __attribute__ ((nonnull (1)));

/* Give back one use.  NULL is allowed. */
extern void memory_bytes_free (struct memory_bytes *bytes);
DEFINE_CLEANUP (memory_bytes, struct memory_bytes *, memory_bytes_free)
#define CLEANUP_MEMORY_BYTES CLEANUP (memory_bytes)

/* The medium has a use of BYTES of its own. */
extern struct media *memory_bytes_open (struct memory_bytes *bytes,
                                        const char *name, bool writable,
                                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

#endif /* VMDKIT_MEDIA_MEMORY_H */
