/* SPDX-License-Identifier: BSD-3-Clause */

/* New disks: names, texts, layouts, limits, and what is left of them when a
 * step fails.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "extent-helper.h"
#include "create-helper.h"
#include "disk-helper.h"
#include "create.h"
#include "sparse-header.h"

#define MIB (UINT64_C (1) << 20)
#define GIB (UINT64_C (1) << 30)
#define TIB (UINT64_C (1) << 40)
#define COUNT(array) (sizeof (array) / sizeof (array)[0])

static void
create (const char *name, const struct create_rules *rules)
{
  const int r = disk_create (store, name, rules, &f.err);

  if (r == -1)
    print_error ("%s\n", f.err.text);
  assert_int_equal (r, 0);
}

/* -- Names and numbers -------------------------------------------------- */

static void
test_type_names (void **state)
{
  static const struct {
    const char *name, *plugin_name;
  } names[] = {
    [DISK_MONOLITHIC_SPARSE] = { "monolithicSparse", "monolithic-sparse" },
    [DISK_MONOLITHIC_FLAT] = { "monolithicFlat", "monolithic-flat" },
    [DISK_SPLIT_SPARSE] = { "twoGbMaxExtentSparse", "split-sparse" },
    [DISK_SPLIT_FLAT] = { "twoGbMaxExtentFlat", "split-flat" },
    [DISK_VMFS_FLAT] = { "vmfs", "vmfs-flat" },
    [DISK_VMFS_THIN] = { "vmfsThin", "vmfs-thin" },
    [DISK_VMFS_SPARSE] = { "vmfsSparse", "vmfs-sparse" },
    [DISK_STREAM_OPTIMIZED] = { "streamOptimized", "stream-optimized" },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (names); i++) {
    assert_string_equal (disk_type_name (i), names[i].name);
    assert_int_equal (disk_type_parse (names[i].name), i);
    assert_int_equal (disk_type_parse (names[i].plugin_name), i);
  }
  assert_int_equal (disk_type_parse ("MonolithicSPARSE"),
                    DISK_MONOLITHIC_SPARSE);
  assert_int_equal (disk_type_parse ("SPLIT-FLAT"), DISK_SPLIT_FLAT);
  assert_int_equal (disk_type_parse ("monolithic"), -1);
  assert_int_equal (disk_type_parse (""), -1);
  assert_int_equal (disk_type_parse ("seSparse"), -1);
}

static void
test_geometry (void **state)
{
  static const struct {
    uint64_t nr_sectors;
    const char *adapter;
    uint64_t cylinders;
    unsigned heads, sectors;
  } cases[] = {
    { 1, "lsilogic", 1, 64, 32 },
    { 4096, "lsilogic", 2, 64, 32 },
    { 2097151, "buslogic", 1023, 64, 32 },
    { 2097152, "lsilogic", 512, 128, 32 },
    { 4194303, "lsilogic", 1023, 128, 32 },
    { 4194304, "lsilogic", 261, 255, 63 },
    { 83886080, "legacyESX", 5221, 255, 63 },
    { 1048576000, "lsilogic", 65270, 255, 63 },
    { 133143986176, "pvscsi", 8287829, 255, 63 },
    { 1, "ide", 1, 16, 63 },
    { 10485760, "ide", 10402, 16, 63 },
    { 16777216, "ide", 16383, 16, 63 },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    const struct disk_geometry g =
      disk_geometry_for (cases[i].nr_sectors, cases[i].adapter);

    assert_int_equal (g.cylinders, cases[i].cylinders);
    assert_int_equal (g.heads, cases[i].heads);
    assert_int_equal (g.sectors, cases[i].sectors);
  }
}

static void
test_random_cid (void **state)
{
  uint32_t last = 0;

  (void) state;
  for (int i = 0; i < 1000; i++) {
    const uint32_t cid = random_cid (last);

    assert_int_not_equal (cid, 0);
    assert_int_not_equal (cid, 0xfffffffe);
    assert_int_not_equal (cid, 0xffffffff);
    assert_int_not_equal (cid, last);
    last = cid;
  }
}

/* -- Texts -------------------------------------------------------------- */

