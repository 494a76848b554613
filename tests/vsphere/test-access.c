/* SPDX-License-Identifier: BSD-3-Clause */

/* PrepareForAccess and EndAccess: always paired, shared, retried, and what
 * happens where the server does not play along.
 */

#include <config.h>

#include <errno.h>

#include "access-parts.h"
#include "fake-helper.h"

static struct fake fake;
static struct session *session;
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

static struct session *
open_session (const struct fake *server)
{
  struct session_settings settings = fake_settings (server);
  struct vmdk_error err = { 0 };
  struct session *opened;

  settings.soap.log.sink = hear;
  opened = session_open (&settings, &err);
  if (!opened)
    fail_msg ("%s", err.text);
  return opened;
}

static int
start (void **state)
{
  (void) state;
  fake = fake_start (NULL);
  session = open_session (&fake);
  heard[0] = '\0';
  return 0;
}

static int
end (void **state)
{
  (void) state;
  session_close (session);
  assert_true (fake_has (&fake, "\"sessions\": 0"));
  fake_stop (&fake);
  return 0;
}

static const struct vim_ref web = { "VirtualMachine", "vm-57" };
static const struct vim_ref twin = { "VirtualMachine", "vm-58" };

static struct access_settings
settings_for (enum access_policy policy)
{
  struct access_settings settings = ACCESS_DEFAULTS;

  settings.policy = policy;
  settings.identity = "us";
  settings.pause_ms = 1;
  return settings;
}

static struct access *
prepare (const struct vim_ref *vm, const struct access_settings *settings)
{
  struct vmdk_error err = { 0 };
  struct access *access;

  if (access_prepare (session, vm, settings, &access, &err) == -1)
    fail_msg ("%s", err.text);
  return access;
}

static void
give_back (struct access *access)
{
  struct vmdk_error err = { 0 };

  if (access_end (access, &err) == -1)
    fail_msg ("%s", err.text);
}

static void
test_pair (void **state)
{
  const struct access_settings settings = settings_for (ACCESS_REQUIRE);
  struct access *access = prepare (&web, &settings);

  (void) state;
  assert_non_null (access);
  assert_true (fake_has (&fake, "\"vm\": \"vm-57\", \"source\": \"us\""));
  give_back (access);
  assert_true (fake_has (&fake, "\"disabled\": []"));
  assert_int_equal (fake_count (&fake, "disable"), 1);
  assert_int_equal (fake_count (&fake, "enable"), 1);
  fake_assert_order (&fake, "disable", "enable");
  assert_string_equal (heard, "");
}

/* One entry for all that is open in the process, also across sessions. */
static void
test_counted (void **state)
{
  const struct access_settings settings = settings_for (ACCESS_REQUIRE);
  struct session *other = open_session (&fake);
  struct access *first = prepare (&web, &settings), *second, *third;
  struct vmdk_error err;

  (void) state;
  assert_int_equal (access_prepare (other, &web, &settings, &second, &err), 0);
  third = prepare (&twin, &settings);
  assert_int_equal (fake_count (&fake, "disable"), 2);
  give_back (first);
  assert_int_equal (fake_count (&fake, "enable"), 0);
  give_back (third);
  assert_int_equal (fake_count (&fake, "enable"), 1);
  give_back (second);
  assert_int_equal (fake_count (&fake, "enable"), 2);
  assert_true (fake_has (&fake, "\"disabled\": []"));
  session_close (other);
}

#define NR_THREADS 8

static void *
prepare_and_end (void *opaque)
{
  for (size_t i = 0; i < 5; i++)
    give_back (prepare (&web, opaque));
  return NULL;
}

static void
test_threads (void **state)
{
  struct access_settings settings = settings_for (ACCESS_REQUIRE);
  pthread_t threads[NR_THREADS];

  (void) state;
  for (size_t i = 0; i < NR_THREADS; i++)
    assert_int_equal (
      pthread_create (&threads[i], NULL, prepare_and_end, &settings), 0);
  for (size_t i = 0; i < NR_THREADS; i++)
    assert_int_equal (pthread_join (threads[i], NULL), 0);
  assert_true (fake_has (&fake, "\"disabled\": []"));
  assert_int_equal (fake_count (&fake, "disable"),
                    fake_count (&fake, "enable"));
}

static void
assert_refused (const struct access_settings *settings, const char *text)
{
  struct vmdk_error err = { 0 };
  struct access *access;

  assert_int_equal (access_prepare (session, &web, settings, &access, &err),
                    -1);
  if (!strstr (err.text, text))
    fail_msg ("%s", err.text);
  assert_null (access);
}

