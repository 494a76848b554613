/* SPDX-License-Identifier: BSD-3-Clause */

/* Giving a link another name.  See disk_rename in link-files.h.
 *
 * New names are made beside the old ones, extents first and the descriptor
 * last; then the old ones go, the descriptor last again.  So whatever
 * interrupts it, there is a whole disk under one name or under both, and as
 * long as the old descriptor is there the same call can be made again.
 *
 * Where a file cannot have two names, only the disk of one file beside the
 * descriptor, or of none, is renamed: the new descriptor is made first, and
 * when the file gets its new name, at once, the old one no longer counts.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "create.h"
#include "link-edit.h"
#include "link-files-parts.h"
#include "link-text.h"
#include "link.h"

/* -- The plan ----------------------------------------------------------- */

struct renaming {
  const struct operation *operation;
  const struct rename_rules *rules;
  struct store *store, *to;
  const char *name, *to_name;
  struct descriptor *new; /* owned; the descriptor as it shall be */
  struct file_list files; /* old and new name; the descriptor is the last */
  bool embedded;          /* it is an extent's file too */
  bool begun;             /* by an earlier call, which was interrupted */
  bool moves;             /* files have one name */
  bool written;        /* the new descriptor, by an earlier call that moves */
  bool replaces;       /* the new descriptor, which such a call made */
  struct link *holder; /* owned; keeps the files locked */
  char *aside;         /* owned; a file that was made and is to go */
};

/* "disk" of "disk.vmdk" */
static size_t
stem_length (const char *name)
{
  const size_t len = strlen (name);

  return len > 5 && strcasecmp (name + len - 5, ".vmdk") == 0 ? len - 5 : len;
}

/* What FILE is called afterwards; owned by the caller. */
static char *
new_name (const struct renaming *r, const char *file)
{
  const size_t old = stem_length (r->name), new = stem_length (r->to_name);
  char *name;

  if (strncmp (file, r->name, old) != 0 || !strchr ("-_.", file[old]))
    return strdup (file);
  return asprintf (&name, "%.*s%s", (int) new, r->to_name, file + old) == -1
           ? NULL
           : name;
}

static int
plan_extent (struct renaming *r, size_t i, struct vmdk_error *err)
{
  const struct extent_line *line = descriptor_extent (r->new, i);
  const char *file = files_own (line, &r->operation->rules.open.log);
  CLEANUP_FREE char *new = NULL;

  if (!file) {
    if (!line->name || r->store == r->to || line->name[0] == '/')
      return 0;
    return fail (err, ERR_UNSUPPORTED,
                 "its extent %s is not in its folder: it can only be renamed "
                 "where it is",
                 NAME (line->name));
  }
  new = new_name (r, file);
  if (!new)
    return fail_memory (err);
  if (strchr (file, '/') && r->store != r->to)
    return fail (err, ERR_UNSUPPORTED,
                 "its extent %s lies in a folder of its own: move the folders "
                 "instead",
                 NAME (file));
  if (files_add (&r->files, file, new, err) == -1)
    return -1;
  return descriptor_set_extent_name (r->new, i, new, err);
}

static int
plan_tracking (struct renaming *r, struct vmdk_error *err)
{
  const char *file = files_tracking (r->new);
  CLEANUP_FREE char *new = file ? new_name (r, file) : NULL;
  int there;

  if (!file)
    return 0;
  if (!new)
    return fail_memory (err);
  there = files_is_there (r->store, file, err);
  if (there == -1 || (there && files_add (&r->files, file, new, err) == -1))
    return -1;
  return descriptor_set (r->new, CHANGE_TRACKING_KEY, new, err);
}

static int
plan (struct renaming *r, struct vmdk_error *err)
{
  r->new = link_look (r->store, r->name, STORE_FROM_FILE, r->operation,
                      &r->embedded, err);
  if (!r->new
      || (r->embedded
          && descriptor_set_extent_name (r->new, 0, r->to_name, err) == -1))
    return -1;
  for (size_t i = r->embedded; i < descriptor_nr_extents (r->new); i++)
    if (plan_extent (r, i, err) == -1)
      return -1;
  if (plan_tracking (r, err) == -1)
    return -1;
  if (r->rules->parent_hint && descriptor_parent_cid (r->new) != CID_NONE
      && descriptor_set (r->new, "parentFileNameHint", r->rules->parent_hint,
                         err)
           == -1)
    return -1;
  return files_add (&r->files, r->name, r->to_name, err);
}

/* -- An earlier call ---------------------------------------------------- */

static bool
same_text (const struct descriptor *a, const struct descriptor *b)
{
  struct vmdk_error ignored;
  size_t len;
  CLEANUP_FREE char *text_a = descriptor_print (a, &len, &ignored);
  CLEANUP_FREE char *text_b = descriptor_print (b, &len, &ignored);

  return text_a && text_b && strcmp (text_a, text_b) == 0;
}

