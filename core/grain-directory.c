/* SPDX-License-Identifier: BSD-3-Clause */

/* Where each table is, by the directory.  See grain-directory.h.
 *
 * A page of the directory is a block of the table cache.  Whether a table
 * lies in a hole is asked once for each hole, and for each stretch of data.
 */

#include <config.h>

#include <inttypes.h>

#include "checked.h"
#include "grain-directory.h"
#include "log.h"

uint64_t
grain_directory_page (const struct grain_index *index,
                      uint64_t directory_offset, uint64_t page, size_t *size)
{
  const uint64_t total = index->nr_tables * index->entry_size;
  const uint64_t start = page * DIRECTORY_PAGE_SIZE;

  *size = min_u64 (DIRECTORY_PAGE_SIZE, total - start);
  return directory_offset + start;
}

static struct cache_block *
get_page (const struct grain_index *index, uint64_t kind, uint64_t page,
          struct vmdk_error *err)
{
  const uint64_t directory_offset =
    kind == MIRROR_PAGE ? index->mirror_offset : index->directory_offset;
  size_t size;
  const uint64_t offset =
    grain_directory_page (index, directory_offset, page, &size);
  bool fill;
  struct cache_block *block =
    cache_get (index->cache, index->owner, kind | page, size, &fill, err);

  if (!block || !fill)
    return block;
  if (media_pread (index->extent->media, block->data, size, offset, err)
      == -1) {
    cache_abandon (index->cache, block);
    fail_prefix (err, "grain directory entries from %" PRIu64,
                 page * DIRECTORY_PAGE_SIZE / index->entry_size);
    return NULL;
  }
  cache_publish (index->cache, block);
  return block;
}

void
directory_page_put (const struct grain_index *index,
                    struct directory_page *page)
{
  cache_put (index->cache, page->entries);
  cache_put (index->cache, page->mirror);
}

int
directory_page_open (const struct grain_index *index, uint64_t table,
                     struct directory_page *page, struct vmdk_error *err)
{
  const uint64_t per_page = DIRECTORY_PAGE_SIZE / index->entry_size;

  page->mirror = NULL;
  page->first = table / per_page * per_page;
  page->entries = get_page (index, DIRECTORY_PAGE, table / per_page, err);
  if (!page->entries)
    return -1;
  page->len = page->entries->size / index->entry_size;
  if (index->mirror_offset != 0) {
    page->mirror = get_page (index, MIRROR_PAGE, table / per_page, err);
    if (!page->mirror) {
      directory_page_put (index, page);
      return -1;
    }
  }
  return 0;
}

int
grain_directory_locate (struct grain_index *index,
                        const struct directory_page *page, uint64_t table,
                        uint64_t *offset, struct vmdk_error *err)
{
  const size_t i = table - page->first;
  const uint64_t entry = grain_entry_load (index, page->entries->data, i);
  const uint64_t mirror =
    page->mirror ? grain_entry_load (index, page->mirror->data, i) : 0;
  struct vmdk_error ignored;
  bool ok;

  *offset = 0;
  if (entry == 0 && mirror == 0)
    return 0;

  if (entry == 0)
    ok = fail (err, ERR_DAMAGED,
               "grain directory entry %" PRIu64
               " is 0 and the redundant directory's is %" PRIu64,
               table, mirror)
         == 0;
  else if (entry == mirror)
    return fail (err, ERR_DAMAGED,
                 "grain directory entry %" PRIu64 " is %" PRIu64
                 " in both directories",
                 table, entry);
  else
    ok = index->rules->locate (index, table, entry, offset, err) == 0;

  if (ok)
    return 0;
  if (mirror == 0
      || index->rules->locate (index, table, mirror, offset, &ignored) == -1)
    return -1;
  if (!atomic_exchange (&index->mirror_used, true))
    log_warning (&index->extent->rules->log,
                 "%s: %s: using the redundant grain table in its place",
                 NAME (index->extent->name), err->text);
  return 0;
}

/* Remembers the last hole and the last stretch of data, so that neighbours
 * cost no system call.
 */