static void
test_no_privilege (void **state)
{
  static const char *const types[] = { "NoPermission", "RestrictedVersion",
                                       "LicenseRestricted" };
  const struct access_settings require = settings_for (ACCESS_REQUIRE);
  const struct access_settings try = settings_for (ACCESS_TRY);

  (void) state;
  for (size_t i = 0; i < 3; i++) {
    char control[128];

    snprintf (control, sizeof control,
              "{\"switch\": {\"noPrivilege\": \"%s\"}}", types[i]);
    fake_control (&fake, control);
    heard[0] = '\0';
    assert_refused (&require,
                    "the user needs the privileges Global.DisableMethods and "
                    "Global.EnableMethods at the vCenter's root: ");
    assert_null (prepare (&web, &try));
    assert_non_null (strstr (heard, "is not prevented by us while its disks "
                                    "are open: the user needs"));
    /* once */
    heard[0] = '\0';
    assert_null (prepare (&web, &try));
    assert_string_equal (heard, "");
  }
  assert_int_equal (fake_count (&fake, "enable"), 0);
}

static void
test_host (void **state)
{
  struct access_settings settings = settings_for (ACCESS_TRY);
  struct fake esx = fake_start ("--esx", NULL);
  struct session *direct = open_session (&esx);
  struct vmdk_error err = { 0 };
  struct access *access;

  (void) state;
  assert_int_equal (access_prepare (direct, &web, &settings, &access, &err),
                    0);
  assert_null (access);
  assert_non_null (strstr (heard, "is a host, not a vCenter"));
  settings.policy = ACCESS_REQUIRE;
  assert_int_equal (access_prepare (direct, &web, &settings, &access, &err),
                    -1);
  assert_int_equal (err.kind, ERR_UNSUPPORTED);
  assert_non_null (strstr (err.text, "is a host, not a vCenter"));
  assert_null (strstr (err.text, "connect to"));
  fake_control (
    &esx, "{\"host\": {\"id\": \"host-20\", \"manager\": \"10.0.0.1\"}}");
  assert_int_equal (access_prepare (direct, &web, &settings, &access, &err),
                    -1);
  assert_non_null (
    strstr (err.text, "; connect to the vCenter that manages it: 10.0.0.1"));
  session_close (direct);
  assert_int_equal (fake_count (&esx, "disable"), 0);
  fake_stop (&esx);
}

static void
test_off (void **state)
{
  const struct access_settings settings = settings_for (ACCESS_OFF);

  (void) state;
  assert_null (prepare (&web, &settings));
  give_back (NULL);
  assert_int_equal (fake_count (&fake, "disable"), 0);
}

/* A killed process, or one beside us, has made an entry of our name. */
static void
test_left_behind (void **state)
{
  struct access_settings settings = settings_for (ACCESS_REQUIRE);

  (void) state;
  fake_control (&fake, "{\"switch\": {\"sameSource\": \"fault\"}, \"disable\":"
                       " {\"vm\": \"vm-57\", \"source\": \"us\"}}");
  give_back (prepare (&web, &settings));
  assert_true (fake_has (&fake, "\"source\": \"us\""));
  assert_int_equal (fake_count (&fake, "enable"), 0);
  assert_non_null (strstr (heard, "was disabled before by \"us\""));

  settings.takeover = true;
  give_back (prepare (&web, &settings));
  assert_true (fake_has (&fake, "\"disabled\": []"));
}

static bool
stop_third_time (void *opaque)
{
  return ++*(unsigned *) opaque == 3;
}

static void
test_of_another (void **state)
{
  struct access_settings settings = settings_for (ACCESS_REQUIRE);
  unsigned asked = 0;

  (void) state;
  fake_control (&fake,
                "{\"disable\": {\"vm\": \"vm-57\", \"source\": \"them\"}}");
  settings.wait_seconds = 0;
  assert_refused (&settings, "someone disabled the method before: them");
  settings.wait_seconds = 3600;
  settings.stopped = stop_third_time;
  settings.opaque = &asked;
  assert_refused (&settings, "stopped");
  settings.policy = ACCESS_TRY;
  assert_null (prepare (&web, &settings));
  assert_non_null (strstr (heard, "someone disabled the method before: them"));
  assert_true (fake_has (&fake, "\"source\": \"them\""));
  assert_int_equal (fake_count (&fake, "enable"), 0);
}

static void
test_move_runs (void **state)
{
  struct access_settings settings = settings_for (ACCESS_REQUIRE);
  unsigned asked = 0;

  (void) state;
  fake_control (&fake, "{\"switch\": {\"relocating\": 3}}");
  give_back (prepare (&web, &settings));
  assert_string_equal (heard, "");

  /* longer than we wait */
  fake_control (&fake, "{\"switch\": {\"relocating\": 1000}}");
  settings.wait_seconds = 0;
  assert_refused (&settings, "virtual machine vm-57 is being moved, for "
                             "longer than we wait (0 seconds)");
  assert_true (fake_has (&fake, "\"disabled\": []"));
  settings.policy = ACCESS_TRY;
  give_back (prepare (&web, &settings));
  assert_non_null (strstr (heard, "is being moved"));

  /* nobody wants to wait any more, whatever the policy */
  settings.wait_seconds = 3600;
  settings.stopped = stop_third_time;
  settings.opaque = &asked;
  assert_refused (&settings, "stopped");
  assert_true (fake_has (&fake, "\"disabled\": []"));
}

