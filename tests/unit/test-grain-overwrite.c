/* SPDX-License-Identifier: BSD-3-Clause */

/* Overwriting what is allocated in seSparse extents, and nothing else. */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "extent-helper.h"
#include "sesparse-image.h"
#include "store.h"

/* An extent that is written, in a file of its own. */
struct written {
  struct store *store;
  struct extent *extent;
};

static void
written_open (struct fixture *f, struct written *w, const struct image *image,
              uint64_t nr_sectors, bool single)
{
  const struct extent_line line = {
    .access = ACCESS_RW,
    .nr_sectors = nr_sectors,
    .name = "x.vmdk",
  };
  struct extent_source source = {
    .rules = &f->rules,
    .line = &line,
    .single = single,
    .has_parent = true,
    .writable = true,
  };

  w->store = store_memory_new ("folder", &f->err);
  assert_non_null (w->store);
  assert_int_equal (
    store_memory_add (w->store, "x.vmdk", image->bytes, image->size, &f->err),
    0);
  source.media =
    store_open (w->store, "x.vmdk", STORE_FROM_FILE | STORE_WRITABLE, &f->err);
  assert_non_null (source.media);
  w->extent = extent_sesparse_open (&source, &f->err);
}

static void
written_close (struct written *w)
{
  extent_close (w->extent);
  store_close (w->store);
}

/* The file holds IMAGE, to the byte. */
static void
written_check (const struct written *w, const struct image *image)
{
  struct image now = { 0 };
  struct vmdk_error err;

  assert_int_equal (w->extent->media->size, image->size);
  image_grow (&now, image->size);
  assert_int_equal (
    media_pread (w->extent->media, now.bytes, now.size, 0, &err), 0);
  assert_memory_equal (now.bytes, image->bytes, image->size);
  image_free (&now);
}

static void
test_not_writable (void **state)
{
  static const struct {
    bool no_consent, dirty, several;
    uint64_t entry; /* of grain 1; its number 1 is in the file */
    uint64_t gde;   /* of table 1 */
    const char *text;
  } cases[] = {
    { .no_consent = true,
      .text = "seSparse extents cannot be written: write to an overlay=, or "
              "pass write-sesparse=true to overwrite what is allocated" },
    { .dirty = true,
      .text = "seSparse extent cannot be written: it has a dirty journal "
              "(replayJournal 1): write to an overlay=" },
    { .several = true,
      .text = "seSparse extent cannot be written: it is one of several: write "
              "to an overlay=" },
    { .entry = UINT64_C (0x3000000000000000),
      .text = "cannot be written: grain 1 shares its place, byte 106496, with "
              "another: write to an overlay=" },
    { .gde = UINT64_C (0x1000000000000000), /* table 0's */
      .text = "cannot be written: grain table 1 shares its place, byte 32768, "
              "with another: write to an overlay=" },
    { .entry = UINT64_C (0x4000000000000000),
      .text = "cannot be written, because it is damaged: x.vmdk: entry of "
              "grain 1 is 0x4000000000000000, of no known kind" },
    { .gde = 1,
      .text =
        "cannot be written, because it is damaged: grain directory entry "
        "1 is 0x0000000000000001, which names no table" },
    { .entry = UINT64_C (0x1000000000000000) },
    { .entry = UINT64_C (0x3001000000000000) },
  };
  const uint64_t nr_sectors = ENTRIES * 8 + 100;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct layout l;
    struct model model;
    struct written w;

    make_base (&l, &model, nr_sectors);
    put_grain (&l, &model, 1, 1);
    if (cases[i].entry)
      set_gte (&l, 1, cases[i].entry);
    if (cases[i].gde)
      set_gde (&l.image, 1, cases[i].gde);
    image_put64 (&l.image, V_REPLAY, cases[i].dirty);
    f.rules.write_sesparse = !cases[i].no_consent;
    f.rules.accept_journal = true;
    written_open (&f, &w, &l.image, nr_sectors, !cases[i].several);
    if (cases[i].text) {
      assert_null (w.extent);
      assert_error (&f.err, ERR_READ_ONLY, cases[i].text);
    }
    else
      assert_non_null (w.extent);
    written_close (&w);
    model_free (&model);
    image_free (&l.image);
  }
  fixture_free (&f);
}

