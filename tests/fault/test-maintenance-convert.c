/* SPDX-License-Identifier: BSD-3-Clause */

/* Copies of disks while the power goes and calls fail.  A disk that is to be
 * overwritten is the old one or the new one, whatever happens; a copy that
 * failed leaves nothing behind.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "bytes.h"
#include "checked.h"
#include "convert.h"
#include "maintenance.h"
#include "mess.h"

#define RAW "new.raw"

/* What is made, in which type; -1 is raw. */
static int type_wanted;
static const char *kind;

static struct convert_rules
rules_for (int type, bool overwrite)
{
  return (struct convert_rules){
    .raw = type == -1,
    .type = type == -1 ? 0 : (enum disk_type) type,
    .overwrite = overwrite,
    .nr_threads = 2,
    .level = 1,
    .zero_size = 32768,
  };
}

/* -- Overwriting -------------------------------------------------------- */

/* Every fifth 32 KiB are zeros. */
static void
new_contents (uint8_t *bytes, uint64_t size)
{
  for (uint64_t i = 0; i < size; i++)
    bytes[i] = i / 32768 % 5 == 3 ? 0 : (uint8_t) (i * 131 + i / 512);
}

static void
prepare (struct built *built, uint64_t seed)
{
  uint8_t *bytes;

  build_mess (built, kind, seed);
  bytes = malloc (built->size);
  assert_non_null (bytes);
  new_contents (bytes, built->size);
  store_fault_add (built->store, RAW, bytes, built->size);
  free (bytes);
}

static int
overwrite (struct store *store, const char *top, struct vmdk_error *err)
{
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
  const struct convert_rules rules = rules_for (type_wanted, true);
  const struct convert_target target = { .store = store, .name = top };
  struct media *media = store_open (store, RAW, STORE_FROM_FILE, err);
  const struct convert_source source = { .media = media };
  const int r =
    media ? disk_convert (operation, &source, &target, &rules, err) : -1;

  media_close (media);
  return r;
}

static const struct {
  const char *kind;
  enum disk_type type;
} overwritten[] = {
  { "flat", DISK_MONOLITHIC_SPARSE },
  { "split sparse", DISK_SPLIT_SPARSE },
  { "child over flat", DISK_STREAM_OPTIMIZED },
  { "sparse, small grains", DISK_VMFS_FLAT },
  { "stream, small grains", DISK_MONOLITHIC_FLAT },
  { "COWD, grains of a sector, no table", DISK_VMFS_SPARSE },
};

static void
test_overwrite (void **state)
{
  (void) state;
  for (size_t i = 0; i < sizeof overwritten / sizeof overwritten[0]; i++) {
    const struct maintenance op = {
      .name = "convert",
      .prepare = prepare,
      .run = overwrite,
      .change = new_contents,
      .may_ignore = FAULT_NAMES | FAULT_READ, /* old extents may stay */
    };

    kind = overwritten[i].kind;
    type_wanted = (int) overwritten[i].type;
    print_message ("%s becomes %s\n", kind,
                   disk_type_name (overwritten[i].type));
    maintenance_check (&op);
  }
}

/* -- Failures ----------------------------------------------------------- */

struct names {
  unsigned nr;
  uint64_t sum; /* in no order */
};

static int
add_name (void *opaque, const char *name, struct vmdk_error *err)
{
  struct names *names = opaque;
  uint64_t hash = 1;

  (void) err;
  for (; *name; name++)
    hash = hash * 1000003 + (unsigned char) *name;
  names->nr++;
  names->sum += hash;
  return 0;
}

static struct names
names_of (struct store *store)
{
  struct names names = { 0 };
  struct vmdk_error err;

  assert_int_equal (store_list (store, add_name, &names, &err), 0);
  return names;
}

