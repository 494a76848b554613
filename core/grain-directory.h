/* SPDX-License-Identifier: BSD-3-Clause */

/* The grain directory: where each table of a grain index is.
 *
 * The directory is loaded a page at a time, through the table cache, as is
 * the redundant one.  An entry that cannot be right gives way to the
 * redundant directory's, with a warning.  For those who write, there are
 * look-ups that are strict, and the change of an entry on the medium.
 */

#ifndef VMDKIT_GRAIN_DIRECTORY_H
#define VMDKIT_GRAIN_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "cache.h"
#include "error.h"
#include "grain-table.h"

/* The index of page n in the cache is one of these | n. */
#define DIRECTORY_PAGE (UINT64_C (1) << 62)
#define MIRROR_PAGE (UINT64_C (3) << 62)
#define DIRECTORY_PAGE_SIZE 4096

/* Entry I of a directory, or of bytes that were read from a table. */
static inline uint64_t
grain_entry_load (const struct grain_index *index, const uint8_t *entries,
                  size_t i)
{
  return index->entry_size == 4 ? le32_load (entries + i * 4)
                                : le64_load (entries + i * 8);
}

/* The directory page that holds a table's entry, and the mirror's. */
struct directory_page {
  struct cache_block *entries, *mirror; /* NULL: there is no mirror */
  uint64_t first;                       /* table of the page's first entry */
  size_t len;                           /* entries */
};

extern int directory_page_open (const struct grain_index *index,
                                uint64_t table, struct directory_page *page,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));
extern void directory_page_put (const struct grain_index *index,
                                struct directory_page *page)
  __attribute__ ((nonnull (1, 2)));

/* Where in the file page PAGE of the directory at DIRECTORY_OFFSET is, and
 * its size.
 */
extern uint64_t grain_directory_page (const struct grain_index *index,
                                      uint64_t directory_offset, uint64_t page,
                                      size_t *size)
  __attribute__ ((nonnull (1, 4)));

/* Where TABLE is by its directory entry, or by the redundant directory's
 * when that one cannot be right.  *offset 0: there is none.
 */
extern int grain_directory_locate (struct grain_index *index,
                                   const struct directory_page *page,
                                   uint64_t table, uint64_t *offset,
                                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 4, 5)));

/* Whether the table at OFFSET lies in a hole of the file, which makes all
 * its entries 0.
 */
extern bool grain_directory_in_hole (struct grain_index *index,
                                     uint64_t offset)
  __attribute__ ((nonnull (1)));

/* How many tables from TABLE on, which is, to the page's end are absent. */
extern uint64_t
grain_directory_count_absent (struct grain_index *index,
                              const struct directory_page *page,
                              uint64_t table) __attribute__ ((nonnull (1, 2)));

/* Forget holes: the medium has changed. */
extern void grain_directory_reload (struct grain_index *index)
  __attribute__ ((nonnull (1)));

/* For writing: where TABLE and its redundant copy are, in bytes (0: nowhere
 * yet).  ERR_DAMAGED for entries that cannot be right.
 */
extern int grain_index_places (struct grain_index *index, uint64_t table,
                               uint64_t *offset, uint64_t *mirror,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4, 5)));

/* The same, and the table's entries as they are on the medium.  ERR_DAMAGED
 * also when only one of the two directories names it: such an extent is
 * repaired first.
 */
extern int grain_index_copy_table (struct grain_index *index, uint64_t table,
                                   uint8_t *entries, uint64_t *offset,
                                   uint64_t *mirror, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4, 5, 6)));

/* Make the entry of TABLE in the directory, or (MIRROR) in the redundant one,
 * name the table at OFFSET.  Not durable before the next flush.
 */
extern int grain_index_name_table (struct grain_index *index, uint64_t table,
                                   bool mirror, uint64_t offset,
                                   struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 5)));

#endif /* VMDKIT_GRAIN_DIRECTORY_H */
