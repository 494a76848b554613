/* SPDX-License-Identifier: BSD-3-Clause */

/* Answers are read, and faults become errors.  See soap.h. */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "soap.h"

/* --------------------------------------------------------------------- */
/* Faults. */

struct fault_row {
  const char *type;
  const char *field; /* which of its fields names something, or NULL */
  enum vmdk_error_kind kind;
  int errnum; /* 0: the kind's own */
  const char *words;
};

static const struct fault_row fault_rows[] = {
  { "NotAuthenticated", NULL, ERR_SYSTEM, EIO, "the session has ended" },
  { "InvalidLogin", NULL, ERR_DENIED, 0, "user name or password are refused" },
  { "NoPermission", "privilegeId", ERR_DENIED, 0,
    "the user lacks a privilege" },
  { "ManagedObjectNotFound", "obj", ERR_MISSING, 0, "no such object" },
  { "NotFound", NULL, ERR_MISSING, 0, "not found" },
  { "FileNotFound", "file", ERR_MISSING, 0, "no such file" },
  { "FileLocked", "file", ERR_LOCKED, 0, "the file is in use" },
  { "CannotAccessFile", "file", ERR_DENIED, 0,
    "the file cannot be accessed (is it in use?)" },
  { "CannotDeleteFile", "file", ERR_LOCKED, 0, "the file cannot be deleted" },
  { "FileAlreadyExists", "file", ERR_SYSTEM, EEXIST,
    "there is a file of that name" },
  { "FileFault", "file", ERR_SYSTEM, EIO, "the file cannot be used" },
  { "NoDiskSpace", "file", ERR_SYSTEM, ENOSPC, "the datastore is full" },
  { "InvalidDatastore", "name", ERR_MISSING, 0, "no such datastore" },
  { "InvalidDatastorePath", "datastorePath", ERR_ARGUMENT, 0,
    "not a path in a datastore" },
  { "InvalidDiskFormat", NULL, ERR_UNSUPPORTED, 0,
    "the server cannot use that disk format" },
  { "InvalidArgument", "invalidProperty", ERR_ARGUMENT, 0,
    "the server refuses an argument" },
  { "InvalidProperty", "name", ERR_UNSUPPORTED, 0,
    "the server knows no such property" },
  { "TaskInProgress", "task", ERR_LOCKED, 0,
    "another operation runs on the object" },
  { "InvalidState", NULL, ERR_LOCKED, 0, "not possible in this state" },
  { "InvalidPowerState", "existingState", ERR_LOCKED, 0,
    "not possible in this power state" },
  { "MethodDisabled", "source", ERR_LOCKED, 0, "the method is disabled" },
  { "MethodAlreadyDisabledFault", "sourceId", ERR_LOCKED, 0,
    "someone disabled the method before" },
  { "MethodNotFound", "method", ERR_UNSUPPORTED, 0,
    "the server cannot do this" },
  { "InvalidRequest", NULL, ERR_UNSUPPORTED, 0,
    "the server does not know the request" },
  { "NotSupported", NULL, ERR_UNSUPPORTED, 0, "the server cannot do this" },
  { "NotImplemented", NULL, ERR_UNSUPPORTED, 0, "the server cannot do this" },
  { "RestrictedVersion", NULL, ERR_DENIED, 0,
    "the server's license does not allow this" },
  { "LicenseRestricted", NULL, ERR_DENIED, 0,
    "the server's license does not allow this" },
  { "HostNotConnected", NULL, ERR_SYSTEM, EIO, "the host is not connected" },
  { "HostCommunication", NULL, ERR_SYSTEM, EIO,
    "the server cannot talk to the host" },
  { "HostNotReachable", NULL, ERR_SYSTEM, EIO, "the host is not reachable" },
  { "ToolsUnavailable", NULL, ERR_UNSUPPORTED, 0,
    "the guest runs no VMware Tools" },
  { "ApplicationQuiesceFault", NULL, ERR_SYSTEM, EIO,
    "the guest's applications could not be quiesced" },
  { "FilesystemQuiesceFault", NULL, ERR_SYSTEM, EIO,
    "the guest's file systems could not be quiesced" },
  { "SystemError", "reason", ERR_SYSTEM, EIO, "an error within the server" },
};

static const struct fault_row other_fault = { "", NULL, ERR_SYSTEM, EIO,
                                              "refused by the server" };

static const struct fault_row *
row_of (const char *type)
{
  for (size_t i = 0; i < sizeof fault_rows / sizeof fault_rows[0]; i++)
    if (strcmp (type, fault_rows[i].type) == 0)
      return &fault_rows[i];
  return &other_fault;
}

static void
copy_text (char *dst, size_t size, const char *src)
{
  snprintf (dst, size, "%s", src);
}

/* "InvalidLoginFault" is of type InvalidLogin, where no type is given. */
static void
type_from_name (struct soap_fault *fault, const char *name)
{
  const size_t len = strlen (name);

  copy_text (fault->type, sizeof fault->type, name);
  if (len > 5 && len < sizeof fault->type
      && strcmp (name + len - 5, "Fault") == 0)
    fault->type[len - 5] = '\0';
}

