/* SPDX-License-Identifier: BSD-3-Clause */

/* A session with a vCenter or an ESXi host.
 *
 * 1. Opening asks what the server is, chooses the API's version and logs in:
 *    with user and password, or with the cookie of a session that somebody
 *    else opened and will end.
 * 2. A session that the server has ended is opened once more, by one thread,
 *    and what failed is repeated once.  A server that then still refuses, or
 *    refuses the password, is not asked again: accounts get locked.
 * 3. A thread of the session keeps it from ending while only disks are read.
 * 4. session_close logs out, and so does everything here that fails after
 *    logging in.
 *
 * Any number of threads may use a session at once.  It has a thread, so it is
 * opened after the process has forked.
 */

#ifndef VMDKIT_SESSION_H
#define VMDKIT_SESSION_H

#include "soap.h"

struct session_settings {
  struct soap_settings soap; /* host, port, trust, log, limits */
  const char *user, *password;
  const char *cookie;          /* instead of both: with its name or without */
  const char *version;         /* of the API; NULL: as the server says */
  unsigned keep_alive_seconds; /* 0: 300 */
  unsigned poll_ms;            /* first pause when waiting for tasks; 0: 500 */
};

struct session_about {
  bool is_vcenter;
  char version[24];     /* of the product */
  char api_version[24]; /* that we speak */
  char build[24];
  char name[128];
  char instance[80]; /* a vCenter's uuid; "" for a host */
};

enum session_service {
  SERVICE_INSTANCE,
  SERVICE_ROOT_FOLDER,
  SERVICE_PROPERTIES,
  SERVICE_VIEWS,
  SERVICE_SESSIONS,
  SERVICE_AUTHORIZATION,
  SERVICE_SEARCH,
  SERVICE_FILES,
  SERVICE_DISKS,
  NR_SERVICES
};

struct session;

extern struct session *session_open (const struct session_settings *settings,
                                     struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Logs out, unless the session was given by its cookie.  Does not fail: what
 * cannot be ended ends by itself, after half an hour.
 */
extern void session_close (struct session *session);
DEFINE_CLEANUP (session, struct session *, session_close)
#define CLEANUP_SESSION CLEANUP (session)

/* The process is about to end, or somebody waits: nothing may take longer than
 * this, all in all.  0: there is time again.
 */
extern void session_hurry (struct session *session, unsigned seconds)
  __attribute__ ((nonnull (1)));

extern const struct session_about *session_about (const struct session *s)
  __attribute__ ((nonnull (1)));
/* Its id is "" where the server has no such service. */
extern const struct vim_ref *session_service (const struct session *session,
                                              enum session_service service)
  __attribute__ ((nonnull (1)));
extern const struct vmdk_log *session_log (const struct session *session)
  __attribute__ ((nonnull (1)));
extern const char *session_server (const struct session *session)
  __attribute__ ((nonnull (1)));
/* The server without a port. */
extern const char *session_host (const struct session *session)
  __attribute__ ((nonnull (1)));
extern unsigned session_poll_ms (const struct session *session)
  __attribute__ ((nonnull (1)));

/* Ask, by rule 2. */
extern int session_call (struct session *session,
                         const struct soap_request *request,
                         struct soap_answer *answer, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* The cookie "vmware_soap_session=...", for other requests to the same server,
 * which the caller wipes and frees; *GENERATION says which session it is.
 */
extern char *session_cookie (struct session *session, unsigned *generation,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* The server did not take the cookie of that generation: log in again, unless
 * somebody has meanwhile.
 */
extern int session_renew (struct session *session, unsigned generation,
                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

#endif /* VMDKIT_SESSION_H */
