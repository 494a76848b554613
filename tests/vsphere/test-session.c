/* SPDX-License-Identifier: BSD-3-Clause */

/* Logging in, by password and by cookie; sessions that end; logging out on
 * every path; nothing secret in messages.
 */

#include <config.h>

#include <errno.h>
#include <time.h>

#include "fake-group.h"

static int
ask_time (struct session *session, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { .repeatable = true };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  soap_begin (&request, "CurrentTime",
              session_service (session, SERVICE_INSTANCE));
  return session_call (session, &request, &answer, err);
}

static void
test_login_logout (void **state)
{
  struct session *session = fake_session (&fake);
  struct vmdk_error err;

  (void) state;
  assert_true (session_about (session)->is_vcenter);
  assert_string_equal (session_about (session)->api_version, "6.7");
  assert_string_equal (session_about (session)->instance, "a-b-c-d");
  assert_string_equal (session_service (session, SERVICE_DISKS)->id,
                       "virtualDiskManager");
  assert_string_equal (session_host (session), "127.0.0.1");
  assert_int_equal (ask_time (session, &err), 0);
  assert_true (fake_has (&fake, "\"sessions\": 1"));
  session_close (session);
  assert_true (fake_has (&fake, "\"sessions\": 0"));
  assert_int_equal (fake_count (&fake, "login"), 1);
  assert_int_equal (fake_count (&fake, "logout"), 1);
}

static void
assert_not_opened (const struct session_settings *settings, const char *text)
{
  struct vmdk_error err = { 0 };

  assert_null (session_open (settings, &err));
  if (!strstr (err.text, text))
    fail_msg ("%s", err.text);
  assert_null (strstr (err.text, "hush"));
}

static void
test_refused (void **state)
{
  struct session_settings settings = fake_settings (&fake);
  const size_t before = fake_count (&fake, "login-refused");

  (void) state;
  /* the fake says the password in its fault */
  settings.password = "hush";
  assert_not_opened (&settings, "Login: user name or password are refused "
                                "(InvalidLogin)");
  assert_int_equal (fake_count (&fake, "login-refused"), before + 1);
  settings.password = "hush\x02";
  assert_not_opened (&settings, "Login: password: byte 4 (0x02) is a control "
                                "character");
  settings.password = NULL;
  assert_not_opened (&settings, "user and password are needed");
  settings.cookie = "hush; x";
  assert_not_opened (&settings, "the session whose cookie was given has "
                                "ended");
  settings.cookie = "hu sh";
  assert_not_opened (&settings, "cookie: byte 2 cannot be part of a cookie");
  settings.cookie = "vmware_soap_session=";
  assert_not_opened (&settings, "cookie: it is empty or too long");
  settings.cookie = NULL;
  settings.version = "six";
  assert_not_opened (&settings, "\"six\" is not a version");
}

static void
test_given_cookie (void **state)
{
  struct session *first = fake_session (&fake), *second;
  struct session_settings settings = fake_settings (&fake);
  struct vmdk_error err = { 0 };
  unsigned generation;
  char *cookie = session_cookie (first, &generation, &err);
  const size_t before = fake_count (&fake, "logout");

  (void) state;
  assert_non_null (cookie);
  settings.user = settings.password = NULL;
  settings.cookie = cookie;
  second = session_open (&settings, &err);
  assert_non_null (second);
  session_close (second);
  /* only its value */
  settings.cookie = strchr (cookie, '=') + 1;
  second = session_open (&settings, &err);
  assert_non_null (second);
  assert_int_equal (fake_count (&fake, "logout"), before);
  assert_int_equal (ask_time (first, &err), 0);

  fake_control (&fake, "{\"expire\": 0}");
  assert_int_equal (ask_time (second, &err), -1);
  assert_non_null (strstr (err.text, "the session whose cookie was given"));
  assert_null (strstr (err.text, settings.cookie));
  session_close (second);
  session_close (first);
  free (cookie);
}

static void
test_renewed_once (void **state)
{
  struct session *session = fake_session (&fake);
  const size_t before = fake_count (&fake, "login");
  struct vmdk_error err = { 0 };

  (void) state;
  fake_control (&fake, "{\"expire\": 0}");
  assert_int_equal (ask_time (session, &err), 0);
  assert_int_equal (fake_count (&fake, "login"), before + 1);

  /* a server that refuses all the same is not asked for ever */
  fake_control (&fake, "{\"fault\": {\"method\": \"CurrentTime\", \"do\": "
                       "\"fault\", \"type\": \"NotAuthenticated\", "
                       "\"count\": 100}}");
  assert_int_equal (ask_time (session, &err), -1);
  assert_non_null (strstr (err.text, "CurrentTime: the session has ended"));
  assert_int_equal (fake_count (&fake, "login"), before + 2);
  fake_control (&fake, "{\"forget\": 0}");
  session_close (session);
}

/* A password that is refused is not tried again. */
static void
test_refused_is_final (void **state)
{
  struct session *session = fake_session (&fake);
  const size_t before = fake_count (&fake, "login");
  struct vmdk_error err = { 0 };

  (void) state;
  fake_control (&fake, "{\"expire\": 0, \"fault\": {\"method\": \"Login\", "
                       "\"do\": \"fault\", \"type\": \"InvalidLogin\"}}");
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal (ask_time (session, &err), -1);
    assert_non_null (strstr (err.text, "Login: user name or password"));
  }
  assert_int_equal (fake_count (&fake, "login"), before);
  session_close (session);
}

