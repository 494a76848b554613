/* SPDX-License-Identifier: BSD-3-Clause */

/* Fragments: worked blocks of every kind, malformed ones, and that what was
 * packed unpacks to the same.
 */

#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "fastlz.h"
#include "nfc-helper.h"
#include "nfc-pack.h"
#include "skipz.h"

#define FF8 "ff ff ff ff ff ff ff ff "
#define FF32 FF8 FF8 FF8 FF8

static void
test_fastlz (void **state)
{
  static const struct {
    const char *in;
    size_t size;
    const char *start; /* "": only the digest */
    const char *sha256;
  } cases[] = {
    { "03 57 58 59 5a e0 03 03", 16, "WXYZWXYZWXYZWXYZ", NULL },
    { "23 57 58 59 5a e0 03 03", 16, "WXYZWXYZWXYZWXYZ", NULL },
    { "00 41 e0 ff 00", 265, "AAAA", NULL },
    { "20 41 e0 ff 0a 00", 275, "AAAA", NULL },
    { "21 42 41 e0 " FF32 "14 00 3f fe", 8194, "BAAA",
      "c157d82eac93c6fa2f909b2f9878afc974dd5471a0061c92894c52e91fbeefa6" },
    { "21 42 41 e0 " FF32 "16 00 3f ff 00 01", 8196, "BAAA",
      "8458deac64bd5ebf80e5ad97c75737875e4a12a5dc486d778c0ec7e5343e6e77" },
  };
  uint8_t in[64], out[8200];
  char text[65];

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const size_t n = hex_bytes (cases[i].in, in, sizeof in);

    assert_true (fastlz_unpack (out, cases[i].size, in, n));
    assert_memory_equal (out, cases[i].start, strlen (cases[i].start));
    if (cases[i].sha256)
      assert_string_equal (sha256_text (out, cases[i].size, text),
                           cases[i].sha256);
    /* no other size will do */
    assert_false (fastlz_unpack (out, cases[i].size - 1, in, n));
    assert_false (fastlz_unpack (out, cases[i].size + 1, in, n));
  }
  hex_bytes ("00 41 e0 ff 00", in, sizeof in);
  fastlz_unpack (out, 265, in, 5);
  for (size_t i = 0; i < 265; i++)
    assert_int_equal (out[i], 'A');
}

static void
test_fastlz_refused (void **state)
{
  static const struct {
    const char *in;
    size_t size;
  } cases[] = {
    { "", 16 },
    { "40 41", 1 },
    { "02 41 42", 3 },
    { "00 41 20 01", 4 },
    { "20 41 e0", 275 },
    { "20 41 e0 ff ff", 275 },
    { "20 41 3f ff 00", 4 },
    { "00 41 e0 ff 00", 264 },
    { "03 57 58 59 5a e0 03 03", 17 },
    { "00 41 e0", 16 },
  };
  uint8_t in[64], out[512];

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_false (fastlz_unpack (out, cases[i].size, in,
                                 hex_bytes (cases[i].in, in, sizeof in)));
}

static void
test_skipz (void **state)
{
  static const char runs[] =
    "00 10 00 00 00 00 00 00 89 00 00 00 04 00 00 00 4e 46 43 21 "
    "fe 0f 00 00 02 00 00 00 55 aa";
  static const char *const bad[] = {
    "00 10 00 00 00 00 00",
    "00 10 00 00 00 00 00 00 ff 0f 00 00 02 00 00 00 01 02",
    "00 10 00 00 00 00 00 00 00 00 00 00 04 00 00 00 01 02",
    "00 10 00 00 00 00 00 00 ff ff ff ff ff ff ff ff 01 02",
    "00 10 00 00 00 00 00 00 00 00 00",
    "01 10 00 00 00 00 00 00",
  };
  uint8_t in[4096], out[4096], packed[64];
  char text[65];
  size_t n = hex_bytes (runs, in, sizeof in);

  (void) state;
  assert_int_equal (n, 30);
  assert_true (skipz_unpack (out, sizeof out, in, n));
  assert_string_equal (
    sha256_text (out, sizeof out, text),
    "2ade1491aa167cedcb8f40206302dcfa7e31a7e3ec72712b74412535e310a1c2");
  assert_int_equal (skipz_pack (packed, sizeof packed, out, sizeof out), 30);
  assert_memory_equal (packed, in, 30);

  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    n = hex_bytes (bad[i], in, sizeof in);
    assert_false (skipz_unpack (out, sizeof out, in, n));
  }

  /* plain data under a false name */
  fill_pattern (in, sizeof in);
  assert_true (skipz_unpack (out, sizeof out, in, sizeof in));
  assert_memory_equal (in, out, sizeof in);

  memset (in, 0, sizeof in);
  assert_int_equal (skipz_pack (packed, sizeof packed, in, sizeof in), 8);
  skipz_pack_zeros (out, sizeof in);
  assert_memory_equal (packed, out, 8);
}

