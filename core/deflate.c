/* SPDX-License-Identifier: BSD-3-Clause */

/* Deflating one grain with libdeflate or zlib, and fast with ISA-L where that
 * is built in.  See deflate.h.
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
#ifdef HAVE_ISAL
#include <isa-l/igzip_lib.h>
#endif

#include "checked.h"
#include "deflate.h"

/* Idle compressors beyond these are freed; one takes some hundred KiB. */
#define MAX_IDLE 8

struct fast_engine; /* ISA-L's */

struct deflater {
#ifdef HAVE_LIBDEFLATE
  struct libdeflate_compressor *engine;
#else
  z_stream stream;
  bool ready;
#endif
  struct fast_engine *fast; /* in place of it, or NULL */
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

/* -- ISA-L -------------------------------------------------------------- */

#ifdef HAVE_ISAL

/* Its level 1 is its fastest but for level 0, which saves little time and
 * much less room.
 */
#define FAST_LEVEL 1
#define FAST_BUFFER_SIZE ISAL_DEF_LVL1_DEFAULT

struct fast_engine {
  struct isal_zstream stream;
  uint8_t buffer[FAST_BUFFER_SIZE];
};

static struct fast_engine *
fast_new (void)
{
  struct fast_engine *fast = malloc (sizeof *fast);

  if (fast)
    isal_deflate_stateless_init (&fast->stream);
  return fast;
}

/* Where nothing can be gained it stores blocks of 65535 bytes, 5 more each. */
static size_t
fast_bound (size_t size)
{
  return size + size / 1024 + 512;
}

static size_t
fast_run (struct fast_engine *fast, const uint8_t *in, size_t size,
          uint8_t *out, size_t room)
{
  struct isal_zstream *z = &fast->stream;

  isal_deflate_stateless_init (z);
  z->level = FAST_LEVEL;
  z->level_buf = fast->buffer;
  z->level_buf_size = sizeof fast->buffer;
  z->gzip_flag = IGZIP_ZLIB;
  z->end_of_stream = 1;
  z->next_in = (uint8_t *) in;
  z->avail_in = (uint32_t) size;
  z->next_out = out;
  z->avail_out = (uint32_t) room;
  return isal_deflate_stateless (z) == COMP_OK && z->avail_in == 0
           ? room - z->avail_out
           : 0;
}

#define HAS_FAST true

#else

static struct fast_engine *
fast_new (void)
{
  return NULL;
}

static size_t
fast_bound (size_t size)
{
  return size;
}

static size_t
fast_run (struct fast_engine *fast, const uint8_t *in, size_t size,
          uint8_t *out, size_t room)
{
  (void) fast;
  (void) in;
  (void) size;
  (void) out;
  (void) room;
  return 0;
}

#define HAS_FAST false

#endif

/* -- The usual one ------------------------------------------------------ */

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
            uint8_t *out, size_t room)
{
  return libdeflate_zlib_compress (deflater->engine, in, size, out, room);
}

#else /* zlib */

static int
engine_start (struct deflater *deflater, int level)
{
  deflater->ready =
    deflateInit (&deflater->stream, (int) min_u64 ((uint64_t) level, 9))
    == Z_OK;
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
            uint8_t *out, size_t room)
{
  z_stream *z = &deflater->stream;

  deflateReset (z);
  z->next_in = (uint8_t *) in;
  z->avail_in = (uInt) size;
  z->next_out = out;
  z->avail_out = (uInt) room;
  return deflate (z, Z_FINISH) == Z_STREAM_END ? room - z->avail_out : 0;
}

#endif

/* -- The pool ----------------------------------------------------------- */

bool
deflate_level_parse (const char *text, int *level)
{
  static const struct {
    const char *name;
    int level;
  } names[] = {
    { "fast", DEFLATE_FAST },
    { "default", DEFLATE_DEFAULT_LEVEL },
    { "best", DEFLATE_BEST },
  };
  char *end;
  long n;

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp (text, names[i].name) == 0) {
      *level = names[i].level;
      return true;
    }
  if (*text < '0' || *text > '9')
    return false;
  n = strtol (text, &end, 10);
  *level = (int) n;
  return *end == '\0' && n >= 1 && n <= DEFLATE_BEST;
}

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
  free (deflater->fast);
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

static struct deflater *
deflater_new (struct deflater_pool *pool)
{
  const bool fast = HAS_FAST && pool->level == DEFLATE_FAST;
  struct deflater *deflater = calloc (1, sizeof *deflater);

  if (!deflater)
    return NULL;
  deflater->pool = pool;
  if (fast && (deflater->fast = fast_new ()))
    return deflater;
  if (!fast && engine_start (deflater, pool->level ? pool->level : 1) == 0)
    return deflater;
  free (deflater);
  return NULL;
}

struct deflater *
deflater_take (struct deflater_pool *pool, struct vmdk_error *err)
{
  struct deflater *deflater = take_idle (pool);

  if (deflater)
    return deflater;
  deflater = deflater_new (pool);
  if (!deflater)
    fail_memory (err);
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

static size_t
bound (struct deflater *deflater, size_t size)
{
  return deflater->fast ? fast_bound (size) : engine_bound (deflater, size);
}

static size_t
run (struct deflater *deflater, const uint8_t *in, size_t size, uint8_t *out,
     size_t room)
{
  return deflater->fast ? fast_run (deflater->fast, in, size, out, room)
                        : engine_run (deflater, in, size, out, room);
}

int
deflate_grain (struct deflater *deflater, const uint8_t *in, size_t size,
               size_t before, size_t pad, uint8_t **out, size_t *written,
               struct vmdk_error *err)
{
  size_t room, whole;

  if (size > UINT_MAX / 2) /* zlib and ISA-L count in unsigned */
    return fail (err, ERR_ARGUMENT, "%zu bytes are too many to compress",
                 size);
  room = bound (deflater, size);
  if (make_room (deflater, before + room + pad, err) == -1)
    return -1;
  *out = deflater->buffer;
  *written = run (deflater, in, size, *out + before, room);
  if (*written == 0)
    return fail (err, ERR_SYSTEM, "compressing %zu bytes failed", size);
  whole = before + *written;
  memset (*out + whole, 0, div_round_up (whole, pad) * pad - whole);
  return 0;
}
