/* SPDX-License-Identifier: BSD-3-Clause */

/* The two headers of a seSparse extent: decode and check.
 *
 *   constant header  512 bytes at 0, says where the eight regions are
 *   volatile header  one sector: is there a journal to replay?
 *   journal header, journal
 *   grain directory  u64: 0, or 0x10000000 << 32 | number of a table
 *   grain tables     of 4096 u64, in the order of their first use
 *   free bitmap, back map: for whoever allocates
 *   grains           4 KiB each, in the order of their first use
 *
 * (1) Regions do not overlap and those of metadata lie within the file, so
 *     a number below its region's length cannot lead astray.
 */

#ifndef VMDKIT_SESPARSE_HEADER_H
#define VMDKIT_SESPARSE_HEADER_H

#include <stdint.h>

#include "extent.h"

#define SE_GRAIN_SECTORS 8
#define SE_TABLE_SECTORS 64
#define SE_ENTRIES 4096
#define SE_ENTRY_SIZE 8

enum se_region_name {
  SE_VOLATILE_HEADER,
  SE_JOURNAL_HEADER,
  SE_JOURNAL,
  SE_DIRECTORY,
  SE_TABLES,
  SE_FREE_BITMAP,
  SE_BACK_MAP,
  SE_GRAINS, /* the only one that may pass the end of the file */
  SE_NR_REGIONS,
};

struct se_region {
  uint64_t start, length; /* sectors */
};

/* Host byte order. */
struct se_header {
  uint64_t magic;
  uint64_t version;
  uint64_t capacity;   /* sectors */
  uint64_t grain_size; /* sectors */
  uint64_t table_size; /* sectors */
  uint64_t flags;
  uint64_t reserved[4];
  struct se_region regions[SE_NR_REGIONS];
  uint8_t pad[304];
};

struct se_volatile_header {
  uint64_t magic;
  uint64_t free_table_number;
  uint64_t next_transaction;
  uint64_t replay_journal;
  uint8_t pad[480];
};

/* How many tables the capacity takes. */
extern uint64_t se_header_nr_tables (const struct se_header *h);

/* Read the constant header from the extent's medium; it fits the medium and
 * the extent's line.
 */
extern int se_header_read (const struct extent *extent, struct se_header *h,
                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Read the volatile header that H names.  A journal that waits to be replayed
 * is refused, or warned of where the rules accept it.
 */
extern int se_volatile_header_read (const struct extent *extent,
                                    const struct se_header *h,
                                    struct se_volatile_header *v,
                                    struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

#endif /* VMDKIT_SESPARSE_HEADER_H */
