/* SPDX-License-Identifier: BSD-3-Clause */

/* A link's descriptor changes: because the link is about to be written (see
 * link_begin_changes in link.h), or because an operation wants another text
 * (link_replace_text in link-text.h).
 *
 * The new content ID has to be durable before any change of the contents is:
 * a crash between the two then makes children refuse their parent, which is
 * safe, rather than accept one that changed under them.  (qemu writes the ID
 * after the first write.)
 *
 * IDs are changed in place where that can be (link-ids.h): then whatever
 * sectors a crash leaves make a whole text.
 *
 * What changes is the text on the medium.  The link's own descriptor stays
 * what it was at open: other threads read it without a lock, and an attempt
 * that failed can be made again from the start.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "link-ids.h"
#include "link-text.h"
#include "link.h"
#include "log.h"
#include "sparse-header.h"

/* Of a KDMV file for a descriptor alone: its area has no more than 4 MiB. */
#define MAX_CONTAINER (2 * DESCRIPTOR_MAX_SIZE)

/* -- What changes when contents do --------------------------------------- */

/* After an interrupted merge: see chain.c. */
static int
set_parent_id (const struct link *link, struct descriptor *d,
               struct vmdk_error *err)
{
  char text[9];

  if (link->changes.new_parent_cid == 0)
    return 0;
  snprintf (text, sizeof text, "%08" PRIx32, link->changes.new_parent_cid);
  return descriptor_set (d, "parentCID", text, err);
}

/* What VMware tracked of changes knows nothing of ours; a backup made by it
 * would lack them.
 */
static void
warn_change_tracking (const struct link *link)
{
  log_warning (&link->rules->log,
               "%s: change tracking is dropped, because it would miss what is "
               "written now: the next backup has to be a full one",
               NAME (link->name));
}

/* -- The text on the medium --------------------------------------------- */

/* What the link's text is in. */
struct text_place {
  struct media *media;
  uint64_t offset, room; /* bytes: of the area, or of the whole file */
  bool embedded;         /* in the file of extent 0 */
  bool in_header;        /* in a KDMV file, be it the extent's or its own */
  struct sparse_header header;
  char *text; /* ROOM bytes, as they are, and a NUL; owned */
  size_t len; /* of the text in them */
};

static void
text_place_free (struct text_place *place)
{
  free (place->text);
}
#define CLEANUP_PLACE __attribute__ ((cleanup (text_place_free)))

/* A file that only holds a descriptor can be KDMV too. */
static int
find_area (struct text_place *place, struct vmdk_error *err)
{
  struct media *media = place->media;
  uint8_t bytes[SPARSE_HEADER_SIZE] = { 0 };
  struct sparse_header *h = &place->header;

  if (media_pread (media, bytes, min_u64 (sizeof bytes, media->size), 0, err)
      == -1)
    return -1;
  sparse_header_decode (bytes, h);
  place->in_header = place->embedded || h->magic == SPARSE_MAGIC;
  place->room = media->size;
  if (place->in_header) {
    if (sparse_header_check_descriptor (h, media->size, err) == -1)
      return -1;
    place->offset = sectors_to_bytes (h->descriptor_offset);
    place->room = place->offset ? sectors_to_bytes (h->descriptor_size) : 0;
  }
  if (place->room == 0)
    return fail (err, ERR_READ_ONLY, "the file has no descriptor");
  if (place->room > DESCRIPTOR_MAX_SIZE)
    return fail (err, ERR_CORRUPT,
                 "the descriptor has %" PRIu64 " bytes, more than %zu",
                 place->room, DESCRIPTOR_MAX_SIZE);
  return 0;
}

static int
read_place (const struct link *link, struct text_place *place,
            struct vmdk_error *err)
{
  *place = (struct text_place){ .media = link->text };
  if (!link->text) {
    if (!link->extents[0])
      return fail (err, ERR_READ_ONLY,
                   "the descriptor's file does not open as an extent");
    place->media = link->extents[0]->media;
    place->embedded = true;
  }
  if (find_area (place, err) == -1)
    return -1;
  place->text = malloc (place->room + 1);
  if (!place->text)
    return fail_memory (err);
  place->text[place->room] = '\0';
  if (media_pread (place->media, place->text, place->room, place->offset, err)
      == -1)
    return -1;
  place->len = strlen (place->text);
  return 0;
}

static struct descriptor *
parse_quietly (const char *text, size_t len, struct vmdk_error *err)
{
  const struct vmdk_log silent = { .sink = NULL };

  return descriptor_parse (text, len, &silent, err);
}

/* -- A file of its own -------------------------------------------------- */

/* To rename something over a symbolic link would leave the file behind it as
 * it is, for others to find.
 */
