/* SPDX-License-Identifier: BSD-3-Clause */

/* Writing to streams: what was written is read, at once, after flushing and
 * after finishing; each grain is stored once where that is possible; a file
 * whose writer never finished holds what was flushed, and is written again.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <zlib.h>

#include "extent-helper.h"
#include "disk-helper.h"
#include "check.h"
#include "create.h"
#include "sparse-header.h"
#include "stream-marker.h"

#define GRAIN ((size_t) 4096)
/* More than one table, more grains than are open at once, a part of one. */
#define SIZE (700 * GRAIN + 1536)
#define NAME_OF_DISK "s.vmdk"

static struct disk *disk;
static uint8_t *model; /* what the disk holds */
static uint8_t *buf;
static uint64_t seed;

static void
create (uint64_t size, uint64_t grain)
{
  const struct create_rules rules = {
    .type = DISK_STREAM_OPTIMIZED,
    .size = size,
    .grain_size = grain,
  };

  assert_int_equal (disk_create (store, NAME_OF_DISK, &rules, &f.err), 0);
}

static int
setup (void **state)
{
  (void) state;
  assert_int_equal (folder_setup (state), 0);
  model = calloc (1, SIZE);
  buf = calloc (1, SIZE);
  seed = 88172645463325252;
  create (SIZE, GRAIN);
  disk = open_disk (NAME_OF_DISK, true);
  return model && buf ? 0 : -1;
}

static int
teardown (void **state)
{
  (void) state;
  disk_close (disk);
  disk = NULL;
  folder_teardown (state);
  free (model);
  free (buf);
  return 0;
}

/* -- Requests ----------------------------------------------------------- */

/* Bytes that compress a little, or not at all, or are zeros. */
static void
make_bytes (uint8_t *to, size_t count)
{
  const unsigned kind = random_next (&seed) % 5;

  for (size_t i = 0; i < count; i++)
    to[i] = kind == 0   ? 0
            : kind == 1 ? (uint8_t) random_next (&seed)
                        : (uint8_t) (seed >> (i / 100 % 50));
}

static void
write_random (uint64_t offset, size_t count)
{
  uint8_t *bytes = malloc (count);

  assert_non_null (bytes);
  make_bytes (bytes, count);
  assert_int_equal (disk_write (disk, bytes, count, offset, &f.err), 0);
  memcpy (model + offset, bytes, count);
  free (bytes);
}

static void
assert_holds (struct disk *d, const uint8_t *bytes, uint64_t size)
{
  memset (buf, 0xee, size);
  if (disk_read (d, buf, size, 0, &f.err) == -1)
    print_error ("%s\n", f.err.text);
  for (uint64_t i = 0; i < size; i += 512)
    if (memcmp (buf + i, bytes + i, 512) != 0) {
      print_error ("offset %" PRIu64 " differs\n", i);
      assert_memory_equal (buf + i, bytes + i, 512);
    }
}

static void
random_range (uint64_t *offset, size_t *count)
{
  static const size_t sizes[] = { 1, 512, 1000, GRAIN, 3 * GRAIN, 50000 };

  *offset = random_next (&seed) % SIZE;
  *count = min_u64 (sizes[random_next (&seed) % 6], SIZE - *offset);
  if (random_next (&seed) % 2) {
    *offset -= *offset % GRAIN;
    *count = min_u64 (*count, SIZE - *offset);
  }
}

static void
step (void)
{
  uint64_t offset;
  size_t count;

  random_range (&offset, &count);
  switch (random_next (&seed) % 8) {
  case 0:
    assert_int_equal (disk_zero (disk, count, offset, 0, &f.err), 0);
    memset (model + offset, 0, count);
    break;
  case 1:
    /* Advice: whole grains may become zeros. */
    assert_int_equal (disk_trim (disk, count, offset, &f.err), 0);
    assert_int_equal (disk_read (disk, buf, count, offset, &f.err), 0);
    for (size_t i = 0; i < count; i++)
      assert_true (buf[i] == 0 || buf[i] == model[offset + i]);
    memcpy (model + offset, buf, count);
    break;
  case 2:
    assert_int_equal (disk_read (disk, buf, count, offset, &f.err), 0);
    assert_memory_equal (buf, model + offset, count);
    break;
  default:
    write_random (offset, count);
  }
}

