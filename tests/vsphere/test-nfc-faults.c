/* SPDX-License-Identifier: BSD-3-Clause */

/* Hosts that misbehave: once, and the right bytes come all the same; always,
 * and there is an error before long.  Never a wrong byte.
 */

#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* the name is error.h's */

#define MIB (1024 * 1024)
#define SIZE (8 * MIB)

#include "nfc-disk-helper.h"

static int
setup (void **state)
{
  (void) state;
  contents = malloc (SIZE);
  fill_pattern (contents, SIZE);
  memset (contents + MIB, 0, 300000);
  return host_start (&host, contents, SIZE, SIZE);
}

/* -1, or 0 and the right bytes. */
static int
read_and_compare (struct nfc_disk *disk, uint64_t offset, size_t count,
                  struct vmdk_error *err)
{
  uint8_t *buf = malloc (count);
  int r;

  memset (buf, 0xa5, count);
  r = nfc_disk_read (disk, buf, count, offset, err);
  if (r == 0)
    assert_memory_equal (buf, contents + offset, count);
  free (buf);
  return r;
}

/* --------------------------------------------------------------------- */
/* Reading. */

static const struct {
  const char *kind;
  const char *text; /* when it does not end; NULL: it does no harm */
  int patience;     /* milliseconds; 0: the tests' usual */
} faults[] = {
  { "drop", "the host ended the connection", 0 },
  { "io", "the host refuses: read failed (code 13)", 0 },
  { "io-reply", "the host refuses: read failed (code 13)", 0 },
  { "io-late", "the host refuses: read failed (code 13)", 0 },
  { "status", "the host answers with status 13 to a request at offset 1048576",
    0 },
  { "garbage", "where a message begins", 0 },
  { "magic", "the host sent 0x00000000 where a message begins", 0 },
  { "huge-size",
    "the host announced a message of type 7 with 4294967295 bytes; the limit "
    "is 65536",
    0 },
  { "huge-extra", "the host announced 4294967295 bytes (io)", 0 },
  { "huge-length", "the host announced 4294967295 bytes (io)", 0 },
  { "huge-text", "the host announced 4294967295 bytes (error)", 0 },
  { "short", "the host answered (io) with 20 bytes instead of 40", 0 },
  { "overlap", "a fragment that had come already is", 0 },
  { "offset", "the offset is 1049088", 0 },
  { "total", "the length is 1049088", 0 },
  { "start", "the length of a fragment is 65536", 0 },
  { "unaligned", NULL, -1 }, /* an offset of one may be refused twice */
  { "empty", "the length of a fragment is 0", 0 },
  { "type", "its type is 5", 0 },
  { "direction", "reading is 0", 0 },
  { "kind", "the host packed a fragment in a way (9) that is not known here",
    0 },
  { "unpack", "the host sent 100 bytes (zlib) that do not unpack to 65536",
    0 },
  { "stall", "the host has not answered for 0 s", 300 },
  { "loris", "the host has not finished a request for 1 s", 100 },
  { "long", NULL, 0 },
  { "strange-type", NULL, 0 },
  { "strange-number", NULL, 0 },
  { "twice", "", 0 }, /* not wanted any more, or too early: both */
  { "flood", "the host sent 64 messages that nobody asked for", 0 },
  { "memory", "the host has no memory for more requests", 0 },
};

#define NR_FAULTS (sizeof faults / sizeof faults[0])

static void
read_with_fault (size_t i, bool tls, enum nfc_compression compression,
                 const char *when)
{
  struct nfc_settings settings = host_settings (tls);
  struct vmdk_error err = { 0 };
  struct nfc_disk *disk;
  char value[64];

  host_clear (&host);
  snprintf (value, sizeof value, "%s %s", faults[i].kind, when);
  settings.compression = compression;
  if (faults[i].patience > 0)
    settings.times.read = faults[i].patience;
  host_set (&host, "io", value);
  if (i % 2)
    host_set (&host, "order", "mixed");
  disk = must_open (&settings, false);
  if (read_and_compare (disk, 0, SIZE, &err) == -1)
    fprintf (stderr, "%s: %s\n", value, err.text);
  assert_int_equal (err.kind, ERR_NONE);
  assert_int_equal (read_and_compare (disk, 12345, 777, &err), 0);
  nfc_disk_close (disk);
  assert_true (host_is_content (&host));
}

static void
test_once (void **state)
{
  (void) state;
  for (size_t i = 0; i < NR_FAULTS; i++) {
    read_with_fault (i, true, NFC_PLAIN, "3 1");
    read_with_fault (i, false, NFC_SKIPZ, "1 1");
  }
}

