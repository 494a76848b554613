/* SPDX-License-Identifier: BSD-3-Clause */

/* The check of hosted sparse disks: a damaged image for each kind of finding,
 * and what a repair makes of it.
 */

#include <config.h>

#include "extent-helper.h"
#include "check-helper.h"
#include "sparse-image.h"

#include <errno.h>

#include "room-map.h"

/* Grains of 8 sectors; 1000 of them, in two tables.
 *
 *   sector 21 redundant directory, 22 and 26 its tables
 *          30 directory, 31 and 35 tables
 *          40 grains 0, 1, 2, 999
 */
#define GRAIN 8
#define NR_GRAINS 1000
#define DESCRIPTOR                                                       \
  "# Disk DescriptorFile\nversion=1\nCID=11111111\nparentCID=ffffffff\n" \
  "createType=\"monolithicSparse\"\nRW 8000 SPARSE \"a.vmdk\"\n"

static void
make_good (struct sparse_image *s)
{
  uint8_t bytes[GRAIN * 512];

  sparse_image_init (s, NR_GRAINS * GRAIN, GRAIN);
  sparse_image_descriptor (s, DESCRIPTOR);
  for (uint64_t i = 0; i < 4; i++) {
    memset (bytes, (int) i + 1, sizeof bytes);
    sparse_image_add (s, i < 3 ? i : NR_GRAINS - 1, bytes);
  }
}

static void
set (struct sparse_image *s, uint64_t grain, bool mirror, uint32_t entry)
{
  image_put32 (&s->image, sparse_image_entry (s, grain, mirror), entry);
}

static void
set_gde (struct sparse_image *s, uint64_t table, bool mirror, uint32_t entry)
{
  const uint64_t directory = mirror ? s->h.rgd_offset : s->h.gd_offset;

  image_put32 (&s->image, sectors_to_bytes (directory) + table * 4, entry);
}

/* -- Damages ------------------------------------------------------------ */

static void
nothing (struct sparse_image *s)
{
  (void) s;
}

static void
bad_entry (struct sparse_image *s)
{
  set (s, 1, false, 1000000);
}

static void
bad_entry_in_metadata (struct sparse_image *s)
{
  set (s, 1, false, 5);
}

static void
bad_copy (struct sparse_image *s)
{
  set (s, 1, true, 1000000);
}

static void
both_bad (struct sparse_image *s)
{
  set (s, 1, false, 1000000);
  set (s, 1, true, 2000000);
}

static void
same_bad (struct sparse_image *s)
{
  sparse_image_set_entry (s, 1, 3);
}

static void
bad_and_absent (struct sparse_image *s)
{
  set (s, 1, false, 1000000);
  set (s, 1, true, 0);
}

static void
copies_differ (struct sparse_image *s)
{
  set (s, 1, true, 40);
}

static void
tail (struct sparse_image *s)
{
  image_grow (&s->image, s->image.size + 3 * GRAIN * 512);
}

/* Each names room that the other leaves over. */
static void
copies_differ_alike (struct sparse_image *s)
{
  image_grow (&s->image, s->image.size + GRAIN * 512);
  set (s, 1, true, s->image.size / 512 - GRAIN);
}

static void
primary_table_zeroed (struct sparse_image *s)
{
  memset (s->image.bytes + 31 * 512, 0, 512);
}

/* Grain 3 was never written. */
static void
primary_table_garbage (struct sparse_image *s)
{
  set (s, 1, false, 1000000);
  set (s, 3, false, 1000000);
}

static void
redundant_table_zeroed (struct sparse_image *s)
{
  memset (s->image.bytes + 22 * 512, 0, 512);
}

static void
primary_shares (struct sparse_image *s)
{
  set (s, 1, false, 40);
}

/* Which of them it was that named the leak is not known. */
static void
zeroed_beside_leak (struct sparse_image *s)
{
  set (s, 3, false, 1000000);
  tail (s);
}

static void
copies_differ_unclean (struct sparse_image *s)
{
  set (s, 1, true, 40);
  s->h.unclean_shutdown = 1;
  sparse_image_put_header (s);
}

