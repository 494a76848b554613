/* SPDX-License-Identifier: BSD-3-Clause */

/* NBD exports as media.  See nbd-media.h.
 *
 * A connection does one request at a time, for whichever thread has it; there
 * are as many connections as threads, where the server allows several
 * (multi-conn).  Requests are cut to what a server takes.
 */

#include <config.h>

#include <string.h>

#include "nbd-media.h"

bool
nbd_is_uri (const char *text)
{
  static const char *const schemes[] = {
    "nbd://",       "nbds://",       "nbd+unix://", "nbds+unix://",
    "nbd+vsock://", "nbds+vsock://", "nbd+ssh://",
  };

  for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
    if (strncmp (text, schemes[i], strlen (schemes[i])) == 0)
      return true;
  return false;
}

#ifdef HAVE_LIBNBD

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include <libnbd.h>

#include "checked.h"
#include "cleanup.h"

#define MAX_CONNECTIONS 16

/* Every server takes as much, and more would not be faster. */
#define MAX_REQUEST (UINT64_C (1) << 20)

/* Zeros are not sent. */
#define MAX_ZERO (UINT64_C (1) << 30)

/* What is asked for at once of the map. */
#define MAX_MAP (UINT64_C (1) << 30)

#define ALLOCATION "base:allocation"

/* Bits of its answers. */
#define STATE_ZERO 2

struct nbd_media {
  struct media media;
  bool can_map, can_zero, can_flush;

  /* A connection that is in use is NULL here. */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct nbd_handle *idle[MAX_CONNECTIONS];
  unsigned nr;

  /* The last answer of the map; guarded by the lock as well. */
  uint64_t from, to;
  bool hole;
};

static int
fail_nbd (struct vmdk_error *err)
{
  const int errnum = nbd_get_errno ();
  const char *text = nbd_get_error ();

  fail (err, ERR_SYSTEM, "%s", text ? text : "NBD: failed");
  err->errnum = errnum ? errnum : EIO;
  return -1;
}

/* -- Connections -------------------------------------------------------- */

static struct nbd_handle *
find_idle (struct nbd_media *m)
{
  for (unsigned i = 0; i < m->nr; i++)
    if (m->idle[i]) {
      struct nbd_handle *nbd = m->idle[i];

      m->idle[i] = NULL;
      return nbd;
    }
  return NULL;
}

static struct nbd_handle *
take (struct nbd_media *m)
{
  LOCK_FOR_SCOPE (&m->lock);
  struct nbd_handle *nbd;

  while (!(nbd = find_idle (m)))
    pthread_cond_wait (&m->changed, &m->lock);
  return nbd;
}

static void
give_back (struct nbd_media *m, struct nbd_handle *nbd)
{
  LOCK_FOR_SCOPE (&m->lock);
  unsigned i = 0;

  while (m->idle[i])
    i++;
  m->idle[i] = nbd;
  pthread_cond_signal (&m->changed);
}

static int
connect_one (struct nbd_media *m, const char *uri, struct vmdk_error *err)
{
  struct nbd_handle *nbd = nbd_create ();

  if (!nbd)
    return fail_nbd (err);
  m->idle[m->nr++] = nbd;
  if (nbd_add_meta_context (nbd, ALLOCATION) == -1
      || nbd_set_uri_allow_local_file (nbd, true) == -1
      || nbd_connect_uri (nbd, uri) == -1)
    return fail_nbd (err);
  return 0;
}

/* -- Requests ----------------------------------------------------------- */

/* One request of at most COUNT bytes; *done is how many it was. */
struct request {
  int (*send) (struct nbd_handle *nbd, struct request *request, size_t count,
               uint64_t offset);
  uint8_t *to;         /* reading */
  const uint8_t *from; /* writing */
  uint64_t max;
};

static int
send_all (struct nbd_media *m, struct request *request, uint64_t count,
          uint64_t offset, struct vmdk_error *err)
{
  struct nbd_handle *nbd = take (m);
  int r = 0;

  while (r == 0 && count > 0) {
    const size_t n = min_u64 (count, request->max);

    r = request->send (nbd, request, n, offset);
    if (r == -1)
      fail_nbd (err);
    offset += n;
    count -= n;
  }
  give_back (m, nbd);
  return r;
}

