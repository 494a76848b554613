/* SPDX-License-Identifier: BSD-3-Clause */

/* Merging a child into its parent.  See merge.h.
 *
 * The child is read alone, so that only its own grains are seen.  Its parent
 * is found by opening the whole chain without locks; that one is never read,
 * it says where the parent is.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "disk.h"
#include "link-edit.h"
#include "merge.h"
#include "siblings.h"

#define PIECE ((size_t) 4 << 20)

struct merge {
  const struct operation *operation;
  struct disk *chain; /* only for its names */
  struct disk *child; /* its own link */
  struct disk *parent;
  enum store_open_flags parent_flags;
  struct merge_report *report;
  uint8_t *buf; /* PIECE bytes */
};

static struct link *
child_link (const struct merge *m)
{
  return chain_link (disk_chain (m->chain), 0);
}

static struct link *
parent_link (const struct merge *m)
{
  return chain_link (disk_chain (m->chain), 1);
}

/* -- Before ------------------------------------------------------------- */

static struct disk *
open_child (struct merge *m, struct store *store, const char *name,
            enum store_open_flags flags, bool alone, struct vmdk_error *err)
{
  struct chain_rules rules = m->operation->rules;

  rules.writable = false;
  rules.single_link = alone;
  rules.open.lock = rules.open.lock && alone;
  return disk_open (store, name, flags, &rules, err);
}

static int
check_pair (const struct merge *m, uint32_t *cid, struct vmdk_error *err)
{
  const struct link *child = child_link (m);
  const struct link *parent;

  if (chain_nr_links (disk_chain (m->chain)) < 2)
    return fail (err, ERR_ARGUMENT,
                 "%s: has no parent that it could be merged into",
                 NAME (child->name));
  parent = parent_link (m);
  if (child->size > parent->size)
    return fail (err, ERR_ARGUMENT,
                 "%s: has %" PRIu64 " bytes, and its parent %s only %" PRIu64
                 ": convert the chain to a new disk instead (vmdkit convert)",
                 NAME (child->name), child->size, NAME (parent->name),
                 parent->size);
  if (!descriptor_cid (child->descriptor, cid) || *cid == CID_NONE)
    return fail (err, ERR_CORRUPT,
                 "%s: has no content ID that its parent could be given",
                 NAME (child->name));
  if (siblings_check_no_child (parent->store, parent->name, parent->descriptor,
                               parent->store == child->store ? child->name
                                                             : NULL,
                               &m->operation->rules.open.log, err)
      == -1)
    return fail_prefix (err, "%s", NAME (parent->name));
  return 0;
}

/* -- Content IDs -------------------------------------------------------- */

/* Keys that go from the child to its parent, where the parent has them. */
static const char *const further_ids[] = {
  "ddb.longContentID", "ddb.uuid.modification", /* VirtualBox's */
};
#define NR_FURTHER_IDS (sizeof further_ids / sizeof further_ids[0])

struct new_ids {
  const char *cid;
  const char *further[NR_FURTHER_IDS]; /* NULL: the child has none */
};

static int
set_parent_ids (void *opaque, struct descriptor *d, struct vmdk_error *err)
{
  const struct new_ids *ids = opaque;
  bool dropped;

  if (descriptor_set (d, "CID", ids->cid, err) == -1)
    return -1;
  for (size_t i = 0; i < NR_FURTHER_IDS; i++) {
    const char *key = further_ids[i];

    if (!descriptor_get (d, key))
      continue;
    if (!ids->further[i])
      descriptor_remove (d, key);
    else if (descriptor_set (d, key, ids->further[i], err) == -1)
      return -1;
  }
  /* What was tracked of changes knows nothing of the child's. */
  return descriptor_drop_tracking (d, &dropped, err);
}

static int
set_child_parent_id (void *opaque, struct descriptor *d,
                     struct vmdk_error *err)
{
  return descriptor_set (d, "parentCID", opaque, err);
}

/* In this order.  Between the two the child is the one whose own ID its
 * parent has, and is read on the strength of that.
 */
static int
set_ids (struct merge *m, struct store *store, const char *name,
         enum store_open_flags flags, uint32_t cid, struct vmdk_error *err)
{
  const struct link *parent = parent_link (m);
  char text[9];
  struct new_ids ids = { .cid = text };

  snprintf (text, sizeof text, "%08" PRIx32, cid);
  for (size_t i = 0; i < NR_FURTHER_IDS; i++)
    ids.further[i] =
      descriptor_get (child_link (m)->descriptor, further_ids[i]);
  if (link_edit (parent->store, parent->name, m->parent_flags, m->operation,
                 set_parent_ids, &ids, err)
      == -1)
    return -1;
  return link_edit (store, name, flags, m->operation, set_child_parent_id,
                    text, err);
}

