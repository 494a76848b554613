/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks with each damage that a repair mends, killed at any moment of it, or
 * of undoing it: what can be read stays readable, and the next run finishes.
 */

#include <config.h>

#include <inttypes.h>

#include "extent-helper.h"
#include "check-chain.h"
#include "check.h"
#include "create.h"
#include "link-edit.h"
#include "maintenance.h"
#include "mess.h"
#include "repair.h"
#include "sparse-header.h"

static int
check (struct store *store, const char *top, bool repair, bool accept_loss,
       struct check_result *result, struct vmdk_error *err)
{
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
  const struct check_options options = {
    .repair = repair,
    .accept_loss = accept_loss,
  };
  const int r =
    disk_check (store, top, STORE_FROM_FILE, operation, &options, result, err);

  free (result->backup);
  return r;
}

static int
repair (struct store *store, const char *top, struct vmdk_error *err)
{
  struct check_result result;

  return check (store, top, true, false, &result, err);
}

static int
is_clean (struct store *store, const char *top, struct vmdk_error *err)
{
  struct check_result result;

  if (check (store, top, false, false, &result, err) == -1)
    return -1;
  if (result.nr_errors > 0)
    return fail (err, ERR_ARGUMENT, "%" PRIu64 " errors are left",
                 result.nr_errors);
  return 0;
}

/* -- Damages ------------------------------------------------------------ */

static struct media *
open_file (struct store *store, const char *name)
{
  struct vmdk_error err;
  struct media *media =
    store_open (store, name, STORE_FROM_FILE | STORE_WRITABLE, &err);

  assert_non_null (media);
  return media;
}

static void
put (struct media *media, uint64_t offset, const void *bytes, size_t count)
{
  struct vmdk_error err;

  assert_int_equal (media_pwrite (media, bytes, count, offset, &err), 0);
}

static void
put32 (struct media *media, uint64_t offset, uint32_t value)
{
  uint8_t bytes[4];

  le32_store (bytes, value);
  put (media, offset, bytes, sizeof bytes);
}

static uint32_t
get32 (struct media *media, uint64_t offset)
{
  struct vmdk_error err;
  uint8_t bytes[4];

  assert_int_equal (media_pread (media, bytes, sizeof bytes, offset, &err), 0);
  return le32_load (bytes);
}

static struct sparse_header
get_header (struct media *media)
{
  uint8_t bytes[SPARSE_HEADER_SIZE];
  struct sparse_header h;
  struct vmdk_error err;

  assert_int_equal (media_pread (media, bytes, sizeof bytes, 0, &err), 0);
  sparse_header_decode (bytes, &h);
  return h;
}

/* Bad entries in one table or the other, by turns, where there are good ones.
 */
static void
spoil_entries (struct media *media)
{
  const struct sparse_header h = get_header (media);
  const uint64_t nr = sparse_header_nr_tables (&h);

  for (uint64_t t = 0; t < nr; t++) {
    const uint64_t table = get32 (media, h.gd_offset * 512 + t * 4);
    const uint64_t copy = get32 (media, h.rgd_offset * 512 + t * 4);

    for (unsigned i = 0; table != 0 && copy != 0 && i < 512; i++)
      if (get32 (media, table * 512 + i * 4) > 1)
        put32 (media, (i % 2 ? table : copy) * 512 + i * 4,
               i % 3 ? 1000000 : 2);
  }
}

/* Redundant entries that could be right, were it not for the room. */
static void
forget_copies (struct media *media)
{
  const struct sparse_header h = get_header (media);
  const uint64_t nr = sparse_header_nr_tables (&h);

  for (uint64_t t = 0; t < nr; t++) {
    const uint64_t copy = get32 (media, h.rgd_offset * 512 + t * 4);

    for (unsigned i = 0; copy != 0 && i < 512; i++)
      if (get32 (media, copy * 512 + i * 4) > 1)
        put32 (media, copy * 512 + i * 4, 0);
  }
}

static void
drop_redundant_tables (struct media *media)
{
  const struct sparse_header h = get_header (media);
  const uint64_t nr = sparse_header_nr_tables (&h);

  for (uint64_t t = 0; t < nr; t++)
    put32 (media, h.rgd_offset * 512 + t * 4, 0);
}

static void
spoil_directory (struct media *media)
{
  const struct sparse_header h = get_header (media);
  const uint64_t nr = sparse_header_nr_tables (&h);

  for (uint64_t t = 0; t < nr; t++)
    put32 (media, h.gd_offset * 512 + t * 4, 10000000 + (uint32_t) t);
}

/* The header's, where the other one tells where it is. */
static void
lose_redundant_directory (struct media *media)
{
  uint8_t bytes[8];

  le64_store (bytes, 1000000000);
  put (media, 48, bytes, sizeof bytes);
}

/* A crash, and bytes that were written and never named. */
static void
leave_unclean (struct media *media)
{
  static const uint8_t garbage[200000] = { 1, 2, 3 };
  const uint8_t unclean = 1;

  put (media, media->size, garbage, sizeof garbage);
  put (media, SPARSE_UNCLEAN_AT, &unclean, 1);
}

static void
lose_footer (struct media *media)
{
  struct vmdk_error err;

  assert_int_equal (media_truncate (media, media->size - 3 * 512, &err), 0);
}

