/* SPDX-License-Identifier: BSD-3-Clause */

/* A file that was cut does not grow: new grains would lie where entries still
 * name old ones.
 */

#include <config.h>

#include "extent-helper.h"
#include "disk-helper.h"
#include "create.h"

#define GRAIN 4096
#define DISK "disk.vmdk"

static void
write_grain (uint64_t grain, int wanted)
{
  struct disk *disk = open_disk (DISK, true);
  uint8_t buf[GRAIN];

  memset (buf, (int) grain + 1, sizeof buf);
  assert_int_equal (disk_write (disk, buf, sizeof buf, grain * GRAIN, &f.err),
                    wanted);
  if (wanted == 0)
    assert_int_equal (disk_finish (disk, &f.err), 0);
  disk_close (disk);
}

static void
make_disk (void)
{
  const struct create_rules rules = {
    .type = DISK_MONOLITHIC_SPARSE,
    .size = 8 << 20,
    .grain_size = GRAIN,
  };

  assert_int_equal (disk_create (store, DISK, &rules, &f.err), 0);
  for (uint64_t grain = 0; grain < 3; grain++)
    write_grain (grain, 0);
}

static void
cut (uint64_t bytes)
{
  CLEANUP_MEDIA struct media *media =
    store_open (store, DISK, STORE_FROM_FILE | STORE_WRITABLE, &f.err);

  assert_non_null (media);
  assert_int_equal (media_truncate (media, media->size - bytes, &f.err), 0);
}

/* The grain that was cut off stays damaged, whoever writes what. */
static void
test_cut (void **state)
{
  struct disk *disk;
  uint8_t buf[GRAIN];

  (void) state;
  make_disk ();
  cut (GRAIN);
  write_grain (100, -1);
  assert_int_equal (f.err.kind, ERR_READ_ONLY);
  assert_non_null (
    strstr (f.err.text, "cannot be written before it is repaired: grain 2"));
  write_grain (0, 0);
  disk = open_disk (DISK, false);
  assert_int_equal (disk_read (disk, buf, GRAIN, 2 * GRAIN, &f.err), -1);
  assert_int_equal (f.err.kind, ERR_DAMAGED);
  assert_int_equal (disk_read (disk, buf, GRAIN, GRAIN, &f.err), 0);
  assert_int_equal (buf[0], 2);
  disk_close (disk);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    TEST_IN_FOLDER (test_cut),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
