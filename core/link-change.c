/* SPDX-License-Identifier: BSD-3-Clause */

/* A link is about to change: its descriptor follows.  See
 * link_begin_changes in link.h.
 *
 * The new content ID has to be durable before any change of the contents is:
 * a crash between the two then makes children refuse their parent, which is
 * safe, rather than accept one that changed under them.  (qemu writes the ID
 * after the first write.)
 *
 * The text is replaced in one of two ways.  When its lines stay where they
 * are, only the bytes that differ are written, in place: a content ID is a
 * few bytes, in one or two sectors, and any mixture of old and new sectors is
 * a good descriptor.  Otherwise a file of its own is written aside and
 * renamed, and an embedded text, which cannot be, is written as a whole.
 *
 * What changes is a copy of the link's descriptor.  The link's own stays what
 * it was at open: other threads read it without a lock, and an attempt that
 * failed can be made again from the start.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "checked.h"
#include "create.h"
#include "link.h"
#include "log.h"
#include "sparse-header.h"

#define HEX_DIGITS 32 /* of ddb.longContentID */

/* Random hex digits, so that the last eight are the CID. */
static void
make_long_id (uint32_t cid, char text[HEX_DIGITS + 1])
{
  uint32_t words[3];

  if (getrandom (words, sizeof words, 0) != sizeof words)
    words[0] = words[1] = words[2] = cid;
  snprintf (text, HEX_DIGITS + 1,
            "%08" PRIx32 "%08" PRIx32 "%08" PRIx32 "%08" PRIx32, words[0],
            words[1], words[2], cid);
}

static void
make_uuid (char text[37])
{
  uint8_t b[16] = { 0 };

  if (getrandom (b, sizeof b, 0) != sizeof b)
    b[15] = 1;
  b[6] = (b[6] & 0x0f) | 0x40;
  b[8] = (b[8] & 0x3f) | 0x80;
  snprintf (text, 37,
            "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x"
            "%02x%02x",
            b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10],
            b[11], b[12], b[13], b[14], b[15]);
}

static int
set_new_ids (struct descriptor *d, struct vmdk_error *err)
{
  char text[40];
  uint32_t cid = 0;

  descriptor_cid (d, &cid);
  cid = random_cid (cid);
  snprintf (text, sizeof text, "%08" PRIx32, cid);
  if (descriptor_set (d, "CID", text, err) == -1)
    return -1;
  if (descriptor_get (d, "ddb.longContentID")) {
    make_long_id (cid, text);
    if (descriptor_set (d, "ddb.longContentID", text, err) == -1)
      return -1;
  }
  /* VirtualBox knows children by this one. */
  if (descriptor_get (d, "ddb.uuid.modification")) {
    make_uuid (text);
    if (descriptor_set (d, "ddb.uuid.modification", text, err) == -1)
      return -1;
  }
  return 0;
}

/* What VMware tracked of changes knows nothing of ours; a backup made by it
 * would lack them.
 */
static int
drop_change_tracking (struct descriptor *d, bool *dropped,
                      struct vmdk_error *err)
{
  *dropped = descriptor_remove (d, "changeTrackPath");
  return *dropped ? descriptor_set (d, "version", "1", err) : 0;
}

static void
warn_change_tracking (const struct link *link)
{
  log_warning (&link->rules->log,
               "%s: change tracking is dropped, because it would miss what is "
               "written now: the next backup has to be a full one",
               NAME (link->name));
}

/* -- Writing the text --------------------------------------------------- */

/* Write the bytes of TEXT that differ from OLD, both LEN long. */
static int
write_difference (struct media *media, uint64_t offset, const char *old,
                  const char *text, size_t len, struct vmdk_error *err)
{
  size_t first = 0, end = len;

  while (first < end && old[first] == text[first])
    first++;
  while (end > first && old[end - 1] == text[end - 1])
    end--;
  if (first < end
      && media_pwrite (media, text + first, end - first, offset + first, err)
           == -1)
    return -1;
  return media_flush (media, err);
}

/* Where a text is, or will be. */
struct text_place {
  struct media *media;
  uint64_t offset;
  uint64_t room; /* 0: it has the file for itself */
};

