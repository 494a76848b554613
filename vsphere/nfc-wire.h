/* SPDX-License-Identifier: BSD-3-Clause */

/* One TCP connection to a host, with TLS or without, and the change between
 * them that port 902 asks for: a first TLS session is abandoned in the middle
 * of the connection, and the bytes that follow are clear, or a second one.
 *
 * One thread may receive while another sends.  Nothing waits without a limit;
 * nfc_wire_wake ends every wait of a connection that stands, and .stopped any.
 */

#ifndef VMDKIT_NFC_WIRE_H
#define VMDKIT_NFC_WIRE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <openssl/ssl.h>

#include "nfc-fault.h"
#include "tls.h"

struct nfc_wire {
  int fd;
  SSL *ssl;
  pthread_mutex_t ssl_lock; /* guards ssl: it knows one caller at a time */

  /* Asked during each wait: true ends the connection.  Set after
   * nfc_wire_init, or NULL.
   */
  bool (*stopped) (void *opaque);
  void *opaque;

  /* What was received and not yet asked for; the receiver's alone. */
  uint8_t *buffer;
  size_t buffer_start, buffer_end;
};

/* Milliseconds of a clock that only runs forward. */
extern int64_t nfc_clock (void);

/* How long it is until DEADLINE, never less than 0. */
extern int nfc_wait_until (int64_t deadline);

/* Makes *WIRE a wire without a connection, which nfc_wire_close takes. */
extern void nfc_wire_init (struct nfc_wire *wire)
  __attribute__ ((nonnull (1)));

/* DEADLINE is a time of nfc_clock. */
extern int nfc_wire_connect (struct nfc_wire *wire, const char *host,
                             unsigned port, int64_t deadline,
                             struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

/* Start TLS as a client; the certificate passes CHECK before anything is
 * sent, and CHECK knows its thumbprints afterwards.  FOR_GOOD: it will not be
 * abandoned, so that more than a record may be received at once.
 */
extern int nfc_wire_start_tls (struct nfc_wire *wire, struct tls_check *check,
                               const char *host, bool for_good,
                               int64_t deadline, struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 6)));

/* Forget TLS without telling the host.  Fails when bytes of it are left. */
extern int nfc_wire_abandon_tls (struct nfc_wire *wire,
                                 struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* From now on receive in large pieces: no more changes to come. */
extern int nfc_wire_set_buffered (struct nfc_wire *wire,
                                  struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Receive between 1 and COUNT bytes; 0: none came within WAIT milliseconds.
 * The end of the connection is a fault.
 */
extern ssize_t nfc_wire_receive (struct nfc_wire *wire, void *buf,
                                 size_t count, int wait,
                                 struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

/* Receive exactly COUNT bytes. */
extern int nfc_wire_read (struct nfc_wire *wire, void *buf, size_t count,
                          int64_t deadline, struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

/* Receive a line, without its end; not a byte more.  SIZE bounds it.  After a
 * failure LINE is what there was of it.
 */
extern int nfc_wire_read_line (struct nfc_wire *wire, char *line, size_t size,
                               int64_t deadline, struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

/* Send all; fails when the host takes nothing for WAIT milliseconds. */
extern int nfc_wire_write (struct nfc_wire *wire, const void *buf,
                           size_t count, int wait, struct nfc_fault *fault)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 5)));

/* End the connection; whoever waits on the wire fails.  From any thread. */
extern void nfc_wire_wake (struct nfc_wire *wire)
  __attribute__ ((nonnull (1)));

/* Nobody uses the wire any more. */
extern void nfc_wire_close (struct nfc_wire *wire)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_NFC_WIRE_H */
