/* SPDX-License-Identifier: BSD-3-Clause */

/* One fake server for all of a program's tests, or for each of them.  See
 * fake-helper.h.
 */

#ifndef VMDKIT_FAKE_GROUP_H
#define VMDKIT_FAKE_GROUP_H

#include "fake-helper.h"

static struct fake fake;

static inline int
fake_setup (void **state)
{
  (void) state;
  fake = fake_start (NULL);
  return 0;
}

static inline int
fake_teardown (void **state)
{
  (void) state;
  fake_stop (&fake);
  return 0;
}

#endif /* VMDKIT_FAKE_GROUP_H */
