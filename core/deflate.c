/* SPDX-License-Identifier: BSD-3-Clause */

/* Deflating one grain with libdeflate or zlib.  See deflate.h. */

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

#include "checked.h"
#include "deflate.h"

/* Idle compressors beyond these are freed; one takes some hundred KiB. */
#define MAX_IDLE 8

struct deflater {
#ifdef HAVE_LIBDEFLATE
  struct libdeflate_compressor *engine;
#else
  z_stream stream;
  bool ready;
#endif
  struct deflater_pool *pool;
  struct deflater *next; /* while idle */
  uint8_t *buffer;
  size_t buffer_size;
};

struct deflater_pool {
  int level;

  pthread_mutex_t lock; /* guards what follows */
  struct deflater *idle;
  unsigned nr_idle;
};

#ifdef HAVE_LIBDEFLATE

static int
engine_start (struct deflater *deflater, int level)
{
  deflater->engine = libdeflate_alloc_compressor (level);
  return deflater->engine ? 0 : -1;
}

static void
engine_stop (struct deflater *deflater)
{
  if (deflater->engine)
    libdeflate_free_compressor (deflater->engine);
}

static size_t
engine_bound (struct deflater *deflater, size_t size)
{
  return libdeflate_zlib_compress_bound (deflater->engine, size);
}

/* Returns 0 when the result does not fit. */
static size_t
engine_run (struct deflater *deflater, const uint8_t *in, size_t size,
            uint8_t *out, size_t out_size)
{
  return libdeflate_zlib_compress (deflater->engine, in, size, out, out_size);
}

#else /* zlib */

static int
engine_start (struct deflater *deflater, int level)
{
  deflater->ready = deflateInit (&deflater->stream, level) == Z_OK;
  return deflater->ready ? 0 : -1;
}

static void
engine_stop (struct deflater *deflater)
{
  if (deflater->ready)
    deflateEnd (&deflater->stream);
}

static size_t
engine_bound (struct deflater *deflater, size_t size)
{
  return deflateBound (&deflater->stream, size);
}

static size_t
engine_run (struct deflater *deflater, const uint8_t *in, size_t size,
            uint8_t *out, size_t out_size)
{
  z_stream *z = &deflater->stream;

  deflateReset (z);
  z->next_in = (uint8_t *) in;
  z->avail_in = (uInt) size;
  z->next_out = out;
  z->avail_out = (uInt) out_size;
  return deflate (z, Z_FINISH) == Z_STREAM_END ? out_size - z->avail_out : 0;
}

#endif

struct deflater_pool *
deflater_pool_new (int level, struct vmdk_error *err)
{
  struct deflater_pool *pool = calloc (1, sizeof *pool);

  if (!pool) {
    fail_memory (err);
    return NULL;
  }
  pool->level = level;
  pthread_mutex_init (&pool->lock, NULL);
  return pool;
}

static void
deflater_free (struct deflater *deflater)
{
  engine_stop (deflater);
  free (deflater->buffer);
  free (deflater);
}

void
deflater_pool_free (struct deflater_pool *pool)
{
  if (!pool)
    return;
  while (pool->idle) {
    struct deflater *deflater = pool->idle;

    pool->idle = deflater->next;
    deflater_free (deflater);
  }
  pthread_mutex_destroy (&pool->lock);
  free (pool);
}

static struct deflater *
take_idle (struct deflater_pool *pool)
{
  LOCK_FOR_SCOPE (&pool->lock);
  struct deflater *deflater = pool->idle;

  if (deflater) {
    pool->idle = deflater->next;
    pool->nr_idle--;
  }
  return deflater;
}

/* Returns whether the pool has kept it. */
static bool
keep_idle (struct deflater_pool *pool, struct deflater *deflater)
{
  LOCK_FOR_SCOPE (&pool->lock);

  if (pool->nr_idle >= MAX_IDLE)
    return false;
  deflater->next = pool->idle;
  pool->idle = deflater;
  pool->nr_idle++;
  return true;
}

struct deflater *
deflater_take (struct deflater_pool *pool, struct vmdk_error *err)
{
  struct deflater *deflater = take_idle (pool);

  if (deflater)
    return deflater;
  deflater = calloc (1, sizeof *deflater);
  if (!deflater || engine_start (deflater, pool->level) == -1) {
    free (deflater);
    fail_memory (err);
    return NULL;
  }
  deflater->pool = pool;
  return deflater;
}

void
deflater_put (struct deflater *deflater)
{
  if (deflater && !keep_idle (deflater->pool, deflater))
    deflater_free (deflater);
}

static int
make_room (struct deflater *deflater, size_t size, struct vmdk_error *err)
{
  if (size <= deflater->buffer_size)
    return 0;
  free (deflater->buffer); /* nothing in it is worth a realloc's copy */
  deflater->buffer_size = 0;
  deflater->buffer = malloc (size);
  if (!deflater->buffer)
    return fail_memory (err);
  deflater->buffer_size = size;
  return 0;
}

int
deflate_grain (struct deflater *deflater, const uint8_t *in, size_t size,
               size_t before, size_t pad, uint8_t **out, size_t *written,
               struct vmdk_error *err)
{
  size_t bound, whole;

  if (size > UINT_MAX / 2) /* zlib counts in unsigned */
    return fail (err, ERR_ARGUMENT, "%zu bytes are too many to compress",
                 size);
  bound = engine_bound (deflater, size);
  if (make_room (deflater, before + bound + pad, err) == -1)
    return -1;
  *out = deflater->buffer;
  *written = engine_run (deflater, in, size, *out + before, bound);
  if (*written == 0)
    return fail (err, ERR_SYSTEM, "compressing %zu bytes failed", size);
  whole = before + *written;
  memset (*out + whole, 0, div_round_up (whole, pad) * pad - whole);
  return 0;
}
