/* SPDX-License-Identifier: BSD-3-Clause */

/* Streams written from beginning to end: block by block as a reader that only
 * goes forward sees them, and as our own reader does.
 */

#include <config.h>

#include <inttypes.h>

#include "extent-helper.h"
#include "copy.h"
#include "create-parts.h"
#include "deflate.h"
#include "disk.h"
#include "store.h"
#include "stream-export.h"
#include "stream-marker.h"

static struct fixture f;
static struct resources *resources;

static int
setup (void **state)
{
  (void) state;
  fixture_init (&f);
  resources = resources_new (1 << 20, 1 << 20, &f.err);
  assert_non_null (resources);
  f.rules.resources = resources;
  return 0;
}

static int
teardown (void **state)
{
  (void) state;
  resources_free (resources);
  fixture_free (&f);
  return 0;
}

/* -- A medium that is written once, in order ---------------------------- */

struct tape {
  struct media media;
  struct image image;
  bool may_rewind; /* the header may be written at the end */
};

static int
tape_pwrite (struct media *media, const void *buf, size_t count,
             uint64_t offset, struct vmdk_error *err)
{
  struct tape *tape = (struct tape *) media;

  if (offset != tape->image.size && !(tape->may_rewind && offset == 0))
    return fail (err, ERR_ARGUMENT, "written at %" PRIu64 ", not at %zu",
                 offset, tape->image.size);
  image_grow (&tape->image, offset + count);
  memcpy (tape->image.bytes + offset, buf, count);
  return 0;
}

static const struct media_ops tape_ops = { .pwrite = tape_pwrite };

/* -- Disks -------------------------------------------------------------- */

/* Which grains of a disk have data: bytes of a kind that compresses or of one
 * that does not.
 */
struct contents {
  uint64_t size;
  uint8_t *bytes;
};

static void
fill (struct contents *c, uint64_t from, uint64_t count, bool noise)
{
  uint64_t seed = from + 1;

  for (uint64_t i = from; i < from + count; i++)
    c->bytes[i] =
      noise ? (uint8_t) random_next (&seed) : (uint8_t) (1 + i / 64 % 250);
}

static int
read_contents (void *opaque, void *buf, size_t count, uint64_t offset,
               struct vmdk_error *err)
{
  const struct contents *c = opaque;

  (void) err;
  memcpy (buf, c->bytes + offset, count);
  return 0;
}

/* No block status: zeros are found by looking. */
static int
all_is_data (void *opaque, uint64_t offset, uint64_t end, uint64_t *start,
             uint64_t *stop, struct vmdk_error *err)
{
  (void) opaque;
  (void) err;
  *start = offset;
  *stop = end;
  return 0;
}

static const char text[] = "# Disk DescriptorFile\n"
                           "version=1\n"
                           "CID=12345678\n"
                           "parentCID=ffffffff\n"
                           "createType=\"streamOptimized\"\n"
                           "# Extent description\n"
                           "RW %" PRIu64 " SPARSE \"x.vmdk\"\n";

static struct image export(struct contents *c,
                           struct stream_export_rules rules, unsigned threads)
{
  struct tape tape = { .media = { .ops = &tape_ops },
                       .may_rewind = rules.no_footer };
  const struct operation operation = { 0 };
  const struct copy_share share = { &operation, 0, c->size };
  const struct copy_source source = { .size = c->size,
                                      .opaque = c,
                                      .read = read_contents,
                                      .find_data = all_is_data };
  struct stream_export *stream;
  struct copy_target target;
  struct vmdk_error err;
  char descriptor[512];

  snprintf (descriptor, sizeof descriptor, text, c->size / SECTOR_SIZE);
  rules.nr_sectors = c->size / SECTOR_SIZE;
  rules.text = descriptor;
  rules.len = strlen (descriptor);
  rules.text_sectors = DESCRIPTOR_AREA_SECTORS;
  stream = stream_export_new (&tape.media, &rules, &err);
  assert_non_null (stream);
  target = stream_export_target (stream);
  assert_int_equal (copy_run (&source, &target, threads, &share, &err), 0);
  assert_int_equal (stream_export_finish (stream, &err), 0);
  stream_export_free (stream);
  return tape.image;
}

/* -- A reader that goes forward ----------------------------------------- */

struct reader {
  const struct contents *c;
  const struct image *image;
  size_t at;
  uint64_t grain_size;
  uint64_t last;            /* lba of the last grain, or UINT64_MAX */
  uint32_t table[512];      /* of the grains since the last table */
  uint32_t directory[4096]; /* of the tables so far */
  struct sparse_header header;
  size_t nr_grains;
};

