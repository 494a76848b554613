/* SPDX-License-Identifier: BSD-3-Clause */

/* Reading a streamOptimized extent that lost its directory, by looking at
 * every block of it.  Only on request (open_rules.recover_stream).
 *
 * The trouble with such a file is that a grain which was lost looks just
 * like one that was never written.  The rule here: a grain that was not
 * found counts as never written only where the stream shows it, that is
 * between two grains that follow each other without a gap in a stream that
 * is in ascending order, or behind the last grain when the directory's
 * marker follows it.  All others are DAMAGED.
 *
 * The memory used is 8 bytes for each grain that was found (up to twice that
 * while it grows).
 */

#ifndef VMDKIT_STREAM_SCAN_H
#define VMDKIT_STREAM_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "extent.h"
#include "sparse-header.h"

struct stream_scan;

/* Scan EXTENT, whose HEADER was checked.  FIRST_LBA is the extent's first
 * sector within the disk, which its grains may count from; 0 if it is the
 * only one.
 */
extern struct stream_scan *stream_scan_new (const struct extent *extent,
                                            const struct sparse_header *header,
                                            uint64_t first_lba,
                                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4)));

/* NULL is allowed. */
extern void stream_scan_free (struct stream_scan *scan);

/* The state of GRAIN: PACKED (and the sector it starts at), ABSENT or
 * DAMAGED.  The grains up to *end (exclusive) that follow are alike, but of
 * PACKED ones each is told singly.
 */
extern enum run_state stream_scan_find (const struct stream_scan *scan,
                                        uint64_t grain, uint64_t *sector,
                                        uint64_t *end)
  __attribute__ ((nonnull (1, 3, 4)));

#endif /* VMDKIT_STREAM_SCAN_H */