static void
bad_directory (struct sparse_image *s)
{
  set_gde (s, 1, false, 1000000);
}

static void
no_directory (struct sparse_image *s)
{
  set_gde (s, 1, false, 0);
}

static void
bad_redundant_directory (struct sparse_image *s)
{
  set_gde (s, 1, true, 2);
}

static void
no_redundant_tables (struct sparse_image *s)
{
  set_gde (s, 0, true, 0);
  set_gde (s, 1, true, 0);
}

static void
no_redundant_tables_and_lost (struct sparse_image *s)
{
  no_redundant_tables (s);
  set (s, 1, false, 80); /* which a longer file would have */
}

static void
both_directories_bad (struct sparse_image *s)
{
  set_gde (s, 1, false, 1000000);
  set_gde (s, 1, true, 2);
}

static void
same_directories (struct sparse_image *s)
{
  set_gde (s, 1, true, 35);
}

static void
shared_tables (struct sparse_image *s)
{
  set_gde (s, 1, false, 31);
  set_gde (s, 1, true, 22);
}

static void
shared_grain (struct sparse_image *s)
{
  sparse_image_set_entry (s, 2, 48);
}

/* Half of one and half of the next. */
static void
odd_grain (struct sparse_image *s)
{
  sparse_image_set_entry (s, 2, 52);
  sparse_image_set_entry (s, 1, 0);
  sparse_image_set_entry (s, NR_GRAINS - 1, 54);
}

static void
leak (struct sparse_image *s)
{
  sparse_image_set_entry (s, 1, 0);
}

static void
leak_and_error (struct sparse_image *s)
{
  leak (s);
  sparse_image_set_entry (s, 2, 40);
}

static void
behind_end (struct sparse_image *s)
{
  sparse_image_set_entry (s, NR_GRAINS, 48);
  leak (s);
}

static void
unclean (struct sparse_image *s)
{
  s->h.unclean_shutdown = 1;
  sparse_image_put_header (s);
  tail (s);
}

static void
large_header (struct sparse_image *s)
{
  s->h.capacity += 2 * GRAIN;
  sparse_image_put_header (s);
}

static void
bad_rgd (struct sparse_image *s)
{
  s->h.rgd_offset = 1000000;
  sparse_image_put_header (s);
}

static void
bad_rgd_and_table (struct sparse_image *s)
{
  set (s, 1, true, 40);
  bad_rgd (s);
}

static void
bad_gd (struct sparse_image *s)
{
  s->h.gd_offset = 1000000;
  sparse_image_put_header (s);
}

static void
no_gd (struct sparse_image *s)
{
  s->h.gd_offset = 0;
  sparse_image_put_header (s);
}

static void
no_directories (struct sparse_image *s)
{
  s->h.gd_offset = s->h.rgd_offset = 0;
  sparse_image_put_header (s);
}

static void
other_type (struct sparse_image *s)
{
  sparse_image_descriptor (
    s, "# Disk DescriptorFile\nversion=1\nCID=11111111\nparentCID=ffffffff\n"
       "createType=\"monolithicFlat\"\nRW 8000 SPARSE \"a.vmdk\"\n"
       "changeTrackPath=\"a-ctk.vmdk\"\n");
}

static void
zero_without_flag (struct sparse_image *s)
{
  set (s, 2, false, 1);
}

struct damage {
  const char *name;
  void (*make) (struct sparse_image *s);
  const char *findings[8];

  /* After a repair. */
  bool same;     /* nothing was repaired */
  bool restored; /* it reads as it would without the damage */
  const char *left[8];
};

#define ENTRY_1 (31 * 512 + 4)
#define COPY_1 (22 * 512 + 4)

