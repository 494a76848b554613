/* SPDX-License-Identifier: BSD-3-Clause */

/* Loaded before nbdkit together with a sanitizer's runtime: freelocale that
 * frees nothing.
 *
 * With such a runtime loaded, a process that has called strerror waits for
 * ever in freelocale, seen with glibc 2.36 and GCC 12.  nbdkit's TLS
 * libraries call it at exit, so a server that has told of a missing file
 * would not end.  The same happens with nbdkit's own plugins.
 */

#define _GNU_SOURCE
#include <locale.h>

void
freelocale (locale_t locale)
{
  (void) locale;
}
