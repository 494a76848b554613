/* SPDX-License-Identifier: BSD-3-Clause */

/* A server for tests: one file (or several), a place for what is put there,
 * and a way to misbehave.
 *
 * Every request gets a number, from 0.  The test says what happens to it: it
 * is answered properly, or in one of the ways below.  Plain HTTP on a port of
 * 127.0.0.1.
 */

#ifndef VMDKIT_TESTS_WEB_HELPER_H
#define VMDKIT_TESTS_WEB_HELPER_H

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"

enum trick {
  GOOD,
  BUSY,        /* 503 */
  REFUSED,     /* 403 */
  BROKEN,      /* 500 */
  CUT,         /* half of the body, then the end */
  SILENT_END,  /* the connection ends without a word */
  GARBAGE,     /* no HTTP */
  WHOLE,       /* 200 for a range */
  OTHER_RANGE, /* 206 for bytes elsewhere */
  OTHER_SIZE,  /* the file is larger now */
  TOO_MUCH,    /* a body longer than asked for */
  REDIRECT,    /* 302 */
  LONG_HEADER, /* headers without end */
  FOLDER,      /* a page */
  NO_LENGTH,
  STALL, /* headers, and then nothing */
};

/* Its body has 81 bytes. */
static const char web_broken[] =
  "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 81\r\n\r\n"
  "<html><head><title>Sorry</title></head>\n"
  "<p class='x'>Failed to lock\n the\001file</p>";

#define WEB_MAX_PUT (4 * 1024 * 1024)

struct web_file {
  const char *target; /* NULL: whatever is asked for */
  const uint8_t *bytes;
  size_t size;
};

struct web {
  int fd;
  unsigned port;
  pthread_t thread;

  const struct web_file *files;
  size_t nr_files;

  pthread_mutex_t lock; /* for last_request; the test changes the rest */
  enum trick (*_Atomic trick) (void *opaque, unsigned number,
                               const char *target, const char *range);
  void *_Atomic opaque;
  const char *_Atomic cookie; /* what a client must send; NULL: nothing */
  _Atomic unsigned nr_requests, nr_connections;
  char last_request[4096];

  /* Of the last PUT, and how many there were.  The next NR_CUTS of them end
   * their connection after CUT bytes.
   */
  uint8_t put[WEB_MAX_PUT];
  size_t put_size; /* both under lock */
  _Atomic size_t cut;
  _Atomic unsigned nr_puts, nr_cuts;
};

struct web_client {
  struct web *web;
  int fd;
};

static inline bool
web_send (int fd, const void *bytes, size_t count)
{
  const char *p = bytes;

  while (count > 0) {
    const ssize_t n = send (fd, p, count, MSG_NOSIGNAL);

    if (n <= 0)
      return false;
    p += n;
    count -= (size_t) n;
  }
  return true;
}

static inline bool
web_status (int fd, const char *status)
{
  char text[512];

  snprintf (text, sizeof text,
            "HTTP/1.1 %s\r\nContent-Length: 6\r\n\r\nsorry\n", status);
  return web_send (fd, text, strlen (text));
}

static inline bool
web_good (int fd, bool head, const struct web_file *file, const char *range,
          enum trick trick)
{
  uint64_t first = 0, last = file->size - 1;
  char text[512], *p = text;
  size_t count;

  if (range)
    sscanf (range, "bytes=%" SCNu64 "-%" SCNu64, &first, &last);
  count = last - first + 1;
  if (trick == OTHER_RANGE)
    first++, last++;
  p += sprintf (p, "HTTP/1.1 %s\r\n",
                range && trick != WHOLE ? "206 Partial Content" : "200 OK");
  p += sprintf (p, "Content-Type: %s\r\n",
                trick == FOLDER ? "text/html; charset=utf-8"
                                : "application/octet-stream");
  if (range && trick != WHOLE)
    p += sprintf (p, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%zu\r\n",
                  first, last, file->size + (trick == OTHER_SIZE));
  if (trick != NO_LENGTH)
    p += sprintf (p, "Content-Length: %zu\r\n",
                  trick == TOO_MUCH ? count + 1 : count);
  else
    p += sprintf (p, "Connection: close\r\n");
  p += sprintf (p, "\r\n");
  if (!web_send (fd, text, (size_t) (p - text)) || head)
    return trick != NO_LENGTH;
  if (trick == STALL)
    return recv (fd, text, 1, 0) > 0; /* until the client has enough */
  if (trick == CUT)
    return web_send (fd, file->bytes + first, count / 2) && false;
  return web_send (fd, file->bytes + first, count)
         && (trick != TOO_MUCH || web_send (fd, "x", 1)) && trick != NO_LENGTH;
}

static inline bool
web_long_header (int fd)
{
  if (!web_send (fd, "HTTP/1.1 200 OK\r\n", 17))
    return false;
  while (web_send (fd, "X-More: and more and more and more and more\r\n", 45))
    ;
  return false;
}

