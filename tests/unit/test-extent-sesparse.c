/* SPDX-License-Identifier: BSD-3-Clause */

/* seSparse extents: every field of both headers, the regions, the entries
 * with their rotated numbers, random images against a model.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "extent-helper.h"
#include "sesparse-image.h"
#include "store.h"

/* -- The headers -------------------------------------------------------- */

static void
test_header_refused (void **state)
{
  static const struct {
    uint32_t offset;
    uint64_t value;
    enum vmdk_error_kind kind;
    const char *text;
  } cases[] = {
    { MAGIC, 0x1cafebabe, ERR_NOT_VMDK,
      "seSparse header has magic 0x00000001cafebabe, not "
      "0x00000000cafebabe" },
    { VERSION, 0, ERR_UNSUPPORTED,
      "seSparse header: version 0x0000000000000000 is not supported, only "
      "0x0000000200000001 (2.1)" },
    { VERSION, UINT64_C (0x200000002), ERR_UNSUPPORTED,
      "seSparse header: version 0x0000000200000002 is not supported, only "
      "0x0000000200000001 (2.1)" },
    { CAPACITY, 0, ERR_CORRUPT,
      "seSparse header: capacity 0 is not from 1 to 137438953472 sectors" },
    { CAPACITY, UINT64_C (137438953473), ERR_CORRUPT,
      "seSparse header: capacity 137438953473 is not from 1 to 137438953472 "
      "sectors" },
    { CAPACITY, UINT64_MAX, ERR_CORRUPT,
      "seSparse header: capacity 18446744073709551615 is not from 1 to "
      "137438953472 sectors" },
    { CAPACITY, UINT64_C (137438953472), ERR_CORRUPT,
      "seSparse header: grain directory holds 512 entries, capacity "
      "137438953472 needs 4194304" },
    { CAPACITY, 512 * 32768 + 1, ERR_CORRUPT,
      "seSparse header: grain directory holds 512 entries, capacity 16777217 "
      "needs 513" },
    { CAPACITY, 19999, ERR_CORRUPT,
      "seSparse header: capacity 19999 is less than the extent line's 20000 "
      "sectors" },
    { GRAIN_SIZE, 0, ERR_UNSUPPORTED,
      "seSparse header: grainSize 0 is not supported, only 8 sectors" },
    { GRAIN_SIZE, 16, ERR_UNSUPPORTED,
      "seSparse header: grainSize 16 is not supported, only 8 sectors" },
    { TABLE_SIZE, 0, ERR_UNSUPPORTED,
      "seSparse header: grainTableSize 0 is not supported, only 64 "
      "sectors" },
    { TABLE_SIZE, 128, ERR_UNSUPPORTED,
      "seSparse header: grainTableSize 128 is not supported, only 64 "
      "sectors" },
    { FLAGS, UINT64_C (1) << 63, ERR_UNSUPPORTED,
      "seSparse header: flags 0x8000000000000000 are not supported, only "
      "0" },
    { RESERVED, 1, ERR_UNSUPPORTED,
      "seSparse header: reserved1 is 0x1, not 0" },
    { RESERVED + 24, 1, ERR_UNSUPPORTED,
      "seSparse header: reserved4 is 0x1, not 0" },
    { PAD, 1, ERR_UNSUPPORTED,
      "seSparse header: bytes after the known fields are not 0" },
    { 504, UINT64_C (1) << 56, ERR_UNSUPPORTED,
      "seSparse header: bytes after the known fields are not 0" },
    { V_MAGIC, 0xcafebabe, ERR_CORRUPT,
      "seSparse volatile header has magic 0x00000000cafebabe, not "
      "0x00000000cafecafe" },
    { V_REPLAY, 1, ERR_UNSUPPORTED,
      "seSparse extent has a dirty journal (replayJournal 1): open it once "
      "on ESXi or clone it there, or pass accept-journal=true to read it as "
      "it is" },
    { V_REPLAY, UINT64_MAX, ERR_UNSUPPORTED,
      "seSparse extent has a dirty journal (replayJournal "
      "18446744073709551615): open it once on ESXi or clone it there, or "
      "pass accept-journal=true to read it as it is" },
    { V_PAD, 1, ERR_UNSUPPORTED,
      "seSparse volatile header: bytes after the known fields are not 0" },
    { 1024 - 8, UINT64_C (1) << 56, ERR_UNSUPPORTED,
      "seSparse volatile header: bytes after the known fields are not 0" },

    /* Regions: the bitmap is at 192, the grains at 208, the file ends at
     * sector 216.
     */
    { VOLATILE_HEADER, 0, ERR_CORRUPT,
      "seSparse header: volatile header at sector 0 with 1 sectors overlaps "
      "the header" },
    { VOLATILE_HEADER, 216, ERR_CORRUPT,
      "seSparse header: volatile header at sector 216 with 1 sectors ends "
      "beyond the end of the file, byte 110592" },
    { VOLATILE_HEADER + 8, 0, ERR_CORRUPT,
      "seSparse header: volatile header has 0 sectors" },
    { VOLATILE_HEADER, 3, ERR_CORRUPT,
      "seSparse header: volatile header at sector 3 and journal header at "
      "sector 2 overlap" },
    { VOLATILE_HEADER, UINT64_MAX, ERR_CORRUPT,
      "seSparse header: volatile header at sector 18446744073709551615 with "
      "1 sectors ends beyond sector 18014398509481983" },
    { JOURNAL_HEADER + 8, 3, ERR_CORRUPT,
      "seSparse header: journal header at sector 2 and journal at sector 4 "
      "overlap" },
    { JOURNAL + 8, 13, ERR_CORRUPT,
      "seSparse header: journal at sector 4 and grain directory at sector 16 "
      "overlap" },
    { DIRECTORY, 210, ERR_CORRUPT,
      "seSparse header: grain directory at sector 210 with 8 sectors ends "
      "beyond the end of the file, byte 110592" },
    { DIRECTORY + 8, 0, ERR_CORRUPT,
      "seSparse header: grain directory holds 0 entries, capacity 20000 "
      "needs 1" },
    { DIRECTORY + 8, UINT64_C (1) << 54, ERR_CORRUPT,
      "seSparse header: grain directory at sector 16 with 18014398509481984 "
      "sectors ends beyond sector 18014398509481983" },
    { TABLES + 8, 129, ERR_CORRUPT,
      "seSparse header: grain tables at sector 64 and free bitmap at sector "
      "192 overlap" },
    { FREE_BITMAP + 8, 9, ERR_CORRUPT,
      "seSparse header: free bitmap at sector 192 and back map at sector 200 "
      "overlap" },
    { BACK_MAP, 209, ERR_CORRUPT,
      "seSparse header: back map at sector 209 with 8 sectors ends beyond "
      "the end of the file, byte 110592" },
    { BACK_MAP + 8, 9, ERR_CORRUPT,
      "seSparse header: back map at sector 200 and grains at sector 208 "
      "overlap" },
    { GRAINS, 0, ERR_CORRUPT,
      "seSparse header: grains at sector 0 with 20000 sectors overlaps the "
      "header" },
    { GRAINS, 207, ERR_CORRUPT,
      "seSparse header: back map at sector 200 and grains at sector 207 "
      "overlap" },
    { GRAINS + 8, (UINT64_C (1) << 54) - 208, ERR_CORRUPT,
      "seSparse header: grains at sector 208 with 18014398509481776 sectors "
      "ends beyond sector 18014398509481983" },
    { GRAINS + 8, UINT64_MAX, ERR_CORRUPT,
      "seSparse header: grains at sector 208 with 18446744073709551615 "
      "sectors ends beyond sector 18014398509481983" },
  };
  struct layout base;
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  make_base (&base, &model, 20000);
  assert_int_equal (base.image.size, 216 * 512);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct image image = image_copy (&base.image);

    image_put64 (&image, cases[i].offset, cases[i].value);
    assert_refused (&f, extent_sesparse_open, &image, 20000, cases[i].kind,
                    cases[i].text);
    image_free (&image);
  }
  model_free (&model);
  image_free (&base.image);
  fixture_free (&f);
}