#define HEAD(type)              \
  "# Disk DescriptorFile\n"     \
  "version=1\n"                 \
  "encoding=\"UTF-8\"\n"        \
  "CID=XXXXXXXX\n"              \
  "parentCID=ffffffff\n"        \
  "isNativeSnapshot=\"no\"\n"   \
  "createType=\"" type "\"\n\n" \
  "# Extent description\n"
#define DATABASE(adapter, cylinders, heads, sectors) \
  "\n# The Disk Data Base \n#DDB\n\n"                \
  "ddb.adapterType = \"" adapter "\"\n"              \
  "ddb.geometry.cylinders = \"" cylinders "\"\n"     \
  "ddb.geometry.heads = \"" heads "\"\n"             \
  "ddb.geometry.sectors = \"" sectors "\"\n"         \
  "ddb.longContentID = "                             \
  "\"XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX\"\n"
#define TAIL(version)                                                \
  "ddb.uuid = \"60 00 C2 9X XX XX XX XX-XX XX XX XX XX XX XX XX\"\n" \
  "ddb.virtualHWVersion = \"" version "\"\n"

/* Small disks of each type: their files, the descriptor, what they read as.
 */
static void
test_types (void **state)
{
  static const struct {
    struct create_rules rules;
    const char *files, *text;
  } cases[] = {
    { { .type = DISK_MONOLITHIC_SPARSE, .size = 3 * MIB },
      "a.b.vmdk",
      HEAD ("monolithicSparse") "RW 6144 SPARSE \"a.b.vmdk\"\n" DATABASE (
        "lsilogic", "3", "64", "32") TAIL ("4") },
    { { .type = DISK_MONOLITHIC_FLAT, .size = 512, .adapter = "ide" },
      "a.b-flat.vmdk a.b.vmdk",
      HEAD ("monolithicFlat") "RW 1 FLAT \"a.b-flat.vmdk\" 0\n" DATABASE (
        "ide", "1", "16", "63") TAIL ("4") },
    { { .type = DISK_SPLIT_SPARSE,
        .size = 10485760 * UINT64_C (512),
        .adapter = "buslogic",
        .hw_version = 21 },
      "a.b-s001.vmdk a.b-s002.vmdk a.b-s003.vmdk a.b.vmdk",
      HEAD ("twoGbMaxExtentSparse") "RW 4192256 SPARSE \"a.b-s001.vmdk\"\n"
                                    "RW 4192256 SPARSE \"a.b-s002.vmdk\"\n"
                                    "RW 2101248 SPARSE "
                                    "\"a.b-s003.vmdk\"\n" DATABASE (
                                      "buslogic", "652", "255", "63")
                                      TAIL ("21") },
    { { .type = DISK_SPLIT_FLAT, .size = 3 * MIB },
      "a.b-f001.vmdk a.b.vmdk",
      HEAD ("twoGbMaxExtentFlat") "RW 6144 FLAT \"a.b-f001.vmdk\" "
                                  "0\n" DATABASE ("lsilogic", "3", "64", "32")
                                    TAIL ("4") },
    { { .type = DISK_VMFS_FLAT, .size = 3 * MIB },
      "a.b-flat.vmdk a.b.vmdk",
      HEAD ("vmfs") "RW 6144 VMFS \"a.b-flat.vmdk\"\n" DATABASE (
        "lsilogic", "3", "64", "32") TAIL ("4") },
    { { .type = DISK_VMFS_THIN, .size = 3 * MIB, .adapter = "legacyESX" },
      "a.b-flat.vmdk a.b.vmdk",
      HEAD ("vmfs") "RW 6144 VMFS \"a.b-flat.vmdk\"\n" DATABASE (
        "legacyESX", "3", "64",
        "32") "ddb.thinProvisioned = \"1\"\n" TAIL ("4") },
    { { .type = DISK_VMFS_SPARSE, .size = 3 * MIB },
      "a.b-delta.vmdk a.b.vmdk",
      HEAD ("vmfsSparse") "RW 6144 VMFSSPARSE \"a.b-delta.vmdk\"\n" DATABASE (
        "lsilogic", "3", "64", "32") TAIL ("4") },
    { { .type = DISK_STREAM_OPTIMIZED, .size = 3 * MIB },
      "a.b.vmdk",
      HEAD ("streamOptimized") "RW 6144 SPARSE \"a.b.vmdk\"\n" DATABASE (
        "lsilogic", "3", "64", "32") TAIL ("4") },
  };

  for (size_t i = 0; i < COUNT (cases); i++) {
    if (i > 0) {
      folder_teardown (state);
      folder_setup (state);
    }
    create ("a.b.vmdk", &cases[i].rules);
    assert_files (store, cases[i].files);
    assert_text (store, "a.b.vmdk", cases[i].text);
    assert_empty_disk (&f, store, "a.b.vmdk", cases[i].rules.size);
  }
}