/* -- Looking at the file ------------------------------------------------ */

static uint8_t *
read_file (const char *name, size_t *size)
{
  struct media *media = store_open (store, name, STORE_FROM_FILE, &f.err);
  uint8_t *bytes;

  assert_non_null (media);
  *size = media->size;
  bytes = malloc (*size);
  assert_non_null (bytes);
  assert_int_equal (media_pread (media, bytes, *size, 0, &f.err), 0);
  media_close (media);
  return bytes;
}

/* What a crash now would leave, at best. */
static void
copy_file (const char *to)
{
  size_t size;
  uint8_t *bytes = read_file (NAME_OF_DISK, &size);

  assert_int_equal (store_memory_add (store, to, bytes, size, &f.err), 0);
  free (bytes);
}

static size_t
file_size (void)
{
  size_t size;

  free (read_file (NAME_OF_DISK, &size));
  return size;
}

/* Header, directory marker, directory, footer and end, each in its place. */
static void
assert_finished (void)
{
  struct sparse_header header, footer;
  size_t size;
  uint8_t *bytes = read_file (NAME_OF_DISK, &size);
  const uint8_t *end = bytes + size - 3 * SECTOR_SIZE;
  struct stream_marker marker;

  assert_int_equal (size % SECTOR_SIZE, 0);
  sparse_header_decode (bytes, &header);
  assert_int_equal (header.version, 3);
  assert_int_equal (header.flags, 0x30001);
  assert_int_equal (header.unclean_shutdown, 0);
  assert_true (header.gd_offset == SPARSE_GD_AT_END);

  marker = stream_marker_decode (end);
  assert_int_equal (marker.size, 0);
  assert_int_equal (marker.type, MARKER_FOOTER);
  assert_int_equal (marker.value, 1);
  sparse_header_decode (end + SECTOR_SIZE, &footer);
  assert_int_equal (footer.unclean_shutdown, 0);
  assert_true (bytes_are_zero (end + 2 * SECTOR_SIZE, SECTOR_SIZE));

  /* Two tables: a directory of one sector, just before. */
  assert_true (bytes + sectors_to_bytes (footer.gd_offset + 1) == end);
  marker = stream_marker_decode (end - 2 * SECTOR_SIZE);
  assert_int_equal (marker.size, 0);
  assert_int_equal (marker.type, MARKER_GRAIN_DIRECTORY);
  free (bytes);
}

/* A reader that sees the stream once and in order, as importers do.  It
 * shares nothing with the code that it tests.
 */
struct forward {
  const uint8_t *bytes;
  size_t size, at;
  uint64_t next_lba; /* of the grain that may come now */
  size_t nr_grains, directory;
  uint8_t *holds; /* what was read */
};

static uint64_t
forward_number (const struct forward *r, size_t offset, unsigned nr_bytes)
{
  uint64_t n = 0;

  assert_true (r->at + offset + nr_bytes <= r->size);
  while (nr_bytes-- > 0)
    n = n << 8 | r->bytes[r->at + offset + nr_bytes];
  return n;
}

static void
forward_grain (struct forward *r, uint64_t lba, uint64_t packed)
{
  uint8_t grain[GRAIN];
  uLongf length = sizeof grain;

  assert_int_equal (r->directory, 0);
  assert_true (lba >= r->next_lba);
  assert_int_equal (lba % (GRAIN / 512), 0);
  assert_true (lba < SIZE / 512);
  assert_true (packed <= r->size - r->at - 12);
  assert_int_equal (uncompress (grain, &length, r->bytes + r->at + 12, packed),
                    Z_OK);
  assert_int_equal (length, GRAIN);
  memcpy (r->holds + lba * 512, grain, GRAIN);
  for (r->at += 12 + packed; r->at % 512 != 0; r->at++)
    assert_int_equal (r->bytes[r->at], 0);
  r->next_lba = lba + GRAIN / 512;
  r->nr_grains++;
}

