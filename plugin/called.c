/* SPDX-License-Identifier: BSD-3-Clause */

/* The plugin's own file name tells.  See called.h. */

#include <config.h>

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "called.h"

/* nbdkit looks for NAME_debug_FLAG; each is one variable under all names. */
#define ALSO_AS(name, flag)                        \
  extern NBDKIT_DLL_PUBLIC int name##_debug_##flag \
    __attribute__ ((alias ("vmdk_debug_" #flag)))

#define FLAG(flag)                                \
  extern NBDKIT_DLL_PUBLIC int vmdk_debug_##flag; \
  int vmdk_debug_##flag = 0;                      \
  ALSO_AS (vddk, flag);                           \
  ALSO_AS (nfc, flag)

FLAG (open);
FLAG (tables);
FLAG (grains);

/* Flags of the vddk plugin, with which programs that know it call it.  They
 * have nothing to show here.
 */
FLAG (datapath);
FLAG (diskinfo);
FLAG (extents);
FLAG (stats);

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

const char *
called_for_log (void)
{
  static char text[64];

  snprintf (text, sizeof text, "nbdkit -v -D %s.open=1", called_name ());
  return text;
}
