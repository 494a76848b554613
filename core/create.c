/* SPDX-License-Identifier: BSD-3-Clause */

/* New disks: what each type is made of, and the order in which its files are
 * made.
 *
 * (1) Every file is created exclusively, so nothing is ever overwritten.
 * (2) Extents come first and the descriptor last: whoever finds a descriptor
 *     finds its disk.
 * (3) After a failure each file that we made is removed, and no other.
 *
 * At no time is more than one file open, since a split disk can have more
 * of them than a process may open.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checked.h"
#include "create-parts.h"

/* As qemu-img's: who may read a disk is the umask's matter, who may write it
 * is not.
 */
#define FILE_MODE 0644

#define DEFAULT_GRAIN 128
#define MIN_GRAIN 8
#define MAX_GRAIN 2048
#define COWD_DEFAULT_GRAIN 1

#define DEFAULT_ADAPTER "lsilogic"
#define DEFAULT_HW_VERSION 4

/* -- Types -------------------------------------------------------------- */

#define NR_TYPES 8

static const struct disk_kind kinds[NR_TYPES] = {
  [DISK_MONOLITHIC_SPARSE] = { .name = "monolithicSparse",
                               .plugin_name = "monolithic-sparse",
                               .create_type = "monolithicSparse",
                               .line = EXTENT_SPARSE,
                               .layout = LAYOUT_SPARSE,
                               .over_parent = true },
  [DISK_MONOLITHIC_FLAT] = { .name = "monolithicFlat",
                             .plugin_name = "monolithic-flat",
                             .create_type = "monolithicFlat",
                             .line = EXTENT_FLAT,
                             .layout = LAYOUT_HOLE,
                             .suffix = "-flat" },
  [DISK_SPLIT_SPARSE] = { .name = "twoGbMaxExtentSparse",
                          .plugin_name = "split-sparse",
                          .create_type = "twoGbMaxExtentSparse",
                          .line = EXTENT_SPARSE,
                          .layout = LAYOUT_SPARSE,
                          .suffix = "-s",
                          .split = true,
                          .over_parent = true },
  [DISK_SPLIT_FLAT] = { .name = "twoGbMaxExtentFlat",
                        .plugin_name = "split-flat",
                        .create_type = "twoGbMaxExtentFlat",
                        .line = EXTENT_FLAT,
                        .layout = LAYOUT_HOLE,
                        .suffix = "-f",
                        .split = true },
  [DISK_VMFS_FLAT] = { .name = "vmfs",
                       .plugin_name = "vmfs-flat",
                       .create_type = "vmfs",
                       .line = EXTENT_VMFS,
                       .layout = LAYOUT_RESERVED,
                       .suffix = "-flat" },
  /* vmfsThin is a documented name; real descriptors say vmfs. */
  [DISK_VMFS_THIN] = { .name = "vmfsThin",
                       .plugin_name = "vmfs-thin",
                       .create_type = "vmfs",
                       .line = EXTENT_VMFS,
                       .layout = LAYOUT_HOLE,
                       .suffix = "-flat",
                       .thin = true },
  [DISK_VMFS_SPARSE] = { .name = "vmfsSparse",
                         .plugin_name = "vmfs-sparse",
                         .create_type = "vmfsSparse",
                         .line = EXTENT_VMFSSPARSE,
                         .layout = LAYOUT_COWD,
                         .suffix = "-delta",
                         .over_parent = true },
  [DISK_STREAM_OPTIMIZED] = { .name = "streamOptimized",
                              .plugin_name = "stream-optimized",
                              .create_type = "streamOptimized",
                              .line = EXTENT_SPARSE,
                              .layout = LAYOUT_STREAM },
};

const struct disk_kind *
disk_kind_of (enum disk_type type)
{
  return &kinds[type];
}

const char *
disk_type_name (enum disk_type type)
{
  return kinds[type].name;
}

int
disk_type_parse (const char *name)
{
  for (int i = 0; i < NR_TYPES; i++)
    if (strcasecmp (name, kinds[i].name) == 0
        || strcasecmp (name, kinds[i].plugin_name) == 0)
      return i;
  return -1;
}

/* -- Extents ------------------------------------------------------------ */

size_t
new_link_nr_extents (const struct new_link *link)
{
  return link->kind->split ? div_round_up (link->nr_sectors, PIECE_SECTORS)
                           : 1;
}

