/* SPDX-License-Identifier: BSD-3-Clause */

/* Copies of disks.  See convert.h.
 *
 * The extents of the copy are made one after the other, each by all threads,
 * so that never more than one file of it is open.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "convert-parts.h"
#include "inherit.h"
#include "replace.h"
#include "sparse-export.h"

/* -- The source and the plan -------------------------------------------- */

static int
open_source (struct conversion *c, const struct convert_source *source,
             struct vmdk_error *err)
{
  struct chain_rules rules = c->operation->rules;

  rules.writable = false;
  if (!source->store) {
    c->source = copy_source_of_media (source->media);
    return rules.open.lock ? media_lock (source->media, MEDIA_LOCK_READ, err)
                           : 0;
  }
  c->disk =
    disk_open (source->store, source->name, source->flags, &rules, err);
  if (!c->disk)
    return -1;
  c->source = copy_source_of_disk (c->disk);
  return 0;
}

static int
plan_metadata (struct conversion *c, struct vmdk_error *err)
{
  const struct convert_rules *rules = c->rules;
  const struct chain *chain =
    c->disk && rules->keep_metadata ? disk_chain (c->disk) : NULL;
  struct new_link *link = &c->link;

  link->adapter = rules->adapter ? rules->adapter
                  : chain        ? inherited_adapter (chain)
                                 : "lsilogic";
  link->hw_version = rules->hw_version ? rules->hw_version
                     : chain           ? inherited_hw_version (chain)
                                       : 4;
  link->geometry = disk_geometry_for (link->nr_sectors, link->adapter);
  if (!chain)
    return 0;
  if (!rules->adapter)
    link->geometry =
      inherited_geometry (chain, link->nr_sectors, link->adapter);
  link->uuid = inherited_value (chain, "ddb.uuid");
  link->tools_version = inherited_value (chain, "ddb.toolsVersion");
  link->rest = c->rest = inherited_rest (chain, err);
  return c->rest ? 0 : -1;
}

static int
check_size (const struct copy_source *source, struct vmdk_error *err)
{
  if (source->size == 0)
    return fail (err, ERR_ARGUMENT,
                 "the source is empty, and there is no VMDK of 0 bytes");
  if (source->size > sectors_to_bytes (MAX_SECTORS))
    return fail (err, ERR_ARGUMENT,
                 "the source has %" PRIu64 " bytes, a VMDK at most %" PRIu64,
                 source->size, sectors_to_bytes (MAX_SECTORS));
  return 0;
}

static int
plan (struct conversion *c, struct vmdk_error *err)
{
  struct new_link *link = &c->link;

  if (check_size (&c->source, err) == -1
      || (c->rules->adapter
          && new_link_check_adapter (c->rules->adapter, err) == -1))
    return -1;
  link->kind = disk_kind_of (c->rules->type);
  link->nr_sectors = div_round_up (c->source.size, SECTOR_SIZE);
  link->cid = random_cid (0);
  link->parent_cid = CID_NONE;
  if (plan_metadata (c, err) == -1
      || new_link_set_grain (link, c->rules->grain_size, err) == -1)
    return -1;
  return new_link_check_size (link, err);
}

int
conversion_begin (struct conversion *c, const struct operation *operation,
                  const struct convert_source *source,
                  const struct convert_rules *rules, struct vmdk_error *err)
{
  *c = (struct conversion){ .operation = operation, .rules = rules };
  if (open_source (c, source, err) == -1)
    return -1;
  return rules->raw ? 0 : plan (c, err);
}

void
conversion_end (struct conversion *c)
{
  disk_close (c->disk);
  free (c->rest);
}

struct stream_export_rules
conversion_stream (const struct conversion *c, const char *text, size_t len)
{
  const unsigned version = c->rules->stream_version;

  return (struct stream_export_rules){
    .nr_sectors = c->link.nr_sectors,
    .grain = c->link.grain,
    .text = text,
    .len = len,
    .text_sectors = DESCRIPTOR_AREA_SECTORS,
    .level = c->rules->level,
    .version = version ? version : 3,
    .no_footer = c->rules->no_footer,
  };
}

