/* SPDX-License-Identifier: BSD-3-Clause */

/* A machine's disks by the first transport that can: which are refused, which
 * transport is tried when, and how long the machine stays protected.
 */

#include <config.h>

#include <errno.h>
#include <sys/stat.h>

#include "nfc-host.h"
#include "remote-manager.h"

#include "fake-helper.h"

#define SIZE (1 << 20)
#define WEB "[ds1] web/web-000001.vmdk" /* what is written now */
#define BASE "[ds1] web/web.vmdk"
#define DATA "[ds [old] 2] web/data.vmdk" /* independent */

static struct host host;
static struct fake fake;
static char heard[4096];

static void
hear (void *opaque, enum log_topic topic, const char *text)
{
  (void) opaque;
  if (topic != LOG_WARNING || strlen (heard) + strlen (text) > 4000)
    return;
  strcat (heard, text);
  strcat (heard, "\n");
}

static void
put_file (const char *datastore, const char *name)
{
  char path[256];
  FILE *file;

  snprintf (path, sizeof path, "%s/ds/%s/web", fake.folder, datastore);
  mkdir (path, 0777);
  snprintf (path, sizeof path, "%s/ds/%s/web/%s", fake.folder, datastore,
            name);
  file = fopen (path, "w");
  assert_non_null (file);
  fprintf (file, "text of %s", name);
  fclose (file);
}

static int
setup (void **state)
{
  char nfc[128];

  (void) state;
  assert_int_equal (host_start (&host, "x", 1, SIZE), 0);
  snprintf (nfc, sizeof nfc, "127.0.0.1:%u:%s", host.port, host.sha1);
  fake = fake_start ("--nfc", nfc, NULL);
  put_file ("ds1", "web-000001.vmdk");
  put_file ("ds1", "web.vmdk");
  put_file ("ds [old] 2", "data.vmdk");
  fake_control (&fake, "{\"switch\": {\"autoFinish\": true, \"sameSource\": "
                       "\"fault\"}}");
  heard[0] = '\0';
  return 0;
}

/* Whatever a test did, nothing of it is left. */
static int
teardown (void **state)
{
  (void) state;
  assert_true (fake_has (&fake, "\"sessions\": 0"));
  assert_true (fake_has (&fake, "\"disabled\": []"));
  assert_true (fake_has (&fake, "\"snapshots\": {}"));
  assert_int_equal (fake_count (&fake, "disable"),
                    fake_count (&fake, "enable"));
  fake_stop (&fake);
  host_stop (&host);
  return 0;
}

static struct remote_settings
settings_for (const char *transports)
{
  return (struct remote_settings){
    .server = "127.0.0.1",
    .port = fake.port,
    .user = "user",
    .password = "pass",
    .thumbprint = fake.sha1,
    .vm = "moref=vm-57",
    .transports = transports,
    .prepare = REMOTE_REQUIRE,
    .log.sink = hear,
  };
}

static struct remote *
remote_of (const struct remote_settings *settings)
{
  struct vmdk_error err = { 0 };
  struct remote *remote = remote_new (settings, &err);

  if (!remote)
    fail_msg ("%s", err.text);
  return remote;
}

static struct remote_disk *
must_open (struct remote *remote, const char *path, const char *transport)
{
  struct vmdk_error err = { 0 };
  struct remote_disk *disk = remote_disk_open (remote, path, false, &err);

  if (!disk)
    fail_msg ("%s", err.text);
  assert_string_equal (disk->transport, transport);
  return disk;
}

static void
assert_refused (struct remote *remote, const char *path, bool writable,
                enum vmdk_error_kind kind, const char *text)
{
  struct vmdk_error err = { 0 };

  assert_null (remote_disk_open (remote, path, writable, &err));
  if (!strstr (err.text, text) || err.kind != kind)
    fail_msg ("%d: %s", (int) err.kind, err.text);
}

static void
assert_pairs (size_t begun, size_t ended)
{
  assert_int_equal (fake_count (&fake, "disable"), begun);
  assert_int_equal (fake_count (&fake, "enable"), ended);
}

/* -- Which disk --------------------------------------------------------- */

#define POWER(power) "{\"vm\": {\"id\": \"vm-57\", \"power\": \"" power "\"}}"
#define KEY "{\"vm\": {\"id\": \"vm-57\", \"keyId\": \"k\"}}"

