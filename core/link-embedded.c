/* SPDX-License-Identifier: BSD-3-Clause */

/* Replacing a text that lies in an extent's file.  See link-text.h.
 *
 *   header | home: the text | directories, tables, grains | aside: a copy
 *
 *  (1) Whenever the header names an area, that holds a whole text.  Each step
 *      is durable before the next one begins.
 *  (2) While there is a copy, the header says uncleanShutdown.  So whoever
 *      opens the extent for writing after a crash cuts off what lies behind
 *      its last grain and table (table-check.c), or takes it for garbage
 *      (stream-write.c), and nobody has to guess whether the last bytes of a
 *      file are a copy or a guest's imitation of one.
 *  (3) The header is what only we write: if it names a copy, it is one.  The
 *      copy's last sector, behind the NUL where the text ends, says where its
 *      home is.
 *
 * A stream's footer is found at the end of the file, where the copy would
 * hide it; so the header names the directory in the meantime, as it does
 * while a stream is being written.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "cleanup.h"
#include "link-text.h"
#include "sparse-header.h"
#include "stream-footer.h"

/* -- Texts and headers on the medium ------------------------------------ */

/* The bytes that differ: [*first, *end). */
static void
find_difference (const char *old, const char *text, size_t len, size_t *first,
                 size_t *end)
{
  *first = 0;
  *end = len;
  while (*first < *end && old[*first] == text[*first])
    (*first)++;
  while (*end > *first && old[*end - 1] == text[*end - 1])
    (*end)--;
}

bool
text_differs_in_one_sector (uint64_t offset, const char *old, const char *text,
                            size_t len)
{
  size_t first, end;

  find_difference (old, text, len, &first, &end);
  return first == end
         || bytes_to_sectors (offset + first)
              == bytes_to_sectors (offset + end - 1);
}

int
text_write_difference (struct media *media, uint64_t offset, const char *old,
                       const char *text, size_t len, struct vmdk_error *err)
{
  size_t first, end;

  find_difference (old, text, len, &first, &end);
  if (first < end
      && media_pwrite (media, text + first, end - first, offset + first, err)
           == -1)
    return -1;
  return media_flush (media, err);
}

static int
get_header (struct media *media, struct sparse_header *h,
            struct vmdk_error *err)
{
  uint8_t bytes[SPARSE_HEADER_SIZE];

  if (media_pread (media, bytes, sizeof bytes, 0, err) == -1)
    return -1;
  sparse_header_decode (bytes, h);
  return 0;
}

/* One sector, so at once. */
static int
put_header (struct media *media, const struct sparse_header *h,
            struct vmdk_error *err)
{
  uint8_t bytes[SPARSE_HEADER_SIZE];

  sparse_header_encode (h, bytes);
  if (media_pwrite (media, bytes, sizeof bytes, 0, err) == -1)
    return -1;
  return media_flush (media, err);
}

/* Fill the area with TEXT and zeros. */
static int
put_text (struct media *media, const char *text, size_t len, uint64_t sector,
          uint64_t nr_sectors, struct vmdk_error *err)
{
  const size_t size = sectors_to_bytes (nr_sectors);
  CLEANUP_FREE char *whole = calloc (1, size);

  if (!whole)
    return fail_memory (err);
  memcpy (whole, text, len);
  if (media_pwrite (media, whole, size, sectors_to_bytes (sector), err) == -1)
    return -1;
  return media_flush (media, err);
}

/* -- Room --------------------------------------------------------------- */

/* What lies at FROM and behind it: the sectors up to END are free. */
struct room {
  const struct sparse_header *header;
  uint64_t from, end;
};

static void
note (struct room *room, uint64_t sector, uint64_t nr_sectors)
{
  if (sector >= room->from)
    room->end = min_u64 (room->end, sector);
  else if (nr_sectors > room->from - sector)
    room->end = room->from;
}

/* A table at SECTOR, and the grains that it names. */
static int
note_table (struct room *room, struct media *media, uint64_t sector,
            uint8_t *entries, struct vmdk_error *err)
{
  const struct sparse_header *h = room->header;
  const size_t size = (size_t) h->nr_gtes_per_gt * 4;
  const uint64_t nr_markers = h->flags & SPARSE_COMPRESSED ? 1 : 0;

  note (room, sector - nr_markers, bytes_to_sectors (size) + nr_markers);
  if (media_pread (media, entries, size, sectors_to_bytes (sector), err) == -1)
    return -1;
  for (size_t i = 0; i < size; i += 4) {
    const uint32_t entry = le32_load (entries + i);

    if (entry > 1) /* 1 can only mean zeros */
      note (room, entry, h->grain_size);
  }
  return 0;
}