static const struct damage damages[] = {
  { "nothing", nothing, .same = true },
  { "an entry beyond the end", bad_entry,
    .findings = { "error~ table-entry 15876: grain 1: grain table entry is "
                  "sector "
                  "1000000: the grain ends beyond the file's 36864 bytes; the "
                  "redundant "
                  "table has 48" } },
  { "an entry in metadata", bad_entry_in_metadata,
    .findings = { "error~ table-entry 15876: grain 1: grain table entry is "
                  "sector 5, "
                  "which is in the descriptor; the redundant table has 48" } },
  { "an entry that the header does not allow", zero_without_flag,
    .findings = { "error~ table-entry 15880: grain 2: grain table entry is 1 "
                  "(a zero "
                  "grain), and header flag bit 2, which would allow that, is "
                  "not set; the "
                  "redundant table has 56" } },
  { "a redundant entry beyond the end", bad_copy,
    .findings = { "error~ redundant-table-entry 11268: redundant table: grain "
                  "1: grain "
                  "table entry is sector 1000000: the grain ends beyond the "
                  "file's 36864 "
                  "bytes; the primary table has 48" } },
  { "both entries bad", both_bad,
    .findings = { "error- table-entry 15876: grain 1: grain table entry is "
                  "sector "
                  "1000000: the grain ends beyond the file's 36864 bytes; the "
                  "redundant "
                  "table's entry is bad too",
                  "leak- leaked 24576: nothing uses 4096 bytes: they may be "
                  "what is lost "
                  "elsewhere" },
    .same = true },
  { "both entries bad in one way", same_bad,
    .findings = { "error- table-entry 15876: grain 1: grain table entry is "
                  "sector 3, "
                  "which is in the descriptor",
                  "leak- leaked 24576: nothing uses 4096 bytes: they may be "
                  "what is lost "
                  "elsewhere" },
    .same = true },
  { "a bad entry, and none", bad_and_absent,
    .findings = { "error- table-entry 15876: grain 1: grain table entry is "
                  "sector "
                  "1000000: the grain ends beyond the file's 36864 bytes; the "
                  "redundant "
                  "table says that it was never written",
                  "leak- leaked 24576: nothing uses 4096 bytes: they may be "
                  "what is lost "
                  "elsewhere" },
    .same = true },
  { "entries that differ", copies_differ,
    .findings = { "error~ copies-differ 11268: grain 1: the primary table has "
                  "48 and the redundant one 40; only by the primary tables is "
                  "all room of the file used, and once" } },
  { "entries that differ, and nothing tells", copies_differ_alike,
    .findings = { "error- copies-differ 11268: grain 1: the primary table has "
                  "48 and the redundant one 72, and both could be right: what "
                  "is read is by the primary one; if that is good, copy the "
                  "disk with vmdkit convert",
                  "leak- leaked 36864: nothing uses 4096 bytes: they may be "
                  "what is lost elsewhere" },
    .same = true },
  { "a primary table of zeros", primary_table_zeroed,
    .findings = { "error~ copies-differ 15872: grain 0: the primary table has "
                  "0 and the redundant one 40; only by the redundant tables "
                  "is all room of the file used, and once",
                  "error~ copies-differ 15876: grain 1: the primary table has "
                  "0 and the redundant one 48; only by the redundant tables "
                  "is all room of the file used, and once",
                  "error~ copies-differ 15880: grain 2: the primary table has "
                  "0 and the redundant one 56; only by the redundant tables "
                  "is all room of the file used, and once" },
    .restored = true },
  { "garbage in the primary table", primary_table_garbage,
    .findings = { "error~ table-entry 15876: grain 1: grain table entry is "
                  "sector 1000000: the grain ends beyond the file's 36864 "
                  "bytes; the redundant table has 48",
                  "error~ copies-differ 15884: grain 3: the primary table has "
                  "1000000 and the redundant one 0; only by the redundant "
                  "tables is all room of the file used, and once" },
    .restored = true },
  { "a redundant table of zeros", redundant_table_zeroed,
    .findings = { "error~ copies-differ 11264: grain 0: the primary table has "
                  "40 and the redundant one 0; only by the primary tables is "
                  "all room of the file used, and once",
                  "error~ copies-differ 11268: grain 1: the primary table has "
                  "48 and the redundant one 0; only by the primary tables is "
                  "all room of the file used, and once",
                  "error~ copies-differ 11272: grain 2: the primary table has "
                  "56 and the redundant one 0; only by the primary tables is "
                  "all room of the file used, and once" },
    .restored = true },
  { "a grain in two places of the primary table", primary_shares,
    .findings = { "error~ copies-differ 15876: grain 1: the primary table has "
                  "40 and the redundant one 48; only by the redundant tables "
                  "is all room of the file used, and once" },
    .restored = true },
  { "a bad entry, none, and a leak", zeroed_beside_leak,
    .findings = { "error- table-entry 15884: grain 3: grain table entry is "
                  "sector 1000000: the grain ends beyond the file's 49152 "
                  "bytes; the redundant table says that it was never written",
                  "leak- leaked 36864: nothing uses 12288 bytes: they may be "
                  "what is lost elsewhere" },
    .same = true },
  { "entries that differ after a crash", copies_differ_unclean,
    .findings = { "note~ copies-differ 11268: grain 1: the redundant table "
                  "has 40, and "
                  "the primary one, which counts after a crash, 48",
                  "note~ unclean 72: was not closed cleanly" } },
  { "a directory entry beyond the end", bad_directory,
    .findings = { "error~ directory-entry 15364: grain directory entry 1 is "
                  "sector "
                  "1000000: the table ends beyond the file's 72 sectors; "
                  "there is a "
                  "redundant table" } },
  { "a directory entry missing", no_directory,
    .findings = { "error~ directory-entry 15364: grain directory entry 1 is 0 "
                  "and the "
                  "redundant directory's is 26; there is a redundant "
                  "table" } },
  { "a redundant directory entry in metadata", bad_redundant_directory,
    .findings = { "error~ redundant-directory-entry 10756: redundant "
                  "directory: grain "
                  "directory entry 1 is sector 2, which is in the "
                  "descriptor" } },
  { "no redundant tables", no_redundant_tables,
    .findings = { "error~ redundant-directory-entry 10752: grain table 0 has "
                  "no redundant "
                  "copy",
                  "error~ redundant-directory-entry 10756: grain table 1 has "
                  "no redundant "
                  "copy" } },
  { "no redundant tables, and a grain that was cut off",
    no_redundant_tables_and_lost,
    .findings = { "error- redundant-directory-entry 10752: grain table 0 has "
                  "no redundant copy; none can be added beside other damage",
                  "error- table-entry 15876: grain 1: grain table entry is "
                  "sector 80: the grain ends beyond the file's 36864 bytes",
                  "error- redundant-directory-entry 10756: grain table 1 has "
                  "no redundant copy; none can be added beside other damage",
                  "leak- leaked 24576: nothing uses 4096 bytes: they may be "
                  "what is lost elsewhere" },
    .same = true },
  { "both directory entries bad", both_directories_bad,
    .findings = { "error- directory-entry 15364: grain directory entry 1 is "
                  "sector "
                  "1000000: the table ends beyond the file's 72 sectors; the "
                  "redundant "
                  "directory's is bad too",
                  "leak- leaked 32768: nothing uses 4096 bytes: they may be "
                  "what is lost "
                  "elsewhere" },
    .same = true },
  { "one table in both directories", same_directories,
    .findings = { "error- directory-entry 15364: grain directory entry 1 is "
                  "35 in both "
                  "directories",
                  "leak- leaked 32768: nothing uses 4096 bytes: they may be "
                  "what is lost "
                  "elsewhere" },
    .same = true },
  { "one grain in two places", shared_grain,
    .findings = { "error- shared-grain 24576: grains 1 and 2 share their "
                  "room, at sector "
                  "48: one of them has lost its bytes; copy the disk with "
                  "vmdkit convert, "
                  "and look at both",
                  "leak- leaked 28672: nothing uses 4096 bytes: they may be "
                  "what is lost "
                  "elsewhere" },
    .same = true },
  { "one grain across another", odd_grain,
    .findings = { "error- shared-grain 27648: grains 2 and 999 share their "
                  "room, at sector 54: one of them has lost its bytes; copy "
                  "the disk with vmdkit convert, and look at both",
                  "leak- leaked 31744: nothing uses 5120 bytes: they may be "
                  "what is lost elsewhere" },
    .same = true },
  { "room at the end", tail,
    .findings = { "leak~ leaked 36864: nothing uses 12288 bytes" } },
  { "room in the middle", leak,
    .findings = { "leak~ leaked 24576: nothing uses 4096 bytes" },
    /* Memory has no holes. */
    .left = { "leak~ leaked 24576: nothing uses 4096 bytes" } },
  { "an entry behind the end", behind_end,
    .findings = { "note- entry-behind-end 19872: grain 1000 lies behind the "
                  "end, and has "
                  "an entry, 48",
                  "leak- leaked 24576: nothing uses 4096 bytes: they may be "
                  "what is lost "
                  "elsewhere" },
    .same = true },
  { "a crash", unclean,
    .findings = { "leak~ leaked 36864: nothing uses 12288 bytes",
                  "note~ unclean 72: was not closed cleanly" } },
  { "a header that has more", large_header,
    .findings = { "error- capacity: extent 1: its header's capacity is 8016 "
                  "sectors, and "
                  "the descriptor's line says 8000: the smaller one is "
                  "served; if the "
                  "line is wrong, correct it" },
    .same = true },
  { "no redundant directory", bad_rgd,
    .findings = { "error~ header 48: rgdOffset 1000000 cannot be right; at 21 "
                  "is a directory whose tables are copies of the other's" } },
  { "no redundant directory, and no copies", bad_rgd_and_table,
    .findings = { "error- header: rgdOffset 1000000 cannot be right: nothing "
                  "is known of "
                  "the redundant directory; copy the disk with vmdkit "
                  "convert" },
    .same = true },
  { "no directory", bad_gd,
    .findings = { "error~ header 56: gdOffset 1000000 cannot be right; at 30 "
                  "is a directory whose tables are copies of the other's" },
    .restored = true },
  { "a directory at 0", no_gd,
    .findings = { "error~ header 56: gdOffset 0 cannot be right; at 30 is a "
                  "directory whose tables are copies of the other's" },
    .restored = true },
  { "another createType", other_type,
    .findings = { "note- create-type: createType is monolithicFlat, and "
                  "extent 1 is "
                  "SPARSE",
                  "note- descriptor: the change tracking file \"a-ctk.vmdk\" "
                  "is not "
                  "there" },
    .same = true },
};

