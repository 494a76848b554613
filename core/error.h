/* SPDX-License-Identifier: BSD-3-Clause */

/* The one way to fail.
 *
 * A function that can fail takes a struct vmdk_error last and returns 0 or
 * -1 (or a pointer or NULL).  The caller owns the struct, usually on its
 * stack; nothing in it is allocated, so nothing has to be freed.
 *
 * Whoever detects a fault sets the error once, with place, value and limit.
 * Callers above only put a prefix before it ("disk-s002.vmdk: ...").  The
 * text is always one short line: bytes that could move a terminal's cursor
 * are escaped when the text is set, whatever file they came from.
 */

#ifndef VMDKIT_ERROR_H
#define VMDKIT_ERROR_H

#include <stdarg.h>
#include <stddef.h>

enum vmdk_error_kind {
  ERR_NONE = 0,
  ERR_SYSTEM,      /* a system call failed; errnum says how */
  ERR_CORRUPT,     /* a structure is malformed: refused at open (EINVAL) */
  ERR_DAMAGED,     /* one range cannot be read, the rest can (EIO) */
  ERR_NOT_VMDK,    /* not a VMDK at all, or not the file to open (EINVAL) */
  ERR_UNSUPPORTED, /* understood, and nothing we can serve (ENOTSUP) */
  ERR_DENIED,      /* refused by the rules for strangers' images (EACCES) */
  ERR_MISSING,     /* a file, link or member is not there (ENOENT) */
  ERR_MISMATCH,  /* the parent is not the one the child was made on (ESTALE) */
  ERR_LOCKED,    /* another program uses the file (EBUSY) */
  ERR_READ_ONLY, /* cannot be written (EROFS) */
  ERR_ARGUMENT,  /* the caller asked for something that cannot be (EINVAL) */
};

#define ERROR_TEXT_SIZE 1024

struct vmdk_error {
  enum vmdk_error_kind kind;
  int errnum;                 /* an errno value, never 0 once set */
  char text[ERROR_TEXT_SIZE]; /* one line, no newline, printable */
};

/* Set *err.  Always returns -1, so that `return fail (...)` reads well. */
extern int fail (struct vmdk_error *err, enum vmdk_error_kind kind,
                 const char *fmt, ...)
  __attribute__ ((format (printf, 3, 4), nonnull (1, 3), cold));

/* The same with an errno value of the caller's choice; ": " and the system's
 * words for it are appended.
 */
extern int fail_errno (struct vmdk_error *err, int errnum, const char *fmt,
                       ...)
  __attribute__ ((format (printf, 3, 4), nonnull (1, 3), cold));

/* Memory could not be had. */
extern int fail_memory (struct vmdk_error *err)
  __attribute__ ((nonnull (1), cold));

/* Put "PREFIX: " before the text of an error that is already set.  Always
 * returns -1.
 */
extern int fail_prefix (struct vmdk_error *err, const char *fmt, ...)
  __attribute__ ((format (printf, 2, 3), nonnull (1, 2), cold));

/* A name from a file, shortened for a message: at most about 200 bytes, a
 * longer one is cut in the middle.  The buffer lives in the caller's block.
 */
#define NAME_TEXT_SIZE 208
extern const char *name_text (char buf[NAME_TEXT_SIZE], const char *name)
  __attribute__ ((nonnull (1, 2)));
#define NAME(name) name_text ((char[NAME_TEXT_SIZE]){ 0 }, (name))

/* Make a whole text safe to print on one line: control bytes (C0, DEL and
 * the two-byte UTF-8 form of C1) become \xNN.  What does not fit is cut.
 */
extern void text_escape (char *dst, size_t dst_size, const char *src)
  __attribute__ ((nonnull (1, 3)));

#endif /* VMDKIT_ERROR_H */
