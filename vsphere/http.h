/* SPDX-License-Identifier: BSD-3-Clause */

/* Ranges of files that a server gives out over HTTPS, and whole files that it
 * takes.
 *
 * A pool of connections to one server.  Any number of threads may ask at
 * once; no more than the pool's connections are in use, fewer for a while
 * after the server said that it has too much to do.
 *
 * Rules for asking:
 *
 *  1. Only the server that was named is asked: redirects are errors, and the
 *     session's cookie goes nowhere else.
 *  2. What is returned is what was asked for: status, range, length and the
 *     file's size are checked before a byte is believed.  A range that broke
 *     off is asked for again from its start.
 *  3. A connection that fails, and a server that is busy (502, 503, 504 and
 * the like, but not 500, which is about the file), are tried again, over a new
 * connection, after a pause that grows from a second to half a minute.  After
 * five of them the caller gets an error.
 *  4. A session that has expired (401) is renewed once for each question.
 *  5. Every question ends: no byte for a while, or too slow altogether, counts
 *     as a connection that failed.
 *
 * Cookies are never logged.  What a server says to a status 500 becomes a part
 * of the error: a few words, without tags, escaped.
 */

#ifndef VMDKIT_HTTP_H
#define VMDKIT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"
#include "log.h"
#include "media.h"
#include "tls.h"

/* Who we are to the server.  Called from any thread. */
struct http_login {
  /* The line for the Cookie header, owned by the caller, and wiped by him.
   * *GENERATION becomes the number of the session it belongs to.  NULL with
   * *ERR on failure.
   */
  char *(*cookie) (void *opaque, unsigned *generation, struct vmdk_error *err);

  /* The session GENERATION is not known to the server any more.  Returns 0
   * when there is a newer one.
   */
  int (*renew) (void *opaque, unsigned generation, struct vmdk_error *err);
  void *opaque;
};

struct http_settings {
  const char *host;
  unsigned port;                 /* 0: 443 */
  bool plain_http;               /* no TLS; for tests */
  const struct tls_trust *trust; /* borrowed for the pool's life */
  struct http_login login;       /* .cookie NULL: send none */
  struct vmdk_log log;
  unsigned nr_connections;  /* 0: 4 */
  unsigned connect_seconds; /* 0: 10 */
  unsigned stall_seconds;   /* 0: 60 */
  unsigned retry_ms;        /* the first pause; 0: 1000 */
};

#define HTTP_MAX_CONNECTIONS 16
#define HTTP_MAX_RETRIES 5

struct http_pool;

extern struct http_pool *http_pool_new (const struct http_settings *settings,
                                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Nobody may be asking.  NULL is allowed. */
extern void http_pool_free (struct http_pool *pool);
DEFINE_CLEANUP (http_pool, struct http_pool *, http_pool_free)
#define CLEANUP_HTTP_POOL CLEANUP (http_pool)

/* Whoever is asking, or will, gets an error at once (ECANCELED). */
extern void http_pool_stop (struct http_pool *pool) __attribute__ ((nonnull));

extern unsigned http_pool_connections (const struct http_pool *pool)
  __attribute__ ((nonnull));

/* The size of the file TARGET, which is everything behind the host in its
 * URL.  ERR_MISSING when it is not there, ERR_DENIED when it is not ours to
 * read or a folder.
 */
extern int http_size (struct http_pool *pool, const char *target,
                      uint64_t *size, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* COUNT bytes (at least 1) at OFFSET of a file of SIZE bytes; the range lies
 * within.
 */
extern int http_read (struct http_pool *pool, const char *target, void *buf,
                      size_t count, uint64_t offset, uint64_t size,
                      struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 7)));

/* Put all of MEDIA there as the file TARGET, in place of one that is there.
 * Servers take whole files only: what broke off is sent again from its start
 * (rule 3), and what cannot be read, or is not wanted any more, is not.  After
 * a failure a part of it may be there.  PROGRESS is told how many bytes
 * have gone, and its false ends it; it may be NULL.
 */
extern int
http_write (struct http_pool *pool, const char *target, struct media *media,
            bool (*progress) (void *opaque, uint64_t done, uint64_t total),
            void *opaque, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 6)));

#endif /* VMDKIT_HTTP_H */
