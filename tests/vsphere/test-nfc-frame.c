/* SPDX-License-Identifier: BSD-3-Clause */

/* Every message, byte by byte: what we send, what we make of answers, and
 * which answers are refused.
 */

#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "bytes.h"
#include "nfc-frame.h"
#include "nfc-helper.h"

#define HANDLE UINT64_C (0x00001234DEADBEEF)

static void
assert_message (const uint8_t *bytes, size_t count, size_t want,
                const char *sha256)
{
  char text[65];

  assert_int_equal (count, want);
  assert_string_equal (sha256_text (bytes, count, text), sha256);
}

static void
test_classic (void **state)
{
  uint8_t m[NFC_NAMES_SIZE];

  (void) state;
  nfc_classic_encode_tag (m, "q7Zk+0aB/3xYwLm9");
  assert_message (
    m, 264, 264,
    "d6a81aad58f030e49a41ff8e2e5bf2d034b2673f98a1cf25e4cfb07eb416b201");
  nfc_classic_encode (m, NFC_CLASSIC_PARAMETERS, 0, 0);
  assert_message (
    m, 264, 264,
    "497f1ce605d531e500fde1886da4ea4cfe0499235d9199304012612d60d76781");
  nfc_classic_encode (m, NFC_CLASSIC_VERSION, 11, 0);
  assert_message (
    m, 264, 264,
    "227553ae958ce53fcb404a841cdf08b238463ec93c231d5a0a728e7fcd550565");
  nfc_classic_encode (m, NFC_CLASSIC_VERSION, 12, 1);
  assert_message (
    m, 264, 264,
    "df35a17b9cdae074bffaabf6e904ffeff2b0290fc4187c65e99a8dd068b3f20a");
  assert_message (
    m, nfc_classic_encode_names (m, "vmdkit", "nbdmode"), 277,
    "e3665978d8d5443ee1598bbb22c2b4206cda9e3e3024630df13f8001b6d492a6");
  nfc_classic_encode (m, NFC_CLASSIC_FEATURES, 3, 0);
  assert_message (
    m, 264, 264,
    "11779d0c81fb6ecb10f9b2c1a523b8fc826ba0d4dafc6baccfb160165305af82");
  nfc_classic_encode (m, NFC_CLASSIC_FRAMES, 0, 0);
  assert_message (
    m, 264, 264,
    "af06dcfc1cd55a5dc8b2dfd7ff4c7e686ace4eb19c7135b237764922acb74ae5");
  nfc_classic_encode (m, NFC_CLASSIC_COMPLETE, 0, 0);
  assert_message (
    m, 264, 264,
    "6fc6e31d1d33c2831bf1e9776d5902d330859c659f93cc0487621936ad4722f5");
}

static void
test_classic_answers (void **state)
{
  uint8_t m[NFC_CLASSIC_SIZE] = { 0 };
  struct nfc_classic message;

  (void) state;
  hex_bytes ("24 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01", m,
             sizeof m);
  nfc_classic_decode (&message, m);
  assert_int_equal (message.type, NFC_CLASSIC_STATUS);
  assert_int_equal (message.words[3], 1);

  hex_bytes ("14 00 00 00 01 00 00 00 05 00 00 00 14 00 00 00 00", m,
             sizeof m);
  nfc_classic_decode (&message, m);
  assert_int_equal (message.type, NFC_CLASSIC_ERROR);
  assert_int_equal (message.words[0], 1);
  assert_int_equal (message.words[1], 5);
  assert_int_equal (message.words[2], 20);
}

