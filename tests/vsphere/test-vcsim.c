/* SPDX-License-Identifier: BSD-3-Clause */

/* The same questions to a simulator that was not written for this project,
 * as a vCenter and as a host.  VMDKIT_VCSIM names its program (vcsim of
 * govmomi); without it the test is skipped.
 */

#include <config.h>

#include <errno.h>

#include "access.h"
#include "changed.h"
#include "disk-manager.h"
#include "fake-helper.h"
#include "inventory.h"
#include "snapshot.h"

struct simulator {
  const char *option, *path, *name, *dc_path;
  pid_t pid;
  char folder[64], certificate[80];
  unsigned port;
  struct tls_trust trust;
  struct session *session;
};

static struct simulator simulators[] = {
  { .option = "-esx=false",
    .path = "DC0/vm/DC0_H0_VM0",
    .name = "DC0_H0_VM1",
    .dc_path = "DC0" },
  { .option = "-esx",
    .path = "ha-datacenter/vm/ha-host_VM0",
    .name = "ha-host_VM1",
    .dc_path = "ha-datacenter" },
};

static void
make_certificate (struct simulator *s)
{
  char command[512];

  snprintf (s->certificate, sizeof s->certificate, "%s/cert.pem", s->folder);
  snprintf (command, sizeof command,
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout %s/key.pem "
            "-out %s -days 30 -subj /CN=vcsim -addext "
            "subjectAltName=IP:127.0.0.1 2>/dev/null",
            s->folder, s->certificate);
  assert_int_equal (system (command), 0);
  s->trust.ca_file = s->certificate;
}

static void
run_simulator (const struct simulator *s, int out)
{
  char key[80];

  snprintf (key, sizeof key, "%s/key.pem", s->folder);
  setenv ("TMPDIR", s->folder, 1);
  dup2 (out, 1);
  execl (getenv ("VMDKIT_VCSIM"), "vcsim", s->option, "-l", "127.0.0.1:0",
         "-username", "us&r", "-password", "p<a>ss", "-tlscert",
         s->certificate, "-tlskey", key, NULL);
  _exit (127);
}

/* It prints "export GOVC_URL=https://...:PORT/sdk ..." when it is ready. */
static void
read_port (struct simulator *s, int in)
{
  FILE *lines = fdopen (in, "r");
  char line[512];
  const char *address;

  assert_non_null (lines);
  assert_non_null (fgets (line, sizeof line, lines));
  address = strstr (line, "127.0.0.1:");
  assert_non_null (address);
  assert_int_equal (sscanf (address, "127.0.0.1:%u", &s->port), 1);
  fclose (lines);
}

static struct session_settings
settings_for (const struct simulator *s)
{
  return (struct session_settings){
    .soap = { .host = "127.0.0.1",
              .port = s->port,
              .trust = &s->trust,
              .retry_ms = 1 },
    .user = "us&r",
    .password = "p<a>ss",
    .poll_ms = 10,
  };
}

static void
start_one (struct simulator *s)
{
  struct session_settings settings;
  struct vmdk_error err = { 0 };
  int pipes[2];

  strcpy (s->folder, "/tmp/vmdkit-vcsim-XXXXXX");
  assert_non_null (mkdtemp (s->folder));
  make_certificate (s);
  assert_int_equal (pipe (pipes), 0);
  s->pid = fork ();
  assert_true (s->pid >= 0);
  if (s->pid == 0)
    run_simulator (s, pipes[1]);
  close (pipes[1]);
  read_port (s, pipes[0]);
  settings = settings_for (s);
  s->session = session_open (&settings, &err);
  if (!s->session)
    fail_msg ("%s", err.text);
}

static int
start (void **state)
{
  (void) state;
  start_one (&simulators[0]);
  start_one (&simulators[1]);
  return 0;
}

static int
end (void **state)
{
  (void) state;
  for (size_t i = 0; i < 2; i++) {
    struct simulator *s = &simulators[i];
    char command[128];
    int status;

    session_close (s->session);
    kill (s->pid, SIGTERM);
    waitpid (s->pid, &status, 0);
    snprintf (command, sizeof command, "rm -rf %s", s->folder);
    assert_int_equal (system (command), 0);
  }
  return 0;
}

