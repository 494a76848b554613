/* SPDX-License-Identifier: BSD-3-Clause */

/* COWD extents: what is refused and with which words, what a damaged entry
 * costs, and random images against a model.
 */

#include <config.h>

#include "extent-helper.h"

#define GD_SECTOR 4
#define TABLE_SECTORS 32
#define ENTRIES 4096

/* Fields of the header. */
enum {
  MAGIC = 0,
  VERSION = 4,
  FLAGS = 8,
  NUM_SECTORS = 12,
  GRAIN_SIZE = 16,
  GD_OFFSET = 20,
  NUM_GD_ENTRIES = 24,
  FREE_SECTOR = 28,
  UNCLEAN = 1648,
};

static void
put_header (struct image *image, uint32_t nr_sectors, uint32_t grain_sectors)
{
  const uint32_t nr_tables =
    (uint32_t) div_round_up (nr_sectors, (uint64_t) ENTRIES * grain_sectors);

  image_put32 (image, MAGIC, 0x44574f43);
  image_put32 (image, VERSION, 1);
  image_put32 (image, FLAGS, 3);
  image_put32 (image, NUM_SECTORS, nr_sectors);
  image_put32 (image, GRAIN_SIZE, grain_sectors);
  image_put32 (image, GD_OFFSET, GD_SECTOR);
  image_put32 (image, NUM_GD_ENTRIES, nr_tables);
  image_put32 (image, FREE_SECTOR, 4);
  image_grow (image, (GD_SECTOR + div_round_up (nr_tables, 128)) * 512);
}

static void
set_gde (struct image *image, uint32_t table, uint32_t sector)
{
  image_put32 (image, GD_SECTOR * 512 + table * 4, sector);
}

static uint32_t
get_gde (const struct image *image, uint32_t table)
{
  return le32_load (image->bytes + GD_SECTOR * 512 + table * 4);
}

/* Append a table that is all 0. */
static uint32_t
add_table (struct image *image, uint32_t table)
{
  const uint32_t sector = (uint32_t) (image->size / 512);

  image_grow (image, image->size + TABLE_SECTORS * 512);
  set_gde (image, table, sector);
  return sector;
}

static void
set_gte (struct image *image, uint32_t grain, uint32_t sector)
{
  const uint32_t table = get_gde (image, grain / ENTRIES);

  image_put32 (image, table * 512 + grain % ENTRIES * 4, sector);
}

/* Append a grain, and its table before it if need be. */
static uint32_t
add_grain (struct image *image, struct model *model, uint32_t grain)
{
  const uint8_t *bytes = model_fill (model, grain);
  uint32_t sector;

  if (get_gde (image, grain / ENTRIES) == 0)
    add_table (image, grain / ENTRIES);
  sector = (uint32_t) (image->size / 512);
  image_grow (image, image->size + model->grain_size);
  memcpy (image->bytes + sector * 512, bytes, model->grain_size);
  set_gte (image, grain, sector);
  return sector;
}

/* Grain 0 and the last grain are there: header, directory at 4, table 0 at 5,
 * grain 0 at 37, the last grain's table, the last grain.
 */
static void
make_base (struct image *image, struct model *model, uint32_t nr_sectors,
           uint32_t grain_sectors)
{
  model_init (model, nr_sectors, grain_sectors);
  put_header (image, nr_sectors, grain_sectors);
  add_grain (image, model, 0);
  add_grain (image, model, (uint32_t) model_nr_grains (model) - 1);
}

/* -- The header --------------------------------------------------------- */

