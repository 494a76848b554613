/* SPDX-License-Identifier: BSD-3-Clause */

/* streamOptimized extents in memory, built piece by piece in every order that
 * producers use, with a model of what they hold; and the comparison of the
 * two. Include after extent-helper.h.
 */

#ifndef VMDKIT_TESTS_STREAM_IMAGE_H
#define VMDKIT_TESTS_STREAM_IMAGE_H

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

static inline uint32_t
next_sector (const struct builder *b)
{
  return (uint32_t) (b->image.size / 512);
}

static inline uint32_t
append_sectors (struct builder *b, size_t n)
{
  const uint32_t sector = next_sector (b);

  image_grow (&b->image, b->image.size + n * 512);
  return sector;
}

static inline size_t
nr_grains (const struct builder *b)
{
  return model_nr_grains (&b->model);
}

static inline size_t
nr_tables (const struct builder *b)
{
  return sparse_header_nr_tables (&b->header);
}

static inline size_t
gd_sectors (const struct builder *b)
{
  return div_round_up (nr_tables (b) * 4, 512);
}

static inline void
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

static inline void
build_free (struct builder *b)
{
  image_free (&b->image);
  model_free (&b->model);
  free (b->gtes);
  free (b->gdes);
}

/* A block as a grain's, whatever is in it. */
static inline uint32_t
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
static inline uint8_t *
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

static inline uint32_t
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
static inline uint32_t
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
static inline void
build_short_grain (struct builder *b, uint64_t grain)
{
  const size_t valid = b->model.size - grain * b->model.grain_size;
  const uint8_t *bytes = model_fill (&b->model, grain);

  b->model.states[grain] = RUN_PACKED;
  b->gtes[grain] = append_packed (b, grain, bytes, valid, 15);
}

static inline uint32_t
append_marker (struct builder *b, uint64_t value, uint32_t type)
{
  const uint32_t sector = append_sectors (b, 1);

  le64_store (b->image.bytes + sector * 512, value);
  le32_store (b->image.bytes + sector * 512 + 12, type);
  return sector;
}

static inline void
put_table (struct builder *b, size_t table)
{
  for (size_t i = 0; i < GTES; i++)
    if (table * GTES + i < nr_grains (b))
      image_put32 (&b->image, b->gdes[table] * 512 + i * 4,
                   b->gtes[table * GTES + i]);
}

/* The table behind its grains, unless they are all absent. */
static inline void
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

static inline void
put_directory (struct builder *b, uint64_t sector)
{
  for (size_t i = 0; i < nr_tables (b); i++)
    image_put32 (&b->image, sector * 512 + i * 4, b->gdes[i]);
}

static inline void
put_header (struct builder *b)
{
  sparse_header_encode (&b->header, b->image.bytes);
}

static inline struct sparse_header
get_footer (const struct builder *b)
{
  struct sparse_header footer;

  sparse_header_decode (b->image.bytes + b->footer, &footer);
  return footer;
}

static inline void
put_footer (struct builder *b, const struct sparse_header *footer)
{
  sparse_header_encode (footer, b->image.bytes + b->footer);
}

/* Directory, footer and EOS. */
static inline void
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

static inline void
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
static inline bool
is_stored (uint64_t grain)
{
  return grain % 7 != 3 && (grain < 40 || grain > 90);
}

static inline void
build_grains (struct builder *b)
{
  for (uint64_t g = 0; g < nr_grains (b); g++) {
    if (is_stored (g))
      build_grain (b, g);
    if (b->layout == AT_END && g % GTES == GTES - 1)
      build_table (b, g / GTES);
  }
}

static inline void
build_usual (struct builder *b, enum layout layout)
{
  build_header (b, layout, CAPACITY, GRAIN);
  build_grains (b);
  build_finish (b);
}

/* Write the tables again after gtes was changed. */
static inline void
rebuild_tables (struct builder *b)
{
  for (size_t i = 0; i < nr_tables (b); i++)
    if (b->gdes[i] != 0)
      put_table (b, i);
}

static inline void
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

/* -- Opening and comparing ---------------------------------------------- */

struct rig {
  struct fixture f;
  struct resources *resources;
};

static inline void
rig_init (struct rig *t, size_t grain_budget)
{
  memset (t, 0, sizeof *t);
  t->resources = resources_new (1 << 20, grain_budget, &t->f.err);
  assert_non_null (t->resources);
  t->f.rules.resources = t->resources;
  t->f.rules.log.sink = fixture_sink;
  t->f.rules.log.opaque = &t->f;
}

static inline void
rig_free (struct rig *t)
{
  resources_free (t->resources);
}

/* Read as a request is: run by run. */
static inline int
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
static inline void
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
static inline void
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

static inline void
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

static inline struct extent *
open_image (struct rig *t, const struct builder *b, const char *warning)
{
  return assert_opens (&t->f, extent_stream_open, &b->image,
                       bytes_to_sectors (b->model.size), warning);
}

/* Opens, with one warning or none, and reads as the model says. */
static inline void
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

static inline void
check_refused (const struct builder *b, enum vmdk_error_kind kind,
               const char *text)
{
  struct rig t;

  rig_init (&t, 1 << 20);
  assert_refused (&t.f, extent_stream_open, &b->image,
                  bytes_to_sectors (b->model.size), kind, text);
  rig_free (&t);
}

static inline void
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

#endif /* VMDKIT_TESTS_STREAM_IMAGE_H */
