/* SPDX-License-Identifier: BSD-3-Clause */

/* A disk's metadata: the disk database of its descriptor, key by key.
 *
 * Keys are without their prefix "ddb.", which may be said, too: adapterType,
 * geometry.cylinders, uuid and so on, and whatever clients added.  These are what VixDiskLib's
 * GetMetadataKeys, ReadMetadata and WriteMetadata work on.
 */

#ifndef VMDKIT_METADATA_H
#define VMDKIT_METADATA_H

#include <stdbool.h>

#include "descriptor.h"
#include "error.h"
#include "operation.h"
#include "store.h"

/* Call VISIT with each key and its value, in the text's order.  Of a key that
 * is there several times, the last counts, as for everybody who reads it.
 */
extern void metadata_each (const struct descriptor *descriptor,
                           void (*visit) (void *opaque, const char *key,
                                          const char *value),
                           void *opaque) __attribute__ ((nonnull (1, 2)));

/* NULL when there is none. */
extern const char *metadata_get (const struct descriptor *descriptor,
                                 const char *key)
  __attribute__ ((nonnull (1, 2)));

/* Add KEY to the link NAME, or replace its value, which may be empty. */
extern int metadata_set (struct store *store, const char *name,
                         enum store_open_flags flags, const char *key,
                         const char *value, const struct operation *operation,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5, 6, 7)));

/* ERR_MISSING when there is none. */
extern int metadata_delete (struct store *store, const char *name,
                            enum store_open_flags flags, const char *key,
                            const struct operation *operation,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5, 6)));

#endif /* VMDKIT_METADATA_H */
