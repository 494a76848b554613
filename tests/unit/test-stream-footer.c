/* SPDX-License-Identifier: BSD-3-Clause */

/* The headers and footers of streams: what is refused, what is warned of, and
 * where the directory is looked for.
 */

#include <config.h>

#include "extent-helper.h"
#include "stream-image.h"

static void
test_headers (void **state)
{
  static const struct {
    size_t offset;
    unsigned width;
    uint64_t value;
    enum vmdk_error_kind kind;
    const char *text;
  } cases[] = {
    { 4, 4, 0, ERR_UNSUPPORTED, "version 0 is not supported" },
    { 4, 4, 4, ERR_UNSUPPORTED, "version 4 is not supported" },
    { 8, 4, 0x40030001, ERR_UNSUPPORTED, "unknown incompatible flags" },
    { 73, 4, 0x0a200a0d, ERR_CORRUPT, "text-mode transfer" },
    { 8, 4, 0x20001, ERR_CORRUPT, "compressAlgorithm 1 does not go with" },
    { 8, 4, 0x10001, ERR_CORRUPT, "one of the compression and marker bits" },
    { 77, 2, 0, ERR_CORRUPT, "compressAlgorithm 0 does not go with" },
    { 77, 2, 2, ERR_CORRUPT, "compressAlgorithm 2 does not go with" },
    { 12, 8, CAPACITY - 1, ERR_CORRUPT,
      "capacity 1999 is less than the descriptor's 2000 sectors" },
    { 12, 8, 0, ERR_CORRUPT, "capacity 0" },
    { 12, 8, UINT64_C (1) << 50, ERR_CORRUPT, "needs a grain directory" },
    { 20, 8, 7, ERR_CORRUPT, "grainSize 7" },
    { 20, 8, 4, ERR_CORRUPT, "grainSize 4" },
    { 20, 8, 0, ERR_CORRUPT, "grainSize 0" },
    { 44, 4, 0, ERR_CORRUPT, "numGTEsPerGT 0" },
    { 44, 4, 500, ERR_CORRUPT, "numGTEsPerGT 500" },
    { 56, 8, 0, ERR_CORRUPT, "gdOffset is 0" },
    { 56, 8, 1, ERR_CORRUPT, "lies in the descriptor" },
    { 56, 8, 1000000, ERR_CORRUPT, "ends beyond the file" },
    { 64, 8, 1000000, ERR_CORRUPT, "the file is truncated" },
    { 36, 8, 0, ERR_CORRUPT, "descriptorSize 0" },
    { 28, 8, 1000000, ERR_CORRUPT, "the descriptor at sector 1000000" },
    { 0, 4, SPARSE_MAGIC_UNFINISHED, ERR_CORRUPT, "never finished" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct builder b;
    struct rig t;
    struct extent *extent;

    build_usual (&b, FRONT);
    for (unsigned j = 0; j < cases[i].width; j++)
      b.image.bytes[cases[i].offset + j] = (uint8_t) (cases[i].value >> 8 * j);
    rig_init (&t, 0);
    extent = fixture_open (&t.f, extent_stream_open, &b.image, CAPACITY);
    if (extent || !strstr (t.f.err.text, cases[i].text))
      print_error ("wanted: %s; got: %s\n", cases[i].text, t.f.err.text);
    assert_null (extent);
    assert_non_null (strstr (t.f.err.text, cases[i].text));
    assert_int_equal (t.f.err.kind, cases[i].kind);
    rig_free (&t);
    build_free (&b);
  }
}

static void
test_unclean (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, FRONT);
  b.header.unclean_shutdown = 1;
  put_header (&b);
  check_image (&b, "x.vmdk: was not closed cleanly (uncleanShutdown is set): "
                   "what was written last may be missing");
  build_free (&b);
}

/* Both in the proper place and behind padding, both with and without a
 * directory in the header.
 */