static int
note_directory (struct room *room, struct media *media, uint64_t offset,
                struct vmdk_error *err)
{
  const struct sparse_header *h = room->header;
  const uint64_t nr_sectors =
    div_round_up (sparse_header_nr_tables (h) * 4, SECTOR_SIZE);
  CLEANUP_FREE uint8_t *entries = malloc ((size_t) h->nr_gtes_per_gt * 4);
  uint8_t sector[SECTOR_SIZE];

  if (!entries)
    return fail_memory (err);
  note (room, offset, nr_sectors);
  for (uint64_t i = 0; i < nr_sectors && room->end > room->from; i++) {
    if (media_pread (media, sector, sizeof sector,
                     sectors_to_bytes (offset + i), err)
        == -1)
      return -1;
    for (size_t e = 0; e < SECTOR_SIZE; e += 4)
      if (le32_load (sector + e) != 0
          && note_table (room, media, le32_load (sector + e), entries, err)
               == -1)
        return -1;
  }
  return 0;
}

/* Up to where FROM and the sectors behind it belong to nobody, whatever H
 * says of the descriptor.  H names the directory.
 */
static int
find_room (struct media *media, const struct sparse_header *h, uint64_t from,
           uint64_t *end, struct vmdk_error *err)
{
  struct sparse_header without = *h;
  struct room room = { h, from, bytes_to_sectors (media->size) };
  bool use_redundant;

  without.descriptor_offset = 0;
  if (sparse_header_check (&without, media->size, &use_redundant, err) == -1
      || note_directory (&room, media, h->gd_offset, err) == -1
      || (use_redundant
          && note_directory (&room, media, h->rgd_offset, err) == -1))
    return -1;
  *end = max_u64 (room.end, from);
  return 0;
}

/* Make the home of H, which is too small, large enough for LEN bytes.  What
 * lies behind overHead may be in use in ways that tables do not show.
 */
static int
grow_home (struct media *media, struct sparse_header *h, size_t len,
           struct vmdk_error *err)
{
  const uint64_t wanted = div_round_up (len, SECTOR_SIZE);
  const uint64_t from = h->descriptor_offset + h->descriptor_size;
  uint64_t end = from;

  if (h->overhead > from) {
    if (find_room (media, h, from, &end, err) == -1)
      return -1;
    end = min_u64 (end, h->overhead);
  }
  if (wanted > end - h->descriptor_offset)
    return fail (err, ERR_READ_ONLY,
                 "the descriptor would need %zu bytes, and there is room for "
                 "%" PRIu64 ": make it shorter, or convert the disk to a type "
                 "whose descriptor is a file of its own",
                 len, sectors_to_bytes (end - h->descriptor_offset));
  h->descriptor_size = wanted;
  return 0;
}

/* -- The copy ----------------------------------------------------------- */

static const char aside_magic[24] = "vmdkit: text aside\n";

/* The copy's last sector.  Sectors, and bytes of text. */
struct aside {
  uint64_t offset, size;
  uint64_t home_offset, home_size;
  uint64_t len;
};

static void
aside_encode (const struct aside *a, uint8_t *sector)
{
  memset (sector, 0, SECTOR_SIZE);
  memcpy (sector, aside_magic, sizeof aside_magic);
  le64_store (sector + 24, a->offset);
  le64_store (sector + 32, a->home_offset);
  le64_store (sector + 40, a->home_size);
  le64_store (sector + 48, a->len);
}

/* Whether the header names a copy. */
static int
find_aside (struct media *media, const struct sparse_header *h,
            struct aside *a, bool *found, struct vmdk_error *err)
{
  uint8_t sector[SECTOR_SIZE];

  *found = false;
  if (h->descriptor_size < 2)
    return 0;
  if (media_pread (
        media, sector, sizeof sector,
        sectors_to_bytes (h->descriptor_offset + h->descriptor_size - 1), err)
      == -1)
    return -1;
  a->offset = h->descriptor_offset;
  a->size = h->descriptor_size;
  a->home_offset = le64_load (sector + 32);
  a->home_size = le64_load (sector + 40);
  a->len = le64_load (sector + 48);
  *found = memcmp (sector, aside_magic, sizeof aside_magic) == 0
           && le64_load (sector + 24) == a->offset;
  return 0;
}

static int
put_aside (struct media *media, const struct aside *a, const char *text,
           struct vmdk_error *err)
{
  const size_t size = sectors_to_bytes (a->size);
  CLEANUP_FREE char *bytes = calloc (1, size);

  if (!bytes)
    return fail_memory (err);
  memcpy (bytes, text, a->len);
  aside_encode (a, (uint8_t *) bytes + size - SECTOR_SIZE);
  if (media_pwrite (media, bytes, size, sectors_to_bytes (a->offset), err)
      == -1)
    return -1;
  return media_flush (media, err);
}