static const struct damage {
  const char *name, *flavour;
  void (*make) (struct media *media);
} damages[] = {
  { .name = "bad entries",
    .flavour = "sparse, small grains",
    .make = spoil_entries },
  { .name = "redundant entries that are lost",
    .flavour = "sparse, small grains",
    .make = forget_copies },
  { .name = "no redundant tables",
    .flavour = "sparse, small grains",
    .make = drop_redundant_tables },
  { .name = "no directory",
    .flavour = "sparse, usual grains, zero entries",
    .make = spoil_directory },
  { .name = "no redundant directory",
    .flavour = "sparse, small grains",
    .make = lose_redundant_directory },
  { .name = "a crash",
    .flavour = "sparse, small grains",
    .make = leave_unclean },
  { .name = "bad entries of a child",
    .flavour = "child over flat",
    .make = spoil_entries },
};

static const struct damage *damage;

static void
prepare (struct built *built, uint64_t seed)
{
  struct vmdk_error err;

  build_mess (built, damage->flavour, seed);
  struct media *media = open_file (built->store, built->top);
  damage->make (media);
  assert_int_equal (media_flush (media, &err), 0);
  media_close (media);
}

static void
test_damages (void **state)
{
  (void) state;
  for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
    const struct maintenance op = {
      .name = "repair",
      .prepare = prepare,
      .run = repair,
      .after = is_clean,
      .not_written = true,
    };

    damage = &damages[i];
    print_message ("%s\n", damage->name);
    maintenance_check (&op);
  }
}

/* -- A stream without its footer ---------------------------------------- */

static void
prepare_stream (struct built *built, uint64_t seed)
{
  const struct create_rules rules = {
    .type = DISK_STREAM_OPTIMIZED,
    .size = 40 * 65536,
  };
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
  struct chain_rules how = operation->rules;
  struct vmdk_error err;
  struct disk *disk;
  struct media *media;

  *built = (struct built){ .size = rules.size };
  built->store = store_fault_new ();
  built->bytes = calloc (1, built->size);
  snprintf (built->top, sizeof built->top, "a.vmdk");
  assert_int_equal (disk_create (built->store, built->top, &rules, &err), 0);
  how.writable = true;
  disk = disk_open (built->store, built->top, STORE_FROM_FILE, &how, &err);
  assert_non_null (disk);
  for (uint64_t i = 0; i < 40; i += 1 + seed % 3) {
    uint8_t *bytes = built->bytes + i * 65536;

    memset (bytes, (int) (i + seed), 65536);
    assert_int_equal (disk_write (disk, bytes, 65536, i * 65536, &err), 0);
  }
  assert_int_equal (disk_finish (disk, &err), 0);
  disk_close (disk);
  media = open_file (built->store, built->top);
  lose_footer (media);
  assert_int_equal (media_flush (media, &err), 0);
  assert_int_equal (store_flush (built->store, &err), 0);
  media_close (media);
}

static void
test_stream (void **state)
{
  const struct maintenance op = {
    .name = "rebuild",
    .prepare = prepare_stream,
    .run = repair,
    .after = is_clean,
    .error_before = ERR_CORRUPT,
    .not_written = true,
  };

  (void) state;
  maintenance_check (&op);
}

/* -- Undoing ------------------------------------------------------------ */

static int
is_damaged (struct store *store, const char *top, struct vmdk_error *err)
{
  struct check_result result;

  if (check (store, top, false, false, &result, err) == -1)
    return -1;
  return result.nr_errors > 0 ? 0
                              : fail (err, ERR_ARGUMENT, "nothing is undone");
}

static void
prepare_repaired (struct built *built, uint64_t seed)
{
  struct vmdk_error err;

  prepare (built, seed);
  assert_int_equal (repair (built->store, built->top, &err), 0);
  assert_int_equal (store_flush (built->store, &err), 0);
}

static int
undo (struct store *store, const char *top, struct vmdk_error *err)
{
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
  char backup[64];
  uint64_t dropped;

  snprintf (backup, sizeof backup, "%s.repair-backup", top);
  return repair_undo (store, backup, operation, &dropped, err);
}

static void
test_undo (void **state)
{
  (void) state;
  for (size_t i = 0; i < 3; i++) {
    const struct maintenance op = {
      .name = "undo",
      .prepare = prepare_repaired,
      .run = undo,
      .after = is_damaged,
      .not_written = true,
    };

    damage = &damages[i];
    print_message ("%s\n", damage->name);
    maintenance_check (&op);
  }
}

/* -- Chains ------------------------------------------------------------- */

static int
set_wrong_cid (void *opaque, struct descriptor *descriptor,
               struct vmdk_error *err)
{
  (void) opaque;
  return descriptor_set (descriptor, "parentCID", "0badcafe", err);
}

static void
prepare_broken (struct built *built, uint64_t seed)
{
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
  struct vmdk_error err;

  build_mess (built, "child over flat", seed);
  assert_int_equal (link_edit (built->store, built->top, STORE_FROM_FILE,
                               operation, set_wrong_cid, NULL, &err),
                    0);
  assert_int_equal (store_flush (built->store, &err), 0);
}

static int
mend_chain (struct store *store, const char *top, struct vmdk_error *err)
{
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
  const struct chain_options options = { .repair = true };
  struct check_result result;
  const int r = disk_check_chain (store, top, STORE_FROM_FILE, operation,
                                  &options, &result, err);

  free (result.backup);
  return r;
}

static void
test_chain (void **state)
{
  const struct maintenance op = {
    .name = "mend the chain",
    .prepare = prepare_broken,
    .run = mend_chain,
    .after = is_clean,
    .error_before = ERR_MISMATCH,
    .not_written = true,
  };

  (void) state;
  maintenance_check (&op);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_damages),
    cmocka_unit_test (test_stream),
    cmocka_unit_test (test_undo),
    cmocka_unit_test (test_chain),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
