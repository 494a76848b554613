/* SPDX-License-Identifier: BSD-3-Clause */

/* Putting back what a backup has.  See repair.h for its lines.
 *
 * All of it is looked at before anything is written: what the repair wrote
 * must still be there, or the old bytes, where it was killed or an undoing
 * was.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "descriptor.h"
#include "link-edit.h"
#include "repair.h"
#include "vector.h"

#define FIRST_LINE "vmdkit repair backup 1\n"

/* A backup has a few bytes for each mistake of a disk. */
#define MAX_BACKUP_SIZE ((uint64_t) 512 << 20)

struct file {
  const char *name; /* in the text */
  struct media *media;
  uint64_t cut; /* where it ended before the repair */
};
DEFINE_VECTOR (file_list, struct file)

/* A line.  OLD is NULL for what was added, NEW too for what was dropped.  Of a
 * parentCID the offset is the old one, and the count the new one.
 */
struct record {
  size_t file;
  const char *descriptor; /* of a parentCID: the name */
  uint64_t offset, count;
  uint8_t *old, *new; /* bytes, in place of their digits in the text */
};
DEFINE_VECTOR (record_list, struct record)

struct undo {
  struct store *store;
  const struct operation *operation;
  char *text;
  struct file_list files;
  struct record_list records;
};

/* -- Reading the backup ------------------------------------------------- */

/* The word at *p, which becomes what follows it; NULL: there is none. */
static char *
take_word (char **p)
{
  char *word = *p, *space = strchr (word, ' ');

  if (!space || space == word)
    return NULL;
  *space = '\0';
  *p = space + 1;
  return word;
}

static bool
take_number (char **p, uint64_t *number)
{
  const char *word = take_word (p);
  char *end;

  if (!word || strspn (word, "0123456789") != strlen (word)
      || strlen (word) > 19)
    return false;
  *number = strtoull (word, &end, 10);
  return *number <= sectors_to_bytes (MAX_SECTORS);
}

static int
digit (char c)
{
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                : -1;
}

/* The bytes take the place of the digits. */
static bool
take_hex (char **p, uint8_t **bytes, uint64_t *count)
{
  char *word = take_word (p);
  const size_t len = word ? strlen (word) : 0;

  if (len == 0 || len % 2 != 0)
    return false;
  for (size_t i = 0; i < len; i += 2) {
    const int high = digit (word[i]), low = digit (word[i + 1]);

    if (high == -1 || low == -1)
      return false;
    word[i / 2] = (char) (high << 4 | low);
  }
  *bytes = (uint8_t *) word;
  *count = len / 2;
  return true;
}

static bool
parse_record (char **p, struct record *record)
{
  const char *kind = take_word (p);
  uint64_t count;

  *record = (struct record){ 0 };
  if (!kind || !take_number (p, &record->offset))
    return false;
  if (strcmp (kind, "dropped") == 0)
    return take_number (p, &record->count);
  if (strcmp (kind, "parent-cid") == 0) {
    record->descriptor = "";
    return take_number (p, &record->count)
           && max_u64 (record->offset, record->count) <= UINT32_MAX;
  }
  if (strcmp (kind, "added") == 0)
    return take_hex (p, &record->new, &record->count);
  return strcmp (kind, "bytes") == 0
         && take_hex (p, &record->old, &record->count)
         && take_hex (p, &record->new, &count) && count == record->count;
}

static int
open_file (struct undo *undo, const char *name, size_t *nr,
           struct vmdk_error *err)
{
  struct file file = { .name = name, .cut = UINT64_MAX };

  for (*nr = 0; *nr < undo->files.len; ++*nr)
    if (strcmp (undo->files.ptr[*nr].name, name) == 0)
      return 0;
  file.media =
    store_open (undo->store, name,
                undo->operation->dry_run ? STORE_FROM_FILE
                                         : STORE_FROM_FILE | STORE_WRITABLE,
                err);
  if (!file.media)
    return fail_prefix (err, "%s", NAME (name));
  if (file_list_append (&undo->files, file) == -1) {
    media_close (file.media);
    return fail_memory (err);
  }
  if (media_lock (
        file.media,
        undo->operation->dry_run ? MEDIA_LOCK_READ : MEDIA_LOCK_WRITE, err)
      == -1)
    return fail_prefix (err, "%s", NAME (name));
  return 0;
}

/* Lines up to the first that is not whole: its change was never made. */
static int
parse (struct undo *undo, struct vmdk_error *err)
{
  char *p = undo->text + strlen (FIRST_LINE), *end;

  if (strncmp (undo->text, FIRST_LINE, strlen (FIRST_LINE)) != 0)
    return fail (err, ERR_CORRUPT, "is no backup of vmdkit's");
  while ((end = strchr (p, '\n'))) {
    struct record record;

    *end = '\0';
    if (!parse_record (&p, &record))
      break;
    if (record.descriptor)
      record.descriptor = p;
    else if (open_file (undo, p, &record.file, err) == -1)
      return -1;
    if (record_list_append (&undo->records, record) == -1)
      return fail_memory (err);
    p = end + 1;
  }
  return 0;
}

static int
read_backup (struct undo *undo, const char *name, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media =
    store_open (undo->store, name, STORE_FROM_USER, err);

  if (!media)
    return -1;
  if (media->size < strlen (FIRST_LINE) || media->size > MAX_BACKUP_SIZE)
    return fail (err, ERR_CORRUPT,
                 "is no backup of vmdkit's: %" PRIu64 " bytes", media->size);
  undo->text = malloc (media->size + 1);
  if (!undo->text)
    return fail_memory (err);
  undo->text[media->size] = '\0';
  if (media_pread (media, undo->text, media->size, 0, err) == -1)
    return -1;
  return parse (undo, err);
}

