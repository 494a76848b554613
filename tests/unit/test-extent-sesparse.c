/* SPDX-License-Identifier: BSD-3-Clause */

/* seSparse extents: every field of both headers, the regions, the entries
 * with their rotated numbers, random images against a model; and overwriting
 * what is allocated, and nothing else.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "extent-helper.h"
#include "store.h"

#define ENTRIES 4096
#define GRAIN 4096 /* bytes */
#define TABLE_SECTORS 64
#define DATA_ENTRY (UINT64_C (3) << 60)

/* Fields of the constant header. */
enum {
  MAGIC = 0,
  VERSION = 8,
  CAPACITY = 16,
  GRAIN_SIZE = 24,
  TABLE_SIZE = 32,
  FLAGS = 40,
  RESERVED = 48,
  VOLATILE_HEADER = 80,
  JOURNAL_HEADER = 96,
  JOURNAL = 112,
  DIRECTORY = 128,
  TABLES = 144,
  FREE_BITMAP = 160,
  BACK_MAP = 176,
  GRAINS = 192,
  PAD = 208,
};

/* Fields of the volatile header, in the file. */
enum {
  V_MAGIC = 512,
  V_FREE_TABLE = 512 + 8,
  V_TRANSACTION = 512 + 16,
  V_REPLAY = 512 + 24,
  V_PAD = 512 + 32,
};

/* A small layout: the volatile header at sector 1, journal header 2-3, journal
 * 4-11, directory 16-23 (512 entries), NR_TABLES tables from 64 on, bitmap
 * and back map of 8 sectors each, grains.
 */
#define DIRECTORY_SECTOR 16
#define TABLES_SECTOR 64

struct layout {
  struct image image;
  uint64_t nr_tables, next_table, grains_sector, next_number;
};

static void
put_region (struct image *image, size_t field, uint64_t start, uint64_t length)
{
  image_put64 (image, field, start);
  image_put64 (image, field + 8, length);
}

static void
layout_init (struct layout *l, uint64_t nr_sectors, uint64_t nr_tables)
{
  const uint64_t bitmap = TABLES_SECTOR + nr_tables * TABLE_SECTORS;

  *l = (struct layout){ .nr_tables = nr_tables, .grains_sector = bitmap + 16 };
  image_put64 (&l->image, MAGIC, 0xcafebabe);
  image_put64 (&l->image, VERSION, UINT64_C (0x200000001));
  image_put64 (&l->image, CAPACITY, nr_sectors);
  image_put64 (&l->image, GRAIN_SIZE, 8);
  image_put64 (&l->image, TABLE_SIZE, TABLE_SECTORS);
  put_region (&l->image, VOLATILE_HEADER, 1, 1);
  put_region (&l->image, JOURNAL_HEADER, 2, 2);
  put_region (&l->image, JOURNAL, 4, 8);
  put_region (&l->image, DIRECTORY, DIRECTORY_SECTOR, 8);
  put_region (&l->image, TABLES, TABLES_SECTOR, nr_tables * TABLE_SECTORS);
  put_region (&l->image, FREE_BITMAP, bitmap, 8);
  put_region (&l->image, BACK_MAP, bitmap + 8, 8);
  put_region (&l->image, GRAINS, l->grains_sector, nr_sectors);
  image_put64 (&l->image, V_MAGIC, 0xcafecafe);
  image_put64 (&l->image, V_FREE_TABLE, 7);
  image_put64 (&l->image, V_TRANSACTION, 99);
  image_grow (&l->image, l->grains_sector * 512);
}

static void
set_gde (struct image *image, uint64_t table, uint64_t entry)
{
  image_put64 (image, DIRECTORY_SECTOR * 512 + table * 8, entry);
}

/* Where the entry of GRAIN is in the file; its table gets the next place if it
 * has none.
 */
