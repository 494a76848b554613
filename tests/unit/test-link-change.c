/* SPDX-License-Identifier: BSD-3-Clause */

/* What becomes of a descriptor when its disk is written: which lines change,
 * when, in which order with the data, and what is left after failures.
 */

#include <config.h>

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "extent-helper.h"
#include "create-helper.h"
#include "link-change-helper.h"
#include "child.h"
#include "create.h"
#include "sparse-header.h"

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

/* Not at open, not by reading; before the first byte of data; once. */
static void
test_when (void **state)
{
  struct image once, twice;
  struct disk *disk;
  uint8_t byte;

  (void) state;
  put_flat (TEXT);
  disk = open_from (&rec.store, "d.vmdk", true);
  assert_int_equal (disk_read (disk, &byte, 1, 5, &f.err), 0);
  assert_int_equal (disk_flush (disk, &f.err), 0);
  assert_null (strstr (rec.text, "write"));
  assert_file ("d.vmdk", TEXT);

  rec.text[0] = '\0';
  must_write (disk, 5);
  assert_string_equal (rec.text,
                       "write:d.vmdk flush:d.vmdk write:d-flat.vmdk ");
  once = read_file (rec.inner, "d.vmdk");
  must_write (disk, 6);
  assert_int_equal (disk_zero (disk, 512, 512, 0, &f.err), 0);
  assert_int_equal (disk_finish (disk, &f.err), 0);
  disk_close (disk);
  twice = read_file (rec.inner, "d.vmdk");
  assert_string_equal ((char *) once.bytes, (char *) twice.bytes);

  /* The next open gives the next. */
  disk = open_from (&rec.store, "d.vmdk", true);
  must_write (disk, 5);
  disk_close (disk);
  image_free (&twice);
  twice = read_file (rec.inner, "d.vmdk");
  assert_true (hex_digits (value_of ((char *) once.bytes, "\nCID="), 8)
               != hex_digits (value_of ((char *) twice.bytes, "\nCID="), 8));
  image_free (&once);
  image_free (&twice);
}

/* Each line but three stays what it was, whatever stands behind the text. */
static void
test_lines (void **state)
{
  static const char *const behind[] = { "", "\n", "\n\n# the end" };

  (void) state;
  for (size_t i = 0; i < COUNT (behind); i++) {
    char text[2000];
    struct image image;
    struct disk *disk;

    snprintf (text, sizeof text, "%s%s", TEXT, behind[i]);
    put_flat (text);
    rec.text[0] = '\0';
    disk = open_from (&rec.store, "d.vmdk", true);
    must_write (disk, 5);
    disk_close (disk);
    assert_null (strstr (rec.text, "create"));
    image = read_file (rec.inner, "d.vmdk");
    assert_int_equal (image.size, strlen (text));
    assert_changed_text ((char *) image.bytes, text);
    image_free (&image);
  }
  assert_int_equal (f.nr_warnings, 0);
}

/* What stands behind a NUL is not the text's, and stays. */
static void
test_padded (void **state)
{
  char text[2048] = TEXT;
  struct image image;
  struct disk *disk;

  (void) state;
  memcpy (text + 2000, "behind", 6);
  put_flat (TEXT);
  put ("d.vmdk", text, sizeof text);
  disk = open_from (&rec.store, "d.vmdk", true);
  must_write (disk, 5);
  disk_close (disk);
  assert_null (strstr (rec.text, "create"));
  image = read_file (rec.inner, "d.vmdk");
  assert_int_equal (image.size, sizeof text);
  assert_memory_equal (image.bytes + sizeof TEXT, text + sizeof TEXT,
                       sizeof text - sizeof TEXT);
  assert_changed_text ((char *) image.bytes, TEXT);
  image_free (&image);
}

/* Lines that move: a file of its own is made, and takes the old one's place.
 * The first of the names that nobody has.
 */