void
soap_fault_read (struct soap_fault *fault, const struct xml_node *node,
                 const char *message)
{
  const char *field;

  *fault = (struct soap_fault){ 0 };
  copy_text (fault->message, sizeof fault->message, message);
  if (!node) {
    copy_text (fault->type, sizeof fault->type, "RuntimeFault");
    return;
  }
  if (node->type[0])
    copy_text (fault->type, sizeof fault->type, node->type);
  else
    type_from_name (fault, node->name);
  field = row_of (fault->type)->field;
  /* the whole family of file faults names its file */
  copy_text (fault->field, sizeof fault->field,
             xml_text (node, field ? field : "file"));
}

int
soap_fail_fault (struct vmdk_error *err, const char *what,
                 const struct soap_fault *fault)
{
  const struct fault_row *row = row_of (fault->type);

  fail (err, row->kind, "%s: %s%s%s (%s%s%s)", what, row->words,
        fault->field[0] ? ": " : "", fault->field, fault->type,
        fault->message[0] ? ": " : "", fault->message);
  if (row->errnum)
    err->errnum = row->errnum;
  return -1;
}

bool
soap_fault_is_known (const struct soap_fault *fault)
{
  return row_of (fault->type) != &other_fault;
}

bool
soap_is (const struct soap_answer *answer, const char *type)
{
  return strcmp (answer->fault.type, type) == 0;
}

bool
soap_is_unsupported (const struct soap_answer *answer)
{
  return answer->fault.type[0]
         && row_of (answer->fault.type)->kind == ERR_UNSUPPORTED;
}

/* --------------------------------------------------------------------- */

bool
soap_ref (const struct xml_node *node, struct vim_ref *ref)
{
  struct vmdk_error ignored;

  *ref = (struct vim_ref){ 0 };
  return node && node->ref_type[0]
         && vim_ref_set (ref, node->ref_type, node->text, &ignored) == 0;
}

static int
read_fault (struct soap_answer *answer, const struct soap_request *request,
            const struct xml_node *fault, struct vmdk_error *err)
{
  const struct xml_node *detail = xml_child (fault, "detail");

  soap_fault_read (&answer->fault, detail ? detail->first : NULL,
                   xml_text (fault, "faultstring"));
  if (request->secret) {
    /* it might say what was sent */
    answer->fault.message[0] = '\0';
    answer->fault.field[0] = '\0';
  }
  return soap_fail_fault (err, request->method, &answer->fault);
}

/* An answer that is no SOAP: a proxy's page, a server that is busy. */
static int
fail_status (const struct soap_request *request, long status,
             const struct vmdk_error *reason, struct vmdk_error *err)
{
  char why[ERROR_TEXT_SIZE / 2];

  snprintf (why, sizeof why, "%.*s", (int) sizeof why - 1, reason->text);
  if (status >= 300 && status < 400)
    return fail (err, ERR_SYSTEM,
                 "%s: the server sends us elsewhere (HTTP status %ld), which "
                 "is not followed: name the right server",
                 request->method, status);
  if (status == 503)
    return fail (err, ERR_SYSTEM,
                 "%s: the server is busy, or has too many sessions (HTTP "
                 "status 503)",
                 request->method);
  if (status != 200 && status != 500)
    return fail (err, ERR_SYSTEM,
                 "%s: HTTP status %ld instead of an answer: is this a "
                 "vSphere server?",
                 request->method, status);
  return fail (err, ERR_SYSTEM, "%s: %s", request->method, why);
}

/* The envelope's body has one child: a fault, or METHODResponse. */
static const struct xml_node *
body_child (const struct xml_document *document)
{
  const struct xml_node *root = xml_root (document);
  const struct xml_node *body = xml_child (root, "Body");

  if (!root->soap || strcmp (root->name, "Envelope") != 0 || !body
      || !body->soap)
    return NULL;
  return body->first;
}

static bool
answers (const struct xml_node *child, const char *method)
{
  const size_t len = strlen (method);

  return strncmp (child->name, method, len) == 0
         && strcmp (child->name + len, "Response") == 0;
}

int
soap_answer_read (struct soap_answer *answer,
                  const struct soap_request *request, long status,
                  const void *bytes, size_t count, struct vmdk_error *err)
{
  struct vmdk_error reason = { 0 };
  const struct xml_node *child;

  answer->status = status;
  if ((status != 200 && status != 500) || count == 0) {
    fail (&reason, ERR_CORRUPT, "the answer is empty");
    return fail_status (request, status, &reason, err);
  }
  answer->document = xml_parse (bytes, count, &reason);
  if (!answer->document)
    return fail_status (request, status, &reason, err);
  child = body_child (answer->document);
  if (child && child->soap && strcmp (child->name, "Fault") == 0)
    return read_fault (answer, request, child, err);
  if (!child || !answers (child, request->method)) {
    fail (&reason, ERR_CORRUPT, "the answer is not one to this question: %s",
          NAME (child ? child->name : xml_root (answer->document)->name));
    return fail_status (request, status, &reason, err);
  }
  answer->value = xml_child (child, "returnval");
  return 0;
}

void
soap_answer_reset (struct soap_answer *answer)
{
  xml_free (answer->document);
  if (answer->cookie)
    explicit_bzero (answer->cookie, strlen (answer->cookie));
  free (answer->cookie);
  *answer = (struct soap_answer){ 0 };
}
