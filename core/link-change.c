/* SPDX-License-Identifier: BSD-3-Clause */

/* A link is about to change: its descriptor follows.  See
 * link_begin_changes in link.h.
 *
 * The new content ID has to be durable before any change of the contents is:
 * a crash between the two then makes children refuse their parent, which is
 * safe, rather than accept one that changed under them.  (qemu writes the ID
 * after the first write.)
 *
 * The text is replaced in one of two ways.  When its length stays, only the
 * bytes that differ are written, in place: a content ID is a few bytes, in
 * one or two sectors, and any mixture of old and new is a good descriptor.
 * Otherwise a file of its own is written aside and renamed, and an embedded
 * text is written as a whole.
 */

#include <config.h>

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
drop_change_tracking (struct link *link, struct vmdk_error *err)
{
  struct descriptor *d = link->descriptor;

  if (!descriptor_remove (d, "changeTrackPath"))
    return 0;
  log_warning (&link->rules->log,
               "%s: change tracking is dropped, because it would miss what is "
               "written now: the next backup has to be a full one",
               NAME (link->name));
  return descriptor_set (d, "version", "1", err);
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

/* Where the embedded text is. */
static int
find_area (struct media *media, uint64_t *offset, uint64_t *size,
           struct vmdk_error *err)
{
  uint8_t bytes[SPARSE_HEADER_SIZE];
  struct sparse_header h;

  if (media_pread (media, bytes, sizeof bytes, 0, err) == -1)
    return -1;
  sparse_header_decode (bytes, &h);
  if (sparse_header_check_descriptor (&h, media->size, err) == -1)
    return -1;
  *offset = sectors_to_bytes (h.descriptor_offset);
  *size = sectors_to_bytes (h.descriptor_size);
  return 0;
}

static int
write_embedded (struct media *media, const char *text, size_t len,
                struct vmdk_error *err)
{
  uint64_t offset, size;

  if (find_area (media, &offset, &size, err) == -1)
    return -1;
  if (len > size)
    return fail (err, ERR_READ_ONLY,
                 "the descriptor would need %zu bytes, and there is room for "
                 "%" PRIu64,
                 len, size);

  CLEANUP_FREE char *old = calloc (1, size), *whole = calloc (1, size);
  if (!old || !whole)
    return fail_memory (err);
  if (media_pread (media, old, size, offset, err) == -1)
    return -1;
  memcpy (whole, text, len);
  return write_difference (media, offset, old, whole, size, err);
}

/* Put a new file in the place of the descriptor's, locked before it is
 * there.
 */
static int
replace_file (struct link *link, const char *text, size_t len,
              struct vmdk_error *err)
{
  CLEANUP_FREE char *name = NULL;
  CLEANUP_MEDIA struct media *media = NULL;
  struct vmdk_error ignored;
  int r;

  if (asprintf (&name, "%s.new", link->name) == -1) {
    name = NULL;
    return fail_memory (err);
  }
  media = store_create (link->store, name, 0666, err);
  if (!media)
    return fail_prefix (err, "%s", NAME (name));
  r = media_pwrite (media, text, len, 0, err);
  if (r == 0)
    r = media_flush (media, err);
  if (r == 0 && link->rules->lock)
    r = media_lock (media, MEDIA_LOCK_WRITE, err);
  if (r == 0)
    r = store_rename (link->store, name, link->name, err);
  if (r == -1) {
    if (store_remove (link->store, name, &ignored) == -1)
      return -1;
    return -1;
  }
  media_close (link->text);
  link->text = steal_ptr (&media);
  link->identity = link->text->identity;
  return store_flush (link->store, err);
}

static int
write_file (struct link *link, const char *text, size_t len,
            struct vmdk_error *err)
{
  struct media *media = link->text;
  CLEANUP_FREE char *old = malloc (len + 1);

  if (!old)
    return fail_memory (err);
  if (media->size != len)
    return replace_file (link, text, len, err);
  if (media_pread (media, old, len, 0, err) == -1)
    return -1;
  return write_difference (media, 0, old, text, len, err);
}

static int
begin_changes (struct link *link, struct vmdk_error *err)
{
  size_t len;

  if (set_new_ids (link->descriptor, err) == -1
      || drop_change_tracking (link, err) == -1)
    return -1;

  CLEANUP_FREE char *text = descriptor_print (link->descriptor, &len, err);
  if (!text)
    return -1;
  return link->text ? write_file (link, text, len, err)
                    : write_embedded (link->extents[0]->media, text, len, err);
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