static void
test_replaced (void **state)
{
  static const struct {
    const char *text, *wanted;
    unsigned nr_warnings;
  } cases[] = {
#define BEFORE(version, cid)                      \
  "version=" version "\nCID=" cid                 \
  "\nparentCID=ffffffff\ncreateType=\"custom\"\n" \
  "RW 64 FLAT \"d-flat.vmdk\"\n"
#define TRACKED \
  BEFORE ("3", "00000007") "# x\nchangeTrackPath=\"d-ctk.vmdk\"\n" DATABASE
    { "version=1\nparentCID=ffffffff\ncreateType=\"custom\"\n"
      "RW 64 FLAT \"d-flat.vmdk\"\n" DATABASE,
      BEFORE ("1", "XXXXXXXX") DATABASE, 0 },
    { "#\nCID=00000007\n" BEFORE ("1", "7") DATABASE,
      "#\nCID=XXXXXXXX\nparentCID=ffffffff\nversion=1\n"
      "createType=\"custom\"\nRW 64 FLAT \"d-flat.vmdk\"\n" DATABASE,
      0 },
    { TRACKED, BEFORE ("1", "XXXXXXXX") "# x\n" DATABASE, 1 },
  };

  (void) state;
  put ("d.vmdk.new", "somebody's", 10);
  for (size_t i = 0; i < COUNT (cases); i++) {
    struct image image;
    struct disk *disk;

    put_flat (cases[i].text);
    f.nr_warnings = 0;
    disk = open_from (&rec.store, "d.vmdk", true);
    if (cases[i].nr_warnings > 0)
      assert_int_equal (f.nr_warnings, 0);
    f.nr_warnings = 0; /* what is said of the text */
    rec.text[0] = '\0';
    must_write (disk, 5);
    assert_string_equal (
      rec.text, "create:d.vmdk.new create:d.vmdk.new-2 write:d.vmdk.new-2 "
                "flush:d.vmdk.new-2 rename:d.vmdk flush:/ write:d-flat.vmdk ");
    assert_int_equal (f.nr_warnings, cases[i].nr_warnings);
    must_write (disk, 6);
    assert_int_equal (disk_finish (disk, &f.err), 0);
    disk_close (disk);
    image = read_file (rec.inner, "d.vmdk");
    assert_changed_text ((char *) image.bytes, cases[i].wanted);
    image_free (&image);
    assert_file ("d.vmdk.new", "somebody's");
    disk = open_from (&rec.store, "d.vmdk", true);
    disk_close (disk);
  }
  assert_string_equal (f.warning,
                       "d.vmdk: change tracking is dropped, because it would "
                       "miss what is written now: the next backup has to be a "
                       "full one");
}

/* Whatever step fails, no data are written, and the next attempt does what
 * the first would have.
 */
static void
test_failures (void **state)
{
  static const struct {
    const char *text;
    unsigned nr_steps;
  } cases[] = {
    { TEXT, 2 },
    { TRACKED, 5 },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++)
    for (unsigned at = 1; at <= cases[i].nr_steps; at++) {
      struct image image;
      struct disk *disk;

      put_flat (cases[i].text);
      disk = open_from (&rec.store, "d.vmdk", true);
      rec.text[0] = '\0';
      rec.nr = 0;
      rec.fail_at = at;
      assert_int_equal (write_byte (disk, 5), -1);
      assert_int_equal (f.err.errnum, EIO);
      assert_non_null (strstr (f.err.text, "d.vmdk"));
      assert_null (strstr (rec.text, "write:d-flat.vmdk"));
      assert_files (rec.inner, "d-flat.vmdk d.vmdk");
      rec.text[0] = '\0';
      must_write (disk, 5);
      assert_non_null (strstr (rec.text, "flush:"));
      assert_true (strstr (rec.text, "flush:")
                   < strstr (rec.text, "write:d-flat.vmdk"));
      disk_close (disk);
      image = read_file (rec.inner, "d.vmdk");
      assert_changed_text ((char *) image.bytes,
                           i == 0 ? TEXT
                                  : "version=1\nCID=XXXXXXXX\nparentCID="
                                    "ffffffff\ncreateType=\"custom\"\nRW 64 "
                                    "FLAT \"d-flat.vmdk\"\n# x\n" DATABASE);
      image_free (&image);
      store_close (rec.inner);
      rec.inner = store_memory_new ("folder", &f.err);
      assert_non_null (rec.inner);
      rec.store.name = rec.inner->name;
    }
}

/* -- Embedded texts ----------------------------------------------------- */

/* A new monolithicSparse disk, its embedded text with ADDED at the end. */
static void
put_embedded (const char *added)
{
  const struct create_rules rules = { .size = 64 * SECTOR_SIZE };
  struct image image;
  char *text;

  assert_int_equal (disk_create (rec.inner, "e.vmdk", &rules, &f.err), 0);
  image = read_file (rec.inner, "e.vmdk");
  text = (char *) image.bytes + SECTOR_SIZE;
  memcpy (text + strlen (text), added, strlen (added));
  put ("e.vmdk", image.bytes, image.size);
  image_free (&image);
}

