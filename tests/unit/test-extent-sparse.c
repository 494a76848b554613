/* SPDX-License-Identifier: BSD-3-Clause */

/* Hosted sparse extents, and through them the two-level index that all
 * formats with grains share.
 */

#include <config.h>

#include <inttypes.h>

#include "extent-helper.h"
#include "sparse-image.h"

#define GRAIN 8 /* sectors */

/* Three tables and a bit: 512 * 8 sectors each, and a short last grain. */
#define NR_SECTORS (3 * 4096 + 133)

static struct fixture f;

static int
setup (void **state)
{
  (void) state;
  fixture_init (&f);
  return 0;
}

static int
teardown (void **state)
{
  (void) state;
  fixture_free (&f);
  return 0;
}

/* About half of the grains, in a shuffled order, with runs of neighbours. */
static void
fill (struct sparse_image *s, struct model *model, uint64_t seed)
{
  const uint64_t n = model_nr_grains (model);

  for (uint64_t i = 0; i < n; i++) {
    const uint64_t grain = i * 769 % n; /* n is no multiple of 769 */

    if (random_next (&seed) % 2)
      sparse_image_add (s, grain, model_fill (model, grain));
  }
  for (uint64_t grain = 600; grain < 640; grain++)
    sparse_image_add (s, grain, model_fill (model, grain));
}

static void
test_contents (void **state)
{
  static const struct {
    uint64_t nr_sectors, grain;
  } cases[] = {
    { NR_SECTORS, 8 },
    { NR_SECTORS, 16 },
    { 100001, 128 },
    { 300, 512 },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct sparse_image s;
    struct model model;

    sparse_image_init (&s, cases[i].nr_sectors, cases[i].grain);
    model_init (&model, cases[i].nr_sectors, cases[i].grain);
    if (cases[i].grain <= 16)
      fill (&s, &model, 42 + i);
    else
      for (uint64_t g = 0; g < model_nr_grains (&model); g += 2)
        sparse_image_add (&s, g, model_fill (&model, g));
    struct extent *extent = assert_opens (&f, extent_sparse_open, &s.image,
                                          cases[i].nr_sectors, NULL);
    assert_true (extent->can_be_absent);
    assert_int_equal (extent->grain_size, cases[i].grain * SECTOR_SIZE);
    model_check (&model, extent);
    extent_close (extent);
    model_free (&model);
    image_free (&s.image);
  }
}

/* A grain that the file's end cuts behind the extent's end is whole. */
static void
test_last_grain_cut (void **state)
{
  struct sparse_image s;
  struct model model;

  (void) state;
  sparse_image_init (&s, 21, GRAIN);
  model_init (&model, 21, GRAIN);
  sparse_image_add (&s, 2, model_fill (&model, 2));
  s.image.size -= sectors_to_bytes (3); /* 16 + 5 sectors are needed */
  struct extent *extent =
    assert_opens (&f, extent_sparse_open, &s.image, 21, NULL);
  model_check (&model, extent);
  extent_close (extent);

  s.image.size -= 1;
  model.states[2] = RUN_DAMAGED;
  extent = assert_opens (&f, extent_sparse_open, &s.image, 21, NULL);
  model_check (&model, extent);
  extent_close (extent);
  s.image.size += sectors_to_bytes (3) + 1;
  image_free (&s.image);
  model_free (&model);
}

static void
test_absent_tables (void **state)
{
  struct sparse_image s;
  struct model model;

  (void) state;
  sparse_image_init (&s, NR_SECTORS, GRAIN);
  model_init (&model, NR_SECTORS, GRAIN);
  fill (&s, &model, 7);
  /* The second table is in neither directory. */
  image_put32 (&s.image, sectors_to_bytes (s.h.gd_offset) + 4, 0);
  image_put32 (&s.image, sectors_to_bytes (s.h.rgd_offset) + 4, 0);
  for (uint64_t g = 512; g < 1024; g++)
    model.states[g] = RUN_ABSENT;
  struct extent *extent =
    assert_opens (&f, extent_sparse_open, &s.image, NR_SECTORS, NULL);
  model_check (&model, extent);
  extent_close (extent);
  image_free (&s.image);
  model_free (&model);
}

