/* SPDX-License-Identifier: BSD-3-Clause */

/* Tickets as a vCenter and a host give them, and answers that are none. */

#include <config.h>

#include "ticket-office.h"

#include "fake-helper.h"

#define NFC "10.0.0.7:9020:AA:BB"

static struct fake fake;
static struct session *session;

static void
start (const char *option)
{
  fake = fake_start ("--nfc", NFC, option, NULL);
  session = fake_session (&fake);
}

static void
stop (void)
{
  session_close (session);
  fake_stop (&fake);
}

static struct ticket_office
office_of (const char *vm)
{
  struct ticket_office office = {
    .session = session,
    .vm = { "VirtualMachine", "" },
    .disk_key = 2001,
  };

  strcpy (office.vm.id, vm);
  return office;
}

static struct nfc_ticket
ask (struct ticket_office *office, bool writable)
{
  struct nfc_ticket ticket;
  struct vmdk_error err = { 0 };

  if (ticket_office_ask (office, writable, &ticket, &err) == -1)
    fail_msg ("%s", err.text);
  return ticket;
}

static void
of_a_vcenter (void **state)
{
  struct ticket_office office;
  struct nfc_ticket reading, writing;
  char *journal;

  (void) state;
  start (NULL);
  office = office_of ("vm-57");
  reading = ask (&office, false);
  assert_string_equal (reading.host, "10.0.0.7");
  assert_int_equal (reading.port, 9020);
  assert_string_equal (reading.ssl_thumbprint, "AA:BB");
  assert_string_equal (reading.service, "vpxa-nfc");
  assert_null (reading.certificate);
  assert_true (strncmp (reading.session_id, "ticket-", 7) == 0);
  assert_string_equal (office.service.id, "nfcService");
  journal = fake_journal (&fake);
  assert_non_null (strstr (journal, "\"method\": \"NfcGetVmFiles\", \"vm\": "
                                    "\"vm-57\""));
  free (journal);

  /* each is another one, and to write it is one for the disk */
  writing = ask (&office, true);
  assert_string_not_equal (writing.session_id, reading.session_id);
  journal = fake_journal (&fake);
  assert_non_null (
    strstr (journal, "\"method\": \"NfcRandomAccessOpenDisk\""));
  assert_non_null (strstr (journal, "\"key\": \"2001\""));
  free (journal);
  assert_int_equal (fake_count (&fake, "ticket"), 2);
  nfc_ticket_clear (&reading);
  nfc_ticket_clear (&writing);
  stop ();
}

/* It names no host: that is itself. */
static void
of_a_host (void **state)
{
  struct ticket_office office;
  struct nfc_ticket ticket;

  (void) state;
  start ("--esx");
  office = office_of ("vm-57");
  ticket = ask (&office, false);
  assert_string_equal (ticket.host, "127.0.0.1");
  assert_string_equal (ticket.service, "nfc");
  assert_string_equal (office.service.id, "ha-nfc-service");
  nfc_ticket_clear (&ticket);
  stop ();
}

/* Where the service is not told, the usual one is asked. */
static void
service_untold (void **state)
{
  static const char *const options[] = { NULL, "--esx" };
  static const char *const ids[] = { "nfcService", "ha-nfc-service" };

  (void) state;
  for (size_t i = 0; i < 2; i++) {
    struct ticket_office office;
    struct nfc_ticket ticket;

    start (options[i]);
    fake_control (&fake,
                  "{\"fault\": {\"method\": \"RetrieveInternalContent\", "
                  "\"do\": \"fault\", \"type\": \"MethodNotFound\"}}");
    office = office_of ("vm-57");
    ticket = ask (&office, false);
    assert_string_equal (office.service.id, ids[i]);
    nfc_ticket_clear (&ticket);
    stop ();
  }
}

static void
assert_refused (const char *vm, bool writable, enum vmdk_error_kind kind,
                const char *text)
{
  struct ticket_office office = office_of (vm);
  struct nfc_ticket ticket;
  struct vmdk_error err = { 0 };

  assert_int_equal (ticket_office_ask (&office, writable, &ticket, &err), -1);
  if (!strstr (err.text, text))
    fail_msg ("%s", err.text);
  assert_int_equal (err.kind, kind);
  assert_null (ticket.host);
  assert_null (ticket.session_id);
}

static void
refused (void **state)
{
  (void) state;
  start (NULL);
  assert_refused ("vm-99", false, ERR_MISSING, "a ticket for reading: ");
  fake_control (&fake, "{\"fault\": {\"method\": \"NfcRandomAccessOpenDisk\", "
                       "\"do\": \"fault\", \"type\": \"NoPermission\"}}");
  assert_refused ("vm-57", true, ERR_DENIED, "a ticket for writing: ");
  stop ();
}