static void
test_header_accepted (void **state)
{
  static const struct {
    uint32_t offset;
    uint64_t value;
    const char *warning;
  } cases[] = {
    { CAPACITY, 20000, NULL },
    { CAPACITY, 20007, NULL },
    { CAPACITY, 20008,
      "x.vmdk: seSparse header: capacity 20008 is more than the extent line's "
      "20000 sectors: the line is used" },
    { CAPACITY, 512 * 32768,
      "x.vmdk: seSparse header: capacity 16777216 is more than the extent "
      "line's 20000 sectors: the line is used" },
    { V_FREE_TABLE, UINT64_MAX, NULL },
    { V_TRANSACTION, UINT64_MAX, NULL },
    { JOURNAL_HEADER + 8, 0, NULL }, /* an empty region lies nowhere */
    { JOURNAL + 8, 0, NULL },
    { TABLES + 8, 0, NULL },
    { TABLES + 8, 63, NULL },
    { DIRECTORY + 8, 1, NULL },
    { GRAINS + 8, 0, NULL },
    { GRAINS + 8, 8, NULL },
    { GRAINS + 8, (UINT64_C (1) << 54) - 1 - 208, NULL },
  };
  struct layout base;
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  make_base (&base, &model, 20000);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct image image = image_copy (&base.image);
    struct extent *extent;

    image_put64 (&image, cases[i].offset, cases[i].value);
    extent =
      assert_opens (&f, extent_sesparse_open, &image, 20000, cases[i].warning);
    assert_int_equal (extent->size, 20000 * 512);
    assert_int_equal (extent->grain_size, GRAIN);
    assert_true (extent->can_be_absent);
    extent_close (extent);
    image_free (&image);
  }
  model_free (&model);
  image_free (&base.image);
  fixture_free (&f);
}

