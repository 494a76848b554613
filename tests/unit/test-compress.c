/* SPDX-License-Identifier: BSD-3-Clause */

/* Inflating: what is accepted, what is refused and why, and the pool; and
 * deflating.  The same cases hold for libdeflate and zlib; where libdeflate
 * knows less about the reason, so do the words expected here.
 */

#include <config.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>
#undef fail /* the name is error.h's */

#include "bytes.h"
#include "compress.h"
#include "deflate.h"

#define SIZE 4096

static uint8_t plain[2 * SIZE];

/* zlib, raw deflate and gzip by the sign and size of WBITS. */
static size_t
pack (uint8_t *out, size_t out_size, size_t size, int level, int wbits)
{
  z_stream z = { 0 };
  size_t n;

  assert_int_equal (
    deflateInit2 (&z, level, Z_DEFLATED, wbits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  z.next_in = plain;
  z.avail_in = (uInt) size;
  z.next_out = out;
  z.avail_out = (uInt) out_size;
  assert_int_equal (deflate (&z, Z_FINISH), Z_STREAM_END);
  n = z.total_out;
  deflateEnd (&z);
  return n;
}

static int
inflate_once (const uint8_t *in, size_t in_size, uint8_t *out, size_t size,
              size_t *written, struct vmdk_error *err)
{
  struct inflater_pool *pool = inflater_pool_new (1 << 20, err);
  /* Exactly as long as it is, so that sanitizers see every step outside. */
  uint8_t *copy = malloc (in_size > 0 ? in_size : 1);
  struct inflater *inflater;
  int r;

  assert_non_null (pool);
  assert_non_null (copy);
  if (in_size > 0)
    memcpy (copy, in, in_size);
  inflater = inflater_take (pool, size, err);
  assert_non_null (inflater);
  r = inflate_grain (inflater, copy, in_size, out, size, written, err);
  inflater_put (inflater);
  inflater_pool_free (pool);
  free (copy);
  return r;
}

static void
test_levels (void **state)
{
  uint8_t packed[3 * SIZE], out[SIZE];

  (void) state;
  for (int level = 0; level <= 9; level++)
    for (size_t size = 0; size <= SIZE; size += SIZE / 8) {
      const size_t n = pack (packed, sizeof packed, size, level, 15);
      struct vmdk_error err;
      size_t written;

      assert_int_equal (inflate_once (packed, n, out, SIZE, &written, &err),
                        0);
      assert_int_equal (written, size);
      assert_memory_equal (out, plain, size);
    }
}

/* A smaller window has another header. */
static void
test_window (void **state)
{
  uint8_t packed[3 * SIZE], out[SIZE];

  (void) state;
  for (int wbits = 9; wbits <= 15; wbits++) {
    const size_t n = pack (packed, sizeof packed, SIZE, 6, wbits);
    struct vmdk_error err;
    size_t written;

    assert_int_equal (inflate_once (packed, n, out, SIZE, &written, &err), 0);
    assert_int_equal (written, SIZE);
    assert_memory_equal (out, plain, SIZE);
  }
}

static void
test_trailing_bytes (void **state)
{
  uint8_t packed[3 * SIZE] = { 0 }, out[SIZE];
  const size_t n = pack (packed, sizeof packed, SIZE, 6, 15);
  struct vmdk_error err;
  size_t written;

  (void) state;
  memset (packed + n, 0xa5, 500);
  assert_int_equal (inflate_once (packed, n + 500, out, SIZE, &written, &err),
                    0);
  assert_int_equal (written, SIZE);
}

/* Every proper prefix is refused. */
static void
test_cut (void **state)
{
  uint8_t packed[3 * SIZE], out[SIZE];
  const size_t n = pack (packed, sizeof packed, SIZE, 6, 15);

  (void) state;
  for (size_t cut = 0; cut < n; cut++) {
    struct vmdk_error err;
    size_t written;

    assert_int_equal (inflate_once (packed, cut, out, SIZE, &written, &err),
                      -1);
    assert_int_equal (err.kind, ERR_DAMAGED);
    assert_non_null (strstr (err.text, "ends early"));
  }
}

/* Every change of one byte is refused or changes nothing. */
static void
test_flipped (void **state)
{
  uint8_t packed[3 * SIZE], out[SIZE];
  const size_t n = pack (packed, sizeof packed, SIZE, 6, 15);

  (void) state;
  for (size_t i = 0; i < n; i++) {
    struct vmdk_error err;
    size_t written;

    packed[i] ^= 0x41;
    if (inflate_once (packed, n, out, SIZE, &written, &err) == 0)
      assert_memory_equal (out, plain, SIZE);
    else
      assert_int_equal (err.kind, ERR_DAMAGED);
    packed[i] ^= 0x41;
  }
}

static void
assert_refused (const uint8_t *in, size_t in_size, size_t size,
                const char *text)
{
  uint8_t out[SIZE];
  struct vmdk_error err;
  size_t written;

  assert_int_equal (inflate_once (in, in_size, out, size, &written, &err), -1);
  if (!strstr (err.text, text))
    assert_string_equal (err.text, text);
  assert_int_equal (err.kind, ERR_DAMAGED);
}

static void
test_reasons (void **state)
{
  uint8_t packed[3 * SIZE];
  size_t n;

  (void) state;
  n = pack (packed, sizeof packed, SIZE + 1, 6, 15);
  assert_refused (packed, n, SIZE, "inflates to more than 4096 bytes");
  assert_refused (packed, n, SIZE - 1, "inflates to more than 4095 bytes");
  n = pack (packed, sizeof packed, SIZE, 6, 15);
  packed[n - 1] ^= 1;
  assert_refused (packed, n, SIZE, "the checksum is wrong");
  packed[n - 1] ^= 1;
  assert_refused (packed, n - 1, SIZE, "the compressed data ends early");
  assert_refused (packed, n - 4, SIZE, "the compressed data ends early");
  packed[2] = 0x07; /* a block of the reserved type */
  assert_refused (packed, n, SIZE,
                  "the compressed data is broken or ends early");
  n = pack (packed, sizeof packed, SIZE, 6, 15 + 16);
  assert_refused (packed, n, SIZE, "not a zlib stream: it starts with 1f 8b");
  packed[0] = 0x78;
  packed[1] = 0x9d;
  assert_refused (packed, n, SIZE, "not a zlib stream: it starts with 78 9d");
  packed[0] = 0x88; /* a window of 64 KiB */
  packed[1] = 0x1c;
  assert_refused (packed, n, SIZE, "not a zlib stream: it starts with 88 1c");
  packed[0] = 0x78;
  packed[1] = 0xbb;
  assert_refused (packed, n, SIZE,
                  "not a complete zlib stream: it needs a preset dictionary");
  assert_refused (packed, 1, SIZE, "the compressed data ends early");
  assert_refused (packed, 0, SIZE, "the compressed data ends early");
}

static void
test_raw_deflate (void **state)
{
  uint8_t packed[3 * SIZE], out[SIZE];
  struct vmdk_error err;
  size_t written;

  (void) state;
  for (int level = 0; level <= 9; level++) {
    const size_t n = pack (packed, sizeof packed, SIZE, level, -15);

    assert_int_equal (inflate_once (packed, n, out, SIZE, &written, &err), -1);
    assert_int_equal (err.kind, ERR_DAMAGED);
  }
}

/* A decompressor is fit for use after a failure, and keeps its buffer. */
static void
test_reuse (void **state)
{
  struct vmdk_error err;
  struct inflater_pool *pool = inflater_pool_new (0, &err);
  uint8_t packed[3 * SIZE], out[SIZE];
  const size_t n = pack (packed, sizeof packed, SIZE, 6, 15);
  struct inflater *first;
  uint8_t *buffer;
  size_t written;

  (void) state;
  for (int i = 0; i < 3; i++) {
    struct inflater *inflater = inflater_take (pool, 1, &err);

    assert_non_null (inflater);
    if (i == 0) {
      first = inflater;
      buffer = inflater_buffer (inflater, 1000, &err);
      assert_non_null (buffer);
    }
    assert_ptr_equal (inflater, first);
    assert_ptr_equal (inflater_buffer (inflater, 900, &err), buffer);
    assert_int_equal (
      inflate_grain (inflater, packed, n / 2, out, SIZE, &written, &err), -1);
    assert_int_equal (
      inflate_grain (inflater, packed, n, out, SIZE, &written, &err), 0);
    assert_memory_equal (out, plain, SIZE);
    inflater_put (inflater);
  }
  inflater_pool_free (pool);
}

/* A giant buffer is not kept. */
static void
test_giant_buffer (void **state)
{
  const size_t giant = 8 << 20;
  struct vmdk_error err;
  struct inflater_pool *pool = inflater_pool_new (0, &err);
  struct inflater *inflater = inflater_take (pool, 1, &err);
  uint8_t *buffer;

  (void) state;
  assert_non_null (inflater);
  buffer = inflater_buffer (inflater, giant, &err);
  assert_non_null (buffer);
  buffer[giant - 1] = 1;
  inflater_put (inflater);
  inflater = inflater_take (pool, 1, &err);
  assert_non_null (inflater);
  buffer = inflater_buffer (inflater, 1, &err);
  assert_non_null (buffer);
  buffer[0] = 1;
  inflater_put (inflater);
  inflater_pool_free (pool);
}

#define LIMIT 1000
#define GIANT 5000

struct borrower {
  struct inflater_pool *pool;
  size_t memory;
  atomic_size_t *held;
};

static void *
borrow_often (void *opaque)
{
  const struct borrower *b = opaque;

  for (int i = 0; i < 200; i++) {
    struct vmdk_error err;
    struct inflater *inflater = inflater_take (b->pool, b->memory, &err);
    size_t held;

    if (!inflater)
      return opaque;
    held = atomic_fetch_add (b->held, b->memory) + b->memory;
    if (held > LIMIT && held != GIANT) /* the giant is always alone */
      return opaque;
    atomic_fetch_sub (b->held, b->memory);
    inflater_put (inflater);
  }
  return NULL;
}

/* Together they never hold more than the limit, and all get their turn,
 * also the one who alone wants more than it.
 */
static void
test_memory (void **state)
{
  enum { N = 6 };
  atomic_size_t held = 0;
  struct vmdk_error err;
  struct inflater_pool *pool = inflater_pool_new (LIMIT, &err);
  struct borrower borrowers[N];
  pthread_t threads[N];

  (void) state;
  for (int i = 0; i < N; i++) {
    borrowers[i] = (struct borrower){
      .pool = pool,
      .memory = i == 0 ? GIANT : 400,
      .held = &held,
    };
    assert_int_equal (
      pthread_create (&threads[i], NULL, borrow_often, &borrowers[i]), 0);
  }
  for (int i = 0; i < N; i++) {
    void *result;

    assert_int_equal (pthread_join (threads[i], &result), 0);
    assert_null (result);
  }
  inflater_pool_free (pool);
}

/* What is deflated inflates to the same, whoever did either; the room before
 * it is the caller's, the rest of the last sector is zeros.
 */
static void
test_deflate (void **state)
{
  static const size_t sizes[] = { 1, 500, SIZE, 2 * SIZE };
  enum { BEFORE = 12, PAD = 512 };

  (void) state;
  for (int level = 1; level <= 9; level++) {
    struct vmdk_error err;
    struct deflater_pool *pool = deflater_pool_new (level, &err);

    assert_non_null (pool);
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
      struct deflater *deflater = deflater_take (pool, &err);
      const size_t size = sizes[i / 2];
      uint8_t out[2 * SIZE], *packed;
      size_t n, written, end;

      assert_non_null (deflater);
      assert_int_equal (
        deflate_grain (deflater, plain, size, BEFORE, PAD, &packed, &n, &err),
        0);
      memset (packed, 0xa5, BEFORE);
      end = (BEFORE + n + PAD - 1) / PAD * PAD;
      assert_true (bytes_are_zero (packed + BEFORE + n, end - BEFORE - n));
      assert_int_equal (
        inflate_once (packed + BEFORE, n, out, size, &written, &err), 0);
      assert_int_equal (written, size);
      assert_memory_equal (out, plain, size);
      if (size >= SIZE)
        assert_in_range (n, 1, size - 1);
      deflater_put (deflater);
    }
    deflater_pool_free (pool);
  }
}

/* Several at once, more than are kept. */
static void
test_deflaters (void **state)
{
  struct vmdk_error err;
  struct deflater_pool *pool = deflater_pool_new (6, &err);
  struct deflater *taken[20];

  (void) state;
  assert_non_null (pool);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 20; i++)
      assert_non_null (taken[i] = deflater_take (pool, &err));
    for (int i = 1; i < 20; i++)
      assert_ptr_not_equal (taken[i], taken[i - 1]);
    for (int i = 0; i < 20; i++)
      deflater_put (taken[i]);
  }
  deflater_put (NULL);
  deflater_pool_free (pool);
  deflater_pool_free (NULL);
}

static void
test_library (void **state)
{
  (void) state;
#ifdef HAVE_LIBDEFLATE
  assert_string_equal (compress_library (), "libdeflate");
#else
  assert_string_equal (compress_library (), "zlib");
#endif
}

static int
set_up (void **state)
{
  uint64_t seed = 1;

  (void) state;
  for (size_t i = 0; i < sizeof plain; i++) {
    seed = seed * UINT64_C (6364136223846793005) + 1;
    plain[i] = i % 7 < 3 ? (uint8_t) (seed >> 56) : 'a';
  }
  return 0;
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_levels),         cmocka_unit_test (test_window),
    cmocka_unit_test (test_trailing_bytes), cmocka_unit_test (test_cut),
    cmocka_unit_test (test_flipped),        cmocka_unit_test (test_reasons),
    cmocka_unit_test (test_raw_deflate),    cmocka_unit_test (test_reuse),
    cmocka_unit_test (test_giant_buffer),   cmocka_unit_test (test_memory),
    cmocka_unit_test (test_deflate),        cmocka_unit_test (test_deflaters),
    cmocka_unit_test (test_library),
  };

  return cmocka_run_group_tests (tests, set_up, NULL);
}