/* What follows a marker.  Returns whether that is the end. */
static bool
forward_marker (struct forward *r, uint64_t nr_sectors, uint64_t type)
{
  switch (type) {
  case 1: /* table */
    assert_int_equal (nr_sectors, 4);
    assert_int_equal (r->directory, 0);
    break;
  case 2: /* directory, of two tables */
    assert_int_equal (nr_sectors, 1);
    assert_int_equal (r->directory, 0);
    r->directory = r->at / 512 + 1;
    break;
  case 3: /* footer */
    assert_int_equal (nr_sectors, 1);
    assert_memory_equal (r->bytes + r->at + 512, "KDMV", 4);
    assert_int_equal (forward_number (r, 512 + 56, 8), r->directory);
    assert_true (r->directory != 0);
    break;
  default:
    assert_int_equal (type, 0);
    assert_int_equal (nr_sectors, 0);
    assert_int_equal (r->at + 512, r->size);
    return true;
  }
  r->at += (1 + nr_sectors) * 512;
  return false;
}

/* Read the file forwards only; it holds the model, in NR_GRAINS grains. */
static void
assert_reads_forward (size_t nr_grains)
{
  struct forward r = { .holds = calloc (1, SIZE + GRAIN) };
  size_t size;
  uint8_t *bytes = read_file (NAME_OF_DISK, &size);
  bool end = false;

  assert_non_null (r.holds);
  r.bytes = bytes;
  r.size = size;
  assert_true (forward_number (&r, 56, 8) == UINT64_MAX);
  r.at = forward_number (&r, 64, 8) * 512;
  while (!end) {
    const uint64_t value = forward_number (&r, 0, 8);
    const uint64_t packed = forward_number (&r, 8, 4);

    if (packed != 0)
      forward_grain (&r, value, packed);
    else
      end = forward_marker (&r, value, forward_number (&r, 12, 4));
  }
  assert_memory_equal (r.holds, model, SIZE);
  assert_int_equal (r.nr_grains, nr_grains);
  free (r.holds);
  free (bytes);
}

static void
finish (void)
{
  assert_int_equal (disk_finish (disk, &f.err), 0);
  disk_close (disk);
  disk = NULL;
}

/* A file whose writer did not come to its end is opened, finished and opened
 * again.
 */
static void
assert_recovers (const char *name)
{
  for (int writable = 1; writable >= 0; writable--) {
    struct disk *other = open_disk (name, writable);

    if (!writable)
      assert_int_equal (f.nr_warnings, 0);
    assert_holds (other, model, SIZE);
    assert_int_equal (disk_finish (other, &f.err), 0);
    disk_close (other);
  }
}

/* -- Tests -------------------------------------------------------------- */

static void
test_model (void **state)
{
  (void) state;
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 1500; i++) {
      step ();
      if (i % 100 == 0)
        assert_holds (disk, model, SIZE);
      if (i % 200 == 150)
        assert_int_equal (disk_flush (disk, &f.err), 0);
    }
    assert_holds (disk, model, SIZE);
    finish ();
    assert_finished ();

    disk = open_disk (NAME_OF_DISK, false);
    assert_int_equal (f.nr_warnings, 0);
    assert_holds (disk, model, SIZE);
    disk_close (disk);
    disk = open_disk (NAME_OF_DISK, true);
    assert_int_equal (f.nr_warnings, 0);
  }
}

/* Writing can go on after finishing. */
static void
test_finish_twice (void **state)
{
  (void) state;
  write_random (GRAIN, GRAIN);
  assert_int_equal (disk_finish (disk, &f.err), 0);
  assert_finished ();
  const size_t size = file_size ();
  assert_int_equal (disk_finish (disk, &f.err), 0);
  assert_int_equal (file_size (), size);

  write_random (600 * GRAIN + 5, 2 * GRAIN);
  assert_holds (disk, model, SIZE);
  finish ();
  assert_finished ();
  disk = open_disk (NAME_OF_DISK, false);
  assert_holds (disk, model, SIZE);
}

/* Without a change the file stays as it is, byte for byte. */
static void
test_untouched (void **state)
{
  size_t size, after;
  uint8_t *before = read_file (NAME_OF_DISK, &size), *bytes;

  (void) state;
  assert_int_equal (disk_read (disk, buf, SIZE, 0, &f.err), 0);
  finish ();
  bytes = read_file (NAME_OF_DISK, &after);
  assert_int_equal (after, size);
  assert_memory_equal (bytes, before, size);
  free (before);
  free (bytes);
}

