/* SPDX-License-Identifier: BSD-3-Clause */

/* streamOptimized extents: every layout that producers write, every damage
 * to header, footer, tables and grains, what a cut file gives, and readers
 * that share one extent.
 */

#include <config.h>

#include <pthread.h>
#include <time.h>

#include "extent-helper.h"

#include <zlib.h>

#include "sparse-header.h"
#include "stream-marker.h"

#define GTES 128
#define DESCRIPTOR_SECTORS 2
#define GRAIN 8 /* sectors; two tables are 1024 KiB */
#define GRAIN_BYTES (GRAIN * 512)
#define CAPACITY (250 * GRAIN)

/* -- Building ----------------------------------------------------------- */

enum layout {
  AT_END, /* tables with markers behind the grains, footer, EOS */
  FRONT,  /* tables before the grains, no markers, no footer, EOS */
};

struct builder {
  struct image image;
  struct model model;
  struct sparse_header header;
  enum layout layout;
  uint32_t *gtes; /* sector of each grain */
  uint32_t *gdes; /* and table */
  int level;
  uint64_t first_lba;
  size_t footer; /* offset, once there is one */
};

static uint32_t
next_sector (const struct builder *b)
{
  return (uint32_t) (b->image.size / 512);
}

static uint32_t
append_sectors (struct builder *b, size_t n)
{
  const uint32_t sector = next_sector (b);

  image_grow (&b->image, b->image.size + n * 512);
  return sector;
}

static size_t
nr_grains (const struct builder *b)
{
  return model_nr_grains (&b->model);
}

static size_t
nr_tables (const struct builder *b)
{
  return sparse_header_nr_tables (&b->header);
}

static size_t
gd_sectors (const struct builder *b)
{
  return div_round_up (nr_tables (b) * 4, 512);
}

static void
build_header (struct builder *b, enum layout layout, uint64_t capacity,
              uint64_t grain_sectors)
{
  *b = (struct builder){
      .layout = layout,
      .level = 6,
      .header =
          {
              .magic = SPARSE_MAGIC,
              .version = 3,
              .flags = SPARSE_NEWLINE_TEST | SPARSE_COMPRESSED | SPARSE_MARKERS,
              .capacity = capacity,
              .grain_size = grain_sectors,
              .descriptor_offset = 1,
              .descriptor_size = DESCRIPTOR_SECTORS,
              .nr_gtes_per_gt = GTES,
              .gd_offset = SPARSE_GD_AT_END,
              .newline_test = {'\n', ' ', '\r', '\n'},
              .compress_algorithm = 1,
          },
  };
  model_init (&b->model, capacity, grain_sectors);
  b->gtes = calloc (nr_grains (b), sizeof *b->gtes);
  b->gdes = calloc (nr_tables (b), sizeof *b->gdes);
  append_sectors (b, 1 + DESCRIPTOR_SECTORS);
  if (layout == FRONT) {
    b->header.gd_offset = append_sectors (b, gd_sectors (b));
    for (size_t i = 0; i < nr_tables (b); i++)
      b->gdes[i] = append_sectors (b, GTES * 4 / 512);
  }
  b->header.overhead = next_sector (b);
}

static void
build_free (struct builder *b)
{
  image_free (&b->image);
  model_free (&b->model);
  free (b->gtes);
  free (b->gdes);
}

/* A block as a grain's, whatever is in it. */
static uint32_t
append_payload (struct builder *b, uint64_t lba, uint32_t size,
                const void *payload, size_t payload_size)
{
  const uint32_t sector =
    append_sectors (b, div_round_up (12 + payload_size, 512));

  le64_store (b->image.bytes + sector * 512, lba);
  le32_store (b->image.bytes + sector * 512 + 8, size);
  memcpy (b->image.bytes + sector * 512 + 12, payload, payload_size);
  return sector;
}