/* -- Copying ------------------------------------------------------------ */

/* What becomes bytes [start, start+size) of the source. */
struct part {
  uint64_t start, size;
};

static int
copy_part (const struct conversion *c, const struct part *part,
           const struct copy_target *target, struct vmdk_error *err)
{
  struct copy_window window = { &c->source, part->start };
  const struct copy_source source =
    copy_source_of_window (&window, part->size);
  const struct copy_share share = { c->operation, part->start,
                                    c->source.size };

  return copy_run (&source, target, c->rules->nr_threads, &share, err);
}

static int
copy_bytes (const struct conversion *c, const struct part *part,
            struct media *media, bool fresh, struct vmdk_error *err)
{
  struct copy_to_media to = {
    .media = media,
    .zero_unit = c->rules->zero_size,
    .fresh = fresh,
  };
  const struct copy_target target = copy_target_of_media (&to);

  return copy_part (c, part, &target, err);
}

static int
copy_grains (const struct conversion *c, const struct part *part,
             struct media *media, struct vmdk_error *err)
{
  CLEANUP_SPARSE_EXPORT struct sparse_export *sparse =
    sparse_export_new (media, err);
  struct copy_target target;

  if (!sparse)
    return -1;
  target = sparse_export_target (sparse);
  if (copy_part (c, part, &target, err) == -1)
    return -1;
  return sparse_export_finish (sparse, err);
}

static int
copy_stream (const struct conversion *c, struct media *media, const char *text,
             size_t len, struct vmdk_error *err)
{
  const struct part all = { 0, sectors_to_bytes (c->link.nr_sectors) };
  const struct stream_export_rules rules = conversion_stream (c, text, len);
  CLEANUP_STREAM_EXPORT struct stream_export *stream =
    stream_export_new (media, &rules, err);
  struct copy_target target;

  if (!stream)
    return -1;
  target = stream_export_target (stream);
  if (copy_part (c, &all, &target, err) == -1)
    return -1;
  return stream_export_finish (stream, err);
}

/* Extent I of the copy, which is an empty file; TEXT is embedded, or NULL. */
static int
fill_extent (const struct conversion *c, size_t i, struct media *media,
             const char *text, size_t len, struct vmdk_error *err)
{
  const struct new_link *link = &c->link;
  const struct new_extent extent = {
    .layout = link->kind->layout,
    .nr_sectors = new_link_extent_sectors (link, i),
    .grain = link->grain,
    .text = text,
    .len = len,
    .geometry = &link->geometry,
  };
  const struct part part = {
    sectors_to_bytes (i * new_link_extent_sectors (link, 0)),
    sectors_to_bytes (extent.nr_sectors),
  };

  if (extent.layout == LAYOUT_STREAM)
    return copy_stream (c, media, text, len, err);
  if (new_extent_fill (media, &extent, err) == -1)
    return -1;
  if (link->grain)
    return copy_grains (c, &part, media, err);
  return copy_bytes (c, &part, media, true, err);
}

/* -- Files -------------------------------------------------------------- */

/* A file of the copy: FILL fills it.  NAME NULL: the one to be renamed. */
struct file {
  const char *name;
  const char *text; /* the descriptor, LEN bytes; NULL: not in this one */
  size_t len;
  size_t extent; /* which it is */
};

static int
fill_file (const struct conversion *c, const struct file *file,
           struct media *media, struct vmdk_error *err)
{
  const struct part all = { 0, c->source.size };

  if (c->rules->raw)
    return media_truncate (media, all.size, err) == -1
             ? -1
             : copy_bytes (c, &all, media, true, err);
  if (file->text && c->link.kind->suffix)
    return media_pwrite (media, file->text, file->len, 0, err);
  return fill_extent (c, file->extent, media, file->text, file->len, err);
}

static int
make_file (const struct conversion *c, struct replace *replace,
           const struct file *file, struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media =
    replace_create (replace, file->name, err);

  if (!media)
    return -1;
  if (fill_file (c, file, media, err) == -1 || media_flush (media, err) == -1)
    return fail_prefix (err, "%s",
                        NAME (file->name ? file->name : replace->name));
  return 0;
}