/* What was flushed is there, without the writer's help: for readers, for
 * readers who would recover it, and for the next writer.
 */
static void
test_unfinished (void **state)
{
  struct disk *other;

  (void) state;
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < 100; i++)
      step ();
    assert_int_equal (disk_flush (disk, &f.err), 0);
    copy_file ("crash.vmdk");
    f.rules.recover_stream = round % 2;
    other = open_disk ("crash.vmdk", false);
    assert_int_equal (f.nr_warnings, 1);
    assert_non_null (strstr (f.warning, "was not closed cleanly"));
    assert_holds (other, model, SIZE);
    disk_close (other);
  }

  disk_close (disk); /* as it is */
  disk = open_disk (NAME_OF_DISK, true);
  assert_holds (disk, model, SIZE);
  for (int i = 0; i < 100; i++)
    step ();
  finish ();
  assert_finished ();
  disk = open_disk (NAME_OF_DISK, false);
  assert_int_equal (f.nr_warnings, 0);
  assert_holds (disk, model, SIZE);
}

/* Grains that were never flushed stay forgotten: no repair brings them back,
 * though nothing but zeros was written since.
 */
static void
test_unfinished_and_empty (void **state)
{
  const struct operation operation = { .rules = { .open = f.rules } };
  struct check_result result;

  (void) state;
  write_random (0, 3 * GRAIN);
  write_random (3 * GRAIN, GRAIN);
  copy_file ("crash.vmdk");
  disk_close (disk);
  disk = open_disk ("crash.vmdk", true);
  assert_int_equal (disk_zero (disk, SIZE, 0, 0, &f.err), 0);
  finish ();
  assert_int_equal (disk_check (store, "crash.vmdk", STORE_FROM_FILE,
                                &operation, &(struct check_options){ 0 },
                                &result, &f.err),
                    0);
  assert_int_equal (result.nr_errors, 0);
  assert_int_equal (result.nr_leaks, 1);
}

/* While a stream is being written, what looks like its end is a guest's data,
 * or the work of a writer who did not come to the header.
 */
static void
test_false_footer (void **state)
{
  struct sparse_header header;
  size_t size;
  uint8_t *bytes, *end;
  struct disk *other;

  (void) state;
  write_random (3 * GRAIN, 5 * GRAIN);
  assert_int_equal (disk_flush (disk, &f.err), 0);
  bytes = read_file (NAME_OF_DISK, &size);
  bytes = realloc (bytes, size + 4 * SECTOR_SIZE);
  assert_non_null (bytes);
  end = bytes + size;
  memset (end, 0, 4 * SECTOR_SIZE);
  sparse_header_decode (bytes, &header);
  /* Its directory is a sector of zeros. */
  header.gd_offset = bytes_to_sectors (size);
  header.unclean_shutdown = 0;
  le64_store (end + SECTOR_SIZE, 1);
  le32_store (end + SECTOR_SIZE + 12, MARKER_FOOTER);
  sparse_header_encode (&header, end + 2 * SECTOR_SIZE);
  assert_int_equal (store_memory_add (store, "crash.vmdk", bytes,
                                      size + 4 * SECTOR_SIZE, &f.err),
                    0);
  free (bytes);
  other = open_disk ("crash.vmdk", false);
  assert_holds (other, model, SIZE);
  disk_close (other);
  assert_recovers ("crash.vmdk");
}

/* A stream whose header names the directory, and which has no footer. */
static void
test_directory_in_front (void **state)
{
  size_t size;
  uint8_t *bytes = read_file (NAME_OF_DISK, &size);

  (void) state;
  disk_close (disk);
  le64_store (bytes + 56, 129);
  size -= 3 * SECTOR_SIZE;
  assert_int_equal (
    store_memory_add (store, NAME_OF_DISK, bytes, size, &f.err), 0);
  free (bytes);
  disk = open_disk (NAME_OF_DISK, true);
  assert_int_equal (f.nr_warnings, 0);
  for (int i = 0; i < 500; i++)
    step ();
  finish ();
  assert_finished ();
  disk = open_disk (NAME_OF_DISK, false);
  assert_int_equal (f.nr_warnings, 0);
  assert_holds (disk, model, SIZE);
}

