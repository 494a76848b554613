/* SPDX-License-Identifier: BSD-3-Clause */

/* One link.  See link.h.
 *
 * THE RULES FOR STRANGERS' NAMES.  An image can come from anybody, and its
 * descriptor can name /etc/shadow as an extent (the hole of CVE-2022-47951).
 * So:
 *
 *  (1) An extent lives in the descriptor's own folder or below it.  Any
 *      other name is refused, in one line that says which parameter would
 *      allow it; with allow-outside it must still be a regular file.
 *  (2) Raw devices and RDM files are opened only if the operator wrote the
 *      same name himself (allow-device).
 *  (3) A file is in one link once, except for ranges of flat extents that do
 *      not overlap; it is not the descriptor, and not a descriptor at all.
 *  (4) A name is a file name, never a protocol or an option.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "link-text.h"
#include "link.h"
#include "log.h"

/* -- Names -------------------------------------------------------------- */

struct media *
link_open_outside (struct store *store, const char *path,
                   enum store_open_flags flags, struct store **folder,
                   struct vmdk_error *err)
{
  const char *slash = strrchr (path, '/');
  const char *base = slash ? slash + 1 : path;
  CLEANUP_FREE char *dir =
    slash ? strndup (path, slash == path ? 1 : (size_t) (slash - path))
          : strdup (".");
  CLEANUP_STORE struct store *other = NULL;
  struct media *media;

  *folder = NULL;
  if (!dir) {
    fail_memory (err);
    return NULL;
  }
  other = store_folder (store, dir, err);
  if (!other)
    return NULL;
  media = store_open (other, base, flags, err);
  if (media)
    *folder = steal_ptr (&other);
  return media;
}

static bool
is_allowed_device (const struct name_rules *rules, const char *name)
{
  for (size_t i = 0; i < rules->nr_devices; i++)
    if (strcmp (rules->devices[i], name) == 0)
      return true;
  return false;
}

static int
keep_store (struct link *link, struct store *store, struct vmdk_error *err)
{
  struct store **more =
    realloc (link->stores, (link->nr_stores + 1) * sizeof link->stores[0]);

  if (!more) {
    store_close (store);
    return fail_memory (err);
  }
  link->stores = more;
  link->stores[link->nr_stores++] = store;
  return 0;
}

static struct media *
open_outside (struct link *link, const char *path, enum store_open_flags flags,
              struct vmdk_error *err)
{
  struct store *folder;
  struct media *media =
    link_open_outside (link->store, path, flags, &folder, err);

  if (media && keep_store (link, folder, err) == -1) {
    media_close (media);
    return NULL;
  }
  return media;
}

static struct media *
open_device (struct link *link, const char *name, enum store_open_flags how,
             struct vmdk_error *err)
{
  if (store_name_is_inside (name))
    return store_open (link->store, name, STORE_FROM_USER | how, err);
  return open_outside (link, name, STORE_FROM_USER | how, err);
}

/* Whether the extent of this line is to be written. */
static bool
is_written (const struct link *link, const struct extent_line *line)
{
  return link->writable && line->access == ACCESS_RW;
}

/* Open the file of an extent line.  invariants 1, 2, 4 */
static struct media *
open_extent_file (struct link *link, const struct link_source *source,
                  const struct extent_line *line, struct vmdk_error *err)
{
  const char *name = store_plain_name (line->name);
  const enum store_open_flags how =
    is_written (link, line) ? STORE_WRITABLE : 0;
  struct media *media;

  if (is_allowed_device (source->names, line->name))
    return open_device (link, line->name, how, err);

  if (line->type == EXTENT_VMFSRDM || line->type == EXTENT_VMFSRAW) {
    fail (err, ERR_UNSUPPORTED,
          "raw device mappings cannot be served from files (to read a device "
          "or file under this very name pass allow-device=%s)",
          NAME (line->name));
    return NULL;
  }
  if (!store_name_is_inside (name)) {
    if (source->names->allow_outside && !strchr (name, '\\'))
      return open_outside (link, name, STORE_FROM_FILE | how, err);
    fail (err, ERR_DENIED,
          "the file is outside the descriptor's folder: refused (pass "
          "allow-outside=true if you trust this image)");
    return NULL;
  }
  media = store_open (link->store, name, STORE_FROM_FILE | how, err);
  if (!media && err->kind == ERR_MISSING)
    fail (err, ERR_MISSING, "the file is missing");
  return media;
}

/* -- Extents ------------------------------------------------------------ */

