/* SPDX-License-Identifier: BSD-3-Clause */

/* Inflating one grain with libdeflate or zlib.  See compress.h.
 *
 * libdeflate takes about half of zlib's time, and says less about what is
 * wrong with a stream.  The header is checked here for both; a stream that
 * libdeflate refuses is inflated a second time without its wrapper, which
 * tells a bad checksum from bad data.
 */

#include <config.h>

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_LIBDEFLATE
#include <libdeflate.h>
#else
#include <zlib.h>
#endif

#include "compress.h"

/* Idle decompressors beyond these are freed: a burst of clients must not
 * cost memory for ever.  The buffer of a 64 KiB grain (twice its size, and a
 * little) is kept, those of giant grains are not.
 */
#define MAX_IDLE 32
#define MAX_IDLE_BUFFER ((size_t) 256 << 10)

#define ZLIB_HEADER_SIZE 2
#define ZLIB_TRAILER_SIZE 4

struct inflater {
#ifdef HAVE_LIBDEFLATE
  struct libdeflate_decompressor *engine;
#else
  z_stream stream;
  bool ready;
#endif
  struct inflater_pool *pool;
  struct inflater *next; /* while idle */
  size_t memory;         /* what the borrower said */
  uint8_t *buffer;
  size_t buffer_size;
};

struct inflater_pool {
  size_t memory_limit;

  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t given_back;
  struct inflater *idle; /* the last one used first: its memory is warm */
  unsigned nr_idle;
  size_t memory;
};

#ifdef HAVE_LIBDEFLATE

static int
engine_start (struct inflater *inflater)
{
  inflater->engine = libdeflate_alloc_decompressor ();
  return inflater->engine ? 0 : -1;
}

static void
engine_stop (struct inflater *inflater)
{
  if (inflater->engine)
    libdeflate_free_decompressor (inflater->engine);
}

/* Say why the wrapped stream was refused.  Where it ends early, libdeflate
 * goes on with zero bits, and so may also run out of space.
 */
static int
explain (struct inflater *inflater, const uint8_t *in, size_t in_size,
         uint8_t *out, size_t size, struct vmdk_error *err)
{
  const size_t payload_size = in_size - ZLIB_HEADER_SIZE;
  size_t used, written;

  switch (libdeflate_deflate_decompress_ex (
    inflater->engine, in + ZLIB_HEADER_SIZE, payload_size, out, size, &used,
    &written)) {
  case LIBDEFLATE_SUCCESS:
    if (payload_size - used < ZLIB_TRAILER_SIZE)
      return fail (err, ERR_DAMAGED, "the compressed data ends early");
    return fail (err, ERR_DAMAGED, "the checksum is wrong");
  case LIBDEFLATE_INSUFFICIENT_SPACE:
    return fail (err, ERR_DAMAGED,
                 "the compressed data ends early or inflates to more than "
                 "%zu bytes",
                 size);
  case LIBDEFLATE_SHORT_OUTPUT:
  case LIBDEFLATE_BAD_DATA:
    break;
  }
  return fail (err, ERR_DAMAGED,
               "the compressed data is broken or ends early");
}

static int
engine_run (struct inflater *inflater, const uint8_t *in, size_t in_size,
            uint8_t *out, size_t size, size_t *written, struct vmdk_error *err)
{
  size_t used;

  if (libdeflate_zlib_decompress_ex (inflater->engine, in, in_size, out, size,
                                     &used, written)
      == LIBDEFLATE_SUCCESS)
    return 0;
  return explain (inflater, in, in_size, out, size, err);
}

const char *
compress_library (void)
{
  return "libdeflate";
}

#else /* zlib */

static int
engine_start (struct inflater *inflater)
{
  inflater->ready = inflateInit (&inflater->stream) == Z_OK;
  return inflater->ready ? 0 : -1;
}

static void
engine_stop (struct inflater *inflater)
{
  if (inflater->ready)
    inflateEnd (&inflater->stream);
}

static int
engine_run (struct inflater *inflater, const uint8_t *in, size_t in_size,
            uint8_t *out, size_t size, size_t *written, struct vmdk_error *err)
{
  z_stream *z = &inflater->stream;
  int r;

  inflateReset (z);
  z->next_in = (uint8_t *) in;
  z->avail_in = (uInt) in_size;
  z->next_out = out;
  z->avail_out = (uInt) size;
  r = inflate (z, Z_FINISH);
  *written = size - z->avail_out;

  if (r == Z_STREAM_END)
    return 0;
  if (r == Z_MEM_ERROR)
    return fail_memory (err);
  if (r == Z_OK || r == Z_BUF_ERROR) {
    if (z->avail_in == 0)
      return fail (err, ERR_DAMAGED, "the compressed data ends early");
    return fail (err, ERR_DAMAGED,
                 "the compressed data inflates to more than %zu bytes", size);
  }
  if (z->msg && strcmp (z->msg, "incorrect data check") == 0)
    return fail (err, ERR_DAMAGED, "the checksum is wrong");
  return fail (err, ERR_DAMAGED,
               "the compressed data is broken or ends early");
}

