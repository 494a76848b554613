/* SPDX-License-Identifier: BSD-3-Clause */

/* The check of disks of other formats: what we write is clean; COWD, seSparse
 * and streams, damaged and mended.
 */

#include <config.h>

#include "extent-helper.h"
#include "check-helper.h"

#include "create.h"

static void
make_disk (struct bench *b, const char *name, enum disk_type type,
           uint64_t grain_size)
{
  const struct create_rules rules = {
    .type = type,
    .size = 1000 * 4096,
    .grain_size = grain_size,
  };
  struct chain_rules how = b->operation.rules;
  uint8_t bytes[65536];
  struct disk *disk;

  assert_int_equal (disk_create (b->store, name, &rules, &b->err), 0);
  how.writable = true;
  disk = disk_open (b->store, name, STORE_FROM_USER, &how, &b->err);
  assert_non_null (disk);
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t) (i * i >> 5);
  for (uint64_t i = 0; i < 7; i++)
    assert_int_equal (
      disk_write (disk, bytes, sizeof bytes, (i * 9 % 61) * 65536, &b->err),
      0);
  assert_int_equal (disk_finish (disk, &b->err), 0);
  disk_close (disk);
}

/* What we write is clean, by whatever type. */
static void
test_own_disks (void **state)
{
  (void) state;
  for (int type = DISK_MONOLITHIC_SPARSE; type <= DISK_STREAM_OPTIMIZED;
       type++) {
    struct bench b;

    print_message ("%s\n", disk_type_name ((enum disk_type) type));
    bench_init (&b);
    make_disk (&b, "a.vmdk", (enum disk_type) type, 0);
    b.options.data = true;
    bench_check (&b, "a.vmdk", NULL);
    bench_free (&b);
  }
}

static void
test_cowd (void **state)
{
  struct bench b;
  struct image image;
  uint32_t free_sector, table;
  char text[200];

  (void) state;
  bench_init (&b);
  make_disk (&b, "a.vmdk", DISK_VMFS_SPARSE, 0);
  image = bench_get (&b, "a-delta.vmdk");
  free_sector = le32_load (image.bytes + 28);
  table = le32_load (image.bytes + 4 * 512);

  bench_poke32 (&b, "a-delta.vmdk", 28, free_sector - 3);
  snprintf (text, sizeof text,
            "error~ header 28: freeSector is %u, and has to be from %u, the "
            "end of what is used, to %u, the end of the file",
            free_sector - 3, free_sector, free_sector);
  bench_check (&b, "a.vmdk", FINDINGS (text));
  b.options.repair = true;
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  b.options.repair = false;
  bench_check (&b, "a.vmdk", NULL);

  bench_poke32 (&b, "a-delta.vmdk", table * 512, 3);
  snprintf (text, sizeof text,
            "error- table-entry %u: grain 0 at sector 3 lies before the end "
            "of the grain directory, sector 5",
            table * 512);
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  assert_string_equal (b.found[0], text);
  image_free (&image);
  bench_free (&b);
}

/* -- seSparse ----------------------------------------------------------- */

/* 40000 sectors, two tables: the volatile header at sector 1, the directory
 * at 16, tables from 64 on, grains (8 sectors) from 208 on.
 */
#define SE_TABLE(nr) ((64 + (nr) *64) * 512)
#define SE_NOTE                                                               \
  "note- not-checked: the journal, the free bitmap and the back map are not " \
  "checked: their formats are not known"

static void
make_sesparse (struct image *image)
{
  static const uint64_t regions[] = { 1,  1,   2,   2, 4,   8, 16,  8,
                                      64, 128, 192, 8, 200, 8, 208, 40000 };
  static const uint8_t grains[3 * 4096] = { 1 };

  image_put64 (image, 0, 0xcafebabe);
  image_put64 (image, 8, UINT64_C (0x200000001));
  image_put64 (image, 16, 40000);
  image_put64 (image, 24, 8);
  image_put64 (image, 32, 64);
  for (size_t i = 0; i < sizeof regions / sizeof regions[0]; i++)
    image_put64 (image, 80 + i * 8, regions[i]);
  image_put64 (image, 512, 0xcafecafe);
  image_put64 (image, 16 * 512, UINT64_C (0x1000000000000000));
  image_put64 (image, 16 * 512 + 8, UINT64_C (0x1000000000000001));
  image_put64 (image, SE_TABLE (0), UINT64_C (0x3000000000000000));
  image_put64 (image, SE_TABLE (0) + 8, UINT64_C (0x3001000000000000));
  image_put64 (image, SE_TABLE (1), UINT64_C (0x3002000000000000));
  image_grow (image, 208 * 512 + sizeof grains);
  memcpy (image->bytes + 208 * 512, grains, sizeof grains);
}

