/* SPDX-License-Identifier: BSD-3-Clause */

/* Another parent for a link.  See rebase.h. */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "disk.h"
#include "link-edit.h"
#include "rebase.h"

/* Contents are compared in pieces of so many bytes, and copied in units of
 * the child's grains.
 */
#define PIECE ((size_t) 1 << 20)

/* -- The descriptor ----------------------------------------------------- */

/* What the child's descriptor is to say. */
struct repoint {
  const char *name; /* of the parent; NULL: none */
  const char *hint;
  uint32_t cid;

  /* What is checked first. */
  bool is_attach, is_unsafe, ignore_cid;
  uint64_t nr_sectors;
};

static int
check_attach (const struct repoint *to, const struct descriptor *d,
              struct vmdk_error *err)
{
  const uint32_t made_on = descriptor_parent_cid (d);

  if (made_on == CID_NONE)
    return fail (err, ERR_ARGUMENT,
                 "has no parent and is whole by itself: it cannot be attached "
                 "to %s (make a child of that with vmdkit child)",
                 NAME (to->name));
  if (descriptor_nr_sectors (d) != to->nr_sectors)
    return fail (err, ERR_ARGUMENT,
                 "has %" PRIu64 " sectors, and %s has %" PRIu64
                 ": a child and its parent are of one size",
                 descriptor_nr_sectors (d), NAME (to->name), to->nr_sectors);
  if (made_on != to->cid && !to->ignore_cid)
    return fail (err, ERR_MISMATCH,
                 "was made on a parent with CID %08" PRIx32
                 ", and the CID of %s is %08" PRIx32
                 ": it is another disk, or was changed since (--ignore-cid "
                 "attaches it all the same)",
                 made_on, NAME (to->name), to->cid);
  return 0;
}

/* Without a look at the contents: what could not be right for any. */
static int
check_unsafe (const struct repoint *to, const struct descriptor *d,
              struct vmdk_error *err)
{
  bool can_be_absent = false;

  if (!to->hint)
    return 0;
  for (size_t i = 0; i < descriptor_nr_extents (d); i++) {
    const enum extent_type type = descriptor_extent (d, i)->type;

    can_be_absent |= type == EXTENT_SPARSE || type == EXTENT_VMFSSPARSE
                     || type == EXTENT_SESPARSE;
  }
  if (!can_be_absent
      || strcmp (descriptor_create_type (d), "streamOptimized") == 0)
    return fail (err, ERR_ARGUMENT,
                 "is of a type that cannot have a parent: make a child of %s "
                 "with vmdkit child",
                 NAME (to->name));
  if (descriptor_nr_sectors (d) != to->nr_sectors)
    return fail (err, ERR_ARGUMENT,
                 "has %" PRIu64 " sectors, and %s has %" PRIu64
                 ": it cannot be the parent that was meant",
                 descriptor_nr_sectors (d), NAME (to->name), to->nr_sectors);
  return 0;
}

static int
repoint (void *opaque, struct descriptor *d, struct vmdk_error *err)
{
  const struct repoint *to = opaque;
  char cid[9];

  if ((to->is_attach && check_attach (to, d, err) == -1)
      || (to->is_unsafe && check_unsafe (to, d, err) == -1))
    return -1;
  snprintf (cid, sizeof cid, "%08" PRIx32, to->cid);
  if (descriptor_set (d, "parentCID", cid, err) == -1)
    return -1;
  if (to->hint)
    return descriptor_set (d, "parentFileNameHint", to->hint, err);
  descriptor_remove (d, "parentFileNameHint");
  return 0;
}

/* -- The new parent ----------------------------------------------------- */

static int
check_no_loop (struct store *store, const char *name,
               enum store_open_flags flags, struct disk *parent,
               struct vmdk_error *err)
{
  CLEANUP_MEDIA struct media *media = store_open (store, name, flags, err);
  struct chain *chain = disk_chain (parent);

  if (!media)
    return fail_prefix (err, "%s", NAME (name));
  for (size_t i = 0; i < chain_nr_links (chain); i++) {
    const struct link *link = chain_link (chain, i);

    if (memcmp (&link->identity, &media->identity, sizeof media->identity)
        == 0)
      return i == 0 ? fail (err, ERR_ARGUMENT, "%s: cannot be its own parent",
                            NAME (name))
                    : fail (err, ERR_ARGUMENT,
                            "%s: is an ancestor of %s, which so cannot be its "
                            "parent",
                            NAME (name), NAME (chain_link (chain, 0)->name));
  }
  return 0;
}

/* A packed link would have to be inflated for every grain that is copied up,
 * and VMware's products refuse it.
 */
static int
check_can_be_parent (const struct link *link, uint32_t *cid,
                     struct vmdk_error *err)
{
  if (strcmp (descriptor_create_type (link->descriptor), "streamOptimized")
      == 0)
    return fail (err, ERR_ARGUMENT,
                 "%s: is streamOptimized, which VMware's products do not take "
                 "as a parent: convert it first (vmdkit convert -t "
                 "monolithicSparse)",
                 NAME (link->name));
  if (!descriptor_cid (link->descriptor, cid) || *cid == CID_NONE)
    return fail (err, ERR_ARGUMENT,
                 "%s: has no content ID that a child could name",
                 NAME (link->name));
  return 0;
}