#define for_each_simulator(s) \
  for (struct simulator *s = simulators; s < simulators + 2; s++)

#define must(s, call)                             \
  do {                                            \
    struct vmdk_error err = { 0 };                \
    if ((call) == -1)                             \
      fail_msg ("%s: %s", (s)->option, err.text); \
  } while (0)

static void
assert_fails (int result, const struct vmdk_error *err, const char *text)
{
  assert_int_equal (result, -1);
  if (!strstr (err->text, text))
    fail_msg ("%s", err->text);
}

static void
test_about (void **state)
{
  (void) state;
  assert_true (session_about (simulators[0].session)->is_vcenter);
  assert_false (session_about (simulators[1].session)->is_vcenter);
  for_each_simulator (s)
  {
    struct session_settings settings = settings_for (s);
    struct vmdk_error err = { 0 };
    struct session *other;

    settings.password = "wrong";
    assert_null (session_open (&settings, &err));
    assert_fails (-1, &err, "user name or password are refused");
    settings = settings_for (s);
    other = session_open (&settings, &err);
    assert_non_null (other);
    session_close (other);
  }
}

static int
find (struct simulator *s, const char *spec, struct vim_ref *ref,
      struct vmdk_error *err)
{
  return vm_find (s->session, spec, ref, err);
}

static void
test_find (void **state)
{
  (void) state;
  for_each_simulator (s)
  {
    struct vim_ref by_path, again;
    CLEANUP_VM struct vm vm = { 0 };
    CLEANUP_PLACE struct place place = { 0 };
    struct vmdk_error wrong = { 0 };
    size_t link;

    must (s, find (s, s->path, &by_path, &err));
    must (s, find (s, s->name, &again, &err));
    assert_string_not_equal (again.id, by_path.id);
    must (s, vm_read (s->session, &by_path, &vm, &err));
    must (s, find (s, vm.name, &again, &err));
    assert_true (vim_ref_same (&again, &by_path));
    must (s, find (s, vm.uuid, &again, &err));
    assert_true (vim_ref_same (&again, &by_path));
    must (s, find (s, vm.instance_uuid, &again, &err));
    assert_true (vim_ref_same (&again, &by_path));
    must (s, place_read (s->session, &by_path, &place, &err));
    assert_string_equal (place.path, s->path);
    assert_string_equal (place.dc_path, s->dc_path);

    assert_int_equal (vm.disks.len, 1);
    assert_non_null (
      disk_find (&vm.disks, vm.disks.ptr[0].links[0].file, &link, &wrong));
    assert_true (vm.disks.ptr[0].capacity > 0);
    assert_true (vm.running);

    assert_fails (find (s, "nobody", &again, &wrong), &wrong,
                  "there is no virtual machine");
    assert_fails (find (s, "a/b", &again, &wrong), &wrong,
                  "there is no virtual machine");
  }
}

/* The first call after the end of a session logs in again. */
static void
test_renewed (void **state)
{
  (void) state;
  for_each_simulator (s)
  {
    CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };
    CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
    struct vim_ref ref;

    soap_begin (&request, "Logout",
                session_service (s->session, SERVICE_SESSIONS));
    must (s, session_call (s->session, &request, &answer, &err));
    must (s, find (s, s->path, &ref, &err));
  }
}

static int
count (void *opaque, const struct snapshot *snapshot, struct vmdk_error *err)
{
  (void) snapshot;
  (void) err;
  ++*(unsigned *) opaque;
  return 0;
}

static void
test_snapshots (void **state)
{
  (void) state;
  for_each_simulator (s)
  {
    CLEANUP_FROZEN_DISKS struct frozen_disks frozen = { 0 };
    struct vim_ref vm, snapshot;
    unsigned nr_snapshots = 0;

    must (s, find (s, s->path, &vm, &err));
    must (s, snapshot_take (s->session, &vm, true, NULL, &snapshot, &err));
    assert_string_equal (snapshot.type, "VirtualMachineSnapshot");
    must (s, frozen_disks_read (s->session, &snapshot, &frozen, &err));
    assert_int_equal (frozen.disks.len, 1);
    must (s, snapshot_each (s->session, &vm, count, &nr_snapshots, &err));
    assert_int_equal (nr_snapshots, 1);
    must (s, snapshot_remove (s->session, &vm, &snapshot, NULL, &err));
    must (s, snapshot_remove (s->session, &vm, &snapshot, NULL, &err));
    must (s, snapshot_each (s->session, &vm, count, &nr_snapshots, &err));
    assert_int_equal (nr_snapshots, 1);
  }
}

