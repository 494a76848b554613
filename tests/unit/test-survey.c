/* SPDX-License-Identifier: BSD-3-Clause */

/* Figures about disks, where their bytes are, and the words for new ones. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "extent-helper.h"
#include "disk-helper.h"
#include "sparse-image.h"
#include "layout.h"
#include "survey.h"

#define COUNT(array) (sizeof (array) / sizeof (array)[0])
#define GRAIN ((uint64_t) 8 * SECTOR_SIZE)

static struct operation operation;

static int
setup (void **state)
{
  (void) state;
  assert_int_equal (folder_setup (state), 0);
  f.rules.lock = false;
  operation = (struct operation){ .rules = { .open = f.rules } };
  return 0;
}

static int
teardown (void **state)
{
  (void) state;
  folder_teardown (state);
  return 0;
}

static struct disk *
open_quietly (const char *name)
{
  struct disk *disk =
    disk_open (store, name, STORE_FROM_FILE, &operation.rules, &f.err);

  if (!disk)
    print_error ("%s: %s\n", name, f.err.text);
  assert_non_null (disk);
  return disk;
}

/* A sparse extent of 16 grains; ORDER[i] is the grain that is stored i-th. */
static void
put_sparse (const char *name, const char *text, const int *order, size_t nr,
            void (*change) (struct sparse_image *s))
{
  static const uint8_t grain[8 * SECTOR_SIZE] = { 1 };
  struct sparse_image s;

  sparse_image_init (&s, 16 * 8, 8);
  s.h.flags |= SPARSE_ZERO_GRAIN_ENTRY;
  if (text)
    sparse_image_descriptor (&s, text);
  for (size_t i = 0; i < nr; i++)
    sparse_image_add (&s, (uint64_t) order[i], grain);
  if (change)
    change (&s);
  sparse_image_put_header (&s);
  put (name, s.image.bytes, s.image.size);
  image_free (&s.image);
}

#define DESCRIPTOR(cid, parent, lines)                               \
  "# Disk DescriptorFile\nversion=1\nCID=" cid "\nparentCID=" parent \
  "\ncreateType=\"custom\"\n" lines

#define BASE \
  DESCRIPTOR ("00000001", "ffffffff", "RW 128 SPARSE \"base.vmdk\"\n")

/* How scattered grains are, by the order in which they are stored. */
static void
test_scatter (void **state)
{
  static const struct {
    int order[8];
    size_t nr;
    struct scatter scatter;
  } cases[] = {
    { { 0 }, 0, { 0, 0 } },
    { { 5 }, 1, { 0, 0 } },
    { { 2, 3, 4, 5 }, 4, { 3, 0 } },
    { { 5, 4, 3, 2 }, 4, { 3, 3 } },
    { { 2, 4, 6, 8 }, 4, { 0, 0 } }, /* neighbours in the file alone */
    { { 0, 1, 8, 9 }, 4, { 2, 0 } },
    { { 0, 8, 1, 9 }, 4, { 2, 2 } },
    { { 14, 15, 0, 1, 2 }, 5, { 3, 0 } },
    { { 0, 1, 3, 2, 4, 5 }, 6, { 5, 3 } },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    CLEANUP_DISK struct disk *disk = NULL;
    CLEANUP_SURVEY struct survey survey = { 0 };

    put_sparse ("base.vmdk", BASE, cases[i].order, cases[i].nr, NULL);
    disk = open_quietly ("base.vmdk");
    assert_int_equal (disk_survey (disk, &operation, &survey, &f.err), 0);
    assert_int_equal (survey.nr_links, 1);
    assert_int_equal (survey.scatter.nr_pairs, cases[i].scatter.nr_pairs);
    assert_int_equal (survey.scatter.nr_apart, cases[i].scatter.nr_apart);
    assert_int_equal (survey.allocated, cases[i].nr * GRAIN);
  }
}

/* Entries of every kind, and a header that a crash left. */
static void
spoil (struct sparse_image *s)
{
  sparse_image_set_entry (s, 10, 1);
  sparse_image_set_entry (s, 11, 1);
  sparse_image_set_entry (s, 12, 0x7fffffff);
  s->h.unclean_shutdown = 1;
}

static void
test_states (void **state)
{
  static const int order[] = { 0, 1 };
  CLEANUP_DISK struct disk *disk = NULL;
  CLEANUP_SURVEY struct survey survey = { 0 };
  const struct survey_extent *se;

  (void) state;
  put_sparse ("base.vmdk", BASE, order, 2, spoil);
  disk = open_quietly ("base.vmdk");
  assert_int_equal (disk_survey (disk, &operation, &survey, &f.err), 0);
  assert_int_equal (survey.links[0].nr_extents, 1);
  se = &survey.links[0].extents[0];
  assert_int_equal (se->allocated, 2 * GRAIN);
  assert_int_equal (se->zeros, 2 * GRAIN);
  assert_int_equal (se->damaged, GRAIN);
  assert_true (se->unclean);
  assert_true (survey.links[0].unclean);
  assert_string_equal (survey.links[0].user, "");
  assert_null (survey.links[0].tracking);
}