/* H with its text at home. */
static struct sparse_header
at_home (const struct sparse_header *h, const struct aside *a)
{
  struct sparse_header home = *h;

  home.descriptor_offset = a->home_offset;
  home.descriptor_size = a->home_size;
  return home;
}

/* The copy can be anybody's who made the file: what it says of its home is
 * believed when that is free.
 */
static int
check_aside (struct media *media, const struct sparse_header *h,
             const struct aside *a, struct vmdk_error *err)
{
  const struct sparse_header home = at_home (h, a);
  struct vmdk_error why;
  uint64_t end;

  if (a->home_offset != 0
      && sparse_header_check_descriptor (&home, media->size, &why) == 0
      && a->len <= sectors_to_bytes (a->home_size) && a->len > 0
      && a->len < sectors_to_bytes (a->size - 1)
      && !ranges_overlap (a->offset, a->size, a->home_offset, a->home_size)) {
    if (find_room (media, &home, a->home_offset, &end, err) == -1)
      return fail_prefix (err, "cannot be written");
    if (a->home_size <= end - a->home_offset)
      return 0;
  }
  return fail (err, ERR_READ_ONLY,
               "cannot be written: its descriptor lies at sector %" PRIu64
               " for the time being, and cannot be put back to the %" PRIu64
               " sectors at %" PRIu64 ", which are not free; copy the disk",
               a->offset, a->home_size, a->home_offset);
}

/* Cut the copy off if it is the file's end. */
static int
cut_aside (struct media *media, const struct aside *a, struct vmdk_error *err)
{
  if (sectors_to_bytes (a->offset + a->size) != media->size)
    return 0;
  if (media_truncate (media, sectors_to_bytes (a->offset), err) == -1)
    return -1;
  return media_flush (media, err);
}

int
embedded_text_restore (struct media *media, const char *name,
                       const struct vmdk_log *log, struct vmdk_error *err)
{
  struct sparse_header h;
  CLEANUP_FREE char *text = NULL;
  struct aside a;
  bool found;

  if (media->size < SPARSE_HEADER_SIZE)
    return 0;
  if (get_header (media, &h, err) == -1)
    return -1;
  if (h.magic != SPARSE_MAGIC || h.capacity == 0)
    return 0;
  if (sparse_header_check_descriptor (&h, media->size, err) == -1
      || find_aside (media, &h, &a, &found, err) == -1)
    return -1;
  if (!found)
    return 0;
  if (check_aside (media, &h, &a, err) == -1)
    return -1;

  text = malloc (a.len);
  if (!text)
    return fail_memory (err);
  h = at_home (&h, &a);
  h.unclean_shutdown = 1; /* invariant 2 */
  if (media_pread (media, text, a.len, sectors_to_bytes (a.offset), err) == -1
      || put_text (media, text, a.len, a.home_offset, a.home_size, err) == -1
      || put_header (media, &h, err) == -1 || cut_aside (media, &a, err) == -1)
    return -1;
  log_warning (log, "%s: put the descriptor back in its place after a crash",
               NAME (name));
  return 0;
}

/* -- Replacing ---------------------------------------------------------- */

/* H as it may be while the file has a copy at its end.  invariant 2 */
static int
make_meantime (const struct extent *extent, const struct sparse_header *h,
               struct sparse_header *out, struct vmdk_error *err)
{
  const bool being_written =
    h->unclean_shutdown && h->gd_offset != SPARSE_GD_AT_END;
  struct sparse_header footer;
  bool found;

  *out = *h;
  if ((h->flags & SPARSE_COMPRESSED) && !being_written) {
    if (stream_footer_find (extent, h, &footer, &found, err) == -1)
      return -1;
    if (found) {
      *out = footer;
      out->descriptor_offset = h->descriptor_offset;
      out->descriptor_size = h->descriptor_size;
    }
    else if (h->gd_offset == SPARSE_GD_AT_END)
      return fail (err, ERR_READ_ONLY,
                   "the descriptor cannot be replaced: the stream has no "
                   "directory");
  }
  out->unclean_shutdown = 1;
  return 0;
}

static int
cut_tail (struct media *media, uint64_t *tail, struct vmdk_error *err)
{
  if (*tail == 0)
    return 0;
  /* A write that failed may have made the file longer than media->size. */
  if (media_truncate (media, *tail, err) == -1
      || media_flush (media, err) == -1)
    return -1;
  *tail = 0;
  return 0;
}

/* Nothing names the copy yet.  What cannot be undone is waiting for the next
 * attempt.
 */