static size_t
place_of_gte (struct layout *l, uint64_t grain)
{
  const size_t gde = DIRECTORY_SECTOR * 512 + grain / ENTRIES * 8;
  uint64_t number;

  if (le64_load (l->image.bytes + gde) == 0) {
    assert_in_range (l->next_table, 0, l->nr_tables - 1);
    set_gde (&l->image, grain / ENTRIES,
             UINT64_C (0x10000000) << 32 | l->next_table++);
  }
  number = le64_load (l->image.bytes + gde) & 0xffffffff;
  return (TABLES_SECTOR + number * TABLE_SECTORS) * 512 + grain % ENTRIES * 8;
}

static void
set_gte (struct layout *l, uint64_t grain, uint64_t entry)
{
  image_put64 (&l->image, place_of_gte (l, grain), entry);
}

static uint64_t
entry_of_number (uint64_t number)
{
  return DATA_ENTRY | (number & 0xfff) << 48 | number >> 12;
}

/* Put a grain's bytes at NUMBER and name it. */
static void
put_grain (struct layout *l, struct model *model, uint64_t grain,
           uint64_t number)
{
  const size_t offset = l->grains_sector * 512 + number * GRAIN;

  image_grow (&l->image, offset + GRAIN);
  memcpy (l->image.bytes + offset, model_fill (model, grain), GRAIN);
  set_gte (l, grain, entry_of_number (number));
}

/* 20000 sectors, two tables of room; grain 0 is DATA with number 0. */
static void
make_base (struct layout *l, struct model *model, uint64_t nr_sectors)
{
  model_init (model, nr_sectors, 8);
  layout_init (l, nr_sectors, 2);
  put_grain (l, model, 0, 0);
}

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

/* Tables and grains in the order of their first use. */
static void
random_image (uint64_t seed, struct layout *l, struct model *model,
              uint64_t nr_sectors)
{
  uint64_t r = seed * 77;
  uint64_t grain = 0;

  model_init (model, nr_sectors, 8);
  layout_init (l, nr_sectors, div_round_up (nr_sectors, ENTRIES * 8));
  while (l->next_number < 400) {
    const uint64_t kind = random_next (&r) % 16;

    if (kind == 0)
      grain = random_next (&r) % model_nr_grains (model);
    if (++grain >= model_nr_grains (model))
      grain = 0;
    if (model->states[grain] != RUN_ABSENT)
      continue;
    switch (kind) {
    case 1:
    case 2: /* unmapped, zero */
      set_gte (l, grain, kind << 60 | random_next (&r) >> 8);
      model->states[grain] = RUN_ZERO;
      break;
    case 3:
      set_gte (l, grain, (4 + random_next (&r) % 12) << 60);
      model->states[grain] = RUN_DAMAGED;
      break;
    case 4: /* left out */
      break;
    default:
      put_grain (l, model, grain, l->next_number++);
    }
  }
}

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

/* -- Overwriting -------------------------------------------------------- */

/* An extent that is written, in a file of its own. */
struct written {
  struct store *store;
  struct extent *extent;
};

static void
written_open (struct fixture *f, struct written *w, const struct image *image,
              uint64_t nr_sectors, bool single)
{
  const struct extent_line line = {
    .access = ACCESS_RW,
    .nr_sectors = nr_sectors,
    .name = "x.vmdk",
  };
  struct extent_source source = {
    .rules = &f->rules,
    .line = &line,
    .single = single,
    .has_parent = true,
    .writable = true,
  };

  w->store = store_memory_new ("folder", &f->err);
  assert_non_null (w->store);
  assert_int_equal (
    store_memory_add (w->store, "x.vmdk", image->bytes, image->size, &f->err),
    0);
  source.media =
    store_open (w->store, "x.vmdk", STORE_FROM_FILE | STORE_WRITABLE, &f->err);
  assert_non_null (source.media);
  w->extent = extent_sesparse_open (&source, &f->err);
}