static void
test_embedded (void **state)
{
  struct image before, after;
  struct disk *disk;
  char *a, *b;

  (void) state;
  put_embedded ("changeTrackPath=\"e-ctk.vmdk\"\n# behind\n");
  before = read_file (rec.inner, "e.vmdk");
  disk = open_from (&rec.store, "e.vmdk", true);
  rec.text[0] = '\0';
  must_write (disk, 5);
  assert_true (strncmp (rec.text, "write:e.vmdk flush:e.vmdk ", 26) == 0);
  disk_close (disk);
  assert_int_equal (f.nr_warnings, 1);
  after = read_file (rec.inner, "e.vmdk");
  a = (char *) before.bytes + SECTOR_SIZE;
  b = (char *) after.bytes + SECTOR_SIZE;
  check_ids (b, hex_digits (value_of (a, "\nCID="), 8));
  assert_null (strstr (b, "changeTrackPath"));
  assert_non_null (strstr (b, "\n# behind\n"));
  /* Nothing of the longer text is left behind the shorter. */
  assert_true (bytes_are_zero (after.bytes + SECTOR_SIZE + strlen (b),
                               20 * SECTOR_SIZE - strlen (b)));
  image_free (&before);
  image_free (&after);
}

/* A text that cannot grow: nothing is written. */
static void
test_no_room (void **state)
{
  static const uint8_t zeros[20 * SECTOR_SIZE];
  struct sparse_header h;
  struct image image, after;
  struct disk *disk;
  char *text;

  (void) state;
  put_embedded ("");
  image = read_file (rec.inner, "e.vmdk");
  text = (char *) image.bytes + SECTOR_SIZE;
  memcpy (text, zeros, sizeof zeros);
  strcpy (text, "version=1\nparentCID=ffffffff\n"
                "createType=\"monolithicSparse\"\nRW 64 SPARSE \"e.vmdk\"\n#");
  memset (text + strlen (text), '-', SECTOR_SIZE - strlen (text));
  sparse_header_decode (image.bytes, &h);
  h.descriptor_size = 1;
  h.overhead = 2;
  sparse_header_encode (&h, image.bytes);
  put ("e.vmdk", image.bytes, image.size);

  disk = open_from (&rec.store, "e.vmdk", true);
  for (int i = 0; i < 2; i++) {
    assert_int_equal (write_byte (disk, 5), -1);
    assert_error (&f.err, ERR_READ_ONLY,
                  "e.vmdk: the descriptor would need 525 bytes, and there is "
                  "room for 512: make it shorter, or convert the disk to a "
                  "type whose descriptor is a file of its own");
  }
  disk_close (disk);
  assert_null (strstr (rec.text, "write:"));
  after = read_file (rec.inner, "e.vmdk");
  assert_int_equal (after.size, image.size);
  assert_memory_equal (after.bytes, image.bytes, image.size);
  image_free (&image);
  image_free (&after);
}

/* A descriptor in a KDMV file that has no grains. */
static void
test_only_descriptor (void **state)
{
  struct sparse_header h;
  struct image image, after;
  struct disk *disk;

  (void) state;
  put_flat (TEXT);
  put_embedded ("");
  image = read_file (rec.inner, "e.vmdk");
  sparse_header_decode (image.bytes, &h);
  h.capacity = 0;
  h.gd_offset = h.rgd_offset = 0;
  sparse_header_encode (&h, image.bytes);
  image.size = 21 * SECTOR_SIZE;
  memset (image.bytes + SECTOR_SIZE, 0, 20 * SECTOR_SIZE);
  memcpy (image.bytes + SECTOR_SIZE, TEXT, sizeof TEXT);
  put ("d.vmdk", image.bytes, image.size);
  disk = open_from (&rec.store, "d.vmdk", true);
  must_write (disk, 5);
  disk_close (disk);
  after = read_file (rec.inner, "d.vmdk");
  assert_int_equal (after.size, image.size);
  assert_memory_equal (after.bytes, image.bytes, SECTOR_SIZE);
  assert_changed_text ((char *) after.bytes + SECTOR_SIZE, TEXT);
  image_free (&image);
  image_free (&after);
}

