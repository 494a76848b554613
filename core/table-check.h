/* SPDX-License-Identifier: BSD-3-Clause */

/* Looking at all tables of an extent: before it is written, above all after
 * it was not closed cleanly, and before its file grows.
 */

#ifndef VMDKIT_TABLE_CHECK_H
#define VMDKIT_TABLE_CHECK_H

#include <stdint.h>

#include "error.h"
#include "grain-table.h"

/* Check that no entry is damaged and that no two entries name room in
 * common; bring redundant tables in line with the primary ones, and make
 * those that are missing; cut off what lies behind the last grain and table,
 * which was written and never named; make all of that durable.
 *
 * *next becomes where the file ends then, in bytes, at least LEAST.
 * ERR_READ_ONLY when something is wrong that must be repaired first.  Reads
 * every table, and takes a bit for each sector of the file, 64 MiB at most.
 */
extern int table_check_recover (struct grain_index *index, uint64_t least,
                                uint64_t *next, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));

/* Of an extent that was closed cleanly: check that no two entries name room in
 * common and that redundant tables are the same as the primary ones, because a
 * write to one place would be seen in another.  Other damage is left alone.
 * ERR_READ_ONLY when it must be repaired first.  Large extents, and those far
 * from the start of a large disk, are not looked at: opening would take long.
 */
extern int table_check_look (struct grain_index *index, uint64_t disk_offset,
                             struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* Check that no entry, of a table or a directory, names room behind the end of
 * the file, which was cut then: new grains would come to lie there, and be
 * read as the old ones. ERR_READ_ONLY when one does.  Reads every table.
 */
extern int table_check_can_grow (struct grain_index *index,
                                 struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

#endif /* VMDKIT_TABLE_CHECK_H */