static void
test_header_refused (void **state)
{
  /* The base image has 71 sectors, 36352 bytes. */
  static const struct {
    uint32_t offset, value;
    enum vmdk_error_kind kind;
    const char *text;
  } cases[] = {
    { MAGIC, 0x564d444b, ERR_NOT_VMDK,
      "COWD header has magic 0x564d444b, not 0x44574f43" },
    { VERSION, 0, ERR_UNSUPPORTED,
      "COWD header: version 0 is not supported, only 1" },
    { VERSION, 2, ERR_UNSUPPORTED,
      "COWD header: version 2 is not supported, only 1" },
    { FLAGS, 0, ERR_UNSUPPORTED, "COWD header: flags 0x0 are not 1 to 3" },
    { FLAGS, 4, ERR_UNSUPPORTED, "COWD header: flags 0x4 are not 1 to 3" },
    { NUM_SECTORS, 0, ERR_CORRUPT, "COWD header: numSectors is 0" },
    { NUM_SECTORS, 9999, ERR_CORRUPT,
      "COWD header: numSectors 9999 is less than the extent line's 10000 "
      "sectors" },
    { NUM_SECTORS, 0xffffffff, ERR_CORRUPT,
      "COWD header: numGDEntries 3 is not from 1048576 to 2097152 for "
      "numSectors 4294967295" },
    { GRAIN_SIZE, 0, ERR_CORRUPT,
      "COWD header: grainSize 0 is not a power of two from 1 to 2048 "
      "sectors" },
    { GRAIN_SIZE, 3, ERR_CORRUPT,
      "COWD header: grainSize 3 is not a power of two from 1 to 2048 "
      "sectors" },
    { GRAIN_SIZE, 4096, ERR_CORRUPT,
      "COWD header: grainSize 4096 is not a power of two from 1 to 2048 "
      "sectors" },
    { GRAIN_SIZE, 0x80000000, ERR_CORRUPT,
      "COWD header: grainSize 2147483648 is not a power of two from 1 to "
      "2048 sectors" },
    { GD_OFFSET, 0, ERR_CORRUPT,
      "COWD header: gdOffset 0 lies in the header, which ends at sector 4" },
    { GD_OFFSET, 3, ERR_CORRUPT,
      "COWD header: gdOffset 3 lies in the header, which ends at sector 4" },
    { GD_OFFSET, 71, ERR_CORRUPT,
      "COWD header: gdOffset 71 with 3 entries ends beyond the end of the "
      "file, byte 36352" },
    { GD_OFFSET, 0xffffffff, ERR_CORRUPT,
      "COWD header: gdOffset 4294967295 with 3 entries ends beyond the end "
      "of the file, byte 36352" },
    { NUM_GD_ENTRIES, 0, ERR_CORRUPT,
      "COWD header: numGDEntries 0 is not from 3 to 128 for numSectors "
      "10000" },
    { NUM_GD_ENTRIES, 2, ERR_CORRUPT,
      "COWD header: numGDEntries 2 is not from 3 to 128 for numSectors "
      "10000" },
    { NUM_GD_ENTRIES, 129, ERR_CORRUPT,
      "COWD header: numGDEntries 129 is not from 3 to 128 for numSectors "
      "10000" },
    { NUM_GD_ENTRIES, 0xffffffff, ERR_CORRUPT,
      "COWD header: numGDEntries 4294967295 is not from 3 to 128 for "
      "numSectors 10000" },
  };
  struct image base = { 0 };
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  make_base (&base, &model, 10000, 1);
  assert_int_equal (base.size, 71 * 512);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct image image = image_copy (&base);

    image_put32 (&image, cases[i].offset, cases[i].value);
    assert_refused (&f, extent_cowd_open, &image, 10000, cases[i].kind,
                    cases[i].text);
    image_free (&image);
  }
  model_free (&model);
  image_free (&base);
  fixture_free (&f);
}

static void
test_header_accepted (void **state)
{
  static const struct {
    uint32_t offset, value;
    const char *warning;
  } cases[] = {
    { FLAGS, 1, NULL },
    { FLAGS, 2, NULL },
    { GRAIN_SIZE, 1,
      "x.vmdk: COWD header: numSectors 10001 is more than the "
      "extent line's 10000 sectors: the line is used" },
    { GRAIN_SIZE, 2, NULL },
    { GRAIN_SIZE, 2048, NULL },
    { NUM_SECTORS, 10000, NULL },
    { NUM_SECTORS, 10007, NULL },
    { NUM_SECTORS, 10008,
      "x.vmdk: COWD header: numSectors 10008 is more than "
      "the extent line's 10000 sectors: the line is used" },
    { GD_OFFSET, 5, NULL },
    { GD_OFFSET, 70, NULL },
    { NUM_GD_ENTRIES, 4, NULL },
    { NUM_GD_ENTRIES, 128, NULL },
    { FREE_SECTOR, 0, NULL },
    { FREE_SECTOR, 71, NULL },
    { FREE_SECTOR, 72,
      "x.vmdk: COWD header: freeSector 72 is beyond the end "
      "of the file, byte 36352: the file may have been cut "
      "off" },
    { FREE_SECTOR, 0xffffffff,
      "x.vmdk: COWD header: freeSector 4294967295 is beyond the end of the "
      "file, byte 36352: the file may have been cut off" },
    { UNCLEAN, 0, NULL },
    { UNCLEAN, 1, "x.vmdk: COWD extent was not closed cleanly" },
    { 32, 0xffffffff, NULL },   /* the parent's name */
    { 1644, 0xffffffff, NULL }, /* before unclean */
    { 1652, 0xffffffff, NULL }, /* after it */
  };
  struct image base = { 0 };
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  make_base (&base, &model, 10000, 1);
  image_put32 (&base, GRAIN_SIZE, 8);
  image_put32 (&base, NUM_SECTORS, 10001);
  image_put32 (&base, NUM_GD_ENTRIES, 3);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct image image = image_copy (&base);
    struct extent *extent;

    image_put32 (&image, cases[i].offset, cases[i].value);
    extent =
      assert_opens (&f, extent_cowd_open, &image, 10000, cases[i].warning);
    assert_int_equal (extent->size, 10000 * 512);
    assert_int_equal (extent->grain_size,
                      512 * le32_load (image.bytes + GRAIN_SIZE));
    assert_true (extent->can_be_absent);
    extent_close (extent);
    image_free (&image);
  }
  model_free (&model);
  image_free (&base);
  fixture_free (&f);
}