/* -- Looking ------------------------------------------------------------ */

static int
fail_changed (const struct file *file, uint64_t offset, struct vmdk_error *err)
{
  return fail (err, ERR_MISMATCH,
               "%s: byte %" PRIu64
               " is not what the repair wrote: the disk has been used since, "
               "and undoing the repair would damage it",
               NAME (file->name), offset);
}

static int
check_bytes (const struct file *file, const struct record *record,
             struct vmdk_error *err)
{
  const uint64_t size = file->media->size;
  const uint64_t there = record->offset >= size
                           ? 0
                           : min_u64 (record->count, size - record->offset);
  CLEANUP_FREE uint8_t *now = malloc (there + 1);

  if (!now)
    return fail_memory (err);
  if (there < record->count && record->old)
    return fail_changed (file, size, err);
  if (there > 0
      && media_pread (file->media, now, there, record->offset, err) == -1)
    return -1;
  for (uint64_t i = 0; i < there; i++)
    if (now[i] != record->new[i]
        && now[i] != (record->old ? record->old[i] : 0))
      return fail_changed (file, record->offset + i, err);
  return 0;
}

/* Note where a file ended, and that it has not grown more. */
static int
check_sizes (struct undo *undo, struct vmdk_error *err)
{
  for (size_t i = 0; i < undo->files.len; i++) {
    struct file *file = &undo->files.ptr[i];
    uint64_t end = 0;

    for (size_t j = 0; j < undo->records.len; j++) {
      const struct record *record = &undo->records.ptr[j];

      if (record->file != i || record->old || !record->new)
        continue; /* what has no file has no new bytes either */
      file->cut = min_u64 (file->cut, record->offset);
      end = max_u64 (end, record->offset + record->count);
    }
    if (file->cut != UINT64_MAX && file->media->size > end)
      return fail_changed (file, end, err);
  }
  return 0;
}

static int
fail_other_cid (const struct record *record, uint32_t now,
                struct vmdk_error *err)
{
  return fail (err, ERR_MISMATCH,
               "%s: its parentCID is %08" PRIx32
               ", which is not what the repair wrote",
               NAME (record->descriptor), now);
}

static int
check_parent_cid (const struct undo *undo, const struct record *record,
                  struct vmdk_error *err)
{
  CLEANUP_DESCRIPTOR struct descriptor *d =
    link_look (undo->store, record->descriptor, STORE_FROM_FILE,
               undo->operation, NULL, err);
  uint32_t now;

  if (!d)
    return -1;
  now = descriptor_parent_cid (d);
  return now == record->offset || now == record->count
           ? 0
           : fail_other_cid (record, now, err);
}

static int
check (struct undo *undo, uint64_t *nr_dropped, struct vmdk_error *err)
{
  for (size_t i = 0; i < undo->records.len; i++) {
    const struct record *record = &undo->records.ptr[i];

    if (record->descriptor) {
      if (check_parent_cid (undo, record, err) == -1)
        return -1;
    }
    else if (!record->new)
      *nr_dropped += record->count;
    else if (check_bytes (&undo->files.ptr[record->file], record, err) == -1)
      return -1;
  }
  return check_sizes (undo, err);
}

/* -- Undoing ------------------------------------------------------------ */

static int
set_old_cid (void *opaque, struct descriptor *descriptor,
             struct vmdk_error *err)
{
  const struct record *record = opaque;
  const uint32_t now = descriptor_parent_cid (descriptor);
  char text[9];

  if (now == record->offset)
    return 0;
  if (now != record->count)
    return fail_other_cid (record, now, err);
  snprintf (text, sizeof text, "%08" PRIx32, (uint32_t) record->offset);
  return descriptor_set (descriptor, "parentCID", text, err);
}

/* Old bytes first: until they are durable, what was added may be named. */
static int
put_back (struct undo *undo, struct vmdk_error *err)
{
  for (size_t i = undo->records.len; i-- > 0;) {
    struct record *record = &undo->records.ptr[i];

    if (record->descriptor
        && link_edit (undo->store, record->descriptor, STORE_FROM_FILE,
                      undo->operation, set_old_cid, record, err)
             == -1)
      return -1;
    if (record->old
        && media_pwrite (undo->files.ptr[record->file].media, record->old,
                         record->count, record->offset, err)
             == -1)
      return -1;
  }
  for (size_t i = 0; i < undo->files.len; i++) {
    struct file *file = &undo->files.ptr[i];

    if (media_flush (file->media, err) == -1
        || (file->cut < file->media->size
            && (media_truncate (file->media, file->cut, err) == -1
                || media_flush (file->media, err) == -1)))
      return fail_prefix (err, "%s", NAME (file->name));
  }
  return 0;
}

static void
undo_free (struct undo *undo)
{
  for (size_t i = 0; i < undo->files.len; i++)
    media_close (undo->files.ptr[i].media);
  file_list_reset (&undo->files);
  record_list_reset (&undo->records);
  free (undo->text);
}

int
repair_undo (struct store *store, const char *backup,
             const struct operation *operation, uint64_t *nr_dropped,
             struct vmdk_error *err)
{
  struct undo undo = { .store = store, .operation = operation };
  int r = read_backup (&undo, backup, err);

  *nr_dropped = 0;
  if (r == -1)
    fail_prefix (err, "%s", NAME (backup));
  else
    r = check (&undo, nr_dropped, err);
  if (r == 0 && !operation->dry_run)
    r = put_back (&undo, err);
  undo_free (&undo);
  return r;
}