/* In order and in small pieces: every grain is stored once. */
static void
test_sequential (void **state)
{
  const size_t tables = 2 * 5 * SECTOR_SIZE, end = 5 * SECTOR_SIZE;
  const size_t before = file_size ();

  (void) state;
  for (size_t i = 0; i < SIZE; i++)
    model[i] = (uint8_t) random_next (&seed);
  for (size_t i = 0; i < SIZE; i += 512)
    assert_int_equal (disk_write (disk, model + i, 512, i, &f.err), 0);
  finish ();
  assert_finished ();
  /* Random bytes need their own size, a sector for what is around them. */
  assert_in_range (file_size (), SIZE,
                   before + SIZE + 701 * SECTOR_SIZE + GRAIN + tables + end);
  disk = open_disk (NAME_OF_DISK, false);
  assert_holds (disk, model, SIZE);
}

/* Whole grains from FIRST to END, in order. */
static void
write_grains (size_t first, size_t end)
{
  for (size_t g = first; g < end; g++) {
    const size_t count = min_u64 (GRAIN, SIZE - g * GRAIN);

    for (size_t i = 0; i < count; i++)
      model[g * GRAIN + i] = (uint8_t) (g * 7 + i / (g % 40 + 1) + 1);
    assert_int_equal (
      disk_write (disk, model + g * GRAIN, count, g * GRAIN, &f.err), 0);
  }
}

/* Written in order, a stream is clean for readers that see it once; also
 * when it was finished and opened again in between.
 */
static void
test_forward (void **state)
{
  (void) state;
  assert_reads_forward (0);
  write_grains (3, 200);
  assert_int_equal (disk_finish (disk, &f.err), 0);
  assert_finished ();
  assert_reads_forward (197);
  assert_holds (disk, model, SIZE);

  write_grains (250, 300);
  assert_int_equal (disk_flush (disk, &f.err), 0);
  write_grains (300, 400);
  finish ();
  assert_reads_forward (347);

  disk = open_disk (NAME_OF_DISK, true);
  assert_holds (disk, model, SIZE);
  write_grains (420, 701);
  assert_holds (disk, model, SIZE);
  assert_int_equal (disk_finish (disk, &f.err), 0);
  assert_holds (disk, model, SIZE);
  finish ();
  assert_finished ();
  assert_reads_forward (628);
  disk = open_disk (NAME_OF_DISK, false);
  assert_int_equal (f.nr_warnings, 0);
  assert_holds (disk, model, SIZE);
}

/* A writer that is interrupted when it begins again: the directory in front
 * is what counts.
 */
static void
test_front_counts (void **state)
{
  size_t size;
  uint8_t *bytes;

  (void) state;
  write_grains (0, 100);
  finish ();
  disk = open_disk (NAME_OF_DISK, true);
  write_grains (550, 551);
  assert_int_equal (disk_flush (disk, &f.err), 0);
  bytes = read_file (NAME_OF_DISK, &size);
  assert_int_equal (le64_load (bytes + 56), 127); /* of 128 in front */
  assert_int_equal (bytes[72], 1);                /* uncleanShutdown */
  free (bytes);
  copy_file ("crash.vmdk");
  assert_recovers ("crash.vmdk");
}

/* Where something else lies in front, it stays, and so does the directory
 * at the end.
 */
static void
test_front_in_use (void **state)
{
  size_t size;
  uint8_t *bytes;

  (void) state;
  write_grains (0, 100);
  finish ();
  bytes = read_file (NAME_OF_DISK, &size);
  bytes[128 * SECTOR_SIZE - 1] ^= 1;
  assert_int_equal (
    store_memory_add (store, NAME_OF_DISK, bytes, size, &f.err), 0);
  free (bytes);

  disk = open_disk (NAME_OF_DISK, true);
  for (int i = 0; i < 500; i++)
    step ();
  finish ();
  assert_finished ();
  bytes = read_file (NAME_OF_DISK, &size);
  assert_int_equal (bytes[128 * SECTOR_SIZE - 1], 1);
  free (bytes);
  disk = open_disk (NAME_OF_DISK, true);
  assert_int_equal (f.nr_warnings, 0);
  assert_holds (disk, model, SIZE);
}