/* A file in which a bit for each grain would take too much memory. */
static void
test_too_large_to_check (void **state)
{
  struct layout l;
  struct model model;
  struct fixture f;
  struct written w;
  struct extent_line line = { .access = ACCESS_RW,
                              .nr_sectors = 20000,
                              .name = "x.vmdk" };
  struct extent_source source = { .line = &line, .single = true };
  struct media_ops ops;

  (void) state;
  fixture_init (&f);
  f.rules.write_sesparse = true;
  make_base (&l, &model, 20000);
  source.rules = &f.rules;
  written_open (&f, &w, &l.image, 20000, true);
  assert_non_null (w.extent);

  /* The same bytes, and a size that nobody would believe. */
  source.media = store_open (w.store, "x.vmdk", STORE_WRITABLE, &f.err);
  assert_non_null (source.media);
  ops = *source.media->ops;
  ops.map = NULL;
  source.media->ops = &ops;
  source.media->size = (UINT64_C (1) << 41) + 4096;
  source.writable = true;
  assert_null (extent_sesparse_open (&source, &f.err));
  assert_error (&f.err, ERR_READ_ONLY,
                "cannot be written: the file has 2199023259648 bytes, and "
                "only of 2199023255552 can it be checked whether grains share "
                "places: write to an overlay=");
  written_close (&w);
  model_free (&model);
  image_free (&l.image);
  fixture_free (&f);
}

enum request { WRITE, ZERO };

static int
no_bytes_below (void *opaque, void *buf, size_t count, uint64_t offset,
                struct vmdk_error *err)
{
  (void) opaque, (void) buf, (void) count, (void) offset;
  return fail (err, ERR_SYSTEM, "nobody needs the parent here");
}

static const struct below no_parent, parent = { .read = no_bytes_below };

static int
do_request (struct written *w, enum request request, const uint8_t *buf,
            uint64_t count, uint64_t offset, unsigned flags,
            const struct below *below, struct vmdk_error *err)
{
  return request == WRITE
           ? extent_write (w->extent, buf, count, offset, below, err)
           : extent_zero (w->extent, count, offset, flags, below, err);
}

#define NOT_ALLOCATED(grain)                                             \
  "x.vmdk: grain " grain " is not allocated, and only allocated grains " \
  "of this format can be overwritten: write to an overlay="

/* Grains: 0 and 1 DATA, the other way round in the file; 2 zeros; 3 unmapped,
 * which still has its number; 4 absent; 5 DATA; 6 and so on absent; the last
 * is DATA and only partly inside the extent and the file.
 */