/* -- Copying ------------------------------------------------------------ */

static int
copy_data (struct merge *m, uint64_t offset, uint64_t count,
           struct vmdk_error *err)
{
  const uint64_t size = disk_size (m->child);

  m->report->copied += count;
  if (m->operation->dry_run)
    return 0;
  while (count > 0) {
    const size_t n = min_u64 (count, PIECE - offset % PIECE);

    if (disk_read (m->child, m->buf, n, offset, err) == -1
        || disk_write (m->parent, m->buf, n, offset, err) == -1
        || operation_progress (m->operation, offset + n, size, err) == -1)
      return -1;
    offset += n;
    count -= n;
  }
  return 0;
}

static int
copy_run (struct merge *m, const struct run *run, uint64_t offset,
          struct vmdk_error *err)
{
  switch (run->state) {
  case RUN_ABSENT:
    return 0;
  case RUN_HOLE:
  case RUN_ZERO:
    m->report->zeroed += run->length;
    return m->operation->dry_run ? 0
                                 : disk_zero (m->parent, run->length, offset,
                                              DISK_ZERO_MAY_FREE, err);
  case RUN_DATA:
  case RUN_PACKED:
    return copy_data (m, offset, run->length, err);
  case RUN_DAMAGED:
    return link_damage (chain_link (disk_chain (m->child), 0), run, err);
  }
  return fail (err, ERR_SYSTEM, "run of unknown state %d", (int) run->state);
}

static int
copy_all (struct merge *m, struct vmdk_error *err)
{
  struct link *link = chain_link (disk_chain (m->child), 0);
  struct run run;

  for (uint64_t offset = 0; offset < link->size; offset += run.length)
    if (link_map (link, offset, link->size - offset, MAP_STATE, &run, err)
          == -1
        || copy_run (m, &run, offset, err) == -1
        || operation_progress (m->operation, offset + run.length, link->size,
                               err)
             == -1)
      return -1;
  return m->operation->dry_run ? 0 : disk_finish (m->parent, err);
}

static int
open_parent (struct merge *m, struct vmdk_error *err)
{
  const struct link *parent = parent_link (m);
  struct chain_rules rules = m->operation->rules;

  rules.parent = NULL;
  rules.single_link = false;
  rules.writable = true;
  rules.keep_cid = true;
  rules.detect_zeroes = DETECT_OFF;
  m->parent =
    disk_open (parent->store, parent->name, m->parent_flags, &rules, err);
  return m->parent ? 0 : -1;
}

/* From here on the child is locked. */
static int
check_unchanged (const struct merge *m, uint32_t cid, struct vmdk_error *err)
{
  const struct link *child = chain_link (disk_chain (m->child), 0);
  uint32_t now;

  if (descriptor_cid (child->descriptor, &now) && now == cid)
    return 0;
  return fail (err, ERR_LOCKED,
               "%s: was changed by another program just now; nothing was "
               "merged, try again",
               NAME (child->name));
}

static int
merge (struct merge *m, struct store *store, const char *name,
       enum store_open_flags flags, struct vmdk_error *err)
{
  uint32_t cid;

  m->chain = open_child (m, store, name, flags, false, err);
  if (!m->chain || check_pair (m, &cid, err) == -1)
    return -1;
  m->report->parent = strdup (parent_link (m)->name);
  m->buf = malloc (PIECE);
  if (!m->report->parent || !m->buf)
    return fail_memory (err);
  if (!m->operation->dry_run
      && (set_ids (m, store, name, flags, cid, err) == -1
          || open_parent (m, err) == -1))
    return -1;
  m->child = open_child (m, store, name, flags, true, err);
  if (!m->child || check_unchanged (m, cid, err) == -1)
    return -1;
  return copy_all (m, err);
}

int
disk_merge (struct store *store, const char *name, enum store_open_flags flags,
            const struct operation *operation, struct merge_report *report,
            struct vmdk_error *err)
{
  struct merge m = {
    .operation = operation,
    .report = report,
    .parent_flags =
      operation->rules.parent ? STORE_FROM_USER : STORE_FROM_FILE,
  };
  int r;

  *report = (struct merge_report){ 0 };
  r = merge (&m, store, name, flags, err);
  disk_close (m.parent);
  disk_close (m.child);
  disk_close (m.chain);
  free (m.buf);
  return r;
}
