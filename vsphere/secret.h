/* SPDX-License-Identifier: BSD-3-Clause */

/* Passwords and cookies, while they are needed.
 *
 * Each has pages of its own, which are left out of core dumps and wiped when
 * it is freed.
 */

#ifndef VMDKIT_SECRET_H
#define VMDKIT_SECRET_H

#include "cleanup.h"

struct secret;

/* NULL when memory cannot be had. */
extern struct secret *secret_new (const char *text)
  __attribute__ ((warn_unused_result, nonnull (1)));
extern const char *secret_text (const struct secret *secret)
  __attribute__ ((nonnull (1)));
extern void secret_free (struct secret *secret);
DEFINE_CLEANUP (secret, struct secret *, secret_free)

#endif /* VMDKIT_SECRET_H */
