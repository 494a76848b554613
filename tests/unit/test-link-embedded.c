/* SPDX-License-Identifier: BSD-3-Clause */

/* Texts that lie in an extent's file: how large one can become, copies that a
 * crash left at the end of the file, and what only looks like one.
 * (What happens in between is tests/fault/test-descriptor-change.c's.)
 */

#include <config.h>

#include <inttypes.h>

#include "extent-helper.h"
#include "create-helper.h"
#include "disk-helper.h"
#include "link-text.h"
#include "sparse-image.h"

#define COUNT(array) (sizeof (array) / sizeof (array)[0])
#define NAME_OF_DISK "d.vmdk"
#define NR_SECTORS 2048
#define GRAIN_SECTORS 8

/* -- Disks -------------------------------------------------------------- */

#define TEXT                                              \
  "# Disk DescriptorFile\nversion=1\nCID=0123abcd\n"      \
  "parentCID=ffffffff\ncreateType=\"monolithicSparse\"\n" \
  "RW 2048 SPARSE \"d.vmdk\"\nddb.adapterType = \"lsilogic\"\n"

/* Two grains with data. */
static struct sparse_image
make_image (void)
{
  struct sparse_image s;
  uint8_t grain[GRAIN_SECTORS * SECTOR_SIZE];

  sparse_image_init (&s, NR_SECTORS, GRAIN_SECTORS);
  sparse_image_descriptor (&s, TEXT);
  for (uint64_t g = 3; g < 5; g++) {
    memset (grain, 0x10 + (int) g, sizeof grain);
    sparse_image_add (&s, g, grain);
  }
  return s;
}

static void
put_image (const struct image *image)
{
  put (NAME_OF_DISK, image->bytes, image->size);
}

static void
check_contents (struct disk *disk)
{
  uint8_t buf[GRAIN_SECTORS * SECTOR_SIZE];

  for (uint64_t g = 3; g < 5; g++) {
    assert_int_equal (
      disk_read (disk, buf, sizeof buf, g * sizeof buf, &f.err), 0);
    for (size_t i = 0; i < sizeof buf; i++)
      assert_int_equal (buf[i], 0x10 + g);
  }
}

/* The disk's text becomes LEN bytes long. */
static int
replace (struct disk *disk, size_t len)
{
  struct link *link = chain_link (disk_chain (disk), 0);
  CLEANUP_DESCRIPTOR struct descriptor *d = link_text_now (link, &f.err);
  CLEANUP_FREE char *value = calloc (1, len + 1), *text = NULL;
  size_t now, left = len - strlen (TEXT);

  assert_non_null (d);
  for (unsigned nr = 0; left > 0; nr++) {
    const size_t frame = strlen ("ddb.0000 = \"\"\n");
    size_t n = min_u64 (left - frame, 4000);
    char key[20];

    if (left - frame - n > 0 && left - frame - n < 100)
      n -= 100;
    memset (value, 'v', n);
    value[n] = '\0';
    snprintf (key, sizeof key, "ddb.%04u", nr);
    assert_int_equal (descriptor_set (d, key, value, &f.err), 0);
    left -= frame + n;
  }
  text = descriptor_print (d, &now, &f.err);
  assert_non_null (text);
  assert_int_equal (now, len);
  return link_replace_text (link, d, &f.err);
}

/* -- Room --------------------------------------------------------------- */

enum obstacle { NOTHING, GRAIN, TABLE, OVERHEAD };

