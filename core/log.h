/* SPDX-License-Identifier: BSD-3-Clause */

/* The sink for diagnostics that a caller hands us.
 *
 * The core never prints.  A warning is for the operator: something is odd
 * with a file, and we serve it all the same.  A debug message has a topic,
 * so that the caller can offer switches; it costs nothing when nobody
 * listens.  A sink may be called from several threads at once.
 */

#ifndef VMDKIT_LOG_H
#define VMDKIT_LOG_H

#include <stdbool.h>

enum log_topic {
  LOG_WARNING, /* always wanted */
  LOG_OPEN,    /* how names, links and extents were resolved */
  LOG_TABLES,  /* grain tables and directories loaded and dropped */
  LOG_GRAINS,  /* grains inflated, cached, read ahead */
};

struct vmdk_log {
  /* TEXT is one printable line without newline. */
  void (*sink) (void *opaque, enum log_topic topic, const char *text);

  /* Whether anyone listens to TOPIC; NULL means yes to all. */
  bool (*wants) (void *opaque, enum log_topic topic);
  void *opaque;

  /* The command, or options, with which users see LOG_OPEN; NULL: unknown. */
  const char *how;
};

extern void log_message (const struct vmdk_log *log, enum log_topic topic,
                         const char *fmt, ...)
  __attribute__ ((format (printf, 3, 4), nonnull (1, 3), cold));

static inline bool
log_wants (const struct vmdk_log *log, enum log_topic topic)
{
  return log->sink && (!log->wants || log->wants (log->opaque, topic));
}

#define log_warning(log, ...) log_message ((log), LOG_WARNING, __VA_ARGS__)
#define log_debug(log, topic, ...)               \
  do {                                           \
    if (log_wants ((log), (topic)))              \
      log_message ((log), (topic), __VA_ARGS__); \
  } while (0)

#endif /* VMDKIT_LOG_H */