/* zlib, raw deflate or gzip by WBITS. */
static uint8_t *
pack (const void *plain, size_t size, int level, int wbits,
      size_t *packed_size)
{
  const size_t room = size + size / 8 + 1024;
  uint8_t *packed = malloc (room);
  z_stream z = { 0 };

  assert_int_equal (
    deflateInit2 (&z, level, Z_DEFLATED, wbits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  z.next_in = (uint8_t *) plain;
  z.avail_in = (uInt) size;
  z.next_out = packed;
  z.avail_out = (uInt) room;
  assert_int_equal (deflate (&z, Z_FINISH), Z_STREAM_END);
  *packed_size = z.total_out;
  deflateEnd (&z);
  return packed;
}

static uint32_t
append_packed (struct builder *b, uint64_t grain, const void *plain,
               size_t size, int wbits)
{
  size_t packed_size;
  uint8_t *packed = pack (plain, size, b->level, wbits, &packed_size);
  const uint32_t sector =
    append_payload (b, b->first_lba + grain * b->header.grain_size,
                    (uint32_t) packed_size, packed, packed_size);

  free (packed);
  return sector;
}

/* Store GRAIN with bytes of its own.  Half of it is easily compressed. */
static uint32_t
build_grain (struct builder *b, uint64_t grain)
{
  uint8_t *bytes = model_fill (&b->model, grain);

  memset (bytes + b->model.grain_size / 4, (int) grain,
          b->model.grain_size / 2);
  b->model.states[grain] = RUN_PACKED;
  return b->gtes[grain] =
           append_packed (b, grain, bytes, b->model.grain_size, 15);
}

/* Store it as FORMAT of qemu and open-vmdk: only what is valid of it. */
static void
build_short_grain (struct builder *b, uint64_t grain)
{
  const size_t valid = b->model.size - grain * b->model.grain_size;
  const uint8_t *bytes = model_fill (&b->model, grain);

  b->model.states[grain] = RUN_PACKED;
  b->gtes[grain] = append_packed (b, grain, bytes, valid, 15);
}

static uint32_t
append_marker (struct builder *b, uint64_t value, uint32_t type)
{
  const uint32_t sector = append_sectors (b, 1);

  le64_store (b->image.bytes + sector * 512, value);
  le32_store (b->image.bytes + sector * 512 + 12, type);
  return sector;
}

static void
put_table (struct builder *b, size_t table)
{
  for (size_t i = 0; i < GTES; i++)
    if (table * GTES + i < nr_grains (b))
      image_put32 (&b->image, b->gdes[table] * 512 + i * 4,
                   b->gtes[table * GTES + i]);
}

/* The table behind its grains, unless they are all absent. */
static void
build_table (struct builder *b, size_t table)
{
  for (size_t i = 0; i < GTES && table * GTES + i < nr_grains (b); i++)
    if (b->gtes[table * GTES + i] != 0) {
      append_marker (b, GTES * 4 / 512, MARKER_GRAIN_TABLE);
      b->gdes[table] = append_sectors (b, GTES * 4 / 512);
      put_table (b, table);
      break;
    }
}

static void
put_directory (struct builder *b, uint64_t sector)
{
  for (size_t i = 0; i < nr_tables (b); i++)
    image_put32 (&b->image, sector * 512 + i * 4, b->gdes[i]);
}

static void
put_header (struct builder *b)
{
  sparse_header_encode (&b->header, b->image.bytes);
}

static struct sparse_header
get_footer (const struct builder *b)
{
  struct sparse_header footer;

  sparse_header_decode (b->image.bytes + b->footer, &footer);
  return footer;
}

static void
put_footer (struct builder *b, const struct sparse_header *footer)
{
  sparse_header_encode (footer, b->image.bytes + b->footer);
}

/* Directory, footer and EOS. */
static void
build_end (struct builder *b)
{
  struct sparse_header footer = b->header;

  append_marker (b, gd_sectors (b), MARKER_GRAIN_DIRECTORY);
  footer.gd_offset = append_sectors (b, gd_sectors (b));
  put_directory (b, footer.gd_offset);
  append_marker (b, 1, MARKER_FOOTER);
  b->footer = append_sectors (b, 1) * 512;
  put_footer (b, &footer);
  append_marker (b, 0, MARKER_EOS);
}

static void
build_finish (struct builder *b)
{
  put_header (b);
  if (b->layout == AT_END) {
    for (size_t i = 0; i < nr_tables (b); i++)
      if (b->gdes[i] == 0)
        build_table (b, i);
    build_end (b);
  }
  else {
    for (size_t i = 0; i < nr_tables (b); i++)
      put_table (b, i);
    put_directory (b, b->header.gd_offset);
    append_marker (b, 0, MARKER_EOS);
  }
}

/* The usual image: two tables, absent grains here and there. */
static bool
is_stored (uint64_t grain)
{
  return grain % 7 != 3 && (grain < 40 || grain > 90);
}

static void
build_grains (struct builder *b)
{
  for (uint64_t g = 0; g < nr_grains (b); g++) {
    if (is_stored (g))
      build_grain (b, g);
    if (b->layout == AT_END && g % GTES == GTES - 1)
      build_table (b, g / GTES);
  }
}

static void
build_usual (struct builder *b, enum layout layout)
{
  build_header (b, layout, CAPACITY, GRAIN);
  build_grains (b);
  build_finish (b);
}

/* Write the tables again after gtes was changed. */
static void
rebuild_tables (struct builder *b)
{
  for (size_t i = 0; i < nr_tables (b); i++)
    if (b->gdes[i] != 0)
      put_table (b, i);
}

/* -- Opening and comparing ---------------------------------------------- */

struct rig {
  struct fixture f;
  struct resources *resources;
};

static void
rig_init (struct rig *t, size_t grain_budget)
{
  memset (t, 0, sizeof *t);
  t->resources = resources_new (1 << 20, grain_budget, &t->f.err);
  assert_non_null (t->resources);
  t->f.rules.resources = t->resources;
  t->f.rules.log.sink = fixture_sink;
  t->f.rules.log.opaque = &t->f;
}

static void
rig_free (struct rig *t)
{
  resources_free (t->resources);
}

/* Read as a request is: run by run. */
static int
read_range (struct extent *extent, uint8_t *buf, size_t count, uint64_t offset,
            struct vmdk_error *err)
{
  while (count > 0) {
    struct run run;

    assert_int_equal (extent_map (extent, offset, count, MAP_WHERE, &run, err),
                      0);
    assert_in_range (run.length, 1, count);
    if (run.state == RUN_PACKED || run.state == RUN_DAMAGED) {
      if (extent_read (run.extent, buf, run.length, run.extent_offset, err)
          == -1)
        return -1;
    }
    else {
      assert_true (run.state == RUN_ABSENT || run.state == RUN_ZERO);
      memset (buf, 0, run.length);
    }
    buf += run.length;
    offset += run.length;
    count -= run.length;
  }
  return 0;
}

/* Everything, in pieces of COUNT bytes.  Grains that the model calls DAMAGED
 * must fail, or be mapped so and fail.
 */
static void
check_bytes (const struct model *model, struct extent *extent, size_t count)
{
  uint8_t *buf = malloc (count);

  for (uint64_t offset = 0; offset < model->size; offset += count) {
    const size_t n = min_u64 (count, model->size - offset);
    struct vmdk_error err;
    bool damaged = false;

    for (uint64_t at = offset; at < offset + n; at += 512)
      if (model_state (model, at) == RUN_DAMAGED)
        damaged = true;
    memset (buf, 0xa5, n);
    if (read_range (extent, buf, n, offset, &err) == -1) {
      if (!damaged)
        print_error ("%s\n", err.text);
      assert_true (damaged);
      assert_int_equal (err.kind, ERR_DAMAGED);
      assert_int_equal (err.errnum, EIO);
    }
    else {
      assert_false (damaged);
      assert_memory_equal (buf, model->bytes + offset, n);
    }
  }
  free (buf);
}

/* Which state map gives: damage inside a grain is seen only by reading. */
static void
check_states (const struct model *model, struct extent *extent,
              enum map_detail detail)
{
  for (uint64_t offset = 0; offset < model->size;) {
    struct vmdk_error err;
    struct run run;

    assert_int_equal (
      extent_map (extent, offset, model->size - offset, detail, &run, &err),
      0);
    for (uint64_t at = offset; at < offset + run.length; at += 512) {
      const enum run_state expected = model_state (model, at);

      if (expected == RUN_DAMAGED)
        assert_true (run.state == RUN_DAMAGED || run.state == RUN_PACKED);
      else
        assert_int_equal (run.state, expected);
    }
    if (detail == MAP_WHERE && run.state == RUN_PACKED)
      assert_in_range (run.length, 1, model->grain_size);
    offset += run.length;
  }
}

static void
check_all (const struct model *model, struct extent *extent)
{
  assert_int_equal (extent->size, model->size);
  assert_int_equal (extent->grain_size, model->grain_size);
  assert_true (extent->can_be_absent);
  check_states (model, extent, MAP_WHERE);
  check_states (model, extent, MAP_STATE);
  check_bytes (model, extent, 512);
  check_bytes (model, extent, model->grain_size);
  check_bytes (model, extent, 3 * model->grain_size + 512);
}

static struct extent *
open_image (struct rig *t, const struct builder *b, const char *warning)
{
  return assert_opens (&t->f, extent_stream_open, &b->image,
                       bytes_to_sectors (b->model.size), warning);
}

/* Opens, with one warning or none, and reads as the model says. */
static void
check_image (const struct builder *b, const char *warning)
{
  struct rig t;
  struct extent *extent;

  rig_init (&t, 1 << 20);
  extent = open_image (&t, b, warning);
  check_all (&b->model, extent);
  extent_close (extent);

  /* Once more with a cache that keeps nothing. */
  rig_free (&t);
  rig_init (&t, 0);
  extent = open_image (&t, b, warning);
  check_all (&b->model, extent);
  extent_close (extent);
  rig_free (&t);
}

static void
check_refused (const struct builder *b, enum vmdk_error_kind kind,
               const char *text)
{
  struct rig t;

  rig_init (&t, 1 << 20);
  assert_refused (&t.f, extent_stream_open, &b->image,
                  bytes_to_sectors (b->model.size), kind, text);
  rig_free (&t);
}

/* -- Layouts ------------------------------------------------------------ */

static void
test_at_end (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, AT_END);
  check_image (&b, NULL);
  build_free (&b);
}

static void
test_front (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, FRONT);
  check_image (&b, NULL);
  build_free (&b);
}

/* As qemu ends a file: no EOS, zeros up to a multiple of a grain. */
static void
test_front_without_eos (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, FRONT);
  b.image.size -= 512;
  check_image (&b, NULL);
  image_grow (&b.image, b.image.size + 17 * 512);
  check_image (&b, NULL);
  build_free (&b);
}

/* The real directory in the header, and a footer as well.  The footer's
 * counts, also when the header's differs.
 */
static void
test_front_and_footer (void **state)
{
  struct builder b;
  struct sparse_header footer;

  (void) state;
  build_usual (&b, AT_END);
  footer = get_footer (&b);
  b.header.gd_offset = footer.gd_offset;
  put_header (&b);
  check_image (&b, NULL);

  b.header.gd_offset = DESCRIPTOR_SECTORS + 1; /* a grain, by the way */
  put_header (&b);
  check_image (&b, NULL);
  build_free (&b);
}

