/* SPDX-License-Identifier: BSD-3-Clause */

/* What the grains themselves tell of a stream that was cut, or that lost its
 * tables (recover=true).
 */

#include <config.h>

#include "extent-helper.h"
#include "stream-image.h"

static struct extent *
open_recovering (struct rig *t, const struct builder *b)
{
  struct extent *extent;

  rig_init (t, 1 << 20);
  t->f.rules.recover_stream = true;
  extent = fixture_open (&t->f, extent_stream_open, &b->image,
                         bytes_to_sectors (b->model.size));
  if (!extent)
    print_error ("refused: %s\n", t->f.err.text);
  assert_non_null (extent);
  return extent;
}

static void
check_recovery (const struct builder *b, const char *last_warning)
{
  struct rig t;
  struct extent *extent = open_recovering (&t, b);

  assert_string_equal (t.f.warning, last_warning);
  check_all (&b->model, extent);
  extent_close (extent);
  rig_free (&t);
}

/* Grains from FIRST to END that are not stored cannot be told. */
static void
doubt (struct builder *b, uint64_t first, uint64_t end)
{
  for (uint64_t g = first; g < end; g++)
    if (b->model.states[g] == RUN_ABSENT)
      b->model.states[g] = RUN_DAMAGED;
}

#define CUT_WARNING                                                       \
  "x.vmdk: grains may have been lost where the stream is broken or cut: " \
  "reading there gives errors"
#define DOUBT_WARNING                                                         \
  "x.vmdk: grains may have been lost wherever none was found: reading there " \
  "gives errors"

/* Only the end is lost: all grains and the directory are there. */
static void
test_recover_complete (void **state)
{
  struct builder b;
  size_t size;

  (void) state;
  build_usual (&b, AT_END);
  b.image.size = b.footer + 79;
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  b.image.size = b.footer - 512;
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  size = b.image.size;
  image_grow (&b.image, size + 300000); /* a tail of zeros */
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  build_free (&b);

  build_shuffled (&b, AT_END);
  b.image.size = b.footer - 512;
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  build_free (&b);
}

/* Nobody asked for it, or nothing is wrong. */
static void
test_recover_unneeded (void **state)
{
  struct builder b;
  struct rig t;
  struct extent *extent;

  (void) state;
  for (int layout = AT_END; layout <= FRONT; layout++) {
    build_usual (&b, layout);
    extent = open_recovering (&t, &b);
    assert_int_equal (t.f.nr_warnings, 0);
    check_all (&b.model, extent);
    extent_close (extent);
    rig_free (&t);
    build_free (&b);
  }
  build_usual (&b, AT_END);
  b.image.size = b.footer;
  rig_init (&t, 0);
  assert_null (fixture_open (&t.f, extent_stream_open, &b.image, CAPACITY));
  assert_int_equal (t.f.err.kind, ERR_CORRUPT);
  rig_free (&t);
  build_free (&b);
}

/* Cut in the middle of grain 221: what was found is good, holes far before
 * the cut are holes, what is near it or behind it is not told.
 */
static void
test_recover_cut (void **state)
{
  enum { LAST = 220 };
  struct builder b;
  struct rig t;
  struct extent *extent;

  (void) state;
  for (int cut = 0; cut < 4; cut++) {
    static const size_t left[] = { 0, 10, 15, 100 };

    build_usual (&b, AT_END);
    b.image.size = b.gtes[LAST + 1] * 512 + left[cut];
    for (uint64_t g = LAST + 1; g < nr_grains (&b); g++)
      b.model.states[g] = RUN_DAMAGED;
    extent = open_recovering (&t, &b);
    assert_string_equal (t.f.warning, CUT_WARNING);
    for (uint64_t g = 0; g < nr_grains (&b); g++) {
      struct run run;
      struct vmdk_error err;

      assert_int_equal (extent_map (extent, g * GRAIN_BYTES, GRAIN_BYTES,
                                    MAP_STATE, &run, &err),
                        0);
      if (is_stored (g) && g <= LAST)
        assert_int_equal (run.state, RUN_PACKED);
      else if (g < 40)
        assert_int_equal (run.state, RUN_ABSENT);
      else if (g > LAST - 64)
        assert_int_equal (run.state, RUN_DAMAGED);
      b.model.states[g] = run.state;
    }
    check_read_error (&t, extent, LAST + 5,
                      "x.vmdk: grain 225: not found in the stream, and may "
                      "have been lost from it");
    check_all (&b.model, extent);
    extent_close (extent);
    rig_free (&t);
    build_free (&b);
  }
}