/* As qemu derives them. */
static void
test_extent_names (void **state)
{
  static const struct create_rules rules = { .type = DISK_SPLIT_FLAT,
                                             .size = 512 };

  (void) state;
  create ("plain", &rules);
  create (".x", &rules);
  create ("\xc3\xa4 %s$(x)'.img", &rules);
  assert_files (store, "plain-f001 plain -f001.x .x "
                       "\xc3\xa4 %s$(x)'-f001.img \xc3\xa4 %s$(x)'.img");
  assert_empty_disk (&f, store, "plain", 512);
  assert_empty_disk (&f, store, ".x", 512);
  assert_empty_disk (&f, store, "\xc3\xa4 %s$(x)'.img", 512);
}

/* -- Layouts ------------------------------------------------------------ */

static void
assert_directory (const struct image *image, uint64_t sector, uint64_t first,
                  uint64_t nr_tables)
{
  const uint8_t *p = image->bytes + sectors_to_bytes (sector);

  for (uint64_t i = 0; i < nr_tables; i++)
    assert_int_equal (le32_load (p + 4 * i), first + 4 * i);
  /* the rest of its last sector, and the tables, the next directory included
   * in neither */
  p += 4 * nr_tables;
  assert_true (bytes_are_zero (
    p, sectors_to_bytes (first + 4 * nr_tables - sector) - 4 * nr_tables));
}

static void
test_sparse_layout (void **state)
{
  static const struct {
    enum disk_type type;
    uint64_t nr_sectors, grain;
    uint64_t rgd, gd, nr_tables, directory, overhead; /* sectors */
  } cases[] = {
    { DISK_MONOLITHIC_SPARSE, 20480, 0, 21, 26, 1, 1, 128 },
    { DISK_MONOLITHIC_SPARSE, 10485760, 0, 21, 663, 160, 2, 1408 },
    { DISK_MONOLITHIC_SPARSE, 65537, 0, 21, 30, 2, 1, 128 },
    { DISK_MONOLITHIC_SPARSE, 1, 0, 21, 26, 1, 1, 128 },
    { DISK_MONOLITHIC_SPARSE, 20480, 8, 21, 42, 5, 1, 64 },
    { DISK_MONOLITHIC_SPARSE, 20480, 2048, 21, 26, 1, 1, 2048 },
    { DISK_SPLIT_SPARSE, 20480, 0, 1, 6, 1, 1, 128 },
    /* a full one has 4192896 sectors, as VMware's */
    { DISK_SPLIT_SPARSE, 4192256, 0, 1, 258, 64, 1, 640 },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    const struct create_rules rules = {
      .type = cases[i].type,
      .size = sectors_to_bytes (cases[i].nr_sectors),
      .grain_size = sectors_to_bytes (cases[i].grain),
    };
    const bool split = cases[i].type == DISK_SPLIT_SPARSE;
    const uint64_t first = cases[i].rgd + cases[i].directory;
    struct sparse_header h;
    struct image image;
    char name[32];

    snprintf (name, sizeof name, "%zu.vmdk", i);
    create (name, &rules);
    if (split)
      snprintf (name, sizeof name, "%zu-s001.vmdk", i);
    image = read_file (store, name);
    sparse_header_decode (image.bytes, &h);
    assert_int_equal (h.magic, SPARSE_MAGIC);
    assert_int_equal (h.version, 1);
    assert_int_equal (h.flags, 3);
    assert_int_equal (h.capacity, cases[i].nr_sectors);
    assert_int_equal (h.grain_size, cases[i].grain ? cases[i].grain : 128);
    assert_int_equal (h.descriptor_offset, split ? 0 : 1);
    assert_int_equal (h.descriptor_size, split ? 0 : 20);
    assert_int_equal (h.nr_gtes_per_gt, 512);
    assert_int_equal (h.rgd_offset, cases[i].rgd);
    assert_int_equal (h.gd_offset, cases[i].gd);
    assert_int_equal (h.overhead, cases[i].overhead);
    assert_int_equal (h.unclean_shutdown, 0);
    assert_int_equal (h.compress_algorithm, 0);
    assert_memory_equal (h.newline_test, "\n \r\n", 4);
    assert_true (bytes_are_zero (h.pad, sizeof h.pad));
    assert_int_equal (image.size, sectors_to_bytes (cases[i].overhead));
    assert_directory (&image, cases[i].rgd, first, cases[i].nr_tables);
    assert_directory (&image, cases[i].gd, cases[i].gd + cases[i].directory,
                      cases[i].nr_tables);
    image_free (&image);
  }
}