static void
test_file_too_small (void **state)
{
  struct image image = { 0 };
  struct fixture f;

  (void) state;
  fixture_init (&f);
  put_header (&image, 1, 1);
  assert_int_equal (image.size, 5 * 512);
  image.size = 4 * 512 + 4;
  extent_close (assert_opens (&f, extent_cowd_open, &image, 1, NULL));
  image.size = 4 * 512 + 3;
  assert_refused (&f, extent_cowd_open, &image, 1, ERR_CORRUPT,
                  "COWD header: gdOffset 4 with 1 entries ends beyond the "
                  "end of the file, byte 2051");
  image.size = 2047;
  assert_refused (&f, extent_cowd_open, &image, 1, ERR_CORRUPT,
                  "file of 2047 bytes is too small for a COWD header of "
                  "2048");
  image.size = 0;
  assert_refused (&f, extent_cowd_open, &image, 1, ERR_CORRUPT,
                  "file of 0 bytes is too small for a COWD header of 2048");
  image_free (&image);
  fixture_free (&f);
}

/* A directory may have twice the entries it needs, once that is more than
 * 128; and a capacity that the file cannot index is refused.
 */
static void
test_directory_length (void **state)
{
  struct image image = { 0 };
  struct fixture f;

  (void) state;
  fixture_init (&f);
  put_header (&image, 200 * ENTRIES, 1);
  image_grow (&image, 16 * 512);
  image_put32 (&image, NUM_GD_ENTRIES, 400);
  extent_close (
    assert_opens (&f, extent_cowd_open, &image, 200 * ENTRIES, NULL));
  image_put32 (&image, NUM_GD_ENTRIES, 401);
  assert_refused (&f, extent_cowd_open, &image, 200 * ENTRIES, ERR_CORRUPT,
                  "COWD header: numGDEntries 401 is not from 200 to 400 for "
                  "numSectors 819200");

  image_put32 (&image, NUM_SECTORS, 0xffffffff);
  image_put32 (&image, NUM_GD_ENTRIES, 1048576);
  assert_refused (&f, extent_cowd_open, &image, 0xffffffff, ERR_CORRUPT,
                  "COWD header: gdOffset 4 with 1048576 entries ends beyond "
                  "the end of the file, byte 8192");
  image_free (&image);
  fixture_free (&f);
}

/* The largest extent there can be, empty. */
static void
test_largest (void **state)
{
  struct image image = { 0 };
  struct fixture f;
  struct extent *extent;
  struct run run;

  (void) state;
  fixture_init (&f);
  put_header (&image, 0xffffffff, 1);
  extent = assert_opens (&f, extent_cowd_open, &image, 0xffffffff, NULL);
  assert_int_equal (
    extent_map (extent, 0, extent->size, MAP_STATE, &run, &f.err), 0);
  assert_int_equal (run.state, RUN_ABSENT);
  assert_int_equal (run.length, UINT64_C (0xffffffff) * 512);
  extent_close (extent);
  image_free (&image);
  fixture_free (&f);
}

/* -- Entries ------------------------------------------------------------ */

/* Read where the model says DAMAGED, compare the message, and the rest of the
 * extent with the model.
 */
