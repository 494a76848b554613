/* SPDX-License-Identifier: BSD-3-Clause */

/* Requests as they are written, answers as they are read, and servers that
 * answer badly.
 */

#include <config.h>

#include <errno.h>
#include <time.h>

#include "fake-group.h"

static const struct vim_ref thing = { "Thing", "id-1" };

static void
test_request (void **state)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };
  const struct vim_ref odd = { "Data\"store", "a/b@[c]<&>" };

  (void) state;
  soap_begin (&request, "Do_Task", &thing);
  soap_add (&request, "name", "<&>\"'\t\xc3\xa4");
  soap_add (&request, "absent", NULL);
  soap_add_ref (&request, "where", &odd);
  soap_add_ref (&request, "nowhere", NULL);
  soap_open (&request, "spec", "Base");
  soap_add_u64 (&request, "n", UINT64_MAX);
  soap_add_bool (&request, "b", true);
  soap_close (&request, "spec");
  assert_int_equal (request.problem.kind, ERR_NONE);
  request.text[request.len] = '\0';
  assert_string_equal (
    request.text,
    "<Do_Task xmlns=\"urn:vim25\"><_this type=\"Thing\">id-1</_this>"
    "<name>&lt;&amp;&gt;&quot;&apos;&#9;\xc3\xa4</name>"
    "<where type=\"Data&quot;store\">a/b@[c]&lt;&amp;&gt;</where>"
    "<spec xsi:type=\"Base\"><n>18446744073709551615</n><b>true</b></spec>");
}

static void
test_request_refused (void **state)
{
  static const char *const texts[] = { "\x01",
                                       "a\x1f",
                                       "\xc3",
                                       "\xc0\x80",
                                       "\xed\xa0\x80",
                                       "\xef\xbf\xbe",
                                       "\xf5\x80\x80\x80",
                                       "\xff" };

  (void) state;
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };

    soap_begin (&request, "Login", &thing);
    soap_add (&request, "password", texts[i]);
    assert_int_equal (request.problem.kind, ERR_ARGUMENT);
    assert_non_null (
      strstr (request.problem.text, "is a control character or not UTF-8"));
  }
}

#define ENVELOPE(body)                                                  \
  "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/' "    \
  "xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><s:Body>" body \
  "</s:Body></s:Envelope>"
#define FAULT(text, detail)                                      \
  ENVELOPE ("<s:Fault><faultcode>ServerFaultCode</faultcode>"    \
            "<faultstring>" text "</faultstring><detail>" detail \
            "</detail></s:Fault>")