static void
test_damages (void **state)
{
  (void) state;
  for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
    struct sparse_image s;
    struct bench b;
    struct image after;

    print_message ("%s\n", damages[i].name);
    make_good (&s);
    damages[i].make (&s);
    bench_init (&b);
    bench_put (&b, "a.vmdk", &s.image);
    bench_check (&b, "a.vmdk", damages[i].findings);
    after = bench_get (&b, "a.vmdk");
    assert_int_equal (after.size, s.image.size);
    assert_memory_equal (after.bytes, s.image.bytes, after.size);
    image_free (&after);
    image_free (&s.image);
    bench_free (&b);
  }
}

/* What is left after a repair is what cannot be mended, and the backup puts
 * everything back.
 */
static void
test_repairs (void **state)
{
  (void) state;
  for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
    const struct damage *damage = &damages[i];
    struct sparse_image s;
    struct bench b;
    struct contents before, after;
    struct image now;
    uint64_t dropped;

    print_message ("%s\n", damage->name);
    make_good (&s);
    bench_init (&b);
    if (damage->restored) {
      bench_put (&b, "good.vmdk", &s.image);
      before = bench_read (&b, "good.vmdk");
    }
    damage->make (&s);
    bench_put (&b, "a.vmdk", &s.image);
    if (!damage->restored)
      before = bench_read (&b, "a.vmdk");
    b.options.repair = true;
    assert_int_equal (bench_try (&b, "a.vmdk"), 0);
    assert_int_equal (b.result.nr_mended, b.result.nr_mendable);
    after = bench_read (&b, "a.vmdk");
    assert_nothing_lost (&before, &after);

    now = bench_get (&b, "a.vmdk");
    if (damage->same) {
      assert_null (b.result.backup);
      assert_int_equal (now.size, s.image.size);
      assert_memory_equal (now.bytes, s.image.bytes, now.size);
    }
    else {
      char backup[200];

      assert_non_null (b.result.backup);
      snprintf (backup, sizeof backup, "%s", b.result.backup);
      assert_string_equal (backup, "a.vmdk.repair-backup");
      b.options.repair = false;
      bench_check (&b, "a.vmdk", damage->left);

      assert_int_equal (
        repair_undo (b.store, backup, &b.operation, &dropped, &b.err), 0);
      image_free (&now);
      now = bench_get (&b, "a.vmdk");
      assert_int_equal (now.size + (damage->left[0] ? 0 : dropped),
                        s.image.size);
      if (dropped == 0)
        assert_memory_equal (now.bytes, s.image.bytes, now.size);
    }
    image_free (&now);
    contents_free (&before);
    contents_free (&after);
    image_free (&s.image);
    bench_free (&b);
  }
}

