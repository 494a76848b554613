/* SPDX-License-Identifier: BSD-3-Clause */

/* Copying a disk into another type: what VixDiskLib calls Clone.
 *
 * Anything that can be read (a chain, as one disk; a raw file; a medium that
 * somebody else opened) becomes a VMDK of any type, a raw file, or the bytes
 * of a medium.  What the source says are zeros is not read, and what turns
 * out to be zeros takes no room in the copy.
 *
 * A copy that failed or was stopped leaves nothing behind, and what was to be
 * overwritten as it was (replace.h).
 */

#ifndef VMDKIT_CONVERT_H
#define VMDKIT_CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "create.h"
#include "error.h"
#include "media.h"
#include "operation.h"
#include "store.h"

struct convert_source {
  /* A disk: opened here, by the operation's rules. */
  struct store *store;
  const char *name;
  enum store_open_flags flags;

  /* Or, where store is NULL, the bytes of this; borrowed. */
  struct media *media;
};

struct convert_target {
  /* A file, which is made here. */
  struct store *store;
  const char *name; /* with media too: what a descriptor calls the file */

  /* Or, where store is NULL, this; borrowed.  Its old contents are lost.  It
   * takes raw bytes and has room for them; a PIPE (media-pipe.h) takes a
   * streamOptimized disk as well.
   */
  struct media *media;
  bool pipe;
};

#define CONVERT_ZERO_SIZE 65536

struct convert_rules {
  bool raw;            /* the bytes alone, */
  enum disk_type type; /* or this */

  /* As struct create_rules; 0 and NULL likewise. */
  uint64_t grain_size;
  const char *adapter;
  unsigned hw_version;

  /* What the disk database says, uuid, adapter, hardware version and geometry
   * among it, is as with the source, where it is not said above.
   */
  bool keep_metadata;
  bool overwrite;
  unsigned nr_threads; /* 0: as many as there are CPUs */

  /* How many bytes of zeros are not written, where there are no grains: a
   * power of two from 512 to 1 MiB, or 0.
   */
  size_t zero_size;

  /* Of streamOptimized disks; see stream-export.h.  Version 0: 3. */
  int level;
  unsigned stream_version;
  bool no_footer;
};

extern int disk_convert (const struct operation *operation,
                         const struct convert_source *source,
                         const struct convert_target *target,
                         const struct convert_rules *rules,
                         struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));

#endif /* VMDKIT_CONVERT_H */
