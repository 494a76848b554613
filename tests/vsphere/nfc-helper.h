/* SPDX-License-Identifier: BSD-3-Clause */

/* What the tests of NFC share: bytes written as text, digests, and the
 * pattern that the worked messages carry.
 */

#ifndef VMDKIT_TESTS_NFC_HELPER_H
#define VMDKIT_TESTS_NFC_HELPER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

/* "0a 0b ..." to bytes; returns how many. */
static inline size_t __attribute__ ((unused))
hex_bytes (const char *hex, uint8_t *out, size_t size)
{
  size_t n = 0;
  int used = 0;
  unsigned byte;

  while (sscanf (hex, " %2x%n", &byte, &used) == 1) {
    if (n == size)
      abort ();
    out[n++] = (uint8_t) byte;
    hex += used;
  }
  return n;
}

static inline const char *__attribute__ ((unused))
sha256_text (const void *bytes, size_t count, char text[65])
{
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned len = 0;

  EVP_Digest (bytes, count, digest, &len, EVP_sha256 (), NULL);
  for (unsigned i = 0; i < len; i++)
    snprintf (text + 2 * i, 3, "%02x", digest[i]);
  return text;
}

static inline void __attribute__ ((unused))
fill_pattern (uint8_t *out, size_t count)
{
  for (size_t i = 0; i < count; i++)
    out[i] = (uint8_t) (i * 7 ^ i >> 8);
}

#endif /* VMDKIT_TESTS_NFC_HELPER_H */