static void
check_damage (struct fixture *f, struct image *image, struct model *model,
              uint64_t nr_sectors, uint64_t offset, const char *text)
{
  struct extent *extent =
    assert_opens (f, extent_cowd_open, image, nr_sectors, NULL);
  uint8_t buf[512];

  model_check (model, extent);
  if (text) {
    assert_int_equal (extent_read (extent, buf, sizeof buf, offset, &f->err),
                      -1);
    assert_error (&f->err, ERR_DAMAGED, text);
    assert_int_equal (f->nr_warnings, 1);
    assert_string_equal (f->warning, text);
  }
  else
    assert_int_equal (f->nr_warnings, 0);
  extent_close (extent);
}

/* Grain 1 of 8 sectors gets all kinds of entries.  Header 0-3, directory 4,
 * table 0 at 5-36, grain 0 at 37-44, table 1 at 45-76, the last grain at
 * 77-84; the file ends at 85.
 */
static void
test_grain_entries (void **state)
{
  static const struct {
    uint32_t entry;
    const char *text; /* NULL: good */
  } cases[] = {
    { 1, "x.vmdk: grain 1 at sector 1 lies before the end of the grain "
         "directory, sector 5" },
    { 4, "x.vmdk: grain 1 at sector 4 lies before the end of the grain "
         "directory, sector 5" },
    { 5, "x.vmdk: grain 1 at sector 5 lies in a grain table" },
    { 36, "x.vmdk: grain 1 at sector 36 lies in a grain table" },
    { 37, NULL }, /* an alias: only a checker would notice */
    { 38, "x.vmdk: grain 1 at sector 38 lies in a grain table" },
    { 76, "x.vmdk: grain 1 at sector 76 lies in a grain table" },
    { 77, NULL },
    { 78, "x.vmdk: grain 1 at sector 78 is cut off by the end of the file, "
          "byte 43520" },
    { 85, "x.vmdk: grain 1 at sector 85 is cut off by the end of the file, "
          "byte 43520" },
    { 0xffffffff, "x.vmdk: grain 1 at sector 4294967295 is cut off by the "
                  "end of the file, byte 43520" },
  };
  struct image base = { 0 };
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  make_base (&base, &model, 40000, 8);
  assert_int_equal (base.size, 85 * 512);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct image image = image_copy (&base);

    set_gte (&image, 1, cases[i].entry);
    model.states[1] = RUN_DAMAGED;
    if (!cases[i].text) {
      model.states[1] = RUN_DATA;
      memcpy (model.bytes + 4096, image.bytes + cases[i].entry * 512, 4096);
    }
    check_damage (&f, &image, &model, 40000, 4096, cases[i].text);
    image_free (&image);
  }
  model_free (&model);
  image_free (&base);
  fixture_free (&f);
}

static void
test_directory_entries (void **state)
{
  static const struct {
    uint32_t entry;
    const char *text;
  } cases[] = {
    { 1, "x.vmdk: grain table 1 at sector 1 lies before the end of the grain "
         "directory, sector 5" },
    { 4, "x.vmdk: grain table 1 at sector 4 lies before the end of the grain "
         "directory, sector 5" },
    { 46, "x.vmdk: grain table 1 at sector 46 is cut off by the end of the "
          "file, byte 39424" },
    { 77, "x.vmdk: grain table 1 at sector 77 is cut off by the end of the "
          "file, byte 39424" },
    { 0xffffffff, "x.vmdk: grain table 1 at sector 4294967295 is cut off by "
                  "the end of the file, byte 39424" },
    { 45, NULL },
  };
  const uint64_t span = ENTRIES * 4096;
  struct image base = { 0 };
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  model_init (&model, 40000, 8);
  put_header (&base, 40000, 8);
  add_grain (&base, &model, 0);
  add_table (&base, 1);
  assert_int_equal (base.size, 77 * 512);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct image image = image_copy (&base);

    set_gde (&image, 1, cases[i].entry);
    for (uint64_t g = ENTRIES; g < model_nr_grains (&model); g++)
      model.states[g] = cases[i].text ? RUN_DAMAGED : RUN_ABSENT;
    check_damage (&f, &image, &model, 40000, span, cases[i].text);
    image_free (&image);
  }
  model_free (&model);
  image_free (&base);
  fixture_free (&f);
}

