/* SPDX-License-Identifier: BSD-3-Clause */

/* How much room a copy of a disk will take: what VixDiskLib calls
 * SpaceNeededForClone.
 */

#ifndef VMDKIT_MEASURE_H
#define VMDKIT_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

#include "convert.h"
#include "error.h"
#include "operation.h"

struct measure {
  /* The sizes of all its files, in bytes.  Of raw and flat ones that is what
   * they are, with holes or without.  Of sparse ones it is what they will be,
   * unless grains turn out to be zeros; of streams as if nothing could be
   * compressed.
   */
  uint64_t required;
  uint64_t fully_allocated; /* if none of the disk were zeros */
};

/* Measure what disk_convert would make by RULES, with the name NAME.  EXACT:
 * read the source, to see which of its grains are zeros.
 */
extern int disk_measure (const struct operation *operation,
                         const struct convert_source *source, const char *name,
                         const struct convert_rules *rules, bool exact,
                         struct measure *measure, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 6, 7)));

#endif /* VMDKIT_MEASURE_H */