/* Every request meets the fault, until the host is mended: then the same disk
 * can be read again.
 */
static void
test_always (void **state)
{
  (void) state;
  for (size_t i = 0; i < NR_FAULTS; i++) {
    struct nfc_settings settings = host_settings (i % 2);
    struct vmdk_error err = { 0 };
    struct nfc_disk *disk;
    char value[64];
    int r;

    host_clear (&host);
    settings.compression = NFC_PLAIN;
    settings.times.read = faults[i].patience > 0 ? faults[i].patience : 2000;
    snprintf (value, sizeof value, "%s 1 1000000", faults[i].kind);
    disk = must_open (&settings, false);
    host_set (&host, "io", value);
    r = read_and_compare (disk, MIB, MIB, &err);
    if (faults[i].text && faults[i].text[0]) {
      assert_int_equal (r, -1);
      if (!strstr (err.text, faults[i].text))
        fprintf (stderr, "%s: %s\n", value, err.text);
      assert_non_null (strstr (err.text, faults[i].text));
      assert_memory_equal (err.text, HOST_PATH ": ", strlen (HOST_PATH) + 2);
      assert_int_equal (err.errnum,
                        strcmp (faults[i].kind, "memory") == 0 ? ENOMEM : EIO);
    }
    else if (!faults[i].text && faults[i].patience == 0)
      assert_int_equal (r, 0);
    host_clear (&host);
    assert_int_equal (read_and_compare (disk, MIB, 2 * MIB, &err), 0);
    nfc_disk_close (disk);
  }
}

/* A host with little memory is asked for less. */
static void
test_memory (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct vmdk_error err;
  struct nfc_disk *disk;

  (void) state;
  host_set (&host, "memory", "262144");
  disk = must_open (&settings, true);
  assert_int_equal (read_and_compare (disk, 0, 3 * MIB, &err), 0);
  memset (contents + MIB, 0x77, MIB);
  assert_int_equal (nfc_disk_write (disk, contents + MIB, MIB, MIB, &err), 0);
  nfc_disk_close (disk);
  assert_contents ();
  assert_true (host_is_content (&host));
}

/* Reading ahead is no reason to lose one connection after the other. */
static void
test_memory_in_sequence (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct vmdk_error err;
  struct nfc_disk *disk;

  (void) state;
  settings.bytes = MIB; /* a block ahead, not all of the disk */
  host_set (&host, "memory", "262144");
  disk = must_open (&settings, false);
  for (uint64_t offset = 0; offset < SIZE; offset += 65536)
    assert_int_equal (read_and_compare (disk, offset, 65536, &err), 0);
  nfc_disk_close (disk);
  assert_true (host_counted (&host, "connections") <= 3);
}

/* --------------------------------------------------------------------- */
/* Writing. */

static void
test_writes_once (void **state)
{
  static const struct {
    const char *value;
    int patience;
  } cases[] = { { "drop 2 3", 0 },       { "half 2 3", 0 },
                { "unanswered 2 3", 0 }, { "offset 2 1", 0 },
                { "io 2 1", 0 },         { "stall 2 3", 300 } };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct nfc_settings settings = host_settings (i % 2);
    struct vmdk_error err = { 0 };
    struct nfc_disk *disk;

    host_clear (&host);
    if (cases[i].patience)
      settings.times.write = cases[i].patience;
    disk = must_open (&settings, true);
    host_set (&host, "io", cases[i].value);
    for (size_t k = 0; k < SIZE - 999; k++)
      contents[333 + k] = (uint8_t) (k * (i + 3) ^ k >> 9);
    if (nfc_disk_write (disk, contents + 333, SIZE - 999, 333, &err) == -1)
      fprintf (stderr, "%s: %s\n", cases[i].value, err.text);
    assert_int_equal (err.kind, ERR_NONE);
    assert_contents ();
    assert_int_equal (read_and_compare (disk, 0, SIZE, &err), 0);
    nfc_disk_close (disk);
  }
}

static void
test_writes_always (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct vmdk_error err = { 0 };
  struct nfc_disk *disk = must_open (&settings, true);

  (void) state;
  host_set (&host, "io", "io 1 1000000");
  assert_int_equal (nfc_disk_write (disk, contents, 4096, 0, &err), -1);
  assert_int_equal (err.errnum, EIO);
  host_set (&host, "io", "drop 1 1000000");
  assert_int_equal (nfc_disk_write (disk, contents, 4096, 0, &err), -1);
  assert_int_equal (err.errnum, EIO);
  host_clear (&host);
  assert_int_equal (nfc_disk_write (disk, contents, 4096, 0, &err), 0);
  nfc_disk_close (disk);
  assert_contents ();
}

