/* SPDX-License-Identifier: BSD-3-Clause */

/* One question to a server, and its answer.
 *
 *   CLEANUP_SOAP_REQUEST struct soap_request request = { 0 };
 *   CLEANUP_SOAP_ANSWER struct soap_answer answer = { 0 };
 *
 *   soap_begin (&request, "FindByUuid", &search_index);
 *   soap_add (&request, "uuid", uuid);
 *   if (session_call (session, &request, &answer, &err) == -1)
 *     ... answer.fault.type says what the server had against it
 *   found = soap_ref (answer.value, &ref);
 *
 * Everything that is put in is escaped.  A request that cannot be built (no
 * memory, bytes that XML cannot carry) remembers why, and fails when it is
 * sent, so that building is a list of calls without tests between them.
 *
 * Rules for asking:
 *
 *  1. Only the server that was named is asked: redirects are errors.
 *  2. A question that changes nothing (`.repeatable`) is asked again where the
 *     connection failed or the server was busy.  Any other only where it
 *     surely was not sent; it goes over a new connection, since libcurl itself
 *     repeats what a kept connection lost.
 *  3. An answer ends within the time limit, and is no larger than
 *     XML_MAX_BYTES, however slowly or eagerly the server sends.
 *
 * Nothing of a request is ever logged but the method's name.
 */

#ifndef VMDKIT_SOAP_H
#define VMDKIT_SOAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"
#include "log.h"
#include "tls.h"
#include "xml.h"

/* --------------------------------------------------------------------- */
/* References to what the server manages.  The id is opaque. */

#define REF_TYPE_SIZE 80
#define REF_ID_SIZE 512

struct vim_ref {
  char type[REF_TYPE_SIZE];
  char id[REF_ID_SIZE]; /* "": none */
};

/* -1 when an id is too long, or empty. */
extern int vim_ref_set (struct vim_ref *ref, const char *type, const char *id,
                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));
extern bool vim_ref_same (const struct vim_ref *a, const struct vim_ref *b)
  __attribute__ ((nonnull (1, 2)));

/* What an element refers to; false (and "" in *REF) where it is NULL, or no
 * reference.
 */
extern bool soap_ref (const struct xml_node *node, struct vim_ref *ref)
  __attribute__ ((nonnull (2)));

/* --------------------------------------------------------------------- */
/* Questions. */

struct soap_request {
  char *text; /* the body's child; wiped when freed */
  size_t len, capacity;
  const char *method; /* borrowed */
  const char *space;
  struct vmdk_error problem;

  bool repeatable;
  bool secret;        /* the server's words for a refusal are not shown */
  const char *action; /* the action's namespace, where it is not urn:vim25 */
  unsigned extra_seconds; /* how much longer than others it may take */
};

#define SOAP_VIM25 "urn:vim25"
#define SOAP_INTERNAL "urn:internalvim25"

/* Begin a request to METHOD of *OBJECT; sending it ends it. */
extern void soap_begin (struct soap_request *request, const char *method,
                        const struct vim_ref *object)
  __attribute__ ((nonnull (1, 2, 3)));
/* The same in another namespace. */
extern void soap_begin_in (struct soap_request *request, const char *space,
                           const char *method, const struct vim_ref *object)
  __attribute__ ((nonnull (1, 2, 3, 4)));

/* An element with text; nothing at all when TEXT is NULL. */
extern void soap_add (struct soap_request *request, const char *name,
                      const char *text) __attribute__ ((nonnull (1, 2)));
extern void soap_add_u64 (struct soap_request *request, const char *name,
                          uint64_t value) __attribute__ ((nonnull (1, 2)));
extern void soap_add_bool (struct soap_request *request, const char *name,
                           bool value) __attribute__ ((nonnull (1, 2)));
/* A reference; nothing at all when REF is NULL or none. */
extern void soap_add_ref (struct soap_request *request, const char *name,
                          const struct vim_ref *ref)
  __attribute__ ((nonnull (1, 2)));
/* An element with others in it, up to soap_close; TYPE (its xsi:type) may be
 * NULL.
 */