/* A footer further up does not count then: it is more likely a guest's. */
static void
test_front_and_padded_footer (void **state)
{
  struct builder b;
  struct sparse_header footer;

  (void) state;
  build_usual (&b, FRONT);
  footer = b.header;
  footer.gd_offset = DESCRIPTOR_SECTORS + 2;
  append_marker (&b, 1, MARKER_FOOTER);
  b.footer = append_sectors (&b, 1) * 512;
  put_footer (&b, &footer);
  append_sectors (&b, 2);
  check_image (&b, NULL);
  build_free (&b);
}

/* Old qemu: a redundant directory and tables. */
static void
test_redundant (void **state)
{
  struct builder b;
  uint32_t copies[2];

  (void) state;
  build_usual (&b, FRONT);
  for (size_t i = 0; i < 2; i++) {
    copies[i] = append_sectors (&b, 1);
    memcpy (b.image.bytes + copies[i] * 512, b.image.bytes + b.gdes[i] * 512,
            512);
  }
  b.header.flags |= SPARSE_REDUNDANT_TABLES;
  b.header.rgd_offset = append_sectors (&b, 1);
  image_put32 (&b.image, b.header.rgd_offset * 512, copies[0]);
  image_put32 (&b.image, b.header.rgd_offset * 512 + 4, copies[1]);
  put_header (&b);
  check_image (&b, NULL);

  /* It stands in for a table that is nowhere. */
  image_put32 (&b.image, b.header.gd_offset * 512 + 4, 1000000);
  {
    struct rig t;
    struct extent *extent;

    rig_init (&t, 1 << 20);
    extent = open_image (&t, &b, NULL);
    check_all (&b.model, extent);
    assert_int_equal (t.f.nr_warnings, 1);
    assert_non_null (strstr (t.f.warning, "redundant"));
    extent_close (extent);
    rig_free (&t);
  }
  image_put32 (&b.image, b.header.gd_offset * 512 + 4, b.gdes[1]);

  b.header.rgd_offset = 5000000;
  put_header (&b);
  check_image (&b, "x.vmdk: rgdOffset 5000000 cannot be right: doing without "
                   "the redundant tables");
  build_free (&b);
}

static void
test_versions (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, FRONT);
  for (uint32_t version = 1; version <= 3; version++) {
    b.header.version = version;
    put_header (&b);
    check_image (&b, NULL);
  }
  build_free (&b);
}

static void
test_levels (void **state)
{
  (void) state;
  for (int level = 0; level <= 9; level++) {
    struct builder b;

    build_header (&b, level % 2 ? FRONT : AT_END, CAPACITY, GRAIN);
    b.level = level;
    build_grains (&b);
    build_finish (&b);
    check_image (&b, NULL);
    build_free (&b);
  }
}

/* Incompressible: more bytes than the grain has. */
static void
test_incompressible (void **state)
{
  (void) state;
  for (unsigned grain_sectors = 8; grain_sectors <= 128; grain_sectors *= 4) {
    struct builder b;
    uint64_t seed = 12345;

    build_header (&b, AT_END, 9 * grain_sectors, grain_sectors);
    for (uint64_t g = 0; g < 9; g++) {
      uint8_t *bytes = model_fill (&b.model, g);
      const uint32_t before = next_sector (&b);

      for (size_t i = 0; i < b.model.grain_size; i += 8)
        le64_store (bytes + i, random_next (&seed));
      b.model.states[g] = RUN_PACKED;
      b.gtes[g] = append_packed (&b, g, bytes, b.model.grain_size, 15);
      assert_true (next_sector (&b) - before > grain_sectors);
    }
    build_finish (&b);
    check_image (&b, NULL);
    build_free (&b);
  }
}

/* Grains of zeros that are stored are grains. */
static void
test_stored_zeros (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (uint64_t g = 0; g < 200; g += 3) {
    b.model.states[g] = RUN_PACKED;
    b.gtes[g] = append_packed (&b, g, b.model.bytes, GRAIN_BYTES, 15);
  }
  build_finish (&b);
  check_image (&b, NULL);
  build_free (&b);
}

static void
build_shuffled (struct builder *b, enum layout layout)
{
  build_header (b, layout, CAPACITY, GRAIN);
  for (uint64_t i = 0; i < nr_grains (b); i++) {
    const uint64_t g = i * 77 % nr_grains (b);

    if (is_stored (g))
      build_grain (b, g);
  }
  build_finish (b);
}

static void
test_shuffled (void **state)
{
  struct builder b;

  (void) state;
  build_shuffled (&b, AT_END);
  check_image (&b, NULL);
  build_free (&b);
  build_shuffled (&b, FRONT);
  check_image (&b, NULL);
  build_free (&b);
}

static void
test_progress_markers (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (uint64_t g = 0; g < nr_grains (&b); g += 2) {
    build_grain (&b, g);
    append_marker (&b, g, MARKER_PROGRESS);
  }
  build_finish (&b);
  check_image (&b, NULL);
  build_free (&b);
}

/* The last grain may be stored whole, with anything behind the end, or only
 * as far as it is valid.
 */
static void
test_short_last_grain (void **state)
{
  (void) state;
  for (int whole = 0; whole <= 1; whole++)
    for (uint64_t rest = 1; rest < GRAIN; rest += 3) {
      struct builder b;

      build_header (&b, whole ? FRONT : AT_END, 10 * GRAIN + rest, GRAIN);
      build_grain (&b, 9);
      if (whole)
        build_grain (&b, 10);
      else
        build_short_grain (&b, 10);
      build_finish (&b);
      check_image (&b, NULL);
      build_free (&b);
    }
}

/* VirtualBox rounds the header's capacity up. */
static void
test_header_beyond_line (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, AT_END);
  b.model.size -= 3 * 512;
  check_image (&b, NULL);
  b.model.size -= 20 * GRAIN_BYTES;
  check_image (&b, NULL);
  build_free (&b);
}

static void
test_no_grains (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  build_finish (&b);
  check_image (&b, NULL);
  build_free (&b);
}

/* Entry 1 is zeros if the header has such entries, and damage if not. */
static void
test_zero_entry (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, AT_END);
  b.gtes[10] = b.gtes[200] = 1;
  b.model.states[10] = b.model.states[200] = RUN_DAMAGED;
  rebuild_tables (&b);
  check_image (&b, NULL);

  b.header.flags |= SPARSE_ZERO_GRAIN_ENTRY;
  put_header (&b);
  {
    struct sparse_header footer = get_footer (&b);

    footer.flags = b.header.flags;
    put_footer (&b, &footer);
  }
  for (int i = 0; i < 2; i++) {
    const uint64_t g = i ? 200 : 10;

    b.model.states[g] = RUN_ZERO;
    memset (b.model.bytes + g * GRAIN_BYTES, 0, GRAIN_BYTES);
  }
  check_image (&b, NULL);
  build_free (&b);
}