static void
test_requests (void **state)
{
  const struct nfc_io read = { .handle = HANDLE,
                               .read = true,
                               .offset = 1 << 20,
                               .total = 66048,
                               .length = 66048,
                               .extra = 66048 };
  const struct nfc_io packed = { .handle = HANDLE,
                                 .read = true,
                                 .compression = NFC_SKIPZ,
                                 .total = 4096,
                                 .length = 4096,
                                 .extra = 4096 };
  uint8_t m[NFC_REQUEST_SIZE + NFC_MAX_PATH];

  (void) state;
  assert_message (
    m, nfc_encode_open_session (m, 0, 65536, 4), 32,
    "16e5f0931486df92fff75da7919d3cc98ac5acc7a8e4311c9a9e71ea6c422910");
  assert_message (
    m, nfc_encode_open_session (m, 0, 0, 0), 32,
    "e8bc5b4cc3e71a692ce3cff274a1c0bb82c7b2c6e66ca2f007df5eb8b1c453a8");
  assert_message (
    m, nfc_encode_socket_options (m, 1), 28,
    "91b682c40ad5b9007929a95cbe047a2377409b6f39a1efa8bdd6cf348280cde3");
  assert_message (
    m, nfc_encode_resource_pool (m, 2), 20,
    "26119104edde72a72f1440ddad86f2000bfcf89d935edcf3e503567ec63fc83b");
  assert_message (
    m, nfc_encode_open_file (m, 3, "[ds1] web/web.vmdk", false), 94,
    "56882e1c94285d8838acf2e7fd1c2be445f9e81db00b8ac5d2befe7557872ba7");
  assert_message (
    m, nfc_encode_open_file (m, 3, "[ds1] web/web.vmdk", true), 94,
    "3eb92a2ee1c7a778435ac45cfc603e4763df24664f4a65107d9d405f3682ec76");
  assert_message (
    m, nfc_encode_ddb_get (m, 4, HANDLE, "adapterType"), 43,
    "050e1b0addf3ffbe23a671ef5e02c40af95946e6647033fae56c328c02ca07cc");
  assert_message (
    m, nfc_encode_ddb_get (m, 5, HANDLE, "isDigest"), 40,
    "81110adbc4e7f272372d003100026cefb5eae596032143ec46209cb6c54a3a5f");
  assert_message (
    m, nfc_encode_io (m, 6, &read), 60,
    "f4f6472d160725dbea58eeebfdd497384fc5f607c94eb24fb1a2099f249dd33c");
  assert_message (
    m, nfc_encode_io (m, 8, &packed), 60,
    "ac5993527fff66a0f83852543e5d2cf0f519dff8c75c6a651023fd91980fd874");
  assert_message (
    m, nfc_encode_allocated (m, 13, HANDLE, 1 << 20, 65536, 16), 64,
    "d1ae757545f72aa91deea3fa6232f4b3d495d5cf808c483f065e0e058462b102");
  assert_message (
    m, nfc_encode_close_file (m, 14, HANDLE), 24,
    "c22f514ae06fec0e09fa870441e4b2918aa5bb41469e4f3a6fd56ff05d5b8ade");
  assert_message (
    m, nfc_encode_close_session (m, 15), 20,
    "89f7a4c322ca8181dafb00e48097cefccf7f5073470abd4ddc9d47c4a853635b");
}