static void
test_answers (void **state)
{
  static const struct {
    long status;
    const char *bytes, *type;
    enum vmdk_error_kind kind;
    int errnum;
    const char *text;
  } cases[] = {
    { 500,
      FAULT ("no", "<NotAuthenticatedFault xsi:type='NotAuthenticated'/>"),
      "NotAuthenticated", ERR_SYSTEM, EIO,
      "Ask: the session has ended (NotAuthenticated: no)" },
    { 500, FAULT ("", "<InvalidLoginFault/>"), "InvalidLogin", ERR_DENIED,
      EACCES, "Ask: user name or password are refused (InvalidLogin)" },
    { 500,
      FAULT ("", "<x xsi:type='v:NoPermission'><privilegeId>Global.Disable"
                 "Methods</privilegeId></x>"),
      "NoPermission", ERR_DENIED, EACCES,
      "Ask: the user lacks a privilege: Global.DisableMethods "
      "(NoPermission)" },
    { 500,
      FAULT ("", "<MethodAlreadyDisabledFaultFault><sourceId>other</sourceId>"
                 "</MethodAlreadyDisabledFaultFault>"),
      "MethodAlreadyDisabledFault", ERR_LOCKED, EBUSY,
      "Ask: someone disabled the method before: other "
      "(MethodAlreadyDisabledFault)" },
    { 500, FAULT ("full", "<a xsi:type='NoDiskSpace'><file>[ds] x</file></a>"),
      "NoDiskSpace", ERR_SYSTEM, ENOSPC,
      "Ask: the datastore is full: [ds] x (NoDiskSpace: full)" },
    { 500,
      FAULT ("", "<a xsi:type='FileAlreadyExists'><file>[ds] x</file></a>"),
      "FileAlreadyExists", ERR_SYSTEM, EEXIST,
      "Ask: there is a file of that name: [ds] x (FileAlreadyExists)" },
    { 500, FAULT ("a\n\x7f", "<a xsi:type='NewFault'><file>f</file></a>"),
      "NewFault", ERR_SYSTEM, EIO,
      "Ask: refused by the server: f (NewFault: a\\x0a\\x7f)" },
    { 500, FAULT ("why", ""), "RuntimeFault", ERR_SYSTEM, EIO,
      "Ask: refused by the server (RuntimeFault: why)" },
    { 200, ENVELOPE ("<OtherResponse/>"), "", ERR_SYSTEM, EIO,
      "Ask: the answer is not one to this question: OtherResponse" },
    { 200, ENVELOPE (""), "", ERR_SYSTEM, EIO,
      "Ask: the answer is not one to this question: Envelope" },
    { 200, "<AskResponse/>", "", ERR_SYSTEM, EIO,
      "Ask: the answer is not one to this question: AskResponse" },
    { 200, "", "", ERR_SYSTEM, EIO, "Ask: the answer is empty" },
    { 302, "", "", ERR_SYSTEM, EIO,
      "Ask: the server sends us elsewhere (HTTP status 302), which is not "
      "followed: name the right server" },
    { 503, "Out of HTTP sessions", "", ERR_SYSTEM, EIO,
      "Ask: the server is busy, or has too many sessions (HTTP status 503)" },
    { 404, "", "", ERR_SYSTEM, EIO,
      "Ask: HTTP status 404 instead of an answer: is this a vSphere "
      "server?" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
    const struct soap_request request = { .method = "Ask" };
    struct vmdk_error err = { 0 };

    assert_int_equal (soap_answer_read (&answer, &request, cases[i].status,
                                        cases[i].bytes,
                                        strlen (cases[i].bytes), &err),
                      -1);
    assert_string_equal (err.text, cases[i].text);
    assert_string_equal (answer.fault.type, cases[i].type);
    assert_int_equal (err.kind, cases[i].kind);
    assert_int_equal (err.errnum, cases[i].errnum);
  }
}

static void
test_answer_good (void **state)
{
  static const char bytes[] =
    ENVELOPE ("<AskResponse xmlns='urn:vim25'><returnval type='Folder'>g-1"
              "</returnval></AskResponse>");
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  const struct soap_request request = { .method = "Ask" };
  struct vmdk_error err = { 0 };
  struct vim_ref ref;

  (void) state;
  assert_int_equal (
    soap_answer_read (&answer, &request, 200, bytes, sizeof bytes - 1, &err),
    0);
  assert_true (soap_ref (answer.value, &ref));
  assert_string_equal (ref.type, "Folder");
  assert_string_equal (ref.id, "g-1");
  assert_false (soap_ref (NULL, &ref));
  assert_string_equal (ref.id, "");
}

/* --------------------------------------------------------------------- */
/* Over the network. */

/* Asks for the content; -1 and the error's text. */
static int
ask (struct soap_settings settings, bool repeatable, struct vmdk_error *err)
{
  CLEANUP (soap_client) struct soap_client *client = NULL;
  CLEANUP_SOAP_REQUEST
  struct soap_request request = { .repeatable = repeatable };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  const struct vim_ref service = { "ServiceInstance", "ServiceInstance" };

  client = soap_client_new (&settings, err);
  if (!client)
    return -1;
  soap_begin (&request, "RetrieveServiceContent", &service);
  return soap_call (client, "6.5", NULL, &request, &answer, err);
}

static void
assert_ask (struct soap_settings settings, bool repeatable,
            const char *contained, int errnum)
{
  struct vmdk_error err = { 0 };

  if (!contained) {
    if (ask (settings, repeatable, &err) == -1)
      fail_msg ("%s", err.text);
    return;
  }
  assert_int_equal (ask (settings, repeatable, &err), -1);
  if (!strstr (err.text, contained))
    fail_msg ("%s: %s", contained, err.text);
  assert_int_equal (err.errnum, errnum);
}

static void
test_bad_servers (void **state)
{
  static const struct {
    const char *rule;
    bool repeatable;
    const char *contained; /* NULL: it is answered after all */
    int errnum;
    unsigned seconds;
  } cases[] = {
    { "\"do\": \"garbage\"", true, "the answer is ", EIO, 0 },
    { "\"do\": \"bomb\"", true, "the answer has a DTD", EIO, 0 },
    { "\"do\": \"deep\"", true, "nested deeper than 128", EIO, 0 },
    { "\"do\": \"huge\"", true, "larger than 16777216 bytes", EIO, 0 },
    { "\"do\": \"html\"", true, "the answer is ", EIO, 0 },
    { "\"do\": \"redirect\"", true, "sends us elsewhere", EIO, 0 },
    { "\"do\": \"trickle\"", true, "RetrieveServiceContent: ", ETIMEDOUT, 2 },
    { "\"do\": \"status\", \"status\": 503, \"count\": 3", true, NULL, 0, 0 },
    { "\"do\": \"status\", \"status\": 503, \"count\": 4", true,
      "HTTP status 503", EIO, 0 },
    { "\"do\": \"status\", \"status\": 503", false, "HTTP status 503", EIO,
      0 },
    { "\"do\": \"close\"", true, NULL, 0, 0 },
    { "\"do\": \"close\"", false, "RetrieveServiceContent: ", EIO, 0 },
    { "\"do\": \"late-close\"", false, "RetrieveServiceContent: ", EIO, 0 },
  };
  struct soap_settings settings = {
    .host = "127.0.0.1", .port = fake.port, .trust = &fake.trust, .retry_ms = 1
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char control[256];

    snprintf (control, sizeof control, "{\"forget\": 0, \"fault\": {%s}}",
              cases[i].rule);
    fake_control (&fake, control);
    settings.call_seconds = cases[i].seconds;
    assert_ask (settings, cases[i].repeatable, cases[i].contained,
                cases[i].errnum);
  }
  fake_control (&fake, "{\"forget\": 0}");
}

static void
test_whom_to_believe (void **state)
{
  struct soap_settings settings = { .host = "127.0.0.1",
                                    .port = fake.port,
                                    .retry_ms = 1 };
  struct tls_trust none = { 0 }, wrong = { 0 }, authority = { 0 },
                   any = { .insecure = true }, sha1 = { 0 };
  struct vmdk_error err;
  char path[128];

  (void) state;
  settings.trust = &none;
  assert_ask (settings, true, "certificate", EACCES);
  assert_int_equal (
    tls_trust_add (&wrong, "0102030405060708090a0b0c0d0e0f1011121314", &err),
    0);
  settings.trust = &wrong;
  assert_ask (settings, true, "thumbprint", EACCES);
  snprintf (path, sizeof path, "%s/cert.pem", fake.folder);
  authority.ca_file = path;
  settings.trust = &authority;
  assert_ask (settings, true, NULL, 0);
  settings.trust = &any;
  assert_ask (settings, true, NULL, 0);
  assert_int_equal (tls_trust_add (&sha1, fake.sha1, &err), 0);
  settings.trust = &sha1;
  assert_ask (settings, true, NULL, 0);
}

static void
test_names (void **state)
{
  static const char *const names[] = { "",    "a/b",      "user@host",
                                       "a b", "host?x=1", "https://h",
                                       "a#b", "a\\b" };
  struct soap_settings settings = { .trust = &fake.trust };

  (void) state;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    settings.host = names[i];
    assert_ask (settings, true, "is not the name or address of a server",
                EINVAL);
  }
  settings.host = "localhost";
  settings.port = 65536;
  assert_ask (settings, true, "port 65536 is larger than 65535", EINVAL);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_request),
    cmocka_unit_test (test_request_refused),
    cmocka_unit_test (test_answers),
    cmocka_unit_test (test_answer_good),
    cmocka_unit_test (test_bad_servers),
    cmocka_unit_test (test_whom_to_believe),
    cmocka_unit_test (test_names),
  };

  fake_require ();
  return cmocka_run_group_tests (tests, fake_setup, fake_teardown);
}
