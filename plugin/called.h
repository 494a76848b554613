/* SPDX-License-Identifier: BSD-3-Clause */

/* Under which name the plugin was installed: "vmdk", or one of those that
 * other programs call ("vddk", "nfc").  nbdkit's messages and debug flags go
 * by it; nothing else differs.
 */

#ifndef VMDKIT_CALLED_H
#define VMDKIT_CALLED_H

extern const char *called_name (void);

/* How a user gets to see what nobody understood. */
extern const char *called_for_log (void);

/* -D NAME.open=1 and so on; nbdkit sets them. */
extern int vmdk_debug_open, vmdk_debug_tables, vmdk_debug_grains;

#endif /* VMDKIT_CALLED_H */