/* Several extents: qemu counts sectors from the start of the disk. */
static void
test_disk_wide_numbers (void **state)
{
  (void) state;
  for (int wide = 0; wide <= 1; wide++)
    for (int single = 0; single <= 1; single++) {
      struct builder b;
      struct rig t;
      const struct extent_line line = {
        .nr_sectors = CAPACITY,
        .name = "x.vmdk",
      };
      struct extent_source source = {
        .line = &line,
        .disk_offset = 5000 * 512,
        .single = single,
      };
      struct extent *extent;

      build_header (&b, AT_END, CAPACITY, GRAIN);
      b.first_lba = wide ? 5000 : 0;
      build_grains (&b);
      build_finish (&b);
      rig_init (&t, 1 << 20);
      source.rules = &t.f.rules;
      source.media =
        media_memory_new ("x.vmdk", b.image.bytes, b.image.size, &t.f.err);
      extent = extent_stream_open (&source, &t.f.err);
      assert_non_null (extent);
      if (wide && single)
        for (uint64_t g = 0; g < nr_grains (&b); g++)
          if (b.model.states[g] == RUN_PACKED)
            b.model.states[g] = RUN_DAMAGED;
      check_all (&b.model, extent);
      extent_close (extent);
      rig_free (&t);
      build_free (&b);
    }
}

/* -- Headers and footers ------------------------------------------------ */

static void
test_headers (void **state)
{
  static const struct {
    size_t offset;
    unsigned width;
    uint64_t value;
    enum vmdk_error_kind kind;
    const char *text;
  } cases[] = {
    { 4, 4, 0, ERR_UNSUPPORTED, "version 0 is not supported" },
    { 4, 4, 4, ERR_UNSUPPORTED, "version 4 is not supported" },
    { 8, 4, 0x40030001, ERR_UNSUPPORTED, "unknown incompatible flags" },
    { 73, 4, 0x0a200a0d, ERR_CORRUPT, "text-mode transfer" },
    { 8, 4, 0x20001, ERR_CORRUPT, "compressAlgorithm 1 does not go with" },
    { 8, 4, 0x10001, ERR_CORRUPT, "one of the compression and marker bits" },
    { 77, 2, 0, ERR_CORRUPT, "compressAlgorithm 0 does not go with" },
    { 77, 2, 2, ERR_CORRUPT, "compressAlgorithm 2 does not go with" },
    { 12, 8, CAPACITY - 1, ERR_CORRUPT,
      "capacity 1999 is less than the descriptor's 2000 sectors" },
    { 12, 8, 0, ERR_CORRUPT, "capacity 0" },
    { 12, 8, UINT64_C (1) << 50, ERR_CORRUPT, "needs a grain directory" },
    { 20, 8, 7, ERR_CORRUPT, "grainSize 7" },
    { 20, 8, 4, ERR_CORRUPT, "grainSize 4" },
    { 20, 8, 0, ERR_CORRUPT, "grainSize 0" },
    { 44, 4, 0, ERR_CORRUPT, "numGTEsPerGT 0" },
    { 44, 4, 500, ERR_CORRUPT, "numGTEsPerGT 500" },
    { 56, 8, 0, ERR_CORRUPT, "gdOffset is 0" },
    { 56, 8, 1, ERR_CORRUPT, "lies in the descriptor" },
    { 56, 8, 1000000, ERR_CORRUPT, "ends beyond the file" },
    { 64, 8, 1000000, ERR_CORRUPT, "the file is truncated" },
    { 36, 8, 0, ERR_CORRUPT, "descriptorSize 0" },
    { 28, 8, 1000000, ERR_CORRUPT, "the descriptor at sector 1000000" },
    { 0, 4, SPARSE_MAGIC_UNFINISHED, ERR_CORRUPT, "never finished" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct builder b;
    struct rig t;
    struct extent *extent;

    build_usual (&b, FRONT);
    for (unsigned j = 0; j < cases[i].width; j++)
      b.image.bytes[cases[i].offset + j] = (uint8_t) (cases[i].value >> 8 * j);
    rig_init (&t, 0);
    extent = fixture_open (&t.f, extent_stream_open, &b.image, CAPACITY);
    if (extent || !strstr (t.f.err.text, cases[i].text))
      print_error ("wanted: %s; got: %s\n", cases[i].text, t.f.err.text);
    assert_null (extent);
    assert_non_null (strstr (t.f.err.text, cases[i].text));
    assert_int_equal (t.f.err.kind, cases[i].kind);
    rig_free (&t);
    build_free (&b);
  }
}

static void
test_unclean (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, FRONT);
  b.header.unclean_shutdown = 1;
  put_header (&b);
  check_image (&b, "x.vmdk: was not closed cleanly (uncleanShutdown is set): "
                   "what was written last may be missing");
  build_free (&b);
}

/* Both in the proper place and behind padding, both with and without a
 * directory in the header.
 */