static void
written_close (struct written *w)
{
  extent_close (w->extent);
  store_close (w->store);
}

/* The file holds IMAGE, to the byte. */
static void
written_check (const struct written *w, const struct image *image)
{
  struct image now = { 0 };
  struct vmdk_error err;

  assert_int_equal (w->extent->media->size, image->size);
  image_grow (&now, image->size);
  assert_int_equal (
    media_pread (w->extent->media, now.bytes, now.size, 0, &err), 0);
  assert_memory_equal (now.bytes, image->bytes, image->size);
  image_free (&now);
}

static void
test_not_writable (void **state)
{
  static const struct {
    bool no_consent, dirty, several;
    uint64_t entry; /* of grain 1; its number 1 is in the file */
    uint64_t gde;   /* of table 1 */
    const char *text;
  } cases[] = {
    { .no_consent = true,
      .text = "seSparse extents cannot be written: write to an overlay=, or "
              "pass write-sesparse=true to overwrite what is allocated" },
    { .dirty = true,
      .text = "seSparse extent cannot be written: it has a dirty journal "
              "(replayJournal 1): write to an overlay=" },
    { .several = true,
      .text = "seSparse extent cannot be written: it is one of several: write "
              "to an overlay=" },
    { .entry = UINT64_C (0x3000000000000000),
      .text = "cannot be written: grain 1 shares its place, byte 106496, with "
              "another: write to an overlay=" },
    { .gde = UINT64_C (0x1000000000000000), /* table 0's */
      .text = "cannot be written: grain table 1 shares its place, byte 32768, "
              "with another: write to an overlay=" },
    { .entry = UINT64_C (0x4000000000000000),
      .text = "cannot be written, because it is damaged: x.vmdk: entry of "
              "grain 1 is 0x4000000000000000, of no known kind" },
    { .gde = 1,
      .text =
        "cannot be written, because it is damaged: grain directory entry "
        "1 is 0x0000000000000001, which names no table" },
    { .entry = UINT64_C (0x1000000000000000) },
    { .entry = UINT64_C (0x3001000000000000) },
  };
  const uint64_t nr_sectors = ENTRIES * 8 + 100;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct layout l;
    struct model model;
    struct written w;

    make_base (&l, &model, nr_sectors);
    put_grain (&l, &model, 1, 1);
    if (cases[i].entry)
      set_gte (&l, 1, cases[i].entry);
    if (cases[i].gde)
      set_gde (&l.image, 1, cases[i].gde);
    image_put64 (&l.image, V_REPLAY, cases[i].dirty);
    f.rules.write_sesparse = !cases[i].no_consent;
    f.rules.accept_journal = true;
    written_open (&f, &w, &l.image, nr_sectors, !cases[i].several);
    if (cases[i].text) {
      assert_null (w.extent);
      assert_error (&f.err, ERR_READ_ONLY, cases[i].text);
    }
    else
      assert_non_null (w.extent);
    written_close (&w);
    model_free (&model);
    image_free (&l.image);
  }
  fixture_free (&f);
}

/* A file in which a bit for each grain would take too much memory. */
static void
test_too_large_to_check (void **state)
{
  struct layout l;
  struct model model;
  struct fixture f;
  struct written w;
  struct extent_line line = { .access = ACCESS_RW,
                              .nr_sectors = 20000,
                              .name = "x.vmdk" };
  struct extent_source source = { .line = &line, .single = true };
  struct media_ops ops;

  (void) state;
  fixture_init (&f);
  f.rules.write_sesparse = true;
  make_base (&l, &model, 20000);
  source.rules = &f.rules;
  written_open (&f, &w, &l.image, 20000, true);
  assert_non_null (w.extent);

  /* The same bytes, and a size that nobody would believe. */
  source.media = store_open (w.store, "x.vmdk", STORE_WRITABLE, &f.err);
  assert_non_null (source.media);
  ops = *source.media->ops;
  ops.map = NULL;
  source.media->ops = &ops;
  source.media->size = (UINT64_C (1) << 41) + 4096;
  source.writable = true;
  assert_null (extent_sesparse_open (&source, &f.err));
  assert_error (&f.err, ERR_READ_ONLY,
                "cannot be written: the file has 2199023259648 bytes, and "
                "only of 2199023255552 can it be checked whether grains share "
                "places: write to an overlay=");
  written_close (&w);
  model_free (&model);
  image_free (&l.image);
  fixture_free (&f);
}

