/* SPDX-License-Identifier: BSD-3-Clause */

/* streamOptimized extents: every layout that producers write. */

#include <config.h>

#include "extent-helper.h"
#include "stream-image.h"

static void
test_at_end (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, AT_END);
  check_image (&b, NULL);
  build_free (&b);
}

static void
test_front (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, FRONT);
  check_image (&b, NULL);
  build_free (&b);
}

/* As qemu ends a file: no EOS, zeros up to a multiple of a grain. */
static void
test_front_without_eos (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, FRONT);
  b.image.size -= 512;
  check_image (&b, NULL);
  image_grow (&b.image, b.image.size + 17 * 512);
  check_image (&b, NULL);
  build_free (&b);
}

/* The real directory in the header, and a footer as well.  The footer's
 * counts, also when the header's differs.
 */
static void
test_front_and_footer (void **state)
{
  struct builder b;
  struct sparse_header footer;

  (void) state;
  build_usual (&b, AT_END);
  footer = get_footer (&b);
  b.header.gd_offset = footer.gd_offset;
  put_header (&b);
  check_image (&b, NULL);

  b.header.gd_offset = DESCRIPTOR_SECTORS + 1; /* a grain, by the way */
  put_header (&b);
  check_image (&b, NULL);
  build_free (&b);
}

/* A footer further up does not count then: it is more likely a guest's. */
static void
test_front_and_padded_footer (void **state)
{
  struct builder b;
  struct sparse_header footer;

  (void) state;
  build_usual (&b, FRONT);
  footer = b.header;
  footer.gd_offset = DESCRIPTOR_SECTORS + 2;
  append_marker (&b, 1, MARKER_FOOTER);
  b.footer = append_sectors (&b, 1) * 512;
  put_footer (&b, &footer);
  append_sectors (&b, 2);
  check_image (&b, NULL);
  build_free (&b);
}

/* Old qemu: a redundant directory and tables. */
static void
test_redundant (void **state)
{
  struct builder b;
  uint32_t copies[2];

  (void) state;
  build_usual (&b, FRONT);
  for (size_t i = 0; i < 2; i++) {
    copies[i] = append_sectors (&b, 1);
    memcpy (b.image.bytes + copies[i] * 512, b.image.bytes + b.gdes[i] * 512,
            512);
  }
  b.header.flags |= SPARSE_REDUNDANT_TABLES;
  b.header.rgd_offset = append_sectors (&b, 1);
  image_put32 (&b.image, b.header.rgd_offset * 512, copies[0]);
  image_put32 (&b.image, b.header.rgd_offset * 512 + 4, copies[1]);
  put_header (&b);
  check_image (&b, NULL);

  /* It stands in for a table that is nowhere. */
  image_put32 (&b.image, b.header.gd_offset * 512 + 4, 1000000);
  {
    struct rig t;
    struct extent *extent;

    rig_init (&t, 1 << 20);
    extent = open_image (&t, &b, NULL);
    check_all (&b.model, extent);
    assert_int_equal (t.f.nr_warnings, 1);
    assert_non_null (strstr (t.f.warning, "redundant"));
    extent_close (extent);
    rig_free (&t);
  }
  image_put32 (&b.image, b.header.gd_offset * 512 + 4, b.gdes[1]);

  b.header.rgd_offset = 5000000;
  put_header (&b);
  check_image (&b, "x.vmdk: rgdOffset 5000000 cannot be right: doing without "
                   "the redundant tables");
  build_free (&b);
}

static void
test_versions (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, FRONT);
  for (uint32_t version = 1; version <= 3; version++) {
    b.header.version = version;
    put_header (&b);
    check_image (&b, NULL);
  }
  build_free (&b);
}

static void
test_levels (void **state)
{
  (void) state;
  for (int level = 0; level <= 9; level++) {
    struct builder b;

    build_header (&b, level % 2 ? FRONT : AT_END, CAPACITY, GRAIN);
    b.level = level;
    build_grains (&b);
    build_finish (&b);
    check_image (&b, NULL);
    build_free (&b);
  }
}

/* Incompressible: more bytes than the grain has. */
static void
test_incompressible (void **state)
{
  (void) state;
  for (unsigned grain_sectors = 8; grain_sectors <= 128; grain_sectors *= 4) {
    struct builder b;
    uint64_t seed = 12345;

    build_header (&b, AT_END, 9 * grain_sectors, grain_sectors);
    for (uint64_t g = 0; g < 9; g++) {
      uint8_t *bytes = model_fill (&b.model, g);
      const uint32_t before = next_sector (&b);

      for (size_t i = 0; i < b.model.grain_size; i += 8)
        le64_store (bytes + i, random_next (&seed));
      b.model.states[g] = RUN_PACKED;
      b.gtes[g] = append_packed (&b, g, bytes, b.model.grain_size, 15);
      assert_true (next_sector (&b) - before > grain_sectors);
    }
    build_finish (&b);
    check_image (&b, NULL);
    build_free (&b);
  }
}