/* Everything but the text: header, GD marker, directory, FOOTER marker,
 * footer, EOS.
 */
static void
test_stream_layout (void **state)
{
  static const struct create_rules rules = { .type = DISK_STREAM_OPTIMIZED,
                                             .size =
                                               UINT64_C (129) * 65536 * 512 };
  uint8_t buf[SPARSE_HEADER_SIZE];
  struct sparse_header h, footer;
  struct image image;
  const uint8_t *p;

  (void) state;
  create ("x", &rules);
  image = read_file (store, "x");
  assert_int_equal (image.size, sectors_to_bytes (128 + 1 + 2 + 3));
  sparse_header_decode (image.bytes, &h);
  assert_int_equal (h.version, 3);
  assert_int_equal (h.flags, 0x30001);
  assert_int_equal (h.compress_algorithm, 1);
  assert_int_equal (h.capacity, 129 * 65536);
  assert_int_equal (h.grain_size, 128);
  assert_int_equal (h.descriptor_offset, 1);
  assert_int_equal (h.descriptor_size, 20);
  assert_int_equal (h.rgd_offset, 0);
  assert_true (h.gd_offset == SPARSE_GD_AT_END);
  assert_int_equal (h.overhead, 128);

  p = image.bytes + sectors_to_bytes (21);
  assert_true (bytes_are_zero (p, sectors_to_bytes (128 - 21)));
  p = image.bytes + sectors_to_bytes (128); /* marker and directory */
  assert_int_equal (le64_load (p), 2);
  assert_int_equal (le32_load (p + 8), 0);
  assert_int_equal (le32_load (p + 12), 2);
  assert_true (bytes_are_zero (p + 16, sectors_to_bytes (3) - 16));
  p += sectors_to_bytes (3); /* marker and footer */
  assert_int_equal (le64_load (p), 1);
  assert_int_equal (le32_load (p + 8), 0);
  assert_int_equal (le32_load (p + 12), 3);
  assert_true (bytes_are_zero (p + 16, SECTOR_SIZE - 16));
  sparse_header_decode (p + SECTOR_SIZE, &footer);
  assert_int_equal (footer.gd_offset, 129);
  footer.gd_offset = SPARSE_GD_AT_END;
  sparse_header_encode (&footer, buf);
  assert_memory_equal (buf, image.bytes, sizeof buf);
  p += sectors_to_bytes (2);
  assert_true (bytes_are_zero (p, SECTOR_SIZE));
  image_free (&image);
}

static void
test_cowd_layout (void **state)
{
  static const struct create_rules rules = { .type = DISK_VMFS_SPARSE,
                                             .size = 204800 * 512 };
  static const uint32_t fields[] = { 1, 3, 204800, 1, 4, 50, 5, 100, 64, 32 };
  struct image image;

  (void) state;
  create ("x", &rules);
  image = read_file (store, "x-delta");
  assert_int_equal (image.size, sectors_to_bytes (5));
  assert_memory_equal (image.bytes, "COWD", 4);
  for (size_t i = 0; i < COUNT (fields); i++)
    assert_int_equal (le32_load (image.bytes + 4 + 4 * i), fields[i]);
  assert_true (bytes_are_zero (image.bytes + 44, image.size - 44));
  image_free (&image);
}

