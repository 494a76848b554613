/* SPDX-License-Identifier: BSD-3-Clause */

/* FastLZ.  See fastlz.h.
 *
 * An instruction is a byte: three bits T and five bits LO.
 *
 *   T = 0      LO + 1 literal bytes follow
 *   T = 1..6   a match of T + 2 bytes
 *   T = 7      a longer match: 9 and what the following byte says; in level 2
 *              the bytes up to and with the first that is not 255
 *   then       a byte R: the match begins LO * 256 + R + 1 bytes back; in
 *              level 2, where that is 8192, two more bytes (the high one
 *              first) are added
 *
 * The first instruction is literals; its T is the level, less 1.
 */

#include <config.h>

#include <string.h>

#include "fastlz.h"

#define NEAR 8191 /* level 2: this distance, less 1, means a far one */
#define MAX_LITERALS 32
#define MAX_DISTANCE_1 8192
#define MAX_DISTANCE_2 (NEAR + 65535 + 1)

struct input {
  const uint8_t *p, *end;
};

static bool
take (struct input *in, uint8_t *byte)
{
  if (in->p == in->end)
    return false;
  *byte = *in->p++;
  return true;
}

/* ROOM bounds *length, so that no chain of 255s overflows it. */
static bool
take_length (struct input *in, bool level_2, uint8_t t, size_t room,
             size_t *length)
{
  uint8_t more;

  *length = t + (size_t) 2;
  if (t < 7)
    return *length <= room;
  do {
    if (!take (in, &more))
      return false;
    *length += more;
    if (*length > room)
      return false;
  } while (level_2 && more == 255);
  return true;
}

static bool
take_distance (struct input *in, bool level_2, uint8_t lo, size_t *distance)
{
  uint8_t r, high, low;

  if (!take (in, &r))
    return false;
  *distance = (size_t) lo * 256 + r;
  if (level_2 && *distance == NEAR) {
    if (!take (in, &high) || !take (in, &low))
      return false;
    *distance += (size_t) high * 256 + low;
  }
  ++*distance;
  return true;
}

/* Both may overlap: a distance of 1 repeats a byte. */
static void
copy_match (uint8_t *to, size_t distance, size_t length)
{
  const uint8_t *from = to - distance;

  if (distance >= length)
    memcpy (to, from, length);
  else if (distance == 1)
    memset (to, *from, length);
  else
    while (length-- > 0)
      *to++ = *from++;
}

bool
fastlz_unpack (uint8_t *out, size_t out_size, const uint8_t *in_bytes,
               size_t in_size)
{
  struct input in = { .p = in_bytes, .end = in_bytes + in_size };
  size_t done = 0, length, distance;
  bool level_2, first = true;

  if (in_size == 0 || in_bytes[0] >> 5 > 1)
    return false;
  level_2 = in_bytes[0] >> 5 == 1;

  while (in.p < in.end) {
    const uint8_t byte = *in.p++;
    const uint8_t t = first ? 0 : byte >> 5, lo = byte & 31;

    first = false;
    if (t == 0) {
      length = lo + (size_t) 1;
      if (length > (size_t) (in.end - in.p) || length > out_size - done)
        return false;
      memcpy (out + done, in.p, length);
      in.p += length;
    }
    else {
      if (!take_length (&in, level_2, t, out_size - done, &length)
          || !take_distance (&in, level_2, lo, &distance) || distance > done)
        return false;
      copy_match (out + done, distance, length);
    }
    done += length;
  }
  return done == out_size;
}

/* --------------------------------------------------------------------- */
/* Packing: greedy, with one place remembered for each hash of three bytes. */

#define HASH_BITS 13
#define MIN_INPUT 16
#define TAIL 12 /* the last bytes are literals: some readers insist */

struct output {
  uint8_t *p, *end;
  bool full;
};

static void
put (struct output *out, size_t byte)
{
  if (out->p < out->end)
    *out->p++ = (uint8_t) byte;
  else
    out->full = true;
}

static void
put_literals (struct output *out, const uint8_t *p, size_t count)
{
  while (count > 0 && !out->full) {
    const size_t n = count < MAX_LITERALS ? count : MAX_LITERALS;

    put (out, n - 1);
    if (n > (size_t) (out->end - out->p)) {
      out->full = true;
      return;
    }
    memcpy (out->p, p, n);
    out->p += n;
    p += n;
    count -= n;
  }
}

/* LENGTH is at least 3. */
static void
put_match (struct output *out, bool level_2, size_t distance, size_t length)
{
  const size_t r = distance - 1;
  const bool far_match = level_2 && r >= NEAR;
  const size_t lo = far_match ? NEAR >> 8 : r >> 8;

  if (length < 9)
    put (out, (length - 2) << 5 | lo);
  else {
    size_t more = length - 9;

    put (out, 7 << 5 | lo);
    while (level_2 && more >= 255) {
      put (out, 255);
      more -= 255;
    }
    put (out, more);
  }
  if (far_match) {
    put (out, NEAR & 255);
    put (out, (r - NEAR) >> 8);
    put (out, (r - NEAR) & 255);
  }
  else
    put (out, r & 255);
}

static uint32_t
hash_of (const uint8_t *p)
{
  const uint32_t v = p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16;

  return (v * UINT32_C (2654435769)) >> (32 - HASH_BITS);
}

static size_t
match_length (const uint8_t *a, const uint8_t *b, size_t limit)
{
  size_t n = 0;

  while (n < limit && a[n] == b[n])
    n++;
  return n;
}

size_t
fastlz_pack (uint8_t *out_bytes, size_t out_size, const uint8_t *in,
             size_t in_size)
{
  uint32_t places[1 << HASH_BITS] = { 0 }; /* 1 more than the place */
  const bool level_2 = in_size >= 65536;
  const size_t reach = level_2 ? MAX_DISTANCE_2 : MAX_DISTANCE_1;
  struct output out = { .p = out_bytes, .end = out_bytes + out_size };
  size_t literals = 0, i = 0;

  if (in_size < MIN_INPUT || in_size > UINT32_MAX - 1 || out_size == 0)
    return 0;
  while (i < in_size - TAIL && !out.full) {
    uint32_t *place = &places[hash_of (in + i)];
    const size_t distance = *place ? i - (*place - 1) : 0;
    size_t limit = in_size - TAIL - i, length = 0;

    *place = (uint32_t) i + 1;
    if (!level_2 && limit > 264)
      limit = 264;
    if (i >= 2 && distance > 0 && distance <= reach)
      length = match_length (in + i - distance, in + i, limit);
    if (length < (distance > NEAR ? 5 : 3)) {
      i++;
      continue;
    }
    put_literals (&out, in + literals, i - literals);
    put_match (&out, level_2, distance, length);
    i += length;
    literals = i;
  }
  put_literals (&out, in + literals, in_size - literals);
  if (out.full)
    return 0;
  out_bytes[0] |= level_2 ? 1 << 5 : 0;
  return (size_t) (out.p - out_bytes);
}
