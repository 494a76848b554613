/* SPDX-License-Identifier: BSD-3-Clause */

/* Flat extents, ZERO and NOACCESS. */

#include <config.h>

#include "extent-helper.h"

/* -- A medium with holes ------------------------------------------------ */

/* 64 sectors; every third stretch of 4 sectors is a hole.  Asking can be made
 * to fail.
 */
struct holey {
  struct media media;
  unsigned nr_maps;
  bool fail_map;
};

static int
holey_pread (struct media *media, void *buf, size_t count, uint64_t offset,
             struct vmdk_error *err)
{
  (void) media, (void) err;
  for (size_t i = 0; i < count; i++)
    ((uint8_t *) buf)[i] = (uint8_t) ((offset + i) / 512);
  return 0;
}

static int
holey_map (struct media *media, uint64_t offset, uint64_t count, bool *hole,
           uint64_t *length, struct vmdk_error *err)
{
  struct holey *holey = (struct holey *) media;

  holey->nr_maps++;
  if (holey->fail_map)
    return fail (err, ERR_SYSTEM, "no");
  *hole = offset / 2048 % 3 == 2;
  *length = min_u64 (count, 2048 - offset % 2048);
  return 0;
}

static void
holey_close (struct media *media)
{
  (void) media;
}

static const struct media_ops holey_ops = {
  .pread = holey_pread,
  .map = holey_map,
  .close = holey_close,
};

static struct extent *
open_line (struct fixture *f, driver_open *open, struct media *media,
           uint64_t offset_sector, uint64_t nr_sectors)
{
  const struct extent_line line = {
    .nr_sectors = nr_sectors,
    .name = "x.vmdk",
    .offset_sector = offset_sector,
  };
  const struct extent_source source = {
    .rules = &f->rules,
    .line = &line,
    .media = media,
  };

  return open (&source, &f->err);
}

/* -- Flat --------------------------------------------------------------- */

static void
test_flat_where (void **state)
{
  struct holey holey = { .media = { .ops = &holey_ops, .size = 64 * 512 } };
  struct fixture f;
  struct extent *extent;
  struct run run;

  (void) state;
  fixture_init (&f);
  extent = open_line (&f, extent_flat_open, &holey.media, 10, 54);
  assert_non_null (extent);
  assert_int_equal (extent->size, 54 * 512);
  assert_int_equal (extent->grain_size, 0);
  assert_false (extent->can_be_absent);

  /* One run, holes or not, and the file system is not asked. */
  assert_int_equal (
    extent_map (extent, 1000, 54 * 512 - 1000, MAP_WHERE, &run, &f.err), 0);
  assert_int_equal (run.state, RUN_DATA);
  assert_int_equal (run.length, 54 * 512 - 1000);
  assert_ptr_equal (run.media, &holey.media);
  assert_int_equal (run.media_offset, 10 * 512 + 1000);
  assert_int_equal (holey.nr_maps, 0);
  extent_close (extent);
  fixture_free (&f);
}

static void
test_flat_state (void **state)
{
  struct holey holey = { .media = { .ops = &holey_ops, .size = 64 * 512 } };
  struct fixture f;
  struct extent *extent;
  uint64_t offset;
  struct run run;

  (void) state;
  fixture_init (&f);
  extent = open_line (&f, extent_flat_open, &holey.media, 10, 54);
  assert_non_null (extent);
  for (offset = 0; offset < extent->size; offset += run.length) {
    const uint64_t in_file = 10 * 512 + offset;

    assert_int_equal (extent_map (extent, offset, extent->size - offset,
                                  MAP_STATE, &run, &f.err),
                      0);
    assert_int_equal (run.state,
                      in_file / 2048 % 3 == 2 ? RUN_HOLE : RUN_DATA);
    assert_int_equal (run.length,
                      min_u64 (2048 - in_file % 2048, extent->size - offset));
  }
  assert_int_equal (offset, extent->size);

  /* Not being told where the holes are is no error. */
  holey.fail_map = true;
  assert_int_equal (
    extent_map (extent, 0, extent->size, MAP_STATE, &run, &f.err), 0);
  assert_int_equal (run.state, RUN_DATA);
  assert_int_equal (run.length, extent->size);
  extent_close (extent);
  fixture_free (&f);
}