static void
test_zlib (void **state)
{
  uint8_t in[64], out[4096];
  size_t n = hex_bytes (
    "78 01 ed d0 01 0d 00 00 00 c2 a0 f7 4f 6d 0f 07 11 28 0c 18 30 60 c0 80 "
    "01 03 06 0c 18 30 60 c0 80 81 f7 81 01 10 00 00 01",
    in, sizeof in);
  struct vmdk_error err;

  (void) state;
  assert_int_equal (n, 41);
  memset (out, 1, sizeof out);
  assert_int_equal (nfc_unpack (NFC_ZLIB, out, 4096, in, n, &err), 0);
  for (size_t i = 0; i < sizeof out; i++)
    assert_int_equal (out[i], 0);
  assert_int_equal (nfc_unpack (NFC_ZLIB, out, 4095, in, n, &err), -1);
  assert_string_equal (
    err.text, "the host sent 41 bytes (zlib) that do not unpack to 4095");
  assert_int_equal (nfc_unpack (NFC_ZLIB, out, 4096, in, n - 1, &err), -1);
  in[n] = 0;
  assert_int_equal (nfc_unpack (NFC_ZLIB, out, 4096, in, n + 1, &err), -1);
  assert_int_equal (nfc_unpack (4, out, 4096, in, n, &err), -1);
  assert_string_equal (
    err.text,
    "the host packed a fragment in a way (4) that is not known here");
}

/* --------------------------------------------------------------------- */

enum contents { ZEROS, PATTERN, TEXT, NOISE, SPARSE, LONG_RUNS, NR_CONTENTS };

static uint32_t
next_random (uint32_t *seed)
{
  *seed = *seed * UINT32_C (1664525) + UINT32_C (1013904223);
  return *seed >> 8;
}

static void
fill (uint8_t *out, size_t count, enum contents contents, uint32_t seed)
{
  static const char words[] =
    "grain table directory extent link chain marker ";

  memset (out, 0, count);
  for (size_t i = 0; i < count; i++)
    switch (contents) {
    case PATTERN:
      out[i] = (uint8_t) (i * 7 ^ i >> 8);
      break;
    case TEXT:
      out[i] = (uint8_t) words[(i + i / 601) % (sizeof words - 1)];
      break;
    case NOISE:
      out[i] = (uint8_t) next_random (&seed);
      break;
    case SPARSE:
      out[i] = next_random (&seed) % 11 == 0 ? (uint8_t) i : 0;
      break;
    case LONG_RUNS:
      out[i] = (uint8_t) (i / 9000 % 3 ? 'x' : i / 3);
      break;
    case ZEROS:
    case NR_CONTENTS:
      break;
    }
}

static void
test_round_trips (void **state)
{
  static const size_t sizes[] = { 512,   4096,  65024,     65536,
                                  66048, 73728, 128 << 10, 1 << 20 };
  uint8_t *in = malloc (1 << 20), *packed = malloc (1 << 20),
          *out = malloc (1 << 20);
  struct vmdk_error err;

  (void) state;
  assert_true (in && packed && out);
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
    for (int contents = 0; contents < NR_CONTENTS; contents++)
      for (int kind = NFC_PLAIN; kind <= NFC_SKIPZ; kind++) {
        enum nfc_compression compression = (enum nfc_compression) kind;
        size_t n;

        fill (in, sizes[s], (enum contents) contents, 5);
        n = nfc_pack (&compression, packed, in, sizes[s]);
        assert_true (n <= sizes[s]);
        assert_true ((compression == NFC_PLAIN) == (n == sizes[s]));
        if (contents == ZEROS && kind != NFC_PLAIN)
          assert_true (n < sizes[s] / 4);
        if (contents == TEXT && kind == NFC_FASTLZ)
          assert_true (n < sizes[s]);
        if (contents == NOISE && kind != NFC_FASTLZ)
          assert_int_equal (compression, NFC_PLAIN);
        memset (out, 0xa5, sizes[s]);
        assert_int_equal (
          nfc_unpack (compression, out, sizes[s], packed, n, &err), 0);
        assert_memory_equal (in, out, sizes[s]);
        /* a byte less is never the same */
        assert_int_equal (
          nfc_unpack (compression, out, sizes[s], packed, n - 1, &err), -1);
      }
  free (in);
  free (packed);
  free (out);
}

static void
test_words (void **state)
{
  enum nfc_compression compression;

  (void) state;
  assert_int_equal (nfc_compression_parse (&compression, "fastlz"), 0);
  assert_int_equal (compression, NFC_FASTLZ);
  assert_int_equal (nfc_compression_parse (&compression, "lzma"), -1);
  assert_string_equal (nfc_compression_name (NFC_SKIPZ), "skipz");
  assert_string_equal (nfc_compression_name (9), "?");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_fastlz), cmocka_unit_test (test_fastlz_refused),
    cmocka_unit_test (test_skipz),  cmocka_unit_test (test_zlib),
    cmocka_unit_test (test_words),  cmocka_unit_test (test_round_trips),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
