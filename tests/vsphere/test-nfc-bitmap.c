/* SPDX-License-Identifier: BSD-3-Clause */

/* Allocation: pieces from bits, windows, what is not known; and ranges that
 * wait for one another.
 */

#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "nfc-bitmap.h"
#include "nfc-helper.h"
#include "nfc-ranges.h"

#define CHUNK ((uint64_t) NFC_CHUNK_SIZE)

struct source {
  uint8_t bits[8]; /* of the first chunks; the rest is allocated */
  unsigned asked;
  int answer;
  struct nfc_bitmap *bitmap;
  bool write_meanwhile;
};

static int
ask (void *opaque, uint64_t offset, uint64_t nr_chunks, uint8_t *bits,
     size_t size, struct vmdk_error *err)
{
  struct source *source = opaque;

  assert_true (offset % CHUNK == 0 && nr_chunks > 0);
  assert_true (nr_chunks <= NFC_WINDOW_CHUNKS && size * 8 >= nr_chunks);
  source->asked++;
  if (source->answer == -1)
    return fail (err, ERR_SYSTEM, "lost");
  memset (bits, 0xff, size);
  if (offset == 0)
    memcpy (bits, source->bits, size < 8 ? size : 8);
  if (source->write_meanwhile)
    nfc_bitmap_written (source->bitmap, 0, 1);
  return source->answer;
}

static bool
add_piece (void *opaque, const struct disk_piece *piece)
{
  char *text = opaque;
  const size_t len = strlen (text);

  snprintf (text + len, 256 - len, "%s%" PRIu64 "+%" PRIu64 " ",
            piece->hole ? "hole " : "", piece->offset, piece->length);
  return true;
}

static void
assert_map (struct source *source, uint64_t offset, uint64_t count,
            const char *want)
{
  char text[256] = "";
  struct vmdk_error err = { 0 };

  assert_int_equal (
    nfc_bitmap_map (source->bitmap, offset, count, add_piece, text, &err), 0);
  assert_string_equal (text, want);
}

static void
make (struct source *source, uint64_t size)
{
  struct vmdk_error err;

  source->bitmap =
    nfc_bitmap_new (size, (struct nfc_bitmap_source){ ask, source }, &err);
  assert_non_null (source->bitmap);
}

/* The worked example: chunks 0-3, 8, 9 and 15, counted from 1 MiB. */
static void
test_pieces (void **state)
{
  struct source source = { 0 };

  (void) state;
  hex_bytes ("ff ff 0f 83", source.bits, 8);
  make (&source, UINT64_C (16) << 30);
  assert_map (&source, 1 << 20, 1 << 20,
              "1048576+262144 hole 1310720+262144 1572864+131072 "
              "hole 1703936+327680 2031616+65536 ");
  /* one chunk as a probe, then all of the window; and never again */
  assert_int_equal (source.asked, 2);
  assert_map (&source, (1 << 20) + 262144 + 100, 1000, "hole 1310820+1000 ");
  assert_map (&source, (1 << 20) + 262144 - 100, 200,
              "1310620+100 hole 1310720+100 ");
  assert_int_equal (source.asked, 2);
  nfc_bitmap_free (source.bitmap);
}

static void
test_tails (void **state)
{
  struct source small = { 0 }, odd = { 0 };

  (void) state;
  make (&small, 65024);
  assert_map (&small, 0, 65024, "0+65024 ");
  assert_int_equal (small.asked, 0);
  nfc_bitmap_free (small.bitmap);

  make (&odd, 2 * CHUNK + 512);
  assert_map (&odd, 0, 2 * CHUNK + 512, "hole 0+131072 131072+512 ");
  nfc_bitmap_free (odd.bitmap);
}

static void
test_windows (void **state)
{
  struct source source = { 0 };

  (void) state;
  make (&source, 3 * NFC_WINDOW_BYTES);
  assert_map (&source, 64 * CHUNK, NFC_WINDOW_BYTES, "4194304+34359738368 ");
  assert_int_equal (source.asked, 3);
  /* a window that was written is data, the next one is not concerned */
  nfc_bitmap_written (source.bitmap, NFC_WINDOW_BYTES - 1, 1);
  assert_map (&source, 0, 2 * CHUNK, "0+131072 ");
  nfc_bitmap_free (source.bitmap);
}

static void
test_not_known (void **state)
{
  struct source refused = { .answer = 1 }, lost = { .answer = -1 },
                late = { .write_meanwhile = true };
  char text[256] = "";
  struct vmdk_error err;

  (void) state;
  make (&refused, 100 * CHUNK);
  assert_map (&refused, 0, 100 * CHUNK, "0+6553600 ");
  assert_map (&refused, 0, 100 * CHUNK, "0+6553600 ");
  assert_int_equal (refused.asked, 1);
  nfc_bitmap_free (refused.bitmap);

  make (&lost, 100 * CHUNK);
  assert_int_equal (
    nfc_bitmap_map (lost.bitmap, 0, CHUNK, add_piece, text, &err), -1);
  assert_string_equal (err.text, "lost");
  lost.answer = 0;
  assert_map (&lost, 0, CHUNK, "hole 0+65536 ");
  nfc_bitmap_free (lost.bitmap);

  make (&late, 100 * CHUNK);
  assert_map (&late, 0, CHUNK, "0+65536 ");
  nfc_bitmap_free (late.bitmap);
}

/* --------------------------------------------------------------------- */

struct waiter {
  struct nfc_ranges *ranges;
  struct nfc_range range;
  atomic_bool has_it;
  pthread_t thread;
};

static void *
take (void *opaque)
{
  struct waiter *waiter = opaque;

  nfc_ranges_take (waiter->ranges, &waiter->range);
  atomic_store (&waiter->has_it, true);
  return NULL;
}

static void
test_ranges (void **state)
{
  struct nfc_ranges ranges;
  struct nfc_range read = { .offset = 0, .count = 100 };
  struct nfc_range read2 = { .offset = 50, .count = 100 };
  struct nfc_range beside = { .offset = 150, .count = 50, .write = true };
  struct waiter writer = { .ranges = &ranges,
                           .range = { 149, 1, true, NULL } };

  (void) state;
  nfc_ranges_init (&ranges);
  nfc_ranges_take (&ranges, &read);
  nfc_ranges_take (&ranges, &read2);
  nfc_ranges_take (&ranges, &beside);
  assert_int_equal (pthread_create (&writer.thread, NULL, take, &writer), 0);
  nfc_ranges_give (&ranges, &read);
  nfc_ranges_give (&ranges, &beside);
  assert_false (atomic_load (&writer.has_it));
  nfc_ranges_give (&ranges, &read2);
  pthread_join (writer.thread, NULL);
  assert_true (atomic_load (&writer.has_it));
  nfc_ranges_give (&ranges, &writer.range);
  nfc_ranges_destroy (&ranges);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_pieces),  cmocka_unit_test (test_tails),
    cmocka_unit_test (test_windows), cmocka_unit_test (test_not_known),
    cmocka_unit_test (test_ranges),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