static void
read_grain (struct reader *r, const struct stream_marker *m)
{
  const uint64_t offset = sectors_to_bytes (m->value);
  const size_t valid = min_u64 (r->grain_size, r->c->size - offset);
  uint8_t *grain = malloc (r->grain_size);
  struct vmdk_error err;
  struct inflater *inflater = inflater_take (resources->inflaters, 0, &err);
  size_t written;

  assert_true (m->value % (r->grain_size / SECTOR_SIZE) == 0);
  assert_true (r->last == UINT64_MAX || m->value > r->last);
  r->last = m->value;
  assert_int_equal (
    inflate_grain (inflater,
                   r->image->bytes + r->at + STREAM_GRAIN_HEADER_SIZE, m->size,
                   grain, r->grain_size, &written, &err),
    0);
  /* A whole one, also the last. */
  assert_int_equal (written, r->grain_size);
  assert_memory_equal (grain, r->c->bytes + offset, valid);
  assert_true (bytes_are_zero (grain + valid, r->grain_size - valid));
  assert_false (bytes_are_zero (grain, r->grain_size));
  r->table[offset / r->grain_size % 512] = (uint32_t) (r->at / SECTOR_SIZE);
  r->nr_grains++;
  inflater_put (inflater);
  free (grain);
  r->at += div_round_up (STREAM_GRAIN_HEADER_SIZE + m->size, SECTOR_SIZE)
           * SECTOR_SIZE;
}

static void
read_table (struct reader *r, const struct stream_marker *m)
{
  const uint64_t number = sectors_to_bytes (r->last) / r->grain_size / 512;

  assert_int_equal (m->value, STREAM_TABLE_SECTORS);
  r->at += SECTOR_SIZE;
  for (size_t i = 0; i < 512; i++)
    assert_int_equal (le32_load (r->image->bytes + r->at + i * 4),
                      r->table[i]);
  r->directory[number] = (uint32_t) (r->at / SECTOR_SIZE);
  memset (r->table, 0, sizeof r->table);
  r->at += sectors_to_bytes (m->value);
}

static uint64_t
read_directory (struct reader *r, const struct stream_marker *m)
{
  const uint64_t nr = sparse_header_nr_tables (&r->header);
  uint64_t at;

  assert_int_equal (m->value, stream_directory_sectors (nr));
  r->at += SECTOR_SIZE;
  at = r->at / SECTOR_SIZE;
  for (size_t i = 0; i < nr; i++)
    assert_int_equal (le32_load (r->image->bytes + r->at + i * 4),
                      r->directory[i]);
  r->at += sectors_to_bytes (m->value);
  return at;
}

/* The header again, but for the directory. */
static void
check_footer (const struct image *image, size_t at, uint64_t directory)
{
  uint8_t footer[SECTOR_SIZE];

  memcpy (footer, image->bytes + at, sizeof footer);
  assert_int_equal (le64_load (footer + 56), directory);
  le64_store (footer + 56, SPARSE_GD_AT_END);
  assert_memory_equal (footer, image->bytes, sizeof footer);
}

/* Everything of a stream, and nothing more. */
static void
read_forward (const struct contents *c, const struct image *image,
              const struct stream_export_rules *rules, size_t nr_grains)
{
  struct reader r = { .c = c, .image = image, .last = UINT64_MAX };
  struct sparse_header *h = &r.header;
  uint64_t directory = 0;
  bool ended = false;

  assert_int_equal (image->size % SECTOR_SIZE, 0);
  sparse_header_decode (image->bytes, h);
  assert_int_equal (h->magic, SPARSE_MAGIC);
  assert_int_equal (h->version, rules->version);
  assert_int_equal (h->flags, 0x30001);
  assert_int_equal (h->compress_algorithm, 1);
  assert_int_equal (h->capacity, c->size / SECTOR_SIZE);
  assert_int_equal (h->grain_size, rules->grain);
  assert_int_equal (h->overhead, 128);
  assert_int_equal (h->descriptor_offset, 1);
  assert_int_equal (h->descriptor_size, 20);
  assert_int_equal (h->rgd_offset, 0);
  assert_int_equal (h->unclean_shutdown, 0);
  r.grain_size = sectors_to_bytes (h->grain_size);
  for (r.at = sectors_to_bytes (h->overhead); !ended;) {
    const struct stream_marker m = stream_marker_decode (image->bytes + r.at);

    if (m.size > 0)
      read_grain (&r, &m);
    else if (m.type == MARKER_GRAIN_TABLE)
      read_table (&r, &m);
    else if (m.type == MARKER_GRAIN_DIRECTORY)
      directory = read_directory (&r, &m);
    else if (m.type == MARKER_FOOTER) {
      assert_false (rules->no_footer);
      assert_int_equal (m.value, 1);
      check_footer (image, r.at + SECTOR_SIZE, directory);
      r.at += 2 * SECTOR_SIZE;
    }
    else {
      assert_int_equal (m.type, MARKER_EOS);
      assert_true (bytes_are_zero (image->bytes + r.at, SECTOR_SIZE));
      r.at += SECTOR_SIZE;
      ended = true;
    }
  }
  assert_int_equal (r.at, image->size);
  assert_int_equal (r.nr_grains, nr_grains);
  assert_int_equal (h->gd_offset,
                    rules->no_footer ? directory : SPARSE_GD_AT_END);
}

/* -- Our own reader ----------------------------------------------------- */