static int
check_name (const struct link *link, struct vmdk_error *err)
{
  const struct media_identity *id = &link->text->identity;
  CLEANUP_MEDIA struct media *media =
    store_open (link->store, link->name, STORE_FROM_FILE, err);

  if (media
      && ((id->device == 0 && id->inode == 0)
          || media_same (media, link->text)))
    return 0;
  return fail (err, ERR_READ_ONLY,
               "the descriptor has to be replaced, and its name is a symbolic "
               "link, or another file's by now");
}

/* A new file that nobody else can read as yet.  A crash can have left one,
 * which we do not remove: it could be anybody's.
 */
static struct media *
create_aside (struct link *link, char **name, struct vmdk_error *err)
{
  struct media *media = NULL;

  for (unsigned nr = 1; !media && nr < 100; nr++) {
    cleanup_free (name);
    if (asprintf (name, nr == 1 ? "%s.new" : "%s.new-%u", link->name, nr)
        == -1) {
      *name = NULL;
      fail_memory (err);
      return NULL;
    }
    media = store_create (link->store, *name, 0600, err);
    if (!media && err->errnum != EEXIST)
      break;
  }
  if (!media)
    fail_prefix (err, "%s", NAME (*name));
  return media;
}

/* Fill MEDIA and give it NAME; it is locked before it is there. */
static int
put_in_place (struct link *link, struct media *media, const char *name,
              const char *text, size_t len, struct vmdk_error *err)
{
  if (media_pwrite (media, text, len, 0, err) == -1
      || media_copy_permissions (media, link->text, err) == -1
      || media_flush (media, err) == -1
      || (link->rules->lock
          && media_lock (media, MEDIA_LOCK_WRITE, err) == -1))
    return -1;
  return store_rename (link->store, name, link->name, err);
}

/* The bytes of a KDMV file that has nothing but a text, with this one; what
 * lies behind its area stays behind it.
 */
static int
make_container (const struct text_place *place, const char *text, size_t len,
                char **out, size_t *size, struct vmdk_error *err)
{
  const uint64_t room =
    max_u64 (place->room, div_round_up (len, SECTOR_SIZE) * SECTOR_SIZE);
  const uint64_t old_end = place->offset + place->room;
  const uint64_t behind = place->media->size - old_end;
  struct sparse_header h = place->header;
  char *bytes;

  if (place->media->size > MAX_CONTAINER)
    return fail (err, ERR_READ_ONLY,
                 "the descriptor's file has %" PRIu64 " bytes, too many to "
                 "replace it; copy the disk",
                 place->media->size);
  *size = place->offset + room + behind;
  *out = bytes = calloc (1, *size);
  if (!bytes)
    return fail_memory (err);
  if (media_pread (place->media, bytes, place->offset, 0, err) == -1
      || media_pread (place->media, bytes + place->offset + room, behind,
                      old_end, err)
           == -1)
    return -1;
  h.descriptor_size = bytes_to_sectors (room);
  sparse_header_encode (&h, (uint8_t *) bytes);
  memcpy (bytes + place->offset, text, len);
  return 0;
}

static int
rename_new (struct link *link, const char *bytes, size_t size,
            struct vmdk_error *err)
{
  CLEANUP_FREE char *name = NULL;
  CLEANUP_MEDIA struct media *media = NULL;
  struct vmdk_error ignored;

  if (check_name (link, err) == -1)
    return -1;
  media = create_aside (link, &name, err);
  if (!media)
    return -1;
  if (put_in_place (link, media, name, bytes, size, err) == -1) {
    if (store_remove (link->store, name, &ignored) == -1)
      log_warning (&link->rules->log, "%s: %s could not be removed: %s",
                   NAME (link->name), NAME (name), ignored.text);
    return -1;
  }
  media_close (link->text);
  link->text = steal_ptr (&media);
  return store_flush (link->store, err);
}

static int
replace_file (struct link *link, const struct text_place *place,
              const char *text, size_t len, struct vmdk_error *err)
{
  CLEANUP_FREE char *bytes = NULL;
  size_t size;

  if (!place->in_header)
    return rename_new (link, text, len, err);
  if (make_container (place, text, len, &bytes, &size, err) == -1)
    return -1;
  return rename_new (link, bytes, size, err);
}

/* -- Replacing ---------------------------------------------------------- */

static bool
changes_in_place (const struct text_place *place, const char *text, size_t len)
{
  return len == place->len
         && text_differs_in_one_sector (place->offset, place->text, text, len);
}

static int
replace_embedded (struct link *link, const char *text, size_t len,
                  struct vmdk_error *err)
{
  bool grown;
  const int r = embedded_text_replace (link->extents[0], text, len,
                                       &link->changes.tail, &grown, err);

