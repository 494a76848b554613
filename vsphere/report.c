/* SPDX-License-Identifier: BSD-3-Clause */

/* What is not understood, for the log.  See report.h. */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "cleanup.h"
#include "report.h"

#define MAX_BYTES 64
#define MAX_TEXT 4096
#define LINE 200 /* still whole when each byte is escaped */

static void
print_hex (char *out, const uint8_t *bytes, size_t count)
{
  *out = '\0';
  for (size_t i = 0; i < count; i++)
    out += sprintf (out, "%02x", bytes[i]);
}

void
report_bytes (const struct vmdk_log *log, const char *what, const void *bytes,
              size_t count)
{
  const size_t n = min_u64 (count, MAX_BYTES);
  char hex[2 * MAX_BYTES + 1];

  print_hex (hex, bytes, n);
  log_debug (log, LOG_OPEN, "%s: %zu bytes: %s%s", what, count, hex,
             n < count ? "..." : "");
}

/* --------------------------------------------------------------------- */
/* Text. */

void
report_mask (char *text, const char *secret)
{
  const size_t len = strlen (secret);

  while (len > 0 && (text = strstr (text, secret)))
    memset (text, '*', len);
}

/* Whether NAME, LEN bytes, is an element that has a secret in it. */
static bool
is_secret (const char *name, size_t len)
{
  static const char *const names[] = {
    "sessionId", "sessionID", "key",         "password",    "ticket",
    "token",     "cookie",    "cloneTicket", "newPassword",
  };
  const char *colon = memchr (name, ':', len);

  if (colon) {
    len -= (size_t) (colon + 1 - name);
    name = colon + 1;
  }
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strlen (names[i]) == len && memcmp (names[i], name, len) == 0)
      return true;
  return false;
}

/* What such elements contain. */
static void
mask_elements (char *text)
{
  while ((text = strchr (text, '<'))) {
    const size_t len = strcspn (++text, " />\t\r\n");
    const bool secret = is_secret (text, len);

    text += strcspn (text, ">");
    if (secret && text[0] == '>' && text[-1] != '/')
      memset (text + 1, '*', strcspn (text + 1, "<"));
  }
}

static void
mask_cookie (char *text, const char *cookie)
{
  const char *value = strchr (cookie, '=');
  CLEANUP_FREE char *bare = NULL;
  size_t len;

  report_mask (text, cookie);
  value = value ? value + 1 : cookie;
  value += strspn (value, "\"");
  bare = strdup (value);
  if (!bare) {
    *text = '\0';
    return;
  }
  len = strcspn (bare, "\"; ");
  bare[len] = '\0';
  report_mask (text, bare);
  explicit_bzero (bare, len);
}

void
report_text (const struct vmdk_log *log, const char *what, const char *text,
             size_t count, const char *cookie)
{
  const size_t n = min_u64 (count, MAX_TEXT);
  CLEANUP_FREE char *copy = NULL;

  if (count == 0 || !log_wants (log, LOG_OPEN))
    return;
  /* masked as a whole: what is cut off may end within a secret */
  copy = malloc (count + 1);
  if (!copy)
    return;
  for (size_t i = 0; i < count; i++)
    copy[i] = text[i] ? text[i] : '.';
  copy[count] = '\0';
  mask_elements (copy);
  if (cookie)
    mask_cookie (copy, cookie);
  log_debug (log, LOG_OPEN, "%s: %zu bytes:", what, count);
  for (size_t at = 0; at < n && copy[at]; at += LINE)
    log_debug (log, LOG_OPEN, "| %.*s", (int) min_u64 (LINE, n - at),
               copy + at);
  explicit_bzero (copy, count);
}

/* --------------------------------------------------------------------- */

int
report_ask (struct vmdk_error *err, const struct vmdk_log *log)
{
  static const char words[] = "; please report it with what this logs: ";
  char text[sizeof err->text];
  size_t room;

  if (!log->how || strstr (err->text, words))
    return -1;
  room = sizeof text - strlen (words) - strlen (log->how) - 1;
  snprintf (text, sizeof text, "%.*s%s%s", (int) room, err->text, words,
            log->how);
  memcpy (err->text, text, sizeof text);
  return -1;
}

/* --------------------------------------------------------------------- */
/* Frames. */

#define HEADER_SIZE 16

void
report_trace_init (struct report_trace *trace)
{
  *trace = (struct report_trace){ 0 };
  pthread_mutex_init (&trace->lock, NULL);
}

void
report_trace_destroy (struct report_trace *trace)
{
  pthread_mutex_destroy (&trace->lock);
}

void
report_trace_add (struct report_trace *trace, bool sent, const uint8_t *header,
                  const uint8_t *payload, size_t payload_size)
{
  const size_t n =
    min_u64 (payload_size, REPORT_FRAME_SIZE - (size_t) HEADER_SIZE);
  LOCK_FOR_SCOPE (&trace->lock);
  const unsigned i = trace->count++ % REPORT_NR_FRAMES;

  trace->frames[i].sent = sent;
  trace->frames[i].size = (uint32_t) (HEADER_SIZE + payload_size);
  memcpy (trace->frames[i].bytes, header, HEADER_SIZE);
  if (n > 0)
    memcpy (trace->frames[i].bytes + HEADER_SIZE, payload, n);
}

void
report_trace_tell (struct report_trace *trace, const struct vmdk_log *log)
{
  LOCK_FOR_SCOPE (&trace->lock);
  const unsigned n = (unsigned) min_u64 (trace->count, REPORT_NR_FRAMES);

  for (unsigned j = trace->count - n; j < trace->count; j++) {
    const unsigned i = j % REPORT_NR_FRAMES;
    const size_t size = trace->frames[i].size;
    char hex[2 * REPORT_FRAME_SIZE + 1];

    print_hex (hex, trace->frames[i].bytes, min_u64 (size, REPORT_FRAME_SIZE));
    log_debug (log, LOG_OPEN, "%c frame, %zu bytes: %s%s",
               trace->frames[i].sent ? '>' : '<', size, hex,
               size > REPORT_FRAME_SIZE ? "..." : "");
  }
  trace->count = 0;
}