/* A rehearsal tells the same and changes nothing. */
static void
test_dry_run (void **state)
{
  struct sparse_image s;
  struct bench b;
  struct image now;

  (void) state;
  make_good (&s);
  bad_entry (&s);
  tail (&s);
  bench_init (&b);
  bench_put (&b, "a.vmdk", &s.image);
  b.options.repair = b.operation.dry_run = true;
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  assert_int_equal (b.result.nr_mendable, 2);
  assert_int_equal (b.result.nr_mended, 0);
  assert_int_equal (b.result.nr_errors_left, 1);
  now = bench_get (&b, "a.vmdk");
  assert_int_equal (now.size, s.image.size);
  assert_memory_equal (now.bytes, s.image.bytes, now.size);
  image_free (&now);
  image_free (&s.image);
  bench_free (&b);
}

static bool
never_mind (void *opaque, uint64_t done, uint64_t total)
{
  uint64_t *nr_calls = opaque;

  ++*nr_calls;
  return done == total;
}

/* Who stops a check has it stopped, and the disk is as it was; at its end it
 * is too late.
 */
static void
test_stopped (void **state)
{
  struct sparse_image s;
  struct bench b;
  struct image now;
  uint64_t nr_calls = 0;

  (void) state;
  bench_init (&b);
  b.operation.progress = never_mind;
  b.operation.opaque = &nr_calls;
  sparse_image_init (&s, UINT64_C (4000) * 512 * GRAIN, GRAIN);
  bench_put (&b, "a.vmdk", &s.image);
  b.operation.rules.lone_extent = true;
  set_gde (&s, 5, true, 0);
  bench_put (&b, "a.vmdk", &s.image);
  b.options.repair = true;
  assert_int_equal (bench_try (&b, "a.vmdk"), -1);
  assert_int_equal (b.err.errnum, ECANCELED);
  assert_null (b.result.backup);
  now = bench_get (&b, "a.vmdk");
  assert_memory_equal (now.bytes, s.image.bytes, s.image.size);
  image_free (&now);
  image_free (&s.image);

  nr_calls = 0;
  b.operation.rules.lone_extent = false;
  make_good (&s);
  bench_put (&b, "a.vmdk", &s.image);
  bench_check (&b, "a.vmdk", NULL);
  assert_int_equal (nr_calls, 1);
  image_free (&s.image);
  bench_free (&b);
}

