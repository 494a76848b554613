/* SPDX-License-Identifier: BSD-3-Clause */

/* The configuration file that nbdkit's vddk plugin hands to VMware's library:
 * lines of NAME = VALUE or NAME = "VALUE", '#' begins a comment, names in any
 * case.  What is about port 902 is followed; all other names are passed over,
 * as they always were.
 *
 *   vixDiskLib.nfc.AcceptTimeoutMs, RequestTimeoutMs, ReadTimeoutMs,
 *   WriteTimeoutMs                         0: wait without end
 *   vixDiskLib.nfcAio.Session.BufSizeIn64KB, BufCount
 */

#ifndef VMDKIT_REMOTE_CONFIG_H
#define VMDKIT_REMOTE_CONFIG_H

#include <stddef.h>

#include "nfc-settings.h"

extern int remote_config_read (struct nfc_settings *settings, const char *path,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* The same with its text, which ends in a NUL and is taken apart. */
extern int remote_config_parse (struct nfc_settings *settings, char *text,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

#endif /* VMDKIT_REMOTE_CONFIG_H */