  /* For good: the extent has read its header, and writes it. */
  link->changes.grown |= grown;
  return r;
}

static int
replace_text (struct link *link, const struct text_place *place,
              const char *text, size_t len, struct vmdk_error *err)
{
  if (place->embedded)
    return replace_embedded (link, text, len, err);
  if (changes_in_place (place, text, len))
    return text_write_difference (place->media, place->offset, place->text,
                                  text, len, err);
  return replace_file (link, place, text, len, err);
}

/* What was written before must not be waiting for the end of the file. */
static int
flush_extent (struct extent *extent, struct vmdk_error *err)
{
  if (!extent->writer || extent->why_read_only)
    return 0;
  return extent->ops->flush (extent, err);
}

static int
replace_descriptor (struct link *link, const struct descriptor *d,
                    struct vmdk_error *err)
{
  CLEANUP_PLACE struct text_place place = { 0 };
  CLEANUP_DESCRIPTOR struct descriptor *again = NULL;
  CLEANUP_FREE char *text = NULL;
  size_t len;

  if (!link->writable)
    return fail (err, ERR_READ_ONLY, "the disk was opened read-only");
  text = descriptor_print (d, &len, err);
  if (!text)
    return -1;
  again = parse_quietly (text, len, err);
  if (!again || read_place (link, &place, err) == -1
      || (place.embedded && flush_extent (link->extents[0], err) == -1))
    return -1;
  return replace_text (link, &place, text, len, err);
}

int
link_replace_text (struct link *link, const struct descriptor *descriptor,
                   struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&link->changes.lock);

  if (replace_descriptor (link, descriptor, err) == -1)
    return fail_prefix (err, "%s", NAME (link->name));
  return 0;
}

struct descriptor *
link_text_now (struct link *link, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&link->changes.lock);
  CLEANUP_PLACE struct text_place place = { 0 };
  struct descriptor *d = NULL;

  if (read_place (link, &place, err) == 0)
    d = parse_quietly (place.text, place.len, err);
  if (!d)
    fail_prefix (err, "%s", NAME (link->name));
  return d;
}

/* -- Beginning ---------------------------------------------------------- */

/* Lines that move: without change tracking, or with IDs of another length. */
static int
begin_with_new_text (struct link *link, const struct text_place *place,
                     const char *text, bool has_ids, struct vmdk_error *err)
{
  CLEANUP_DESCRIPTOR struct descriptor *d =
    parse_quietly (text, strlen (text), err);
  CLEANUP_FREE char *new = NULL;
  bool dropped;
  size_t len;

  if (!d || (!has_ids && link_ids_set (d, err) == -1)
      || set_parent_id (link, d, err) == -1
      || descriptor_drop_tracking (d, &dropped, err) == -1)
    return -1;
  new = descriptor_print (d, &len, err);
  if (!new || replace_text (link, place, new, len, err) == -1)
    return -1;
  if (dropped)
    warn_change_tracking (link);
  return 0;
}

static int
begin_changes (struct link *link, struct vmdk_error *err)
{
  CLEANUP_PLACE struct text_place place = { 0 };
  CLEANUP_DESCRIPTOR struct descriptor *d = NULL;
  CLEANUP_FREE char *text = NULL;
  bool has_ids;
  size_t len;

  if (read_place (link, &place, err) == -1)
    return -1;
  d = parse_quietly (place.text, place.len, err);
  if (!d)
    return -1;
  text = descriptor_print (d, &len, err);
  if (!text)
    return -1;
  has_ids = len == place.len && memcmp (text, place.text, len) == 0
            && link_ids_change (d, text, place.offset);
  if (!has_ids || descriptor_get (d, "changeTrackPath")
      || link->changes.tail != 0 || link->changes.new_parent_cid != 0)
    return begin_with_new_text (link, &place, has_ids ? text : place.text,
                                has_ids, err);
  return text_write_difference (place.media, place.offset, place.text, text,
                                len, err);
}

/* With the lock held.  The end of an extent's file may be in the way, or the
 * extent does not know its own header any more.
 */
static bool
is_stale (const struct link *link)
{
  return link->changes.tail != 0 || link->changes.grown;
}

bool
link_is_stale (struct link *link)
{
  LOCK_FOR_SCOPE (&link->changes.lock);

  return is_stale (link);
}

int
link_begin_changes (struct link *link, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&link->changes.lock);

  if (!link->changes.begun && begin_changes (link, err) == -1)
    return fail_prefix (err, "%s", NAME (link->name));
  link->changes.begun = true;
  if (is_stale (link))
    return fail (err, ERR_READ_ONLY,
                 "%s: cannot be written any more, because its descriptor was "
                 "replaced: open the disk again",
                 NAME (link->name));
  return 0;
}