static bool
same_file (struct store *store, const char *name, struct store *to,
           const char *to_name)
{
  struct vmdk_error ignored;
  CLEANUP_MEDIA struct media *a =
    store_open (store, name, STORE_FROM_FILE, &ignored);
  CLEANUP_MEDIA struct media *b =
    store_open (to, to_name, STORE_FROM_FILE, &ignored);

  return a && b && media_same (a, b);
}

static bool
keeps_name (const struct renaming *r, const struct renamed_file *file)
{
  return r->store == r->to && strcmp (file->old, file->new) == 0;
}

/* How far an interrupted call has come with the extents. */
enum progress {
  NOTHING_MADE, /* some of the new names is not there, or is another file */
  ALL_MADE,     /* both names are there */
  SOME_GONE,    /* the new ones are, and some old one is gone */
};

static enum progress
find_progress (const struct renaming *r)
{
  enum progress progress = ALL_MADE;
  struct vmdk_error ignored;

  for (size_t i = 0; i + 1 < r->files.len; i++) {
    const struct renamed_file *file = &r->files.ptr[i];

    if (keeps_name (r, file)
        || same_file (r->store, file->old, r->to, file->new))
      continue;
    if (files_is_there (r->store, file->old, &ignored) != 0
        || files_is_there (r->to, file->new, &ignored) != 1)
      return NOTHING_MADE;
    progress = SOME_GONE;
  }
  return r->files.len > 1 ? progress : NOTHING_MADE;
}

/* Both names were there, and somebody may have written to the disk under
 * either: a new content ID keeps children of old contents away.
 */
static int
give_new_id (struct renaming *r, struct vmdk_error *err)
{
  uint32_t cid = 0;
  char text[9];

  descriptor_cid (r->new, &cid);
  snprintf (text, sizeof text, "%08" PRIx32, random_cid (cid));
  r->replaces = true;
  return descriptor_set (r->new, "CID", text, err);
}

/* The one file beside the descriptor that gets another name.  NULL: there is
 * none, or more.
 */
static const struct renamed_file *
only_file (const struct renaming *r)
{
  const struct renamed_file *found = NULL;

  for (size_t i = 0; i + 1 < r->files.len; i++) {
    const struct renamed_file *file = &r->files.ptr[i];

    if (keeps_name (r, file))
      continue;
    if (found)
      return NULL;
    found = file;
  }
  return found;
}

/* Give THERE the content IDs of the new descriptor. */
static int
take_ids (const struct renaming *r, struct descriptor *there)
{
  static const char *const keys[] = { "CID", "ddb.longContentID" };
  struct vmdk_error ignored;

  for (size_t i = 0; i < 2; i++) {
    const char *value = descriptor_get (r->new, keys[i]);

    if (value && descriptor_get (there, keys[i])
        && descriptor_set (there, keys[i], value, &ignored) == -1)
      return -1;
  }
  return 0;
}

/* Whether an interrupted call that moves has made the new descriptor, THERE,
 * and nothing else.  If the disk was written since, it is made once more.
 */
static bool
waits_for_move (struct renaming *r, struct descriptor *there)
{
  const struct renamed_file *file = only_file (r);
  struct vmdk_error ignored;

  if (r->embedded || !file || !there
      || files_is_there (r->store, file->old, &ignored) != 1
      || files_is_there (r->to, file->new, &ignored) != 0)
    return false;
  r->written = same_text (there, r->new);
  r->replaces = !r->written;
  r->moves =
    r->written || (take_ids (r, there) == 0 && same_text (there, r->new));
  return r->moves;
}

/* Is the new name free, or what an interrupted call made? */
static int
check_target (struct renaming *r, struct vmdk_error *err)
{
  CLEANUP_DESCRIPTOR struct descriptor *there = NULL;
  struct vmdk_error ignored;
  const int exists = files_is_there (r->to, r->to_name, err);
  enum progress progress;

  if (exists != 1)
    return exists;
  there = link_look (r->to, r->to_name, STORE_FROM_FILE, r->operation, NULL,
                     &ignored);
  if (waits_for_move (r, there))
    return 0;
  r->replaces = false;
  progress = there ? find_progress (r) : NOTHING_MADE;
  r->begun = r->embedded
               ? same_file (r->store, r->name, r->to, r->to_name)
               : progress == SOME_GONE || (there && same_text (there, r->new));
  if (r->begun)
    return 0;
  if (!r->embedded && progress == ALL_MADE)
    return give_new_id (r, err);
  fail (err, ERR_ARGUMENT, "%s: exists already", NAME (r->to_name));
  err->errnum = EEXIST;
  return -1;
}

/* Lock the files, and make sure that they are a disk.  An interrupted call
 * may have removed old names.
 */
