/* SPDX-License-Identifier: BSD-3-Clause */

/* What the tests of whole disks share: a folder in memory, and all the
 * resources that a program has.  Include after extent-helper.h.
 *
 * A test is a TEST_IN_FOLDER, or its own setup and teardown call folder_setup
 * and folder_teardown first and last.
 */

#ifndef VMDKIT_TESTS_DISK_HELPER_H
#define VMDKIT_TESTS_DISK_HELPER_H

#include "disk.h"
#include "store.h"

static struct fixture f;
static struct store *store;

static inline int
folder_setup (void **state)
{
  (void) state;
  fixture_init_all (&f);
  store = store_memory_new ("folder", &f.err);
  return store ? 0 : -1;
}

static inline int
folder_teardown (void **state)
{
  (void) state;
  store_close (store);
  fixture_free_all (&f);
  return 0;
}

/* A row of main's list. */
#define TEST_IN_FOLDER(function) \
  cmocka_unit_test_setup_teardown (function, folder_setup, folder_teardown)

/* -- Files -------------------------------------------------------------- */

static inline void
put (const char *name, const void *bytes, size_t count)
{
  assert_int_equal (store_memory_add (store, name, bytes, count, &f.err), 0);
}

static inline void
put_text (const char *name, const char *text)
{
  put (name, text, strlen (text));
}

/* -- Disks -------------------------------------------------------------- */

/* f has the warnings since. */
static inline struct disk *
try_open (const char *name, bool writable)
{
  const struct chain_rules rules = { .open = f.rules, .writable = writable };

  f.nr_warnings = 0;
  f.warning[0] = '\0';
  return disk_open (store, name, STORE_FROM_USER, &rules, &f.err);
}

static inline struct disk *
open_disk (const char *name, bool writable)
{
  struct disk *disk = try_open (name, writable);

  if (!disk)
    print_error ("%s: %s\n", name, f.err.text);
  assert_non_null (disk);
  return disk;
}

#endif /* VMDKIT_TESTS_DISK_HELPER_H */
