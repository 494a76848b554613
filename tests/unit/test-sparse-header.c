/* SPDX-License-Identifier: BSD-3-Clause */

/* The KDMV header: the vendor's layout, encode against decode, and every
 * field that must be refused.
 */

#include <config.h>

#include "extent-helper.h"
#include "sparse-image.h"

/* A 10 MiB monolithicSparse of VMware's, byte for byte. */
static const uint8_t vmware[80] = {
  0x4b, 0x44, 0x4d, 0x56, 0x01, 0,    0,    0, 0x03, 0, 0, 0, 0x00, 0x50,
  0,    0,    0,    0,    0,    0,    0x80, 0, 0,    0, 0, 0, 0,    0,
  0x01, 0,    0,    0,    0,    0,    0,    0, 0x14, 0, 0, 0, 0,    0,
  0,    0,    0x00, 0x02, 0,    0,    0x15, 0, 0,    0, 0, 0, 0,    0,
  0x1a, 0,    0,    0,    0,    0,    0,    0, 0x80, 0, 0, 0, 0,    0,
  0,    0,    0,    0x0a, 0x20, 0x0d, 0x0a, 0, 0,    0,
};

static void
test_decode (void **state)
{
  uint8_t bytes[SPARSE_HEADER_SIZE] = { 0 };
  struct sparse_header h;

  (void) state;
  memcpy (bytes, vmware, sizeof vmware);
  sparse_header_decode (bytes, &h);
  assert_int_equal (h.magic, SPARSE_MAGIC);
  assert_int_equal (h.version, 1);
  assert_int_equal (h.flags, 3);
  assert_int_equal (h.capacity, 20480);
  assert_int_equal (h.grain_size, 128);
  assert_int_equal (h.descriptor_offset, 1);
  assert_int_equal (h.descriptor_size, 20);
  assert_int_equal (h.nr_gtes_per_gt, 512);
  assert_int_equal (h.rgd_offset, 21);
  assert_int_equal (h.gd_offset, 26);
  assert_int_equal (h.overhead, 128);
  assert_int_equal (h.unclean_shutdown, 0);
  assert_int_equal (h.compress_algorithm, 0);
  assert_int_equal (sparse_header_nr_tables (&h), 1);
}

static void
test_encode_is_the_mirror (void **state)
{
  uint8_t bytes[SPARSE_HEADER_SIZE], again[SPARSE_HEADER_SIZE];
  struct sparse_header h;

  (void) state;
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t) (i * 37 + 11);
  sparse_header_decode (bytes, &h);
  sparse_header_encode (&h, again);
  assert_memory_equal (bytes, again, sizeof bytes);
}

#define FILE_SIZE (UINT64_C (10) << 20)

static struct sparse_header
good_header (void)
{
  struct sparse_header h;
  uint8_t bytes[SPARSE_HEADER_SIZE] = { 0 };

  memcpy (bytes, vmware, sizeof vmware);
  sparse_header_decode (bytes, &h);
  return h;
}

#define MANGLED                                                              \
  "sparse header: newline test bytes are 0d 0a 20 0d, not 0a 20 0d 0a: the " \
  "file was damaged by a text-mode transfer, copy it again in binary mode"