/* Grains of zeros that are stored are grains. */
static void
test_stored_zeros (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (uint64_t g = 0; g < 200; g += 3) {
    b.model.states[g] = RUN_PACKED;
    b.gtes[g] = append_packed (&b, g, b.model.bytes, GRAIN_BYTES, 15);
  }
  build_finish (&b);
  check_image (&b, NULL);
  build_free (&b);
}

static void
test_shuffled (void **state)
{
  struct builder b;

  (void) state;
  build_shuffled (&b, AT_END);
  check_image (&b, NULL);
  build_free (&b);
  build_shuffled (&b, FRONT);
  check_image (&b, NULL);
  build_free (&b);
}

static void
test_progress_markers (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (uint64_t g = 0; g < nr_grains (&b); g += 2) {
    build_grain (&b, g);
    append_marker (&b, g, MARKER_PROGRESS);
  }
  build_finish (&b);
  check_image (&b, NULL);
  build_free (&b);
}

/* The last grain may be stored whole, with anything behind the end, or only
 * as far as it is valid.
 */
static void
test_short_last_grain (void **state)
{
  (void) state;
  for (int whole = 0; whole <= 1; whole++)
    for (uint64_t rest = 1; rest < GRAIN; rest += 3) {
      struct builder b;

      build_header (&b, whole ? FRONT : AT_END, 10 * GRAIN + rest, GRAIN);
      build_grain (&b, 9);
      if (whole)
        build_grain (&b, 10);
      else
        build_short_grain (&b, 10);
      build_finish (&b);
      check_image (&b, NULL);
      build_free (&b);
    }
}

/* VirtualBox rounds the header's capacity up. */
static void
test_header_beyond_line (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, AT_END);
  b.model.size -= 3 * 512;
  check_image (&b, NULL);
  b.model.size -= 20 * GRAIN_BYTES;
  check_image (&b, NULL);
  build_free (&b);
}

static void
test_no_grains (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  build_finish (&b);
  check_image (&b, NULL);
  build_free (&b);
}

/* Entry 1 is zeros if the header has such entries, and damage if not. */
static void
test_zero_entry (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, AT_END);
  b.gtes[10] = b.gtes[200] = 1;
  b.model.states[10] = b.model.states[200] = RUN_DAMAGED;
  rebuild_tables (&b);
  check_image (&b, NULL);

  b.header.flags |= SPARSE_ZERO_GRAIN_ENTRY;
  put_header (&b);
  {
    struct sparse_header footer = get_footer (&b);

    footer.flags = b.header.flags;
    put_footer (&b, &footer);
  }
  for (int i = 0; i < 2; i++) {
    const uint64_t g = i ? 200 : 10;

    b.model.states[g] = RUN_ZERO;
    memset (b.model.bytes + g * GRAIN_BYTES, 0, GRAIN_BYTES);
  }
  check_image (&b, NULL);
  build_free (&b);
}

/* Several extents: qemu counts sectors from the start of the disk. */
static void
test_disk_wide_numbers (void **state)
{
  (void) state;
  for (int wide = 0; wide <= 1; wide++)
    for (int single = 0; single <= 1; single++) {
      struct builder b;
      struct rig t;
      const struct extent_line line = {
        .nr_sectors = CAPACITY,
        .name = "x.vmdk",
      };
      struct extent_source source = {
        .line = &line,
        .disk_offset = 5000 * 512,
        .single = single,
      };
      struct extent *extent;

      build_header (&b, AT_END, CAPACITY, GRAIN);
      b.first_lba = wide ? 5000 : 0;
      build_grains (&b);
      build_finish (&b);
      rig_init (&t, 1 << 20);
      source.rules = &t.f.rules;
      source.media =
        media_memory_new ("x.vmdk", b.image.bytes, b.image.size, &t.f.err);
      extent = extent_stream_open (&source, &t.f.err);
      assert_non_null (extent);
      if (wide && single)
        for (uint64_t g = 0; g < nr_grains (&b); g++)
          if (b.model.states[g] == RUN_PACKED)
            b.model.states[g] = RUN_DAMAGED;
      check_all (&b.model, extent);
      extent_close (extent);
      rig_free (&t);
      build_free (&b);
    }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_at_end),
    cmocka_unit_test (test_front),
    cmocka_unit_test (test_front_without_eos),
    cmocka_unit_test (test_front_and_footer),
    cmocka_unit_test (test_front_and_padded_footer),
    cmocka_unit_test (test_redundant),
    cmocka_unit_test (test_versions),
    cmocka_unit_test (test_levels),
    cmocka_unit_test (test_incompressible),
    cmocka_unit_test (test_stored_zeros),
    cmocka_unit_test (test_shuffled),
    cmocka_unit_test (test_progress_markers),
    cmocka_unit_test (test_short_last_grain),
    cmocka_unit_test (test_header_beyond_line),
    cmocka_unit_test (test_no_grains),
    cmocka_unit_test (test_zero_entry),
    cmocka_unit_test (test_disk_wide_numbers),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
