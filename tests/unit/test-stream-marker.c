/* SPDX-License-Identifier: BSD-3-Clause */

/* The bytes of a stream's blocks, as readers of other people's expect them. */

#include <config.h>

#include <zlib.h>

#include "extent-helper.h"
#include "stream-marker.h"

#define GRAIN ((size_t) 65536)

/* Fields of a header, by their offsets. */
static void
check_header (const uint8_t *p, uint64_t gd_offset, uint8_t unclean)
{
  assert_memory_equal (p, "KDMV\3\0\0\0\1\0\3\0", 12);
  assert_int_equal (le64_load (p + 12), 1000);
  assert_int_equal (le64_load (p + 20), 128);
  assert_int_equal (le64_load (p + 28), 1);  /* descriptor */
  assert_int_equal (le64_load (p + 36), 20); /* its size */
  assert_int_equal (le32_load (p + 44), 512);
  assert_int_equal (le64_load (p + 48), 0); /* redundant directory */
  assert_true (le64_load (p + 56) == gd_offset);
  assert_int_equal (le64_load (p + 64), 128); /* overHead */
  assert_int_equal (p[72], unclean);
  assert_memory_equal (p + 73, "\n \r\n", 4);
  assert_int_equal (p[77] + p[78] * 256, 1); /* deflate */
  assert_true (bytes_are_zero (p + 79, 512 - 79));
}

static void
check_marker (const uint8_t *p, uint64_t value, uint32_t type)
{
  assert_int_equal (le64_load (p), value);
  assert_int_equal (le32_load (p + 8), 0);
  assert_int_equal (le32_load (p + 12), type);
  assert_true (bytes_are_zero (p + 16, 512 - 16));
}

static void
test_header (void **state)
{
  const struct sparse_header h = stream_header_make (1000, 128, 20, 0);
  uint8_t p[SPARSE_HEADER_SIZE];

  (void) state;
  memset (p, 0xee, sizeof p);
  stream_header_encode (&h, SPARSE_GD_AT_END, false, p);
  check_header (p, UINT64_MAX, 0);
  stream_header_encode (&h, 77, true, p);
  check_header (p, 77, 1);
  assert_true (h.gd_offset == SPARSE_GD_AT_END);
}

static void
test_overhead (void **state)
{
  static const struct {
    uint64_t descriptor, front, overhead;
  } cases[] = {
    { 0, 0, 128 },    { 0, 127, 128 },  { 0, 128, 256 }, { 20, 107, 128 },
    { 20, 108, 256 }, { 20, 235, 256 }, { 126, 1, 128 }, { 20, 15872, 16000 },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const struct sparse_header h =
      stream_header_make (1000, 128, cases[i].descriptor, cases[i].front);

    assert_int_equal (h.overhead, cases[i].overhead);
    assert_int_equal (h.descriptor_offset, cases[i].descriptor ? 1 : 0);
  }
}

static void
test_markers (void **state)
{
  uint8_t p[SECTOR_SIZE];

  (void) state;
  for (enum stream_marker_type type = MARKER_EOS; type <= MARKER_PROGRESS;
       type++) {
    memset (p, 0xee, sizeof p);
    stream_marker_encode (type, 5 + type, p);
    check_marker (p, 5 + type, type);
  }
  assert_int_equal (stream_directory_sectors (1), 1);
  assert_int_equal (stream_directory_sectors (128), 1);
  assert_int_equal (stream_directory_sectors (129), 2);
}

static void
test_end (void **state)
{
  const struct sparse_header h = stream_header_make (1000, 128, 20, 0);
  uint8_t p[STREAM_END_SIZE];

  (void) state;
  memset (p, 0xee, sizeof p);
  stream_end_encode (&h, 4711, p);
  check_marker (p, 1, 3);
  check_header (p + 512, 4711, 0);
  check_marker (p + 1024, 0, 0);
}

/* Bytes that compress well, a little, and not at all. */
static void
test_grain (void **state)
{
  struct vmdk_error err;
  struct deflater_pool *pool = deflater_pool_new (DEFLATE_DEFAULT_LEVEL, &err);
  struct deflater *deflater = deflater_take (pool, &err);
  uint8_t *bytes = malloc (GRAIN), *out = malloc (GRAIN);
  uint64_t seed = 12345;

  (void) state;
  assert_non_null (deflater);
  assert_non_null (bytes);
  assert_non_null (out);
  for (unsigned bits = 0; bits <= 8; bits++) {
    uint8_t *block;
    size_t size, packed;
    uLongf length = GRAIN;

    for (size_t i = 0; i < GRAIN; i++)
      bytes[i] = random_next (&seed) & ((1U << bits) - 1);
    assert_int_equal (stream_grain_encode (deflater, bytes, GRAIN,
                                           UINT64_C (128) << 32, &block, &size,
                                           &err),
                      0);
    packed = le32_load (block + 8);
    assert_true (le64_load (block) == UINT64_C (128) << 32);
    assert_int_equal (size % 512, 0);
    assert_in_range (size, 12 + packed, 12 + packed + 511);
    assert_true (bytes_are_zero (block + 12 + packed, size - 12 - packed));
    assert_int_equal (uncompress (out, &length, block + 12, packed), Z_OK);
    assert_int_equal (length, GRAIN);
    assert_memory_equal (out, bytes, GRAIN);
  }
  deflater_put (deflater);
  deflater_pool_free (pool);
  free (bytes);
  free (out);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_header),  cmocka_unit_test (test_overhead),
    cmocka_unit_test (test_markers), cmocka_unit_test (test_end),
    cmocka_unit_test (test_grain),
  };

  return cmocka_run_group_tests_name ("stream-marker", tests, NULL, NULL);
}