static int
hold (struct renaming *r, struct vmdk_error *err)
{
  const bool old = !r->begun || r->embedded;
  struct store *store = old ? r->store : r->to;
  const struct link_source source = {
    .rules = &r->operation->rules.open,
    .names = &r->operation->rules.names,
    .store = store,
    .name = old ? r->name : r->to_name,
    .media = store_open (store, old ? r->name : r->to_name,
                         STORE_FROM_FILE | STORE_WRITABLE, err),
    .writable = true,
  };

  if (!source.media)
    return fail_prefix (err, "%s", NAME (source.name));
  r->holder = link_open (&source, err);
  return r->holder ? 0 : -1;
}

/* -- New names ---------------------------------------------------------- */

static void
remove_or_warn (const struct renaming *r, const char *name)
{
  struct vmdk_error err;

  if (files_remove (r->to, name, &err) == -1)
    log_warning (&r->operation->rules.open.log, "could not be removed: %s",
                 err.text);
}

/* Of what this call has made so far. */
static void
remove_new_names (const struct renaming *r, const bool *made)
{
  for (size_t i = 0; i < r->files.len; i++)
    if (made[i])
      remove_or_warn (r, r->files.ptr[i].new);
}

static int
link_file (const struct renaming *r, const struct renamed_file *file,
           bool *made, struct vmdk_error *err)
{
  if (keeps_name (r, file))
    return 0;
  if (store_link (r->store, file->old, r->to, file->new, err) == 0) {
    *made = true;
    return 0;
  }
  /* An interrupted call has been here before, and perhaps further. */
  if (err->errnum == EEXIST
      && same_file (r->store, file->old, r->to, file->new))
    return 0;
  if (err->kind == ERR_UNSUPPORTED)
    fail_prefix (err, "cannot be renamed safely (copy the disk with vmdkit "
                      "convert)");
  return fail_prefix (err, "%s", NAME (file->new));
}

/* All but the descriptor, unless that is an extent's file. */
static int
link_files (const struct renaming *r, bool *made, struct vmdk_error *err)
{
  const size_t nr = r->files.len - !r->embedded;

  for (size_t i = 0; i < nr; i++)
    if (link_file (r, &r->files.ptr[i], &made[i], err) == -1)
      return -1;
  return store_flush (r->to, err);
}

static struct media *
create_aside (struct renaming *r, struct vmdk_error *err)
{
  uint32_t number;
  struct media *media;

  if (getrandom (&number, sizeof number, 0) != sizeof number)
    number = 0;
  if (asprintf (&r->aside, "%s.%08" PRIx32 ".new", r->to_name, number) == -1) {
    r->aside = NULL;
    fail_memory (err);
    return NULL;
  }
  media = store_create (r->to, r->aside, 0600, err);
  if (!media) {
    fail_prefix (err, "%s", NAME (r->aside));
    cleanup_free (&r->aside);
    r->aside = NULL;
  }
  return media;
}

static int
fill_aside (const struct renaming *r, struct media *media,
            struct vmdk_error *err)
{
  size_t len;
  CLEANUP_FREE char *text = descriptor_print (r->new, &len, err);

  if (!text || media_pwrite (media, text, len, 0, err) == -1
      || media_copy_permissions (media, r->holder->text, err) == -1
      || media_flush (media, err) == -1)
    return -1;
  /* Unlike a renaming, linking and moving overwrite nothing. */
  return r->replaces ? store_rename (r->to, r->aside, r->to_name, err)
         : r->moves  ? store_move (r->to, r->aside, r->to, r->to_name, err)
                     : store_link (r->to, r->aside, r->to, r->to_name, err);
}

/* A descriptor that is a file of its own is written anew. */
static int
write_descriptor (struct renaming *r, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = create_aside (r, err);

  return media ? fill_aside (r, media, err) : -1;
}

/* The file that was written aside has another name by now, or is of no use.
 */
static int
remove_aside (const struct renaming *r, struct vmdk_error *err)
{
  return r->aside ? files_remove (r->to, r->aside, err) : 0;
}

/* -- Without second names ----------------------------------------------- */

/* Of an embedded text the name of its own file does not matter. */
static int
move_embedded (struct renaming *r, struct vmdk_error *err)
{
  if (link_replace_text (r->holder, r->new, err) == -1
      || store_flush (r->store, err) == -1)
    return -1;
  if (store_move (r->store, r->name, r->to, r->to_name, err) == -1)
    return fail_prefix (err, "%s", NAME (r->to_name));
  return store_flush (r->to, err);
}

/* From then on the new descriptor is the disk's. */
static int
move_file (struct renaming *r, const struct renamed_file *file,
           struct vmdk_error *err)
{
  if (!r->written
      && (write_descriptor (r, err) == -1 || store_flush (r->to, err) == -1))
    return -1;
  if (store_move (r->store, file->old, r->to, file->new, err) == -1) {
    remove_or_warn (r, r->to_name);
    return fail_prefix (err, "%s", NAME (file->new));
  }
  return store_flush (r->to, err);
}