uint64_t
new_link_extent_sectors (const struct new_link *link, size_t i)
{
  return link->kind->split
           ? min_u64 (link->nr_sectors - i * PIECE_SECTORS, PIECE_SECTORS)
           : link->nr_sectors;
}

/* As qemu: the suffix stands before the last dot. */
char *
new_link_extent_name (const struct new_link *link, const char *name, size_t i)
{
  const char *dot = strrchr (name, '.');
  const int stem = (int) (dot ? (size_t) (dot - name) : strlen (name));
  char number[24] = "";
  char *extent = NULL;

  if (!link->kind->suffix)
    return strdup (name);
  if (link->kind->split)
    snprintf (number, sizeof number, "%03zu", i + 1);
  if (asprintf (&extent, "%.*s%s%s%s", stem, name, link->kind->suffix, number,
                dot ? dot : "")
      == -1)
    return NULL;
  return extent;
}

/* -- Checks ------------------------------------------------------------- */

int
new_link_set_grain (struct new_link *link, uint64_t grain_size,
                    struct vmdk_error *err)
{
  const enum layout layout = link->kind->layout;
  const bool flat = layout == LAYOUT_HOLE || layout == LAYOUT_RESERVED;
  const bool cowd = layout == LAYOUT_COWD;
  const uint64_t min = sectors_to_bytes (cowd ? 1 : MIN_GRAIN);
  const uint64_t max = sectors_to_bytes (MAX_GRAIN);

  link->grain = flat ? 0 : cowd ? COWD_DEFAULT_GRAIN : DEFAULT_GRAIN;
  if (grain_size == 0)
    return 0;
  if (flat)
    return fail (err, ERR_ARGUMENT,
                 "a grain size of %" PRIu64 " bytes: a %s disk has no grains",
                 grain_size, link->kind->name);
  if (!is_power_of_2 (grain_size) || grain_size < min || grain_size > max)
    return fail (err, ERR_ARGUMENT,
                 "a grain size of %" PRIu64
                 " bytes is not a power of two from %" PRIu64 " to %" PRIu64,
                 grain_size, min, max);
  link->grain = bytes_to_sectors (grain_size);
  return 0;
}

static uint64_t
max_sectors (const struct new_link *link)
{
  if (link->kind->split)
    return DESCRIPTOR_MAX_EXTENTS * PIECE_SECTORS;
  return layout_max_sectors (link->kind->layout, link->grain,
                             !link->kind->suffix);
}

int
new_link_check_size (const struct new_link *link, struct vmdk_error *err)
{
  const uint64_t max = max_sectors (link);
  char grains[64] = "";

  if (link->nr_sectors <= max)
    return 0;
  if (link->grain)
    snprintf (grains, sizeof grains, " with grains of %" PRIu64 " bytes",
              sectors_to_bytes (link->grain));
  return fail (err, ERR_ARGUMENT,
               "a size of %" PRIu64 " bytes: a %s disk%s has at most %" PRIu64,
               sectors_to_bytes (link->nr_sectors), link->kind->name, grains,
               sectors_to_bytes (max));
}

static int
fail_exists (const char *name, struct vmdk_error *err)
{
  fail (err, ERR_ARGUMENT, "%s exists already", NAME (name));
  err->errnum = EEXIST;
  return -1;
}

/* Extents can be many and large: see in time that all is for nothing.  The
 * answer can be outdated at once; invariant 1 does not depend on it.
 */
static int
check_not_there (struct store *store, const char *name, struct vmdk_error *err)
{
  struct vmdk_error ignored;
  CLEANUP_MEDIA struct media *media =
    store_open (store, name, STORE_FROM_FILE, &ignored);

  return media ? fail_exists (name, err) : 0;
}

/* -- Making ------------------------------------------------------------- */

struct making {
  struct store *store;
  const char *name;
  const struct new_link *link;
  const char *text;
  size_t len;
  size_t nr_made; /* files that are there and ours */
};

/* Files are counted in the order they are made: extents that have a file of
 * their own, then NAME.
 */
static size_t
nr_extent_files (const struct making *m)
{
  return m->link->kind->suffix ? new_link_nr_extents (m->link) : 0;
}

static char *
file_name (const struct making *m, size_t i)
{
  return i < nr_extent_files (m) ? new_link_extent_name (m->link, m->name, i)
                                 : strdup (m->name);
}

