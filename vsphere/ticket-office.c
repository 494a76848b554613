/* SPDX-License-Identifier: BSD-3-Clause */

/* Tickets over SOAP.  See ticket-office.h.
 *
 * The service that gives them is in no public list; only the server itself
 * knows its id.  Where it does not tell, the two ids that have been seen are
 * tried.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "properties.h"
#include "ticket-office.h"

/* Anything longer is no ticket. */
#define MAX_TICKET_TEXT 65536

static int
find_service (struct ticket_office *office, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
  const bool is_vcenter = session_about (office->session)->is_vcenter;

  if (office->service.id[0])
    return 0;
  soap_begin (&request, "RetrieveInternalContent",
              session_service (office->session, SERVICE_INSTANCE));
  request.repeatable = true;
  if (session_call (office->session, &request, &answer, err) == 0
      && soap_ref (xml_child (answer.value, "nfcService"), &office->service))
    return 0;
  return vim_ref_set (&office->service, "NfcService",
                      is_vcenter ? "nfcService" : "ha-nfc-service", err);
}

/* The host that runs the machine now. */
static int
find_host (struct ticket_office *office, struct vim_ref *host,
           struct vmdk_error *err)
{
  static const char *const names[] = { "runtime.host", NULL };
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  if (properties_read (office->session, &office->vm, names, &answer, err)
      == -1)
    return -1;
  if (!soap_ref (property (properties_object (&answer), "runtime.host"), host))
    return fail (err, ERR_DENIED,
                 "the server does not say which host the machine is on");
  return 0;
}

static int
ask_for_machine (struct ticket_office *office, struct soap_answer *answer,
                 struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };

  soap_begin (&request, "NfcGetVmFiles", &office->service);
  soap_add_ref (&request, "vm", &office->vm);
  return session_call (office->session, &request, answer, err);
}

static int
ask_for_disk (struct ticket_office *office, const char *method,
              struct soap_answer *answer, struct vmdk_error *err)
{
  CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };
  struct vim_ref host;
  char key[16];

  if (find_host (office, &host, err) == -1)
    return -1;
  snprintf (key, sizeof key, "%d", (int) office->disk_key);
  soap_begin (&request, method, &office->service);
  soap_add_ref (&request, "vm", &office->vm);
  soap_add (&request, "diskDeviceKey", key);
  soap_add_ref (&request, "hostForAccess", &host);
  return session_call (office->session, &request, answer, err);
}

/* Who may not have all files of a machine may still be allowed to read this
 * disk, which is another privilege.
 */
static int
ask (struct ticket_office *office, bool writable, struct soap_answer *answer,
     struct vmdk_error *err)
{
  struct vmdk_error ignored;

  if (writable)
    return ask_for_disk (office, "NfcRandomAccessOpenDisk", answer, err);
  if (ask_for_machine (office, answer, err) == 0)
    return 0;
  if (err->kind != ERR_DENIED)
    return -1;
  return ask_for_disk (office, "NfcRandomAccessOpenReadonly", answer,
                       &ignored);
}

/* A copy of a child's text, NULL where there is none. */
static int
take_text (const struct xml_node *node, const char *name, char **text,
           struct vmdk_error *err)
{
  const char *found = xml_text (node, name);

  if (!*found)
    return 0;
  if (strlen (found) > MAX_TICKET_TEXT)
    return fail (err, ERR_CORRUPT, "a ticket's %s is too long", name);
  *text = strdup (found);
  return *text ? 0 : fail_memory (err);
}

static int
read_ticket (struct ticket_office *office, const struct xml_node *node,
             struct nfc_ticket *ticket, struct vmdk_error *err)
{
  const struct xml_node *port = xml_child (node, "port");
  uint64_t number = 0;

  if (port && (xml_u64 (port, &number) == -1 || number > 65535))
    return fail (err, ERR_CORRUPT, "a ticket for no port");
  ticket->port = (unsigned) number;
  if (take_text (node, "host", &ticket->host, err) == -1
      || take_text (node, "sslThumbprint", &ticket->ssl_thumbprint, err) == -1
      || take_text (node, "sslCertificate", &ticket->certificate, err) == -1
      || take_text (node, "service", &ticket->service, err) == -1
      || take_text (node, "sessionId", &ticket->session_id, err) == -1)
    return -1;
  if (!ticket->host) {
    ticket->host = strdup (session_host (office->session));
    if (!ticket->host)
      return fail_memory (err);
  }
  if (!ticket->session_id)
    return fail (err, ERR_CORRUPT, "a ticket without a ticket in it");
  return 0;
}

int
ticket_office_ask (void *opaque, bool writable, struct nfc_ticket *ticket,
                   struct vmdk_error *err)
{
  struct ticket_office *office = opaque;
  CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };

  *ticket = (struct nfc_ticket){ 0 };
  if (find_service (office, err) == -1)
    return -1;
  if (ask (office, writable, &answer, err) == -1)
    return fail_prefix (err, "a ticket for %s",
                        writable ? "writing" : "reading");
  if (read_ticket (office, answer.value, ticket, err) == -1) {
    nfc_ticket_clear (ticket);
    return -1;
  }
  return 0;
}