/* Whether no file is called like an extent of NAME. */
static bool
extents_are_free (const struct conversion *c, struct store *store,
                  const char *name)
{
  for (size_t i = 0; i < new_link_nr_extents (&c->link); i++) {
    CLEANUP_FREE char *extent = new_link_extent_name (&c->link, name, i);
    struct vmdk_error why;
    CLEANUP_MEDIA struct media *media = NULL;

    if (!extent)
      return false;
    media = store_open (store, extent, STORE_FROM_FILE, &why);
    if (media || why.kind != ERR_MISSING)
      return false;
  }
  return true;
}

#define MAX_OTHER_NAMES 1000

/* What the extents are called after: NAME, but the disk that is overwritten
 * may still need its own.  The caller frees it; NULL with err set.
 */
static char *
name_for_extents (const struct conversion *c, struct store *store,
                  const char *name, struct vmdk_error *err)
{
  const char *dot = strrchr (name, '.');
  const int stem = (int) (dot ? (size_t) (dot - name) : strlen (name));

  for (unsigned i = 0; i < MAX_OTHER_NAMES; i++) {
    CLEANUP_FREE char *other = NULL;

    if ((i == 0
           ? asprintf (&other, "%s", name)
           : asprintf (&other, "%.*s-%u%s", stem, name, i, dot ? dot : ""))
        == -1) {
      other = NULL;
      break;
    }
    /* Without leave to overwrite, a name that is taken is refused later. */
    if (!c->rules->overwrite || !c->link.kind->suffix
        || extents_are_free (c, store, other))
      return steal_ptr (&other);
  }
  fail (err, ERR_SYSTEM, "no names could be found for the extents of %s",
        NAME (name));
  return NULL;
}

static int
make_extents (const struct conversion *c, struct replace *replace,
              const char *stem, struct vmdk_error *err)
{
  for (size_t i = 0; i < new_link_nr_extents (&c->link); i++) {
    CLEANUP_FREE char *name = new_link_extent_name (&c->link, stem, i);
    const struct file file = { .name = name, .extent = i };

    if (!name)
      return fail_memory (err);
    if (make_file (c, replace, &file, err) == -1)
      return -1;
  }
  return 0;
}

static int
make_disk (const struct conversion *c, struct replace *replace,
           struct vmdk_error *err)
{
  CLEANUP_FREE char *stem =
    name_for_extents (c, replace->store, replace->name, err);
  CLEANUP_FREE char *text = NULL;
  struct file file = { 0 };

  if (!stem)
    return -1;
  file.text = text = new_link_text (&c->link, stem, &file.len, err);
  if (!text)
    return -1;
  if (c->operation->dry_run)
    return 0;
  if (c->link.kind->suffix && make_extents (c, replace, stem, err) == -1)
    return -1;
  return make_file (c, replace, &file, err);
}

static bool
touches_source (const struct conversion *c, const struct replace *replace,
                const struct media *media)
{
  const struct chain *chain = c->disk ? disk_chain (c->disk) : NULL;

  if (!chain)
    return replace_touches (replace, media);
  for (size_t i = 0; i < chain_nr_links (chain); i++) {
    const struct link *link = chain_link (chain, i);

    if (link->text && replace_touches (replace, link->text))
      return true;
    for (size_t j = 0; j < link->nr_extents; j++)
      if (link->extents[j]->media
          && replace_touches (replace, link->extents[j]->media))
        return true;
  }
  return false;
}

static int
check_apart (const struct conversion *c, const struct convert_source *source,
             const struct replace *replace, struct vmdk_error *err)
{
  if (touches_source (c, replace, source->media))
    return fail (err, ERR_ARGUMENT,
                 "%s is the source, or a part of it; copy it to another name",
                 NAME (replace->name));
  return 0;
}

/* It is looked at twice, since our own lock is in the way of the second. */
static int
make_replacement (const struct conversion *c,
                  const struct convert_source *source, struct replace *replace,
                  struct vmdk_error *err)
{
  const struct file raw = { 0 };

