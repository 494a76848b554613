/* SPDX-License-Identifier: BSD-3-Clause */

/* A header that has lost one of its two directories.
 *
 * All products lay a directory and its tables out in one piece, and the other
 * ones beside them.  So where one of the two offsets cannot be right, the
 * other says where the lost directory should be; and it is only believed if
 * that is a directory, and each of its tables is, byte for byte, a copy of
 * the other directory's.
 *
 * This comes before all else: without its directory an extent does not open.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check-parts.h"
#include "checked.h"
#include "link-text.h"
#include "log.h"
#include "sparse-header.h"

#define RGD_OFFSET_AT 48
#define GD_OFFSET_AT 56

/* Of a directory that is read at once; divides into sectors. */
#define NR_AT_ONCE 1024

/* A header, and which of its directories is not where it says. */
struct lost {
  struct checker *checker;
  struct media *media;
  struct sparse_header h;
  bool primary;
  uint64_t table_size; /* bytes */
};

/* Where the good directory is, and where the lost one says that it is. */
static uint64_t
good_place (const struct lost *lost)
{
  return lost->primary ? lost->h.rgd_offset : lost->h.gd_offset;
}

static uint64_t
bad_place (const struct lost *lost)
{
  return lost->primary ? lost->h.gd_offset : lost->h.rgd_offset;
}

/* -- Which is lost ------------------------------------------------------ */

static bool
header_is_good (const struct sparse_header *h, uint64_t size)
{
  struct vmdk_error ignored;
  bool both;

  return sparse_header_check (h, size, &both, &ignored) == 0 && both;
}

/* False if none is, or both are, or more is wrong. */
static bool
find_lost (struct lost *lost)
{
  const uint64_t size = lost->media->size;
  struct sparse_header h = lost->h;
  struct vmdk_error ignored;
  bool both = false;

  if (!(h.flags & SPARSE_REDUNDANT_TABLES) || (h.flags & SPARSE_COMPRESSED)
      || header_is_good (&h, size))
    return false;
  lost->primary = sparse_header_check (&h, size, &both, &ignored) == -1;
  h.gd_offset = good_place (lost);
  h.flags &= ~(uint32_t) SPARSE_REDUNDANT_TABLES;
  return h.gd_offset != SPARSE_GD_AT_END
         && sparse_header_check (&h, size, &both, &ignored) == 0;
}

/* -- Where it is -------------------------------------------------------- */

/* Whether the tables at both sectors are there, and the same. */
static int
compare_tables (const struct lost *lost, uint64_t a, uint64_t b, bool *same,
                struct vmdk_error *err)
{
  CLEANUP_FREE uint8_t *bytes = malloc (2 * lost->table_size);
  const uint64_t size = lost->table_size;

  if (!bytes)
    return fail_memory (err);
  *same = a == 0 && b == 0;
  if (a == 0 || b == 0 || a == b
      || !range_inside (sectors_to_bytes (a), size, lost->media->size)
      || !range_inside (sectors_to_bytes (b), size, lost->media->size))
    return 0;
  if (media_pread (lost->media, bytes, size, sectors_to_bytes (a), err) == -1
      || media_pread (lost->media, bytes + size, size, sectors_to_bytes (b),
                      err)
           == -1)
    return -1;
  *same = memcmp (bytes, bytes + size, size) == 0;
  return 0;
}

/* Whether the directory at sector PLACE is the good one's twin.  One whose
 * tables are all missing would be anywhere where zeros are.
 */
static int
is_twin (const struct lost *lost, uint64_t place, bool *twin,
         struct vmdk_error *err)
{
  const uint64_t nr_tables = sparse_header_nr_tables (&lost->h);
  uint8_t good[NR_AT_ONCE * 4], found[NR_AT_ONCE * 4];
  bool any = false;

  *twin = true;
  for (uint64_t i = 0; i < nr_tables && *twin; i++) {
    const uint64_t at = i % NR_AT_ONCE;
    const uint64_t count = min_u64 (nr_tables - i, NR_AT_ONCE) * 4;

    if (at == 0
        && (media_pread (lost->media, good, count,
                         sectors_to_bytes (good_place (lost)) + i * 4, err)
              == -1
            || media_pread (lost->media, found, count,
                            sectors_to_bytes (place) + i * 4, err)
                 == -1))
      return -1;
    any = any || le32_load (good + at * 4) != 0;
    if (compare_tables (lost, le32_load (good + at * 4),
                        le32_load (found + at * 4), twin, err)
          == -1
        || check_advance (lost->checker, 1, err) == -1)
      return -1;
  }
  *twin = *twin && any;
  return 0;
}