static void
test_footers_that_differ (void **state)
{
  static const struct {
    size_t offset;
    uint32_t value;
    const char *text;
  } cases[] = {
    { 12, CAPACITY + 8, "the footer's capacity is 2008, the header's 2000" },
    { 20, 16, "the footer's grainSize is 16, the header's 8" },
    { 44, 256, "the footer's numGTEsPerGT is 256, the header's 128" },
    { 8, 0x30003,
      "the footer's flags are 0x00030003, the header's 0x00030001" },
    { 4, 0, "footer: sparse header: version 0 is not supported, only 1 to 3" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (int padded = 0; padded <= 1; padded++)
      for (int front = 0; front <= 1; front++) {
        struct builder b;
        struct rig t;

        if (padded && front)
          continue; /* no footer then */
        build_usual (&b, AT_END);
        if (front) {
          b.header.gd_offset = get_footer (&b).gd_offset;
          put_header (&b);
        }
        image_put32 (&b.image, b.footer + cases[i].offset, cases[i].value);
        if (padded)
          image_grow (&b.image, b.image.size + 3000);
        rig_init (&t, 0);
        assert_null (
          fixture_open (&t.f, extent_stream_open, &b.image, CAPACITY));
        assert_string_equal (t.f.err.text, cases[i].text);
        rig_free (&t);
        build_free (&b);
      }
}

static void
test_footer_without_directory (void **state)
{
  struct builder b;
  struct sparse_header footer;

  (void) state;
  build_usual (&b, AT_END);
  footer = get_footer (&b);
  footer.gd_offset = SPARSE_GD_AT_END;
  put_footer (&b, &footer);
  check_refused (&b, ERR_CORRUPT,
                 "the footer's gdOffset is no sector: the stream has no grain "
                 "directory");
  footer.gd_offset = 0;
  put_footer (&b, &footer);
  check_refused (&b, ERR_CORRUPT,
                 "footer: sparse header: gdOffset is 0: there is no grain "
                 "directory");
  build_free (&b);
}

static void
test_missing_eos (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, AT_END);
  b.image.size -= 512;
  check_image (&b, "x.vmdk: the stream's end marker is missing: 0 other bytes "
                   "follow the footer");
  image_grow (&b.image, b.image.size + 512);
  b.image.bytes[b.image.size - 500] = 1;
  check_image (&b, "x.vmdk: the stream's end marker is missing: 512 other "
                   "bytes follow the footer");
  build_free (&b);
}

static void
test_padding (void **state)
{
  const size_t most = ((size_t) 1 << 20) - 3 * 512;
  struct builder b;
  size_t size;

  (void) state;
  build_usual (&b, AT_END);
  size = b.image.size;
  image_grow (&b.image, size + 100);
  check_image (&b, "x.vmdk: 100 bytes behind the end of the stream");
  image_grow (&b.image, size + 1024);
  check_image (&b, "x.vmdk: 1024 bytes behind the end of the stream");
  b.image.bytes[size + 700] = 'x'; /* whatever it is */
  check_image (&b, "x.vmdk: 1024 bytes behind the end of the stream");
  image_grow (&b.image, size + 10 * 512);
  check_image (&b, "x.vmdk: 5120 bytes behind the end of the stream");
  image_grow (&b.image, size + most);
  check_image (&b, "x.vmdk: 1047040 bytes behind the end of the stream");
  image_grow (&b.image, size + most + 512);
  {
    char text[ERROR_TEXT_SIZE];

    snprintf (text, sizeof text,
              "the stream's grain directory should be at its end, and there "
              "is no footer there: the file of %zu bytes was cut",
              b.image.size);
    check_refused (&b, ERR_CORRUPT, text);
  }
  build_free (&b);
}

/* Any cut into the footer or before it. */
static void
test_cut (void **state)
{
  struct builder b;
  struct rig t;
  size_t whole;

  (void) state;
  build_usual (&b, AT_END);
  whole = b.footer + 512;
  rig_init (&t, 0);
  for (size_t size = whole - 1; size > 512;
       size -= size > whole - 1500 ? 79 : 1024) {
    b.image.size = size;
    assert_null (fixture_open (&t.f, extent_stream_open, &b.image, CAPACITY));
    assert_int_equal (t.f.err.kind, ERR_CORRUPT);
  }
  for (size_t size = 0; size <= 512; size += 64) {
    b.image.size = size;
    assert_null (fixture_open (&t.f, extent_stream_open, &b.image, CAPACITY));
  }
  rig_free (&t);
  build_free (&b);
}

/* -- Damage ------------------------------------------------------------- */

static void
check_read_error (struct rig *t, struct extent *extent, uint64_t grain,
                  const char *text)
{
  uint8_t buf[GRAIN_BYTES];
  struct vmdk_error err;

  t->f.nr_warnings = 0;
  for (int part = 1; part >= 0; part--) {
    const size_t n = part ? 512 : sizeof buf;

    assert_int_equal (read_range (extent, buf, n, grain * sizeof buf, &err),
                      -1);
    if (!strstr (err.text, text))
      assert_string_equal (err.text, text);
    assert_int_equal (err.kind, ERR_DAMAGED);
    assert_int_equal (err.errnum, EIO);
    assert_int_equal (t->f.nr_warnings, 1); /* told once */
    assert_string_equal (part ? t->f.warning : err.text, err.text);
  }
}

/* Each spoils its grain and nothing else. */
static void
test_damaged_grains (void **state)
{
  enum { VICTIM = 20 };
  enum damage {
    SIZE_0,
    SIZE_LIE,
    SIZE_BEYOND_DOUBLE,
    SIZE_BEYOND_FILE,
    WRONG_LBA,
    OTHER_GRAIN,
    BOMB,
    SHORT,
    EMPTY,
    CHECKSUM,
    CUT,
    RAW,
    GZIP,
    GARBAGE,
    AT_MARKER,
    AT_TABLE,
    AT_HEADER,
    AT_DESCRIPTOR,
    AT_DIRECTORY,
    BEHIND_FILE,
    NR_DAMAGES,
  };
  static const char *const texts[] = {
    [SIZE_0] = "its header says 0 bytes of compressed data, not 1 to 8192",
    [SIZE_LIE] =
      "its header says 2147483648 bytes of compressed data, not 1 to 8192",
    [SIZE_BEYOND_DOUBLE] =
      "its header says 8193 bytes of compressed data, not 1 to 8192",
    [SIZE_BEYOND_FILE] = "bytes of compressed data end beyond the file's",
    [WRONG_LBA] = "its header says it is the data of sector 161, not of 160",
    [OTHER_GRAIN] = "its header says it is the data of sector 168, not of 160",
    [BOMB] = "inflates to more than 4096 bytes",
    [SHORT] = "it inflates to 4095 bytes, not 4096",
    [EMPTY] = "it inflates to 0 bytes, not 4096",
    [CHECKSUM] = "the checksum is wrong",
    [CUT] = "ends early",
    [RAW] = "not a zlib stream",
    [GZIP] = "not a zlib stream: it starts with 1f 8b",
    [GARBAGE] = "the compressed data is broken or ends early",
    [AT_MARKER] = "its header says",
    [AT_TABLE] = "its header says",
    [AT_HEADER] = "lies in the header", /* see below */
    [AT_DESCRIPTOR] = "grain 20 at sector 2 lies in the descriptor",
    [AT_DIRECTORY] = "lies in the grain directory",
    [BEHIND_FILE] = "grain 20 at sector 100000 lies beyond the file's",
  };

  (void) state;
  for (int damage = 0; damage < NR_DAMAGES; damage++) {
    struct builder b;
    struct rig t;
    struct extent *extent;
    uint8_t *grain;
    uint8_t *plain = calloc (1, 1 << 20);
    uint32_t size;

    if (damage == AT_HEADER) {
      free (plain);
      continue; /* entry 0 is absent */
    }
    build_header (&b, AT_END, CAPACITY, GRAIN);
    build_grains (&b);
    memcpy (plain, b.model.bytes + VICTIM * GRAIN_BYTES, GRAIN_BYTES);
    switch ((enum damage) damage) {
    case BOMB:
      b.gtes[VICTIM] = append_packed (&b, VICTIM, plain, 1 << 20, 15);
      break;
    case SHORT:
      b.gtes[VICTIM] = append_packed (&b, VICTIM, plain, 4095, 15);
      break;
    case EMPTY:
      b.gtes[VICTIM] = append_packed (&b, VICTIM, plain, 0, 15);
      break;
    case RAW:
      b.gtes[VICTIM] = append_packed (&b, VICTIM, plain, GRAIN_BYTES, -15);
      break;
    case GZIP:
      b.gtes[VICTIM] = append_packed (&b, VICTIM, plain, GRAIN_BYTES, 31);
      break;
    case OTHER_GRAIN:
      b.gtes[VICTIM] = b.gtes[VICTIM + 1];
      break;
    case AT_MARKER:
      b.gtes[VICTIM] = append_marker (&b, VICTIM * GRAIN, MARKER_PROGRESS);
      break;
    case AT_TABLE:
      b.gtes[VICTIM] = b.gdes[0];
      break;
    case AT_DESCRIPTOR:
      b.gtes[VICTIM] = 2;
      break;
    case BEHIND_FILE:
      b.gtes[VICTIM] = 100000;
      break;
    default:
      break;
    }
    build_finish (&b);
    if (damage == AT_DIRECTORY)
      b.gtes[VICTIM] = (uint32_t) get_footer (&b).gd_offset;
    rebuild_tables (&b);

    if (damage < BOMB || (damage >= CHECKSUM && damage <= GARBAGE)) {
      grain = b.image.bytes + b.gtes[VICTIM] * 512;
      size = le32_load (grain + 8);
      if (damage == SIZE_0)
        le32_store (grain + 8, 0);
      if (damage == SIZE_LIE)
        le32_store (grain + 8, UINT32_C (1) << 31);
      if (damage == SIZE_BEYOND_DOUBLE)
        le32_store (grain + 8, 2 * GRAIN_BYTES + 1);
      if (damage == WRONG_LBA)
        le64_store (grain, VICTIM * GRAIN + 1);
      if (damage == CHECKSUM)
        grain[12 + size - 1] ^= 1;
      if (damage == CUT)
        le32_store (grain + 8, size - 40);
      if (damage == GARBAGE)
        grain[14] = 0x07;
    }
    if (damage == SIZE_BEYOND_FILE) {
      /* The last thing in the file that can look like a grain. */
      const uint32_t eos = next_sector (&b) - 1;

      b.gtes[VICTIM] = eos;
      rebuild_tables (&b);
      le64_store (b.image.bytes + eos * 512, VICTIM * GRAIN);
      le32_store (b.image.bytes + eos * 512 + 8, 501);
    }

    b.model.states[VICTIM] = RUN_DAMAGED;
    rig_init (&t, 1 << 20);
    extent = fixture_open (&t.f, extent_stream_open, &b.image, CAPACITY);
    assert_non_null (extent);
    check_read_error (&t, extent, VICTIM, texts[damage]);
    assert_int_equal (strncmp (t.f.warning, "x.vmdk: grain 20 at sector ", 27),
                      0);
    check_all (&b.model, extent);
    extent_close (extent);
    rig_free (&t);
    build_free (&b);
    free (plain);
  }
}

/* A directory entry that cannot be right costs its table's grains. */
static void
test_damaged_tables (void **state)
{
  static const struct {
    uint32_t entry;
    const char *text;
  } cases[] = {
    { 1, "x.vmdk: grain table 1 at sector 1 lies in the descriptor" },
    { 2, "x.vmdk: grain table 1 at sector 2 lies in the descriptor" },
    { 3, "x.vmdk: grain table 1 at sector 3 lies in the grain directory" },
    { UINT32_MAX,
      "x.vmdk: grain table 1 at sector 4294967295 ends beyond the file's" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct builder b;
    struct rig t;
    struct extent *extent;

    build_usual (&b, FRONT);
    image_put32 (&b.image, b.header.gd_offset * 512 + 4, cases[i].entry);
    for (uint64_t g = GTES; g < nr_grains (&b); g++)
      b.model.states[g] = RUN_DAMAGED;
    rig_init (&t, 1 << 20);
    extent = open_image (&t, &b, NULL);
    check_read_error (&t, extent, GTES + 1, cases[i].text);
    check_all (&b.model, extent);
    assert_int_equal (t.f.nr_warnings, 1); /* for all of them */
    extent_close (extent);
    rig_free (&t);
    build_free (&b);
  }
}

/* The last grain may be short, any other not; nor may it be anything
 * between.
 */
static void
test_wrong_last_grain (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, 10 * GRAIN + 3, GRAIN);
  model_fill (&b.model, 9);
  model_fill (&b.model, 10);
  b.gtes[9] =
    append_packed (&b, 9, b.model.bytes + 9 * GRAIN_BYTES, 3 * 512, 15);
  b.gtes[10] =
    append_packed (&b, 10, b.model.bytes + 10 * GRAIN_BYTES, 4 * 512, 15);
  b.model.states[9] = b.model.states[10] = RUN_DAMAGED;
  build_finish (&b);
  check_image (&b, NULL);
  build_free (&b);
}

/* The part of a giant grain costs its size once, however many ask. */
static void
test_giant_grain (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, 2 * 8192 + 100, 8192);
  build_grain (&b, 0);
  build_grain (&b, 1);
  build_short_grain (&b, 2);
  build_finish (&b);
  {
    struct rig t;
    struct extent *extent;

    rig_init (&t, 1 << 20);
    extent = open_image (&t, &b, NULL);
    check_bytes (&b.model, extent, 1 << 19);
    check_bytes (&b.model, extent, b.model.grain_size);
    extent_close (extent);
    rig_free (&t);
  }
  build_free (&b);
}