static void
test_footers_that_differ (void **state)
{
  static const struct {
    size_t offset;
    uint32_t value;
    const char *text;
  } cases[] = {
    { 12, CAPACITY + 8, "the footer's capacity is 2008, the header's 2000" },
    { 20, 16, "the footer's grainSize is 16, the header's 8" },
    { 44, 256, "the footer's numGTEsPerGT is 256, the header's 128" },
    { 8, 0x30003,
      "the footer's flags are 0x00030003, the header's 0x00030001" },
    { 4, 0, "footer: sparse header: version 0 is not supported, only 1 to 3" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (int padded = 0; padded <= 1; padded++)
      for (int front = 0; front <= 1; front++) {
        struct builder b;
        struct rig t;

        if (padded && front)
          continue; /* no footer then */
        build_usual (&b, AT_END);
        if (front) {
          b.header.gd_offset = get_footer (&b).gd_offset;
          put_header (&b);
        }
        image_put32 (&b.image, b.footer + cases[i].offset, cases[i].value);
        if (padded)
          image_grow (&b.image, b.image.size + 3000);
        rig_init (&t, 0);
        assert_null (
          fixture_open (&t.f, extent_stream_open, &b.image, CAPACITY));
        assert_string_equal (t.f.err.text, cases[i].text);
        rig_free (&t);
        build_free (&b);
      }
}

static void
test_footer_without_directory (void **state)
{
  struct builder b;
  struct sparse_header footer;

  (void) state;
  build_usual (&b, AT_END);
  footer = get_footer (&b);
  footer.gd_offset = SPARSE_GD_AT_END;
  put_footer (&b, &footer);
  check_refused (&b, ERR_CORRUPT,
                 "the footer's gdOffset is no sector: the stream has no grain "
                 "directory");
  footer.gd_offset = 0;
  put_footer (&b, &footer);
  check_refused (&b, ERR_CORRUPT,
                 "footer: sparse header: gdOffset is 0: there is no grain "
                 "directory");
  build_free (&b);
}

static void
test_missing_eos (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, AT_END);
  b.image.size -= 512;
  check_image (&b, "x.vmdk: the stream's end marker is missing: 0 other bytes "
                   "follow the footer");
  image_grow (&b.image, b.image.size + 512);
  b.image.bytes[b.image.size - 500] = 1;
  check_image (&b, "x.vmdk: the stream's end marker is missing: 512 other "
                   "bytes follow the footer");
  build_free (&b);
}

static void
test_padding (void **state)
{
  const size_t most = ((size_t) 1 << 20) - 3 * 512;
  struct builder b;
  size_t size;

  (void) state;
  build_usual (&b, AT_END);
  size = b.image.size;
  image_grow (&b.image, size + 100);
  check_image (&b, "x.vmdk: 100 bytes behind the end of the stream");
  image_grow (&b.image, size + 1024);
  check_image (&b, "x.vmdk: 1024 bytes behind the end of the stream");
  b.image.bytes[size + 700] = 'x'; /* whatever it is */
  check_image (&b, "x.vmdk: 1024 bytes behind the end of the stream");
  image_grow (&b.image, size + 10 * 512);
  check_image (&b, "x.vmdk: 5120 bytes behind the end of the stream");
  image_grow (&b.image, size + most);
  check_image (&b, "x.vmdk: 1047040 bytes behind the end of the stream");
  image_grow (&b.image, size + most + 512);
  {
    char text[ERROR_TEXT_SIZE];

    snprintf (text, sizeof text,
              "the stream's grain directory should be at its end, and there "
              "is no footer there: the file of %zu bytes was cut",
              b.image.size);
    check_refused (&b, ERR_CORRUPT, text);
  }
  build_free (&b);
}

/* Any cut into the footer or before it. */
static void
test_cut (void **state)
{
  struct builder b;
  struct rig t;
  size_t whole;

  (void) state;
  build_usual (&b, AT_END);
  whole = b.footer + 512;
  rig_init (&t, 0);
  for (size_t size = whole - 1; size > 512;
       size -= size > whole - 1500 ? 79 : 1024) {
    b.image.size = size;
    assert_null (fixture_open (&t.f, extent_stream_open, &b.image, CAPACITY));
    assert_int_equal (t.f.err.kind, ERR_CORRUPT);
  }
  for (size_t size = 0; size <= 512; size += 64) {
    b.image.size = size;
    assert_null (fixture_open (&t.f, extent_stream_open, &b.image, CAPACITY));
  }
  rig_free (&t);
  build_free (&b);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_headers),
    cmocka_unit_test (test_unclean),
    cmocka_unit_test (test_footers_that_differ),
    cmocka_unit_test (test_footer_without_directory),
    cmocka_unit_test (test_missing_eos),
    cmocka_unit_test (test_padding),
    cmocka_unit_test (test_cut),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