static bool
count_calls (void *opaque, uint64_t done, uint64_t total)
{
  assert_true (done <= total);
  *(uint64_t *) opaque = done == total;
  return true;
}

static bool
stop (void *opaque, uint64_t done, uint64_t total)
{
  (void) opaque;
  (void) done;
  (void) total;
  return false;
}

/* A child and its base: each has its own figures, and files are counted once,
 * though two extents are of one.
 */
static void
test_chain (void **state)
{
  static const int order[] = { 3, 4, 7 };
  static const char text[] =
    DESCRIPTOR ("00000001", "ffffffff",
                "RW 100 FLAT \"flat\" 0\nRW 20 FLAT \"flat\" 100\n"
                "RW 8 ZERO\nchangeTrackPath=\"base-ctk.vmdk\"\n");
  static const uint8_t flat[120 * SECTOR_SIZE] = { 1 };
  CLEANUP_DISK struct disk *disk = NULL;
  CLEANUP_SURVEY struct survey survey = { 0 };
  uint64_t finished = 0;

  (void) state;
  put ("base.vmdk", text, sizeof text - 1);
  put ("flat", flat, sizeof flat);
  put_sparse ("child.vmdk",
              DESCRIPTOR ("00000002", "00000001",
                          "parentFileNameHint=\"base.vmdk\"\n"
                          "RW 128 SPARSE \"child.vmdk\"\n"
                          "changeTrackPath=\"../elsewhere\"\n"),
              order, COUNT (order), NULL);
  disk = open_quietly ("child.vmdk");
  operation.progress = count_calls;
  operation.opaque = &finished;
  assert_int_equal (disk_survey (disk, &operation, &survey, &f.err), 0);
  assert_true (finished);
  assert_int_equal (survey.nr_links, 2);
  assert_int_equal (survey.links[0].allocated, 3 * GRAIN);
  assert_int_equal (survey.links[0].scatter.nr_pairs, 1);
  assert_string_equal (survey.links[0].tracking, "../elsewhere");
  assert_false (survey.links[0].tracking_exists);
  assert_int_equal (survey.links[1].allocated, sizeof flat);
  assert_int_equal (survey.links[1].scatter.nr_pairs, 0);
  assert_int_equal (survey.links[1].file_size, sizeof flat + sizeof text - 1);
  assert_int_equal (survey.links[1].nr_extents, 3);
  assert_int_equal (survey.links[1].extents[1].start, 100 * SECTOR_SIZE);
  assert_int_equal (survey.links[1].extents[1].file_size, sizeof flat);
  assert_int_equal (survey.links[1].extents[2].file_size, 0);
  assert_false (survey.links[1].tracking_exists);
  assert_int_equal (survey.allocated, 3 * GRAIN + sizeof flat);

  survey_free (&survey);
  put ("base-ctk.vmdk", "x", 1);
  assert_int_equal (disk_survey (disk, &operation, &survey, &f.err), 0);
  assert_true (survey.links[1].tracking_exists);

  survey_free (&survey);
  operation.progress = stop;
  assert_int_equal (disk_survey (disk, &operation, &survey, &f.err), -1);
  assert_error (&f.err, ERR_SYSTEM, "stopped");
  assert_int_equal (f.err.errnum, ECANCELED);
}

/* -- Layout ------------------------------------------------------------- */

struct list {
  char text[2000];
  size_t len, stop_at;
};

static bool
list_piece (void *opaque, const struct layout_piece *piece)
{
  static const char letters[] = { [RUN_HOLE] = 'h',
                                  [RUN_ZERO] = 'z',
                                  [RUN_DATA] = 'd',
                                  [RUN_PACKED] = 'p',
                                  [RUN_DAMAGED] = '!' };
  struct list *list = opaque;
  char place[80] = "-";

  if (piece->state == RUN_DATA)
    snprintf (place, sizeof place, "%s:%" PRIu64, piece->extent->name,
              piece->media_offset / SECTOR_SIZE);
  list->len += (size_t) snprintf (
    list->text + list->len, sizeof list->text - list->len,
    "%" PRIu64 "+%" PRIu64 "%c %s %s\n", piece->offset / SECTOR_SIZE,
    piece->length / SECTOR_SIZE, letters[piece->state],
    !piece->link   ? "-"
    : piece->depth ? "1"
                   : "0",
    place);
  return list->len < list->stop_at;
}