/* invariant 3: flat bytes that look like a descriptor are one. */
static int
check_not_text (const struct extent_line *line, struct media *media,
                struct vmdk_error *err)
{
  char start[1024];
  const size_t len = min_u64 (sizeof start, media->size);

  if (line->offset_sector != 0
      || (line->type != EXTENT_FLAT && line->type != EXTENT_VMFS))
    return 0;
  if (media_pread (media, start, len, 0, err) == -1)
    return -1;
  if (descriptor_probe (start, len))
    return fail (err, ERR_CORRUPT,
                 "the file is a descriptor, and no extent's data");
  return 0;
}

static bool
has_identity (const struct media_identity *id)
{
  return id->device != 0 || id->inode != 0;
}

static bool
same_identity (const struct media_identity *a, const struct media_identity *b)
{
  return a->device == b->device && a->inode == b->inode
         && a->offset == b->offset;
}

/* Tell our use of a file to others, and hear of theirs. */
static int
lock_file (struct media *media, bool written, const struct open_rules *rules,
           struct vmdk_error *err)
{
  if (!rules->lock)
    return 0;
  return media_lock (media, written ? MEDIA_LOCK_WRITE : MEDIA_LOCK_READ, err);
}

/* VMware's locks are files beside the disk's: of what is written NAME is any,
 * else the descriptor.
 */
static int
check_foreign_lock (const struct link *link, const char *name,
                    const struct open_rules *rules, struct vmdk_error *err)
{
  char holder[256];

  if (!rules->lock)
    return 0;
  if (store_lock_holder (link->store, name, holder, sizeof holder, err) == -1)
    return -1;
  if (holder[0] && link->writable)
    return fail (err, ERR_LOCKED,
                 "%s (if nothing uses it any more, remove %s.lck)",
                 holder, NAME (name));
  if (holder[0])
    log_warning (&rules->log,
                 "%s: %s: what is read may change or be inconsistent",
                 NAME (link->name), holder);
  return 0;
}

/* The medium of an extent line that has a file, checked and locked. */
static struct media *
get_extent_media (struct link *link, const struct link_source *source,
                  const struct extent_line *line, struct vmdk_error *err)
{
  const char *name = store_plain_name (line->name);
  CLEANUP_MEDIA struct media *media =
    open_extent_file (link, source, line, err);

  if (!media)
    return NULL;
  if (has_identity (&media->identity)
      && same_identity (&media->identity, &link->identity)) {
    fail (err, ERR_CORRUPT, "the file is the descriptor itself");
    return NULL;
  }
  if (check_not_text (line, media, err) == -1)
    return NULL;
  if (lock_file (media, is_written (link, line), source->rules, err) == -1)
    return NULL;
  if (is_written (link, line) && store_name_is_inside (name)
      && check_foreign_lock (link, name, source->rules, err) == -1)
    return NULL;
  return steal_ptr (&media);
}

static bool
needs_file (const struct extent_line *line)
{
  return line->type != EXTENT_ZERO && line->access != ACCESS_NOACCESS;
}

/* An extent of a writable link is written, or it is of a kind that never is,
 * so that only writes to its range fail.
 */
static int
check_written (struct extent *extent, const struct extent_line *line,
               struct vmdk_error *err)
{
  if (line->access == ACCESS_RDONLY)
    extent->why_read_only = "its extent line says RDONLY";
  else if (line->access == ACCESS_NOACCESS)
    extent->why_read_only = "its extent line says NOACCESS";
  else if (line->type == EXTENT_ZERO)
    extent->why_read_only = "it is a ZERO extent";
  else if (!extent->ops->write)
    return fail (err, ERR_READ_ONLY, "%s extents cannot be written",
                 extent->ops->name);
  return 0;
}

/* Open extent I.  SELF, when not NULL, is its medium, and taken over. */
static int
open_extent (struct link *link, const struct link_source *source, size_t i,
             struct media *self, struct vmdk_error *err)
{
  const struct extent_line *line = descriptor_extent (link->descriptor, i);
  struct extent_source es = {
    .rules = source->rules,
    .line = line,
    .media = self,
    .disk_offset = link->starts[i],
    .single = link->nr_extents == 1,
    .has_parent = link_has_parent (link),
    .writable = is_written (link, line) && !source->inspector,
  };

  if (!self && needs_file (line)) {
    es.media = get_extent_media (link, source, line, err);
    if (!es.media)
      return -1;
  }
  link->extents[i] = extent_open (&es, err);
  if (!link->extents[i])
    return -1;
  return link->writable && !source->inspector
           ? check_written (link->extents[i], line, err)
           : 0;
}