static int
send_read (struct nbd_handle *nbd, struct request *request, size_t count,
           uint64_t offset)
{
  const int r = nbd_pread (nbd, request->to, count, offset, 0);

  request->to += count;
  return r;
}

static int
send_write (struct nbd_handle *nbd, struct request *request, size_t count,
            uint64_t offset)
{
  const int r = nbd_pwrite (nbd, request->from, count, offset, 0);

  request->from += count;
  return r;
}

static int
send_zero (struct nbd_handle *nbd, struct request *request, size_t count,
           uint64_t offset)
{
  (void) request;
  return nbd_zero (nbd, count, offset, 0);
}

static int
nbd_media_pread (struct media *media, void *buf, size_t count, uint64_t offset,
                 struct vmdk_error *err)
{
  struct request request = { send_read, .to = buf, .max = MAX_REQUEST };

  return send_all ((struct nbd_media *) media, &request, count, offset, err);
}

static int
nbd_media_pwrite (struct media *media, const void *buf, size_t count,
                  uint64_t offset, struct vmdk_error *err)
{
  struct request request = { send_write, .from = buf, .max = MAX_REQUEST };

  if (!range_inside (offset, count, media->size))
    return fail_errno (err, ENOSPC,
                       "writing %zu bytes at byte %" PRIu64
                       " of an export that ends at byte %" PRIu64,
                       count, offset, (uint64_t) media->size);
  return send_all ((struct nbd_media *) media, &request, count, offset, err);
}

static int
nbd_media_punch (struct media *media, uint64_t offset, uint64_t count,
                 struct vmdk_error *err)
{
  struct nbd_media *m = (struct nbd_media *) media;
  struct request request = { send_zero, .max = MAX_ZERO };

  if (!m->can_zero)
    return fail (err, ERR_UNSUPPORTED, "the server writes no zeros");
  return send_all (m, &request, count, offset, err);
}

/* Servers that serve several connections at once flush for all of them. */
static int
nbd_media_flush (struct media *media, struct vmdk_error *err)
{
  struct nbd_media *m = (struct nbd_media *) media;
  struct nbd_handle *nbd;
  int r;

  if (!m->can_flush)
    return 0;
  nbd = take (m);
  r = nbd_flush (nbd, 0);
  if (r == -1)
    fail_nbd (err);
  give_back (m, nbd);
  return r;
}

/* -- The map ------------------------------------------------------------ */

struct answer {
  uint64_t offset, end;
  bool any, done, hole;
};

/* Neighbours that are alike become one. */
static int
add_extents (void *opaque, const char *context, uint64_t offset,
             uint32_t *entries, size_t nr_entries, int *error)
{
  struct answer *answer = opaque;

  (void) error;
  if (strcmp (context, ALLOCATION) != 0 || offset != answer->offset)
    return 0;
  for (size_t i = 0; i + 1 < nr_entries && !answer->done; i += 2) {
    const bool hole = entries[i + 1] & STATE_ZERO;

    if (answer->any && hole != answer->hole)
      answer->done = true;
    else
      answer->end += entries[i];
    answer->hole = answer->any ? answer->hole : hole;
    answer->any = true;
  }
  return 0;
}

static int
ask (struct nbd_media *m, uint64_t offset, uint64_t count,
     struct answer *answer, struct vmdk_error *err)
{
  struct nbd_handle *nbd = take (m);
  int r;

  *answer = (struct answer){ .offset = offset, .end = offset };
  r = nbd_block_status (
    nbd, min_u64 (count, MAX_MAP), offset,
    (nbd_extent_callback){ .callback = add_extents, .user_data = answer }, 0);
  if (r == -1)
    fail_nbd (err);
  give_back (m, nbd);
  return r;
}

static bool
is_remembered (struct nbd_media *m, uint64_t offset, bool *hole, uint64_t *end)
{
  LOCK_FOR_SCOPE (&m->lock);

  *hole = m->hole;
  *end = m->to;
  return offset >= m->from && offset < m->to;
}