static void
test_grains (void **state)
{
  static const struct {
    enum disk_type type;
    uint64_t min;
  } types[] = {
    { DISK_MONOLITHIC_SPARSE, 8 },
    { DISK_SPLIT_SPARSE, 8 },
    { DISK_STREAM_OPTIMIZED, 8 },
    { DISK_VMFS_SPARSE, 1 },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (types); i++)
    for (uint64_t grain = types[i].min; grain <= 2048; grain *= 2) {
      const struct create_rules rules = {
        .type = types[i].type,
        .size = 33 * MIB + 512,
        .grain_size = sectors_to_bytes (grain),
      };
      char name[32];

      sprintf (name, "%zu-%" PRIu64 ".vmdk", i, grain);
      create (name, &rules);
      assert_empty_disk (&f, store, name, rules.size);
    }
}

/* -- Huge disks --------------------------------------------------------- */

/* A store that forgets the bytes and keeps the books. */
struct books {
  struct store store;
  uint64_t nr_files, nr_writes, written, total, largest;
  uint64_t text_size; /* of the last file that was only written */
};

struct book {
  struct media media;
  struct books *books;
  bool sized;
};

static int
book_pwrite (struct media *media, const void *buf, size_t count,
             uint64_t offset, struct vmdk_error *err)
{
  struct book *book = (struct book *) media;

  (void) buf, (void) err;
  book->books->nr_writes++;
  book->books->written += count;
  if (book->sized) /* creating never writes behind what it sized */
    assert_true (offset + count <= media->size);
  else
    book->books->text_size = offset + count;
  return 0;
}

static int
book_truncate (struct media *media, uint64_t size, struct vmdk_error *err)
{
  struct book *book = (struct book *) media;

  (void) err;
  book->sized = true;
  book->books->total += size;
  book->books->largest = max_u64 (book->books->largest, size);
  return 0;
}

static void
book_close (struct media *media)
{
  free (media->name);
  free (media);
}

static const struct media_ops book_ops = {
  .pwrite = book_pwrite,
  .truncate = book_truncate,
  .close = book_close,
};

static struct media *
books_create (struct store *s, const char *name, unsigned mode,
              struct vmdk_error *err)
{
  struct books *books = (struct books *) s;
  struct book *book = calloc (1, sizeof *book);

  (void) mode, (void) err;
  assert_non_null (book);
  book->media.ops = &book_ops;
  book->media.name = strdup (name);
  book->books = books;
  books->nr_files++;
  return &book->media;
}

static struct media *
books_open (struct store *s, const char *name, enum store_open_flags flags,
            struct vmdk_error *err)
{
  (void) s, (void) name, (void) flags;
  fail (err, ERR_MISSING, "no such file");
  return NULL;
}

static int
books_remove (struct store *s, const char *name, struct vmdk_error *err)
{
  (void) s, (void) name, (void) err;
  return 0;
}

static const struct store_ops books_ops = { .open = books_open,
                                            .create = books_create,
                                            .remove = books_remove };

static void
test_huge (void **state)
{
  static const struct {
    enum disk_type type;
    uint64_t size, grain_size;
    uint64_t nr_files, largest; /* bytes */
    uint64_t written_max;
  } cases[] = {
    /* 4294441984 sectors; 525312 before the first grain */
    { DISK_MONOLITHIC_SPARSE, 4294441984 * 512, 0, 1, 525312 * 512, 600000 },
    { DISK_SPLIT_SPARSE, 62 * TIB, 0, 31761, 640 * 512, 64 * MIB },
    { DISK_SPLIT_FLAT, 62 * TIB, 0, 31761, 4192256 * UINT64_C (512), 4 * MIB },
    { DISK_SPLIT_SPARSE, 32768 * UINT64_C (4192256) * 512, 4096, 32769,
      8216 * 512, 512 * MIB },
    { DISK_MONOLITHIC_FLAT, 62 * TIB, 0, 2, 62 * TIB, 2000 },
    { DISK_VMFS_THIN, (MAX_SECTORS) *512, 0, 2, MAX_SECTORS * 512, 2000 },
    { DISK_STREAM_OPTIMIZED, 62 * TIB, 0, 1, (16000 + 15872 + 4) * 512, 5000 },
    { DISK_VMFS_SPARSE, 2 * TIB - 20 * GIB, 0, 2, 0, 10000 },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    struct books books = { .store = { .ops = &books_ops, .name = "books" } };
    const struct create_rules rules = {
      .type = cases[i].type,
      .size = cases[i].size,
      .grain_size = cases[i].grain_size,
    };

    if (disk_create (&books.store, "disk.vmdk", &rules, &f.err) == -1)
      print_error ("%zu: %s\n", i, f.err.text);
    assert_int_equal (books.nr_files, cases[i].nr_files);
    if (cases[i].largest)
      assert_int_equal (books.largest, cases[i].largest);
    assert_in_range (books.written, 400, cases[i].written_max);
    assert_in_range (books.text_size, 0, DESCRIPTOR_MAX_SIZE);
  }
}

