/* SPDX-License-Identifier: BSD-3-Clause */

/* Parameters of disks that a vCenter or an ESXi host serves: those of nbdkit's
 * vddk plugin, with its meanings, and a few more.  For parameters.c only.
 */

#ifndef VMDKIT_REMOTE_PARAMETERS_H
#define VMDKIT_REMOTE_PARAMETERS_H

#include <stdbool.h>

#include "parameters.h"

/* A word that vsphere knows (remote-words.h).  A secret is its VALUE, or is
 * read where that says ("-", "+FILE", "-FD"); one that was written on the
 * command line is blanked there, so that ps does not show it any longer.
 */
extern int remote_parameter_set (struct remote_words *words, const char *key,
                                 const char *value)
  __attribute__ ((warn_unused_result, nonnull));

/* Whether any parameter was given that only means something for a server. */
extern bool remote_is_asked_for (const struct parameters *p)
  __attribute__ ((nonnull (1)));

/* Check what belongs together; tells nbdkit what is wrong. */
extern int remote_check_parameters (const struct parameters *p)
  __attribute__ ((warn_unused_result, nonnull (1)));

#endif /* VMDKIT_REMOTE_PARAMETERS_H */