enum request { WRITE, ZERO };

static int
no_bytes_below (void *opaque, void *buf, size_t count, uint64_t offset,
                struct vmdk_error *err)
{
  (void) opaque, (void) buf, (void) count, (void) offset;
  return fail (err, ERR_SYSTEM, "nobody needs the parent here");
}

static const struct below no_parent, parent = { .read = no_bytes_below };

static int
do_request (struct written *w, enum request request, const uint8_t *buf,
            uint64_t count, uint64_t offset, unsigned flags,
            const struct below *below, struct vmdk_error *err)
{
  return request == WRITE
           ? extent_write (w->extent, buf, count, offset, below, err)
           : extent_zero (w->extent, count, offset, flags, below, err);
}

#define NOT_ALLOCATED(grain)                                             \
  "x.vmdk: grain " grain " is not allocated, and only allocated grains " \
  "of this format can be overwritten: write to an overlay="

/* Grains: 0 and 1 DATA, the other way round in the file; 2 zeros; 3 unmapped,
 * which still has its number; 4 absent; 5 DATA; 6 and so on absent; the last
 * is DATA and only partly inside the extent and the file.
 */
static void
test_overwrite (void **state)
{
  static const struct {
    enum request request;
    uint64_t offset, count;
    unsigned flags;
    bool is_base; /* there is no parent */
    const char *text;
    enum vmdk_error_kind kind;
  } cases[] = {
    { WRITE, 0, 1, 0, false, NULL, 0 },
    { WRITE, 100, 2 * GRAIN - 100, 0, false, NULL, 0 },
    { WRITE, 5 * GRAIN, GRAIN, 0, false, NULL, 0 },
    { WRITE, 10 * GRAIN, 3 * 512, 0, false, NULL, 0 },
    { WRITE, 10 * GRAIN + 3 * 512 - 1, 1, 0, false, NULL, 0 },
    { WRITE, 2 * GRAIN - 1, 2, 0, false, NOT_ALLOCATED ("2"), ERR_READ_ONLY },
    { WRITE, 3 * GRAIN, 1, 0, false, NOT_ALLOCATED ("3"), ERR_READ_ONLY },
    { WRITE, 4 * GRAIN, 1, 0, false, NOT_ALLOCATED ("4"), ERR_READ_ONLY },
    { WRITE, 4 * GRAIN, 1, 0, true, NOT_ALLOCATED ("4"), ERR_READ_ONLY },
    { WRITE, 0, 7 * GRAIN, 0, false, NOT_ALLOCATED ("2"), ERR_READ_ONLY },
    { WRITE, 5 * GRAIN, GRAIN + 1, 0, false, NOT_ALLOCATED ("6"),
      ERR_READ_ONLY },
    { ZERO, 0, 1, 0, false, NULL, 0 },
    { ZERO, 100, 3 * GRAIN, 0, false, NULL, 0 },
    { ZERO, 0, 4 * GRAIN, ZERO_MAY_FREE, false, NULL, 0 },
    { ZERO, 2 * GRAIN, 2 * GRAIN, ZERO_FAST, false, NULL, 0 },
    { ZERO, 2 * GRAIN - 1, 2 * GRAIN, ZERO_FAST, false,
      "zeros would have to be written", ERR_UNSUPPORTED },
    { ZERO, 0, 4 * GRAIN + 1, 0, false, NOT_ALLOCATED ("4"), ERR_READ_ONLY },
    { ZERO, 0, 10 * GRAIN + 3 * 512, 0, true, NULL, 0 },
    { ZERO, 0, 10 * GRAIN + 3 * 512, ZERO_ADVICE | ZERO_MAY_FREE, false, NULL,
      0 },
    { ZERO, 4 * GRAIN, 2 * GRAIN, ZERO_ADVICE | ZERO_MAY_FREE, false, NULL,
      0 },
  };
  static const uint64_t places[11] = { 1, 0, 0, 0, 0, 3, [10] = 4 };
  static const bool is_data[11] = {
    [0] = true, true, [5] = true, [10] = true
  };
  const uint64_t nr_sectors = 8 * 10 + 3;
  static uint8_t buf[16 * GRAIN];
  struct fixture f;

  (void) state;
  fixture_init (&f);
  f.rules.write_sesparse = true;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct layout l;
    struct model model;
    struct written w;
    int r;

    model_init (&model, nr_sectors, 8);
    layout_init (&l, nr_sectors, 1);
    for (uint64_t g = 0; g <= 10; g++)
      if (is_data[g])
        put_grain (&l, &model, g, places[g]);
    set_gte (&l, 2, UINT64_C (0x2000000000000000));
    set_gte (&l, 3, UINT64_C (0x1002000000000000));
    l.image.size -= GRAIN - 3 * 512;
    memset (buf, 'w', sizeof buf);
    written_open (&f, &w, &l.image, nr_sectors, true);
    assert_non_null (w.extent);
    r = do_request (&w, cases[i].request, buf, cases[i].count, cases[i].offset,
                    cases[i].flags, cases[i].is_base ? &no_parent : &parent,
                    &f.err);
    if (cases[i].text) {
      assert_int_equal (r, -1);
      assert_error (&f.err, cases[i].kind, cases[i].text);
    }
    else if (r == -1) {
      print_error ("%s\n", f.err.text);
      assert_int_equal (r, 0);
    }
    for (uint64_t b = 0; r == 0 && b < cases[i].count; b++) {
      const uint64_t at = cases[i].offset + b, g = at / GRAIN;

      if (is_data[g] && !(cases[i].flags & ZERO_ADVICE))
        l.image.bytes[l.grains_sector * 512 + places[g] * GRAIN + at % GRAIN] =
          cases[i].request == WRITE ? 'w' : 0;
    }
    written_check (&w, &l.image);
    written_close (&w);
    model_free (&model);
    image_free (&l.image);
  }
  fixture_free (&f);
}