static void
read_as_disk (const struct contents *c, const struct image *image)
{
  const struct chain_rules rules = { .open = f.rules };
  struct vmdk_error err = { 0 };
  struct store *store = store_memory_new ("memory", &err);
  struct disk *disk;
  uint8_t *bytes = malloc (c->size);

  assert_int_equal (
    store_memory_add (store, "x.vmdk", image->bytes, image->size, &err), 0);
  disk = disk_open (store, "x.vmdk", STORE_FROM_FILE, &rules, &err);
  assert_string_equal (err.text, "");
  assert_non_null (disk);
  assert_string_equal (f.warning, "");
  assert_int_equal (disk_size (disk), c->size);
  assert_int_equal (disk_read (disk, bytes, c->size, 0, &err), 0);
  assert_memory_equal (bytes, c->bytes, c->size);
  free (bytes);
  disk_close (disk);
  store_close (store);
}

/* -- Cases -------------------------------------------------------------- */

static size_t
nr_grains_of (const struct contents *c, uint64_t grain_size)
{
  size_t n = 0;

  for (uint64_t at = 0; at < c->size; at += grain_size)
    n += !bytes_are_zero (c->bytes + at, min_u64 (grain_size, c->size - at));
  return n;
}

static void
check (struct contents *c, struct stream_export_rules rules)
{
  const struct image image = export(c, rules, 1);
  const size_t n = nr_grains_of (c, sectors_to_bytes (rules.grain));

  read_forward (c, &image, &rules, n);
  read_as_disk (c, &image);
  rules.nr_sectors = c->size / SECTOR_SIZE;
  rules.text_sectors = DESCRIPTOR_AREA_SECTORS;
  assert_true (
    image.size <= stream_export_bound (
      &rules, n, div_round_up (rules.nr_sectors, rules.grain * 512)));
  for (unsigned threads = 2; threads <= 5; threads += 3) {
    struct image other = export(c, rules, threads);

    assert_int_equal (other.size, image.size);
    assert_memory_equal (other.bytes, image.bytes, image.size);
    image_free (&other);
  }
  free (image.bytes);
}

static struct contents
make_contents (uint64_t size)
{
  struct contents c = { .size = size, .bytes = calloc (1, size) };

  assert_non_null (c.bytes);
  return c;
}

static const struct stream_export_rules usual = { .grain = 128,
                                                  .level =
                                                    DEFLATE_DEFAULT_LEVEL,
                                                  .version = 3 };

static void
test_empty (void **state)
{
  struct contents c = make_contents (100 << 20);

  (void) state;
  check (&c, usual);
  free (c.bytes);
}

/* Tables with grains, without, and with their last or first alone; a last
 * grain that is not whole.
 */
static void
test_grains (void **state)
{
  const uint64_t span = 32 << 20; /* of a table */
  struct contents c = make_contents (4 * span + 70000 / 512 * 512);

  (void) state;
  fill (&c, 0, 300000, false);
  fill (&c, span - 65536, 1, false);
  fill (&c, span + 1000, 2 << 20, true);
  fill (&c, 3 * span - 1, 2, false); /* across a boundary of tables */
  fill (&c, c.size - 10, 10, true);
  check (&c, usual);
  free (c.bytes);
}

static void
test_rules (void **state)
{
  static const struct stream_export_rules cases[] = {
    { .grain = 8, .level = DEFLATE_FAST, .version = 3 },
    { .grain = 2048, .level = DEFLATE_BEST, .version = 3 },
    { .grain = 128, .level = 1, .version = 1 },
    { .grain = 128, .level = 9, .version = 3, .no_footer = true },
    { .grain = 16, .level = DEFLATE_FAST, .version = 3, .no_footer = true },
  };
  struct contents c = make_contents ((5 << 20) + 512);

  (void) state;
  fill (&c, 100, 500000, false);
  fill (&c, 2 << 20, 1 << 20, true);
  fill (&c, c.size - 512, 512, false);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    check (&c, cases[i]);
  free (c.bytes);
}

/* The smallest disk. */
static void
test_one_sector (void **state)
{
  struct contents c = make_contents (512);

  (void) state;
  fill (&c, 0, 512, true);
  check (&c, usual);
  free (c.bytes);
}

static void
test_levels (void **state)
{
  static const struct {
    const char *word;
    int level; /* -1: none */
  } words[] = {
    { "fast", DEFLATE_FAST },
    { "default", DEFLATE_DEFAULT_LEVEL },
    { "best", DEFLATE_BEST },
    { "1", 1 },
    { "12", 12 },
    { "0", -1 },
    { "13", -1 },
    { "", -1 },
    { "-1", -1 },
    { "+1", -1 },
    { " 1", -1 },
    { "1 ", -1 },
    { "Fast", -1 },
    { "99999999999999999999", -1 },
  };

  (void) state;
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    int level = -1;

    assert_int_equal (deflate_level_parse (words[i].word, &level),
                      words[i].level != -1);
    if (words[i].level != -1)
      assert_int_equal (level, words[i].level);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_empty, setup, teardown),
    cmocka_unit_test_setup_teardown (test_grains, setup, teardown),
    cmocka_unit_test_setup_teardown (test_rules, setup, teardown),
    cmocka_unit_test_setup_teardown (test_one_sector, setup, teardown),
    cmocka_unit_test (test_levels),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
