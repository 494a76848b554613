/* SPDX-License-Identifier: BSD-3-Clause */

/* Formatting for the sink.  See log.h. */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>

#include "error.h"
#include "log.h"

void
log_message (const struct vmdk_log *log, enum log_topic topic, const char *fmt,
             ...)
{
  char raw[ERROR_TEXT_SIZE], text[ERROR_TEXT_SIZE];
  va_list args;

  if (!log_wants (log, topic))
    return;
  va_start (args, fmt);
  vsnprintf (raw, sizeof raw, fmt, args);
  va_end (args);
  text_escape (text, sizeof text, raw);
  log->sink (log->opaque, topic, text);
}