extern void soap_open (struct soap_request *request, const char *name,
                       const char *type) __attribute__ ((nonnull (1, 2)));
extern void soap_close (struct soap_request *request, const char *name)
  __attribute__ ((nonnull (1, 2)));

extern void soap_request_reset (struct soap_request *request)
  __attribute__ ((nonnull (1)));

/* --------------------------------------------------------------------- */
/* Answers. */

struct soap_fault {
  char type[REF_TYPE_SIZE]; /* "NotAuthenticated"; "" when there is none */
  char message[400];        /* for people; may be "" */
  char field[400]; /* what the fault names: file, privilegeId, sourceId ... */
};

struct soap_answer {
  struct xml_document *document;
  const struct xml_node *value; /* the first returnval, or NULL */
  struct soap_fault fault;
  long status;  /* HTTP's */
  char *cookie; /* "vmware_soap_session=...", if the server set one */
};

extern void soap_answer_reset (struct soap_answer *answer)
  __attribute__ ((nonnull (1)));

/* Whether we know what it means; of others we only repeat what they say. */
extern bool soap_fault_is_known (const struct soap_fault *fault)
  __attribute__ ((nonnull (1)));

/* Is it this fault? */
extern bool soap_is (const struct soap_answer *answer, const char *type)
  __attribute__ ((nonnull (1, 2)));

/* The server cannot do that: the two shapes of an unknown method, and the
 * faults that say so.
 */
extern bool soap_is_unsupported (const struct soap_answer *answer)
  __attribute__ ((nonnull (1)));

/* A fault that came another way, in a task or beside a property: NODE holds
 * its fields and has its type.  Fills *FAULT.
 */
extern void soap_fault_read (struct soap_fault *fault,
                             const struct xml_node *node, const char *message)
  __attribute__ ((nonnull (1, 3)));

/* A fault as an error: "WHAT: in our words: NAME (TYPE: the server's words)".
 */
extern int soap_fail_fault (struct vmdk_error *err, const char *what,
                            const struct soap_fault *fault)
  __attribute__ ((nonnull (1, 2, 3)));

/* Take an answer's bytes apart.  Returns -1 for faults, too. */
extern int soap_answer_read (struct soap_answer *answer,
                             const struct soap_request *request, long status,
                             const void *bytes, size_t count,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 6)));

/* --------------------------------------------------------------------- */
/* Servers. */

struct soap_settings {
  const char *host;
  unsigned port;                 /* 0: 443 */
  bool plain_http;               /* no TLS; for tests */
  const struct tls_trust *trust; /* borrowed for the client's life */
  struct vmdk_log log;
  unsigned connect_seconds; /* 0: 10 */
  unsigned call_seconds;    /* 0: 60 */
  unsigned retry_ms;        /* first pause before asking again; 0: 1000 */
};

struct soap_client;

extern struct soap_client *
soap_client_new (const struct soap_settings *settings, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern void soap_client_free (struct soap_client *client);
DEFINE_CLEANUP (soap_client, struct soap_client *, soap_client_free)

/* "host" or "host:port", as messages and URLs name it. */
extern const char *soap_client_name (const struct soap_client *client)
  __attribute__ ((nonnull (1)));

/* The end is near: every later question may take this long, all in all.  0:
 * it is not any more.
 */
extern void soap_client_hurry (struct soap_client *client, unsigned seconds)
  __attribute__ ((nonnull (1)));

/* Ask.  VERSION goes into the SOAPAction; COOKIE may be NULL.  Any number of
 * threads may ask at once, each over a connection of its own.
 */
extern int soap_call (struct soap_client *client, const char *version,
                      const char *cookie, const struct soap_request *request,
                      struct soap_answer *answer, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5, 6)));

#define CLEANUP_SOAP_REQUEST __attribute__ ((cleanup (soap_request_reset)))
#define CLEANUP_SOAP_ANSWER __attribute__ ((cleanup (soap_answer_reset)))

#endif /* VMDKIT_SOAP_H */
