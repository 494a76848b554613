/* SPDX-License-Identifier: BSD-3-Clause */

/* Reading streams: every damage to tables and grains, and readers that share
 * one extent.
 */

#include <config.h>

#include <pthread.h>
#include <time.h>

#include "extent-helper.h"
#include "stream-image.h"

/* -- Damage ------------------------------------------------------------- */

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
    cmocka_unit_test (test_damaged_grains),
    cmocka_unit_test (test_damaged_tables),
    cmocka_unit_test (test_wrong_last_grain),
    cmocka_unit_test (test_giant_grain),
    cmocka_unit_test (test_readers),
    cmocka_unit_test (test_readahead),
    cmocka_unit_test (test_readahead_of_damage),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