static void
remember (struct nbd_media *m, const struct answer *answer)
{
  LOCK_FOR_SCOPE (&m->lock);

  m->from = answer->offset;
  m->to = answer->end;
  m->hole = answer->hole;
}

static int
nbd_media_map (struct media *media, uint64_t offset, uint64_t count,
               bool *hole, uint64_t *length, struct vmdk_error *err)
{
  struct nbd_media *m = (struct nbd_media *) media;
  struct answer answer;
  uint64_t end = UINT64_MAX;

  *hole = false;
  if (m->can_map && !is_remembered (m, offset, hole, &end)) {
    if (ask (m, offset, media->size - offset, &answer, err) == -1)
      return -1;
    *hole = answer.hole;
    end = answer.end;
    if (end <= offset)
      return fail (err, ERR_SYSTEM,
                   "the server does not say what is at byte %" PRIu64, offset);
    remember (m, &answer);
  }
  *length = min_u64 (count, end - offset);
  return 0;
}

/* -- Opening and closing ------------------------------------------------ */

static void
nbd_media_close (struct media *media)
{
  struct nbd_media *m = (struct nbd_media *) media;

  for (unsigned i = 0; i < m->nr; i++) {
    if (nbd_aio_is_ready (m->idle[i]) == 1)
      (void) nbd_shutdown (m->idle[i], 0);
    nbd_close (m->idle[i]);
  }
  pthread_mutex_destroy (&m->lock);
  pthread_cond_destroy (&m->changed);
  free (media->name);
  free (m);
}

/* For reading, what was written to it is of no interest to the map. */
static const struct media_ops read_ops = {
  .pread = nbd_media_pread,
  .map = nbd_media_map,
  .close = nbd_media_close,
};

static const struct media_ops write_ops = {
  .pread = nbd_media_pread,
  .pwrite = nbd_media_pwrite,
  .flush = nbd_media_flush,
  .punch = nbd_media_punch,
  .close = nbd_media_close,
};

/* What the first connection tells. */
static int
examine (struct nbd_media *m, bool writable, bool *several,
         struct vmdk_error *err)
{
  struct nbd_handle *nbd = m->idle[0];
  const int64_t size = nbd_get_size (nbd);

  if (size == -1)
    return fail_nbd (err);
  m->media.size = (uint64_t) size;
  if (writable && nbd_is_read_only (nbd) != 0)
    return fail (err, ERR_READ_ONLY, "the export is read-only");
  m->can_map = nbd_can_meta_context (nbd, ALLOCATION) == 1;
  m->can_zero = nbd_can_zero (nbd) == 1;
  m->can_flush = nbd_can_flush (nbd) == 1;
  *several = nbd_can_multi_conn (nbd) == 1;
  return 0;
}

static int
connect_all (struct nbd_media *m, const char *uri, bool writable,
             unsigned threads, struct vmdk_error *err)
{
  bool several = false;

  if (connect_one (m, uri, err) == -1
      || examine (m, writable, &several, err) == -1)
    return -1;
  while (several && m->nr < min_u64 (threads, MAX_CONNECTIONS))
    if (connect_one (m, uri, err) == -1)
      return -1;
  return 0;
}

struct media *
nbd_media_new (const char *uri, bool writable, unsigned threads,
               struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = NULL;
  struct nbd_media *m = calloc (1, sizeof *m);

  if (!m) {
    fail_memory (err);
    return NULL;
  }
  media = &m->media;
  media->ops = writable ? &write_ops : &read_ops;
  media->name = strdup (uri);
  pthread_mutex_init (&m->lock, NULL);
  pthread_cond_init (&m->changed, NULL);
  if (!media->name) {
    fail_memory (err);
    return NULL;
  }
  if (connect_all (m, uri, writable, threads, err) == -1)
    return NULL;
  return steal_ptr (&media);
}

#else

struct media *
nbd_media_new (const char *uri, bool writable, unsigned threads,
               struct vmdk_error *err)
{
  (void) uri;
  (void) writable;
  (void) threads;
  fail (err, ERR_UNSUPPORTED,
        "this vmdkit was built without libnbd; build it with libnbd, or use "
        "nbdcopy");
  return NULL;
}

#endif
