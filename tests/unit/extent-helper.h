/* SPDX-License-Identifier: BSD-3-Clause */

/* What the tests of the extent drivers share: growing images in memory, a
 * log that can be looked at, and the comparison of everything that an extent
 * says with a model.
 */

#ifndef VMDKIT_TESTS_EXTENT_HELPER_H
#define VMDKIT_TESTS_EXTENT_HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "bytes.h"
#include "cache.h"
#include "checked.h"
#include "error.h"
#include "extent.h"
#include "media.h"
#include "resources.h"

/* -- Images ------------------------------------------------------------- */

struct image {
  uint8_t *bytes;
  size_t size;
};

/* Make it at least SIZE bytes long, with zeros. */
static inline void
image_grow (struct image *image, size_t size)
{
  if (size <= image->size)
    return;
  image->bytes = realloc (image->bytes, size);
  assert_non_null (image->bytes);
  memset (image->bytes + image->size, 0, size - image->size);
  image->size = size;
}

static inline void
image_put32 (struct image *image, size_t offset, uint32_t v)
{
  image_grow (image, offset + 4);
  le32_store (image->bytes + offset, v);
}

static inline void
image_put64 (struct image *image, size_t offset, uint64_t v)
{
  image_grow (image, offset + 8);
  le64_store (image->bytes + offset, v);
}

static inline struct image
image_copy (const struct image *from)
{
  struct image image = { 0 };

  image_grow (&image, from->size);
  memcpy (image.bytes, from->bytes, from->size);
  return image;
}

static inline void
image_free (struct image *image)
{
  free (image->bytes);
  *image = (struct image){ 0 };
}