static void
test_file_too_small (void **state)
{
  struct layout base;
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  make_base (&base, &model, 20000);
  base.image.size = 511;
  assert_refused (&f, extent_sesparse_open, &base.image, 20000, ERR_CORRUPT,
                  "file of 511 bytes is too small for a seSparse header of "
                  "512");
  base.image.size = 512;
  assert_refused (&f, extent_sesparse_open, &base.image, 20000, ERR_CORRUPT,
                  "seSparse header: volatile header at sector 1 with 1 "
                  "sectors ends beyond the end of the file, byte 512");
  base.image.size = 208 * 512 - 1;
  assert_refused (&f, extent_sesparse_open, &base.image, 20000, ERR_CORRUPT,
                  "seSparse header: back map at sector 200 with 8 sectors "
                  "ends beyond the end of the file, byte 106495");
  base.image.size = 208 * 512;
  extent_close (
    assert_opens (&f, extent_sesparse_open, &base.image, 20000, NULL));
  model_free (&model);
  image_free (&base.image);
  fixture_free (&f);
}

/* With the operator's word for it a dirty journal is only warned of. */
static void
test_accept_journal (void **state)
{
  struct layout base;
  struct model model;
  struct fixture f;
  struct extent *extent;

  (void) state;
  fixture_init (&f);
  make_base (&base, &model, 20000);
  image_put64 (&base.image, V_REPLAY, 1);
  f.rules.accept_journal = true;
  extent = assert_opens (
    &f, extent_sesparse_open, &base.image, 20000,
    "x.vmdk: seSparse extent has a dirty journal (replayJournal 1): what is "
    "read may be out of date or wrong");
  model_check (&model, extent);
  extent_close (extent);
  model_free (&model);
  image_free (&base.image);
  fixture_free (&f);
}

/* -- Entries ------------------------------------------------------------ */

static void
check_damage (struct fixture *f, const struct image *image,
              const struct model *model, uint64_t nr_sectors, uint64_t offset,
              const char *text)
{
  struct extent *extent =
    assert_opens (f, extent_sesparse_open, image, nr_sectors, NULL);
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

/* The numbers and what they look like in an entry. */
static void
test_entry_vectors (void **state)
{
  static const struct {
    uint64_t number, entry;
  } vectors[] = {
    { 0, UINT64_C (0x3000000000000000) },
    { 2, UINT64_C (0x3002000000000000) },
    { 0xfff, UINT64_C (0x3fff000000000000) },
    { 0x1000, UINT64_C (0x3000000000000001) },
    { 0x12345678, UINT64_C (0x3678000000012345) },
    { (UINT64_C (1) << 51) - 1, UINT64_C (0x3fff007fffffffff) },
  };
  struct layout l;
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
    const uint64_t number = vectors[i].number;
    char text[256];

    assert_int_equal (entry_of_number (number), vectors[i].entry);

    /* Small numbers are read; for the large ones the message names the sector
     * that the file would need.
     */
    model_init (&model, 20000, 8);
    layout_init (&l, 20000, 1);
    put_region (&l.image, GRAINS, l.grains_sector,
                (UINT64_C (1) << 54) - 1 - l.grains_sector);
    if (number <= 0x1000) {
      put_grain (&l, &model, 5, number);
      check_damage (&f, &l.image, &model, 20000, 0, NULL);
    }
    else {
      set_gte (&l, 5, vectors[i].entry);
      model.states[5] = RUN_DAMAGED;
      if (number < UINT64_C (1) << 40)
        snprintf (text, sizeof text,
                  "x.vmdk: grain 5 at sector %" PRIu64
                  " is cut off by the end of the file, byte %zu",
                  l.grains_sector + number * 8, l.image.size);
      else
        snprintf (text, sizeof text,
                  "x.vmdk: entry of grain 5 is 0x%016" PRIx64
                  ", number %" PRIu64 ", there is room for %" PRIu64,
                  vectors[i].entry, number,
                  ((UINT64_C (1) << 54) - 1 - l.grains_sector) / 8);
      check_damage (&f, &l.image, &model, 20000, 5 * GRAIN, text);
    }
    model_free (&model);
    image_free (&l.image);
  }
  fixture_free (&f);
}

