/* SPDX-License-Identifier: BSD-3-Clause */

/* Printing: for people, and as JSON for programs. */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static struct {
  bool out, err;
} coloured;

void
output_setup (enum when colour)
{
  const char *no_color = getenv ("NO_COLOR");
  const char *term = getenv ("TERM");
  const bool wanted =
    !(no_color && *no_color) && !(term && strcmp (term, "dumb") == 0);

  coloured.out = colour == WHEN_ALWAYS
                 || (colour == WHEN_AUTO && wanted && isatty (STDOUT_FILENO));
  coloured.err = colour == WHEN_ALWAYS
                 || (colour == WHEN_AUTO && wanted && isatty (STDERR_FILENO));
}

/* --------------------------------------------------------------------- */
/* Standard error. */

void
stderr_line (const char *line)
{
  progress_hide ();
  flockfile (stderr);
  fputs (line, stderr);
  fputc ('\n', stderr);
  funlockfile (stderr);
}

void
stderr_json (json_t *object)
{
  char *line = object ? json_dumps (object, JSON_COMPACT) : NULL;

  if (line)
    stderr_line (line);
  free (line);
  json_decref (object);
}

/* "vmdkit: TEXT", the first word in colour. */
static void
tell (const char *colour, const char *text)
{
  char line[ERROR_TEXT_SIZE + 64], safe[ERROR_TEXT_SIZE];

  text_escape (safe, sizeof safe, text);
  snprintf (line, sizeof line, "%svmdkit:%s %s", coloured.err ? colour : "",
            coloured.err ? "\033[0m" : "", safe);
  stderr_line (line);
}

#define RED "\033[1;31m"
#define YELLOW "\033[33m"
#define PLAIN ""

static const char *
kind_name (enum vmdk_error_kind kind)
{
  static const char *const names[] = {
    [ERR_NONE] = "none",           [ERR_SYSTEM] = "system",
    [ERR_CORRUPT] = "corrupt",     [ERR_DAMAGED] = "damaged",
    [ERR_NOT_VMDK] = "not-vmdk",   [ERR_UNSUPPORTED] = "unsupported",
    [ERR_DENIED] = "denied",       [ERR_MISSING] = "missing",
    [ERR_MISMATCH] = "mismatch",   [ERR_LOCKED] = "locked",
    [ERR_READ_ONLY] = "read-only", [ERR_ARGUMENT] = "argument",
  };

  return kind < sizeof names / sizeof names[0] && names[kind] ? names[kind]
                                                              : "other";
}

/* Put WHERE, a path, before the text, in place of the bare name that the core
 * knows a file by.
 */
static void
add_path (struct vmdk_error *err, const char *where)
{
  const char *slash = strrchr (where, '/');
  const char *name = NAME (slash ? slash + 1 : where);
  const size_t len = strlen (name);

  if (len > 0 && strncmp (err->text, name, len) == 0
      && strncmp (err->text + len, ": ", 2) == 0)
    memmove (err->text, err->text + len + 2, strlen (err->text + len + 2) + 1);
  fail_prefix (err, "%s", NAME (where));
}

int
tell_failure (const char *where, const struct vmdk_error *err)
{
  struct vmdk_error whole = *err;

  text_options (whole.text, sizeof whole.text, err->text);
  if (where)
    add_path (&whole, where);
  if (settings.json)
    stderr_json (json_pack ("{s:{s:s, s:i, s:o}}", "error", "kind",
                            kind_name (err->kind), "errno", err->errnum,
                            "text", json_text (whole.text)));
  else
    tell (RED, whole.text);
  return EXIT_FAILED;
}

void
tell_note (const char *format, ...)
{
  char text[ERROR_TEXT_SIZE];
  va_list args;

  if (settings.quiet)
    return;
  va_start (args, format);
  vsnprintf (text, sizeof text, format, args);
  va_end (args);
  if (settings.json)
    stderr_json (json_pack ("{s:o}", "note", json_text (text)));
  else
    tell (PLAIN, text);
}

void
output_log (void *opaque, enum log_topic topic, const char *said)
{
  char text[ERROR_TEXT_SIZE], line[ERROR_TEXT_SIZE + 16];

  (void) opaque;
  text_options (text, sizeof text, said);
  if (settings.json) {
    stderr_json (json_pack (
      "{s:o}", topic == LOG_WARNING ? "warning" : "debug", json_text (text)));
    return;
  }
  snprintf (line, sizeof line, "%s%s", topic == LOG_WARNING ? "warning: " : "",
            text);
  tell (topic == LOG_WARNING ? YELLOW : PLAIN, line);
}

/* --------------------------------------------------------------------- */
/* Standard output. */

int
print_finish (void)
{
  struct vmdk_error err;

  if (fflush (stdout) == 0 && !ferror (stdout))
    return EXIT_DONE;
  fail_errno (&err, errno ? errno : EIO, "standard output");
  return tell_failure (NULL, &err);
}

/* On a terminal everything beyond ASCII is escaped: there are control
 * characters among it.
 */
size_t
json_flags (void)
{
  return JSON_REAL_PRECISION (15)
         | (isatty (STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0);
}

int
print_json (json_t *value)
{
  struct vmdk_error err;
  int r;

  if (!value) {
    fail_memory (&err);
    return tell_failure (NULL, &err);
  }
  errno = 0;
  r = json_dumpf (value, stdout, JSON_INDENT (2) | json_flags ());
  json_decref (value);
  if (r == 0)
    putchar ('\n');
  return print_finish ();
}

/* The keys' column. */
#define KEY_WIDTH 20

void
print_field (const char *key, const char *format, ...)
{
  CLEANUP_FREE char *text = NULL, *safe = NULL;
  const int padding = KEY_WIDTH - (int) strlen (key) - 1;
  va_list args;
  int len;

  va_start (args, format);
  len = vasprintf (&text, format, args);
  va_end (args);
  if (len == -1)
    text = NULL;
  safe = text ? malloc ((size_t) len * 4 + 1) : NULL;
  if (safe)
    text_escape (safe, (size_t) len * 4 + 1, text);
  printf ("%s%s:%s%*s%s\n", coloured.out ? "\033[1m" : "", key,
          coloured.out ? "\033[0m" : "", padding > 1 ? padding : 1, "",
          safe ? safe : "(out of memory)");
}

/* Bytes that are no UTF-8 become \xNN. */
json_t *
json_text (const char *text)
{
  json_t *string = json_string (text);
  CLEANUP_FREE char *safe = NULL;
  char *out;

  if (string)
    return string;
  safe = malloc (strlen (text) * 4 + 1);
  if (!safe)
    return NULL;
  for (out = safe; *text; text++)
    if ((unsigned char) *text < 0x80)
      *out++ = *text;
    else
      out += sprintf (out, "\\x%02x", (unsigned char) *text);
  *out = '\0';
  return json_string (safe);
}