static int
prefix_extent (const struct link *link, size_t i, struct vmdk_error *err)
{
  const struct extent_line *line = descriptor_extent (link->descriptor, i);

  if (line->name)
    return fail_prefix (err, "extent %zu (%s \"%s\")", i + 1,
                        extent_type_name (line->type), NAME (line->name));
  return fail_prefix (err, "extent %zu (%s)", i + 1,
                      extent_type_name (line->type));
}

/* A file that an extent uses, for finding it twice. */
struct use {
  struct media_identity id;
  uint64_t start, end; /* bytes of the file; all of it unless flat */
  size_t extent;
};

static int
compare_uses (const void *pa, const void *pb)
{
  const struct use *a = pa, *b = pb;

#define COMPARE(field)      \
  if (a->field != b->field) \
  return a->field < b->field ? -1 : 1
  COMPARE (id.device);
  COMPARE (id.inode);
  COMPARE (id.offset);
  COMPARE (start);
  COMPARE (end);
#undef COMPARE
  return 0;
}

static bool
is_flat (const struct extent_line *line)
{
  return line->type == EXTENT_FLAT || line->type == EXTENT_VMFS
         || line->type == EXTENT_VMFSRAW || line->type == EXTENT_VMFSRDM;
}

/* invariant 3 */
static int
check_files_differ (const struct link *link, struct vmdk_error *err)
{
  CLEANUP_FREE struct use *uses =
    malloc ((link->nr_extents + 1) * sizeof *uses);
  size_t n = 0;

  if (!uses)
    return fail_memory (err);
  for (size_t i = 0; i < link->nr_extents; i++) {
    const struct extent_line *line = descriptor_extent (link->descriptor, i);
    const struct media *media =
      link->extents[i] ? link->extents[i]->media : NULL;

    if (!media || !has_identity (&media->identity))
      continue;
    uses[n] =
      (struct use){ .id = media->identity, .end = UINT64_MAX, .extent = i };
    if (is_flat (line)) {
      uses[n].start = sectors_to_bytes (line->offset_sector);
      uses[n].end = uses[n].start + sectors_to_bytes (line->nr_sectors);
    }
    n++;
  }
  qsort (uses, n, sizeof *uses, compare_uses);
  for (size_t i = 1; i < n; i++)
    if (same_identity (&uses[i - 1].id, &uses[i].id)
        && uses[i - 1].end > uses[i].start)
      return fail (
        err, ERR_CORRUPT,
        "extents %zu and %zu use the same bytes of one file (\"%s\" "
        "and \"%s\")",
        uses[i - 1].extent + 1, uses[i].extent + 1,
        NAME (link->extents[uses[i - 1].extent]->name),
        NAME (link->extents[uses[i].extent]->name));
  return 0;
}

/* Lay the extents end to end. */
static int
lay_out (struct link *link, struct vmdk_error *err)
{
  uint64_t start = 0;

  link->nr_extents = descriptor_nr_extents (link->descriptor);
  link->extents = calloc (link->nr_extents, sizeof link->extents[0]);
  link->starts = calloc (link->nr_extents + 1, sizeof link->starts[0]);
  if (!link->extents || !link->starts)
    return fail_memory (err);
  for (size_t i = 0; i < link->nr_extents; i++) {
    link->starts[i] = start;
    start +=
      sectors_to_bytes (descriptor_extent (link->descriptor, i)->nr_sectors);
  }
  link->size = link->starts[link->nr_extents] = start;
  return 0;
}

bool
error_is_about_disk (const struct vmdk_error *err)
{
  return err->kind != ERR_SYSTEM && err->kind != ERR_LOCKED
         && err->kind != ERR_READ_ONLY && err->kind != ERR_ARGUMENT;
}

static int
open_extents (struct link *link, const struct link_source *source,
              struct media **self, struct vmdk_error *err)
{
  const struct inspector *inspector = source->inspector;

  for (size_t i = 0; i < link->nr_extents; i++) {
    if (open_extent (link, source, i, i == 0 ? steal_ptr (self) : NULL, err)
        == 0)
      continue;
    prefix_extent (link, i, err);
    if (!inspector || !error_is_about_disk (err))
      return -1;
    inspector->bad_extent (inspector->opaque, link->name, i, err);
  }
  if (check_files_differ (link, err) == 0)
    return 0;
  if (!inspector || !error_is_about_disk (err))
    return -1;
  inspector->bad_chain (inspector->opaque, link->name, err);
  return 0;
}

/* A log whose messages begin with a name: a descriptor does not know the
 * name of its file.
 */