/* Who was a child of the old contents is one of nobody now. */
static void
test_child_refused (void **state)
{
  const struct child_rules child = { .type = DISK_MONOLITHIC_SPARSE };
  const struct chain_rules rules = { .open = f.rules };
  struct image image;
  struct disk *disk;

  (void) state;
  put_flat (TEXT);
  disk = open_from (rec.inner, "d.vmdk", false);
  assert_int_equal (
    disk_create_child (rec.inner, "c.vmdk", disk, "d.vmdk", &child, &f.err),
    0);
  disk_close (disk);
  disk = open_from (rec.inner, "c.vmdk", true);
  must_write (disk, 5); /* that leaves its parentCID alone */
  disk_close (disk);
  disk = open_from (rec.inner, "c.vmdk", false);
  disk_close (disk);

  /* While it lies beside its parent that is not written at all. */
  image = read_file (rec.inner, "c.vmdk");
  assert_int_equal (store_remove (rec.inner, "c.vmdk", &f.err), 0);
  disk = open_from (rec.inner, "d.vmdk", true);
  must_write (disk, 5);
  disk_close (disk);
  put ("c.vmdk", image.bytes, image.size);
  image_free (&image);
  assert_null (
    disk_open (rec.inner, "c.vmdk", STORE_FROM_USER, &rules, &f.err));
  assert_int_equal (f.err.kind, ERR_MISMATCH);
}

/* -- Real files --------------------------------------------------------- */

static char folder[] = "/tmp/vmdkit-link-change-XXXXXX";

static void
put_real (const char *name, const char *text, mode_t mode)
{
  char path[200];
  FILE *file;

  snprintf (path, sizeof path, "%s/%s", folder, name);
  file = fopen (path, "w");
  assert_non_null (file);
  assert_true (fputs (text, file) >= 0);
  if (strstr (name, "flat"))
    assert_int_equal (ftruncate (fileno (file), 64 * SECTOR_SIZE), 0);
  assert_int_equal (fchmod (fileno (file), mode), 0);
  assert_int_equal (fclose (file), 0);
}

/* The new file has the old one's permissions and owner.  A symbolic link is
 * not replaced by a file.
 */
static void
test_real_files (void **state)
{
  static const mode_t modes[] = { 0600, 0640, 0664, 0606, 0666 };
  char path[200], link_path[200];
  struct store *store;
  struct stat before, after;
  struct disk *disk;

  (void) state;
  assert_non_null (mkdtemp (folder));
  store = store_dir_new (folder, &f.err);
  assert_non_null (store);
  snprintf (path, sizeof path, "%s/d.vmdk", folder);
  put_real ("d-flat.vmdk", "", 0600);
  for (size_t i = 0; i < COUNT (modes); i++) {
    put_real ("d.vmdk", TRACKED, modes[i]);
    if (geteuid () == 0)
      assert_int_equal (chown (path, 1234, 2345), 0);
    assert_int_equal (stat (path, &before), 0);
    disk = open_from (store, "d.vmdk", true);
    must_write (disk, 5);
    disk_close (disk);
    assert_int_equal (stat (path, &after), 0);
    assert_true (after.st_ino != before.st_ino);
    assert_int_equal (after.st_mode & 07777, modes[i]);
    assert_int_equal (after.st_uid, before.st_uid);
    assert_int_equal (after.st_gid, before.st_gid);
    snprintf (link_path, sizeof link_path, "%s/d.vmdk.new", folder);
    assert_int_equal (access (link_path, F_OK), -1);
    assert_int_equal (unlink (path), 0);
  }

  put_real ("d.vmdk", TRACKED, 0600);
  snprintf (link_path, sizeof link_path, "%s/link.vmdk", folder);
  assert_int_equal (symlink ("d.vmdk", link_path), 0);
  disk = open_from (store, "link.vmdk", true);
  assert_int_equal (write_byte (disk, 5), -1);
  assert_error (&f.err, ERR_READ_ONLY,
                "link.vmdk: the descriptor has to be replaced, and its name "
                "is a symbolic link, or another file's by now");
  disk_close (disk);
  assert_int_equal (lstat (link_path, &after), 0);
  assert_true (S_ISLNK (after.st_mode));
  store_close (store);
  assert_int_equal (unlink (link_path), 0);
  assert_int_equal (unlink (path), 0);
  snprintf (path, sizeof path, "%s/d-flat.vmdk", folder);
  assert_int_equal (unlink (path), 0);
  assert_int_equal (rmdir (folder), 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_when, setup, teardown),
    cmocka_unit_test_setup_teardown (test_lines, setup, teardown),
    cmocka_unit_test_setup_teardown (test_padded, setup, teardown),
    cmocka_unit_test_setup_teardown (test_replaced, setup, teardown),
    cmocka_unit_test_setup_teardown (test_failures, setup, teardown),
    cmocka_unit_test_setup_teardown (test_embedded, setup, teardown),
    cmocka_unit_test_setup_teardown (test_no_room, setup, teardown),
    cmocka_unit_test_setup_teardown (test_only_descriptor, setup, teardown),
    cmocka_unit_test_setup_teardown (test_child_refused, setup, teardown),
    cmocka_unit_test_setup_teardown (test_real_files, setup, teardown),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
