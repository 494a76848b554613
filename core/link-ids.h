/* SPDX-License-Identifier: BSD-3-Clause */

/* New IDs for a link whose contents are about to change: the content ID, by
 * which children know it; the long one, whose last digits are the same; and
 * the one by which VirtualBox knows children.
 */

#ifndef VMDKIT_LINK_IDS_H
#define VMDKIT_LINK_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "descriptor.h"
#include "error.h"

/* Change the IDs in TEXT, which is D's as it is printed and lies at OFFSET of
 * its file: digit by digit, so that no line moves.  The new content ID has as
 * many digits as the old one, and where those straddle two sectors, only what
 * one of the two has changes.  So after a crash it is the old one or the new
 * one; and each of the other IDs is one of its form, perhaps a third one.
 *
 * False, and some may have been changed, if lines would have to move.
 */
extern bool link_ids_change (const struct descriptor *d, char *text,
                             uint64_t offset)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Give D new IDs in their canonical form. */
extern int link_ids_set (struct descriptor *d, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_LINK_IDS_H */