struct named_log {
  const struct vmdk_log *log;
  const char *name;
};

static void
named_sink (void *opaque, enum log_topic topic, const char *text)
{
  const struct named_log *named = opaque;

  log_message (named->log, topic, "%s: %s", NAME (named->name), text);
}

static bool
named_wants (void *opaque, enum log_topic topic)
{
  return log_wants (((const struct named_log *) opaque)->log, topic);
}

static int
open_link (struct link *link, const struct link_source *source,
           struct media **media, struct vmdk_error *err)
{
  const struct vmdk_log *log = &source->rules->log;
  struct named_log to = { log, link->name };
  const struct vmdk_log named = { named_sink, named_wants, &to, log->how };
  struct link_text text;

  if (lock_file (*media, link->writable, source->rules, err) == -1
      || check_foreign_lock (link, link->name, source->rules, err) == -1)
    return -1;
  const int r = link_text_read (link->store, link->name, *media,
                                source->lone_extent, &named, &text, err);
  link->descriptor = text.descriptor;
  if (r == -1)
    return -1;
  if (!text.embedded)
    link->text = steal_ptr (media);
  else if (link->writable && source->rules->lock && !source->lone_extent
           && embedded_text_restore (*media, link->name, log, err) == -1)
    return -1;
  if (lay_out (link, err) == -1
      || open_extents (link, source, media, err) == -1)
    return -1;
  log_debug (log, LOG_OPEN, "%s: %s, %zu extents, %" PRIu64 " bytes",
             NAME (link->name),
             NAME (descriptor_create_type (link->descriptor)),
             link->nr_extents, link->size);
  return 0;
}

struct link *
link_open (const struct link_source *source, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = source->media;
  CLEANUP_LINK struct link *link = calloc (1, sizeof *link);

  if (!link || !(link->name = strdup (source->name))) {
    fail_memory (err);
    return NULL;
  }
  pthread_mutex_init (&link->changes.lock, NULL);
  link->writable = source->writable;
  link->rules = source->rules;
  link->store = source->store;
  link->identity = media->identity;
  if (open_link (link, source, &media, err) == -1) {
    fail_prefix (err, "%s", NAME (link->name));
    return NULL;
  }
  return steal_ptr (&link);
}

void
link_close (struct link *link)
{
  if (!link)
    return;
  for (size_t i = 0; link->extents && i < link->nr_extents; i++)
    extent_close (link->extents[i]);
  media_close (link->text);
  for (size_t i = 0; i < link->nr_stores; i++)
    store_close (link->stores[i]);
  descriptor_free (link->descriptor);
  if (link->name)
    pthread_mutex_destroy (&link->changes.lock);
  free (link->stores);
  free (link->extents);
  free (link->starts);
  free (link->name);
  free (link);
}

/* -- Use ---------------------------------------------------------------- */

size_t
link_find_extent (const struct link *link, uint64_t offset)
{
  size_t low = 0, high = link->nr_extents;

  while (high - low > 1) {
    const size_t middle = low + (high - low) / 2;

    if (link->starts[middle] <= offset)
      low = middle;
    else
      high = middle;
  }
  return low;
}

int
link_map (struct link *link, uint64_t offset, uint64_t count,
          enum map_detail detail, struct run *run, struct vmdk_error *err)
{
  const size_t i = link_find_extent (link, offset);
  const uint64_t start = link->starts[i];

  count = min_u64 (count, link->starts[i + 1] - offset);
  return extent_map (link->extents[i], offset - start, count, detail, run,
                     err);
}

int
link_damage (const struct link *link, const struct run *run,
             struct vmdk_error *err)
{
  uint8_t byte;

  if (extent_read (run->extent, &byte, 1, run->extent_offset, err) == 0)
    fail (err, ERR_DAMAGED,
          "%s: a range could not be read, and now it can: try again",
          NAME (link->name));
  return -1;
}

bool
link_has_parent (const struct link *link)
{
  return descriptor_parent_cid (link->descriptor) != CID_NONE;
}

bool
link_can_be_absent (const struct link *link)
{
  for (size_t i = 0; i < link->nr_extents; i++)
    if (!link->extents[i] || link->extents[i]->can_be_absent)
      return true;
  return false;
}

uint64_t
link_grain_size (const struct link *link)
{
  uint64_t smallest = 0;

  for (size_t i = 0; i < link->nr_extents; i++) {
    const uint64_t size = link->extents[i]->grain_size;

    if (size != 0 && (smallest == 0 || size < smallest))
      smallest = size;
  }
  return smallest;
}
