/* SPDX-License-Identifier: BSD-3-Clause */

/* Changed areas, kept: for each place of a disk whether it has changed.
 *
 * Areas that touch become one.  A list has a limit; beyond it what lies
 * between the last areas counts as changed, too.
 */

#ifndef VMDKIT_CHANGED_LIST_H
#define VMDKIT_CHANGED_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define CHANGED_LIST_MAX ((size_t) 1 << 20) /* 16 MiB */

struct changed_area {
  uint64_t start, end;
};

struct changed_list {
  struct changed_area *ptr; /* ascending, apart */
  size_t len, capacity;
  size_t limit; /* 0: CHANGED_LIST_MAX */
};

/* In ascending order, as changed_areas tells them: OPAQUE is the list. */
extern int changed_list_add (void *opaque, uint64_t offset, uint64_t count,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));

/* Whether the byte at OFFSET has changed; the same holds for *LENGTH bytes
 * from there.
 */
extern bool changed_list_has (const struct changed_list *list, uint64_t offset,
                              uint64_t *length)
  __attribute__ ((nonnull (1, 3)));

extern void changed_list_reset (struct changed_list *list)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_CHANGED_LIST_H */