/* Zeros are not stored, and what becomes zeros is a hole. */
static bool
emit_hole (void *opaque, const struct disk_piece *piece)
{
  bool *hole = opaque;

  *hole = *hole && piece->hole && piece->zero;
  return true;
}

static void
assert_all_hole (void)
{
  bool hole = true;

  assert_int_equal (disk_map (disk, 0, SIZE, emit_hole, &hole, &f.err), 0);
  assert_true (hole);
}

static void
test_zeros (void **state)
{
  const size_t before = file_size ();

  (void) state;
  assert_int_equal (disk_write (disk, model, SIZE, 0, &f.err), 0);
  assert_int_equal (disk_zero (disk, SIZE, 0, 0, &f.err), 0);
  assert_all_hole ();
  assert_int_equal (disk_finish (disk, &f.err), 0);
  assert_int_equal (file_size (), before);

  write_random (0, 300 * GRAIN);
  assert_int_equal (disk_write (disk, "x", 1, 650 * GRAIN, &f.err), 0);
  assert_int_equal (disk_trim (disk, SIZE, 0, &f.err), 0);
  assert_all_hole ();
  memset (model, 0, SIZE);
  assert_holds (disk, model, SIZE);
  finish ();
  disk = open_disk (NAME_OF_DISK, false);
  assert_all_hole ();
  assert_holds (disk, model, SIZE);
}

/* -- Over a parent ------------------------------------------------------ */

static int
read_parent (void *opaque, void *to, size_t count, uint64_t offset,
             struct vmdk_error *err)
{
  (void) opaque;
  (void) err;
  for (size_t i = 0; i < count; i++)
    ((uint8_t *) to)[i] = (uint8_t) ((offset + i) / 7 + 1);
  return 0;
}

static const struct below below = { .read = read_parent };

static struct extent *
open_extent (bool has_parent)
{
  const struct extent_line line = {
    .access = ACCESS_RW,
    .nr_sectors = SIZE / SECTOR_SIZE,
    .name = NAME_OF_DISK,
  };
  const struct extent_source source = {
    .rules = &f.rules,
    .line = &line,
    .single = true,
    .has_parent = has_parent,
    .writable = true,
    .media = store_open (store, NAME_OF_DISK, STORE_FROM_FILE | STORE_WRITABLE,
                         &f.err),
  };
  struct extent *extent;

  assert_non_null (source.media);
  extent = extent_stream_open (&source, &f.err);
  assert_non_null (extent);
  return extent;
}

/* Reads as a chain does. */
static void
read_child (struct extent *extent, uint8_t *to)
{
  struct run run;

  for (uint64_t at = 0; at < SIZE; at += run.length) {
    extent->ops->use_begin (extent);
    assert_int_equal (
      extent_map (extent, at, SIZE - at, MAP_WHERE, &run, &f.err), 0);
    if (run.state == RUN_ABSENT)
      read_parent (NULL, to + at, run.length, at, &f.err);
    else {
      assert_int_equal (run.state, RUN_PACKED);
      assert_int_equal (extent_read (extent, to + at, run.length, at, &f.err),
                        0);
    }
    extent->ops->use_end (extent);
  }
}

static void
test_child (void **state)
{
  struct extent *extent;

  (void) state;
  disk_close (disk);
  disk = NULL;
  extent = open_extent (true);
  read_parent (NULL, model, SIZE, 0, &f.err);
  for (int i = 0; i < 400; i++) {
    uint64_t offset;
    size_t count;

    random_range (&offset, &count);
    make_bytes (buf, count);
    if (i % 7 == 0)
      memset (buf, 0, count);
    assert_int_equal (
      i % 14 ? extent_write (extent, buf, count, offset, &below, &f.err)
             : extent_zero (extent, count, offset, 0, &below, &f.err),
      0);
    memcpy (model + offset, buf, count);
    /* Advice is not taken: the parent would be seen. */
    assert_int_equal (extent_zero (extent, SIZE, 0,
                                   ZERO_ADVICE | ZERO_MAY_FREE, &below,
                                   &f.err),
                      0);
    if (i % 50 == 0) {
      read_child (extent, buf);
      assert_memory_equal (buf, model, SIZE);
    }
  }
  assert_int_equal (extent_zero (extent, SIZE, 0, ZERO_FAST, &below, &f.err),
                    -1);
  assert_int_equal (f.err.errnum, ENOTSUP);
  assert_int_equal (extent->ops->finish (extent, &f.err), 0);
  extent_close (extent);

  extent = open_extent (true);
  read_child (extent, buf);
  assert_memory_equal (buf, model, SIZE);
  extent_close (extent);
}

