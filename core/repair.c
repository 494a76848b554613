/* SPDX-License-Identifier: BSD-3-Clause */

/* The backup is written, then the disk.  See repair.h.
 *
 * (1) When a byte of the disk is changed, the line that has the old one is
 *     durable.
 * (2) Lines are only appended.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "repair.h"
#include "vector.h"

#define FIRST_LINE "vmdkit repair backup 1\n"

/* A line of the backup has at most this many bytes of a file. */
#define MAX_PIECE 4096

/* What is gathered before it is committed. */
#define MAX_GATHERED ((uint64_t) 1 << 20)

struct change {
  struct media *media; /* borrowed, as is name */
  const char *name;
  uint64_t offset, count;
  uint8_t *bytes; /* owned */
};
DEFINE_VECTOR (change_list, struct change)

struct text {
  char *ptr;
  size_t len, capacity;
};

struct repairer {
  struct store *store;
  const char *name;
  bool dry_run;
  struct change_list changes;
  uint64_t gathered;
  struct media *backup;
  char *backup_name;
  struct text text; /* lines to be appended */
};

/* -- Lines -------------------------------------------------------------- */

static int
text_reserve (struct text *text, size_t more, struct vmdk_error *err)
{
  const size_t wanted = text->len + more;
  char *grown;

  if (wanted <= text->capacity)
    return 0;
  grown = realloc (text->ptr, 2 * wanted);
  if (!grown)
    return fail_memory (err);
  text->ptr = grown;
  text->capacity = 2 * wanted;
  return 0;
}

static int
text_add (struct text *text, const char *string, struct vmdk_error *err)
{
  const size_t len = strlen (string);

  if (text_reserve (text, len, err) == -1)
    return -1;
  memcpy (text->ptr + text->len, string, len);
  text->len += len;
  return 0;
}

static int
text_add_hex (struct text *text, const uint8_t *bytes, size_t count,
              struct vmdk_error *err)
{
  static const char digits[] = "0123456789abcdef";

  if (text_reserve (text, 2 * count + 1, err) == -1)
    return -1;
  for (size_t i = 0; i < count; i++) {
    text->ptr[text->len++] = digits[bytes[i] >> 4];
    text->ptr[text->len++] = digits[bytes[i] & 15];
  }
  text->ptr[text->len++] = ' ';
  return 0;
}

/* "KIND A B NAME", or without B if that is NO_NUMBER. */
#define NO_NUMBER UINT64_MAX

static int
text_add_numbers (struct text *text, const char *kind, uint64_t a, uint64_t b,
                  struct vmdk_error *err)
{
  char line[80];

  if (b == NO_NUMBER)
    snprintf (line, sizeof line, "%s %" PRIu64 " ", kind, a);
  else
    snprintf (line, sizeof line, "%s %" PRIu64 " %" PRIu64 " ", kind, a, b);
  return text_add (text, line, err);
}

static int
text_end_line (struct text *text, const char *name, struct vmdk_error *err)
{
  if (strchr (name, '\n'))
    return fail (err, ERR_UNSUPPORTED,
                 "%s: cannot be repaired: its name has a line break, which a "
                 "backup cannot have",
                 NAME (name));
  if (text_add (text, name, err) == -1)
    return -1;
  return text_add (text, "\n", err);
}

/* -- The backup --------------------------------------------------------- */

struct repairer *
repairer_new (struct store *store, const char *name, bool dry_run,
              struct vmdk_error *err)
{
  struct repairer *repairer = calloc (1, sizeof *repairer);

  if (!repairer) {
    fail_memory (err);
    return NULL;
  }
  repairer->store = store;
  repairer->name = name;
  repairer->dry_run = dry_run;
  return repairer;
}

static void
forget_changes (struct repairer *repairer)
{
  for (size_t i = 0; i < repairer->changes.len; i++)
    free (repairer->changes.ptr[i].bytes);
  repairer->changes.len = 0;
  repairer->gathered = 0;
}