static void
test_flat_size (void **state)
{
  static const struct {
    uint64_t offset_sector, nr_sectors, size;
    const char *text; /* NULL: opens */
  } cases[] = {
    { 0, 1, 512, NULL },
    { 0, 1, 511,
      "flat extent ends at byte 512 of the file, which has only 511" },
    { 0, 1, 0, "flat extent ends at byte 512 of the file, which has only 0" },
    { 0, 1, UINT64_MAX / 2, NULL },
    { 63, 1, 64 * 512, NULL },
    { 63, 2, 64 * 512,
      "flat extent ends at byte 33280 of the file, which has only 32768" },
    { 64, 1, 64 * 512,
      "flat extent ends at byte 33280 of the file, which has only 32768" },
    { 0, (UINT64_C (1) << 54) - 1, UINT64_MAX, NULL },
    { 1, (UINT64_C (1) << 54) - 1, UINT64_MAX,
      "flat extent of 18014398509481983 sectors at sector 1 of the file ends "
      "beyond sector 18014398509481983" },
    { UINT64_MAX, 1, UINT64_MAX,
      "flat extent of 1 sectors at sector 18446744073709551615 of the file "
      "ends beyond sector 18014398509481983" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct holey holey = { .media = { .ops = &holey_ops,
                                      .size = cases[i].size } };
    struct fixture f;
    struct extent *extent;

    fixture_init (&f);
    extent = open_line (&f, extent_flat_open, &holey.media,
                        cases[i].offset_sector, cases[i].nr_sectors);
    if (cases[i].text) {
      assert_null (extent);
      assert_error (&f.err, ERR_CORRUPT, cases[i].text);
    }
    else {
      assert_non_null (extent);
      assert_int_equal (extent->size, cases[i].nr_sectors * 512);
    }
    extent_close (extent);
    fixture_free (&f);
  }
}

/* Against a model, over memory. */
static void
test_flat_bytes (void **state)
{
  struct image image = { 0 };
  struct model model;
  struct fixture f;
  struct extent *extent;

  (void) state;
  fixture_init (&f);
  model_init (&model, 100, 1);
  for (uint64_t i = 0; i < 100; i++)
    model_fill (&model, i);
  image_grow (&image, 1000 * 512); /* longer than the extent */
  memcpy (image.bytes, model.bytes, model.size);
  extent = assert_opens (&f, extent_flat_open, &image, 100, NULL);
  model_check (&model, extent);
  extent_close (extent);
  model_free (&model);
  image_free (&image);
  fixture_free (&f);
}

/* -- Without a file ----------------------------------------------------- */

static void
test_zero (void **state)
{
  struct fixture f;
  struct extent *extent;
  struct run run;

  (void) state;
  fixture_init (&f);
  extent = open_line (&f, extent_zero_open, NULL, 0, (UINT64_C (1) << 54) - 1);
  assert_non_null (extent);
  assert_false (extent->can_be_absent);
  for (int detail = MAP_WHERE; detail <= MAP_STATE; detail++) {
    assert_int_equal (
      extent_map (extent, 5, extent->size - 5, detail, &run, &f.err), 0);
    assert_int_equal (run.state, RUN_HOLE);
    assert_int_equal (run.length, extent->size - 5);
  }
  extent_close (extent);
  fixture_free (&f);
}

/* Its file, if it has one, is never read. */
static void
test_noaccess (void **state)
{
  struct image image = { 0 };
  struct model model;
  struct fixture f;
  struct extent *extent;
  uint8_t buf[512];

  (void) state;
  fixture_init (&f);
  model_init (&model, 100, 1);
  for (uint64_t i = 0; i < 100; i++)
    model.states[i] = RUN_DAMAGED;
  image_grow (&image, 1);
  extent = assert_opens (&f, extent_noaccess_open, &image, 100, NULL);
  model_check (&model, extent);
  assert_int_equal (extent_read (extent, buf, 512, 99 * 512, &f.err), -1);
  assert_error (&f.err, ERR_DAMAGED, "x.vmdk: extent is marked NOACCESS");
  assert_int_equal (f.nr_warnings, 1);
  assert_string_equal (f.warning, "x.vmdk: extent is marked NOACCESS");
  extent_close (extent);

  extent = open_line (&f, extent_noaccess_open, NULL, 0, 100);
  assert_non_null (extent);
  model_check (&model, extent);
  extent_close (extent);
  model_free (&model);
  image_free (&image);
  fixture_free (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_flat_where), cmocka_unit_test (test_flat_state),
    cmocka_unit_test (test_flat_size),  cmocka_unit_test (test_flat_bytes),
    cmocka_unit_test (test_zero),       cmocka_unit_test (test_noaccess),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