/* -- Use ---------------------------------------------------------------- */

/* What was written into a new disk is read after it was closed. */
static void
test_written (void **state)
{
  static const uint64_t offsets[] = { 0, 3 * MIB, 33 * MIB - 1024, 33 * MIB };
  uint8_t buf[SECTOR_SIZE], wanted[SECTOR_SIZE];

  (void) state;
  for (int type = 0; type < DISK_STREAM_OPTIMIZED; type++) {
    const struct create_rules rules = { .type = type, .size = 33 * MIB + 512 };
    struct disk *disk;
    char name[20];

    sprintf (name, "%d.vmdk", type);
    create (name, &rules);
    disk = open_disk (name, true);
    for (size_t i = 0; i < COUNT (offsets); i++) {
      memset (buf, 1 + (int) i, sizeof buf);
      assert_int_equal (disk_write (disk, buf, sizeof buf, offsets[i], &f.err),
                        0);
    }
    assert_int_equal (disk_finish (disk, &f.err), 0);
    disk_close (disk);

    disk = open_disk (name, false);
    assert_string_equal (f.warning, "");
    for (size_t i = 0; i < COUNT (offsets); i++) {
      memset (wanted, 1 + (int) i, sizeof wanted);
      assert_int_equal (disk_read (disk, buf, sizeof buf, offsets[i], &f.err),
                        0);
      assert_memory_equal (buf, wanted, sizeof buf);
    }
    disk_close (disk);
  }
}

/* -- Refusals ----------------------------------------------------------- */

