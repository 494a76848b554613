/* SPDX-License-Identifier: BSD-3-Clause */

/* skipz.  See skipz.h. */

#include <config.h>

#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "skipz.h"

bool
skipz_unpack (uint8_t *out, size_t out_size, const uint8_t *in, size_t in_size)
{
  size_t used = SKIPZ_HEADER_SIZE;

  if (in_size < SKIPZ_HEADER_SIZE)
    return false;
  if (le32_load (in) != out_size) {
    if (in_size != out_size)
      return false;
    memcpy (out, in, out_size);
    return true;
  }
  memset (out, 0, out_size);
  while (used < in_size) {
    uint32_t offset, length;

    if (in_size - used < 8)
      return false;
    offset = le32_load (in + used);
    length = le32_load (in + used + 4);
    used += 8;
    if (!range_inside (offset, length, out_size) || length > in_size - used)
      return false;
    memcpy (out + offset, in + used, length);
    used += length;
  }
  return true;
}

/* --------------------------------------------------------------------- */

/* Eight at a time where they are whole words: most of a disk's zeros come in
 * sectors.
 */
static size_t
skip_zeros (const uint8_t *in, size_t i, size_t size)
{
  while (size - i >= 8) {
    uint64_t word;

    memcpy (&word, in + i, 8);
    if (word != 0)
      break;
    i += 8;
  }
  while (i < size && in[i] == 0)
    i++;
  return i;
}

/* The end of the run that begins at I: fewer than 8 zeros do not end it, for
 * the header of another run costs as much.
 */
static size_t
run_end (const uint8_t *in, size_t i, size_t size)
{
  size_t end = i;

  while (i < size) {
    const uint8_t *zero = memchr (in + i, 0, size - i);

    if (!zero)
      return size;
    end = (size_t) (zero - in);
    i = skip_zeros (in, end, size);
    if (i - end >= 8 || i == size)
      return end;
  }
  return size;
}

void
skipz_pack_zeros (uint8_t out[SKIPZ_HEADER_SIZE], uint32_t size)
{
  le32_store (out, size);
  le32_store (out + 4, 0);
}

size_t
skipz_pack (uint8_t *out, size_t out_size, const uint8_t *in, size_t in_size)
{
  size_t used = SKIPZ_HEADER_SIZE;

  if (out_size < SKIPZ_HEADER_SIZE || in_size > UINT32_MAX)
    return 0;
  skipz_pack_zeros (out, (uint32_t) in_size);
  for (size_t i = skip_zeros (in, 0, in_size); i < in_size;) {
    const size_t end = run_end (in, i, in_size);

    if (out_size - used < 8 || end - i > out_size - used - 8)
      return 0;
    le32_store (out + used, (uint32_t) i);
    le32_store (out + used + 4, (uint32_t) (end - i));
    memcpy (out + used + 8, in + i, end - i);
    used += 8 + end - i;
    i = skip_zeros (in, end, in_size);
  }
  return used;
}
