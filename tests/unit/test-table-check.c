/* SPDX-License-Identifier: BSD-3-Clause */

/* A file that was cut does not grow: new grains would lie where entries still
 * name old ones.
 */

#include <config.h>

#include "extent-helper.h"
#include "create.h"
#include "disk.h"

#define GRAIN 4096
#define DISK "disk.vmdk"

static struct fixture f;
static struct store *store;

static int
setup (void **state)
{
  (void) state;
  fixture_init (&f);
  cache_free (f.resources.tables);
  f.rules.resources = resources_new (1 << 20, 1 << 20, &f.err);
  store = store_memory_new ("folder", &f.err);
  return store && f.rules.resources ? 0 : -1;
}

static int
teardown (void **state)
{
  (void) state;
  store_close (store);
  resources_free (f.rules.resources);
  return 0;
}

static struct disk *
open_disk (bool writable)
{
  const struct chain_rules rules = { .open = f.rules, .writable = writable };
  struct disk *disk = disk_open (store, DISK, STORE_FROM_USER, &rules, &f.err);

  if (!disk)
    print_error ("%s\n", f.err.text);
  assert_non_null (disk);
  return disk;
}

static void
write_grain (uint64_t grain, int wanted)
{
  struct disk *disk = open_disk (true);
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
  disk = open_disk (false);
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
    cmocka_unit_test_setup_teardown (test_cut, setup, teardown),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