  if (check_apart (c, source, replace, err) == -1
      || replace_lock (replace, c->operation, err) == -1
      || check_apart (c, source, replace, err) == -1)
    return -1;
  if (!c->rules->raw)
    return make_disk (c, replace, err);
  return c->operation->dry_run ? 0 : make_file (c, replace, &raw, err);
}

static int
check_bare (const char *name, struct vmdk_error *err)
{
  return store_name_is_inside (name) && !strchr (name, '/')
           ? 0
           : fail (err, ERR_ARGUMENT, "\"%s\" cannot be the name of a file",
                   NAME (name));
}

static int
convert_to_store (const struct conversion *c,
                  const struct convert_source *source,
                  const struct convert_target *target, struct vmdk_error *err)
{
  struct replace replace = { 0 };
  int r = check_bare (target->name, err);

  if (r == 0)
    r = replace_begin (&replace, target->store, target->name,
                       c->rules->overwrite, err);
  if (r == 0)
    r = make_replacement (c, source, &replace, err);
  if (r == 0 && !c->operation->dry_run)
    r = replace_commit (&replace, err);
  replace_end (&replace, err);
  return r;
}

/* -- Media -------------------------------------------------------------- */

static int
convert_to_raw_media (const struct conversion *c, struct media *media,
                      struct vmdk_error *err)
{
  const struct part all = { 0, c->source.size };

  if (media->size < all.size)
    return fail (err, ERR_ARGUMENT,
                 "the target has %" PRIu64 " bytes, and the disk %" PRIu64,
                 (uint64_t) media->size, all.size);
  if (c->operation->rules.open.lock
      && media_lock (media, MEDIA_LOCK_WRITE, err) == -1)
    return -1;
  if (c->operation->dry_run)
    return 0;
  if (copy_bytes (c, &all, media, false, err) == -1)
    return -1;
  return media_flush (media, err);
}

static int
copy_to_pipe (const struct conversion *c, struct media *media,
              struct vmdk_error *err)
{
  const struct part all = { 0, c->source.size };
  const struct copy_target target = copy_target_of_pipe (media);

  return copy_part (c, &all, &target, err);
}

static int
check_pipe (const struct conversion *c, struct vmdk_error *err)
{
  if (c->rules->raw)
    return 0;
  if (c->link.kind->layout != LAYOUT_STREAM)
    return fail (err, ERR_ARGUMENT,
                 "a %s disk cannot be written to a pipe, only "
                 "streamOptimized ones and raw bytes can",
                 c->link.kind->name);
  if (c->rules->no_footer)
    return fail (err, ERR_ARGUMENT,
                 "a stream without a footer cannot be written to a pipe");
  return 0;
}

static int
convert_to_pipe (const struct conversion *c,
                 const struct convert_target *target, struct vmdk_error *err)
{
  CLEANUP_FREE char *text = NULL;
  size_t len;

  if (check_pipe (c, err) == -1)
    return -1;
  if (c->operation->dry_run)
    return 0;
  if (c->rules->raw)
    return copy_to_pipe (c, target->media, err);
  text = new_link_text (&c->link, target->name, &len, err);
  return text ? copy_stream (c, target->media, text, len, err) : -1;
}

static int
convert_to_media (const struct conversion *c,
                  const struct convert_source *source,
                  const struct convert_target *target, struct vmdk_error *err)
{
  if (target->pipe)
    return convert_to_pipe (c, target, err);
  if (!c->rules->raw)
    return fail (err, ERR_ARGUMENT,
                 "a %s disk is made of files; devices and exports take raw "
                 "bytes",
                 c->link.kind->name);
  if (source->media && media_same (source->media, target->media))
    return fail (err, ERR_ARGUMENT, "source and target are the same");
  return convert_to_raw_media (c, target->media, err);
}

int
disk_convert (const struct operation *operation,
              const struct convert_source *source,
              const struct convert_target *target,
              const struct convert_rules *rules, struct vmdk_error *err)
{
  struct conversion c;
  int r = conversion_begin (&c, operation, source, rules, err);

  if (r == 0)
    r = target->store ? convert_to_store (&c, source, target, err)
                      : convert_to_media (&c, source, target, err);
  conversion_end (&c);
  return r;
}