/* --------------------------------------------------------------------- */
/* Opening. */

static void
test_open_refused (void **state)
{
  static const struct {
    const char *name, *value;
    enum nfc_reason reason;
    enum vmdk_error_kind kind;
    const char *text;
  } cases[] = {
    { "greeting", "SSH-2.0-OpenSSH", NFC_HANDSHAKE, ERR_SYSTEM,
      "the host greets with \"SSH-2.0-OpenSSH\": is this port 902 of an ESXi "
      "host?" },
    { "greeting", "220 VMware Authentication Daemon: NFC", NFC_NO_TLS,
      ERR_UNSUPPORTED, "the host's daemon has no TLS" },
    { "nfcssl", "0", NFC_NO_TLS, ERR_UNSUPPORTED,
      "the host serves no disks within TLS (nbdssl)" },
    { "digest",
      "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:"
      "77:88:99:AA:BB:CC:DD:EE:FF",
      NFC_UNTRUSTED, ERR_DENIED,
      "the host says that it has another certificate" },
    { "digest", "none", NFC_NONSENSE, ERR_SYSTEM,
      "the host answered \"200 none\" to THUMBPRINT_SHA2" },
    { "authd", "530 Please login with USER and PASS", NFC_TURNED_AWAY,
      ERR_DENIED, "the host refused PROXY: 530 Please login" },
    { "authd", "200 Connect ha-nfc", NFC_NO_TLS, ERR_SYSTEM,
      "the host offers \"ha-nfc\", which would carry the disk in clear" },
    { "authd", "200 Go away", NFC_NO_TLS, ERR_SYSTEM,
      "the host answered \"Go away\" to PROXY" },
    { "authd", "what", NFC_NONSENSE, ERR_SYSTEM,
      "the host answered \"what\" to PROXY" },
    { "second_certificate", "1", NFC_UNTRUSTED, ERR_DENIED,
      "the second TLS: the server's certificate has the thumbprint" },
    { "version", "2", NFC_TOO_OLD, ERR_UNSUPPORTED,
      "the host speaks version 2 of the protocol, and 3 is the oldest" },
    { "handshake", "error", NFC_NO_SESSION, ERR_SYSTEM,
      "the host refused the session: Failed to allocate. (type 1, code 5)" },
    { "open", "permission", NFC_NOT_ALLOWED, ERR_DENIED,
      "the host refuses: permission check failed" },
    { "open", "multiwriter", NFC_IN_USE, ERR_LOCKED,
      "a running virtual machine uses the disk; power it off, or take a "
      "snapshot" },
    { "open", "lock", NFC_LOCKED, ERR_LOCKED,
      "another reader or writer has the disk open" },
    { "open", "io", NFC_IO_ERROR, ERR_SYSTEM,
      "the host refuses: read failed (code 13)" },
    { "capacity", "513", NFC_NONSENSE, ERR_SYSTEM,
      "the host says that the disk has 513 bytes" },
    { "capacity", "18446744073709551104", NFC_NONSENSE, ERR_SYSTEM,
      "the host says that the disk has 18446744073709551104 bytes" },
    { "refuse", "1000", NFC_LOST, ERR_SYSTEM, "waiting for a greeting" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct nfc_settings settings = host_settings (true);
    enum nfc_reason reason;
    struct vmdk_error err;

    host_clear (&host);
    host_set (&host, cases[i].name, cases[i].value);
    assert_null (host_open (&host, &settings, false, &reason, &err));
    if (!strstr (err.text, cases[i].text))
      fprintf (stderr, "%s\n", err.text);
    assert_non_null (strstr (err.text, cases[i].text));
    assert_int_equal (reason, cases[i].reason);
    assert_int_equal (err.kind, cases[i].kind);
    assert_memory_equal (err.text, HOST_PATH ": ", strlen (HOST_PATH) + 2);
    assert_null (strstr (err.text, "ticket-"));
  }
}

static void
test_certificate_refused (void **state)
{
  struct nfc_settings settings = host_settings (true);
  enum nfc_reason reason;
  struct vmdk_error err;
  char text[512];

  (void) state;
  host.thumbprint =
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33";
  assert_null (host_open (&host, &settings, false, &reason, &err));
  assert_int_equal (reason, NFC_UNTRUSTED);
  assert_int_equal (err.kind, ERR_DENIED);
  snprintf (text, sizeof text,
            HOST_PATH ": the server's certificate has the thumbprint %s, not "
                      "%s: this is another server, or its certificate was "
                      "renewed",
            host.sha1, host.thumbprint);
  assert_string_equal (err.text, text);
  /* the ticket was not shown */
  assert_int_equal (host_counted (&host, "spent"), 0);
  assert_int_equal (host_counted (&host, "connections"), 1);

  host.thumbprint = host.sha256;
  nfc_disk_close (must_open (&settings, false));
}

static void
test_ticket_refused (void **state)
{
  struct nfc_settings settings = host_settings (true);
  enum nfc_reason reason;
  struct vmdk_error err;

  (void) state;
  host.ticket = "stolen-";
  assert_null (host_open (&host, &settings, false, &reason, &err));
  assert_int_equal (reason, NFC_TURNED_AWAY);
  assert_int_equal (host_counted (&host, "connections"), 2);
  assert_true (nfc_reason_try_next (reason));

  host.ticket = "ticket-ro-";
  assert_null (host_open (&host, &settings, true, &reason, &err));
  assert_int_equal (reason, NFC_NOT_ALLOWED);
  assert_int_equal (err.kind, ERR_READ_ONLY);
  assert_false (nfc_reason_try_next (reason));

  host.ticket = "ticket-\r\nPROXY nfc-";
  assert_null (host_open (&host, &settings, false, &reason, &err));
  assert_string_equal (err.text,
                       HOST_PATH ": the server gave a ticket that is no word");
}

/* What hosts of some versions do: we find out, and serve the disk. */
static void
test_hosts_of_all_ages (void **state)
{
  static const char *const cases[][2] = {
    { "sha256", "0" },     { "tag", "close" },
    { "tag", "complete" }, { "session", "refuse" },
    { "early36", "1" },    { "version", "7" },
    { "split", "7" },      { "open", "lock 3" },
    { "refuse", "2" },     { "authd", "200 Connect vpxa-nfcssl" },
    { "end", "silent" },   { "handshake", "newer" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct nfc_settings settings = host_settings (true);
    struct vmdk_error err;
    struct nfc_disk *disk;

    host_clear (&host);
    host_set (&host, cases[i][0], cases[i][1]);
    disk = must_open (&settings, false);
    assert_int_equal (read_and_compare (disk, 77, 200000, &err), 0);
    nfc_disk_close (disk);
    assert_true (host_is_content (&host));
  }
}

/* Whoever waits for a disk does not wait for long. */
static void
test_mute_host (void **state)
{
  struct nfc_settings settings = host_settings (true);
  enum nfc_reason reason;
  struct vmdk_error err;

  (void) state;
  settings.times.step = 200;
  host_set (&host, "mute", "1");
  assert_null (host_open (&host, &settings, false, &reason, &err));
  assert_int_equal (reason, NFC_LOST);
  assert_non_null (
    strstr (err.text, "waiting for a greeting: the host does not answer"));
  assert_int_equal (host_counted (&host, "connections"), 2);
}

static void
test_no_host (void **state)
{
  struct nfc_settings settings = host_settings (true);
  enum nfc_reason reason;
  struct vmdk_error err;

  (void) state;
  settings.port = 1;
  assert_null (host_open (&host, &settings, false, &reason, &err));
  assert_int_equal (reason, NFC_UNREACHABLE);
  assert_string_equal (err.text, HOST_PATH
                       ": connecting to 127.0.0.1, port 1: Connection "
                       "refused");
}

/* --------------------------------------------------------------------- */
/* Losing and regaining connections. */

/* The first connection ends after so many bytes, wherever that is. */
static void
test_cuts (void **state)
{
  const char *slow = getenv ("VMDKIT_SLOW");
  const int step = slow ? 1 : 61;

  (void) state;
  for (int cut = 0; cut < 1500; cut += step) {
    struct nfc_settings settings = host_settings (cut % 2);
    struct vmdk_error err;
    struct nfc_disk *disk;
    char value[16];

    host_clear (&host);
    snprintf (value, sizeof value, "%d", cut);
    host_set (&host, "cuts", "1");
    host_set (&host, "cut", value);
    disk = must_open (&settings, false);
    assert_int_equal (read_and_compare (disk, 77, 100000, &err), 0);
    nfc_disk_close (disk);
  }
}

/* Each connection carries a little, and together they carry all. */
static void
test_many_losses (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct vmdk_error err = { 0 };
  struct nfc_disk *disk;

  (void) state;
  settings.compression = NFC_PLAIN;
  host_set (&host, "cut", "1200000");
  disk = must_open (&settings, false);
  assert_int_equal (read_and_compare (disk, 0, SIZE, &err), 0);
  nfc_disk_close (disk);
  assert_true (host_counted (&host, "connections") >= 5);
}

/* A host that does not come back: an error within the budget, for all that
 * follows too.
 */
static void
test_gone (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct vmdk_error err = { 0 };
  struct nfc_disk *disk = must_open (&settings, false);

  (void) state;
  host_set (&host, "refuse", "1000000");
  host_set (&host, "io", "drop 1 1000000");
  assert_int_equal (read_and_compare (disk, 0, MIB, &err), -1);
  assert_int_equal (err.errnum, EIO);
  assert_int_equal (read_and_compare (disk, 0, MIB, &err), -1);
  assert_int_equal (err.errnum, EIO);
  nfc_disk_close (disk);
}

static void
test_tickets_fail_for_a_while (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct vmdk_error err = { 0 };
  struct nfc_disk *disk = must_open (&settings, false);

  (void) state;
  host_set (&host, "io", "drop 1 1");
  host.ticket_failures = 3;
  assert_int_equal (read_and_compare (disk, 0, MIB, &err), 0);
  nfc_disk_close (disk);
}

/* Another disk under the same name. */
static void
test_changed (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct vmdk_error err = { 0 };
  struct nfc_disk *disk = must_open (&settings, false);

  (void) state;
  host_set (&host, "capacity", "1048576");
  host_set (&host, "io", "drop 1 1");
  assert_int_equal (read_and_compare (disk, 0, MIB, &err), -1);
  assert_string_equal (err.text,
                       HOST_PATH ": the disk had 8388608 bytes and has "
                                 "1048576 after connecting again");
  nfc_disk_close (disk);
}

static void *
cancel (void *disk)
{
  usleep (100000);
  nfc_disk_cancel (disk);
  return NULL;
}

/* Who closes does not wait for a host that is gone. */
static void
test_cancel (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct vmdk_error err = { 0 };
  struct nfc_disk *disk = must_open (&settings, false);
  pthread_t thread;

  (void) state;
  settings.times.read = 600000;
  host_set (&host, "io", "stall 1 1000000");
  assert_int_equal (pthread_create (&thread, NULL, cancel, disk), 0);
  assert_int_equal (read_and_compare (disk, 0, MIB, &err), -1);
  assert_string_equal (err.text, HOST_PATH ": the disk is being closed");
  pthread_join (thread, NULL);
  nfc_disk_close (disk);
}

/* An idle connection is kept. */
static void
test_idle (void **state)
{
  struct nfc_settings settings = host_settings (true);
  struct nfc_disk *disk;

  (void) state;
  settings.times.idle = 20;
  disk = must_open (&settings, false);
  for (int i = 0; i < 500 && host_counted (&host, "reads") < 3; i++)
    usleep (10000);
  assert_true (host_counted (&host, "reads") >= 3);
  nfc_disk_close (disk);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup (test_once, clear),
    cmocka_unit_test_setup (test_always, clear),
    cmocka_unit_test_setup (test_memory, clear),
    cmocka_unit_test_setup (test_memory_in_sequence, clear),
    cmocka_unit_test_setup (test_writes_once, clear),
    cmocka_unit_test_setup (test_writes_always, clear),
    cmocka_unit_test_setup (test_open_refused, clear),
    cmocka_unit_test_setup (test_certificate_refused, clear),
    cmocka_unit_test_setup (test_ticket_refused, clear),
    cmocka_unit_test_setup (test_hosts_of_all_ages, clear),
    cmocka_unit_test_setup (test_mute_host, clear),
    cmocka_unit_test_setup (test_no_host, clear),
    cmocka_unit_test_setup (test_cuts, clear),
    cmocka_unit_test_setup (test_many_losses, clear),
    cmocka_unit_test_setup (test_gone, clear),
    cmocka_unit_test_setup (test_tickets_fail_for_a_while, clear),
    cmocka_unit_test_setup (test_changed, clear),
    cmocka_unit_test_setup (test_cancel, clear),
    cmocka_unit_test_setup (test_idle, clear),
  };

  if (!host_possible ())
    return HOST_SKIP;
  return cmocka_run_group_tests (tests, setup, teardown);
}