/* Who may not get all files may get the disk. */
static void
of_the_disk (void **state)
{
  struct ticket_office office;
  struct nfc_ticket ticket;
  char *journal;

  (void) state;
  start (NULL);
  fake_control (&fake, "{\"fault\": {\"method\": \"NfcGetVmFiles\", "
                       "\"do\": \"fault\", \"type\": \"NoPermission\"}}");
  office = office_of ("vm-57");
  ticket = ask (&office, false);
  nfc_ticket_clear (&ticket);
  journal = fake_journal (&fake);
  assert_non_null (strstr (journal, "NfcRandomAccessOpenReadonly"));
  free (journal);

  /* the reason is the first one's */
  fake_control (&fake, "{\"fault\": {\"method\": \"NfcGetVmFiles\", "
                       "\"do\": \"fault\", \"type\": \"NoPermission\"}}");
  fake_control (&fake,
                "{\"fault\": {\"method\": \"NfcRandomAccessOpenReadonly\", "
                "\"do\": \"fault\", \"type\": \"NotSupported\"}}");
  assert_refused ("vm-57", false, ERR_DENIED, "NoPermission");
  stop ();
}

/* An answer to METHOD that has INNER in it, the next time. */
static void
answer (const char *method, const char *inner)
{
  static char control[70000 + 1000];

  snprintf (control, sizeof control,
            "{\"fault\": {\"method\": \"%s\", \"do\": \"status\", "
            "\"status\": 200, \"body\": \"<Envelope xmlns='http://schemas."
            "xmlsoap.org/soap/envelope/'><Body><%sResponse xmlns='urn:vim25'>"
            "<returnval>%s</returnval></%sResponse></Body></Envelope>\"}}",
            method, method, inner, method);
  fake_control (&fake, control);
}

static void
not_a_ticket (void **state)
{
  static const struct {
    const char *inner, *error; /* NULL: it is one */
  } cases[] = {
    { "<sessionId>s</sessionId>", NULL },
    { "<port>65535</port><sessionId>s</sessionId>", NULL },
    { "<port>65536</port><sessionId>s</sessionId>", "a ticket for no port" },
    { "<port>-1</port><sessionId>s</sessionId>", "a ticket for no port" },
    { "<port></port><sessionId>s</sessionId>", "a ticket for no port" },
    { "<port>9x</port><sessionId>s</sessionId>", "a ticket for no port" },
    { "<host>h</host>", "a ticket without a ticket in it" },
    { "<host>h</host><sessionId></sessionId>",
      "a ticket without a ticket in it" },
    { "", "a ticket without a ticket in it" },
  };
  struct ticket_office office;

  (void) state;
  start (NULL);
  office = office_of ("vm-57");
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    answer ("NfcGetVmFiles", cases[i].inner);
    if (cases[i].error)
      assert_refused ("vm-57", false, ERR_CORRUPT, cases[i].error);
    else {
      struct nfc_ticket ticket = ask (&office, false);

      assert_string_equal (ticket.host, "127.0.0.1");
      assert_string_equal (ticket.session_id, "s");
      nfc_ticket_clear (&ticket);
    }
  }
  stop ();
}

static void
too_long (void **state)
{
  static const char *const names[] = { "host", "sslThumbprint",
                                       "sslCertificate", "service",
                                       "sessionId" };
  static char inner[70000], error[100];

  (void) state;
  start (NULL);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    snprintf (inner, sizeof inner, "<%s>%0*d</%s>", names[i], 65537, 1,
              names[i]);
    snprintf (error, sizeof error, "a ticket's %s is too long", names[i]);
    answer ("NfcGetVmFiles", inner);
    assert_refused ("vm-57", false, ERR_CORRUPT, error);
  }
  stop ();
}

/* Whose host is not told cannot be written. */
static void
no_host (void **state)
{
  (void) state;
  start (NULL);
  answer ("RetrieveProperties", "<obj type='VirtualMachine'>vm-57</obj>");
  assert_refused ("vm-57", true, ERR_DENIED,
                  "does not say which host the machine is on");
  stop ();
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (of_a_vcenter),   cmocka_unit_test (of_a_host),
    cmocka_unit_test (service_untold), cmocka_unit_test (refused),
    cmocka_unit_test (of_the_disk),    cmocka_unit_test (not_a_ticket),
    cmocka_unit_test (too_long),       cmocka_unit_test (no_host),
  };

  fake_require ();
  return cmocka_run_group_tests (tests, NULL, NULL);
}