static void
test_zero_entries (void **state)
{
  struct sparse_image s;
  struct model model;

  (void) state;
  for (unsigned version = 1; version <= 2; version++) {
    sparse_image_init (&s, NR_SECTORS, GRAIN);
    model_init (&model, NR_SECTORS, GRAIN);
    fill (&s, &model, 9);
    for (uint64_t g = 100; g < 700; g += 3) {
      sparse_image_set_entry (&s, g, 1);
      model.states[g] = RUN_ZERO;
    }
    s.h.version = version;
    s.h.flags |= SPARSE_ZERO_GRAIN_ENTRY;
    sparse_image_put_header (&s);
    struct extent *extent =
      assert_opens (&f, extent_sparse_open, &s.image, NR_SECTORS, NULL);
    model_check (&model, extent);
    extent_close (extent);

    /* Without the flag the same entries are damage. */
    s.h.flags &= ~SPARSE_ZERO_GRAIN_ENTRY;
    sparse_image_put_header (&s);
    for (uint64_t g = 100; g < 700; g += 3)
      model.states[g] = RUN_DAMAGED;
    extent = assert_opens (&f, extent_sparse_open, &s.image, NR_SECTORS, NULL);
    model_check (&model, extent);
    extent_close (extent);
    image_free (&s.image);
    model_free (&model);
  }
}

/* What reading grain GRAIN of IMAGE says, and its neighbour still reads. */
static void
assert_damaged (const struct sparse_image *s, uint64_t grain, const char *text)
{
  struct extent *extent =
    assert_opens (&f, extent_sparse_open, &s->image, s->h.capacity, NULL);
  const uint64_t size = extent->grain_size;
  struct vmdk_error err;
  struct run run;
  uint8_t byte;

  assert_int_equal (
    extent_map (extent, grain * size, 1, MAP_WHERE, &run, &err), 0);
  assert_int_equal (run.state, RUN_DAMAGED);
  assert_int_equal (extent_read (extent, &byte, 1, grain * size, &err), -1);
  assert_error (&err, ERR_DAMAGED, text);
  assert_string_equal (f.warning, text);
  assert_int_equal (f.nr_warnings, 1);

  /* Told once, failed again. */
  assert_int_equal (extent_read (extent, &byte, 1, grain * size + 5, &err),
                    -1);
  assert_string_equal (err.text, text);
  assert_int_equal (f.nr_warnings, 1);
  extent_close (extent);
}

static void
test_bad_entries (void **state)
{
  struct sparse_image s;
  char text[200];

  (void) state;
  sparse_image_init (&s, NR_SECTORS, GRAIN);
  image_grow (&s.image, sectors_to_bytes (s.next + 64));
  const uint64_t nr = s.image.size;
  const struct {
    uint32_t entry;
    const char *words;
  } cases[] = {
    { 3, ", which is in the descriptor" },
    { 20, ", which is in the descriptor" },
    { s.h.rgd_offset, ", which is in the redundant grain directory" },
    { s.h.gd_offset, ", which is in the grain directory" },
    { s.h.gd_offset - GRAIN + 1, ", which is in the grain directory" },
    { s.h.gd_offset + 2, ", which is in a grain table" },
    { s.h.rgd_offset + 2, ", which is in a grain table" },
    { UINT32_MAX, NULL },
    { s.next + 60, NULL },
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char end[100];

    snprintf (end, sizeof end,
              ": the grain ends beyond the file's %" PRIu64 " bytes", nr);
    sparse_image_set_entry (&s, 700, cases[i].entry);
    snprintf (text, sizeof text,
              "x.vmdk: grain 700: grain table entry is sector %u%s",
              cases[i].entry, cases[i].words ? cases[i].words : end);
    assert_damaged (&s, 700, text);
  }
  image_free (&s.image);
}