/* Whether all of the range is DATA, or (ZEROS) zeros are there otherwise. */
static bool
model_allows (const struct model *model, uint64_t offset, uint64_t count,
              bool zeros)
{
  for (uint64_t at = offset; at < offset + count; at++) {
    const enum run_state s = model_state (model, at);

    if (s != RUN_DATA && !(zeros && s == RUN_ZERO))
      return false;
  }
  return true;
}

/* Seldom an absent one. */
static uint64_t
random_grain (uint64_t *r, const struct model *model)
{
  uint64_t grain;

  do
    grain = random_next (r) % model_nr_grains (model);
  while (model->states[grain] == RUN_ABSENT && random_next (r) % 64);
  return grain;
}

/* After any requests the file differs from what it was in the bytes of
 * grains only; what was refused has changed nothing.
 */
static void
test_overwrite_random (void **state)
{
  const uint64_t nr_sectors = 3 * ENTRIES * 8 - 77;
  static uint8_t buf[16 * GRAIN];
  unsigned nr_done = 0, nr_refused = 0;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  f.rules.write_sesparse = true;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    uint64_t r = seed * 13;
    struct layout l;
    struct model model;
    struct written w;

    print_message ("seed %u\n", (unsigned) seed);
    random_image (seed, &l, &model, nr_sectors);
    for (uint64_t g = 0; g < model_nr_grains (&model); g++)
      if (model.states[g] == RUN_DAMAGED) {
        set_gte (&l, g, 0);
        model.states[g] = RUN_ABSENT;
      }
    written_open (&f, &w, &l.image, nr_sectors, true);
    assert_non_null (w.extent);
    for (unsigned i = 0; i < 3000; i++) {
      const enum request request = random_next (&r) % 3 ? WRITE : ZERO;
      const uint64_t grain = random_grain (&r, &model);
      const uint64_t offset =
        min_u64 (grain * GRAIN + random_next (&r) % GRAIN, model.size - 1);
      const uint64_t count =
        min_u64 (1 + random_next (&r) % (random_next (&r) % 2 ? 900 : 20000),
                 model.size - offset);
      const bool allowed =
        model_allows (&model, offset, count, request == ZERO);

      memset (buf, (int) (i % 250 + 1), count);
      assert_int_equal (
        do_request (&w, request, buf, count, offset, 0, &parent, &f.err),
        allowed ? 0 : -1);
      allowed ? nr_done++ : nr_refused++;
      for (uint64_t at = offset; allowed && at < offset + count; at++)
        if (model_state (&model, at) == RUN_DATA)
          model.bytes[at] = request == ZERO ? 0 : buf[0];
    }
    model_check (&model, w.extent);
    /* Up to the grains nothing has changed. */
    l.image.size = l.grains_sector * 512;
    {
      struct image now = { 0 };

      image_grow (&now, l.image.size);
      assert_int_equal (
        media_pread (w.extent->media, now.bytes, now.size, 0, &f.err), 0);
      assert_memory_equal (now.bytes, l.image.bytes, now.size);
      image_free (&now);
    }
    written_close (&w);
    model_free (&model);
    image_free (&l.image);
  }
  print_message ("%u requests, %u refused\n", nr_done, nr_refused);
  assert_true (nr_done > 1000 && nr_refused > 1000);
  fixture_free (&f);
}

