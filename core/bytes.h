/* SPDX-License-Identifier: BSD-3-Clause */

/* Little-endian loads and stores, and a cursor that cannot run off the end.
 *
 * No struct is ever laid over bytes that we did not write.  A header decodes
 * as one list of takes in disk order; the first take past the end makes the
 * cursor fail, later takes return 0, and one test at the end is enough.
 */

#ifndef VMDKIT_BYTES_H
#define VMDKIT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t
le16_load (const uint8_t *p)
{
  return (uint16_t) (p[0] | p[1] << 8);
}

static inline uint32_t
le32_load (const uint8_t *p)
{
  return p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16
         | (uint32_t) p[3] << 24;
}

static inline uint64_t
le64_load (const uint8_t *p)
{
  return le32_load (p) | (uint64_t) le32_load (p + 4) << 32;
}

static inline void
le16_store (uint8_t *p, uint16_t v)
{
  p[0] = (uint8_t) v;
  p[1] = (uint8_t) (v >> 8);
}

static inline void
le32_store (uint8_t *p, uint32_t v)
{
  le16_store (p, (uint16_t) v);
  le16_store (p + 2, (uint16_t) (v >> 16));
}

static inline void
le64_store (uint8_t *p, uint64_t v)
{
  le32_store (p, (uint32_t) v);
  le32_store (p + 4, (uint32_t) (v >> 32));
}

/* Whether COUNT bytes are all zero; at memory speed. */
static inline bool
bytes_are_zero (const uint8_t *p, size_t count)
{
  /* Comparing with itself, one byte on, leaves the loop to libc. */
  return count == 0 || (p[0] == 0 && memcmp (p, p + 1, count - 1) == 0);
}

/* A reading or writing cursor. */
struct bytes {
  uint8_t *p;
  size_t left;
  bool failed; /* sticky */
};

static inline struct bytes
bytes_of (uint8_t *p, size_t len)
{
  return (struct bytes){ .p = p, .left = len };
}

/* Step over COUNT bytes and return where they start, or NULL. */
static inline uint8_t *
bytes_skip (struct bytes *b, size_t count)
{
  uint8_t *p = b->p;

  if (b->failed || count > b->left) {
    b->failed = true;
    return NULL;
  }
  b->p += count;
  b->left -= count;
  return p;
}

static inline uint8_t
bytes_take8 (struct bytes *b)
{
  const uint8_t *p = bytes_skip (b, 1);
  return p ? *p : 0;
}

static inline uint16_t
bytes_take16 (struct bytes *b)
{
  const uint8_t *p = bytes_skip (b, 2);
  return p ? le16_load (p) : 0;
}

static inline uint32_t
bytes_take32 (struct bytes *b)
{
  const uint8_t *p = bytes_skip (b, 4);
  return p ? le32_load (p) : 0;
}

static inline uint64_t
bytes_take64 (struct bytes *b)
{
  const uint8_t *p = bytes_skip (b, 8);
  return p ? le64_load (p) : 0;
}

static inline void
bytes_take (struct bytes *b, void *to, size_t count)
{
  const uint8_t *p = bytes_skip (b, count);

  if (p)
    memcpy (to, p, count);
  else
    memset (to, 0, count);
}

static inline void
bytes_put8 (struct bytes *b, uint8_t v)
{
  uint8_t *p = bytes_skip (b, 1);
  if (p)
    *p = v;
}

static inline void
bytes_put16 (struct bytes *b, uint16_t v)
{
  uint8_t *p = bytes_skip (b, 2);
  if (p)
    le16_store (p, v);
}

static inline void
bytes_put32 (struct bytes *b, uint32_t v)
{
  uint8_t *p = bytes_skip (b, 4);
  if (p)
    le32_store (p, v);
}

static inline void
bytes_put64 (struct bytes *b, uint64_t v)
{
  uint8_t *p = bytes_skip (b, 8);
  if (p)
    le64_store (p, v);
}

static inline void
bytes_put (struct bytes *b, const void *from, size_t count)
{
  uint8_t *p = bytes_skip (b, count);
  if (p)
    memcpy (p, from, count);
}

#endif /* VMDKIT_BYTES_H */