static void
test_sesparse (void **state)
{
  static const struct {
    size_t offset;
    uint64_t value;
    const char *findings[6];
  } cases[] = {
    { 0, 0xcafebabe, { SE_NOTE } },
    { SE_TABLE (0) + 8,
      UINT64_C (0x3000000000000000),
      { "error- shared-grain 106496: grains 0 and 1 share their room, at "
        "sector 208: one of them has lost its bytes; copy the disk with "
        "vmdkit convert, and look at both",
        SE_NOTE } },
    { SE_TABLE (1),
      UINT64_C (0x3003000000000000),
      { "error- table-entry 65536: grain 4096 at sector 232 is cut off by the "
        "end of the file, byte 118784",
        SE_NOTE } },
    { 16 * 512 + 8,
      UINT64_C (0x1000000000000000),
      { "error- shared-table 32768: grain table 1 at sector 64 shares its "
        "room with another table",
        "error- shared-grain 106496: grains 0 and 4096 share their room, at "
        "sector 208: one of them has lost its bytes; copy the disk with "
        "vmdkit convert, and look at both",
        "error- shared-grain 110592: grains 1 and 4097 share their room, at "
        "sector 216: one of them has lost its bytes; copy the disk with "
        "vmdkit convert, and look at both",
        SE_NOTE } },
    { 512 + 24,
      1,
      { "error- unclean: the journal was not replayed: tables and data may be "
        "out of date; open the disk once on ESXi, or clone it there",
        SE_NOTE } },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct image image = { 0 };
    struct bench b;

    make_sesparse (&image);
    image_put64 (&image, cases[i].offset, cases[i].value);
    bench_init (&b);
    bench_put (&b, "a-sesparse.vmdk", &image);
    bench_put_text (&b, "a.vmdk",
                    "# Disk DescriptorFile\nversion=1\nCID=11111111\n"
                    "parentCID=ffffffff\ncreateType=\"seSparse\"\n"
                    "RW 40000 SESPARSE \"a-sesparse.vmdk\"\n");
    bench_check (&b, "a.vmdk", cases[i].findings);

    /* Nothing of it is ever mended. */
    b.options.repair = true;
    assert_int_equal (bench_try (&b, "a.vmdk"), 0);
    assert_int_equal (b.result.nr_mendable, 0);
    assert_null (b.result.backup);
    image_free (&image);
    bench_free (&b);
  }
}

/* -- Streams ------------------------------------------------------------ */

/* Where the grain that starts at LBA is stored. */
static uint64_t
find_grain (const struct image *image, uint64_t lba)
{
  for (uint64_t at = 512; at < image->size; at += 512)
    if (le64_load (image->bytes + at) == lba && image->bytes[at + 12] == 0x78
        && le32_load (image->bytes + at + 8) > 0)
      return at;
  assert_true (false);
  return 0;
}

static void
test_stream_damage (void **state)
{
  struct bench b;
  struct image image;
  uint64_t at;
  char text[200];

  (void) state;
  bench_init (&b);
  make_disk (&b, "a.vmdk", DISK_STREAM_OPTIMIZED, 0);
  image = bench_get (&b, "a.vmdk");
  at = find_grain (&image, 0);

  /* The first grain says that it is another one. */
  bench_poke32 (&b, "a.vmdk", at, 128);
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  assert_int_equal (b.result.nr_errors, 1);
  assert_true (b.result.nr_leaks > 0);
  snprintf (text, sizeof text,
            "error- table-entry %u: grain 0 at sector %u: its header says it "
            "is the data of sector 128, not of 0",
            (unsigned) at, (unsigned) at / 512);
  assert_string_equal (b.found[0], text);
  bench_poke (&b, "a.vmdk", 0, image.bytes, image.size);

  /* Its bytes are broken, which only reading shows. */
  bench_poke32 (&b, "a.vmdk", at + 40, 0x55555555);
  bench_check (&b, "a.vmdk", NULL);
  b.options.data = true;
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  assert_int_equal (b.result.nr_of_kind[CHECK_DATA], 1);
  assert_int_equal (b.result.nr_errors, 1);
  image_free (&image);
  bench_free (&b);
}

/* The file without its last COUNT bytes. */
static void
cut (struct bench *b, const char *name, uint64_t count)
{
  struct image image = bench_get (b, name);

  image.size -= count;
  bench_put (b, name, &image);
  image_free (&image);
}

static void
test_stream_rebuilt (void **state)
{
  struct bench b;
  struct contents before, after;

  (void) state;
  bench_init (&b);
  make_disk (&b, "a.vmdk", DISK_STREAM_OPTIMIZED, 0);
  before = bench_read (&b, "a.vmdk");
  cut (&b, "a.vmdk", 3 * 512);
  bench_check (&b, "a.vmdk",
               FINDINGS ("error~ stream: the stream's grain directory should "
                         "be at its end, and there is no footer there; 7 "
                         "grains are there, and 0 may have been lost"));
  b.options.repair = true;
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  assert_int_equal (b.result.nr_errors_left, 0);
  after = bench_read (&b, "a.vmdk");
  assert_nothing_lost (&before, &after);
  b.options.repair = false;
  b.options.data = true;
  bench_check (&b, "a.vmdk", NULL);
  contents_free (&before);
  contents_free (&after);
  bench_free (&b);
}

