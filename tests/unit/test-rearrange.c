/* SPDX-License-Identifier: BSD-3-Clause */

/* Shrinking, defragmenting and growing, in cases that tests of whole disks do
 * not have: grains between the slots, windows that move, entries that are
 * wrong, garbage behind the end, a run that is stopped, one that is rehearsed.
 */

#include <config.h>

#include <errno.h>

#include "extent-helper.h"
#include "disk-helper.h"
#include "defragment.h"
#include "grain-room.h"
#include "grow.h"
#include "operation.h"
#include "shrink.h"
#include "sparse-image.h"

#define GRAIN 8 /* sectors */
#define GRAIN_SIZE ((size_t) GRAIN * SECTOR_SIZE)
#define NR_SECTORS 2052 /* the last grain is half a one */
#define NAME_OF_DISK "disk.vmdk"

static struct sparse_image s;
static uint8_t *model;
static uint64_t model_size;
static unsigned nr_calls_left; /* of progress, before it says stop */

static bool
count_down (void *opaque, uint64_t done, uint64_t total)
{
  (void) opaque;
  assert_true (done <= total);
  return nr_calls_left == 0 || --nr_calls_left > 0;
}

static struct operation
operation_for (bool dry_run)
{
  return (struct operation){
    .rules.open = { .log = f.rules.log,
                    .resources = f.rules.resources,
                    .lock = true },
    .dry_run = dry_run,
    .progress = count_down,
  };
}

/* -- Disks -------------------------------------------------------------- */

static int
setup (void **state)
{
  static const char text[] =
    "version=1\nCID=0123abcd\nparentCID=ffffffff\n"
    "createType=\"monolithicSparse\"\nRW 2052 SPARSE \"disk.vmdk\"\n";

  (void) state;
  assert_int_equal (folder_setup (state), 0);
  sparse_image_init (&s, NR_SECTORS, GRAIN);
  sparse_image_descriptor (&s, text);
  model_size = sectors_to_bytes (NR_SECTORS);
  model = calloc (1, model_size);
  assert_non_null (model);
  nr_calls_left = 0;
  grain_room_set_window (UINT64_C (1) << 22);
  return 0;
}

static int
teardown (void **state)
{
  (void) state;
  folder_teardown (state);
  image_free (&s.image);
  free (model);
  return 0;
}

/* GRAIN is at SECTOR and full of VALUE. */
static void
place (uint64_t grain, uint64_t sector, int value)
{
  const size_t offset = sectors_to_bytes (sector);
  const size_t at = grain * GRAIN_SIZE;

  image_grow (&s.image, offset + GRAIN_SIZE);
  memset (s.image.bytes + offset, value, GRAIN_SIZE);
  sparse_image_set_entry (&s, grain, sector);
  memset (model + at, value, min_u64 (GRAIN_SIZE, model_size - at));
  s.next = max_u64 (s.next, sector + GRAIN);
}

/* NR grains all over the disk, in slots in another order; one in STRIDE of
 * them is zeros.
 */
static void
scatter (uint64_t nr, unsigned stride)
{
  for (uint64_t i = 0; i < nr; i++)
    place (i * 2, s.h.overhead + i * 61 % nr * GRAIN,
           i % stride == 0 ? 0 : (int) (i % 250 + 1));
}

static void
put_disk (void)
{
  sparse_image_put_header (&s);
  assert_int_equal (store_memory_add (store, NAME_OF_DISK, s.image.bytes,
                                      s.image.size, &f.err),
                    0);
}

static struct image
file (void)
{
  struct media *media =
    store_open (store, NAME_OF_DISK, STORE_FROM_FILE, &f.err);
  struct image image = { 0 };

  assert_non_null (media);
  image_grow (&image, media->size);
  assert_int_equal (media_pread (media, image.bytes, image.size, 0, &f.err),
                    0);
  media_close (media);
  return image;
}

/* It reads as the model, and zeros behind it; and is closed cleanly. */
static void
assert_contents (void)
{
  const struct operation operation = operation_for (true);
  struct disk *disk =
    disk_open (store, NAME_OF_DISK, STORE_FROM_FILE, &operation.rules, &f.err);
  struct image image = file ();
  struct sparse_header h;
  uint8_t *bytes;

  if (!disk)
    print_error ("%s\n", f.err.text);
  assert_non_null (disk);
  bytes = malloc (disk_size (disk));
  assert_non_null (bytes);
  assert_int_equal (disk_read (disk, bytes, disk_size (disk), 0, &f.err), 0);
  assert_memory_equal (bytes, model, model_size);
  assert_true (
    bytes_are_zero (bytes + model_size, disk_size (disk) - model_size));
  free (bytes);
  disk_close (disk);
  sparse_header_decode (image.bytes, &h);
  assert_int_equal (h.unclean_shutdown, 0);
  image_free (&image);
}

/* -- The operations ----------------------------------------------------- */

