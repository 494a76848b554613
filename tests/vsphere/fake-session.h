/* SPDX-License-Identifier: BSD-3-Clause */

/* A fake server as in fake-group.h, and a session with it. */

#ifndef VMDKIT_FAKE_SESSION_H
#define VMDKIT_FAKE_SESSION_H

#include "fake-group.h"

static struct session *session;

static inline int
session_setup (void **state)
{
  fake_setup (state);
  session = fake_session (&fake);
  return 0;
}

static inline int
session_teardown (void **state)
{
  session_close (session);
  return fake_teardown (state);
}

#endif /* VMDKIT_FAKE_SESSION_H */
