/* SPDX-License-Identifier: BSD-3-Clause */

/* Parameters of disks that a vCenter or an ESXi host serves: those of nbdkit's
 * vddk plugin, with its meanings, and a few more.  For parameters.c only.
 */

#ifndef VMDKIT_REMOTE_PARAMETERS_H
#define VMDKIT_REMOTE_PARAMETERS_H

#include <stdbool.h>

#include "parameters.h"

/* Read a secret that VALUE is ("xyz") or leads to ("-", "+FILE", "-FD") into
 * *TARGET, which was NULL.  One that was written on the command line is
 * blanked there, so that ps does not show it any longer.
 */
extern int remote_read_secret (const char *key, const char *value,
                               char **target)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

extern int remote_parse_prepare (const char *value,
                                 enum prepare_policy *policy)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Whether any parameter was given that only means something for a server. */
extern bool remote_is_asked_for (const struct parameters *p)
  __attribute__ ((nonnull (1)));

/* Check what belongs together; tells nbdkit what is wrong. */
extern int remote_check_parameters (const struct parameters *p)
  __attribute__ ((warn_unused_result, nonnull (1)));

/* Wipe password and cookie, which whoever needs them has copied. */
extern void remote_forget_secrets (struct remote_parameters *r)
  __attribute__ ((nonnull (1)));

extern void remote_parameters_free (struct remote_parameters *r)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_REMOTE_PARAMETERS_H */