/* -- Recovery ----------------------------------------------------------- */

static struct extent *
open_recovering (struct rig *t, const struct builder *b)
{
  struct extent *extent;

  rig_init (t, 1 << 20);
  t->f.rules.recover_stream = true;
  extent = fixture_open (&t->f, extent_stream_open, &b->image,
                         bytes_to_sectors (b->model.size));
  if (!extent)
    print_error ("refused: %s\n", t->f.err.text);
  assert_non_null (extent);
  return extent;
}

static void
check_recovery (const struct builder *b, const char *last_warning)
{
  struct rig t;
  struct extent *extent = open_recovering (&t, b);

  assert_string_equal (t.f.warning, last_warning);
  check_all (&b->model, extent);
  extent_close (extent);
  rig_free (&t);
}

/* Grains from FIRST to END that are not stored cannot be told. */
static void
doubt (struct builder *b, uint64_t first, uint64_t end)
{
  for (uint64_t g = first; g < end; g++)
    if (b->model.states[g] == RUN_ABSENT)
      b->model.states[g] = RUN_DAMAGED;
}

#define CUT_WARNING                                                       \
  "x.vmdk: grains may have been lost where the stream is broken or cut: " \
  "reading there gives errors"
#define DOUBT_WARNING                                                         \
  "x.vmdk: grains may have been lost wherever none was found: reading there " \
  "gives errors"

/* Only the end is lost: all grains and the directory are there. */
static void
test_recover_complete (void **state)
{
  struct builder b;
  size_t size;

  (void) state;
  build_usual (&b, AT_END);
  b.image.size = b.footer + 79;
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  b.image.size = b.footer - 512;
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  size = b.image.size;
  image_grow (&b.image, size + 300000); /* a tail of zeros */
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  build_free (&b);

  build_shuffled (&b, AT_END);
  b.image.size = b.footer - 512;
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  build_free (&b);
}

/* Nobody asked for it, or nothing is wrong. */
static void
test_recover_unneeded (void **state)
{
  struct builder b;
  struct rig t;
  struct extent *extent;

  (void) state;
  for (int layout = AT_END; layout <= FRONT; layout++) {
    build_usual (&b, layout);
    extent = open_recovering (&t, &b);
    assert_int_equal (t.f.nr_warnings, 0);
    check_all (&b.model, extent);
    extent_close (extent);
    rig_free (&t);
    build_free (&b);
  }
  build_usual (&b, AT_END);
  b.image.size = b.footer;
  rig_init (&t, 0);
  assert_null (fixture_open (&t.f, extent_stream_open, &b.image, CAPACITY));
  assert_int_equal (t.f.err.kind, ERR_CORRUPT);
  rig_free (&t);
  build_free (&b);
}

/* Cut in the middle of grain 221: what was found is good, holes far before
 * the cut are holes, what is near it or behind it is not told.
 */
static void
test_recover_cut (void **state)
{
  enum { LAST = 220 };
  struct builder b;
  struct rig t;
  struct extent *extent;

  (void) state;
  for (int cut = 0; cut < 4; cut++) {
    static const size_t left[] = { 0, 10, 15, 100 };

    build_usual (&b, AT_END);
    b.image.size = b.gtes[LAST + 1] * 512 + left[cut];
    for (uint64_t g = LAST + 1; g < nr_grains (&b); g++)
      b.model.states[g] = RUN_DAMAGED;
    extent = open_recovering (&t, &b);
    assert_string_equal (t.f.warning, CUT_WARNING);
    for (uint64_t g = 0; g < nr_grains (&b); g++) {
      struct run run;
      struct vmdk_error err;

      assert_int_equal (extent_map (extent, g * GRAIN_BYTES, GRAIN_BYTES,
                                    MAP_STATE, &run, &err),
                        0);
      if (is_stored (g) && g <= LAST)
        assert_int_equal (run.state, RUN_PACKED);
      else if (g < 40)
        assert_int_equal (run.state, RUN_ABSENT);
      else if (g > LAST - 64)
        assert_int_equal (run.state, RUN_DAMAGED);
      b.model.states[g] = run.state;
    }
    check_read_error (&t, extent, LAST + 5,
                      "x.vmdk: grain 225: not found in the stream, and may "
                      "have been lost from it");
    check_all (&b.model, extent);
    extent_close (extent);
    rig_free (&t);
    build_free (&b);
  }
}