static void
test_refused (void **state)
{
  /* Each case changes one field of a good header. */
  static const struct {
    size_t offset;
    unsigned size;
    uint64_t value;
    enum vmdk_error_kind kind;
    const char *text;
  } cases[] = {
#define FIELD(name)                      \
  offsetof (struct sparse_header, name), \
    sizeof (((struct sparse_header *) 0)->name)
    { FIELD (magic), 0x12345678, ERR_NOT_VMDK,
      "sparse header has magic 0x12345678, not 0x564d444b (\"KDMV\")" },
    { FIELD (magic), SPARSE_MAGIC_UNFINISHED, ERR_CORRUPT,
      "the stream is incomplete: its writer never finished it (magic "
      "\"kdmv\")" },
    { FIELD (version), 0, ERR_UNSUPPORTED,
      "sparse header: version 0 is not supported, only 1 to 3" },
    { FIELD (version), 4, ERR_UNSUPPORTED,
      "sparse header: version 4 is not supported, only 1 to 3" },
    { FIELD (newline_test), 0x0d200a0d, ERR_CORRUPT, MANGLED },
    { FIELD (flags), 0x40003, ERR_UNSUPPORTED,
      "sparse header: unknown incompatible flags 0x00040000" },
    { FIELD (flags), 0x10003, ERR_CORRUPT,
      "sparse header: compressAlgorithm 0 does not go with flags "
      "0x00010003" },
    { FIELD (flags), 0x20003, ERR_CORRUPT,
      "sparse header: flags 0x00020003 have one of the compression and "
      "marker bits without the other" },
    { FIELD (compress_algorithm), 1, ERR_CORRUPT,
      "sparse header: compressAlgorithm 1 does not go with flags "
      "0x00000003" },
    { FIELD (grain_size), 0, ERR_CORRUPT,
      "sparse header: grainSize 0 is not a power of two from 8 to 65536 "
      "sectors" },
    { FIELD (grain_size), 4, ERR_CORRUPT, "sparse header: grainSize 4 is" },
    { FIELD (grain_size), 100, ERR_CORRUPT,
      "sparse header: grainSize 100 is" },
    { FIELD (grain_size), 131072, ERR_CORRUPT,
      "sparse header: grainSize 131072 is" },
    { FIELD (grain_size), UINT64_C (1) << 63, ERR_CORRUPT,
      "sparse header: grainSize 9223372036854775808 is" },
    { FIELD (nr_gtes_per_gt), 0, ERR_CORRUPT,
      "sparse header: numGTEsPerGT 0 is not a power of two from 128 to "
      "65536" },
    { FIELD (nr_gtes_per_gt), 500, ERR_CORRUPT,
      "sparse header: numGTEsPerGT 500 is" },
    { FIELD (nr_gtes_per_gt), 0x80000000, ERR_CORRUPT,
      "sparse header: numGTEsPerGT 2147483648 is" },
    { FIELD (capacity), 0, ERR_CORRUPT, "sparse header: capacity 0 is not" },
    { FIELD (capacity), UINT64_C (1) << 54, ERR_CORRUPT,
      "sparse header: capacity 18014398509481984 is not from 1 to "
      "18014398509481983 sectors" },
    { FIELD (capacity), UINT64_C (1) << 50, ERR_CORRUPT,
      "sparse header: capacity 1125899906842624 needs a grain directory of "
      "17179869184 entries, which a file of 20480 sectors cannot hold" },
    { FIELD (capacity), UINT64_MAX, ERR_CORRUPT, "sparse header: capacity" },
    { FIELD (descriptor_size), 0, ERR_CORRUPT,
      "sparse header: descriptorSize 0 is not from 1 to 8192 sectors" },
    { FIELD (descriptor_size), 8193, ERR_CORRUPT,
      "sparse header: descriptorSize 8193 is" },
    { FIELD (descriptor_offset), 20470, ERR_CORRUPT,
      "sparse header: the descriptor at sector 20470 with 20 sectors ends "
      "beyond the file's 20480 sectors" },
    { FIELD (descriptor_offset), UINT64_MAX, ERR_CORRUPT,
      "sparse header: the descriptor at sector 18446744073709551615" },
    { FIELD (gd_offset), 0, ERR_CORRUPT,
      "sparse header: gdOffset is 0: there is no grain directory" },
    { FIELD (gd_offset), 20480, ERR_CORRUPT,
      "sparse header: gdOffset 20480 with 1 sectors ends beyond the file's "
      "20480 sectors" },
    { FIELD (gd_offset), (UINT64_C (1) << 55) + 26, ERR_CORRUPT,
      "sparse header: gdOffset 36028797018963994" },
    { FIELD (gd_offset), 20, ERR_CORRUPT,
      "sparse header: gdOffset 20 lies in the descriptor at sector 1" },
    { FIELD (rgd_offset), 26, ERR_CORRUPT,
      "sparse header: gdOffset 26 and rgdOffset 26: the two grain "
      "directories of 1 sectors overlap" },
    { FIELD (compress_algorithm), 2, ERR_CORRUPT,
      "sparse header: compressAlgorithm 2 does not go with flags "
      "0x00000003" },
    { FIELD (overhead), 20481, ERR_CORRUPT,
      "sparse header: overHead 20481 is beyond the file's 20480 sectors: "
      "the file is truncated" },
#undef FIELD
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct sparse_header h = good_header ();
    struct vmdk_error err = { 0 };
    bool use_redundant;

    memcpy ((char *) &h + cases[i].offset, &cases[i].value, cases[i].size);
    assert_int_equal (
      sparse_header_check (&h, FILE_SIZE, &use_redundant, &err), -1);
    if (strncmp (err.text, cases[i].text, strlen (cases[i].text)) != 0)
      print_error ("case %zu: %s\n", i, err.text);
    assert_memory_equal (err.text, cases[i].text, strlen (cases[i].text));
    assert_int_equal (err.kind, cases[i].kind);
  }
}

static void
test_redundant (void **state)
{
  static const struct {
    uint64_t rgd_offset;
    uint32_t flags;
    bool used;
  } cases[] = {
    { 21, 3, true },          { 21, 1, false }, /* not said to be there */
    { 0, 3, false },                            /* nowhere */
    { 1 << 20, 3, false },                      /* beyond the end */
    { UINT64_MAX, 3, false }, { 20, 3, false }, /* in the descriptor */
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct sparse_header h = good_header ();
    struct vmdk_error err;
    bool used;

    h.rgd_offset = cases[i].rgd_offset;
    h.flags = cases[i].flags;
    assert_int_equal (sparse_header_check (&h, FILE_SIZE, &used, &err), 0);
    assert_int_equal (used, cases[i].used);
  }
}

static void
test_accepted (void **state)
{
  struct vmdk_error err;
  bool ignored;
  struct sparse_header h = good_header ();

  (void) state;
  /* Compat flags that nobody knows. */
  h.flags |= 0xfff8;
  assert_int_equal (sparse_header_check (&h, FILE_SIZE, &ignored, &err), 0);
  /* Newline bytes are only looked at if the flag says so. */
  h = good_header ();
  h.flags &= ~SPARSE_NEWLINE_TEST;
  memset (h.newline_test, 0, sizeof h.newline_test);
  assert_int_equal (sparse_header_check (&h, FILE_SIZE, &ignored, &err), 0);
  /* A stream whose directory is behind its grains. */
  h = good_header ();
  h.version = 3;
  h.flags = 0x30001;
  h.compress_algorithm = 1;
  h.gd_offset = SPARSE_GD_AT_END;
  h.rgd_offset = 0;
  assert_int_equal (sparse_header_check (&h, FILE_SIZE, &ignored, &err), 0);
  /* A container for a descriptor. */
  h = good_header ();
  h.capacity = 0;
  assert_true (sparse_header_only_descriptor (&h));
  assert_int_equal (sparse_header_check_descriptor (&h, FILE_SIZE, &err), 0);
  h.descriptor_offset = 0;
  assert_false (sparse_header_only_descriptor (&h));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_decode),
    cmocka_unit_test (test_encode_is_the_mirror),
    cmocka_unit_test (test_refused),
    cmocka_unit_test (test_redundant),
    cmocka_unit_test (test_accepted),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