/* Writes carry data after the frame. */
static void
test_writes (void **state)
{
  static uint8_t m[2 * NFC_IO_SIZE + 66048], pattern[66048];
  struct nfc_io io = { .handle = HANDLE,
                       .offset = 1 << 20,
                       .total = 512,
                       .length = 512,
                       .extra = 512 };

  (void) state;
  assert_int_equal (nfc_encode_io (m, 10, &io), NFC_IO_SIZE);
  for (size_t i = 0; i < 512; i++)
    m[NFC_IO_SIZE + i] = (uint8_t) i;
  assert_message (
    m, NFC_IO_SIZE + 512, 572,
    "c74b997c3d41674dc9e085cbca68f0119c3ad0be9cd9d6a7e4b3291030775233");

  fill_pattern (pattern, sizeof pattern);
  io.total = 66048;
  io.length = io.extra = 65536;
  nfc_encode_io (m, 11, &io);
  assert_message (
    m, NFC_IO_SIZE, 60,
    "d693866f5b33cf38b195d845afc09d1d286c0707cb118a46d2f867ff8eb7f62d");
  memcpy (m + NFC_IO_SIZE, pattern, 65536);
  io.start = 65536;
  io.length = io.extra = 512;
  nfc_encode_io (m + NFC_IO_SIZE + 65536, 11, &io);
  assert_message (
    m + NFC_IO_SIZE + 65536, NFC_IO_SIZE, 60,
    "4e02a687c835817fdf1683531d7140849b849d6c6aad82cf02da088cf23a4497");
  memcpy (m + 2 * NFC_IO_SIZE + 65536, pattern + 65536, 512);
  assert_message (
    m, sizeof m, 66168,
    "7c2ac8133380cc9c09cc06a95bfa58f7e7a887dba8902ef5a7232f078ce35162");

  io = (struct nfc_io){ .handle = HANDLE,
                        .compression = NFC_SKIPZ,
                        .offset = 128 << 20,
                        .total = 65536,
                        .length = 65536,
                        .extra = 8 };
  nfc_encode_io (m, 12, &io);
  hex_bytes ("00 00 01 00 00 00 00 00", m + NFC_IO_SIZE, 8);
  assert_message (
    m, NFC_IO_SIZE + 8, 68,
    "c4efd888ff15106f67a3384f1893196e8a48941445e9a53728584fba42c338a7");
}

/* --------------------------------------------------------------------- */
/* Answers. */

static void
test_header (void **state)
{
  static const struct {
    const char *bytes, *text;
  } bad[] = {
    { "7b da 00 a1 02 00 00 00 10 00 00 00 00 00 00 00",
      "the host sent 0xa100da7b where a message begins" },
    { "7a da 00 a1 07 00 00 00 01 00 01 00 00 00 00 00",
      "the host announced a message of type 7 with 65537 bytes; the limit is "
      "65536" },
    { "7a da 00 a1 07 00 00 00 ff ff ff ff 00 00 00 00",
      "the host announced a message of type 7 with 4294967295 bytes; the "
      "limit is 65536" },
  };
  uint8_t bytes[NFC_HEADER_SIZE];
  struct nfc_header header;
  struct vmdk_error err;

  (void) state;
  hex_bytes ("7a da 00 a1 16 00 00 00 04 00 00 00 02 00 00 00", bytes, 16);
  assert_int_equal (nfc_header_decode (&header, bytes, &err), 0);
  assert_int_equal (header.type, NFC_RESOURCE_POOL);
  assert_int_equal (header.size, 4);
  assert_int_equal (header.id, 2);

  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    hex_bytes (bad[i].bytes, bytes, 16);
    assert_int_equal (nfc_header_decode (&header, bytes, &err), -1);
    assert_string_equal (err.text, bad[i].text);
  }
}

static void
test_opened (void **state)
{
  uint8_t in[60];
  struct nfc_opened opened;
  struct vmdk_error err;

  (void) state;
  assert_int_equal (
    hex_bytes ("00 00 00 00 00 00 00 00 ef be ad de 34 12 00 00 "
               "02 00 00 00 1e 00 00 00 00 00 00 00 00 00 00 00 "
               "04 00 00 00 00 02 00 00 28 08 00 00 ff 00 00 00 "
               "3f 00 00 00 00 00 00 00 00 00 00 00",
               in, sizeof in),
    60);
  assert_int_equal (nfc_decode_opened (&opened, in, 60, &err), 0);
  assert_true (opened.status == 0 && opened.handle == HANDLE);
  assert_int_equal (opened.file_type, 2);
  assert_int_equal (opened.flags, 0x1e);
  assert_true (opened.capacity == UINT64_C (0x400000000));
  assert_int_equal (opened.sector_size, 512);
  assert_int_equal (opened.cylinders, 2088);
  assert_int_equal (opened.heads, 255);
  assert_int_equal (opened.sectors, 63);

  assert_int_equal (nfc_decode_opened (&opened, in, 51, &err), -1);
  assert_string_equal (
    err.text, "the host answered (open file) with 51 bytes instead of 52");
}

