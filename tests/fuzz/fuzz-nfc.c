/* SPDX-License-Identifier: BSD-3-Clause */

/* What a host sends after the handshake, to a session that has asked for a
 * bit of everything.  Every question has its answer or a reason in the end.
 */

#include <config.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nfc-pack.h"
#include "nfc-session-parts.h"

#define MOST (64 * 1024) /* what a socket takes at once */
#define DATA (128 * 1024)

static struct nfc_op ops[4];
static uint8_t data[DATA], value[NFC_MAX_TEXT], bits[64];

/* The questions, with the numbers 0 to 3. */
static void
ask (struct nfc_session *session)
{
  ops[0] = (struct nfc_op){ .type = NFC_IO, .buf = data, .count = DATA };
  ops[1] = (struct nfc_op){
    .type = NFC_IO, .write = true, .offset = 4096, .count = 512
  };
  ops[2] = (struct nfc_op){ .type = NFC_DDB_GET,
                            .extra = value,
                            .extra_size = sizeof value };
  ops[3] = (struct nfc_op){ .type = NFC_ALLOCATED,
                            .nr_chunks = 500,
                            .extra = bits,
                            .extra_size = sizeof bits };
  for (uint32_t i = 0; i < 4; i++) {
    ops[i].id = i;
    ops[i].left = ops[i].count;
    session->state.ops[i] = &ops[i];
  }
  session->state.nr_ops = session->state.reserved = 4;
}

static struct nfc_session *
make_session (int fd)
{
  struct nfc_session *session = calloc (1, sizeof *session);

  if (!session)
    abort ();
  session->in.packed = malloc (nfc_packed_bound (NFC_MAX_IO));
  if (!session->in.packed)
    abort ();
  session->settings = (struct nfc_settings) NFC_SETTINGS_DEFAULT;
  nfc_wire_init (&session->wire);
  session->wire.fd = fd;
  pthread_mutex_init (&session->state.lock, NULL);
  pthread_mutex_init (&session->send_lock, NULL);
  pthread_cond_init (&session->state.changed, NULL);
  ask (session);
  atomic_store (&session->last_byte, nfc_clock ());
  for (int i = 0; i < 4; i++)
    ops[i].since = nfc_clock ();
  return session;
}

static void
check (void)
{
  for (int i = 0; i < 4; i++) {
    if (!ops[i].done)
      abort ();
    if (ops[i].fault.reason != NFC_FINE && ops[i].fault.error.text[0] == '\0')
      abort ();
  }
  if (ops[0].fault.reason == NFC_FINE && ops[0].left != 0)
    abort ();
}

extern int LLVMFuzzerTestOneInput (const uint8_t *input, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *input, size_t size)
{
  struct nfc_session *session;
  int fds[2];

  if (size > MOST)
    return 0;
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == -1)
    abort ();
  if (send (fds[1], input, size, MSG_NOSIGNAL) != (ssize_t) size)
    abort ();
  close (fds[1]);
  session = make_session (fds[0]);
  nfc_receive_thread (session);
  check ();
  nfc_wire_close (&session->wire);
  pthread_cond_destroy (&session->state.changed);
  pthread_mutex_destroy (&session->send_lock);
  pthread_mutex_destroy (&session->state.lock);
  free (session->in.packed);
  free (session);
  return 0;
}