/* -- Who shares --------------------------------------------------------- */

/* In windows of a few sectors the map finds the same. */
static void
test_windows (void **state)
{
  (void) state;
  for (uint64_t units = 64; units <= 128; units += 64) {
    struct sparse_image s;
    struct bench b;

    room_map_window (units);
    make_good (&s);
    shared_grain (&s);
    bench_init (&b);
    bench_put (&b, "a.vmdk", &s.image);
    assert_int_equal (bench_try (&b, "a.vmdk"), 0);
    assert_int_equal (b.result.nr_of_kind[CHECK_SHARED_GRAIN], 1);
    assert_int_equal (b.result.nr_of_kind[CHECK_LEAKED], 1);
    assert_int_equal (b.result.nr_grains, 4);
    image_free (&s.image);
    bench_free (&b);
  }
  room_map_window (UINT64_C (1) << 29);
}

static void
test_shared_tables (void **state)
{
  struct sparse_image s;
  struct bench b;

  (void) state;
  make_good (&s);
  shared_tables (&s);
  bench_init (&b);
  bench_put (&b, "a.vmdk", &s.image);
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  /* Both copies, and each grain of the table, twice. */
  assert_int_equal (b.result.nr_of_kind[CHECK_SHARED_TABLE], 2);
  assert_int_equal (b.result.nr_of_kind[CHECK_SHARED_GRAIN], 3);
  assert_string_equal (b.found[0],
                       "error- shared-table 15872: grain table 1 at sector 31 "
                       "shares its room with another table");
  image_free (&s.image);
  bench_free (&b);
}