static void
test_busy (void **state)
{
  const struct access_settings settings = settings_for (ACCESS_REQUIRE);

  (void) state;
  fake_control (&fake, "{\"fault\": {\"method\": \"DisableMethods\", \"do\": "
                       "\"fault\", \"type\": \"TaskInProgress\", "
                       "\"count\": 3}}");
  give_back (prepare (&web, &settings));
  assert_int_equal (fake_count (&fake, "disable"), 1);
}

/* The server did it, and we did not hear of it. */
static void
test_answer_lost (void **state)
{
  const struct access_settings settings = settings_for (ACCESS_REQUIRE);

  (void) state;
  fake_control (&fake, "{\"switch\": {\"sameSource\": \"fault\"}, \"fault\": "
                       "{\"method\": \"DisableMethods\", \"do\": "
                       "\"late-close\"}}");
  give_back (prepare (&web, &settings));
  assert_true (fake_has (&fake, "\"disabled\": []"));
  assert_string_equal (heard, "");

  /* never heard at all: undone */
  fake_control (&fake, "{\"fault\": {\"method\": \"DisableMethods\", \"do\": "
                       "\"late-close\", \"count\": 100}}");
  assert_refused (&settings, "DisableMethods: ");
  assert_true (fake_has (&fake, "\"disabled\": []"));

  /* the same when it is taken back */
  fake_control (&fake, "{\"forget\": 0, \"fault\": {\"method\": "
                       "\"EnableMethods\", \"do\": \"late-close\"}}");
  give_back (prepare (&web, &settings));
  assert_true (fake_has (&fake, "\"disabled\": []"));
}

static void
test_end_fails (void **state)
{
  const struct access_settings settings = settings_for (ACCESS_REQUIRE);
  struct access *access = prepare (&web, &settings);
  struct vmdk_error err = { 0 };

  (void) state;
  fake_control (&fake, "{\"fault\": {\"method\": \"EnableMethods\", \"do\": "
                       "\"fault\", \"type\": \"NoPermission\"}}");
  assert_int_equal (access_end (access, &err), -1);
  assert_non_null (
    strstr (err.text, "vm-57 can still not be moved to another datastore; "
                      "free it with: vmdkit access release moref=vm-57 "
                      "server=127.0.0.1 identity=\"us\" user=... "
                      "password=-: "));

  /* and is not forgotten */
  assert_true (access_is_left ());
  assert_true (fake_has (&fake, "\"source\": \"us\""));
  assert_int_equal (access_end_left (session, &err), 0);
  assert_true (fake_has (&fake, "\"disabled\": []"));
  assert_false (access_is_left ());
  assert_int_equal (access_end_left (session, &err), 0);
  assert_int_equal (fake_count (&fake, "enable"), 1);
}

/* Who prepares again before that has it as his own. */
static void
test_left_to_next (void **state)
{
  const struct access_settings settings = settings_for (ACCESS_REQUIRE);
  struct access *access = prepare (&web, &settings);
  struct vmdk_error err = { 0 };

  (void) state;
  fake_control (&fake, "{\"switch\": {\"sameSource\": \"fault\"}, \"fault\": "
                       "{\"method\": \"EnableMethods\", \"do\": \"fault\", "
                       "\"type\": \"NoPermission\", \"count\": 2}}");
  assert_int_equal (access_end (access, &err), -1);
  assert_int_equal (access_end_left (session, &err), -1);
  assert_non_null (strstr (err.text, "vmdkit access release"));
  assert_true (access_is_left ());
  access = prepare (&web, &settings);
  assert_false (access_is_left ());
  give_back (access);
  assert_true (fake_has (&fake, "\"disabled\": []"));
  assert_string_equal (heard, "");
}

/* Not even what may have been made when the answers were lost. */
static void
test_left_unsure (void **state)
{
  const struct access_settings settings = settings_for (ACCESS_REQUIRE);
  struct vmdk_error err = { 0 };

  (void) state;
  fake_control (&fake, "{\"fault\": {\"method\": \"DisableMethods\", \"do\": "
                       "\"late-close\", \"count\": 100}}");
  fake_control (&fake, "{\"fault\": {\"method\": \"EnableMethods\", \"do\": "
                       "\"fault\", \"type\": \"NoPermission\"}}");
  assert_refused (&settings, "DisableMethods: ");
  assert_true (access_is_left ());
  assert_int_equal (access_end_left (session, &err), 0);
  assert_true (fake_has (&fake, "\"disabled\": []"));

  /* nobody will come back */
  fake_control (&fake, "{\"fault\": {\"method\": \"EnableMethods\", \"do\": "
                       "\"fault\", \"type\": \"NoPermission\"}}");
  assert_refused (&settings, "DisableMethods: ");
  access_forget_left ();
  assert_false (access_is_left ());
}

