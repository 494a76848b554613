/* SPDX-License-Identifier: BSD-3-Clause */

/* Connections.  See nfc-wire.h. */

#include <config.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>

#include "checked.h"
#include "cleanup.h"
#include "nfc-wire.h"

#define SLICE 200 /* milliseconds until it is asked whether to stop */
#define BUFFER_SIZE (64 * 1024)
#define TLS_BUFFER_SIZE (128 * 1024) /* several records */

int64_t
nfc_clock (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int
nfc_wait_until (int64_t deadline)
{
  const int64_t left = deadline - nfc_clock ();

  return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int) left;
}

void
nfc_wire_init (struct nfc_wire *wire)
{
  *wire = (struct nfc_wire){ .fd = -1 };
  pthread_mutex_init (&wire->ssl_lock, NULL);
}

/* Whether FD is ready within WAIT milliseconds.  One that is to be ended is
 * shut, so that nobody waits for it again.
 */
static bool
wait_for (const struct nfc_wire *wire, int fd, short events, int wait)
{
  const int64_t deadline = nfc_clock () + wait;

  for (;;) {
    struct pollfd ready = { .fd = fd, .events = events };
    const int left = nfc_wait_until (deadline);
    const bool slice = wire->stopped && left > SLICE;
    const int r = poll (&ready, 1, slice ? SLICE : left);

    if (r > 0 || (r == -1 && errno != EINTR))
      return true;
    if (wire->stopped && wire->stopped (wire->opaque)) {
      shutdown (fd, SHUT_RDWR);
      return false;
    }
    if (r == 0 && !slice)
      return false;
  }
}

/* --------------------------------------------------------------------- */
/* Connecting. */