/* Grain 1 gets all kinds of entries; grains 0 and 2 are DATA.  The region has
 * room for 3 numbers; the file ends with 0 to 2.
 */
static void
test_grain_entries (void **state)
{
  static const struct {
    uint64_t entry;
    enum run_state state;
    const char *text;
  } cases[] = {
    { 0, RUN_ABSENT, NULL },
    { UINT64_C (0x1000000000000000), RUN_ZERO, NULL },
    { UINT64_C (0x1002000000000000), RUN_ZERO, NULL },
    { UINT64_C (0x1fffffffffffffff), RUN_ZERO, NULL },
    { UINT64_C (0x2000000000000000), RUN_ZERO, NULL },
    { UINT64_C (0x2fffffffffffffff), RUN_ZERO, NULL },
    { UINT64_C (0x3002000000000000), RUN_DATA, NULL },
    { 1, RUN_DAMAGED,
      "x.vmdk: entry of grain 1 is 0x0000000000000001, of no known kind" },
    { UINT64_C (0x0001000000000000), RUN_DAMAGED,
      "x.vmdk: entry of grain 1 is 0x0001000000000000, of no known kind" },
    { UINT64_C (0x4000000000000000), RUN_DAMAGED,
      "x.vmdk: entry of grain 1 is 0x4000000000000000, of no known kind" },
    { UINT64_MAX, RUN_DAMAGED,
      "x.vmdk: entry of grain 1 is 0xffffffffffffffff, of no known kind" },
    { UINT64_C (0x3003000000000000), RUN_DAMAGED,
      "x.vmdk: entry of grain 1 is 0x3003000000000000, number 3, there is "
      "room for 3" },
    { UINT64_C (0x3000800000000000), RUN_DAMAGED,
      "x.vmdk: entry of grain 1 is 0x3000800000000000, number "
      "576460752303423488, there is room for 3" },
    { UINT64_C (0x3fffffffffffffff), RUN_DAMAGED,
      "x.vmdk: entry of grain 1 is 0x3fffffffffffffff, number "
      "1152921504606846975, there is room for 3" },
  };
  struct layout l;
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  make_base (&l, &model, 20000);
  put_grain (&l, &model, 2, 1);
  put_grain (&l, &model, 1, 2);
  put_region (&l.image, GRAINS, l.grains_sector, 3 * 8 + 7);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    set_gte (&l, 1, cases[i].entry);
    model.states[1] = cases[i].state;
    check_damage (&f, &l.image, &model, 20000, GRAIN, cases[i].text);
  }
  model_free (&model);
  image_free (&l.image);
  fixture_free (&f);
}

static void
test_directory_entries (void **state)
{
  static const struct {
    uint64_t entry;
    const char *text;
  } cases[] = {
    { UINT64_C (0x1000000000000001), NULL },
    { 1, "x.vmdk: grain directory entry 1 is 0x0000000000000001, which names "
         "no table" },
    { UINT64_C (0x2000000000000000),
      "x.vmdk: grain directory entry 1 is 0x2000000000000000, which names no "
      "table" },
    { UINT64_C (0x1000000100000000),
      "x.vmdk: grain directory entry 1 is 0x1000000100000000, which names no "
      "table" },
    { UINT64_C (0x1000000000000002),
      "x.vmdk: grain directory entry 1 names table 2, there is room for 2" },
    { UINT64_C (0x10000000ffffffff),
      "x.vmdk: grain directory entry 1 names table 4294967295, there is room "
      "for 2" },
  };
  const uint64_t nr_sectors = ENTRIES * 8 + 100;
  struct layout l;
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  make_base (&l, &model, nr_sectors);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    set_gde (&l.image, 1, cases[i].entry);
    for (uint64_t g = ENTRIES; g < model_nr_grains (&model); g++)
      model.states[g] = cases[i].text ? RUN_DAMAGED : RUN_ABSENT;
    check_damage (&f, &l.image, &model, nr_sectors, (uint64_t) ENTRIES * GRAIN,
                  cases[i].text);
  }
  model_free (&model);
  image_free (&l.image);
  fixture_free (&f);
}

