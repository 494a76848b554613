/* SPDX-License-Identifier: BSD-3-Clause */

/* The members of an uncompressed tar archive, such as an OVA.
 *
 *   | header | pax or long name | header | data, padded to 512 | ... | zeros |
 *
 * The headers are read once and make an index from names to byte ranges.
 * Formats: V7, ustar, GNU (long names, sizes in base 256) and pax (path,
 * size). Sparse members of any kind are remembered only to be refused by name.
 * As tar does when it unpacks, the last of several members with one name wins.
 *
 * Everything in a header is a stranger's: what the index costs is bounded by
 * the maxima in tar-index.c, and a member is never wider than the archive.
 */

#ifndef VMDKIT_TAR_INDEX_H
#define VMDKIT_TAR_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "media.h"
#include "vector.h"

#define TAR_BLOCK_SIZE 512

struct tar_member {
  char *name; /* owned */
  uint64_t offset, size;
  bool is_sparse;
  bool is_replaced; /* by a later one of its name */
};
DEFINE_VECTOR (tar_member_list, struct tar_member)

/* All zeros is an empty one. */
struct tar_index {
  struct tar_member_list members;
  struct tar_member **sorted; /* by name; among equals by place */
};

/* Whether an archive can begin so. */
extern bool tar_header_probe (const uint8_t header[TAR_BLOCK_SIZE]);

extern int tar_index_read (struct tar_index *index, struct media *archive,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));
extern void tar_index_reset (struct tar_index *index);

/* NULL: there is none. */
extern const struct tar_member *tar_index_find (const struct tar_index *index,
                                                const char *name);

#endif /* VMDKIT_TAR_INDEX_H */