static int
connect_one (const struct nfc_wire *wire, const struct addrinfo *address,
             int64_t deadline)
{
  const int fd =
    socket (address->ai_family,
            address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int error = 0;
  socklen_t len = sizeof error;

  if (fd == -1)
    return -1;
  if (connect (fd, address->ai_addr, address->ai_addrlen) == 0)
    return fd;
  if (errno != EINPROGRESS)
    error = errno;
  else if (!wait_for (wire, fd, POLLOUT, nfc_wait_until (deadline)))
    error = ETIMEDOUT;
  else if (getsockopt (fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
    error = errno;
  if (error == 0)
    return fd;
  close (fd);
  errno = error;
  return -1;
}

DEFINE_CLEANUP (addrinfo, struct addrinfo *, freeaddrinfo)

int
nfc_wire_connect (struct nfc_wire *wire, const char *host, unsigned port,
                  int64_t deadline, struct nfc_fault *fault)
{
  const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                  .ai_flags = AI_ADDRCONFIG };
  CLEANUP (addrinfo) struct addrinfo *addresses = NULL;
  const int on = 1;
  char service[16];
  int r;

  snprintf (service, sizeof service, "%u", port);
  r = getaddrinfo (host, service, &hints, &addresses);
  if (r != 0)
    return NFC_FAIL (fault, NFC_UNREACHABLE, ERR_SYSTEM, "%s: %s", NAME (host),
                     gai_strerror (r));
  errno = ETIMEDOUT;
  for (const struct addrinfo *a = addresses; a && wire->fd == -1;
       a = a->ai_next)
    wire->fd = connect_one (wire, a, deadline);
  if (wire->fd == -1) {
    fail_errno (&fault->error, errno, "connecting to %s, port %u", NAME (host),
                port);
    return nfc_blame (fault, NFC_UNREACHABLE);
  }
  setsockopt (wire->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt (wire->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  return 0;
}

void
nfc_wire_wake (struct nfc_wire *wire)
{
  if (wire->fd != -1)
    shutdown (wire->fd, SHUT_RDWR);
}

static void
free_ssl (struct nfc_wire *wire)
{
  if (wire->ssl) {
    SSL_set_quiet_shutdown (wire->ssl, 1);
    SSL_free (wire->ssl);
    wire->ssl = NULL;
  }
}

void
nfc_wire_close (struct nfc_wire *wire)
{
  free_ssl (wire);
  if (wire->fd != -1)
    close (wire->fd);
  wire->fd = -1;
  free (wire->buffer);
  wire->buffer = NULL;
  pthread_mutex_destroy (&wire->ssl_lock);
}

/* --------------------------------------------------------------------- */
/* What OpenSSL reads and writes: the socket, which stays ours, and without
 * the signal that a write to a closed connection would raise.
 */

static int
socket_write (BIO *bio, const char *buf, int count)
{
  const int fd = (int) (intptr_t) BIO_get_data (bio);
  const ssize_t n = send (fd, buf, (size_t) count, MSG_NOSIGNAL);

  BIO_clear_retry_flags (bio);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    BIO_set_retry_write (bio);
  return (int) n;
}

static int
socket_read (BIO *bio, char *buf, int count)
{
  const int fd = (int) (intptr_t) BIO_get_data (bio);
  const ssize_t n = recv (fd, buf, (size_t) count, 0);

  BIO_clear_retry_flags (bio);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    BIO_set_retry_read (bio);
  return (int) n;
}

static long
socket_ctrl (BIO *bio, int cmd, long number, void *pointer)
{
  (void) bio;
  (void) number;
  (void) pointer;
  return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *socket_method;

static void
make_socket_method (void)
{
  BIO_METHOD *method =
    BIO_meth_new (BIO_get_new_index () | BIO_TYPE_SOURCE_SINK, "host");

  if (method) {
    BIO_meth_set_write (method, socket_write);
    BIO_meth_set_read (method, socket_read);
    BIO_meth_set_ctrl (method, socket_ctrl);
  }
  socket_method = method;
}

static BIO *
socket_bio (int fd)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  BIO *bio;

  pthread_once (&once, make_socket_method);
  bio = socket_method ? BIO_new (socket_method) : NULL;
  if (bio) {
    BIO_set_data (bio, (void *) (intptr_t) fd);
    BIO_set_init (bio, 1);
  }
  return bio;
}

/* --------------------------------------------------------------------- */
/* TLS. */

static int
fail_ssl (struct nfc_fault *fault, enum nfc_reason reason, const char *what)
{
  char words[TLS_WORDS_SIZE];

  return NFC_FAIL (fault, reason, ERR_SYSTEM, "%s: %s", what,
                   tls_words (words));
}

/* What to wait for after an SSL call returned R; 0: nothing, it failed. */
static short
wanted_events (SSL *ssl, int r)
{
  switch (SSL_get_error (ssl, r)) {
  case SSL_ERROR_WANT_READ:
    return POLLIN;
  case SSL_ERROR_WANT_WRITE:
    return POLLOUT;
  }
  return 0;
}

static SSL *
make_ssl (int fd, struct tls_check *check, const char *host,
          struct vmdk_error *err)
{
  CLEANUP (ssl_context) SSL_CTX *context = tls_context_new (check, host, err);
  SSL *ssl = context ? SSL_new (context) : NULL;
  BIO *bio = ssl ? socket_bio (fd) : NULL;

  if (!context)
    return NULL;
  if (!bio) {
    SSL_free (ssl);
    fail_memory (err);
    return NULL;
  }
  SSL_set_bio (ssl, bio, bio);
  SSL_set_mode (ssl, SSL_MODE_ENABLE_PARTIAL_WRITE
                       | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_set_options (ssl, SSL_OP_NO_RENEGOTIATION);
  if (tls_set_name (ssl, host, err) == -1) {
    SSL_free (ssl);
    return NULL;
  }
  return ssl;
}

int
nfc_wire_start_tls (struct nfc_wire *wire, struct tls_check *check,
                    const char *host, bool for_good, int64_t deadline,
                    struct nfc_fault *fault)
{
  int r;

  wire->ssl = make_ssl (wire->fd, check, host, &fault->error);
  if (!wire->ssl)
    return nfc_blame (fault, NFC_FAILED);
  if (for_good) {
    SSL_set_default_read_buffer_len (wire->ssl, TLS_BUFFER_SIZE);
    SSL_set_read_ahead (wire->ssl, 1);
  }
  for (;;) {
    short events;

    ERR_clear_error ();
    r = SSL_connect (wire->ssl);
    if (r == 1)
      return 0;
    events = wanted_events (wire->ssl, r);
    if (check->refusal.kind != ERR_NONE) {
      fault->error = check->refusal;
      return nfc_blame (fault, NFC_UNTRUSTED);
    }
    if (!events)
      return ERR_peek_error () == 0
               ? NFC_FAIL (fault, NFC_LOST, ERR_SYSTEM,
                           "the host ended the connection within the TLS "
                           "handshake")
               : fail_ssl (fault, NFC_UNTRUSTED, "TLS handshake");
    if (!wait_for (wire, wire->fd, events, nfc_wait_until (deadline)))
      return NFC_FAIL (fault, NFC_LOST, ERR_SYSTEM,
                       "the host does not finish the TLS handshake");
  }
}

int
nfc_wire_abandon_tls (struct nfc_wire *wire, struct nfc_fault *fault)
{
  if (SSL_has_pending (wire->ssl))
    return NFC_FAIL (fault, NFC_NONSENSE, ERR_SYSTEM,
                     "the host sent more than its answer");
  free_ssl (wire);
  return 0;
}

/* --------------------------------------------------------------------- */
/* Receiving. */

static int
ended (struct nfc_fault *fault)
{
  return NFC_FAIL (fault, NFC_LOST, ERR_SYSTEM,
                   "the host ended the connection");
}

static int
fail_socket (struct nfc_fault *fault, const char *what)
{
  fail_errno (&fault->error, errno, "%s", what);
  return nfc_blame (fault, NFC_LOST);
}

/* >0: bytes; 0: try again after waiting for *EVENTS. */
static ssize_t
receive_clear (struct nfc_wire *wire, void *buf, size_t count, short *events,
               struct nfc_fault *fault)
{
  const ssize_t n = recv (wire->fd, buf, count, 0);

  *events = POLLIN;
  if (n > 0)
    return n;
  if (n == 0)
    return ended (fault);
  if (errno == EAGAIN || errno == EINTR)
    return 0;
  return fail_socket (fault, "receiving");
}

static ssize_t
receive_tls (struct nfc_wire *wire, void *buf, size_t count, short *events,
             struct nfc_fault *fault)
{
  size_t n = 0;
  int r;

  LOCK_FOR_SCOPE (&wire->ssl_lock);
  ERR_clear_error ();
  r = SSL_read_ex (wire->ssl, buf, count, &n);
  if (r == 1)
    return (ssize_t) n;
  *events = wanted_events (wire->ssl, r);
  if (*events)
    return 0;
  if (ERR_peek_error () == 0)
    return ended (fault);
  return fail_ssl (fault, NFC_LOST, "TLS");
}

static ssize_t
receive_now (struct nfc_wire *wire, void *buf, size_t count, int wait,
             struct nfc_fault *fault)
{
  for (;;) {
    short events = POLLIN;
    const ssize_t n = wire->ssl
                        ? receive_tls (wire, buf, count, &events, fault)
                        : receive_clear (wire, buf, count, &events, fault);

    if (n != 0)
      return n;
    if (!wait_for (wire, wire->fd, events, wait))
      return 0;
  }
}

int
nfc_wire_set_buffered (struct nfc_wire *wire, struct nfc_fault *fault)
{
  wire->buffer = malloc (BUFFER_SIZE);
  if (!wire->buffer) {
    fail_memory (&fault->error);
    return nfc_blame (fault, NFC_FAILED);
  }
  return 0;
}

ssize_t
nfc_wire_receive (struct nfc_wire *wire, void *buf, size_t count, int wait,
                  struct nfc_fault *fault)
{
  size_t n = wire->buffer_end - wire->buffer_start;

  if (n == 0) {
    ssize_t r;

    /* data goes where it is wanted, headers come with what follows */
    if (!wire->buffer || count >= BUFFER_SIZE / 4)
      return receive_now (wire, buf, count, wait, fault);
    r = receive_now (wire, wire->buffer, BUFFER_SIZE, wait, fault);
    if (r <= 0)
      return r;
    wire->buffer_start = 0;
    wire->buffer_end = n = (size_t) r;
  }
  n = min_u64 (n, count);
  memcpy (buf, wire->buffer + wire->buffer_start, n);
  wire->buffer_start += n;
  return (ssize_t) n;
}

int
nfc_wire_read (struct nfc_wire *wire, void *buf, size_t count,
               int64_t deadline, struct nfc_fault *fault)
{
  uint8_t *p = buf;

  while (count > 0) {
    const ssize_t n =
      nfc_wire_receive (wire, p, count, nfc_wait_until (deadline), fault);

    if (n < 0)
      return -1;
    if (n == 0)
      return NFC_FAIL (fault, NFC_LOST, ERR_SYSTEM,
                       "the host does not answer");
    p += n;
    count -= (size_t) n;
  }
  return 0;
}

int
nfc_wire_read_line (struct nfc_wire *wire, char *line, size_t size,
                    int64_t deadline, struct nfc_fault *fault)
{
  size_t len = 0;

  for (;;) {
    line[len] = '\0'; /* what there is of it can be logged */
    if (nfc_wire_read (wire, &line[len], 1, deadline, fault) == -1)
      return -1;
    if (line[len] == '\n')
      break;
    if (line[len] == '\0' || ++len == size) {
      line[size - 1] = '\0';
      return NFC_FAIL (fault, NFC_NONSENSE, ERR_SYSTEM,
                       "the host sent no line of text (the limit is %zu "
                       "bytes): is this port 902 of an ESXi host?",
                       size - 1);
    }
  }
  while (len > 0 && line[len - 1] == '\r')
    len--;
  line[len] = '\0';
  return 0;
}

/* --------------------------------------------------------------------- */
/* Sending. */

static ssize_t
send_clear (struct nfc_wire *wire, const void *buf, size_t count,
            short *events, struct nfc_fault *fault)
{
  const ssize_t n = send (wire->fd, buf, count, MSG_NOSIGNAL);

  *events = POLLOUT;
  if (n >= 0)
    return n;
  if (errno == EAGAIN || errno == EINTR)
    return 0;
  return fail_socket (fault, "sending");
}

static ssize_t
send_tls (struct nfc_wire *wire, const void *buf, size_t count, short *events,
          struct nfc_fault *fault)
{
  size_t n = 0;
  int r;

  LOCK_FOR_SCOPE (&wire->ssl_lock);
  ERR_clear_error ();
  r = SSL_write_ex (wire->ssl, buf, count, &n);
  if (r == 1)
    return (ssize_t) n;
  *events = wanted_events (wire->ssl, r);
  if (*events)
    return 0;
  if (ERR_peek_error () == 0)
    return ended (fault);
  return fail_ssl (fault, NFC_LOST, "TLS");
}

int
nfc_wire_write (struct nfc_wire *wire, const void *buf, size_t count, int wait,
                struct nfc_fault *fault)
{
  const uint8_t *p = buf;

  while (count > 0) {
    short events = POLLOUT;
    const ssize_t n = wire->ssl ? send_tls (wire, p, count, &events, fault)
                                : send_clear (wire, p, count, &events, fault);

    if (n < 0)
      return -1;
    if (n == 0 && !wait_for (wire, wire->fd, events, wait))
      return NFC_FAIL (fault, NFC_LOST, ERR_SYSTEM,
                       "the host takes no more data");
    p += n;
    count -= (size_t) n;
  }
  return 0;
}