static void
test_room (void **state)
{
  static const struct {
    uint64_t area; /* sectors */
    enum obstacle what;
    uint64_t at; /* its first sector */
    size_t len;
    uint64_t room; /* sectors; 0: it fits */
  } cases[] = {
    { 20, NOTHING, 0, 10240, 0 },
    { 20, NOTHING, 0, 10241, 20 }, /* the directory */
    { 1, NOTHING, 0, 512, 0 },
    { 1, NOTHING, 0, 513, 0 },
    { 1, NOTHING, 0, 10240, 0 },
    { 1, NOTHING, 0, 10241, 20 },
    { 2, GRAIN, 4, 1536, 0 },
    { 2, GRAIN, 4, 1537, 3 },
    { 2, GRAIN, 3, 1025, 2 },
    { 1, TABLE, 10, 9 * 512, 0 },
    { 1, TABLE, 10, 9 * 512 + 1, 9 },
    { 1, OVERHEAD, 7, 6 * 512, 0 },
    { 1, OVERHEAD, 7, 6 * 512 + 1, 6 },
    { 1, OVERHEAD, 0, 513, 1 },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    struct sparse_image s = make_image ();
    struct image after;
    struct disk *disk;
    char text[100];
    int r;

    s.h.descriptor_size = cases[i].area;
    if (cases[i].what == OVERHEAD)
      s.h.overhead = cases[i].at;
    if (cases[i].what == GRAIN)
      sparse_image_set_entry (&s, 7, cases[i].at);
    if (cases[i].what == TABLE)
      image_put32 (&s.image, sectors_to_bytes (s.h.gd_offset) + 4 * 3,
                   cases[i].at);
    sparse_image_put_header (&s);
    put_image (&s.image);

    disk = open_disk (NAME_OF_DISK, true);
    r = replace (disk, cases[i].len);
    if (r == -1 && cases[i].room == 0)
      print_error ("case %zu: %s\n", i, f.err.text);
    assert_int_equal (r, cases[i].room ? -1 : 0);
    check_contents (disk);
    assert_int_equal (disk_finish (disk, &f.err), 0);
    disk_close (disk);
    after = read_file (store, "d.vmdk");
    assert_int_equal (after.size, s.image.size);
    if (r == -1) {
      snprintf (text, sizeof text,
                "d.vmdk: the descriptor would need %zu bytes, and there is "
                "room for %" PRIu64 ": make it shorter",
                cases[i].len, sectors_to_bytes (cases[i].room));
      assert_int_equal (f.err.kind, ERR_READ_ONLY);
      assert_memory_equal (f.err.text, text, strlen (text));
      assert_memory_equal (after.bytes, s.image.bytes, after.size);
    }
    else {
      const size_t area =
        max_u64 (cases[i].area * 512, div_round_up (cases[i].len, 512) * 512);
      struct sparse_header h;

      sparse_header_decode (after.bytes, &h);
      assert_int_equal (h.descriptor_offset, 1);
      assert_int_equal (sectors_to_bytes (h.descriptor_size), area);
      assert_int_equal (h.unclean_shutdown, 0);
      assert_memory_equal (after.bytes + 512 + area,
                           s.image.bytes + 512 + area,
                           after.size - 512 - area);
      disk = open_disk (NAME_OF_DISK, true);
      check_contents (disk);
      disk_close (disk);
    }
    image_free (&after);
    image_free (&s.image);
  }
}

/* Who has grown is not written before it is opened again. */
static void
test_grown (void **state)
{
  struct sparse_image s = make_image ();
  struct disk *disk;

  (void) state;
  s.h.descriptor_size = 1;
  sparse_image_put_header (&s);
  put_image (&s.image);
  disk = open_disk (NAME_OF_DISK, true);
  assert_int_equal (replace (disk, 2000), 0);
  assert_int_equal (disk_write (disk, "w", 1, 0, &f.err), -1);
  assert_error (&f.err, ERR_READ_ONLY,
                "d.vmdk: cannot be written any more, because its descriptor "
                "was replaced: open the disk again");
  disk_close (disk);
  disk = open_disk (NAME_OF_DISK, true);
  assert_int_equal (disk_write (disk, "w", 1, 0, &f.err), 0);
  assert_int_equal (disk_finish (disk, &f.err), 0);
  check_contents (disk);
  disk_close (disk);
  disk = open_disk (NAME_OF_DISK, false);
  check_contents (disk);
  disk_close (disk);
  image_free (&s.image);
}

static void
test_read_only (void **state)
{
  struct sparse_image s = make_image ();
  struct disk *disk;

  (void) state;
  put_image (&s.image);
  disk = open_disk (NAME_OF_DISK, false);
  assert_int_equal (replace (disk, 2000), -1);
  assert_error (&f.err, ERR_READ_ONLY,
                "d.vmdk: the disk was opened read-only");
  disk_close (disk);
  image_free (&s.image);
}

/* -- Copies ------------------------------------------------------------- */

#define ASIDE_SECTORS 3

/* What a crash left behind: the header names a copy at the file's end, and
 * the text at home is torn.  Returns where the copy is.
 */
static uint64_t
add_copy (struct sparse_image *s, uint64_t home, uint64_t home_size,
          uint64_t len)
{
  const uint64_t at = s->image.size;
  const uint64_t last = at + (ASIDE_SECTORS - 1) * SECTOR_SIZE;

  image_grow (&s->image, at + ASIDE_SECTORS * SECTOR_SIZE);
  memcpy (s->image.bytes + at, TEXT, strlen (TEXT));
  memcpy (s->image.bytes + last, "vmdkit: text aside\n", 19);
  image_put64 (&s->image, last + 24, bytes_to_sectors (at));
  image_put64 (&s->image, last + 32, home);
  image_put64 (&s->image, last + 40, home_size);
  image_put64 (&s->image, last + 48, len);
  memset (s->image.bytes + SECTOR_SIZE, 'x', 100);
  s->h.descriptor_offset = bytes_to_sectors (at);
  s->h.descriptor_size = ASIDE_SECTORS;
  s->h.unclean_shutdown = 1;
  sparse_image_put_header (s);
  return at;
}