/* A short stream that was cut: nothing is told but what was found. */
static void
test_recover_cut_short (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  build_grain (&b, 3);
  build_grain (&b, 4);
  build_grain (&b, 7);
  put_header (&b);
  doubt (&b, 0, nr_grains (&b));
  check_recovery (&b, CUT_WARNING);
  build_free (&b);
}

/* Out of order and cut: the same for all that was not found. */
static void
test_recover_cut_shuffled (void **state)
{
  struct builder b;

  (void) state;
  build_shuffled (&b, AT_END);
  b.image.size = b.gtes[nr_grains (&b) / 2] * 512 + 20;
  for (uint64_t g = 0; g < nr_grains (&b); g++)
    if (b.gtes[g] == 0 || b.gtes[g] * 512 + 20 >= b.image.size)
      b.model.states[g] = RUN_DAMAGED;
  check_recovery (&b, DOUBT_WARNING);
  build_free (&b);
}

/* A grain whose header is destroyed: found by nobody, and never zeros. */
static void
test_recover_broken (void **state)
{
  static const struct {
    size_t offset;
    uint32_t value;
  } cases[] = {
    { 0, 12345 },       /* lba that no grain has */
    { 4, 1 },           /* beyond the capacity */
    { 8, 0x7fffffff },  /* size */
    { 12, 0xffffffff }, /* no zlib */
    { 8, 0 },           /* a marker of an unknown type */
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct builder b;

    build_header (&b, AT_END, CAPACITY, GRAIN);
    for (uint64_t g = 0; g < nr_grains (&b); g++)
      if (g != 130)
        build_grain (&b, g);
    build_finish (&b);
    image_put32 (&b.image, b.gtes[129] * 512 + cases[i].offset,
                 cases[i].value);
    b.image.size = b.footer;
    b.model.states[129] = b.model.states[130] = RUN_DAMAGED;
    check_recovery (&b, CUT_WARNING);
    build_free (&b);
  }
}

/* Markers that lie about what follows them are none. */
static void
test_recover_lying_markers (void **state)
{
  static const struct {
    uint64_t value;
    uint32_t type;
  } cases[] = {
    { UINT64_MAX, MARKER_GRAIN_TABLE },
    { UINT64_C (1) << 21, MARKER_GRAIN_DIRECTORY },
    { 2, MARKER_FOOTER },
    { 7, MARKER_EOS },
    { 0, 5 },
    { 0, UINT32_MAX },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct builder b;

    build_header (&b, AT_END, CAPACITY, GRAIN);
    for (uint64_t g = 0; g < nr_grains (&b); g++) {
      if (g == 100)
        append_marker (&b, cases[i].value, cases[i].type);
      build_grain (&b, g);
    }
    build_finish (&b);
    b.image.size = b.footer;
    check_recovery (&b, "x.vmdk: recovered 250 grains by scanning the stream");
    build_free (&b);
  }
}

/* A stretch of zeros may be what never arrived. */
static void
test_recover_zeros_between (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (uint64_t g = 0; g < nr_grains (&b); g++)
    if (g != 125)
      build_grain (&b, g);
  build_finish (&b);
  memset (b.image.bytes + b.gtes[120] * 512, 0,
          (b.gtes[124] - b.gtes[120]) * 512);
  b.image.size = b.footer;
  for (uint64_t g = 120; g < 124; g++)
    b.model.states[g] = RUN_DAMAGED;
  b.model.states[125] = RUN_DAMAGED;
  check_recovery (&b, CUT_WARNING);
  build_free (&b);
}

/* Tables without markers do not keep it from going on. */
static void
test_recover_bare_tables (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (uint64_t g = 0; g < nr_grains (&b); g++) {
    build_grain (&b, g);
    if (g % 50 == 49) {
      const uint32_t sector = append_sectors (&b, 1);

      for (uint32_t i = 0; i < 128; i++)
        image_put32 (&b.image, sector * 512 + i * 4, 20 + i * 5);
    }
  }
  put_header (&b);
  check_recovery (&b, "x.vmdk: recovered 250 grains by scanning the stream");
  build_free (&b);
}

/* A writer that was interrupted and resumed: the last copy counts. */
static void
test_recover_copies (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (int round = 0; round < 3; round++)
    for (uint64_t g = 0; g < nr_grains (&b); g++) {
      uint8_t *bytes = model_fill (&b.model, g);

      bytes[0] = (uint8_t) round;
      b.model.states[g] = RUN_PACKED;
      append_packed (&b, g, bytes, GRAIN_BYTES, 15);
    }
  put_header (&b);
  {
    struct rig t;
    struct extent *extent = open_recovering (&t, &b);

    assert_int_equal (t.f.nr_warnings, 4);
    assert_string_equal (t.f.warning, DOUBT_WARNING);
    check_all (&b.model, extent);
    extent_close (extent);
    rig_free (&t);
  }
  build_free (&b);
}

/* A grain behind the directory's marker shows that it was not the end. */
static void
test_recover_appended (void **state)
{
  struct builder b;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (uint64_t g = 0; g < 100; g += 2)
    build_grain (&b, g);
  build_finish (&b);
  b.image.size -= 3 * 512;
  build_grain (&b, 110);
  doubt (&b, 0, nr_grains (&b));
  check_recovery (&b, CUT_WARNING);
  build_free (&b);
}

/* A wrong overHead: the scan starts behind the descriptor. */
static void
test_recover_overhead (void **state)
{
  struct builder b;

  (void) state;
  build_usual (&b, AT_END);
  b.image.size = b.footer - 512;
  b.header.overhead = 0;
  put_header (&b);
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  build_free (&b);
}

/* A footer that contradicts the header is no better than none. */
static void
test_recover_wrong_footer (void **state)
{
  struct builder b;
  struct sparse_header footer;

  (void) state;
  build_usual (&b, AT_END);
  footer = get_footer (&b);
  footer.capacity += 8;
  put_footer (&b, &footer);
  check_recovery (&b, "x.vmdk: recovered 170 grains by scanning the stream");
  build_free (&b);
}

/* Grains that are numbered from the start of the disk. */
static void
test_recover_disk_wide (void **state)
{
  (void) state;
  for (int ambiguous = 0; ambiguous <= 1; ambiguous++) {
    const uint64_t first = ambiguous ? CAPACITY / 2 : CAPACITY + 5 * GRAIN;
    const struct extent_line line = {
      .nr_sectors = CAPACITY,
      .name = "x.vmdk",
    };
    struct extent_source source = {
      .line = &line,
      .disk_offset = first * 512,
    };
    struct builder b;
    struct rig t;
    struct extent *extent;

    build_header (&b, AT_END, CAPACITY, GRAIN);
    b.first_lba = first;
    build_grains (&b);
    build_finish (&b);
    b.image.size = b.footer - 512;
    rig_init (&t, 1 << 20);
    t.f.rules.recover_stream = true;
    source.rules = &t.f.rules;
    source.media =
      media_memory_new ("x.vmdk", b.image.bytes, b.image.size, &t.f.err);
    extent = extent_stream_open (&source, &t.f.err);
    if (ambiguous) {
      assert_null (extent);
      assert_error (&t.f.err, ERR_UNSUPPORTED,
                    "the stream cannot be recovered: with 1000 sectors before "
                    "this extent of 2000 its grains' numbers are ambiguous");
    }
    else {
      assert_non_null (extent);
      check_all (&b.model, extent);
      extent_close (extent);
    }
    rig_free (&t);
    build_free (&b);
  }
}

/* -- Several readers ---------------------------------------------------- */