static bool
has_no_links (const struct vmdk_error *err)
{
  return err->kind == ERR_UNSUPPORTED && err->errnum != EXDEV;
}

static int
move_names (struct renaming *r, struct vmdk_error *err)
{
  const struct renamed_file *file = only_file (r);

  r->moves = true;
  return r->embedded ? move_embedded (r, err) : move_file (r, file, err);
}

/* An embedded descriptor is the last file, and may be all. */
static bool
can_move (const struct renaming *r)
{
  return r->embedded ? r->files.len == 1 : only_file (r) != NULL;
}

static bool
any (const bool *made, size_t count)
{
  while (count > 0 && !made[count - 1])
    count--;
  return count > 0;
}

static int
make_new_names (struct renaming *r, struct vmdk_error *err)
{
  CLEANUP_FREE bool *made = calloc (r->files.len, sizeof *made);
  int result;

  if (!made)
    return fail_memory (err);
  if (r->moves)
    return move_names (r, err);
  result = link_files (r, made, err);
  if (result == -1 && has_no_links (err) && can_move (r)
      && !any (made, r->files.len))
    return move_names (r, err);
  if (result == 0)
    result = r->embedded ? link_replace_text (r->holder, r->new, err)
                         : write_descriptor (r, err);
  if (result == -1) {
    remove_new_names (r, made);
    return -1;
  }
  return store_flush (r->to, err);
}

/* -- The end ------------------------------------------------------------ */

static int
set_hint (void *opaque, struct descriptor *d, struct vmdk_error *err)
{
  return descriptor_set (d, "parentFileNameHint", opaque, err);
}

static int
update_children (const struct renaming *r, const struct files_report *report,
                 struct vmdk_error *err)
{
  for (size_t i = 0; r->rules->update_children && i < report->nr_children; i++)
    if (link_edit (r->store, report->children[i], STORE_FROM_FILE,
                   r->operation, set_hint, (char *) r->to_name, err)
        == -1)
      return -1;
  return 0;
}

/* The old descriptor goes last: as long as it is there the call can be made
 * again.
 */
static int
remove_old_names (const struct renaming *r, struct vmdk_error *err)
{
  for (size_t i = 0; i < r->files.len; i++) {
    if (i + 1 == r->files.len && store_flush (r->store, err) == -1)
      return -1;
    if (!keeps_name (r, &r->files.ptr[i])
        && files_remove (r->store, r->files.ptr[i].old, err) == -1)
      return -1;
  }
  return store_flush (r->store, err);
}

static int
rename_files (struct renaming *r, struct files_report *report,
              struct vmdk_error *err)
{
  if (plan (r, err) == -1 || check_target (r, err) == -1
      || files_find_children (r->store, r->name, r->operation, report, err)
           == -1)
    return -1;
  if (r->store != r->to && r->rules->update_children
      && report->nr_children > 0)
    return fail (err, ERR_UNSUPPORTED,
                 "its child %s is in the old folder: rebase it afterwards "
                 "with vmdkit rebase --unsafe",
                 NAME (report->children[0]));
  if (hold (r, err) == -1 || r->operation->dry_run)
    return r->holder ? 0 : -1;
  /* A text that was replaced before is only linked, and the other way
   * round.
   */
  if ((!r->begun || r->embedded) && make_new_names (r, err) == -1)
    return -1;
  if (update_children (r, report, err) == -1 || remove_aside (r, err) == -1)
    return -1;
  return remove_old_names (r, err);
}

int
disk_rename (struct store *store, const char *name, struct store *to,
             const char *to_name, const struct rename_rules *rules,
             const struct operation *operation, struct files_report *report,
             struct vmdk_error *err)
{
  struct renaming renaming = {
    .operation = operation,
    .rules = rules,
    .store = store,
    .to = to,
    .name = store_plain_name (name),
    .to_name = store_plain_name (to_name),
  };
  int r;

  *report = (struct files_report){ 0 };
  if (strchr (renaming.to_name, '/'))
    return fail (err, ERR_ARGUMENT, "%s: is no bare name", NAME (to_name));
  if (store == to && strcmp (renaming.name, renaming.to_name) == 0)
    return fail (err, ERR_ARGUMENT, "%s: has that name already", NAME (name));
  r = rename_files (&renaming, report, err);
  if (r == -1 && renaming.aside)
    remove_or_warn (&renaming, renaming.aside);
  free (renaming.aside);
  link_close (renaming.holder);
  descriptor_free (renaming.new);
  report->files = renaming.files.ptr;
  report->nr_files = renaming.files.len;
  return r;
}