static void
undo (struct media *media, const struct sparse_header *h, uint64_t *tail)
{
  struct vmdk_error ignored;
  int r = cut_tail (media, tail, &ignored);

  if (r == 0)
    r = put_header (media, h, &ignored);
  (void) r;
}

static int
place_aside (struct media *media, const struct sparse_header *home, size_t len,
             struct aside *a, struct vmdk_error *err)
{
  *a = (struct aside){
    .offset = div_round_up (media->size, SECTOR_SIZE),
    .size = len / SECTOR_SIZE + 2, /* a NUL at least, and the last sector */
    .home_offset = home->descriptor_offset,
    .home_size = home->descriptor_size,
    .len = len,
  };
  if (sectors_to_bytes (a->size - 1) > DESCRIPTOR_MAX_SIZE - SECTOR_SIZE)
    return fail (err, ERR_READ_ONLY,
                 "the descriptor would need %zu bytes, which is too much in "
                 "an extent's file: make it shorter",
                 len);
  return 0;
}

/* The steps of link-text.h.  H is the header as it will be in the end, and
 * OLD as it is.
 */
static int
replace_in_steps (const struct extent *extent, const struct sparse_header *old,
                  const struct sparse_header *h, const char *text, size_t len,
                  uint64_t *tail, struct vmdk_error *err)
{
  struct media *media = extent->media;
  struct sparse_header meantime, with_aside, with_home;
  struct aside a;

  if (make_meantime (extent, old, &meantime, err) == -1
      || place_aside (media, h, len, &a, err) == -1)
    return -1;
  with_home = at_home (&meantime, &a);
  with_aside = meantime;
  with_aside.descriptor_offset = a.offset;
  with_aside.descriptor_size = a.size;

  if (put_header (media, &meantime, err) == -1) {
    undo (media, old, tail);
    return -1;
  }
  *tail = media->size;
  if (put_aside (media, &a, text, err) == -1) {
    undo (media, old, tail);
    return -1;
  }
  if (put_header (media, &with_aside, err) == -1
      || put_text (media, text, len, a.home_offset, a.home_size, err) == -1
      || put_header (media, &with_home, err) == -1
      || cut_tail (media, tail, err) == -1)
    return -1;
  return put_header (media, h, err);
}

/* Try it in place: when the area, all of it, changes in one sector.  *done
 * says whether.
 */
static int
replace_in_place (struct media *media, const struct sparse_header *h,
                  const char *text, size_t len, bool *done,
                  struct vmdk_error *err)
{
  const uint64_t offset = sectors_to_bytes (h->descriptor_offset);
  const size_t room = sectors_to_bytes (h->descriptor_size);
  CLEANUP_FREE char *old = NULL, *whole = NULL;

  *done = false;
  if (len > room)
    return 0;
  old = malloc (room);
  whole = calloc (1, room);
  if (!old || !whole)
    return fail_memory (err);
  if (media_pread (media, old, room, offset, err) == -1)
    return -1;
  memcpy (whole, text, len);
  if (!text_differs_in_one_sector (offset, old, whole, room))
    return 0;
  *done = true;
  return text_write_difference (media, offset, old, whole, room, err);
}

/* What the header is to say when TEXT has LEN bytes. */
static int
make_room (const struct extent *extent, const struct sparse_header *old,
           size_t len, struct sparse_header *h, struct vmdk_error *err)
{
  struct sparse_header meantime;

  *h = *old;
  if (len <= sectors_to_bytes (old->descriptor_size))
    return 0;
  if (make_meantime (extent, old, &meantime, err) == -1
      || grow_home (extent->media, &meantime, len, err) == -1)
    return -1;
  h->descriptor_size = meantime.descriptor_size;
  return 0;
}

int
embedded_text_replace (const struct extent *extent, const char *text,
                       size_t len, uint64_t *tail, bool *grown,
                       struct vmdk_error *err)
{
  struct media *media = extent->media;
  struct sparse_header old, h;
  bool done;

  *grown = false;
  if (embedded_text_restore (media, extent->name, &extent->rules->log, err)
        == -1
      || cut_tail (media, tail, err) == -1
      || get_header (media, &old, err) == -1
      || sparse_header_check_descriptor (&old, media->size, err) == -1)
    return -1;
  if (old.descriptor_offset == 0)
    return fail (err, ERR_READ_ONLY, "the file has no descriptor");
  if (replace_in_place (media, &old, text, len, &done, err) == -1)
    return -1;
  if (done)
    return 0;
  if (make_room (extent, &old, len, &h, err) == -1)
    return -1;
  *grown = h.descriptor_size != old.descriptor_size;
  return replace_in_steps (extent, &old, &h, text, len, tail, err);
}