void
repairer_free (struct repairer *repairer)
{
  if (!repairer)
    return;
  forget_changes (repairer);
  change_list_reset (&repairer->changes);
  media_close (repairer->backup);
  free (repairer->backup_name);
  free (repairer->text.ptr);
  free (repairer);
}

const char *
repairer_backup (const struct repairer *repairer)
{
  return repairer->backup ? repairer->backup_name : NULL;
}

/* An older backup stays. */
static int
create_backup (struct repairer *repairer, struct vmdk_error *err)
{
  for (unsigned nr = 1; !repairer->backup; nr++) {
    cleanup_free (&repairer->backup_name);
    if (asprintf (&repairer->backup_name,
                  nr == 1 ? "%s.repair-backup" : "%s.repair-backup-%u",
                  repairer->name, nr)
        == -1) {
      repairer->backup_name = NULL;
      return fail_memory (err);
    }
    repairer->backup =
      store_create (repairer->store, repairer->backup_name, 0600, err);
    if (!repairer->backup && (err->errnum != EEXIST || nr == 1000))
      return fail_prefix (err, "%s", NAME (repairer->backup_name));
  }
  if (media_pwrite (repairer->backup, FIRST_LINE, strlen (FIRST_LINE), 0, err)
      == -1)
    return fail_prefix (err, "%s", NAME (repairer->backup_name));
  return store_flush (repairer->store, err);
}

/* invariants 1, 2 */
static int
write_lines (struct repairer *repairer, struct vmdk_error *err)
{
  struct text *text = &repairer->text;

  if (!repairer->backup && create_backup (repairer, err) == -1)
    return -1;
  if (media_pwrite (repairer->backup, text->ptr, text->len,
                    repairer->backup->size, err)
        == -1
      || media_flush (repairer->backup, err) == -1)
    return fail_prefix (err, "%s", NAME (repairer->backup_name));
  text->len = 0;
  return 0;
}

/* The bytes FROM to FROM + COUNT of CHANGE, all within the file or all behind
 * its end.
 */
static int
note_piece (struct repairer *repairer, const struct change *change,
            uint64_t from, uint64_t count, bool is_new, struct vmdk_error *err)
{
  const uint64_t offset = change->offset + from;
  struct text *text = &repairer->text;
  uint8_t old[MAX_PIECE];

  if (!is_new) {
    if (media_pread (change->media, old, count, offset, err) == -1)
      return -1;
    if (memcmp (old, change->bytes + from, count) == 0)
      return 0;
  }
  if (text_add_numbers (text, is_new ? "added" : "bytes", offset, NO_NUMBER,
                        err)
        == -1
      || (!is_new && text_add_hex (text, old, count, err) == -1)
      || text_add_hex (text, change->bytes + from, count, err) == -1)
    return -1;
  return text_end_line (text, change->name, err);
}

static int
note_change (struct repairer *repairer, const struct change *change,
             struct vmdk_error *err)
{
  const uint64_t size = change->media->size;
  uint64_t count;

  for (uint64_t from = 0; from < change->count; from += count) {
    const uint64_t offset = change->offset + from;

    count = min_u64 (MAX_PIECE, change->count - from);
    if (offset < size)
      count = min_u64 (count, size - offset);
    if (note_piece (repairer, change, from, count, offset >= size, err) == -1)
      return -1;
  }
  return 0;
}

/* Zeros between the end of the file and what is added behind it: less than a
 * sector.
 */
static int
note_gap (struct repairer *repairer, const struct change *change, uint64_t end,
          struct vmdk_error *err)
{
  static const uint8_t zeros[SECTOR_SIZE];
  const uint64_t count = change->offset - end;

  assert (count <= sizeof zeros);
  if (text_add_numbers (&repairer->text, "added", end, NO_NUMBER, err) == -1
      || text_add_hex (&repairer->text, zeros, count, err) == -1)
    return -1;
  return text_end_line (&repairer->text, change->name, err);
}

