/* SPDX-License-Identifier: BSD-3-Clause */

/* What a server said and we do not understand goes to the log in a form that
 * a user can send to those who may: the protocols are described nowhere, and
 * what his server says is known to nobody else.
 *
 * 1. Debug messages (LOG_OPEN) have the bytes; the error, or a warning, says
 *    how to get them.
 * 2. No secrets: what the caller names as one is masked, and so is whatever
 *    stands where servers put theirs.  No contents of disks: of a frame no
 *    more than header and payload.
 * 3. Bounded, however much a server sends.
 */

#ifndef VMDKIT_REPORT_H
#define VMDKIT_REPORT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "log.h"

/* Bytes in hex, the first 64 of them, behind WHAT. */
extern void report_bytes (const struct vmdk_log *log, const char *what,
                          const void *bytes, size_t count)
  __attribute__ ((nonnull (1, 2)));

/* The beginning of an answer in XML, or of what came instead, in several
 * lines.  COOKIE, a session's whole "NAME=VALUE", or NULL, is masked.
 */
extern void report_text (const struct vmdk_log *log, const char *what,
                         const char *text, size_t count, const char *cookie)
  __attribute__ ((nonnull (1, 2)));

/* Wherever SECRET stands in TEXT there are asterisks then. */
extern void report_mask (char *text, const char *secret)
  __attribute__ ((nonnull (1, 2)));

/* Add to ERR that this should be reported, and how, once.  Returns -1. */
extern int report_ask (struct vmdk_error *err, const struct vmdk_log *log)
  __attribute__ ((nonnull (1, 2)));

/* --------------------------------------------------------------------- */
/* The last frames of a connection, either way. */

#define REPORT_NR_FRAMES 16
#define REPORT_FRAME_SIZE (16 + 60) /* the largest payload known */

struct report_trace {
  pthread_mutex_t lock;
  struct {
    bool sent;
    uint32_t size; /* of its header and payload */
    uint8_t bytes[REPORT_FRAME_SIZE];
  } frames[REPORT_NR_FRAMES];
  unsigned count; /* since they were last told */
};

extern void report_trace_init (struct report_trace *trace)
  __attribute__ ((nonnull (1)));
extern void report_trace_destroy (struct report_trace *trace)
  __attribute__ ((nonnull (1)));

/* HEADER has 16 bytes. */
extern void report_trace_add (struct report_trace *trace, bool sent,
                              const uint8_t *header, const uint8_t *payload,
                              size_t payload_size)
  __attribute__ ((nonnull (1, 3)));

/* All that came since it was last called, the oldest first. */
extern void report_trace_tell (struct report_trace *trace,
                               const struct vmdk_log *log)
  __attribute__ ((nonnull (1, 2)));

#endif /* VMDKIT_REPORT_H */