/* -- Leaks and other damage --------------------------------------------- */

static void
test_leak_stays_beside_errors (void **state)
{
  struct sparse_image s;
  struct bench b;
  struct image now;

  (void) state;
  make_good (&s);
  leak_and_error (&s);
  bench_init (&b);
  bench_put (&b, "a.vmdk", &s.image);
  b.options.repair = true;
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  now = bench_get (&b, "a.vmdk");
  assert_memory_equal (now.bytes, s.image.bytes, s.image.size);
  image_free (&now);
  image_free (&s.image);
  bench_free (&b);
}

static void
test_does_not_open (void **state)
{
  struct sparse_image s;
  struct bench b;

  (void) state;
  make_good (&s);
  no_directories (&s);
  bench_init (&b);
  bench_put (&b, "a.vmdk", &s.image);
  bench_check (&b, "a.vmdk",
               FINDINGS ("error- extent: sparse header: gdOffset is 0: there "
                         "is no grain directory"));
  assert_int_equal (bench_try (&b, "b.vmdk"), -1);
  assert_int_equal (b.err.kind, ERR_MISSING);
  image_free (&s.image);
  bench_free (&b);
}

/* -- Several extents ---------------------------------------------------- */

static void
test_split (void **state)
{
  struct sparse_image s;
  struct bench b;
  uint8_t zeros[8 * 512] = { 0 };

  (void) state;
  make_good (&s);
  bad_entry (&s);
  bench_init (&b);
  bench_put (&b, "a-s001.vmdk", &s.image);
  bench_put_text (&b, "a.vmdk",
                  "# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\n"
                  "createType=\"twoGbMaxExtentSparse\"\n"
                  "RW 8000 SPARSE \"a-s001.vmdk\"\n"
                  "RW 8000 SPARSE \"a-s002.vmdk\"\n"
                  "RW 9 FLAT \"a-f003.vmdk\" 0\n");
  assert_int_equal (
    store_memory_add (b.store, "a-f003.vmdk", zeros, sizeof zeros, &b.err), 0);
  bench_check (
    &b, "a.vmdk",
    FINDINGS (
      "error- extent: extent 2 (SPARSE \"a-s002.vmdk\"): the file is missing",
      "error- extent: extent 3 (FLAT \"a-f003.vmdk\"): flat extent ends at "
      "byte 4608 of the file, which has only 4096",
      "note- descriptor: no CID; the link cannot be a parent",
      "note- create-type: createType is twoGbMaxExtentSparse, and extent 3 is "
      "FLAT",
      "error~ table-entry 15876: grain 1: grain table entry is sector "
      "1000000: the grain ends beyond the file's 36864 bytes; the redundant "
      "table has 48"));
  image_free (&s.image);
  bench_free (&b);
}

/* -- Undoing ------------------------------------------------------------ */