/* What was not flushed is lost, and nothing else is.  (No disk, which would
 * commit by itself after a while.)
 */
static void
test_unflushed (void **state)
{
  static const struct below nothing;
  struct extent *extent;
  struct disk *other;

  (void) state;
  disk_close (disk);
  disk = NULL;
  extent = open_extent (false);
  for (int i = 0; i < 1200; i++) {
    uint64_t offset;
    size_t count;

    random_range (&offset, &count);
    make_bytes (buf, count);
    if (i % 7 == 6)
      assert_int_equal (
        extent_zero (extent, count, offset, ZERO_MAY_FREE, &nothing, &f.err),
        0);
    else
      assert_int_equal (
        extent_write (extent, buf, count, offset, &nothing, &f.err), 0);
    if (i < 600)
      memcpy (model + offset, buf, i % 7 == 6 ? 0 : count);
    if (i < 600 && i % 7 == 6)
      memset (model + offset, 0, count);
    if (i == 599)
      assert_int_equal (extent->ops->flush (extent, &f.err), 0);
  }
  copy_file ("crash.vmdk");
  other = open_disk ("crash.vmdk", false);
  assert_holds (other, model, SIZE);
  disk_close (other);
  extent_close (extent);
}

/* -- What is not written ------------------------------------------------ */

static void
patch_header (size_t offset, uint8_t byte)
{
  size_t size;
  uint8_t *bytes = read_file (NAME_OF_DISK, &size);

  bytes[offset] = byte;
  bytes[size - 2 * SECTOR_SIZE + offset] = byte; /* the footer */
  assert_int_equal (store_memory_add (store, "p.vmdk", bytes, size, &f.err),
                    0);
  free (bytes);
}

static void
test_refused (void **state)
{
  (void) state;
  patch_header (8, 3); /* flags */
  assert_null (try_open ("p.vmdk", true));
  assert_int_equal (f.err.kind, ERR_READ_ONLY);
  assert_non_null (strstr (f.err.text, "redundant grain tables"));
  disk_close (open_disk ("p.vmdk", false));

  patch_header (45, 1); /* 256 entries a table */
  assert_null (try_open ("p.vmdk", true));
  assert_int_equal (f.err.kind, ERR_READ_ONLY);
  assert_non_null (strstr (f.err.text, "256 entries"));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_model, setup, teardown),
    cmocka_unit_test_setup_teardown (test_finish_twice, setup, teardown),
    cmocka_unit_test_setup_teardown (test_directory_in_front, setup, teardown),
    cmocka_unit_test_setup_teardown (test_false_footer, setup, teardown),
    cmocka_unit_test_setup_teardown (test_untouched, setup, teardown),
    cmocka_unit_test_setup_teardown (test_unfinished, setup, teardown),
    cmocka_unit_test_setup_teardown (test_unfinished_and_empty, setup,
                                     teardown),
    cmocka_unit_test_setup_teardown (test_sequential, setup, teardown),
    cmocka_unit_test_setup_teardown (test_forward, setup, teardown),
    cmocka_unit_test_setup_teardown (test_front_counts, setup, teardown),
    cmocka_unit_test_setup_teardown (test_front_in_use, setup, teardown),
    cmocka_unit_test_setup_teardown (test_zeros, setup, teardown),
    cmocka_unit_test_setup_teardown (test_child, setup, teardown),
    cmocka_unit_test_setup_teardown (test_unflushed, setup, teardown),
    cmocka_unit_test_setup_teardown (test_refused, setup, teardown),
  };

  return cmocka_run_group_tests_name ("stream-write", tests, NULL, NULL);
}