static void
test_bad_directory_entries (void **state)
{
  struct sparse_image s;
  struct model model;
  char text[200];

  (void) state;
  sparse_image_init (&s, NR_SECTORS, GRAIN);
  model_init (&model, NR_SECTORS, GRAIN);
  fill (&s, &model, 11);
  s.h.flags &= ~SPARSE_REDUNDANT_TABLES;
  sparse_image_put_header (&s);
  for (uint64_t g = 512; g < 1024; g++)
    model.states[g] = RUN_DAMAGED;
  const struct {
    uint32_t entry;
    const char *words;
  } cases[] = {
    { 2, "which is in the descriptor" },
    { s.h.gd_offset, "which is in the grain directory" },
    { INT32_MAX, NULL },
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    image_put32 (&s.image, sectors_to_bytes (s.h.gd_offset) + 4,
                 cases[i].entry);
    if (cases[i].words)
      snprintf (text, sizeof text,
                "x.vmdk: grain directory entry 1 is sector %u, %s",
                cases[i].entry, cases[i].words);
    else
      snprintf (text, sizeof text,
                "x.vmdk: grain directory entry 1 is sector %u: the table "
                "ends beyond the file's %zu sectors",
                cases[i].entry, s.image.size / SECTOR_SIZE);
    assert_damaged (&s, 513, text);
    struct extent *extent =
      assert_opens (&f, extent_sparse_open, &s.image, NR_SECTORS, NULL);
    model_check (&model, extent);
    assert_int_equal (f.nr_warnings, 1); /* one for the table */
    extent_close (extent);
  }
  image_free (&s.image);
  model_free (&model);
}

/* The redundant copy stands in for what cannot be right. */
static void
test_redundant_copy (void **state)
{
  struct sparse_image s;
  struct model model;
  struct extent *extent;

  (void) state;
  sparse_image_init (&s, NR_SECTORS, GRAIN);
  model_init (&model, NR_SECTORS, GRAIN);
  fill (&s, &model, 13);
  const size_t gde = sectors_to_bytes (s.h.gd_offset) + 4;
  const uint32_t good = le32_load (s.image.bytes + gde);

  /* A directory entry beyond the end, and one that was lost. */
  for (int lost = 0; lost <= 1; lost++) {
    image_put32 (&s.image, gde, lost ? 0 : UINT32_MAX);
    extent = assert_opens (&f, extent_sparse_open, &s.image, NR_SECTORS, NULL);
    model_check (&model, extent);
    assert_int_equal (f.nr_warnings, 1);
    assert_non_null (
      strstr (f.warning, ": using the redundant grain table in its place"));
    extent_close (extent);
  }

  /* Both directories name one table. */
  image_put32 (
    &s.image, gde,
    le32_load (s.image.bytes + sectors_to_bytes (s.h.rgd_offset) + 4));
  for (uint64_t g = 512; g < 1024; g++)
    model.states[g] = RUN_DAMAGED;
  extent = assert_opens (&f, extent_sparse_open, &s.image, NR_SECTORS, NULL);
  model_check (&model, extent);
  assert_non_null (strstr (f.warning, "in both directories"));
  extent_close (extent);
  model_free (&model);
  image_free (&s.image);

  /* A table entry that cannot be right. */
  sparse_image_init (&s, NR_SECTORS, GRAIN);
  model_init (&model, NR_SECTORS, GRAIN);
  fill (&s, &model, 13);
  assert_int_equal (le32_load (s.image.bytes + gde), good);
  image_put32 (&s.image, sparse_image_entry (&s, 610, false), 5);
  extent = assert_opens (&f, extent_sparse_open, &s.image, NR_SECTORS, NULL);
  model_check (&model, extent);
  assert_int_equal (f.nr_warnings, 1);
  assert_non_null (strstr (f.warning, "grain 610: grain table entry 5 cannot "
                                      "be right: using the redundant"));
  extent_close (extent);

  /* A copy that knows nothing does not help: zeros would be a lie. */
  image_put32 (&s.image, sparse_image_entry (&s, 610, true), 0);
  model.states[610] = RUN_DAMAGED;
  extent = assert_opens (&f, extent_sparse_open, &s.image, NR_SECTORS, NULL);
  model_check (&model, extent);
  extent_close (extent);
  image_free (&s.image);
  model_free (&model);
}

