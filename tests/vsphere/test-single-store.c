/* SPDX-License-Identifier: BSD-3-Clause */

/* One medium as a disk: core reads and writes it, its descriptor says what it
 * should, and nothing beyond its end is ever touched.
 */

#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "disk.h"
#include "single-store.h"

#define SIZE (100 * 512)

static struct resources *resources;
static uint8_t bytes[SIZE];

static int
start (void **state)
{
  struct vmdk_error err;

  (void) state;
  for (size_t i = 0; i < SIZE; i++)
    bytes[i] = (uint8_t) (i * 7 ^ i >> 8);
  resources = resources_new (1 << 20, 1 << 20, &err);
  return resources ? 0 : -1;
}

static int
stop (void **state)
{
  (void) state;
  resources_free (resources);
  return 0;
}

static void
for_reading (void **state)
{
  const struct single_disk known = { .adapter = "ide", 100, 16, 63 };
  struct chain_rules rules = { .open.resources = resources };
  struct vmdk_error err = { 0 };
  struct store *store = single_store_new (
    media_memory_new ("[ds] a.vmdk", bytes, SIZE, &err), &known, &err);
  struct disk *disk;
  const struct descriptor *d;
  uint8_t buf[SIZE];

  (void) state;
  assert_non_null (store);
  disk = disk_open (store, SINGLE_STORE_NAME, STORE_FROM_FILE, &rules, &err);
  assert_non_null (disk);
  assert_int_equal (disk_size (disk), SIZE);
  assert_int_equal (disk_read (disk, buf, SIZE, 0, &err), 0);
  assert_memory_equal (buf, bytes, SIZE);
  d = chain_link (disk_chain (disk), 0)->descriptor;
  assert_string_equal (descriptor_create_type (d), "vmfs");
  assert_string_equal (descriptor_get (d, "ddb.adapterType"), "ide");
  assert_string_equal (descriptor_get (d, "ddb.geometry.heads"), "16");
  assert_string_equal (descriptor_get (d, "ddb.geometry.cylinders"), "100");
  disk_close (disk);

  rules.writable = true;
  rules.keep_cid = true;
  assert_null (
    disk_open (store, SINGLE_STORE_NAME, STORE_FROM_FILE, &rules, &err));
  assert_int_equal (err.kind, ERR_READ_ONLY);
  store_close (store);
}

static void
for_writing (void **state)
{
  const struct single_disk unknown = { .adapter = "\"\nRW 1 ZERO\n" };
  const struct chain_rules rules = { .open.resources = resources,
                                     .open.lock = true,
                                     .writable = true,
                                     .keep_cid = true };
  struct vmdk_error err = { 0 };
  struct store *memory = store_memory_new ("memory", &err);
  struct store *store;
  struct media *media;
  struct disk *disk;
  uint8_t buf[SIZE];

  (void) state;
  assert_int_equal (store_memory_add (memory, "m", bytes, SIZE, &err), 0);
  store = single_store_new (
    store_open (memory, "m", STORE_FROM_FILE | STORE_WRITABLE, &err), &unknown,
    &err);
  assert_non_null (store);
  disk = disk_open (store, SINGLE_STORE_NAME, STORE_FROM_FILE, &rules, &err);
  assert_non_null (disk);
  memset (buf, 0xee, 1000);
  assert_int_equal (disk_write (disk, buf, 1000, 100, &err), 0);
  assert_int_equal (disk_zero (disk, 4096, 8192, DISK_ZERO_MAY_FREE, &err), 0);
  assert_int_equal (disk_flush (disk, &err), 0);
  assert_int_equal (disk_write (disk, buf, 1000, SIZE - 999, &err), -1);
  assert_int_equal (disk_finish (disk, &err), 0);
  disk_close (disk);
  store_close (store);

  media = store_open (memory, "m", STORE_FROM_FILE, &err);
  assert_int_equal (media->size, SIZE);
  assert_int_equal (media_pread (media, buf, SIZE, 0, &err), 0);
  memset (bytes + 100, 0xee, 1000);
  memset (bytes + 8192, 0, 4096);
  assert_memory_equal (buf, bytes, SIZE);
  media_close (media);
  store_close (memory);
}

static void
refused (void **state)
{
  const struct single_disk none = { 0 };
  struct vmdk_error err = { 0 };
  struct store *store;

  (void) state;
  assert_null (
    single_store_new (media_memory_new ("m", bytes, 1000, &err), &none, &err));
  assert_int_equal (err.kind, ERR_UNSUPPORTED);
  assert_null (
    single_store_new (media_memory_new ("m", "", 0, &err), &none, &err));

  store =
    single_store_new (media_memory_new ("m", bytes, SIZE, &err), &none, &err);
  assert_null (store_open (store, "other.vmdk", STORE_FROM_FILE, &err));
  assert_int_equal (err.kind, ERR_MISSING);
  assert_null (store_create (store, "other.vmdk", 0644, &err));
  store_close (store);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (for_reading),
    cmocka_unit_test (for_writing),
    cmocka_unit_test (refused),
  };

  return cmocka_run_group_tests (tests, start, stop);
}
