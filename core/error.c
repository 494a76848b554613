/* SPDX-License-Identifier: BSD-3-Clause */

/* Setting errors.  See error.h. */

#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

static int
errnum_of_kind (enum vmdk_error_kind kind)
{
  switch (kind) {
  case ERR_NONE:
  case ERR_SYSTEM:
  case ERR_DAMAGED:
    return EIO;
  case ERR_CORRUPT:
  case ERR_NOT_VMDK:
  case ERR_ARGUMENT:
    return EINVAL;
  case ERR_UNSUPPORTED:
    return ENOTSUP;
  case ERR_DENIED:
    return EACCES;
  case ERR_MISSING:
    return ENOENT;
  case ERR_MISMATCH:
    return ESTALE;
  case ERR_LOCKED:
    return EBUSY;
  case ERR_READ_ONLY:
    return EROFS;
  }
  return EIO;
}

void
text_escape (char *dst, size_t dst_size, const char *src)
{
  static const char hex[] = "0123456789abcdef";
  const unsigned char *p = (const unsigned char *) src;
  size_t used = 0;

  if (dst_size == 0)
    return;
  for (; *p; p++) {
    const int c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;
    const int c1_tail =
      (const char *) p > src && p[-1] == 0xc2 && p[0] >= 0x80 && p[0] <= 0x9f;
    const int control = *p < 0x20 || *p == 0x7f || c1 || c1_tail;

    if (used + (control ? 4 : 1) >= dst_size)
      break;
    if (control) {
      dst[used++] = '\\';
      dst[used++] = 'x';
      dst[used++] = hex[*p >> 4];
      dst[used++] = hex[*p & 15];
    }
    else
      dst[used++] = *p;
  }
  dst[used] = '\0';
}

const char *
name_text (char buf[NAME_TEXT_SIZE], const char *name)
{
  const size_t len = strlen (name);
  const size_t half = (NAME_TEXT_SIZE - 8) / 2;

  if (len < NAME_TEXT_SIZE)
    memcpy (buf, name, len + 1);
  else {
    memcpy (buf, name, half);
    memcpy (buf + half, "...", 3);
    memcpy (buf + half + 3, name + len - half, half + 1);
  }
  return buf;
}

static void __attribute__ ((format (printf, 3, 0)))
set (struct vmdk_error *err, enum vmdk_error_kind kind, const char *fmt,
     va_list args)
{
  char raw[ERROR_TEXT_SIZE];

  vsnprintf (raw, sizeof raw, fmt, args);
  err->kind = kind;
  err->errnum = errnum_of_kind (kind);
  text_escape (err->text, sizeof err->text, raw);
}

int
fail (struct vmdk_error *err, enum vmdk_error_kind kind, const char *fmt, ...)
{
  va_list args;

  va_start (args, fmt);
  set (err, kind, fmt, args);
  va_end (args);
  return -1;
}

int
fail_errno (struct vmdk_error *err, int errnum, const char *fmt, ...)
{
  char reason[128];
  size_t len;
  va_list args;

  va_start (args, fmt);
  set (err, errnum == ENOENT ? ERR_MISSING : ERR_SYSTEM, fmt, args);
  va_end (args);
  err->errnum = errnum > 0 ? errnum : EIO;

  len = strlen (err->text);
  snprintf (err->text + len, sizeof err->text - len, ": %s",
            strerror_r (err->errnum, reason, sizeof reason));
  return -1;
}

int
fail_memory (struct vmdk_error *err)
{
  err->kind = ERR_SYSTEM;
  err->errnum = ENOMEM;
  snprintf (err->text, sizeof err->text, "out of memory");
  return -1;
}

int
fail_prefix (struct vmdk_error *err, const char *fmt, ...)
{
  char raw[ERROR_TEXT_SIZE], old[ERROR_TEXT_SIZE];
  size_t len;
  va_list args;

  memcpy (old, err->text, sizeof old);
  va_start (args, fmt);
  vsnprintf (raw, sizeof raw, fmt, args);
  va_end (args);
  text_escape (err->text, sizeof err->text, raw);
  len = strlen (err->text);
  snprintf (err->text + len, sizeof err->text - len, ": %s", old);
  return -1;
}