/* A file that only holds a descriptor can be KDMV too. */
static int
find_place (const struct link *link, struct text_place *place,
            struct vmdk_error *err)
{
  struct media *media = link->text ? link->text : link->extents[0]->media;
  uint8_t bytes[SPARSE_HEADER_SIZE] = { 0 };
  struct sparse_header h;

  *place = (struct text_place){ .media = media };
  if (media_pread (media, bytes, min_u64 (sizeof bytes, media->size), 0, err)
      == -1)
    return -1;
  sparse_header_decode (bytes, &h);
  if (link->text && h.magic != SPARSE_MAGIC)
    return 0;
  if (sparse_header_check_descriptor (&h, media->size, err) == -1)
    return -1;
  place->offset = sectors_to_bytes (h.descriptor_offset);
  place->room = sectors_to_bytes (h.descriptor_size);
  return 0;
}

static int
write_embedded (const struct text_place *place, const char *text, size_t len,
                struct vmdk_error *err)
{
  const uint64_t room = place->room;

  if (len > room)
    return fail (err, ERR_READ_ONLY,
                 "the descriptor would need %zu bytes, and there is room for "
                 "%" PRIu64,
                 len, room);

  CLEANUP_FREE char *old = malloc (room), *whole = calloc (1, room);
  if (!old || !whole)
    return fail_memory (err);
  if (media_pread (place->media, old, room, place->offset, err) == -1)
    return -1;
  memcpy (whole, text, len);
  return write_difference (place->media, place->offset, old, whole, room, err);
}

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

static int
replace_file (struct link *link, const char *text, size_t len,
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
  if (put_in_place (link, media, name, text, len, err) == -1) {
    if (store_remove (link->store, name, &ignored) == -1)
      log_warning (&link->rules->log, "%s: %s could not be removed: %s",
                   NAME (link->name), NAME (name), ignored.text);
    return -1;
  }
  media_close (link->text);
  link->text = steal_ptr (&media);
  return store_flush (link->store, err);
}

/* Whether both have the same length and their lines begin at the same places,
 * so that any mixture of their sectors has whole lines.
 */
static bool
lines_stay (const char *a, size_t len_a, const char *b, size_t len_b)
{
  if (len_a != len_b)
    return false;
  for (size_t i = 0; i < len_a; i++)
    if ((a[i] == '\n') != (b[i] == '\n'))
      return false;
  return true;
}

static int
write_in_file (const struct text_place *place, const char *text, size_t len,
               struct vmdk_error *err)
{
  CLEANUP_FREE char *old = malloc (len + 1);

  if (!old)
    return fail_memory (err);
  if (media_pread (place->media, old, len, 0, err) == -1)
    return -1;
  return write_difference (place->media, 0, old, text, len, err);
}

static int
begin_changes (struct link *link, struct vmdk_error *err)
{
  const struct vmdk_log silent = { NULL, NULL, NULL };
  CLEANUP_DESCRIPTOR struct descriptor *d = NULL;
  CLEANUP_FREE char *old = NULL, *text = NULL;
  struct text_place place;
  size_t old_len, len;
  bool dropped;

  old = descriptor_print (link->descriptor, &old_len, err);
  if (!old)
    return -1;
  d = descriptor_parse (old, old_len, &silent, err);
  if (!d || set_new_ids (d, err) == -1
      || drop_change_tracking (d, &dropped, err) == -1)
    return -1;
  text = descriptor_print (d, &len, err);
  if (!text || find_place (link, &place, err) == -1)
    return -1;
  if ((place.room != 0 ? write_embedded (&place, text, len, err)
       : lines_stay (old, old_len, text, len)
         ? write_in_file (&place, text, len, err)
         : replace_file (link, text, len, err))
      == -1)
    return -1;
  if (dropped)
    warn_change_tracking (link);
  return 0;
}

int
link_begin_changes (struct link *link, struct vmdk_error *err)
{
  LOCK_FOR_SCOPE (&link->changes.lock);

  if (link->changes.begun)
    return 0;
  if (begin_changes (link, err) == -1)
    return fail_prefix (err, "%s", NAME (link->name));
  link->changes.begun = true;
  return 0;
}