static void
refused (void **state)
{
  static const struct {
    const char *control, *transports, *path, *snapshot, *since;
    bool writable, single_link;
    enum vmdk_error_kind kind;
    const char *text;
  } cases[] = {
    { .path = "[ds1] web/other.vmdk",
      .kind = ERR_MISSING,
      .text = "web/other.vmdk" },
    { .control = POWER ("poweredOn"),
      .path = WEB,
      .kind = ERR_LOCKED,
      .text = "the machine web is running and writes to this disk: pass "
              "snapshot=temporary" },
    { .control = POWER ("suspended"),
      .path = WEB,
      .kind = ERR_LOCKED,
      .text = "writes to this disk" },
    { .path = BASE,
      .writable = true,
      .kind = ERR_READ_ONLY,
      .text = "other disks of the machine web are based on this one" },
    { .transports = "https",
      .path = WEB,
      .writable = true,
      .kind = ERR_READ_ONLY,
      .text = "cannot be written over HTTPS" },
    { .snapshot = "temporary",
      .path = WEB,
      .writable = true,
      .kind = ERR_READ_ONLY,
      .text = "a snapshot is only read" },
    { .snapshot = "temporary",
      .path = DATA,
      .kind = ERR_UNSUPPORTED,
      .text = "is independent of snapshots" },
    { .snapshot = "snapshot-999",
      .path = WEB,
      .kind = ERR_MISSING,
      .text = "snapshot snapshot-999" },
    { .since = "*",
      .path = WEB,
      .writable = true,
      .kind = ERR_READ_ONLY,
      .text = "changed-since= is for reading" },
    { .transports = "https",
      .since = "*",
      .path = BASE,
      .kind = ERR_UNSUPPORTED,
      .text = "others are based on [ds1] web/web.vmdk" },
    { .transports = "nbdssl",
      .path = WEB,
      .single_link = true,
      .kind = ERR_UNSUPPORTED,
      .text = "single-link=true needs transports=https" },
    { .control = KEY,
      .transports = "https",
      .path = WEB,
      .kind = ERR_UNSUPPORTED,
      .text = "the machine is encrypted" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct remote_settings settings = settings_for (cases[i].transports);
    struct remote *remote;

    fake_control (&fake, POWER ("poweredOff"));
    if (cases[i].control)
      fake_control (&fake, cases[i].control);
    settings.snapshot = cases[i].snapshot;
    settings.changed_since = cases[i].since;
    settings.single_link = cases[i].single_link;
    remote = remote_of (&settings);
    assert_refused (remote, cases[i].path, cases[i].writable, cases[i].kind,
                    cases[i].text);
    remote_free (remote);
    assert_pairs (i + 1, i + 1);
  }
}

/* What a running machine does not write to can be read. */
static void
below_the_running (void **state)
{
  struct remote_settings settings = settings_for ("https");
  struct remote *remote = remote_of (&settings);
  struct remote_disk *disk;
  struct vmdk_error err;
  char text[64] = "";

  (void) state;
  fake_control (&fake, POWER ("poweredOn"));
  disk = must_open (remote, BASE, "https");
  {
    CLEANUP_MEDIA struct media *media =
      store_open (disk->store, disk->name, disk->flags, &err);

    assert_non_null (media);
    assert_int_equal (media->size, strlen ("text of web.vmdk"));
    assert_int_equal (media_pread (media, text, media->size, 0, &err), 0);
    assert_string_equal (text, "text of web.vmdk");
  }
  assert_int_equal (disk->nr_search, 0);
  assert_false (disk->keep_cid);
  remote_disk_close (disk);
  /* parents are looked for where the machine has them */
  fake_control (&fake, POWER ("poweredOff"));
  disk = must_open (remote, WEB, "https");
  assert_int_equal (disk->nr_search, 1);
  assert_string_equal (disk->search[0], "[ds1] web");
  remote_disk_close (disk);
  remote_free (remote);
}

/* -- Which transport ---------------------------------------------------- */

static void
first_that_can (void **state)
{
  struct remote_settings settings = settings_for (NULL);
  struct remote *remote = remote_of (&settings);
  struct remote_disk *disk = must_open (remote, WEB, "nbdssl");
  size_t nr_tickets;

  (void) state;
  assert_true (disk->keep_cid);
  remote_disk_close (disk);

  /* no ticket: files can be had all the same, the next time at once */
  fake_control (&fake, "{\"fault\": {\"method\": \"NfcGetVmFiles\", \"do\": "
                       "\"fault\", \"type\": \"NoPermission\", "
                       "\"count\": 100}}");
  remote_disk_close (must_open (remote, WEB, "nbdssl")); /* for one disk */
  fake_control (&fake,
                "{\"fault\": {\"method\": \"NfcRandomAccessOpenReadonly\", "
                "\"do\": \"fault\", \"type\": \"NoPermission\", "
                "\"count\": 100}}");
  heard[0] = '\0';
  remote_disk_close (must_open (remote, WEB, "https"));
  assert_non_null (strstr (heard, "not by nbdssl: "));
  nr_tickets = fake_count (&fake, "ticket");
  fake_control (&fake, "{\"forget\": 0}");
  remote_disk_close (must_open (remote, WEB, "https"));
  assert_int_equal (fake_count (&fake, "ticket"), nr_tickets);

  /* but only port 902 can write */
  {
    struct vmdk_error err;

    disk = remote_disk_open (remote, WEB, true, &err);
    assert_non_null (disk);
    assert_string_equal (disk->transport, "nbdssl");
    remote_disk_close (disk);
  }
  remote_free (remote);
}

/* Nobody else is asked where an impostor answers. */
static void
impostor (void **state)
{
  struct remote_settings settings = settings_for (NULL);
  struct fake other;
  struct remote *remote;
  char nfc[256];

  (void) state;
  snprintf (nfc, sizeof nfc, "127.0.0.1:%u:%s", host.port, fake.sha1);
  other = fake_start ("--nfc", nfc, NULL);
  settings.port = other.port;
  settings.thumbprint = other.sha1;
  remote = remote_of (&settings);
  assert_refused (remote, WEB, false, ERR_DENIED, "thumbprint");
  remote_free (remote);
  assert_int_equal (fake_count (&other, "ticket"), 1);
  fake_stop (&other);
}

static void
all_failures (void **state)
{
  struct remote_settings settings = settings_for ("nbd:https");
  struct remote *remote = remote_of (&settings);

  (void) state;
  fake_control (&fake, KEY);
  fake_control (&fake, "{\"fault\": {\"method\": \"NfcGetVmFiles\", \"do\": "
                       "\"fault\", \"type\": \"NotSupported\"}}");
  assert_refused (remote, WEB, false, ERR_UNSUPPORTED, WEB ": nbd: ");
  fake_control (&fake, "{\"fault\": {\"method\": \"NfcGetVmFiles\", \"do\": "
                       "\"fault\", \"type\": \"NotSupported\"}}");
  assert_refused (remote, WEB, false, ERR_UNSUPPORTED,
                  "; https: the machine is encrypted");
  remote_free (remote);
}

/* -- How long ----------------------------------------------------------- */

/* From the first open to the last close, by whatever name. */
static void
protection (void **state)
{
  struct remote_settings settings = settings_for ("https");
  struct remote *remote = remote_of (&settings);
  struct vmdk_error err;
  struct remote_disk *a, *b;

  (void) state;
  assert_pairs (0, 0);
  a = must_open (remote, WEB, "https");
  b = must_open (remote, DATA, "https");
  remote_disk_close (a);
  assert_refused (remote, "[ds1] no", false, ERR_MISSING, "[ds1] no");
  assert_pairs (1, 0);
  remote_disk_close (b);
  assert_pairs (1, 1);
  assert_int_equal (remote_hold (remote, &err), 0);
  remote_disk_close (must_open (remote, WEB, "https"));
  assert_pairs (2, 1);
  remote_release (remote);
  assert_pairs (2, 2);
  assert_int_equal (fake_count (&fake, "login"), 1);
  remote_free (remote);
  assert_string_equal (heard, "");
}

/* What was told of a machine stays right until the end. */
static void
kept (void **state)
{
  struct remote_settings settings = settings_for ("https");
  struct remote *remote = remote_of (&settings);
  CLEANUP_REMOTE_ABOUT struct remote_about about = { 0 };
  struct vmdk_error err;

  (void) state;
  assert_int_equal (remote_describe (remote, WEB, &about, &err), 0);
  remote_disk_close (must_open (remote, WEB, "https"));
  assert_pairs (1, 0);
  assert_string_equal (about.vm, "web");
  assert_string_equal (about.files[0].file, WEB);
  remote_end (remote);
  assert_pairs (1, 1);
  remote_disk_close (must_open (remote, WEB, "https"));
  assert_pairs (2, 2);
  remote_free (remote);
}

static void
temporary_snapshot (void **state)
{
  struct remote_settings settings = settings_for ("nbdssl");
  struct remote *remote;

  (void) state;
  settings.snapshot = "temporary";
  remote = remote_of (&settings);
  remote_disk_close (must_open (remote, WEB, "nbdssl"));
  remote_disk_close (must_open (remote, BASE, "nbdssl"));
  assert_pairs (1, 0);
  assert_int_equal (fake_count (&fake, "snapshot-created"), 1);
  assert_int_equal (fake_count (&fake, "snapshot-removed"), 0);
  remote_free (remote);
  fake_assert_order (&fake, "disable", "snapshot-created");
  fake_assert_order (&fake, "snapshot-removed", "enable");
}

#define NO_ENABLE(count)                                           \
  "{\"fault\": {\"method\": \"EnableMethods\", \"do\": \"fault\"," \
  " \"type\": \"NoPermission\", \"count\": " count "}}"

/* The end tries again what the last close could not, and logs in for it. */
static void
left (void **state)
{
  struct remote_settings settings = settings_for ("https");
  struct remote *remote = remote_of (&settings);
  const char *second;

  (void) state;
  fake_control (&fake, NO_ENABLE ("1"));
  remote_disk_close (must_open (remote, WEB, "https"));
  assert_pairs (1, 0);
  assert_non_null (strstr (heard, "vmdkit access release moref=vm-57"));
  remote_free (remote);
  assert_pairs (1, 1);

  heard[0] = '\0';
  remote = remote_of (&settings);
  fake_control (&fake, NO_ENABLE ("2"));
  remote_disk_close (must_open (remote, WEB, "https"));
  /* what cannot begin ends the session */
  fake_control (&fake, "{\"fault\": {\"method\": \"DisableMethods\", \"do\": "
                       "\"fault\", \"type\": \"NoPermission\"}}");
  assert_refused (remote, WEB, false, ERR_DENIED, "Global.DisableMethods");
  second = strstr (heard, "access release");
  assert_non_null (second);
  assert_non_null (strstr (second + 1, "access release"));
  assert_true (fake_has (&fake, "\"sessions\": 0"));
  remote_free (remote);
  assert_pairs (2, 2);
}

/* -- The end ------------------------------------------------------------ */

static void
abandoned (void **state)
{
  struct remote_settings settings = settings_for ("nbdssl");
  struct remote *remote;
  struct remote_disk *disk;

  (void) state;
  settings.snapshot = "temporary";
  remote = remote_of (&settings);
  disk = must_open (remote, WEB, "nbdssl");
  remote_abandon (remote);
  assert_int_equal (fake_count (&fake, "snapshot-removed"), 1);
  assert_pairs (1, 1);
  assert_refused (remote, WEB, false, ERR_SYSTEM, "the server is ending");
  remote_disk_close (disk);
  remote_free (remote);
  assert_pairs (1, 1);
}

static bool
stop_third_time (void *opaque)
{
  return ++*(unsigned *) opaque >= 3;
}

/* Waiting for another task of the machine ends when that is wanted, or this
 * takes ten minutes.
 */
static void
stopped (void **state)
{
  struct remote_settings settings = settings_for ("nbdssl");
  unsigned asked = 0;
  struct remote *remote;

  (void) state;
  settings.snapshot = "temporary";
  settings.stopped = stop_third_time;
  settings.opaque = &asked;
  fake_control (&fake, "{\"fault\": {\"method\": \"CreateSnapshot_Task\", "
                       "\"do\": \"fault\", \"type\": \"TaskInProgress\", "
                       "\"count\": 1000}}");
  remote = remote_of (&settings);
  assert_refused (remote, WEB, false, ERR_LOCKED, "a temporary snapshot: ");
  assert_pairs (1, 1);
  remote_free (remote);
}

#define each_test(function) \
  cmocka_unit_test_setup_teardown (function, setup, teardown)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    each_test (refused),        each_test (below_the_running),
    each_test (first_that_can), each_test (impostor),
    each_test (all_failures),   each_test (protection),
    each_test (kept),           each_test (temporary_snapshot),
    each_test (left),           each_test (abandoned),
    each_test (stopped),
  };

  fake_require ();
  return cmocka_run_group_tests (tests, NULL, NULL);
}