static void
test_overwrite (void **state)
{
  static const struct {
    enum request request;
    uint64_t offset, count;
    unsigned flags;
    bool is_base; /* there is no parent */
    const char *text;
    enum vmdk_error_kind kind;
  } cases[] = {
    { WRITE, 0, 1, 0, false, NULL, 0 },
    { WRITE, 100, 2 * GRAIN - 100, 0, false, NULL, 0 },
    { WRITE, 5 * GRAIN, GRAIN, 0, false, NULL, 0 },
    { WRITE, 10 * GRAIN, 3 * 512, 0, false, NULL, 0 },
    { WRITE, 10 * GRAIN + 3 * 512 - 1, 1, 0, false, NULL, 0 },
    { WRITE, 2 * GRAIN - 1, 2, 0, false, NOT_ALLOCATED ("2"), ERR_READ_ONLY },
    { WRITE, 3 * GRAIN, 1, 0, false, NOT_ALLOCATED ("3"), ERR_READ_ONLY },
    { WRITE, 4 * GRAIN, 1, 0, false, NOT_ALLOCATED ("4"), ERR_READ_ONLY },
    { WRITE, 4 * GRAIN, 1, 0, true, NOT_ALLOCATED ("4"), ERR_READ_ONLY },
    { WRITE, 0, 7 * GRAIN, 0, false, NOT_ALLOCATED ("2"), ERR_READ_ONLY },
    { WRITE, 5 * GRAIN, GRAIN + 1, 0, false, NOT_ALLOCATED ("6"),
      ERR_READ_ONLY },
    { ZERO, 0, 1, 0, false, NULL, 0 },
    { ZERO, 100, 3 * GRAIN, 0, false, NULL, 0 },
    { ZERO, 0, 4 * GRAIN, ZERO_MAY_FREE, false, NULL, 0 },
    { ZERO, 2 * GRAIN, 2 * GRAIN, ZERO_FAST, false, NULL, 0 },
    { ZERO, 2 * GRAIN - 1, 2 * GRAIN, ZERO_FAST, false,
      "zeros would have to be written", ERR_UNSUPPORTED },
    { ZERO, 0, 4 * GRAIN + 1, 0, false, NOT_ALLOCATED ("4"), ERR_READ_ONLY },
    { ZERO, 0, 10 * GRAIN + 3 * 512, 0, true, NULL, 0 },
    { ZERO, 0, 10 * GRAIN + 3 * 512, ZERO_ADVICE | ZERO_MAY_FREE, false, NULL,
      0 },
    { ZERO, 4 * GRAIN, 2 * GRAIN, ZERO_ADVICE | ZERO_MAY_FREE, false, NULL,
      0 },
  };
  static const uint64_t places[11] = { 1, 0, 0, 0, 0, 3, [10] = 4 };
  static const bool is_data[11] = {
    [0] = true, true, [5] = true, [10] = true
  };
  const uint64_t nr_sectors = 8 * 10 + 3;
  static uint8_t buf[16 * GRAIN];
  struct fixture f;

  (void) state;
  fixture_init (&f);
  f.rules.write_sesparse = true;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct layout l;
    struct model model;
    struct written w;
    int r;

    model_init (&model, nr_sectors, 8);
    layout_init (&l, nr_sectors, 1);
    for (uint64_t g = 0; g <= 10; g++)
      if (is_data[g])
        put_grain (&l, &model, g, places[g]);
    set_gte (&l, 2, UINT64_C (0x2000000000000000));
    set_gte (&l, 3, UINT64_C (0x1002000000000000));
    l.image.size -= GRAIN - 3 * 512;
    memset (buf, 'w', sizeof buf);
    written_open (&f, &w, &l.image, nr_sectors, true);
    assert_non_null (w.extent);
    r = do_request (&w, cases[i].request, buf, cases[i].count, cases[i].offset,
                    cases[i].flags, cases[i].is_base ? &no_parent : &parent,
                    &f.err);
    if (cases[i].text) {
      assert_int_equal (r, -1);
      assert_error (&f.err, cases[i].kind, cases[i].text);
    }
    else if (r == -1) {
      print_error ("%s\n", f.err.text);
      assert_int_equal (r, 0);
    }
    for (uint64_t b = 0; r == 0 && b < cases[i].count; b++) {
      const uint64_t at = cases[i].offset + b, g = at / GRAIN;

      if (is_data[g] && !(cases[i].flags & ZERO_ADVICE))
        l.image.bytes[l.grains_sector * 512 + places[g] * GRAIN + at % GRAIN] =
          cases[i].request == WRITE ? 'w' : 0;
    }
    written_check (&w, &l.image);
    written_close (&w);
    model_free (&model);
    image_free (&l.image);
  }
  fixture_free (&f);
}

/* Whether all of the range is DATA, or (ZEROS) zeros are there otherwise. */
static bool
model_allows (const struct model *model, uint64_t offset, uint64_t count,
              bool zeros)
{
  for (uint64_t at = offset; at < offset + count; at++) {
    const enum run_state s = model_state (model, at);

    if (s != RUN_DATA && !(zeros && s == RUN_ZERO))
      return false;
  }
  return true;
}

/* Seldom an absent one. */
static uint64_t
random_grain (uint64_t *r, const struct model *model)
{
  uint64_t grain;

  do
    grain = random_next (r) % model_nr_grains (model);
  while (model->states[grain] == RUN_ABSENT && random_next (r) % 64);
  return grain;
}

/* After any requests the file differs from what it was in the bytes of
 * grains only; what was refused has changed nothing.
 */