bool
grain_directory_in_hole (struct grain_index *index, uint64_t offset)
{
  const uint64_t end = offset + index->table_bytes;
  struct vmdk_error ignored;
  bool hole;
  uint64_t length;

  {
    LOCK_FOR_SCOPE (&index->holes.lock);

    if (offset >= index->holes.hole_start && end <= index->holes.hole_end)
      return true;
    if (offset >= index->holes.data_start && offset < index->holes.data_end)
      return false;
  }
  if (media_map (index->extent->media, offset,
                 index->extent->media->size - offset, &hole, &length, &ignored)
      == -1)
    return false;

  LOCK_FOR_SCOPE (&index->holes.lock);

  if (hole) {
    index->holes.hole_start = offset;
    index->holes.hole_end = offset + length;
  }
  else {
    index->holes.data_start = offset;
    index->holes.data_end = offset + length;
  }
  return hole && length >= index->table_bytes;
}

uint64_t
grain_directory_count_absent (struct grain_index *index,
                              const struct directory_page *page,
                              uint64_t table)
{
  const uint64_t end = page->first + page->len;
  struct vmdk_error ignored;
  uint64_t t, offset;

  for (t = table + 1; t < end; t++)
    if (grain_directory_locate (index, page, t, &offset, &ignored) == -1
        || (offset != 0 && !grain_directory_in_hole (index, offset)))
      break;
  return t - table;
}

/* -- For writing --------------------------------------------------------- */

/* Where directory entry ENTRY says TABLE is; 0: nowhere. */
static int
locate_strictly (const struct grain_index *index, uint64_t table,
                 uint64_t entry, uint64_t *offset, struct vmdk_error *err)
{
  *offset = 0;
  return entry == 0 ? 0
                    : index->rules->locate (index, table, entry, offset, err);
}

int
grain_index_places (struct grain_index *index, uint64_t table,
                    uint64_t *offset, uint64_t *mirror, struct vmdk_error *err)
{
  uint64_t entry, mirror_entry = 0;
  struct directory_page page;

  if (directory_page_open (index, table, &page, err) == -1)
    return -1;
  entry = grain_entry_load (index, page.entries->data, table - page.first);
  if (page.mirror)
    mirror_entry =
      grain_entry_load (index, page.mirror->data, table - page.first);
  directory_page_put (index, &page);

  if (locate_strictly (index, table, entry, offset, err) == -1
      || locate_strictly (index, table, mirror_entry, mirror, err) == -1)
    return -1;
  if (*offset != 0 && *offset == *mirror)
    return fail (err, ERR_DAMAGED,
                 "grain directory entry %" PRIu64 " is %" PRIu64
                 " in both directories",
                 table, entry);
  return 0;
}

int
grain_index_copy_table (struct grain_index *index, uint64_t table,
                        uint8_t *entries, uint64_t *offset, uint64_t *mirror,
                        struct vmdk_error *err)
{
  if (grain_index_places (index, table, offset, mirror, err) == -1)
    return -1;
  if (index->mirror_offset != 0 && (*offset == 0) != (*mirror == 0))
    return fail (err, ERR_DAMAGED,
                 "grain table %" PRIu64 " is at byte %" PRIu64
                 " and its redundant copy at byte %" PRIu64,
                 table, *offset, *mirror);
  if (*offset == 0)
    return 0;
  return media_pread (index->extent->media, entries, index->table_bytes,
                      *offset, err);
}

int
grain_index_name_table (struct grain_index *index, uint64_t table, bool mirror,
                        uint64_t offset, struct vmdk_error *err)
{
  uint8_t sector[SECTOR_SIZE];
  const uint64_t directory =
    mirror ? index->mirror_offset : index->directory_offset;
  const uint64_t at = directory + table * index->entry_size;
  const uint64_t start = at / SECTOR_SIZE * SECTOR_SIZE;
  struct media *media = index->extent->media;

  /* An entry never crosses a sector. */
  if (media_pread (media, sector, sizeof sector, start, err) == -1)
    return -1;
  index->rules->name_table (index, sector + (at - start), offset);
  return media_pwrite (media, sector, sizeof sector, start, err);
}

void
grain_directory_reload (struct grain_index *index)
{
  LOCK_FOR_SCOPE (&index->holes.lock);
  index->holes.hole_start = index->holes.hole_end = 0;
}