static void
test_disks (void **state)
{
  const struct new_disk disk = { 1 << 20, "thin", "lsiLogic" };

  (void) state;
  for_each_simulator (s)
  {
    CLEANUP_DATASTORE_LIST struct datastore_list list = { 0 };
    CLEANUP_PLACE struct place place = { 0 };
    struct disk_manager manager = { .session = s->session };
    struct vmdk_error wrong = { 0 };
    char uuid[DISK_UUID_SIZE];

    must (s, datastore_list_read (s->session, &list, &err));
    assert_int_equal (list.len, 1);
    assert_string_equal (list.names[0], "LocalDS_0");
    must (s, place_read (s->session, &list.ptr[0].ref, &place, &err));
    manager.datacenter = place.datacenter;
    must (s, disk_manager_make_folder (&manager, "[LocalDS_0] a b/c", &err));
    must (s, disk_manager_create (&manager, "[LocalDS_0] a b/c/x.vmdk", &disk,
                                  &err));
    assert_fails (disk_manager_create (&manager, "[LocalDS_0] a b/c/x.vmdk",
                                       &disk, &wrong),
                  &wrong, "there is a file of that name");
    assert_int_equal (wrong.errnum, EEXIST);
    must (
      s, disk_manager_uuid (&manager, "[LocalDS_0] a b/c/x.vmdk", uuid, &err));
    assert_true (uuid[0]);
    must (s, disk_manager_move (&manager, "[LocalDS_0] a b/c/x.vmdk",
                                "[LocalDS_0] a b/y.vmdk", &err));
    assert_fails (
      disk_manager_delete (&manager, "[LocalDS_0] a b/c/x.vmdk", &wrong),
      &wrong, "no such file");
    must (s, disk_manager_delete (&manager, "[LocalDS_0] a b/y.vmdk", &err));
    assert_fails (
      disk_manager_extend (&manager, "[LocalDS_0] x.vmdk", 1 << 20, &wrong),
      &wrong, "the server cannot do this");
    assert_int_equal (wrong.kind, ERR_UNSUPPORTED);
  }
}

static int
no_area (void *opaque, uint64_t offset, uint64_t bytes, struct vmdk_error *err)
{
  (void) opaque;
  (void) offset;
  (void) bytes;
  (void) err;
  return -1;
}

/* Neither of them knows these calls: said, or gone on without. */
static void
test_unknown_calls (void **state)
{
  static const char *const why[] = { "the server does not know the request",
                                     "is a host, not a vCenter" };

  (void) state;
  for_each_simulator (s)
  {
    struct access_settings settings = ACCESS_DEFAULTS;
    struct changed_query query = { .key = 1, .capacity = 1, .change_id = "*" };
    struct vmdk_error wrong = { 0 };
    struct access *access;

    must (s, find (s, s->path, &query.vm, &err));
    must (s, access_prepare (s->session, &query.vm, &settings, &access, &err));
    assert_null (access);
    settings.policy = ACCESS_REQUIRE;
    assert_fails (
      access_prepare (s->session, &query.vm, &settings, &access, &wrong),
      &wrong, why[s - simulators]);
    assert_int_equal (wrong.kind, ERR_UNSUPPORTED);
    assert_fails (changed_areas (s->session, &query, no_area, NULL, &wrong),
                  &wrong, "the server cannot do this");
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_about),   cmocka_unit_test (test_find),
    cmocka_unit_test (test_renewed), cmocka_unit_test (test_snapshots),
    cmocka_unit_test (test_disks),   cmocka_unit_test (test_unknown_calls),
  };

  fake_require ();
  if (!getenv ("VMDKIT_VCSIM")) {
    fprintf (stderr, "skipped: VMDKIT_VCSIM is not set\n");
    return 77;
  }
  return cmocka_run_group_tests (tests, start, end);
}