static void
test_overwrite_random (void **state)
{
  const uint64_t nr_sectors = 3 * ENTRIES * 8 - 77;
  static uint8_t buf[16 * GRAIN];
  unsigned nr_done = 0, nr_refused = 0;
  struct fixture f;

  (void) state;
  fixture_init (&f);
  f.rules.write_sesparse = true;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    uint64_t r = seed * 13;
    struct layout l;
    struct model model;
    struct written w;

    print_message ("seed %u\n", (unsigned) seed);
    random_image (seed, &l, &model, nr_sectors);
    for (uint64_t g = 0; g < model_nr_grains (&model); g++)
      if (model.states[g] == RUN_DAMAGED) {
        set_gte (&l, g, 0);
        model.states[g] = RUN_ABSENT;
      }
    written_open (&f, &w, &l.image, nr_sectors, true);
    assert_non_null (w.extent);
    for (unsigned i = 0; i < 3000; i++) {
      const enum request request = random_next (&r) % 3 ? WRITE : ZERO;
      const uint64_t grain = random_grain (&r, &model);
      const uint64_t offset =
        min_u64 (grain * GRAIN + random_next (&r) % GRAIN, model.size - 1);
      const uint64_t count =
        min_u64 (1 + random_next (&r) % (random_next (&r) % 2 ? 900 : 20000),
                 model.size - offset);
      const bool allowed =
        model_allows (&model, offset, count, request == ZERO);

      memset (buf, (int) (i % 250 + 1), count);
      assert_int_equal (
        do_request (&w, request, buf, count, offset, 0, &parent, &f.err),
        allowed ? 0 : -1);
      allowed ? nr_done++ : nr_refused++;
      for (uint64_t at = offset; allowed && at < offset + count; at++)
        if (model_state (&model, at) == RUN_DATA)
          model.bytes[at] = request == ZERO ? 0 : buf[0];
    }
    model_check (&model, w.extent);
    /* Up to the grains nothing has changed. */
    l.image.size = l.grains_sector * 512;
    {
      struct image now = { 0 };

      image_grow (&now, l.image.size);
      assert_int_equal (
        media_pread (w.extent->media, now.bytes, now.size, 0, &f.err), 0);
      assert_memory_equal (now.bytes, l.image.bytes, now.size);
      image_free (&now);
    }
    written_close (&w);
    model_free (&model);
    image_free (&l.image);
  }
  print_message ("%u requests, %u refused\n", nr_done, nr_refused);
  assert_true (nr_done > 1000 && nr_refused > 1000);
  fixture_free (&f);
}

static unsigned nr_flushes;
static bool flush_fails;

static int
counted_flush (struct media *media, struct vmdk_error *err)
{
  (void) media;
  nr_flushes++;
  return flush_fails ? fail_errno (err, EIO, "flush") : 0;
}

/* The medium is flushed when something was written, again after a failure,
 * and not for what was refused.
 */
static void
test_overwrite_flush (void **state)
{
  struct layout l;
  struct model model;
  struct fixture f;
  struct written w;
  struct media_ops ops;

  (void) state;
  fixture_init (&f);
  f.rules.write_sesparse = true;
  make_base (&l, &model, 20000);
  written_open (&f, &w, &l.image, 20000, true);
  assert_non_null (w.extent);
  ops = *w.extent->media->ops;
  ops.flush = counted_flush;
  w.extent->media->ops = &ops;
  nr_flushes = 0;

  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), 0);
  assert_int_equal (extent_write (w.extent, "w", 1, GRAIN, &parent, &f.err),
                    -1);
  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), 0);
  assert_int_equal (nr_flushes, 0);
  assert_int_equal (extent_write (w.extent, "w", 1, 0, &parent, &f.err), 0);
  flush_fails = true;
  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), -1);
  flush_fails = false;
  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), 0);
  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), 0);
  assert_int_equal (nr_flushes, 2);
  assert_int_equal (extent_zero (w.extent, 1, 0, 0, &parent, &f.err), 0);
  assert_int_equal (w.extent->ops->flush (w.extent, &f.err), 0);
  assert_int_equal (nr_flushes, 3);
  written_close (&w);
  model_free (&model);
  image_free (&l.image);
  fixture_free (&f);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_not_writable),
    cmocka_unit_test (test_too_large_to_check),
    cmocka_unit_test (test_overwrite),
    cmocka_unit_test (test_overwrite_random),
    cmocka_unit_test (test_overwrite_flush),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