/* Beside the good one, before it or behind it.  *place 0: it is not there. */
static int
find_place (const struct lost *lost, uint64_t *place, struct vmdk_error *err)
{
  const uint64_t nr_tables = sparse_header_nr_tables (&lost->h);
  const uint64_t span =
    div_round_up (nr_tables * 4, SECTOR_SIZE)
    + nr_tables * div_round_up (lost->table_size, SECTOR_SIZE);
  const uint64_t good = good_place (lost);
  const uint64_t places[] = { good + span, good > span ? good - span : 0 };

  *place = 0;
  for (int i = 0; i < 2; i++) {
    struct sparse_header h = lost->h;
    bool twin;

    *(lost->primary ? &h.gd_offset : &h.rgd_offset) = places[i];
    if (places[i] == 0 || !header_is_good (&h, lost->media->size))
      continue;
    if (is_twin (lost, places[i], &twin, err) == -1)
      return -1;
    if (twin) {
      *place = places[i];
      return 0;
    }
  }
  return 0;
}

/* -- Mending ------------------------------------------------------------ */

static int
mend (const struct lost *lost, uint64_t place, struct vmdk_error *err)
{
  struct checker *checker = lost->checker;
  uint8_t bytes[8];

  if (!checker->repairer)
    return 0;
  le64_store (bytes, place);
  if (repair_write (checker->repairer, lost->media, checker->file,
                    lost->primary ? GD_OFFSET_AT : RGD_OFFSET_AT, bytes,
                    sizeof bytes, err)
      == -1)
    return -1;
  return repair_commit (checker->repairer, err);
}

static int
look_for_lost (struct lost *lost, bool *found, struct vmdk_error *err)
{
  struct checker *checker = lost->checker;
  const char *field = lost->primary ? "gdOffset" : "rgdOffset";
  uint64_t place;

  lost->table_size = lost->h.nr_gtes_per_gt * UINT64_C (4);
  if (find_place (lost, &place, err) == -1)
    return -1;
  if (place == 0)
    return 0;
  *found = true;
  check_tell (checker, CHECK_HEADER, CHECK_ERROR, check_mends (checker),
              lost->primary ? GD_OFFSET_AT : RGD_OFFSET_AT,
              "%s %" PRIu64 " cannot be right; at %" PRIu64
              " is a directory whose tables are copies of the other's",
              field, bad_place (lost), place);
  return mend (lost, place, err);
}

/* A file that does not open, or is none, is told of later. */
static int
check_file (struct checker *checker, struct store *store, const char *name,
            enum store_open_flags flags, bool *found, struct vmdk_error *err)
{
  const bool writes = checker->repairer && !checker->operation->dry_run;
  struct vmdk_error ignored;
  CLEANUP_MEDIA struct media *media =
    store_open (store, name, flags | (writes ? STORE_WRITABLE : 0), &ignored);
  struct lost lost = { .checker = checker, .media = media };
  uint8_t bytes[SPARSE_HEADER_SIZE];

  if (!media || media->size < sizeof bytes
      || media_pread (media, bytes, sizeof bytes, 0, &ignored) == -1
      || le32_load (bytes) != SPARSE_MAGIC)
    return 0;
  sparse_header_decode (bytes, &lost.h);
  if (!find_lost (&lost))
    return 0;
  if (checker->operation->rules.open.lock
      && media_lock (media, writes ? MEDIA_LOCK_WRITE : MEDIA_LOCK_READ, err)
           == -1)
    return fail_prefix (err, "%s", NAME (name));
  checker->file = name;
  return look_for_lost (&lost, found, err);
}

/* -- The files of a link ------------------------------------------------ */

static struct descriptor *
read_text (struct store *store, const char *name, enum store_open_flags flags)
{
  static const struct vmdk_log silent = { 0 };
  struct vmdk_error ignored;
  CLEANUP_MEDIA struct media *media =
    store_open (store, name, flags, &ignored);
  struct link_text text = { 0 };

  if (!media
      || link_text_read (store, name, media, false, &silent, &text, &ignored)
           == -1
      || text.embedded) {
    descriptor_free (text.descriptor);
    return NULL;
  }
  return text.descriptor;
}

int
check_lost_directories (struct checker *checker, struct store *store,
                        const char *name, enum store_open_flags flags,
                        bool *found, struct vmdk_error *err)
{
  CLEANUP_DESCRIPTOR struct descriptor *d = NULL;

  *found = false;
  checker->link = name;
  if (check_file (checker, store, name, flags, found, err) == -1)
    return -1;
  d = *found ? NULL : read_text (store, name, flags);
  for (size_t i = 0; d && i < descriptor_nr_extents (d); i++) {
    const struct extent_line *line = descriptor_extent (d, i);

    if (line->type == EXTENT_SPARSE
        && check_file (checker, store, store_plain_name (line->name),
                       STORE_FROM_FILE, found, err)
             == -1)
      return -1;
  }
  return 0;
}