static void
test_io_answer (void **state)
{
  uint8_t in[44];
  struct nfc_io io;
  struct vmdk_error err;

  (void) state;
  hex_bytes ("00 00 00 00 00 00 00 00 01 00 00 00 03 00 00 00 "
             "00 00 10 00 00 00 00 00 00 02 01 00 00 00 01 00 "
             "00 02 00 00 1e 00 00 00 00 00 00 00",
             in, sizeof in);
  assert_int_equal (nfc_decode_io (&io, in, 44, &err), 0);
  assert_true (io.handle == 0 && io.read);
  assert_int_equal (io.compression, NFC_SKIPZ);
  assert_true (io.offset == 1 << 20 && io.total == 66048);
  assert_int_equal (io.start, 65536);
  assert_int_equal (io.length, 512);
  assert_int_equal (io.extra, 30);
  assert_int_equal (nfc_decode_io (&io, in, 39, &err), -1);
}

/* How far to read until the next frame, for all kinds of answers. */
static void
test_extra (void **state)
{
  static const struct {
    uint32_t type;
    const char *payload;
    uint64_t extra;
  } cases[] = {
    { NFC_OPEN_SESSION, "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", 0 },
    { NFC_ERROR, "0b 00 00 00 00 00 00 00 00 00 00 00 17 00 00 00", 23 },
    { NFC_DDB_GET, "00 00 00 00 00 00 00 00 00 00 00 00 08 00 00 00", 8 },
    /* a read, one that failed, a write */
    { NFC_IO,
      "00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 10 00 00 00 00 "
      "00 "
      "00 02 01 00 00 00 00 00 00 00 01 00 00 00 01 00 00 00 00 00",
      65536 },
    { NFC_IO,
      "0d 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 10 00 00 00 00 "
      "00 "
      "00 02 01 00 00 00 00 00 00 00 01 00 00 00 01 00 00 00 00 00",
      0 },
    { NFC_IO,
      "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 10 00 00 00 00 "
      "00 "
      "00 02 01 00 00 00 00 00 00 02 01 00 00 02 01 00 00 00 00 00",
      0 },
    { NFC_ALLOCATED,
      "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
      "00 "
      "00 00 00 00 00 00 00 00 10 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
      "00",
      4 },
    { NFC_ALLOCATED,
      "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
      "00 "
      "00 00 00 00 00 00 00 00 ff ff ff ff ff ff ff ff 00 00 00 00 00 00 00 "
      "00",
      UINT64_C (0x2000000000000000) },
    { 77, "01 02 03", 0 },
  };
  struct vmdk_error err;
  uint8_t in[64];
  uint64_t extra;

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const size_t size = hex_bytes (cases[i].payload, in, sizeof in);

    assert_int_equal (nfc_decode_extra (&extra, cases[i].type, in, size, &err),
                      0);
    assert_true (extra == cases[i].extra);
    if (extra > 0)
      assert_int_equal (nfc_decode_extra (&extra, cases[i].type, in, 12, &err),
                        -1);
  }
}

static void
test_allocated (void **state)
{
  uint8_t in[48] = { [32] = 16 };
  uint64_t status, nr_chunks;
  struct vmdk_error err;

  (void) state;
  assert_int_equal (nfc_decode_allocated (&status, &nr_chunks, in, 48, &err),
                    0);
  assert_true (status == 0 && nr_chunks == 16);
  assert_true (nfc_allocated_bytes (0) == 0 && nfc_allocated_bytes (1) == 4);
  assert_true (nfc_allocated_bytes (32) == 4 && nfc_allocated_bytes (33) == 8);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_classic),   cmocka_unit_test (test_classic_answers),
    cmocka_unit_test (test_requests),  cmocka_unit_test (test_writes),
    cmocka_unit_test (test_header),    cmocka_unit_test (test_opened),
    cmocka_unit_test (test_io_answer), cmocka_unit_test (test_extra),
    cmocka_unit_test (test_allocated),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