static int
shrink (bool dry_run, struct shrink_report *report)
{
  const struct operation operation = operation_for (dry_run);

  return disk_shrink (store, NAME_OF_DISK, STORE_FROM_FILE, false, &operation,
                      report, &f.err);
}

static int
defragment (bool dry_run, struct defragment_report *report)
{
  const struct operation operation = operation_for (dry_run);

  return disk_defragment (store, NAME_OF_DISK, STORE_FROM_FILE, &operation,
                          report, &f.err);
}

static int
grow (uint64_t nr_sectors, bool dry_run, struct grow_report *report)
{
  const struct operation operation = operation_for (dry_run);

  return disk_grow (store, NAME_OF_DISK, STORE_FROM_FILE,
                    sectors_to_bytes (nr_sectors), false, &operation, report,
                    &f.err);
}

/* Each of them, for what all have in common. */
enum which { SHRINK, DEFRAGMENT, GROW, NR_OPERATIONS };

static int
run (enum which which, bool dry_run)
{
  struct shrink_report shrunk;
  struct defragment_report defragmented;
  struct grow_report grown;

  switch (which) {
  case SHRINK:
    return shrink (dry_run, &shrunk);
  case DEFRAGMENT:
    return defragment (dry_run, &defragmented);
  default:
    return grow (50000, dry_run, &grown);
  }
}

/* -- Tests -------------------------------------------------------------- */

static void
test_shrink (void **state)
{
  struct shrink_report dry, report;
  struct image image;

  (void) state;
  scatter (100, 3);
  put_disk ();
  assert_int_equal (shrink (true, &dry), 0);
  image = file ();
  assert_int_equal (image.size, s.image.size);
  assert_memory_equal (image.bytes, s.image.bytes, image.size);
  image_free (&image);
  assert_int_equal (shrink (false, &report), 0);
  assert_memory_equal (&dry, &report, sizeof dry);
  assert_int_equal (report.zeros, 34 * GRAIN_SIZE);
  assert_int_equal (report.size_before, s.image.size);
  assert_int_equal (report.size_after,
                    sectors_to_bytes (s.h.overhead) + 66 * GRAIN_SIZE);
  image = file ();
  assert_int_equal (image.size, report.size_after);
  image_free (&image);
  assert_contents ();
}

static void
test_defragment (void **state)
{
  struct defragment_report dry, report;

  (void) state;
  scatter (100, 3);
  put_disk ();
  assert_int_equal (defragment (true, &dry), 0);
  assert_int_equal (dry.nr_grains, 100);
  assert_int_equal (dry.moved, 0);
  assert_int_equal (defragment (false, &report), 0);
  assert_int_equal (report.nr_breaks_before, dry.nr_breaks_before);
  assert_int_equal (report.nr_breaks_before, 99);
  assert_int_equal (report.nr_breaks_after, 0);
  assert_true (report.moved <= 2 * 100 * GRAIN_SIZE);
  assert_int_equal (report.size_after, report.size_before);
  assert_contents ();
}

/* A long stretch stays, with the small gap before it. */
static void
test_defragment_keeps_stretches (void **state)
{
  struct defragment_report report;

  (void) state;
  for (uint64_t i = 0; i < 200; i++)
    place (i + 1, s.h.overhead + (i + 2) * GRAIN, 7);
  place (0, s.h.overhead + 202 * GRAIN, 8);
  put_disk ();
  assert_int_equal (defragment (false, &report), 0);
  assert_int_equal (report.moved, GRAIN_SIZE);
  assert_int_equal (report.nr_breaks_after, 1);
  assert_contents ();
}

/* Grains between the slots, two of them sharing one. */
static void
test_odd (void **state)
{
  (void) state;
  for (int which = 0; which < NR_OPERATIONS; which++) {
    if (which > 0) {
      teardown (state);
      setup (state);
    }
    scatter (20, 5);
    place (200, s.h.overhead + 21 * GRAIN + 3, 77);
    place (100, s.h.overhead + 22 * GRAIN + 3, 78);
    place (256, s.h.overhead + 23 * GRAIN + 3, 79); /* half a grain */
    place (201, s.h.overhead + 23 * GRAIN + 3 + 4, 80);
    put_disk ();
    if (run (which, false) == -1)
      print_error ("%s\n", f.err.text);
    assert_string_equal (f.err.text, "");
    assert_contents ();
  }
}

static void
test_windows (void **state)
{
  (void) state;
  for (uint64_t window = 5; window < 100; window += 31)
    for (int which = 0; which < NR_OPERATIONS; which++) {
      teardown (state);
      setup (state);
      grain_room_set_window (window);
      scatter (125, 4);
      put_disk ();
      assert_int_equal (run (which, false), 0);
      assert_contents ();
    }
}

/* Whenever it is stopped, the disk is clean and as it was, and the next run
 * succeeds.
 */
