/* SPDX-License-Identifier: BSD-3-Clause */

/* Private to those who copy disks (convert.c) and those who say beforehand
 * how large the copy will be (measure.c): the source, and the plan of what is
 * made of it.
 */

#ifndef VMDKIT_CONVERT_PARTS_H
#define VMDKIT_CONVERT_PARTS_H

#include "convert.h"
#include "copy.h"
#include "create-parts.h"
#include "disk.h"
#include "error.h"
#include "stream-export.h"

struct conversion {
  const struct operation *operation;
  const struct convert_rules *rules;

  struct disk *disk; /* the source, if it is one; owned */
  struct copy_source source;

  /* Unless it is to be raw. */
  struct new_link link;
  char *rest; /* of its disk database; owned */
};

/* Open SOURCE and decide everything that does not depend on names. */
extern int
conversion_begin (struct conversion *c, const struct operation *operation,
                  const struct convert_source *source,
                  const struct convert_rules *rules, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));
extern void conversion_end (struct conversion *c)
  __attribute__ ((nonnull (1)));

/* The rules of the stream of such a disk, with the descriptor TEXT. */
extern struct stream_export_rules
conversion_stream (const struct conversion *c, const char *text, size_t len)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_CONVERT_PARTS_H */