static void
test_bad_redundant_directory (void **state)
{
  struct sparse_image s;
  struct model model;

  (void) state;
  sparse_image_init (&s, NR_SECTORS, GRAIN);
  model_init (&model, NR_SECTORS, GRAIN);
  fill (&s, &model, 17);
  s.h.rgd_offset = UINT32_MAX;
  sparse_image_put_header (&s);
  struct extent *extent = assert_opens (
    &f, extent_sparse_open, &s.image, NR_SECTORS,
    "x.vmdk: sparse header: rgdOffset 4294967295 cannot be right: doing "
    "without the redundant directory");
  model_check (&model, extent);
  extent_close (extent);
  image_free (&s.image);
  model_free (&model);
}

static void
test_sizes (void **state)
{
  struct sparse_image s;
  struct extent *extent;

  (void) state;
  sparse_image_init (&s, 1000, GRAIN);
  assert_refused (&f, extent_sparse_open, &s.image, 1001, ERR_CORRUPT,
                  "sparse header: capacity is 1000 sectors, and the "
                  "descriptor's extent line says 1001");
  /* VirtualBox's rounding. */
  extent = assert_opens (&f, extent_sparse_open, &s.image, 993, NULL);
  assert_int_equal (extent->size, sectors_to_bytes (993));
  extent_close (extent);
  extent = assert_opens (&f, extent_sparse_open, &s.image, 992,
                         "x.vmdk: sparse header: capacity is 1000 sectors, "
                         "and the descriptor's extent line says 992: serving "
                         "the smaller size");
  extent_close (extent);
  s.h.unclean_shutdown = 1;
  sparse_image_put_header (&s);
  extent = assert_opens (
    &f, extent_sparse_open, &s.image, 1000,
    "x.vmdk: was not closed cleanly (uncleanShutdown is set): what was "
    "written last may be missing");
  extent_close (extent);
  s.h.gd_offset = SPARSE_GD_AT_END;
  sparse_image_put_header (&s);
  assert_refused (&f, extent_sparse_open, &s.image, 1000, ERR_CORRUPT,
                  "sparse header: gdOffset says that the directory is at the "
                  "end, which only compressed extents may have");
  s.image.size = 500;
  assert_refused (&f, extent_sparse_open, &s.image, 1000, ERR_CORRUPT,
                  "sparse header: the file has only 500 bytes");
  image_free (&s.image);
}

/* With hardly any cache everything is still right, and loaded anew. */
static void
test_small_cache (void **state)
{
  struct sparse_image s;
  struct model model;
  struct fixture small;

  (void) state;
  fixture_init (&small);
  cache_free (small.resources.tables);
  small.resources.tables = cache_new (0, &small.err);
  sparse_image_init (&s, NR_SECTORS, GRAIN);
  model_init (&model, NR_SECTORS, GRAIN);
  fill (&s, &model, 19);
  struct extent *extent =
    assert_opens (&small, extent_sparse_open, &s.image, NR_SECTORS, NULL);
  model_check (&model, extent);
  assert_true (cache_used (small.resources.tables) < 10000);
  extent_close (extent);
  assert_int_equal (cache_used (small.resources.tables), 0);
  image_free (&s.image);
  model_free (&model);
  fixture_free (&small);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_contents),
    cmocka_unit_test (test_last_grain_cut),
    cmocka_unit_test (test_absent_tables),
    cmocka_unit_test (test_zero_entries),
    cmocka_unit_test (test_bad_entries),
    cmocka_unit_test (test_bad_directory_entries),
    cmocka_unit_test (test_redundant_copy),
    cmocka_unit_test (test_bad_redundant_directory),
    cmocka_unit_test (test_sizes),
    cmocka_unit_test (test_small_cache),
  };

  return cmocka_run_group_tests (tests, setup, teardown);
}
