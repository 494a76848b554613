/* SPDX-License-Identifier: BSD-3-Clause */

/* What bytes can be copied to: media, pipes.  See copy.h. */

#include <config.h>

#include "bytes.h"
#include "checked.h"
#include "copy.h"

size_t
copy_find_zeros (struct copy_piece *piece, size_t unit)
{
  const size_t nr = div_round_up (piece->count, unit);
  size_t nr_data = 0;

  for (size_t i = 0; i < nr; i++) {
    const bool zero = bytes_are_zero (piece->bytes + i * unit, unit);

    piece->lengths[i] = zero ? 0 : unit;
    nr_data += !zero;
  }
  return nr_data;
}

/* [from, to) of a piece: zeros, or not. */
static int
put_range (const struct copy_to_media *to, const struct copy_piece *piece,
           size_t from, size_t end, bool zero, struct vmdk_error *err)
{
  const uint64_t at = to->start + piece->offset + from;

  if (!zero)
    return media_pwrite (to->media, piece->bytes + from, end - from, at, err);
  return to->fresh ? 0 : media_punch (to->media, at, end - from, err);
}

static int
put_bytes (const struct copy_to_media *to, struct copy_piece *piece,
           struct vmdk_error *err)
{
  const size_t unit = to->zero_unit;
  size_t from = 0;

  if (unit == 0)
    return put_range (to, piece, 0, piece->count, false, err);
  copy_find_zeros (piece, unit);
  while (from < piece->count) {
    const bool zero = piece->lengths[from / unit] == 0;
    size_t end = from + unit;

    while (end < piece->count && (piece->lengths[end / unit] == 0) == zero)
      end += unit;
    end = min_u64 (end, piece->count);
    if (put_range (to, piece, from, end, zero, err) == -1)
      return -1;
    from = end;
  }
  return 0;
}

static int
put_piece (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  const struct copy_to_media *to = opaque;

  if (put_bytes (to, piece, err) == -1)
    return -1;
  media_write_back (to->media, to->start + piece->offset, piece->count);
  return 0;
}

static int
put_zeros (void *opaque, uint64_t offset, uint64_t count,
           struct vmdk_error *err)
{
  const struct copy_to_media *to = opaque;

  return media_punch (to->media, to->start + offset, count, err);
}

#define DEFAULT_UNIT 65536

struct copy_target
copy_target_of_media (struct copy_to_media *to)
{
  return (struct copy_target){
    .opaque = to,
    .unit = to->zero_unit ? to->zero_unit : DEFAULT_UNIT,
    .fill = put_piece,
    .zero = to->fresh ? NULL : put_zeros,
  };
}

static int
do_nothing (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  (void) opaque;
  (void) piece;
  (void) err;
  return 0;
}

static int
append_piece (void *opaque, struct copy_piece *piece, struct vmdk_error *err)
{
  return media_pwrite (opaque, piece->bytes, piece->count, piece->offset, err);
}

struct copy_target
copy_target_of_pipe (struct media *pipe)
{
  return (struct copy_target){
    .opaque = pipe,
    .unit = DEFAULT_UNIT,
    .takes_zeros = true,
    .fill = do_nothing,
    .place = append_piece,
  };
}