static void
test_stopped (void **state)
{
  unsigned nr_stopped = 0;

  (void) state;
  for (int which = 0; which < NR_OPERATIONS; which++)
    for (unsigned n = 1;; n++) {
      int r;

      teardown (state);
      setup (state);
      scatter (125, 4);
      put_disk ();
      nr_calls_left = n;
      r = run (which, false);
      if (r == 0)
        break;
      nr_stopped++;
      assert_int_equal (f.err.errnum, ECANCELED);
      assert_contents ();
      nr_calls_left = 0;
      assert_int_equal (run (which, false), 0);
      assert_contents ();
    }
  assert_true (nr_stopped >= NR_OPERATIONS);
}

static void
assert_all_refuse (const char *text, enum vmdk_error_kind kind)
{
  for (int which = 0; which < NR_OPERATIONS; which++) {
    assert_int_equal (run (which, false), -1);
    if (!strstr (f.err.text, text))
      print_error ("%s\n", f.err.text);
    assert_non_null (strstr (f.err.text, text));
    assert_int_equal (f.err.kind, kind);
  }
}

static void
test_damaged (void **state)
{
  (void) state;
  scatter (10, 3);
  sparse_image_set_entry (&s, 3, 3);
  put_disk ();
  assert_all_refuse ("disk.vmdk: repair the disk first: ", ERR_DAMAGED);
}

static void
test_shared (void **state)
{
  (void) state;
  scatter (10, 3);
  sparse_image_set_entry (&s, 3, s.h.overhead);
  put_disk ();
  assert_all_refuse ("shares its place, byte ", ERR_READ_ONLY);
}

/* What becomes visible is zeros, whatever was there. */
static void
test_grow_over_garbage (void **state)
{
  struct grow_report report;

  (void) state;
  scatter (10, 3);
  place (256, s.next, 99); /* half of it is behind the end */
  place (255, s.next, 98);
  sparse_image_set_entry (&s, 257, s.h.overhead); /* behind the end, too */
  sparse_image_set_entry (&s, 511, 3);
  put_disk ();
  assert_int_equal (grow (4096, false, &report), 0);
  assert_int_equal (report.moved, 0);
  assert_contents ();
}

/* A directory of several sectors, and then a larger one. */
static void
test_grow_directory (void **state)
{
  struct grow_report dry, report;
  static const uint64_t sizes[] = { 4097, 524289, 600000, 20000000 };

  (void) state;
  scatter (100, 3);
  put_disk ();
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    assert_int_equal (grow (sizes[i], true, &dry), 0);
    assert_int_equal (grow (sizes[i], false, &report), 0);
    assert_memory_equal (&dry, &report, sizeof dry);
    assert_int_equal (report.size_after, sectors_to_bytes (sizes[i]));
    if (sizes[i] < 1000000)
      assert_contents ();
  }
  assert_int_equal (report.moved, 100 * GRAIN_SIZE);
}

/* A header that knows more: with nothing there, it is what an interrupted
 * run leaves.
 */
static void
test_larger_header (void **state)
{
  struct grow_report report;
  struct shrink_report shrunk;

  (void) state;
  image_free (&s.image);
  sparse_image_init (&s, 4096, GRAIN);
  sparse_image_descriptor (
    &s, "version=1\nCID=0123abcd\nparentCID=ffffffff\n"
        "createType=\"monolithicSparse\"\nRW 2052 SPARSE \"disk.vmdk\"\n");
  scatter (100, 3);
  put_disk ();
  assert_int_equal (shrink (false, &shrunk), 0);
  assert_contents ();
  assert_int_equal (grow (NR_SECTORS, false, &report), 0);
  assert_contents ();
  put_disk ();
  assert_int_equal (grow (3000, false, &report), 0);
  assert_contents ();

  sparse_image_set_entry (&s, 300, s.next);
  image_grow (&s.image, sectors_to_bytes (s.next + GRAIN));
  put_disk ();
  assert_int_equal (shrink (false, &shrunk), -1);
  assert_int_equal (f.err.kind, ERR_READ_ONLY);
  assert_non_null (
    strstr (f.err.text, "grain 300 is allocated behind its end"));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_shrink, setup, teardown),
    cmocka_unit_test_setup_teardown (test_defragment, setup, teardown),
    cmocka_unit_test_setup_teardown (test_defragment_keeps_stretches, setup,
                                     teardown),
    cmocka_unit_test_setup_teardown (test_odd, setup, teardown),
    cmocka_unit_test_setup_teardown (test_windows, setup, teardown),
    cmocka_unit_test_setup_teardown (test_stopped, setup, teardown),
    cmocka_unit_test_setup_teardown (test_damaged, setup, teardown),
    cmocka_unit_test_setup_teardown (test_shared, setup, teardown),
    cmocka_unit_test_setup_teardown (test_grow_over_garbage, setup, teardown),
    cmocka_unit_test_setup_teardown (test_grow_directory, setup, teardown),
    cmocka_unit_test_setup_teardown (test_larger_header, setup, teardown),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