static unsigned nr_flushes;
static bool flush_fails;

static int
counted_flush (struct media *media, struct vmdk_error *err)
{
  (void) media;
  nr_flushes++;
  return flush_fails ? fail_errno (err, EIO, "flush") : 0;
}

/* The medium is flushed when something was written, again after a failure,
 * and not for what was refused.
 */
static void
test_overwrite_flush (void **state)
{
  struct layout l;
  struct model model;
  struct fixture f;
  struct written w;
  struct media_ops ops;

  (void) state;
  fixture_init (&f);
  f.rules.write_sesparse = true;
  make_base (&l, &model, 20000);
  written_open (&f, &w, &l.image, 20000, true);
  assert_non_null (w.extent);
  ops = *w.extent->media->ops;
  ops.flush = counted_flush;
  w.extent->media->ops = &ops;
  nr_flushes = 0;

  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), 0);
  assert_int_equal (extent_write (w.extent, "w", 1, GRAIN, &parent, &f.err),
                    -1);
  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), 0);
  assert_int_equal (nr_flushes, 0);
  assert_int_equal (extent_write (w.extent, "w", 1, 0, &parent, &f.err), 0);
  flush_fails = true;
  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), -1);
  flush_fails = false;
  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), 0);
  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), 0);
  assert_int_equal (nr_flushes, 2);
  assert_int_equal (extent_zero (w.extent, 1, 0, 0, &parent, &f.err), 0);
  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), 0);
  assert_int_equal (nr_flushes, 3);
  written_close (&w);
  model_free (&model);
  image_free (&l.image);
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
    cmocka_unit_test (test_not_writable),
    cmocka_unit_test (test_too_large_to_check),
    cmocka_unit_test (test_overwrite),
    cmocka_unit_test (test_overwrite_random),
    cmocka_unit_test (test_overwrite_flush),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
