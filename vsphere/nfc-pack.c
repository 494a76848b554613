/* SPDX-License-Identifier: BSD-3-Clause */

/* Packing and unpacking fragments.  See nfc-pack.h. */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include <zlib.h>

#include "fastlz.h"
#include "nfc-pack.h"
#include "skipz.h"

static const char *const names[] = {
  [NFC_PLAIN] = "none",
  [NFC_ZLIB] = "zlib",
  [NFC_FASTLZ] = "fastlz",
  [NFC_SKIPZ] = "skipz",
};

#define NR_NAMES (sizeof names / sizeof names[0])

const char *
nfc_compression_name (uint32_t compression)
{
  return compression < NR_NAMES ? names[compression] : "?";
}

int
nfc_compression_parse (enum nfc_compression *compression, const char *word)
{
  for (size_t i = 0; i < NR_NAMES; i++)
    if (strcmp (word, names[i]) == 0) {
      *compression = (enum nfc_compression) i;
      return 0;
    }
  return -1;
}

/* --------------------------------------------------------------------- */

static bool
inflate_whole (uint8_t *out, size_t out_size, const uint8_t *in,
               size_t in_size)
{
  z_stream stream = {
    .next_in = (uint8_t *) in,
    .avail_in = (uInt) in_size,
    .next_out = out,
    .avail_out = (uInt) out_size,
  };
  bool good;

  if (inflateInit (&stream) != Z_OK)
    return false;
  good = inflate (&stream, Z_FINISH) == Z_STREAM_END && stream.avail_in == 0
         && stream.avail_out == 0;
  inflateEnd (&stream);
  return good;
}

int
nfc_unpack (uint32_t compression, uint8_t *out, size_t out_size,
            const uint8_t *in, size_t in_size, struct vmdk_error *err)
{
  bool good = false;

  switch (compression) {
  case NFC_PLAIN:
    good = in_size == out_size;
    if (good)
      memcpy (out, in, out_size);
    break;
  case NFC_ZLIB:
    good = inflate_whole (out, out_size, in, in_size);
    break;
  case NFC_FASTLZ:
    good = fastlz_unpack (out, out_size, in, in_size);
    break;
  case NFC_SKIPZ:
    good = skipz_unpack (out, out_size, in, in_size);
    break;
  default:
    return fail (err, ERR_SYSTEM,
                 "the host packed a fragment in a way (%" PRIu32
                 ") that is not known here",
                 compression);
  }
  if (!good)
    return fail (err, ERR_SYSTEM,
                 "the host sent %zu bytes (%s) that do not unpack to %zu",
                 in_size, nfc_compression_name (compression), out_size);
  return 0;
}

/* --------------------------------------------------------------------- */

static size_t
deflate_whole (uint8_t *out, size_t out_size, const uint8_t *in,
               size_t in_size)
{
  uLongf len = out_size;

  return compress2 (out, &len, in, in_size, Z_BEST_SPEED) == Z_OK ? len : 0;
}

size_t
nfc_pack (enum nfc_compression *compression, uint8_t *out, const uint8_t *in,
          size_t size)
{
  size_t packed = 0;

  switch (*compression) {
  case NFC_PLAIN:
    break;
  case NFC_ZLIB:
    packed = deflate_whole (out, size - 1, in, size);
    break;
  case NFC_FASTLZ:
    packed = fastlz_pack (out, size - 1, in, size);
    break;
  case NFC_SKIPZ:
    packed = skipz_pack (out, size - 1, in, size);
    break;
  }
  if (packed > 0)
    return packed;
  *compression = NFC_PLAIN;
  memcpy (out, in, size);
  return size;
}