/* Where the directory of a.vmdk, IMAGE, is, and its first table. */
static uint64_t
find_directory (const struct image *image)
{
  return 512 * le64_load (image->bytes + image->size - 1024 + 56);
}

static uint64_t
find_table (const struct image *image)
{
  return 512 * (uint64_t) le32_load (image->bytes + find_directory (image));
}

/* The directory is zeros or garbage, or a table is garbage, and all grains are
 * there.
 */
static void
test_stream_tables (void **state)
{
  static const uint8_t zeros[512], garbage[512] = { 9, 9, 9, 9, 9, 9, 9, 9 };

  (void) state;
  for (int i = 0; i < 3; i++) {
    struct bench b;
    struct image image;
    struct contents before, after;

    bench_init (&b);
    make_disk (&b, "a.vmdk", DISK_STREAM_OPTIMIZED, 0);
    before = bench_read (&b, "a.vmdk");
    image = bench_get (&b, "a.vmdk");
    bench_poke (&b, "a.vmdk",
                i == 0 ? find_table (&image) : find_directory (&image),
                i == 2 ? zeros : garbage, i == 0 ? 8 : 512);
    assert_int_equal (bench_try (&b, "a.vmdk"), 0);
    assert_int_equal (b.result.nr_mendable, 1);
    assert_true (b.result.nr_errors > 0);
    b.options.repair = true;
    assert_int_equal (bench_try (&b, "a.vmdk"), 0);
    assert_int_equal (b.result.nr_errors_left + b.result.nr_leaks_left, 0);
    after = bench_read (&b, "a.vmdk");
    assert_nothing_lost (&before, &after);
    b.options.repair = false;
    b.options.data = true;
    bench_check (&b, "a.vmdk", NULL);
    contents_free (&before);
    contents_free (&after);
    image_free (&image);
    bench_free (&b);
  }
}

/* An entry that is 0 may be a grain that has become zeros. */
static void
test_stream_zeroed_entry (void **state)
{
  struct bench b;
  struct image image;

  (void) state;
  bench_init (&b);
  make_disk (&b, "a.vmdk", DISK_STREAM_OPTIMIZED, 0);
  image = bench_get (&b, "a.vmdk");
  bench_poke32 (&b, "a.vmdk", find_table (&image), 0);
  b.options.repair = true;
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  assert_int_equal (b.result.nr_errors, 0);
  assert_int_equal (b.result.nr_leaks, 1);
  assert_null (b.result.backup);
  image_free (&image);
  bench_free (&b);
}

/* Where only the footer is missing it is put back as it was, and what of it
 * was left does not matter.
 */
static void
test_stream_footer_restored (void **state)
{
  (void) state;
  for (uint64_t lost = 1; lost <= 2 * 512; lost += 341) {
    struct bench b;
    struct image whole, now;

    bench_init (&b);
    make_disk (&b, "a.vmdk", DISK_STREAM_OPTIMIZED, 0);
    whole = bench_get (&b, "a.vmdk");
    cut (&b, "a.vmdk", lost + 512); /* without an EOS marker it is served */
    b.options.repair = true;
    assert_int_equal (bench_try (&b, "a.vmdk"), 0);
    now = bench_get (&b, "a.vmdk");
    assert_int_equal (b.result.nr_mended, 1);
    assert_int_equal (now.size, whole.size);
    assert_memory_equal (now.bytes, whole.bytes, whole.size);
    image_free (&whole);
    image_free (&now);
    bench_free (&b);
  }
}

static void
test_stream_cut (void **state)
{
  struct bench b;
  struct contents before, after;

  (void) state;
  bench_init (&b);
  make_disk (&b, "a.vmdk", DISK_STREAM_OPTIMIZED, 0);
  cut (&b, "a.vmdk", 8 * 512);
  b.operation.rules.open.recover_stream = true;
  before = bench_read (&b, "a.vmdk");
  b.operation.rules.open.recover_stream = false;
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  assert_int_equal (b.result.nr_errors, 1);
  assert_int_equal (b.result.nr_mendable, 0);
  b.options.repair = true;
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  assert_int_equal (b.result.nr_mended, 0);
  b.options.accept_loss = true;
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  assert_int_equal (b.result.nr_mended, 1);
  after = bench_read (&b, "a.vmdk");
  assert_nothing_lost (&before, &after);
  b.options = (struct check_options){ .found = bench_found, .opaque = &b };
  bench_check (&b, "a.vmdk", NULL);
  contents_free (&before);
  contents_free (&after);
  bench_free (&b);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_own_disks),
    cmocka_unit_test (test_cowd),
    cmocka_unit_test (test_sesparse),
    cmocka_unit_test (test_stream_damage),
    cmocka_unit_test (test_stream_rebuilt),
    cmocka_unit_test (test_stream_tables),
    cmocka_unit_test (test_stream_zeroed_entry),
    cmocka_unit_test (test_stream_footer_restored),
    cmocka_unit_test (test_stream_cut),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