/* xorshift: the same everywhere, unlike rand. */
static inline uint64_t
random_next (uint64_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/* -- Opening ------------------------------------------------------------ */

struct fixture {
  struct resources resources;
  struct open_rules rules;
  struct vmdk_error err;
  unsigned nr_warnings;
  char warning[ERROR_TEXT_SIZE]; /* the last one */
};

static inline void
fixture_sink (void *opaque, enum log_topic topic, const char *text)
{
  struct fixture *f = opaque;

  if (topic != LOG_WARNING)
    return;
  f->nr_warnings++;
  snprintf (f->warning, sizeof f->warning, "%s", text);
}

static inline void
fixture_init (struct fixture *f)
{
  memset (f, 0, sizeof *f);
  f->resources.tables = cache_new (1 << 20, &f->err);
  assert_non_null (f->resources.tables);
  f->rules.resources = &f->resources;
  f->rules.lock = true;
  f->rules.log.sink = fixture_sink;
  f->rules.log.opaque = f;
}

static inline void
fixture_free (struct fixture *f)
{
  cache_free (f->resources.tables);
}

/* With all the resources that a program has. */
static inline void
fixture_init_all (struct fixture *f)
{
  fixture_init (f);
  fixture_free (f);
  f->rules.resources = resources_new (1 << 20, 1 << 20, &f->err);
  assert_non_null (f->rules.resources);
}

static inline void
fixture_free_all (struct fixture *f)
{
  resources_free (f->rules.resources);
}

typedef struct extent *driver_open (const struct extent_source *source,
                                    struct vmdk_error *err);

/* Open IMAGE as an extent of NR_SECTORS named "x.vmdk". */
static inline struct extent *
fixture_open (struct fixture *f, driver_open *open, const struct image *image,
              uint64_t nr_sectors)
{
  const struct extent_line line = {
    .access = ACCESS_RW,
    .nr_sectors = nr_sectors,
    .name = "x.vmdk",
  };
  struct extent_source source = {
    .rules = &f->rules,
    .line = &line,
    .single = true,
    .has_parent = true,
  };

  f->nr_warnings = 0;
  f->warning[0] = '\0';
  source.media =
    media_memory_new ("x.vmdk", image->bytes, image->size, &f->err);
  assert_non_null (source.media);
  return open (&source, &f->err);
}

static inline void
assert_error (const struct vmdk_error *err, enum vmdk_error_kind kind,
              const char *text)
{
  assert_string_equal (err->text, text);
  assert_int_equal (err->kind, kind);
}

static inline void
assert_refused (struct fixture *f, driver_open *open,
                const struct image *image, uint64_t nr_sectors,
                enum vmdk_error_kind kind, const char *text)
{
  struct extent *extent = fixture_open (f, open, image, nr_sectors);

  if (extent)
    print_error ("opened, but wanted: %s\n", text);
  assert_null (extent);
  assert_error (&f->err, kind, text);
}

/* Opens, with one warning or (NULL) without any. */
static inline struct extent *
assert_opens (struct fixture *f, driver_open *open, const struct image *image,
              uint64_t nr_sectors, const char *warning)
{
  struct extent *extent = fixture_open (f, open, image, nr_sectors);

  if (!extent)
    print_error ("refused: %s\n", f->err.text);
  assert_non_null (extent);
  assert_string_equal (f->warning, warning ? warning : "");
  assert_int_equal (f->nr_warnings, warning ? 1 : 0);
  return extent;
}

/* -- The model ---------------------------------------------------------- */

/* What an extent should say: one state a grain, and the bytes where the state
 * is DATA.
 */
struct model {
  uint64_t size, grain_size;
  enum run_state *states;
  uint8_t *bytes;
};

static inline uint64_t
model_nr_grains (const struct model *model)
{
  return div_round_up (model->size, model->grain_size);
}

/* All ABSENT. */
static inline void
model_init (struct model *model, uint64_t nr_sectors, uint64_t grain_sectors)
{
  model->size = sectors_to_bytes (nr_sectors);
  model->grain_size = sectors_to_bytes (grain_sectors);
  model->states = calloc (model_nr_grains (model), sizeof *model->states);
  model->bytes = calloc (model_nr_grains (model), model->grain_size);
  assert_non_null (model->states);
  assert_non_null (model->bytes);
}

static inline void
model_free (struct model *model)
{
  free (model->states);
  free (model->bytes);
}

/* Make a grain DATA with bytes that tell it from every other; returns where
 * they are.
 */
static inline uint8_t *
model_fill (struct model *model, uint64_t grain)
{
  uint8_t *bytes = model->bytes + grain * model->grain_size;

  for (uint64_t i = 0; i < model->grain_size; i += 8)
    le64_store (bytes + i, (grain + 1) * UINT64_C (0x9e3779b97f4a7c15) + i);
  model->states[grain] = RUN_DATA;
  return bytes;
}

static inline enum run_state
model_state (const struct model *model, uint64_t offset)
{
  return model->states[offset / model->grain_size];
}

/* Check one answer of map against the model. */
static inline void
model_check_run (const struct model *model, struct extent *extent,
                 uint64_t offset, enum map_detail detail,
                 const struct run *run)
{
  for (uint64_t at = offset; at < offset + run->length;
       at = (at / model->grain_size + 1) * model->grain_size)
    assert_int_equal (run->state, model_state (model, at));

  if (run->state == RUN_DATA && detail == MAP_WHERE) {
    uint8_t *buf = malloc (run->length);
    struct vmdk_error err;

    assert_ptr_equal (run->media, extent->media);
    assert_int_equal (
      media_pread (run->media, buf, run->length, run->media_offset, &err), 0);
    assert_memory_equal (buf, model->bytes + offset, run->length);
    free (buf);
  }
  if (run->state == RUN_DAMAGED) {
    uint8_t byte;
    struct vmdk_error err;

    assert_ptr_equal (run->extent, extent);
    assert_int_equal (run->extent_offset, offset);
    assert_int_equal (extent_read (extent, &byte, 1, offset, &err), -1);
    assert_int_equal (err.kind, ERR_DAMAGED);
    assert_int_equal (err.errnum, EIO);
    assert_memory_equal (err.text, "x.vmdk: ", 8);
  }
}

/* Walk over the extent with requests of COUNT bytes; compare every answer.
 * Without detail, runs are as long as the state lasts.
 */
static inline void
model_check_walk (const struct model *model, struct extent *extent,
                  enum map_detail detail, uint64_t count)
{
  for (uint64_t offset = 0; offset < model->size;) {
    const uint64_t wanted = min_u64 (count, model->size - offset);
    struct vmdk_error err;
    struct run run;

    assert_int_equal (extent_map (extent, offset, wanted, detail, &run, &err),
                      0);
    assert_in_range (run.length, 1, wanted);
    model_check_run (model, extent, offset, detail, &run);
    offset += run.length;
    if (detail == MAP_STATE && run.length < wanted)
      assert_int_not_equal (model_state (model, offset), run.state);
  }
}

static inline void
model_check (const struct model *model, struct extent *extent)
{
  assert_int_equal (extent->size, model->size);
  for (int detail = MAP_WHERE; detail <= MAP_STATE; detail++) {
    model_check_walk (model, extent, detail, model->size);
    model_check_walk (model, extent, detail, 3 * model->grain_size + 512);
    model_check_walk (model, extent, detail, 65536 - 1);
  }
}

#endif /* VMDKIT_TESTS_EXTENT_HELPER_H */