struct reader {
  const struct model *model;
  struct extent *extent;
  uint64_t seed;
  size_t step; /* read in order with this step; 0: at random */
};

static void *
read_often (void *opaque)
{
  const struct reader *r = opaque;
  const size_t most = 3 * r->model->grain_size;
  uint8_t *buf = malloc (most);
  uint64_t seed = r->seed;
  uint64_t offset = 0;
  bool ok = true;

  for (int i = 0; i < 2000 && ok; i++) {
    size_t count = r->step;
    struct vmdk_error err;

    if (r->step == 0) {
      offset = random_next (&seed) % (r->model->size / 512) * 512;
      count = (random_next (&seed) % (most / 512) + 1) * 512;
    }
    count = min_u64 (count, r->model->size - offset);
    ok = read_range (r->extent, buf, count, offset, &err) == 0
         && memcmp (buf, r->model->bytes + offset, count) == 0;
    offset = (offset + count) % r->model->size;
  }
  free (buf);
  return ok ? NULL : opaque;
}

static void
test_readers (void **state)
{
  enum { N = 4 };
  struct builder b;

  (void) state;
  build_usual (&b, AT_END);
  for (int budget = 0; budget < 3; budget++) {
    static const size_t budgets[] = { 0, 20 * GRAIN_BYTES, 4 << 20 };
    struct rig t;
    struct extent *extent;
    struct reader readers[N];
    pthread_t threads[N];

    rig_init (&t, budgets[budget]);
    extent = open_image (&t, &b, NULL);
    for (int i = 0; i < N; i++) {
      readers[i] = (struct reader){
        .model = &b.model,
        .extent = extent,
        .seed = i + 1,
        .step = i == 0   ? 512
                : i == 1 ? GRAIN_BYTES
                         : 0,
      };
      assert_int_equal (
        pthread_create (&threads[i], NULL, read_often, &readers[i]), 0);
    }
    for (int i = 0; i < N; i++) {
      void *result;

      pthread_join (threads[i], &result);
      assert_null (result);
    }
    extent_close (extent);
    rig_free (&t);
  }
  build_free (&b);
}

/* Wait until the cache holds what it should; a test that hangs here is one
 * that failed.
 */
static void
wait_for_grains (struct rig *t, size_t n)
{
  const struct timespec ms = { .tv_nsec = 1000000 };

  while (cache_used (t->resources->grains) < n * GRAIN_BYTES)
    nanosleep (&ms, NULL);
}

/* Who reads parts of grains in order finds the next two inflated; whole
 * grains and jumps bring nothing.
 */
static void
test_readahead (void **state)
{
  struct builder b;
  struct rig t;
  struct extent *extent;
  uint8_t buf[GRAIN_BYTES];
  struct vmdk_error err;

  (void) state;
  build_header (&b, AT_END, CAPACITY, GRAIN);
  for (uint64_t g = 0; g < nr_grains (&b); g++)
    build_grain (&b, g);
  build_finish (&b);
  rig_init (&t, 1 << 20);
  extent = open_image (&t, &b, NULL);

  for (uint64_t g = 50; g < 60; g++)
    assert_int_equal (
      read_range (extent, buf, GRAIN_BYTES, g * GRAIN_BYTES, &err), 0);
  assert_int_equal (cache_used (t.resources->grains), 0);
  assert_int_equal (read_range (extent, buf, 512, 100 * GRAIN_BYTES, &err), 0);
  assert_int_equal (read_range (extent, buf, 512, 200 * GRAIN_BYTES, &err), 0);
  assert_in_range (cache_used (t.resources->grains), 2 * GRAIN_BYTES,
                   3 * GRAIN_BYTES - 1);
  assert_int_equal (read_range (extent, buf, 512, 101 * GRAIN_BYTES, &err), 0);
  wait_for_grains (&t, 5); /* 100, 101, 102, 103, 200 */
  extent->ops->readahead (extent, 104 * GRAIN_BYTES, 1);
  wait_for_grains (&t, 6);
  assert_int_equal (
    read_range (extent, buf, GRAIN_BYTES, 104 * GRAIN_BYTES, &err), 0);
  assert_memory_equal (buf, b.model.bytes + 104 * GRAIN_BYTES, GRAIN_BYTES);
  extent->ops->readahead (extent, 0, b.model.size); /* and close at once */
  extent_close (extent);
  assert_int_equal (cache_used (t.resources->grains), 0);
  rig_free (&t);
  build_free (&b);
}

/* What cannot be inflated ahead is told to nobody but who reads it. */
static void
test_readahead_of_damage (void **state)
{
  struct builder b;
  struct rig t;
  struct extent *extent;

  (void) state;
  build_usual (&b, FRONT);
  b.image.bytes[b.gtes[5] * 512 + 20] ^= 0xff;
  b.model.states[5] = RUN_DAMAGED;
  rig_init (&t, 1 << 20);
  extent = open_image (&t, &b, NULL);
  extent->ops->readahead (extent, 4 * GRAIN_BYTES, 3 * GRAIN_BYTES);
  wait_for_grains (&t, 2);
  readahead_cancel (t.resources->readahead, extent);
  assert_int_equal (t.f.nr_warnings, 0);
  check_all (&b.model, extent);
  assert_int_equal (t.f.nr_warnings, 1);
  extent_close (extent);
  rig_free (&t);
  build_free (&b);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_at_end),
    cmocka_unit_test (test_front),
    cmocka_unit_test (test_front_without_eos),
    cmocka_unit_test (test_front_and_footer),
    cmocka_unit_test (test_front_and_padded_footer),
    cmocka_unit_test (test_redundant),
    cmocka_unit_test (test_versions),
    cmocka_unit_test (test_levels),
    cmocka_unit_test (test_incompressible),
    cmocka_unit_test (test_stored_zeros),
    cmocka_unit_test (test_shuffled),
    cmocka_unit_test (test_progress_markers),
    cmocka_unit_test (test_short_last_grain),
    cmocka_unit_test (test_header_beyond_line),
    cmocka_unit_test (test_no_grains),
    cmocka_unit_test (test_zero_entry),
    cmocka_unit_test (test_disk_wide_numbers),
    cmocka_unit_test (test_headers),
    cmocka_unit_test (test_unclean),
    cmocka_unit_test (test_footers_that_differ),
    cmocka_unit_test (test_footer_without_directory),
    cmocka_unit_test (test_missing_eos),
    cmocka_unit_test (test_padding),
    cmocka_unit_test (test_cut),
    cmocka_unit_test (test_damaged_grains),
    cmocka_unit_test (test_damaged_tables),
    cmocka_unit_test (test_wrong_last_grain),
    cmocka_unit_test (test_giant_grain),
    cmocka_unit_test (test_recover_complete),
    cmocka_unit_test (test_recover_unneeded),
    cmocka_unit_test (test_recover_cut),
    cmocka_unit_test (test_recover_cut_short),
    cmocka_unit_test (test_recover_cut_shuffled),
    cmocka_unit_test (test_recover_broken),
    cmocka_unit_test (test_recover_lying_markers),
    cmocka_unit_test (test_recover_zeros_between),
    cmocka_unit_test (test_recover_bare_tables),
    cmocka_unit_test (test_recover_copies),
    cmocka_unit_test (test_recover_appended),
    cmocka_unit_test (test_recover_overhead),
    cmocka_unit_test (test_recover_wrong_footer),
    cmocka_unit_test (test_recover_disk_wide),
    cmocka_unit_test (test_readers),
    cmocka_unit_test (test_readahead),
    cmocka_unit_test (test_readahead_of_damage),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