/* The session has ended meanwhile. */
static void
test_expired (void **state)
{
  const struct access_settings settings = settings_for (ACCESS_REQUIRE);
  struct access *access = prepare (&web, &settings);

  (void) state;
  fake_control (&fake, "{\"expire\": 0}");
  give_back (access);
  assert_true (fake_has (&fake, "\"disabled\": []"));
}

static void
test_forms (void **state)
{
  const struct access_settings settings = settings_for (ACCESS_REQUIRE);

  (void) state;
  for (int form = 0; form < 3; form++) {
    char control[128];

    snprintf (control, sizeof control, "{\"switch\": {\"internalForm\": %d}}",
              form);
    fake_control (&fake, control);
    give_back (prepare (&web, &settings));
    assert_int_equal (fake_count (&fake, "enable"), form + 1);
  }
  fake_control (&fake, "{\"switch\": {\"internalForm\": 3}}");
  assert_refused (&settings, "the server does not know the request");
}

static int
count_held (void *opaque, const struct vim_ref *vm, const char *name,
            struct vmdk_error *err)
{
  (void) err;
  assert_string_equal (vm->id, "vm-57");
  assert_string_equal (name, "web");
  ++*(unsigned *) opaque;
  return 0;
}

static void
test_list_release (void **state)
{
  struct vmdk_error err = { 0 };
  unsigned count = 0;
  bool held;

  (void) state;
  fake_control (&fake,
                "{\"disable\": {\"vm\": \"vm-57\", \"source\": \"dead\"}}");
  assert_int_equal (access_list (session, count_held, &count, &err), 0);
  assert_int_equal (count, 1);
  assert_int_equal (access_release (session, &web, "us", &held, &err), 0);
  assert_true (held);
  assert_int_equal (access_release (session, &web, "dead", &held, &err), 0);
  assert_false (held);
  fake_control (&fake,
                "{\"disable\": {\"vm\": \"vm-57\", \"source\": \"them\"}}");
  assert_int_equal (access_release (session, &web, NULL, &held, &err), 0);
  assert_false (held);
  fake_control (&fake, "{\"fault\": {\"method\": \"EnableMethods\", \"do\": "
                       "\"fault\", \"type\": \"InvalidArgument\"}}");
  assert_int_equal (access_release (session, &web, NULL, &held, &err), -1);
  assert_non_null (strstr (err.text, "this server wants the identity"));
}

static void
test_identity (void **state)
{
  static const struct {
    const char *identity, *text; /* NULL: it is taken */
  } cases[] = {
    { "12345678901234567890123456789012345678901234567890", NULL },
    { "123456789012345678901234567890123456789012345678901",
      "it is empty or has more than 50 characters" },
    { "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
      "\xc3\xa4\xc3\xa4 2345678901234567890123456789012345678 0",
      NULL },
    { "", "it is empty or has more than 50 characters" },
    { "a\nb", "identity \"a\\x0ab\" has control characters" },
  };
  struct vim_ref vm = { "VirtualMachine", "vm-57" };
  char identity[ACCESS_IDENTITY_SIZE];

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct access_settings settings = settings_for (ACCESS_TRY);

    settings.identity = cases[i].identity;
    if (cases[i].text)
      assert_refused (&settings, cases[i].text);
    else
      give_back (prepare (&web, &settings));
  }
  access_identity (identity, &vm);
  assert_true (strncmp (identity, "vmdkit:", 7) == 0);
  assert_non_null (strstr (identity, ":vm-57"));
  memset (vm.id, 'x', 300);
  access_identity (identity, &vm);
  assert_int_equal (strlen (identity), 50);
}

#define each_test(function) \
  cmocka_unit_test_setup_teardown (function, start, end)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    each_test (test_pair),         each_test (test_counted),
    each_test (test_threads),      each_test (test_no_privilege),
    each_test (test_host),         each_test (test_off),
    each_test (test_left_behind),  each_test (test_of_another),
    each_test (test_move_runs),    each_test (test_busy),
    each_test (test_answer_lost),  each_test (test_end_fails),
    each_test (test_expired),      each_test (test_forms),
    each_test (test_left_to_next), each_test (test_left_unsure),
    each_test (test_list_release), each_test (test_identity),
  };

  fake_require ();
  return cmocka_run_group_tests (tests, NULL, NULL);
}
