/* SPDX-License-Identifier: BSD-3-Clause */

/* A file that was cut does not grow: new grains would lie where entries still
 * name old ones.  One whose entries share room is not written at all.
 */

#include <config.h>

#include "bytes.h"
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

static void
put_entry (uint64_t table_sector, unsigned i, uint32_t entry)
{
  CLEANUP_MEDIA struct media *media =
    store_open (store, DISK, STORE_FROM_FILE | STORE_WRITABLE, &f.err);
  uint8_t bytes[4];

  assert_non_null (media);
  le32_store (bytes, entry);
  assert_int_equal (
    media_pwrite (media, bytes, 4, table_sector * SECTOR_SIZE + 4 * i, &f.err),
    0);
}

static uint32_t
get_number (uint64_t offset)
{
  CLEANUP_MEDIA struct media *media =
    store_open (store, DISK, STORE_FROM_FILE, &f.err);
  uint8_t bytes[4];

  assert_non_null (media);
  assert_int_equal (media_pread (media, bytes, 4, offset, &f.err), 0);
  return le32_load (bytes);
}

static void
assert_read_only (const char *why)
{
  assert_null (try_open (DISK, true));
  assert_int_equal (f.err.kind, ERR_READ_ONLY);
  assert_non_null (strstr (f.err.text, "cannot be written before it is "
                                       "repaired: "));
  assert_non_null (strstr (f.err.text, why));
  disk_close (open_disk (DISK, false));
}

/* Two grains in one place, and copies that differ, are not written. */
static void
test_shared (void **state)
{
  uint64_t table, copy;
  uint32_t entry;

  (void) state;
  make_disk ();
  copy = get_number (get_number (48) * SECTOR_SIZE);
  table = get_number (get_number (56) * SECTOR_SIZE);
  entry = get_number (table * SECTOR_SIZE);
  put_entry (table, 5, entry);
  assert_read_only ("grain table 0 differs from its copy");
  put_entry (copy, 5, entry);
  assert_read_only ("grain 5 shares its place");
  put_entry (table, 5, 0);
  put_entry (copy, 5, 0);
  write_grain (5, 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    TEST_IN_FOLDER (test_cut),
    TEST_IN_FOLDER (test_shared),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