static void
test_refused (void **state)
{
  static const struct {
    const char *name;
    struct create_rules rules;
    const char *text;
  } cases[] = {
    { "x",
      { .size = 0 },
      "a size of 0 bytes is not a multiple of 512 above 0" },
    { "x",
      { .size = 513 },
      "a size of 513 bytes is not a multiple of 512 above 0" },
    { "x",
      { .size = 4294441985 * 512 },
      "a size of 2198754296320 bytes: a monolithicSparse disk with grains of "
      "65536 bytes has at most 2198754295808" },
    { "x",
      { .size = 4 * TIB, .grain_size = 4096 },
      "a size of 4398046511104 bytes: a monolithicSparse disk with grains of "
      "4096 bytes has at most 2194728288256" },
    { "x",
      { .type = DISK_SPLIT_SPARSE, .size = 64 * TIB },
      "a size of 70368744177664 bytes: a twoGbMaxExtentSparse disk with "
      "grains of 65536 bytes has at most 70334384439296" },
    { "x",
      { .type = DISK_SPLIT_FLAT, .size = 64 * TIB },
      "a size of 70368744177664 bytes: a twoGbMaxExtentFlat disk has at most "
      "70334384439296" },
    { "x",
      { .type = DISK_VMFS_SPARSE, .size = 2 * TIB },
      "a size of 2199023255552 bytes: a vmfsSparse disk with grains of 512 "
      "bytes has at most 2181972424192" },
    { "x",
      { .type = DISK_VMFS_SPARSE, .size = 2 * TIB, .grain_size = MIB },
      "a size of 2199023255552 bytes: a vmfsSparse disk with grains of "
      "1048576 bytes has at most 2199013818368" },
    { "x",
      { .type = DISK_STREAM_OPTIMIZED,
        .size = UINT64_C (1) << 51,
        .grain_size = 4096 },
      "a size of 2251799813685248 bytes: a streamOptimized disk with grains "
      "of 4096 bytes has at most 70368744177664" },
    { "x",
      { .type = DISK_MONOLITHIC_FLAT, .size = UINT64_C (1) << 63 },
      "a size of 9223372036854775808 bytes: a monolithicFlat disk has at most "
      "9223372036854775296" },
    { "x",
      { .size = 512, .grain_size = 2048 },
      "a grain size of 2048 bytes is not a power of two from 4096 to "
      "1048576" },
    { "x",
      { .size = 512, .grain_size = 2 * MIB },
      "a grain size of 2097152 bytes is not a power of two from 4096 to "
      "1048576" },
    { "x",
      { .size = 512, .grain_size = 12288 },
      "a grain size of 12288 bytes is not a power of two from 4096 to "
      "1048576" },
    { "x",
      { .type = DISK_VMFS_SPARSE, .size = 512, .grain_size = 256 },
      "a grain size of 256 bytes is not a power of two from 512 to 1048576" },
    { "x",
      { .type = DISK_VMFS_FLAT, .size = 512, .grain_size = 65536 },
      "a grain size of 65536 bytes: a vmfs disk has no grains" },
    { "x",
      { .size = 512, .adapter = "pvscsi\n" },
      "adapter \"pvscsi\\x0a\" is not one of ide, buslogic, lsilogic, "
      "legacyESX" },
#define BAD_NAME                                                        \
  " cannot be the name of a disk: no slash, backslash, quote, control " \
  "byte or drive letter is allowed"
    { "a\"b", { .size = 512 }, "\"a\"b\"" BAD_NAME },
    { "a\nb", { .size = 512 }, "\"a\\x0ab\"" BAD_NAME },
    { "a\x7f", { .size = 512 }, "\"a\\x7f\"" BAD_NAME },
    { "", { .size = 512 }, "\"\"" BAD_NAME },
    { "..", { .size = 512 }, "\"..\"" BAD_NAME },
    { "sub/x", { .size = 512 }, "\"sub/x\"" BAD_NAME },
    { "/x", { .size = 512 }, "\"/x\"" BAD_NAME },
    { "C:x", { .size = 512 }, "\"C:x\"" BAD_NAME },
    { "a\\b", { .size = 512 }, "\"a\\b\"" BAD_NAME },
  };

  (void) state;
  for (size_t i = 0; i < COUNT (cases); i++) {
    assert_int_equal (
      disk_create (store, cases[i].name, &cases[i].rules, &f.err), -1);
    assert_error (&f.err, ERR_ARGUMENT, cases[i].text);
    assert_int_equal (f.err.errnum, EINVAL);
  }
  assert_files (store, "");
}

/* Names that are too long for the line, the area or the whole. */
static void
test_long_names (void **state)
{
  const struct create_rules flat = { .type = DISK_MONOLITHIC_FLAT,
                                     .size = 512 };
  const struct create_rules split = { .type = DISK_SPLIT_FLAT,
                                      .size = 62 * TIB };
  char name[5000];

  (void) state;
  memset (name, 'n', sizeof name);
  name[4092] = '\0';
  assert_int_equal (disk_create (store, name, &flat, &f.err), -1);
  assert_int_equal (f.err.kind, ERR_ARGUMENT);
  assert_non_null (strstr (f.err.text, "extents would be too long"));
  name[4091] = '\0';
  create (name, &flat);
  assert_empty_disk (&f, store, name, 512);

  name[200] = '\0';
  assert_int_equal (disk_create (store, name, &split, &f.err), -1);
  assert_error (&f.err, ERR_ARGUMENT,
                "31760 extents with so long a name do not fit in a "
                "descriptor of 4194304 bytes");
}

static void
assert_content (const char *name, const char *text)
{
  struct image image = read_file (store, name);

  assert_string_equal ((char *) image.bytes, text);
  image_free (&image);
}