const char *
compress_library (void)
{
  return "zlib";
}

#endif

struct inflater_pool *
inflater_pool_new (size_t memory, struct vmdk_error *err)
{
  struct inflater_pool *pool = calloc (1, sizeof *pool);

  if (!pool) {
    fail_memory (err);
    return NULL;
  }
  pool->memory_limit = memory;
  pthread_mutex_init (&pool->lock, NULL);
  pthread_cond_init (&pool->given_back, NULL);
  return pool;
}

static void
inflater_free (struct inflater *inflater)
{
  engine_stop (inflater);
  free (inflater->buffer);
  free (inflater);
}

void
inflater_pool_free (struct inflater_pool *pool)
{
  if (!pool)
    return;
  while (pool->idle) {
    struct inflater *inflater = pool->idle;

    pool->idle = inflater->next;
    inflater_free (inflater);
  }
  pthread_cond_destroy (&pool->given_back);
  pthread_mutex_destroy (&pool->lock);
  free (pool);
}

static struct inflater *
inflater_new (void)
{
  struct inflater *inflater = calloc (1, sizeof *inflater);

  if (inflater && engine_start (inflater) == -1) {
    inflater_free (inflater);
    return NULL;
  }
  return inflater;
}

/* Account for MEMORY, waiting for it if need be, and get an idle inflater,
 * NULL when there is none.
 */
static struct inflater *
reserve (struct inflater_pool *pool, size_t memory)
{
  LOCK_FOR_SCOPE (&pool->lock);
  struct inflater *inflater;

  while (pool->memory > 0
         && (pool->memory > pool->memory_limit
             || memory > pool->memory_limit - pool->memory))
    pthread_cond_wait (&pool->given_back, &pool->lock);
  pool->memory += memory;

  inflater = pool->idle;
  if (inflater) {
    pool->idle = inflater->next;
    pool->nr_idle--;
  }
  return inflater;
}

/* Undo reserve.  Returns whether the pool has kept the inflater. */
static bool
release (struct inflater_pool *pool, struct inflater *inflater, size_t memory)
{
  LOCK_FOR_SCOPE (&pool->lock);

  pool->memory -= memory;
  pthread_cond_broadcast (&pool->given_back);
  if (!inflater || pool->nr_idle >= MAX_IDLE)
    return false;
  inflater->next = pool->idle;
  pool->idle = inflater;
  pool->nr_idle++;
  return true;
}

struct inflater *
inflater_take (struct inflater_pool *pool, size_t memory,
               struct vmdk_error *err)
{
  struct inflater *inflater = reserve (pool, memory);

  if (!inflater)
    inflater = inflater_new ();
  if (!inflater) {
    release (pool, NULL, memory);
    fail_memory (err);
    return NULL;
  }
  inflater->pool = pool;
  inflater->memory = memory;
  return inflater;
}

void
inflater_put (struct inflater *inflater)
{
  if (!inflater)
    return;
  if (inflater->buffer_size > MAX_IDLE_BUFFER) {
    free (inflater->buffer);
    inflater->buffer = NULL;
    inflater->buffer_size = 0;
  }
  if (!release (inflater->pool, inflater, inflater->memory))
    inflater_free (inflater);
}

uint8_t *
inflater_buffer (struct inflater *inflater, size_t size,
                 struct vmdk_error *err)
{
  if (size > inflater->buffer_size) {
    free (inflater->buffer); /* nothing in it is worth a realloc's copy */
    inflater->buffer_size = 0;
    inflater->buffer = malloc (size);
    if (!inflater->buffer) {
      fail_memory (err);
      return NULL;
    }
    inflater->buffer_size = size;
  }
  return inflater->buffer;
}

static int
check_zlib_header (const uint8_t *in, size_t in_size, struct vmdk_error *err)
{
  if (in_size < ZLIB_HEADER_SIZE)
    return fail (err, ERR_DAMAGED, "the compressed data ends early");
  if ((in[0] & 0x0f) != 8 || in[0] >> 4 > 7 || (in[0] * 256 + in[1]) % 31 != 0)
    return fail (err, ERR_DAMAGED,
                 "not a zlib stream: it starts with %02x %02x", in[0], in[1]);
  if (in[1] & 0x20)
    return fail (err, ERR_DAMAGED,
                 "not a complete zlib stream: it needs a preset dictionary");
  return 0;
}

int
inflate_grain (struct inflater *inflater, const uint8_t *in, size_t in_size,
               uint8_t *out, size_t size, size_t *written,
               struct vmdk_error *err)
{
  *written = 0;
  if (check_zlib_header (in, in_size, err) == -1)
    return -1;
  if (in_size > UINT_MAX || size > UINT_MAX) /* zlib counts in unsigned */
    return fail (err, ERR_DAMAGED,
                 "%zu bytes that inflate to %zu are too many", in_size, size);
  return engine_run (inflater, in, in_size, out, size, written, err);
}