/* A short stream that was cut: nothing is told but what was found. */
static void
test_recover_cut_short (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  build_grain (&b, 3);
  build_grain (&b, 4);
  build_grain (&b, 7);
  put_header (&b);
  doubt (&b, 0, nr_grains (&b));
  check_recovery (&b, CUT_WARNING);
  build_free (&b);
}

/* Out of order and cut: the same for all that was not found. */
static void
test_recover_cut_shuffled (void **state)
{
  struct builder b;

  (void) state;
  build_shuffled (&b, AT_END);
  b.image.size = b.gtes[nr_grains (&b) / 2] * 512 + 20;
  for (uint64_t g = 0; g < nr_grains (&b); g++)
    if (b.gtes[g] == 0 || b.gtes[g] * 512 + 20 >= b.image.size)
      b.model.states[g] = RUN_DAMAGED;
  check_recovery (&b, DOUBT_WARNING);
  build_free (&b);
}

/* A grain whose header is destroyed: found by nobody, and never zeros. */
static void
test_recover_broken (void **state)
{
  static const struct {
    size_t offset;
    uint32_t value;
  } cases[] = {
    { 0, 12345 },       /* lba that no grain has */
    { 4, 1 },           /* beyond the capacity */
    { 8, 0x7fffffff },  /* size */
    { 12, 0xffffffff }, /* no zlib */
    { 8, 0 },           /* a marker of an unknown type */
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct builder b;

    build_header (&b, AT_END, CAPACITY, GRAIN);
    for (uint64_t g = 0; g < nr_grains (&b); g++)
      if (g != 130)
        build_grain (&b, g);
    build_finish (&b);
    image_put32 (&b.image, b.gtes[129] * 512 + cases[i].offset,
                 cases[i].value);
    b.image.size = b.footer;
    b.model.states[129] = b.model.states[130] = RUN_DAMAGED;
    check_recovery (&b, CUT_WARNING);
    build_free (&b);
  }
}

/* Markers that lie about what follows them are none. */
static void
test_recover_lying_markers (void **state)
{
  static const struct {
    uint64_t value;
    uint32_t type;
  } cases[] = {
    { UINT64_MAX, MARKER_GRAIN_TABLE },
    { UINT64_C (1) << 21, MARKER_GRAIN_DIRECTORY },
    { 2, MARKER_FOOTER },
    { 7, MARKER_EOS },
    { 0, 5 },
    { 0, UINT32_MAX },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct builder b;

    build_header (&b, AT_END, CAPACITY, GRAIN);
    for (uint64_t g = 0; g < nr_grains (&b); g++) {
      if (g == 100)
        append_marker (&b, cases[i].value, cases[i].type);
      build_grain (&b, g);
    }
    build_finish (&b);
    b.image.size = b.footer;
    check_recovery (&b, "x.vmdk: recovered 250 grains by scanning the stream");
    build_free (&b);
  }
}

/* A stretch of zeros may be what never arrived. */
static void
test_recover_zeros_between (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (uint64_t g = 0; g < nr_grains (&b); g++)
    if (g != 125)
      build_grain (&b, g);
  build_finish (&b);
  memset (b.image.bytes + b.gtes[120] * 512, 0,
          (b.gtes[124] - b.gtes[120]) * 512);
  b.image.size = b.footer;
  for (uint64_t g = 120; g < 124; g++)
    b.model.states[g] = RUN_DAMAGED;
  b.model.states[125] = RUN_DAMAGED;
  check_recovery (&b, CUT_WARNING);
  build_free (&b);
}

/* Tables without markers do not keep it from going on. */
static void
test_recover_bare_tables (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (uint64_t g = 0; g < nr_grains (&b); g++) {
    build_grain (&b, g);
    if (g % 50 == 49) {
      const uint32_t sector = append_sectors (&b, 1);

      for (uint32_t i = 0; i < 128; i++)
        image_put32 (&b.image, sector * 512 + i * 4, 20 + i * 5);
    }
  }
  put_header (&b);
  check_recovery (&b, "x.vmdk: recovered 250 grains by scanning the stream");
  build_free (&b);
}