static int
note_changes (struct repairer *repairer, struct vmdk_error *err)
{
  const struct media *media = NULL;
  uint64_t end = 0;

  for (size_t i = 0; i < repairer->changes.len; i++) {
    const struct change *change = &repairer->changes.ptr[i];

    if (change->media != media) {
      media = change->media;
      end = change->media->size;
    }
    if ((change->offset > end && note_gap (repairer, change, end, err) == -1)
        || note_change (repairer, change, err) == -1)
      return fail_prefix (err, "%s", NAME (change->name));
    end = max_u64 (end, change->offset + change->count);
  }
  return 0;
}

/* -- Changes ------------------------------------------------------------ */

int
repair_write (struct repairer *repairer, struct media *media, const char *name,
              uint64_t offset, const void *bytes, uint64_t count,
              struct vmdk_error *err)
{
  struct change change = { media, name, offset, count, NULL };

  if (repairer->dry_run)
    return 0;
  if (repairer->gathered > MAX_GATHERED && repair_commit (repairer, err) == -1)
    return -1;
  change.bytes = malloc (count);
  if (!change.bytes || change_list_append (&repairer->changes, change) == -1) {
    free (change.bytes);
    return fail_memory (err);
  }
  memcpy (change.bytes, bytes, count);
  repairer->gathered += count + sizeof change;
  return 0;
}

static int
apply (struct repairer *repairer, struct vmdk_error *err)
{
  const struct change_list *changes = &repairer->changes;

  for (size_t i = 0; i < changes->len; i++)
    if (media_pwrite (changes->ptr[i].media, changes->ptr[i].bytes,
                      changes->ptr[i].count, changes->ptr[i].offset, err)
        == -1)
      return fail_prefix (err, "%s", NAME (changes->ptr[i].name));
  for (size_t i = 0; i < changes->len; i++)
    if ((i == 0 || changes->ptr[i].media != changes->ptr[i - 1].media)
        && media_flush (changes->ptr[i].media, err) == -1)
      return fail_prefix (err, "%s", NAME (changes->ptr[i].name));
  return 0;
}

int
repair_commit (struct repairer *repairer, struct vmdk_error *err)
{
  if (repairer->changes.len == 0)
    return 0;
  if (note_changes (repairer, err) == -1
      || (repairer->text.len > 0 && write_lines (repairer, err) == -1)
      || apply (repairer, err) == -1)
    return -1;
  forget_changes (repairer);
  return 0;
}

static int
note_rooms (struct repairer *repairer, const char *name,
            const struct repair_room *rooms, size_t nr_rooms,
            struct vmdk_error *err)
{
  for (size_t i = 0; i < nr_rooms; i++)
    if (text_add_numbers (&repairer->text, "dropped", rooms[i].offset,
                          rooms[i].count, err)
          == -1
        || text_end_line (&repairer->text, name, err) == -1)
      return -1;
  return write_lines (repairer, err);
}

int
repair_drop (struct repairer *repairer, struct media *media, const char *name,
             const struct repair_room *rooms, size_t nr_rooms,
             struct vmdk_error *err)
{
  if (repairer->dry_run || nr_rooms == 0)
    return 0;
  if (repair_commit (repairer, err) == -1
      || note_rooms (repairer, name, rooms, nr_rooms, err) == -1)
    return -1;
  for (size_t i = 0; i < nr_rooms; i++)
    if ((rooms[i].offset + rooms[i].count == media->size
           ? media_truncate (media, rooms[i].offset, err)
           : media_punch (media, rooms[i].offset, rooms[i].count, err))
        == -1)
      return fail_prefix (err, "%s", NAME (name));
  if (media_flush (media, err) == -1)
    return fail_prefix (err, "%s", NAME (name));
  return 0;
}

int
repair_note_parent_cid (struct repairer *repairer, uint32_t old, uint32_t new,
                        struct vmdk_error *err)
{
  if (text_add_numbers (&repairer->text, "parent-cid", old, new, err) == -1
      || text_end_line (&repairer->text, repairer->name, err) == -1)
    return -1;
  return write_lines (repairer, err);
}
