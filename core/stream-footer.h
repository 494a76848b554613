/* SPDX-License-Identifier: BSD-3-Clause */

/* The footer of a streamOptimized extent: a second header, written when the
 * place of the grain directory was known.
 */

#ifndef VMDKIT_STREAM_FOOTER_H
#define VMDKIT_STREAM_FOOTER_H

#include <stdbool.h>

#include "error.h"
#include "extent.h"
#include "sparse-header.h"

/* Look for the footer of an extent whose HEADER was checked.  *found says
 * whether there is one; *footer is then fit to be used in the header's
 * place.  A footer that contradicts the header is ERR_CORRUPT.
 */
extern int stream_footer_find (const struct extent *extent,
                               const struct sparse_header *header,
                               struct sparse_header *footer, bool *found,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4, 5)));

#endif /* VMDKIT_STREAM_FOOTER_H */
