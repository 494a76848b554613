/* SPDX-License-Identifier: BSD-3-Clause */

/* The plugin's own file name tells.  See called.h. */

#include <config.h>

#include <dlfcn.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "called.h"

/* Flags of the vddk plugin, with which programs that know it call it.  They
 * have nothing to show here.
 */
extern int vddk_debug_datapath, vddk_debug_diskinfo, vddk_debug_extents,
  vddk_debug_stats;
NBDKIT_DLL_PUBLIC int vddk_debug_datapath = 0;
NBDKIT_DLL_PUBLIC int vddk_debug_diskinfo = 0;
NBDKIT_DLL_PUBLIC int vddk_debug_extents = 0;
NBDKIT_DLL_PUBLIC int vddk_debug_stats = 0;

const char *
called_name (void)
{
  static const char *const others[] = { "vddk", "nfc" };
  Dl_info info;
  const char *file;

  if (dladdr ((void *) called_name, &info) == 0 || !info.dli_fname)
    return "vmdk";
  file = strrchr (info.dli_fname, '/');
  file = file ? file + 1 : info.dli_fname;
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    const size_t len = strlen (others[i]);

    if (strncmp (file, "nbdkit-", 7) == 0
        && strncmp (file + 7, others[i], len) == 0
        && strcmp (file + 7 + len, "-plugin.so") == 0)
      return others[i];
  }
  return "vmdk";
}