/* A table must be there to its last byte. */
static void
test_table_cut_off (void **state)
{
  struct image image = { 0 };
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  model_init (&model, 1000, 8);
  put_header (&image, 1000, 8);
  add_table (&image, 0);
  check_damage (&f, &image, &model, 1000, 0, NULL);
  image.size--;
  for (uint64_t g = 0; g < model_nr_grains (&model); g++)
    model.states[g] = RUN_DAMAGED;
  check_damage (&f, &image, &model, 1000, 0,
                "x.vmdk: grain table 0 at sector 5 is cut off by the end of "
                "the file, byte 18943");
  model_free (&model);
  image_free (&image);
  fixture_free (&f);
}

/* Of the last grain the file needs to hold only what the extent has. */
static void
test_last_grain (void **state)
{
  struct image image = { 0 };
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  make_base (&image, &model, 8 * 10 + 3, 8);
  assert_int_equal (image.size, (5 + 32 + 8 + 8) * 512);
  check_damage (&f, &image, &model, 83, 0, NULL);
  image.size = (5 + 32 + 8 + 3) * 512;
  check_damage (&f, &image, &model, 83, 0, NULL);
  image.size--;
  model.states[10] = RUN_DAMAGED;
  check_damage (&f, &image, &model, 83, 80 * 512,
                "x.vmdk: grain 10 at sector 45 is cut off by the end of the "
                "file, byte 24575");
  model_free (&model);
  image_free (&image);
  fixture_free (&f);
}

/* Damage is told once for each place. */
static void
test_damage_is_told_once (void **state)
{
  struct image image = { 0 };
  struct model model;
  struct fixture f;
  struct extent *extent;
  uint8_t buf[512];

  (void) state;
  fixture_init (&f);
  make_base (&image, &model, 1000, 8);
  set_gte (&image, 1, 1);
  set_gte (&image, 2, 2);
  extent = assert_opens (&f, extent_cowd_open, &image, 1000, NULL);
  for (int i = 0; i < 3; i++)
    for (int sector = 8; sector < 24; sector++)
      assert_int_equal (extent_read (extent, buf, 512, sector * 512, &f.err),
                        -1);
  assert_int_equal (f.nr_warnings, 2);
  extent_close (extent);
  model_free (&model);
  image_free (&image);
  fixture_free (&f);
}

/* -- Random images ------------------------------------------------------ */

static void
random_image (uint64_t seed, struct image *image, struct model *model,
              uint32_t nr_sectors, uint32_t grain_sectors)
{
  uint64_t r = seed;
  uint32_t grain = 0;

  model_init (model, nr_sectors, grain_sectors);
  put_header (image, nr_sectors, grain_sectors);
  while (image->size < 1 << 20) {
    const uint64_t kind = random_next (&r) % 16;

    /* A stretch of neighbours, or a jump. */
    if (kind == 0)
      grain = (uint32_t) (random_next (&r) % model_nr_grains (model));
    if (++grain >= model_nr_grains (model))
      break;
    if (kind == 1 && model->states[grain] == RUN_ABSENT
        && get_gde (image, grain / ENTRIES) != 0) {
      set_gte (image, grain, 1 + random_next (&r) % 4);
      model->states[grain] = RUN_DAMAGED;
    }
    else if (model->states[grain] == RUN_ABSENT)
      add_grain (image, model, grain);
  }
  image_put32 (image, FREE_SECTOR, (uint32_t) (image->size / 512));
}

static void
test_random (void **state)
{
  static const uint32_t grain_sectors[] = { 1, 2, 8, 128 };
  struct fixture f;

  (void) state;
  fixture_init (&f);
  for (uint64_t seed = 1; seed <= 12; seed++) {
    const uint32_t gs = grain_sectors[seed % 4];
    const uint32_t nr_sectors = 12000 * (gs > 8 ? 4 : gs) + (uint32_t) seed;
    struct image image = { 0 };
    struct model model;
    struct extent *extent;

    print_message ("seed %u\n", (unsigned) seed);
    random_image (seed, &image, &model, nr_sectors, gs);
    extent = assert_opens (&f, extent_cowd_open, &image, nr_sectors, NULL);
    model_check (&model, extent);
    extent_close (extent);
    model_free (&model);
    image_free (&image);
  }
  fixture_free (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_header_refused),
    cmocka_unit_test (test_header_accepted),
    cmocka_unit_test (test_file_too_small),
    cmocka_unit_test (test_directory_length),
    cmocka_unit_test (test_largest),
    cmocka_unit_test (test_grain_entries),
    cmocka_unit_test (test_directory_entries),
    cmocka_unit_test (test_table_cut_off),
    cmocka_unit_test (test_last_grain),
    cmocka_unit_test (test_damage_is_told_once),
    cmocka_unit_test (test_random),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