/* False: the connection ends. */
static inline bool
web_answer (struct web *web, int fd, const char *request)
{
  char method[16], target[2048];
  const char *range = strstr (request, "\r\nRange: ");
  const char *cookie = strstr (request, "\r\nCookie: ");
  const char *wanted = web->cookie;
  const struct web_file *file = NULL;
  enum trick trick;
  bool known;

  if (sscanf (request, "%15s %2047s", method, target) != 2)
    return false;
  pthread_mutex_lock (&web->lock);
  snprintf (web->last_request, sizeof web->last_request, "%s", request);
  trick = web->trick ? web->trick (web->opaque, web->nr_requests, target,
                                   range ? range + 9 : NULL)
                     : GOOD;
  web->nr_requests++;
  known =
    !wanted || (cookie && strncmp (cookie + 10, wanted, strlen (wanted)) == 0);
  pthread_mutex_unlock (&web->lock);

  for (size_t i = 0; i < web->nr_files && !file; i++)
    if (!web->files[i].target || strcmp (web->files[i].target, target) == 0)
      file = &web->files[i];
  if (!known)
    return web_status (fd, "401 Unauthorized");
  if (!file)
    return web_status (fd, "404 Not Found");
  switch (trick) {
  case BUSY:
    return web_status (fd, "503 Service Unavailable");
  case REFUSED:
    return web_status (fd, "403 Forbidden");
  case BROKEN:
    return web_send (fd, web_broken,
                     strlen (web_broken)
                       - (strcmp (method, "HEAD") == 0 ? 81 : 0));
  case REDIRECT:
    return web_status (fd, "302 Found\r\nLocation: http://127.0.0.1:1/");
  case SILENT_END:
    return false;
  case GARBAGE:
    return web_send (fd, "\x15\x03\x01 what?\r\n\r\n", 13) && false;
  case LONG_HEADER:
    return web_long_header (fd);
  default:
    if (strcmp (method, "PUT") == 0)
      return web_status (fd, "201 Created");
    return web_good (fd, strcmp (method, "HEAD") == 0, file,
                     range ? range + 9 : NULL, trick);
  }
}

/* The body that follows REQUEST, of which NR_BYTES were received with it.
 * False: the connection ends.
 */
static inline bool
web_take_body (struct web *web, int fd, const char *request, size_t nr_bytes)
{
  const char *length = strstr (request, "\r\nContent-Length: ");
  const size_t head = (size_t) (strstr (request, "\r\n\r\n") + 4 - request);
  const bool cut = web->nr_cuts > 0;
  size_t size = length ? strtoul (length + 18, NULL, 10) : 0;
  size_t got = nr_bytes - head;
  /* a connection that was given up may still be read beside another one */
  CLEANUP_FREE uint8_t *body = malloc (sizeof web->put);

  if (size > sizeof web->put || got > size || !body)
    abort ();
  memcpy (body, request + head, got);
  web->nr_puts++;
  if (cut) {
    web->nr_cuts--;
    size = web->cut;
  }
  if (strstr (request, "\r\nExpect: 100-continue")
      && !web_send (fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
    return false;
  while (got < size) {
    const ssize_t n = recv (fd, body + got, size - got, 0);

    if (n <= 0)
      return false;
    got += (size_t) n;
  }
  pthread_mutex_lock (&web->lock);
  memcpy (web->put, body, got);
  web->put_size = got;
  pthread_mutex_unlock (&web->lock);
  return !cut;
}

/* Whether the last PUT brought these bytes. */
static inline bool
web_was_put (struct web *web, const void *bytes, size_t count)
{
  bool same;

  pthread_mutex_lock (&web->lock);
  same = web->put_size == count && memcmp (web->put, bytes, count) == 0;
  pthread_mutex_unlock (&web->lock);
  return same;
}

static inline void
web_forget_put (struct web *web)
{
  pthread_mutex_lock (&web->lock);
  web->put_size = 0;
  memset (web->put, 0, sizeof web->put);
  pthread_mutex_unlock (&web->lock);
}

static inline void *
web_serve_one (void *opaque)
{
  struct web_client *client = opaque;
  struct web *web = client->web;
  char request[4096];
  size_t len = 0;
  bool go_on = true;

  while (go_on) {
    const ssize_t n =
      recv (client->fd, request + len, sizeof request - 1 - len, 0);

    if (n <= 0)
      break;
    len += (size_t) n;
    request[len] = '\0';
    if (strstr (request, "\r\n\r\n")) {
      go_on = (strncmp (request, "PUT ", 4) != 0
               || web_take_body (web, client->fd, request, len))
              && web_answer (web, client->fd, request);
      len = 0;
    }
  }
  close (client->fd);
  free (client);
  return NULL;
}

static inline void *
web_serve (void *opaque)
{
  struct web *web = opaque;
  int fd;

  while ((fd = accept (web->fd, NULL, NULL)) >= 0) {
    struct web_client *client = malloc (sizeof *client);
    pthread_t thread;

    *client = (struct web_client){ web, fd };
    web->nr_connections++;
    if (pthread_create (&thread, NULL, web_serve_one, client) != 0)
      abort ();
    pthread_detach (thread);
  }
  return NULL;
}

static inline void
web_start (struct web *web, const struct web_file *files, size_t nr_files)
{
  struct sockaddr_in address = {
    .sin_family = AF_INET,
    .sin_addr.s_addr = htonl (INADDR_LOOPBACK),
  };
  socklen_t len = sizeof address;

  *web = (struct web){ .files = files, .nr_files = nr_files };
  pthread_mutex_init (&web->lock, NULL);
  web->fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind (web->fd, (struct sockaddr *) &address, len) != 0
      || listen (web->fd, 64) != 0
      || getsockname (web->fd, (struct sockaddr *) &address, &len) != 0
      || pthread_create (&web->thread, NULL, web_serve, web) != 0)
    abort ();
  web->port = ntohs (address.sin_port);
}

/* Clients' connections end with the clients. */
static inline void
web_stop (struct web *web)
{
  shutdown (web->fd, SHUT_RDWR);
  pthread_join (web->thread, NULL);
  close (web->fd);
}

#endif /* VMDKIT_TESTS_WEB_HELPER_H */