static void
test_undo_refused (void **state)
{
  struct sparse_image s;
  struct bench b;
  uint64_t dropped;

  (void) state;
  make_good (&s);
  bad_entry (&s);
  bench_init (&b);
  bench_put (&b, "a.vmdk", &s.image);
  b.options.repair = true;
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  bench_poke32 (&b, "a.vmdk", ENTRY_1, 56);
  assert_int_equal (repair_undo (b.store, "a.vmdk.repair-backup", &b.operation,
                                 &dropped, &b.err),
                    -1);
  assert_error (&b.err, ERR_MISMATCH,
                "a.vmdk: byte 15876 is not what the repair wrote: the disk "
                "has been used since, and undoing the repair would damage it");

  bench_put_text (&b, "x", "vmdkit repair backup 2\n");
  assert_int_equal (repair_undo (b.store, "x", &b.operation, &dropped, &b.err),
                    -1);
  assert_error (&b.err, ERR_CORRUPT, "x: is no backup of vmdkit's");
  bench_put_text (&b, "x",
                  "vmdkit repair backup 1\nbytes 1 00 11 ../../etc/passwd\n");
  assert_int_equal (repair_undo (b.store, "x", &b.operation, &dropped, &b.err),
                    -1);
  assert_int_equal (b.err.kind, ERR_DENIED);

  /* What is not whole belongs to a change that was not made. */
  bench_put_text (&b, "x", "vmdkit repair backup 1\nbytes 1 00 1");
  assert_int_equal (repair_undo (b.store, "x", &b.operation, &dropped, &b.err),
                    0);
  image_free (&s.image);
  bench_free (&b);
}

/* An older backup is kept. */
static void
test_second_backup (void **state)
{
  struct sparse_image s;
  struct bench b;

  (void) state;
  make_good (&s);
  bad_entry (&s);
  bench_init (&b);
  bench_put (&b, "a.vmdk", &s.image);
  bench_put_text (&b, "a.vmdk.repair-backup", "somebody's");
  b.options.repair = true;
  assert_int_equal (bench_try (&b, "a.vmdk"), 0);
  assert_string_equal (b.result.backup, "a.vmdk.repair-backup-2");
  image_free (&s.image);
  bench_free (&b);
}

/* -- Opening for writing after a crash ---------------------------------- */

static void
test_open_after_crash (void **state)
{
  static const struct {
    void (*make) (struct sparse_image *s);
    const char *text; /* NULL: it opens */
  } cases[] = {
    { copies_differ, NULL },
    { bad_copy, NULL },
    { no_redundant_tables, NULL },
    { tail, NULL },
    { same_bad,
      "grain 1: grain table entry is sector 3, which is in the descriptor" },
    { shared_grain,
      "grain 2 shares its place, byte 24576, with another grain" },
    { odd_grain,
      "grain 999 shares its place, byte 27648, with another grain" },
    { shared_tables,
      "grain table 1 shares its place, byte 15872, with another" },
    { no_directory, "only the redundant directory has grain table 1" },
    { bad_directory, "grain directory entry 1 is sector 1000000: the table "
                     "ends beyond the file's 72 sectors" },
    { same_directories, "grain directory entry 1 is 35 in both directories" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct sparse_image s;
    struct bench b;
    struct disk *disk;
    struct chain_rules rules;
    char text[300];

    make_good (&s);
    cases[i].make (&s);
    s.h.unclean_shutdown = 1;
    sparse_image_put_header (&s);
    bench_init (&b);
    bench_put (&b, "a.vmdk", &s.image);
    rules = b.operation.rules;
    rules.writable = true;
    disk = disk_open (b.store, "a.vmdk", STORE_FROM_USER, &rules, &b.err);
    if (cases[i].text) {
      assert_null (disk);
      snprintf (text, sizeof text,
                "a.vmdk: extent 1 (SPARSE \"a.vmdk\"): cannot be written "
                "before it is repaired: %s",
                cases[i].text);
      assert_error (&b.err, ERR_READ_ONLY, text);
    }
    else {
      assert_non_null (disk);
      assert_int_equal (disk_finish (disk, &b.err), 0);
      disk_close (disk);
      bench_check (&b, "a.vmdk", NULL);
    }
    image_free (&s.image);
    bench_free (&b);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_damages),
    cmocka_unit_test (test_repairs),
    cmocka_unit_test (test_dry_run),
    cmocka_unit_test (test_stopped),
    cmocka_unit_test (test_windows),
    cmocka_unit_test (test_shared_tables),
    cmocka_unit_test (test_leak_stays_beside_errors),
    cmocka_unit_test (test_does_not_open),
    cmocka_unit_test (test_split),
    cmocka_unit_test (test_undo_refused),
    cmocka_unit_test (test_second_backup),
    cmocka_unit_test (test_open_after_crash),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