static int
fill (const struct making *m, size_t i, struct media *media,
      struct vmdk_error *err)
{
  const struct new_link *link = m->link;
  const bool embedded = !link->kind->suffix;
  const struct new_extent extent = {
    .layout = link->kind->layout,
    .nr_sectors = new_link_extent_sectors (link, embedded ? 0 : i),
    .grain = link->grain,
    .text = embedded ? m->text : NULL,
    .len = m->len,
    .geometry = link->hint ? NULL : &link->geometry,
  };

  if (embedded || i < nr_extent_files (m))
    return new_extent_fill (media, &extent, err);
  return media_pwrite (media, m->text, m->len, 0, err);
}

static int
make_file (struct making *m, size_t i, struct vmdk_error *err)
{
  CLEANUP_FREE char *name = file_name (m, i);
  CLEANUP_MEDIA struct media *media = NULL;

  if (!name)
    return fail_memory (err);
  media = store_create (m->store, name, FILE_MODE, err);
  if (!media)
    return err->errnum == EEXIST ? fail_exists (name, err)
                                 : fail_prefix (err, "%s", NAME (name));
  m->nr_made++;
  if (fill (m, i, media, err) == -1 || media_flush (media, err) == -1)
    return fail_prefix (err, "%s", NAME (name));
  return 0;
}

static int
make_files (struct making *m, struct vmdk_error *err)
{
  for (size_t i = 0; i <= nr_extent_files (m); i++)
    if (make_file (m, i, err) == -1)
      return -1;
  return store_flush (m->store, err);
}

/* invariant 3.  ERR says why; it is told when a file has to stay. */
static void
remove_files (const struct making *m, struct vmdk_error *err)
{
  struct vmdk_error ignored;
  bool told = false;

  for (size_t i = m->nr_made; i-- > 0;) {
    CLEANUP_FREE char *name = file_name (m, i);

    if (name && store_remove (m->store, name, &ignored) == 0)
      continue;
    if (!told)
      fail_prefix (err, "%s could not be removed again after this",
                   name ? NAME (name) : "a file");
    told = true;
  }
}

int
new_link_make (struct store *store, const char *name,
               const struct new_link *link, struct vmdk_error *err)
{
  struct making m = { .store = store, .name = name, .link = link };
  CLEANUP_FREE char *text = NULL;

  if (new_link_check_size (link, err) == -1)
    return -1;
  m.text = text = new_link_text (link, name, &m.len, err);
  if (!text || check_not_there (store, name, err) == -1)
    return -1;
  if (make_files (&m, err) == -1) {
    remove_files (&m, err);
    return -1;
  }
  return 0;
}

/* -- The public face ---------------------------------------------------- */

int
new_link_check_adapter (const char *adapter, struct vmdk_error *err)
{
  static const char *const adapters[] = { "ide", "buslogic", "lsilogic",
                                          "legacyESX" };
  bool known = false;

  for (size_t i = 0; i < sizeof adapters / sizeof adapters[0]; i++)
    known = known || strcmp (adapter, adapters[i]) == 0;
  if (!known)
    return fail (err, ERR_ARGUMENT,
                 "adapter \"%s\" is not one of ide, buslogic, lsilogic, "
                 "legacyESX",
                 NAME (adapter));
  return 0;
}

static int
check_rules (const struct create_rules *rules, const char *adapter,
             struct vmdk_error *err)
{
  if (rules->size == 0 || rules->size % SECTOR_SIZE != 0)
    return fail (err, ERR_ARGUMENT,
                 "a size of %" PRIu64 " bytes is not a multiple of %d above 0",
                 rules->size, SECTOR_SIZE);
  return new_link_check_adapter (adapter, err);
}

int
disk_create (struct store *store, const char *name,
             const struct create_rules *rules, struct vmdk_error *err)
{
  const char *adapter = rules->adapter ? rules->adapter : DEFAULT_ADAPTER;
  struct new_link link = {
    .kind = disk_kind_of (rules->type),
    .nr_sectors = bytes_to_sectors (rules->size),
    .cid = random_cid (0),
    .parent_cid = CID_NONE,
    .adapter = adapter,
    .hw_version = rules->hw_version ? rules->hw_version : DEFAULT_HW_VERSION,
  };

  if (check_rules (rules, adapter, err) == -1
      || new_link_set_grain (&link, rules->grain_size, err) == -1)
    return -1;
  link.geometry = disk_geometry_for (link.nr_sectors, adapter);
  return new_link_make (store, name, &link, err);
}