/* Open PARENT and fill in TO.  The disk stays open, and so locked, until the
 * child's descriptor has been written.
 */
static struct disk *
open_parent (struct store *store, const char *name,
             enum store_open_flags flags, const struct new_parent *parent,
             const struct operation *operation, struct repoint *to,
             struct vmdk_error *err)
{
  struct chain_rules rules = operation->rules;
  CLEANUP_DISK struct disk *disk = NULL;

  rules.parent = NULL; /* that one is the child's */
  rules.single_link = false;
  rules.writable = false;
  disk = disk_open (parent->store, parent->name, parent->flags, &rules, err);
  if (!disk)
    return NULL;
  to->name = parent->name;
  to->hint = parent->hint;
  to->nr_sectors = bytes_to_sectors (disk_size (disk));
  if (check_can_be_parent (chain_link (disk_chain (disk), 0), &to->cid, err)
        == -1
      || check_no_loop (store, name, flags, disk, err) == -1)
    return NULL;
  return steal_ptr (&disk);
}

int
disk_attach (struct store *store, const char *name,
             enum store_open_flags flags, const struct new_parent *parent,
             const struct operation *operation, struct vmdk_error *err)
{
  struct repoint to = {
    .is_attach = true,
    .ignore_cid = operation->rules.ignore_cid,
  };
  CLEANUP_DISK struct disk *disk =
    open_parent (store, name, flags, parent, operation, &to, err);

  if (!disk)
    return -1;
  return link_edit (store, name, flags, operation, repoint, &to, err);
}

int
disk_rebase_unsafe (struct store *store, const char *name,
                    enum store_open_flags flags,
                    const struct new_parent *parent,
                    const struct operation *operation, struct vmdk_error *err)
{
  struct repoint to = { .cid = CID_NONE, .is_unsafe = true };
  CLEANUP_DISK struct disk *disk = NULL;

  if (parent) {
    disk = open_parent (store, name, flags, parent, operation, &to, err);
    if (!disk)
      return -1;
  }
  return link_edit (store, name, flags, operation, repoint, &to, err);
}

/* -- Contents ----------------------------------------------------------- */

struct rebase {
  const struct operation *operation;
  struct disk *child;
  bool child_has_parent; /* now */
  struct disk *parent;   /* the new one; NULL: zeros */
  uint8_t *below, *new;  /* PIECE bytes each */
  uint64_t unit;         /* what is copied at least */
  uint64_t copied;

  /* The piece of the old chain that is being compared. */
  bool old_is_zero;
  int result;
  struct vmdk_error *err;
};

static uint64_t
new_size (const struct rebase *r)
{
  return r->parent ? disk_size (r->parent) : 0;
}

/* Give the child COUNT bytes at OFFSET, which are now in r->below. */
static int
copy_up (struct rebase *r, const uint8_t *from, size_t count, uint64_t offset)
{
  r->copied += count;
  if (r->operation->dry_run)
    return 0;
  /* In a disk without a parent zeros are made of absent grains, and through
   * those the new parent would be seen.
   */
  if (r->child_has_parent && bytes_are_zero (from, count))
    return disk_zero (r->child, count, offset, 0, r->err);
  return disk_write (r->child, from, count, offset, r->err);
}

static int
compare_piece (struct rebase *r, uint64_t offset, size_t count,
               bool new_is_zero)
{
  if (r->old_is_zero)
    memset (r->below, 0, count);
  else if (chain_read_below (disk_chain (r->child), r->below, count, offset,
                             r->err)
           == -1)
    return -1;
  if (new_is_zero)
    memset (r->new, 0, count);
  else if (disk_read (r->parent, r->new, count, offset, r->err) == -1)
    return -1;

  for (size_t i = 0; i < count;) {
    const size_t n = min_u64 (count - i, r->unit - (offset + i) % r->unit);

    if (memcmp (r->below + i, r->new + i, n) != 0
        && copy_up (r, r->below + i, n, offset + i) == -1)
      return -1;
    i += n;
  }
  return 0;
}

/* A range that the child does not have, of which old and new chain are each
 * of one kind.
 */
static int
compare_range (struct rebase *r, uint64_t offset, uint64_t count,
               bool new_is_zero)
{
  while (count > 0 && !(r->old_is_zero && new_is_zero)) {
    const size_t n = min_u64 (count, PIECE - offset % PIECE);

    if (compare_piece (r, offset, n, new_is_zero) == -1
        || operation_progress (r->operation, offset + n, disk_size (r->child),
                               r->err)
             == -1)
      return -1;
    offset += n;
    count -= n;
  }
  return 0;
}