static void
test_exists (void **state)
{
  static const struct create_rules sparse = { .size = MIB };
  static const struct create_rules split = { .type = DISK_SPLIT_SPARSE,
                                             .size = 5 * GIB };

  (void) state;
  put_text ("x.vmdk", "mine");
  assert_int_equal (disk_create (store, "x.vmdk", &sparse, &f.err), -1);
  assert_error (&f.err, ERR_ARGUMENT, "x.vmdk exists already");
  assert_int_equal (f.err.errnum, EEXIST);
  assert_int_equal (disk_create (store, "x.vmdk", &split, &f.err), -1);
  assert_error (&f.err, ERR_ARGUMENT, "x.vmdk exists already");
  assert_int_equal (f.err.errnum, EEXIST);
  assert_files (store, "x.vmdk");
  assert_content ("x.vmdk", "mine");

  put_text ("y-s002.vmdk", "mine, too");
  assert_int_equal (disk_create (store, "y.vmdk", &split, &f.err), -1);
  assert_error (&f.err, ERR_ARGUMENT, "y-s002.vmdk exists already");
  assert_int_equal (f.err.errnum, EEXIST);
  assert_files (store, "x.vmdk y-s002.vmdk");
  assert_content ("y-s002.vmdk", "mine, too");
}

/* -- Failures ----------------------------------------------------------- */

/* Whatever step fails, nothing is left; and every file is made durable. */
static void
test_each_step_fails (void **state)
{
  struct name_text files;

  (void) state;
  for (int type = 0; type < 8; type++)
    for (unsigned at = 1;; at++) {
      struct faulty_store faulty = faulty_store_over (store);
      const bool large = type == DISK_SPLIT_SPARSE;
      const struct create_rules rules = { .type = type,
                                          .size = large ? 5 * GIB : MIB };

      faulty.fail_at = at;
      if (disk_create (&faulty.store, "x.vmdk", &rules, &f.err) == 0) {
        assert_int_equal (faulty.nr_calls, at - 1);
        assert_in_range (at, 5, 40);
        files = (struct name_text){ 0 };
        assert_int_equal (store_list (store, add_name, &files, &f.err), 0);
        assert_int_equal (faulty.nr_flushed, files.nr);
        assert_int_equal (faulty.nr_store_flushes, 1);
        assert_empty_disk (&f, store, "x.vmdk", rules.size);
        folder_teardown (NULL);
        folder_setup (NULL);
        break;
      }
      assert_int_equal (f.err.errnum, ENOSPC);
      assert_non_null (strstr (f.err.text, "told to fail: No space left"));
      assert_int_equal (faulty.nr_calls, at);
      assert_files (store, "");
    }
}

static void
test_no_space_to_reserve (void **state)
{
  static const struct create_rules rules = { .type = DISK_VMFS_FLAT,
                                             .size = MIB };
  struct faulty_store faulty = faulty_store_over (store);

  (void) state;
  faulty.fail_at = 3; /* create, truncate, reserve */
  assert_int_equal (disk_create (&faulty.store, "x.vmdk", &rules, &f.err), -1);
  assert_error (&f.err, ERR_SYSTEM,
                "x-flat.vmdk: told to fail: No space left on device");
  assert_files (store, "");
}

static void
test_cannot_remove (void **state)
{
  static const struct create_rules rules = { .type = DISK_VMFS_FLAT,
                                             .size = MIB };
  struct faulty_store faulty = faulty_store_over (store);

  (void) state;
  faulty.fail_at = 4;
  faulty.keep = true;
  assert_int_equal (disk_create (&faulty.store, "x.vmdk", &rules, &f.err), -1);
  assert_error (&f.err, ERR_SYSTEM,
                "x-flat.vmdk could not be removed again after this: "
                "x-flat.vmdk: told to fail: No space left on device");
  assert_int_equal (f.err.errnum, ENOSPC);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_type_names),
    cmocka_unit_test (test_geometry),
    cmocka_unit_test (test_random_cid),
    TEST_IN_FOLDER (test_types),
    TEST_IN_FOLDER (test_extent_names),
    TEST_IN_FOLDER (test_sparse_layout),
    TEST_IN_FOLDER (test_stream_layout),
    TEST_IN_FOLDER (test_cowd_layout),
    TEST_IN_FOLDER (test_grains),
    TEST_IN_FOLDER (test_huge),
    TEST_IN_FOLDER (test_written),
    TEST_IN_FOLDER (test_refused),
    TEST_IN_FOLDER (test_long_names),
    TEST_IN_FOLDER (test_exists),
    TEST_IN_FOLDER (test_each_step_fails),
    TEST_IN_FOLDER (test_no_space_to_reserve),
    TEST_IN_FOLDER (test_cannot_remove),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