static void
assert_same_names (const struct names *a, const struct names *b,
                   const struct vmdk_error *err)
{
  if (a->nr != b->nr || a->sum != b->sum)
    print_error ("names were left after: %s\n", err->text);
  assert_int_equal (a->nr, b->nr);
  assert_int_equal (a->sum, b->sum);
}

#define COPY "copy.vmdk"

static int
copy (const struct built *built, int type, struct operation *operation,
      struct vmdk_error *err)
{
  const struct convert_rules rules = rules_for (type, false);
  const struct convert_source source = { .store = built->store,
                                         .name = built->top };
  const struct convert_target target = { .store = built->store, .name = COPY };

  return disk_convert (operation, &source, &target, &rules, err);
}

static void
assert_copy (const struct built *built, int type)
{
  uint8_t *bytes = malloc (built->size);
  struct vmdk_error err = { 0 };
  struct rig rig = { 0 };

  assert_non_null (bytes);
  if (type == -1) {
    struct media *media =
      store_open (built->store, COPY, STORE_FROM_FILE, &err);

    assert_non_null (media);
    assert_int_equal (media->size, built->size);
    assert_int_equal (media_pread (media, bytes, built->size, 0, &err), 0);
    media_close (media);
  }
  else {
    free (bytes);
    assert_int_equal (rig_open (&rig, built->store, COPY, false, 1, &err), 0);
    bytes = rig_read_all (&rig, &err);
    assert_non_null (bytes);
    rig_close (&rig);
  }
  assert_memory_equal (bytes, built->bytes, built->size);
  free (bytes);
}

/* Returns false when the fault was not met any more. */
static bool
try_fault (int type, uint64_t nth)
{
  const struct fault none = { 0 };
  const struct fault fault = { .kinds = FAULT_ALL & ~FAULT_PUNCH,
                               .nth = nth,
                               .errnum = ENOSPC };
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
  struct vmdk_error err = { 0 };
  struct built built;
  struct names before;
  uint64_t hits;
  int r;

  build_mess (&built, "child over flat", 5);
  before = names_of (built.store);
  store_fault_set (built.store, &fault);
  r = copy (&built, type, operation, &err);
  hits = store_fault_hits (built.store);
  store_fault_set (built.store, &none);
  if (r == 0)
    assert_copy (&built, type);
  else {
    const struct names after = names_of (built.store);

    assert_true (hits > 0);
    assert_int_equal (err.errnum, ENOSPC);
    assert_same_names (&after, &before, &err);
    assert_int_equal (copy (&built, type, operation, &err), 0);
    assert_copy (&built, type);
  }
  built_free (&built);
  return hits > 0;
}

static void
test_nth_failure (void **state)
{
  uint64_t total = 0;

  (void) state;
  for (int type = -1; type <= DISK_STREAM_OPTIMIZED; type++) {
    uint64_t nth = 1;

    while (try_fault (type, nth))
      nth++;
    total += nth - 1;
  }
  print_message ("%" PRIu64 " faults\n", total);
}

/* -- Stopping ----------------------------------------------------------- */

static bool
refuse (void *opaque, uint64_t done, uint64_t all)
{
  unsigned *left = opaque;

  assert_true (done <= all);
  return (*left)-- > 0;
}

static void
test_stopped (void **state)
{
  (void) state;
  for (int type = -1; type <= DISK_STREAM_OPTIMIZED; type++)
    for (unsigned calls = 0; calls < 2; calls++) {
      CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
      struct vmdk_error err = { 0 };
      unsigned left = calls;
      struct names before, after;
      struct built built;

      build_mess (&built, "split sparse", 6);
      before = names_of (built.store);
      operation->progress = refuse;
      operation->opaque = &left;
      assert_int_equal (copy (&built, type, operation, &err), -1);
      assert_int_equal (err.errnum, ECANCELED);
      after = names_of (built.store);
      assert_same_names (&after, &before, &err);
      built_free (&built);
    }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_overwrite),
    cmocka_unit_test (test_nth_failure),
    cmocka_unit_test (test_stopped),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