/* A writer that was interrupted and resumed: the last copy counts. */
static void
test_recover_copies (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (int round = 0; round < 3; round++)
    for (uint64_t g = 0; g < nr_grains (&b); g++) {
      uint8_t *bytes = model_fill (&b.model, g);

      bytes[0] = (uint8_t) round;
      b.model.states[g] = RUN_PACKED;
      append_packed (&b, g, bytes, GRAIN_BYTES, 15);
    }
  put_header (&b);
  {
    struct rig t;
    struct extent *extent = open_recovering (&t, &b);

    assert_int_equal (t.f.nr_warnings, 4);
    assert_string_equal (t.f.warning, DOUBT_WARNING);
    check_all (&b.model, extent);
    extent_close (extent);
    rig_free (&t);
  }
  build_free (&b);
}

/* A grain behind the directory's marker shows that it was not the end. */
static void
test_recover_appended (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (uint64_t g = 0; g < 100; g += 2)
    build_grain (&b, g);
  build_finish (&b);
  b.image.size -= 3 * 512;
  build_grain (&b, 110);
  doubt (&b, 0, nr_grains (&b));
  check_recovery (&b, CUT_WARNING);
  build_free (&b);
}

/* A wrong overHead: the scan starts behind the descriptor. */
static void
test_recover_overhead (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, AT_END);
  b.image.size = b.footer - 512;
  b.header.overhead = 0;
  put_header (&b);
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  build_free (&b);
}

/* A footer that contradicts the header is no better than none. */
static void
test_recover_wrong_footer (void **state)
{
  struct builder b;
  struct sparse_header footer;

  (void) state;
  build_usual (&b, AT_END);
  footer = get_footer (&b);
  footer.capacity += 8;
  put_footer (&b, &footer);
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  build_free (&b);
}

/* Grains that are numbered from the start of the disk. */
static void
test_recover_disk_wide (void **state)
{
  (void) state;
  for (int ambiguous = 0; ambiguous <= 1; ambiguous++) {
    const uint64_t first = ambiguous ? CAPACITY / 2 : CAPACITY + 5 * GRAIN;
    const struct extent_line line = {
      .nr_sectors = CAPACITY,
      .name = "x.vmdk",
    };
    struct extent_source source = {
      .line = &line,
      .disk_offset = first * 512,
    };
    struct builder b;
    struct rig t;
    struct extent *extent;

    build_header (&b, AT_END, CAPACITY, GRAIN);
    b.first_lba = first;
    build_grains (&b);
    build_finish (&b);
    b.image.size = b.footer - 512;
    rig_init (&t, 1 << 20);
    t.f.rules.recover_stream = true;
    source.rules = &t.f.rules;
    source.media =
      media_memory_new ("x.vmdk", b.image.bytes, b.image.size, &t.f.err);
    extent = extent_stream_open (&source, &t.f.err);
    if (ambiguous) {
      assert_null (extent);
      assert_error (&t.f.err, ERR_UNSUPPORTED,
                    "the stream cannot be recovered: with 1000 sectors before "
                    "this extent of 2000 its grains' numbers are ambiguous");
    }
    else {
      assert_non_null (extent);
      check_all (&b.model, extent);
      extent_close (extent);
    }
    rig_free (&t);
    build_free (&b);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_recover_complete),
    cmocka_unit_test (test_recover_unneeded),
    cmocka_unit_test (test_recover_cut),
    cmocka_unit_test (test_recover_cut_short),
    cmocka_unit_test (test_recover_cut_shuffled),
    cmocka_unit_test (test_recover_broken),
    cmocka_unit_test (test_recover_lying_markers),
    cmocka_unit_test (test_recover_zeros_between),
    cmocka_unit_test (test_recover_bare_tables),
    cmocka_unit_test (test_recover_copies),
    cmocka_unit_test (test_recover_appended),
    cmocka_unit_test (test_recover_overhead),
    cmocka_unit_test (test_recover_wrong_footer),
    cmocka_unit_test (test_recover_disk_wide),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
