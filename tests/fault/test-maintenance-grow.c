/* SPDX-License-Identifier: BSD-3-Clause */

/* Disks of every kind that can grow do so while the power goes and calls
 * fail: they have the old size or the new one, and what they held; what is
 * new is zeros.
 */

#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "checked.h"
#include "extent-helper.h"
#include "grow.h"
#include "maintenance.h"
#include "mess.h"
#include "sparse-image.h"

/* What grows, and by how much: the one whose turn it is. */
struct growth {
  const char *name;
  const char *flavour; /* NULL: a split disk; see prepare_split */
  uint64_t by;         /* sectors */
  bool geometry;
};
static const struct growth *growth;
static uint64_t size_after;

static int
run (struct store *store, const char *top, struct vmdk_error *err)
{
  CLEANUP_OPERATION struct operation *operation = maintenance_operation ();
  struct grow_report report;

  return disk_grow (store, top, STORE_FROM_FILE, size_after, growth->geometry,
                    operation, &report, err);
}

/* 40 sectors in two pieces, of which the last is not full. */
static void
add_split (struct built *b, const char *type, bool sparse)
{
  static const uint64_t sizes[] = { 24, 16 };
  char text[1000];

  snprintf (text, sizeof text,
            "# Disk DescriptorFile\nversion=1\nCID=00000001\n"
            "parentCID=ffffffff\ncreateType=\"%s\"\n"
            "RW 24 %s \"x-s001.vmdk\"%s\nRW 16 %s \"x-s002.vmdk\"%s\n"
            "ddb.adapterType = \"lsilogic\"\n",
            type, sparse ? "SPARSE" : "FLAT", sparse ? "" : " 0",
            sparse ? "SPARSE" : "FLAT", sparse ? "" : " 0");
  store_fault_add (b->store, "x.vmdk", text, strlen (text));
  for (int i = 0; i < 2; i++) {
    const char *name = i == 0 ? "x-s001.vmdk" : "x-s002.vmdk";
    const size_t size = sectors_to_bytes (sizes[i]);
    uint8_t *bytes = b->bytes + sectors_to_bytes (i == 0 ? 0 : 24);
    struct sparse_image s;

    if (!sparse) {
      store_fault_add (b->store, name, bytes, size);
      continue;
    }
    sparse_image_init (&s, sizes[i], 8);
    s.h.descriptor_offset = s.h.descriptor_size = 0;
    sparse_image_put_header (&s);
    sparse_image_add (&s, 1, bytes + 4096);
    memset (bytes, 0, 4096);
    memset (bytes + 8192, 0, size - 8192);
    store_fault_add (b->store, name, s.image.bytes, s.image.size);
    image_free (&s.image);
  }
}

static void
prepare_split (struct built *b, bool sparse)
{
  *b = (struct built){ .store = store_fault_new (), .top = "x.vmdk" };
  b->size = sectors_to_bytes (40);
  b->bytes = malloc (b->size);
  assert_non_null (b->bytes);
  history_stamp (b->bytes, b->size, 0, 7);
  add_split (b, sparse ? "twoGbMaxExtentSparse" : "twoGbMaxExtentFlat",
             sparse);
}

static void
prepare (struct built *b, uint64_t seed)
{
  if (growth->flavour)
    build_mess (b, growth->flavour, seed);
  else
    prepare_split (b, strcmp (growth->name, "split sparse, pieces") == 0);
  size_after = b->size + sectors_to_bytes (growth->by);
}

/* Again, it has nothing to do. */
static int
nothing_is_left (struct store *store, const char *top, struct vmdk_error *err)
{
  const size_t nr_ops = store_fault_nr_ops (store);

  if (growth->geometry)
    return 0;
  if (run (store, top, err) == -1)
    return -1;
  if (store_fault_nr_ops (store) != nr_ops)
    return fail (err, ERR_ARGUMENT, "another run writes");
  return 0;
}

static const struct growth growths[] = {
  { "flat", "flat", 1000, true },
  { "split flat", "split flat", 77, false },
  /* 2052 sectors have a last grain of half its size */
  { "sparse, within the last grain", "sparse, small grains", 3, false },
  { "sparse, within the last table", "sparse, small grains", 2000, true },
  { "sparse, one table more", "sparse, small grains", 2050, false },
  { "sparse, many tables", "sparse, small grains", 9000, true },
  { "sparse, usual grains", "sparse, usual grains, zero entries", 500, false },
  { "sparse, tables missing", "sparse, tables missing", 9000, false },
  { "split sparse, custom", "split sparse", 9000, false },
  { "split flat, pieces", NULL, 70, true },
  { "split sparse, pieces", NULL, 70, false },
};

static void
test_growths (void **state)
{
  const char *only = getenv ("GROWTH");

  (void) state;
  for (size_t i = 0; i < sizeof growths / sizeof growths[0]; i++) {
    const struct maintenance op = {
      .name = "grow",
      .prepare = prepare,
      .run = run,
      .after = nothing_is_left,
      .grows_by = sectors_to_bytes (growths[i].by),
      .may_ignore = FAULT_PUNCH,
    };

    if (only && strcmp (only, growths[i].name) != 0)
      continue;
    growth = &growths[i];
    print_message ("%s\n", growth->name);
    maintenance_check (&op);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_growths),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
