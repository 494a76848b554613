/* SPDX-License-Identifier: BSD-3-Clause */

/* An attempt to connect that nobody wants any more ends, whatever it waits
 * for; the settings' patience is for longer than the test may run.
 */

#include <config.h>

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#include "nfc-host.h"

#define SIZE (1 << 20)

static struct host host;

/* A host that takes connections and says nothing. */
static int silent;
static unsigned silent_port;

static int
setup (void **state)
{
  struct sockaddr_in address = { .sin_family = AF_INET };
  socklen_t len = sizeof address;

  (void) state;
  alarm (100); /* instead of waiting for hours */
  address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
  silent = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal (bind (silent, (struct sockaddr *) &address, len), 0);
  assert_int_equal (listen (silent, 5), 0);
  assert_int_equal (getsockname (silent, (struct sockaddr *) &address, &len),
                    0);
  silent_port = ntohs (address.sin_port);
  return host_start (&host, "x", 1, SIZE);
}

static int
teardown (void **state)
{
  (void) state;
  host_stop (&host);
  close (silent);
  return 0;
}

static struct nfc_settings
patient (void)
{
  struct nfc_settings settings = host_settings (true);

  settings.times.connect = settings.times.step = settings.times.read =
    settings.times.pause = settings.times.max_pause = 3600 * 1000;
  return settings;
}

/* As host_ticket, or for the silent host. */
static atomic_bool is_silent;

static int
any_ticket (void *opaque, bool writable, struct nfc_ticket *ticket,
            struct vmdk_error *err)
{
  const int r = host_ticket (opaque, writable, ticket, err);

  if (is_silent)
    ticket->port = silent_port;
  return r;
}

static struct nfc_disk *
open_from (const struct nfc_settings *settings, struct vmdk_error *err)
{
  const struct nfc_ticket_office office = { any_ticket, &host };
  const struct vmdk_log log = { .sink = host_log_sink };
  enum nfc_reason reason;
  struct nfc_disk *disk =
    nfc_disk_open (settings, &office, HOST_PATH, false, &log, &reason, err);

  assert_true (disk || !nfc_reason_try_next (reason));
  return disk;
}

static bool
stop_later (void *opaque)
{
  atomic_uint *left = opaque;

  return *left == 0 || --*left == 0;
}

static void
assert_stopped (const struct nfc_settings *settings, bool silent_host)
{
  struct vmdk_error err = { 0 };

  is_silent = silent_host;
  assert_null (open_from (settings, &err));
  assert_string_equal (err.text, HOST_PATH ": stopped");
  assert_int_equal (err.errnum, ECANCELED);
}

/* Before anything, while a host says nothing, and between two attempts. */
static void
stopped (void **state)
{
  struct nfc_settings settings = patient ();
  atomic_uint left = 0;

  (void) state;
  settings.stopped = stop_later;
  settings.opaque = &left;
  assert_stopped (&settings, true);
  left = 3;
  assert_stopped (&settings, true);
  host_set (&host, "open", "lock 100");
  left = 30;
  assert_stopped (&settings, false);
  host_clear (&host);
}

/* A disk that is open is not ended by it. */
static void
not_stopped (void **state)
{
  struct nfc_settings settings = patient ();
  atomic_uint left = 0;
  struct vmdk_error err = { 0 };
  struct nfc_disk *disk;
  uint8_t byte = 0;

  (void) state;
  settings.stopped = stop_later;
  settings.opaque = &left;
  is_silent = false;
  left = 1000000;
  disk = open_from (&settings, &err);
  assert_non_null (disk);
  left = 0;
  assert_int_equal (nfc_disk_read (disk, &byte, 1, 0, &err), 0);
  assert_int_equal (byte, 'x');
  assert_int_equal (nfc_disk_finish (disk, &err), 0);
}

struct reader {
  struct nfc_disk *disk;
  struct vmdk_error err;
  int r;
};

static void *
read_one (void *opaque)
{
  struct reader *reader = opaque;
  uint8_t byte;

  reader->r = nfc_disk_read (reader->disk, &byte, 1, SIZE / 2, &reader->err);
  return NULL;
}

/* The connection is lost, and the host that is asked again says nothing. */
static void
cancelled (void **state)
{
  const struct nfc_settings settings = patient ();
  struct reader reader = { 0 };
  pthread_t thread;
  int fd;

  (void) state;
  is_silent = false;
  reader.disk = open_from (&settings, &reader.err);
  assert_non_null (reader.disk);
  is_silent = true;
  host_set (&host, "io", "drop 1 1000");
  assert_int_equal (pthread_create (&thread, NULL, read_one, &reader), 0);
  fd = accept (silent, NULL, NULL);
  while (recv (fd, &(char){ 0 }, 1, MSG_DONTWAIT) > 0)
    ;
  nfc_disk_cancel (reader.disk);
  assert_int_equal (pthread_join (thread, NULL), 0);
  assert_int_equal (reader.r, -1);
  assert_non_null (strstr (reader.err.text, "the disk is being closed"));
  nfc_disk_close (reader.disk);
  close (fd);
  host_clear (&host);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (stopped),
    cmocka_unit_test (not_stopped),
    cmocka_unit_test (cancelled),
  };

  if (!host_possible ())
    return HOST_SKIP;
  return cmocka_run_group_tests (tests, setup, teardown);
}