static bool
compare_new (void *opaque, const struct disk_piece *piece)
{
  struct rebase *r = opaque;

  r->result = compare_range (r, piece->offset, piece->length, piece->zero);
  return r->result == 0;
}

/* A range that the child does not have, of which the old chain is of one
 * kind.
 */
static int
compare_old (struct rebase *r, uint64_t offset, uint64_t count)
{
  const uint64_t reach = new_size (r);
  const uint64_t there = offset < reach ? min_u64 (count, reach - offset) : 0;

  r->result = 0;
  if (there > 0
      && disk_map (r->parent, offset, there, compare_new, r, r->err) == -1)
    return -1;
  return r->result == -1
           ? -1
           : compare_range (r, offset + there, count - there, true);
}

/* A range that the child does not have. */
static int
compare_absent (struct rebase *r, uint64_t offset, uint64_t count)
{
  struct chain_walk walk;
  struct run run;
  int result;

  chain_walk_start (&walk, disk_chain (r->child), offset, count, MAP_STATE);
  walk.first = 1;
  while ((result = chain_walk_next (&walk, &run, r->err)) == 0
         && run.length > 0) {
    r->old_is_zero = run.state == RUN_HOLE || run.state == RUN_ZERO;
    result = compare_old (r, offset, run.length);
    if (result == -1)
      break;
    offset += run.length;
  }
  chain_walk_finish (&walk);
  return result;
}

static int
copy_differences (struct rebase *r)
{
  struct link *top = chain_link (disk_chain (r->child), 0);
  const uint64_t size = disk_size (r->child);
  struct run run;

  for (uint64_t offset = 0; offset < size; offset += run.length) {
    if (link_map (top, offset, size - offset, MAP_STATE, &run, r->err) == -1)
      return -1;
    if (run.state == RUN_DAMAGED)
      return link_damage (top, &run, r->err);
    if (run.state == RUN_ABSENT
        && compare_absent (r, offset, run.length) == -1)
      return -1;
    if (operation_progress (r->operation, offset + run.length, size, r->err)
        == -1)
      return -1;
  }
  return r->operation->dry_run ? 0 : disk_finish (r->child, r->err);
}

static int
check_can_be_child (const struct rebase *r)
{
  const struct link *top = chain_link (disk_chain (r->child), 0);

  if (!r->parent)
    return 0;
  /* A stream has no way to say "zeros", which would hide a parent. */
  if (strcmp (descriptor_create_type (top->descriptor), "streamOptimized")
      == 0)
    return fail (r->err, ERR_ARGUMENT,
                 "%s: is streamOptimized, which cannot be a child: convert it "
                 "first (vmdkit convert -t monolithicSparse)",
                 NAME (top->name));
  if (link_can_be_absent (top))
    return 0;
  return fail (r->err, ERR_ARGUMENT,
               "%s: has only flat extents, which hide a parent completely "
               "(convert it to a sparse type first)",
               NAME (top->name));
}

/* Under one lock: what is zeros because nothing is below would not be, had
 * somebody shrunk the child in between.
 */
static int
fill_and_repoint (struct rebase *r, struct repoint *to)
{
  struct link *top = chain_link (disk_chain (r->child), 0);

  if (check_can_be_child (r) == -1 || copy_differences (r) == -1)
    return -1;
  return link_edit_open (top, r->operation->dry_run, repoint, to, r->err);
}

/* What is read stays the same, so the child's own children stay right. */
static int
rebase_child (struct rebase *r, struct store *store, const char *name,
              enum store_open_flags flags, struct repoint *to)
{
  struct chain_rules rules = r->operation->rules;
  CLEANUP_FREE uint8_t *below = malloc (PIECE), *new = malloc (PIECE);
  int result;

  if (!below || !new)
    return fail_memory (r->err);
  rules.single_link = false;
  rules.writable = !r->operation->dry_run;
  rules.keep_cid = true;
  rules.detect_zeroes = DETECT_OFF;
  r->below = below;
  r->new = new;
  r->child = disk_open (store, name, flags, &rules, r->err);
  if (!r->child)
    return -1;
  if (disk_grain_size (r->child) != 0)
    r->unit = min_u64 (disk_grain_size (r->child), PIECE);
  r->child_has_parent = chain_nr_links (disk_chain (r->child)) > 1;
  result = fill_and_repoint (r, to);
  disk_close (r->child);
  return result;
}

int
disk_rebase (struct store *store, const char *name,
             enum store_open_flags flags, const struct new_parent *parent,
             const struct operation *operation, uint64_t *copied,
             struct vmdk_error *err)
{
  struct repoint to = { .cid = CID_NONE };
  CLEANUP_DISK struct disk *disk = NULL;
  struct rebase rebase = {
    .operation = operation,
    .unit = PIECE,
    .err = err,
  };
  int r;

  if (parent) {
    disk = open_parent (store, name, flags, parent, operation, &to, err);
    if (!disk)
      return -1;
  }
  rebase.parent = disk;
  r = rebase_child (&rebase, store, name, flags, &to);
  *copied = rebase.copied;
  return r;
}