/* Reading leaves it alone, writing puts it back. */
static void
test_restored (void **state)
{
  struct sparse_image s = make_image ();
  const uint64_t at = add_copy (&s, 1, 20, strlen (TEXT));
  struct sparse_header h;
  struct image after;
  struct disk *disk;

  (void) state;
  put_image (&s.image);
  disk = open_disk (NAME_OF_DISK, false);
  check_contents (disk);
  disk_close (disk);
  after = read_file (store, "d.vmdk");
  assert_int_equal (after.size, s.image.size);
  assert_memory_equal (after.bytes, s.image.bytes, after.size);
  image_free (&after);

  disk = open_disk (NAME_OF_DISK, true);
  assert_string_equal (
    f.warning, "d.vmdk: was not closed cleanly (uncleanShutdown is set): what "
               "was written last may be missing");
  assert_int_equal (f.nr_warnings, 2); /* that, and what was done */
  check_contents (disk);
  assert_int_equal (disk_finish (disk, &f.err), 0);
  disk_close (disk);
  after = read_file (store, "d.vmdk");
  assert_int_equal (after.size, at);
  assert_string_equal ((char *) after.bytes + SECTOR_SIZE, TEXT);
  sparse_header_decode (after.bytes, &h);
  assert_int_equal (h.descriptor_offset, 1);
  assert_int_equal (h.descriptor_size, 20);
  assert_int_equal (h.unclean_shutdown, 0);
  image_free (&after);
  image_free (&s.image);
}

/* Copies that say of their home what cannot be: such a disk is read, and not
 * a byte of it is changed.
 */
static void
test_hostile (void **state)
{
  static const struct {
    uint64_t home, size, len;
  } cases[] = {
    { 0, 20, 200 },         { 1, 0, 200 },   { 1, UINT64_MAX, 200 },
    { UINT64_MAX, 2, 200 }, { 1, 21, 200 }, /* into the directory */
    { 21, 1, 200 },                         /* the redundant directory */
    { 22, 1, 200 },                         /* a table */
    { 30, 1, 200 },                         /* another one, or the directory */
    { 48, 1, 200 },                         /* a grain */
    { 1 << 20, 1, 200 },                    /* beyond the end */
    { 1, 20, 0 },           { 1, 20, 1024 }, /* no NUL behind it */
    { 1, 20, UINT64_MAX },  { 1, 1, 513 },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    struct sparse_image s = make_image ();
    struct image after;
    struct disk *disk;

    add_copy (&s, cases[i].home, cases[i].size, cases[i].len);
    put_image (&s.image);
    disk = open_disk (NAME_OF_DISK, false);
    check_contents (disk);
    disk_close (disk);
    disk = try_open (NAME_OF_DISK, true);
    if (disk)
      print_error ("case %zu\n", i);
    assert_null (disk);
    if (f.err.kind != ERR_READ_ONLY)
      print_error ("case %zu: %s\n", i, f.err.text);
    assert_int_equal (f.err.kind, ERR_READ_ONLY);
    assert_non_null (strstr (f.err.text, "d.vmdk: cannot be written: its "
                                         "descriptor lies at sector "));
    after = read_file (store, "d.vmdk");
    assert_int_equal (after.size, s.image.size);
    assert_memory_equal (after.bytes, s.image.bytes, after.size);
    image_free (&after);
    image_free (&s.image);
  }
}

/* What lies at the file's end may look like a copy: it is a guest's data. */
static void
test_imitation (void **state)
{
  static uint8_t grain[GRAIN_SECTORS * SECTOR_SIZE];
  uint8_t again[sizeof grain];
  struct sparse_image s = make_image ();
  struct disk *disk;
  uint64_t at;

  (void) state;
  at = s.next + GRAIN_SECTORS - ASIDE_SECTORS;
  memcpy (grain + sizeof grain - ASIDE_SECTORS * SECTOR_SIZE, TEXT,
          strlen (TEXT));
  memcpy (grain + sizeof grain - SECTOR_SIZE, "vmdkit: text aside\n", 19);
  le64_store (grain + sizeof grain - SECTOR_SIZE + 24, at);
  le64_store (grain + sizeof grain - SECTOR_SIZE + 32, 1);
  le64_store (grain + sizeof grain - SECTOR_SIZE + 40, 20);
  le64_store (grain + sizeof grain - SECTOR_SIZE + 48, strlen (TEXT));
  sparse_image_add (&s, 6, grain);
  for (int unclean = 0; unclean < 2; unclean++) {
    s.h.unclean_shutdown = (uint8_t) unclean;
    sparse_image_put_header (&s);
    put_image (&s.image);
    disk = open_disk (NAME_OF_DISK, true);
    assert_int_equal (replace (disk, 3000), 0);
    assert_int_equal (disk_finish (disk, &f.err), 0);
    disk_close (disk);
    disk = open_disk (NAME_OF_DISK, true);
    check_contents (disk);
    assert_int_equal (
      disk_read (disk, again, sizeof again, 6 * sizeof grain, &f.err), 0);
    assert_memory_equal (again, grain, sizeof grain);
    disk_close (disk);
  }
  image_free (&s.image);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    TEST_IN_FOLDER (test_room),      TEST_IN_FOLDER (test_grown),
    TEST_IN_FOLDER (test_read_only), TEST_IN_FOLDER (test_restored),
    TEST_IN_FOLDER (test_hostile),   TEST_IN_FOLDER (test_imitation),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