static void
test_layout (void **state)
{
  static const int base_order[] = { 0, 1, 3, 2 };
  static const int child_order[] = { 1, 9 };
  struct list list = { .stop_at = sizeof list.text };
  CLEANUP_DISK struct disk *disk = NULL;

  (void) state;
  put_sparse ("base.vmdk", BASE, base_order, COUNT (base_order), spoil);
  put_sparse ("child.vmdk",
              DESCRIPTOR ("00000002", "00000001",
                          "parentFileNameHint=\"base.vmdk\"\n"
                          "RW 128 SPARSE \"child.vmdk\"\n"),
              child_order, COUNT (child_order), NULL);
  disk = open_quietly ("child.vmdk");
  assert_int_equal (disk_layout (disk, list_piece, &list, &f.err), 0);
  assert_string_equal (list.text, "0+8d 1 base.vmdk:32\n"
                                  "8+8d 0 child.vmdk:32\n"
                                  "16+8d 1 base.vmdk:56\n"
                                  "24+8d 1 base.vmdk:48\n"
                                  "32+40h - -\n"
                                  "72+8d 0 child.vmdk:40\n"
                                  "80+16z 1 -\n"
                                  "96+8! 1 -\n"
                                  "104+24h - -\n");

  list = (struct list){ .stop_at = 30 };
  assert_int_equal (disk_layout (disk, list_piece, &list, &f.err), 0);
  assert_string_equal (list.text, "0+8d 1 base.vmdk:32\n"
                                  "8+8d 0 child.vmdk:32\n");
}

/* -- Words -------------------------------------------------------------- */

static void
test_geometry (void **state)
{
  static const struct {
    const char *lines;
    bool found;
  } cases[] = {
    { "ddb.geometry.cylinders = \"5\"\nddb.geometry.heads = \"64\"\n"
      "ddb.geometry.sectors = \"32\"\n",
      true },
    { "ddb.geometry.cylinders = \"5\"\nddb.geometry.heads = \"64\"\n", false },
    { "ddb.geometry.cylinders = \"5\"\nddb.geometry.heads = \"\"\n"
      "ddb.geometry.sectors = \"32\"\n",
      false },
    { "ddb.geometry.cylinders = \"5\"\nddb.geometry.heads = \"64\"\n"
      "ddb.geometry.sectors = \"-32\"\n",
      false },
    { "ddb.geometry.cylinders = \"5\"\nddb.geometry.heads = \"64\"\n"
      "ddb.geometry.sectors = \"99999999999999999999999\"\n",
      false },
    { "", false },
  };
  struct disk_geometry g;
  char text[1000];

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    CLEANUP_DESCRIPTOR struct descriptor *d = NULL;

    snprintf (text, sizeof text, "%s%s",
              DESCRIPTOR ("00000001", "ffffffff", "RW 8 ZERO\n"),
              cases[i].lines);
    d = descriptor_parse (text, strlen (text), &f.rules.log, &f.err);
    assert_non_null (d);
    assert_int_equal (survey_geometry (d, GEOMETRY_PHYSICAL, &g),
                      cases[i].found);
    if (cases[i].found) {
      assert_int_equal (g.cylinders, 5);
      assert_int_equal (g.heads, 64);
      assert_int_equal (g.sectors, 32);
    }
    assert_false (survey_geometry (d, GEOMETRY_BIOS, &g));
  }
}

static void
test_words (void **state)
{
  static const struct {
    const char *word;
    unsigned version;
  } versions[] = {
    { "workstation5", 4 }, { "esx65", 13 }, { "esx6", 0 },    { "", 0 },
    { "21", 21 },          { "0", 0 },      { "9999", 9999 }, { "10000", 0 },
    { "4294967300", 0 },   { "-1", 0 },     { "4x", 0 },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (versions); i++)
    assert_int_equal (disk_hw_version_parse (versions[i].word),
                      versions[i].version);
  assert_string_equal (disk_adapter_parse ("scsi-lsilogic"), "lsilogic");
  assert_string_equal (disk_adapter_parse ("ide"), "ide");
  assert_string_equal (disk_adapter_parse ("IDE"), "ide");
  assert_string_equal (disk_adapter_parse ("lsiLogic"), "lsilogic");
  assert_string_equal (disk_adapter_parse ("legacyesx"), "legacyESX");
  assert_null (disk_adapter_parse ("pvscsi"));
  assert_null (disk_adapter_parse (""));
}

int
main (void)
{
#define TEST(function) \
  cmocka_unit_test_setup_teardown (function, setup, teardown)
  static const struct CMUnitTest tests[] = {
    TEST (test_scatter), TEST (test_states),   TEST (test_chain),
    TEST (test_layout),  TEST (test_geometry), TEST (test_words),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