/* A farewell that is lost is said again. */
static void
test_logout_lost (void **state)
{
  struct session *session = fake_session (&fake);
  const size_t before = fake_count (&fake, "logout");

  (void) state;
  fake_control (&fake, "{\"fault\": {\"method\": \"Logout\", "
                       "\"do\": \"close\"}}");
  session_close (session);
  assert_int_equal (fake_count (&fake, "logout"), before + 1);
  assert_true (fake_has (&fake, "\"sessions\": 0"));
}

/* Old versions of the API may be gone. */
static void
test_other_version (void **state)
{
  struct session *session;

  (void) state;
  fake_control (&fake, "{\"fault\": {\"method\": \"RetrieveServiceContent\", "
                       "\"do\": \"fault\", \"type\": \"InvalidRequest\"}}");
  session = fake_session (&fake);
  session_close (session);
}

#define NR_THREADS 8

static void *
ask_often (void *opaque)
{
  struct vmdk_error err;
  size_t nr_failed = 0;

  for (size_t i = 0; i < 5; i++)
    nr_failed += ask_time (opaque, &err) == -1;
  return (void *) nr_failed;
}

/* Of many threads that meet the end of a session, one logs in. */
static void
test_renewed_by_one (void **state)
{
  struct session *session = fake_session (&fake);
  const size_t before = fake_count (&fake, "login");
  pthread_t threads[NR_THREADS];
  void *nr_failed;

  (void) state;
  fake_control (&fake, "{\"expire\": 0}");
  for (size_t i = 0; i < NR_THREADS; i++)
    assert_int_equal (pthread_create (&threads[i], NULL, ask_often, session),
                      0);
  for (size_t i = 0; i < NR_THREADS; i++) {
    assert_int_equal (pthread_join (threads[i], &nr_failed), 0);
    assert_null (nr_failed);
  }
  assert_int_equal (fake_count (&fake, "login"), before + 1);
  session_close (session);
  assert_true (fake_has (&fake, "\"sessions\": 0"));
}

static void
test_renew_for_others (void **state)
{
  struct session *session = fake_session (&fake);
  const size_t before = fake_count (&fake, "login");
  struct vmdk_error err;
  unsigned generation, now;
  char *cookie = session_cookie (session, &generation, &err);
  char *fresh;

  (void) state;
  assert_int_equal (session_renew (session, generation, &err), 0);
  assert_int_equal (session_renew (session, generation, &err), 0);
  assert_int_equal (fake_count (&fake, "login"), before + 1);
  fresh = session_cookie (session, &now, &err);
  assert_int_not_equal (now, generation);
  assert_string_not_equal (fresh, cookie);
  free (cookie);
  free (fresh);
  session_close (session);
}

static void
test_kept_alive (void **state)
{
  struct session_settings settings = fake_settings (&fake);
  const size_t before = fake_count (&fake, "current-time");
  struct vmdk_error err = { 0 };
  struct session *session;

  (void) state;
  settings.keep_alive_seconds = 1;
  session = session_open (&settings, &err);
  assert_non_null (session);
  for (size_t i = 0; i < 100 && fake_count (&fake, "current-time") == before;
       i++)
    usleep (100000);
  assert_true (fake_count (&fake, "current-time") > before);
  session_close (session);
}

/* A server that does not answer to the farewell does not keep us. */
static void
test_hurry (void **state)
{
  struct session *session = fake_session (&fake);
  struct timespec before, after;
  struct vmdk_error err;

  (void) state;
  fake_control (&fake, "{\"fault\": {\"do\": \"trickle\", \"count\": 100}}");
  clock_gettime (CLOCK_MONOTONIC, &before);
  session_hurry (session, 1);
  session_hurry (session, 1000);
  assert_int_equal (ask_time (session, &err), -1);
  assert_int_equal (err.errnum, ETIMEDOUT);
  session_close (session);
  clock_gettime (CLOCK_MONOTONIC, &after);
  /* two questions of a second each, instead of a minute */
  assert_true (after.tv_sec - before.tv_sec < 40);
  fake_control (&fake, "{\"forget\": 0}");
}

static void
test_version (void **state)
{
  static const char *const cases[][2] = {
    { "8.0.1.0", "6.7" }, { "6.5", "6.5" }, { "6.6", "6.5" },
    { "6.0", "6.0" },     { "5.5", "5.5" }, { "10.0", "6.7" },
    { "junk", "5.5" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct session *session;
    char control[128];

    snprintf (control, sizeof control,
              "{\"switch\": {\"apiVersion\": \"%s\"}}", cases[i][0]);
    fake_control (&fake, control);
    session = fake_session (&fake);
    assert_string_equal (session_about (session)->api_version, cases[i][1]);
    session_close (session);
  }
}

static void
test_host (void **state)
{
  struct fake esx = fake_start ("--esx", NULL);
  struct session *session = fake_session (&esx);

  (void) state;
  assert_false (session_about (session)->is_vcenter);
  assert_string_equal (session_about (session)->instance, "");
  assert_string_equal (session_service (session, SERVICE_SEARCH)->id,
                       "ha-searchindex");
  session_close (session);
  assert_true (fake_has (&esx, "\"sessions\": 0"));
  fake_stop (&esx);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_login_logout),
    cmocka_unit_test (test_refused),
    cmocka_unit_test (test_given_cookie),
    cmocka_unit_test (test_renewed_once),
    cmocka_unit_test (test_refused_is_final),
    cmocka_unit_test (test_other_version),
    cmocka_unit_test (test_logout_lost),
    cmocka_unit_test (test_renewed_by_one),
    cmocka_unit_test (test_renew_for_others),
    cmocka_unit_test (test_kept_alive),
    cmocka_unit_test (test_hurry),
    cmocka_unit_test (test_version),
    cmocka_unit_test (test_host),
  };

  fake_require ();
  return cmocka_run_group_tests (tests, fake_setup, fake_teardown);
}