/* A region of tables whose length is no multiple of a table has room for the
 * whole ones only.
 */
static void
test_part_of_a_table (void **state)
{
  struct layout l;
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  make_base (&l, &model, 20000);
  put_region (&l.image, TABLES, TABLES_SECTOR, 2 * TABLE_SECTORS - 1);
  set_gde (&l.image, 0, UINT64_C (0x1000000000000001));
  for (uint64_t g = 0; g < model_nr_grains (&model); g++)
    model.states[g] = RUN_DAMAGED;
  check_damage (&f, &l.image, &model, 20000, 0,
                "x.vmdk: grain directory entry 0 names table 1, there is "
                "room for 1");
  model_free (&model);
  image_free (&l.image);
  fixture_free (&f);
}

/* The file may end inside the region of grains: what is cut off is damaged,
 * and of the last grain only the extent's part is needed.
 */
static void
test_end_of_file (void **state)
{
  const uint64_t nr_sectors = 8 * 10 + 3;
  struct layout l;
  struct model model;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  make_base (&l, &model, nr_sectors);
  put_grain (&l, &model, 10, 1);
  check_damage (&f, &l.image, &model, nr_sectors, 0, NULL);
  l.image.size = (208 + 8 + 3) * 512;
  check_damage (&f, &l.image, &model, nr_sectors, 0, NULL);
  l.image.size--;
  model.states[10] = RUN_DAMAGED;
  check_damage (&f, &l.image, &model, nr_sectors, 10 * GRAIN,
                "x.vmdk: grain 10 at sector 216 is cut off by the end of the "
                "file, byte 112127");

  set_gte (&l, 10, 0);
  model.states[10] = RUN_ABSENT;
  l.image.size = (208 + 8) * 512 - 1;
  model.states[0] = RUN_DAMAGED;
  check_damage (&f, &l.image, &model, nr_sectors, 0,
                "x.vmdk: grain 0 at sector 208 is cut off by the end of the "
                "file, byte 110591");
  model_free (&model);
  image_free (&l.image);
  fixture_free (&f);
}

/* The largest extent there can be, empty: opening and asking costs little. */
static void
test_largest (void **state)
{
  const uint64_t nr_sectors = UINT64_C (1) << 37;
  struct layout l;
  struct fixture f;
  struct extent *extent;
  struct run run;

  (void) state;
  fixture_init (&f);
  layout_init (&l, nr_sectors, 1);
  put_region (&l.image, DIRECTORY, 256, 65536);
  put_region (&l.image, GRAINS, 256 + 65536, nr_sectors);
  image_grow (&l.image, (256 + 65536) * 512);
  extent = assert_opens (&f, extent_sesparse_open, &l.image, nr_sectors, NULL);
  assert_int_equal (
    extent_map (extent, 0, extent->size, MAP_STATE, &run, &f.err), 0);
  assert_int_equal (run.state, RUN_ABSENT);
  assert_int_equal (run.length, nr_sectors * 512);
  extent_close (extent);
  image_free (&l.image);
  fixture_free (&f);
}

/* -- Random images ------------------------------------------------------ */

static void
test_random (void **state)
{
  struct fixture f;

  (void) state;
  fixture_init (&f);
  for (uint64_t seed = 1; seed <= 10; seed++) {
    const uint64_t nr_sectors = 90000 + seed;
    struct layout l;
    struct model model;
    struct extent *extent;

    print_message ("seed %u\n", (unsigned) seed);
    random_image (seed, &l, &model, nr_sectors);
    extent =
      assert_opens (&f, extent_sesparse_open, &l.image, nr_sectors, NULL);
    model_check (&model, extent);
    extent_close (extent);
    model_free (&model);
    image_free (&l.image);
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
    cmocka_unit_test (test_accept_journal),
    cmocka_unit_test (test_entry_vectors),
    cmocka_unit_test (test_grain_entries),
    cmocka_unit_test (test_directory_entries),
    cmocka_unit_test (test_part_of_a_table),
    cmocka_unit_test (test_end_of_file),
    cmocka_unit_test (test_largest),
    cmocka_unit_test (test_random),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
