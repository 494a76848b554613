/* SPDX-License-Identifier: BSD-3-Clause */

/* The blocks a streamOptimized extent is made of.
 *
 * Each starts on a sector.  A grain is 12 bytes of header and its compressed
 * bytes; a marker is one sector and says what follows it.  The two are told
 * apart by the size, which is 0 in a marker; where a marker has its type, a
 * grain already has compressed data.
 *
 *   offset  grain            marker
 *   0       lba, 8 bytes     sectors of metadata that follow, 8 bytes
 *   8       size, 4 bytes    0
 *   12      compressed data  type, 4 bytes
 */

#ifndef VMDKIT_STREAM_MARKER_H
#define VMDKIT_STREAM_MARKER_H

#include <stdint.h>

#include "bytes.h"

#define STREAM_GRAIN_HEADER_SIZE 12
#define STREAM_MARKER_SIZE 16 /* of which we know the meaning */

enum stream_marker_type {
  MARKER_EOS = 0,
  MARKER_GRAIN_TABLE = 1,
  MARKER_GRAIN_DIRECTORY = 2,
  MARKER_FOOTER = 3,
  MARKER_PROGRESS = 4, /* seen in exports of vSphere; nothing follows it */
};

struct stream_marker {
  uint64_t value; /* lba or number of sectors */
  uint32_t size;  /* 0: not a grain */
  uint32_t type;  /* only if size is 0 */
};

/* Decode STREAM_MARKER_SIZE bytes. */
static inline struct stream_marker
stream_marker_decode (const uint8_t *p)
{
  return (struct stream_marker){
    .value = le64_load (p),
    .size = le32_load (p + 8),
    .type = le32_load (p + 12),
  };
}

#endif /* VMDKIT_STREAM_MARKER_H */
