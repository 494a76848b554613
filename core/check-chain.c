/* SPDX-License-Identifier: BSD-3-Clause */

/* Content IDs along a chain.  See check-chain.h.
 *
 * Mending changes the child's parentCID and nothing else.  What it makes of a
 * child whose parent did change is a disk that reads without complaint, and
 * perhaps wrongly; so it is refused where the times say that this is the
 * case, and the old ID is in the backup.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "check-chain.h"
#include "checked.h"
#include "forest.h"
#include "link-edit.h"
#include "repair.h"

struct walk {
  const struct operation *operation;
  const struct chain_options *options;
  struct check_result *result;
  struct vmdk_error first; /* why the chain ends; ERR_NONE: it is whole */
  uint32_t parent_cid;     /* to be the first link's */
  bool mend;
};

static void
ignore_extent (void *opaque, const char *name, size_t i,
               const struct vmdk_error *err)
{
  (void) opaque, (void) name, (void) i, (void) err;
}

static void
note_end (void *opaque, const char *name, const struct vmdk_error *err)
{
  struct walk *walk = opaque;

  (void) name;
  if (walk->first.kind == ERR_NONE)
    walk->first = *err;
}

/* When a link's files were last changed: the newest of them. */
static int64_t
link_time (const struct walk *walk, const struct link *link)
{
  const struct chain_options *options = walk->options;
  int64_t newest = -1;

  if (!options->modified)
    return -1;
  newest = options->modified (options->opaque, link->store, link->name);
  for (size_t i = 0; i < link->nr_extents; i++) {
    const struct extent_line *line = descriptor_extent (link->descriptor, i);
    const bool embedded = i == 0 && !link->text;
    int64_t time;

    if (!line->name || embedded)
      continue;
    time = options->modified (options->opaque, link->store,
                              store_plain_name (line->name));
    if (time > newest)
      newest = time;
  }
  return newest;
}

static enum chain_break_cause
find_cause (const struct chain_break *b, const struct link *child)
{
  uint32_t own;

  if (b->has_cid && descriptor_cid (child->descriptor, &own) && own == b->cid)
    return BREAK_COMMITTED;
  if (b->child_time == -1 || b->parent_time == -1
      || b->child_time == b->parent_time)
    return BREAK_UNKNOWN;
  return b->parent_time > b->child_time ? BREAK_PARENT_NEWER
                                        : BREAK_CHILD_NEWER;
}

/* A disk in the child's folder that has the ID: perhaps the right parent. */
static int
find_other (const struct walk *walk, const struct link *child, uint32_t wanted,
            char **other, struct vmdk_error *err)
{
  struct forest forest;

  *other = NULL;
  if (forest_read (child->store, walk->operation, &forest, err) == -1)
    return -1;
  for (size_t i = 0; i < forest.nr_links && !*other; i++) {
    const struct forest_link *link = &forest.links[i];
    uint32_t cid;

    if (link->descriptor && strcmp (link->name, child->name) != 0
        && descriptor_cid (link->descriptor, &cid) && cid == wanted)
      *other = strdup (link->name);
  }
  forest_free (&forest);
  return 0;
}

static enum check_mending
choose_mending (const struct walk *walk, const struct chain_break *b,
                size_t nr)
{
  const bool safe = b->cause == BREAK_CHILD_NEWER || b->cause == BREAK_UNKNOWN;

  if (nr > 0 || !b->has_cid || b->cid == CID_NONE
      || (!safe && !walk->options->force))
    return CHECK_STAYS;
  return walk->options->repair && !walk->operation->dry_run ? CHECK_MENDED
                                                            : CHECK_MENDABLE;
}

static int
judge (struct walk *walk, struct chain *chain, size_t nr,
       struct vmdk_error *err)
{
  const struct link *child = chain_link (chain, nr);
  const struct link *parent = chain_link (chain, nr + 1);
  CLEANUP_FREE char *other = NULL;
  struct chain_break b = {
    .child = child->name,
    .parent = parent->name,
    .wanted = descriptor_parent_cid (child->descriptor),
  };

  b.has_cid = descriptor_cid (parent->descriptor, &b.cid);
  if (b.has_cid && b.cid == b.wanted)
    return 0;
  b.child_time = link_time (walk, child);
  b.parent_time = link_time (walk, parent);
  b.cause = find_cause (&b, child);
  if (find_other (walk, child, b.wanted, &other, err) == -1)
    return -1;
  b.other = other;
  b.mending = choose_mending (walk, &b, nr);
  walk->result->nr_errors++;
  walk->result->nr_errors_left += b.mending != CHECK_MENDED;
  walk->result->nr_mendable += b.mending != CHECK_STAYS;
  walk->result->nr_mended += b.mending == CHECK_MENDED;
  if (b.mending == CHECK_MENDED) {
    walk->mend = true;
    walk->parent_cid = b.cid;
  }
  if (walk->options->found)
    walk->options->found (walk->options->opaque, &b);
  return 0;
}

/* -- Mending ------------------------------------------------------------ */

struct new_cid {
  struct repairer *repairer;
  uint32_t cid;
};

static int
set_parent_cid (void *opaque, struct descriptor *descriptor,
                struct vmdk_error *err)
{
  const struct new_cid *new = opaque;
  char text[9];

  if (repair_note_parent_cid (
        new->repairer, descriptor_parent_cid (descriptor), new->cid, err)
      == -1)
    return -1;
  snprintf (text, sizeof text, "%08" PRIx32, new->cid);
  return descriptor_set (descriptor, "parentCID", text, err);
}

static int
mend (const struct walk *walk, struct store *store, const char *name,
      enum store_open_flags flags, struct vmdk_error *err)
{
  CLEANUP_REPAIRER struct repairer *repairer =
    repairer_new (store, name, false, err);
  struct new_cid new = { repairer, walk->parent_cid };

  if (!repairer
      || link_edit (store, name, flags, walk->operation, set_parent_cid, &new,
                    err)
           == -1)
    return -1;
  walk->result->backup = strdup (repairer_backup (repairer));
  return walk->result->backup ? 0 : fail_memory (err);
}

static int
look (struct walk *walk, struct store *store, const char *name,
      enum store_open_flags flags, struct vmdk_error *err)
{
  const struct inspector inspector = { ignore_extent, note_end, walk };
  struct chain_rules rules = walk->operation->rules;
  CLEANUP_CHAIN struct chain *chain = NULL;

  rules.open.log.sink = NULL;
  rules.open.accept_journal = rules.open.recover_stream = true;
  rules.ignore_cid = true;
  rules.writable = false;
  rules.inspector = &inspector;
  chain = chain_open (store, name, flags, &rules, err);
  if (!chain)
    return -1;
  walk->result->nr_links = chain_nr_links (chain);
  for (size_t i = 0; i + 1 < chain_nr_links (chain); i++)
    if (judge (walk, chain, i, err) == -1)
      return -1;
  return 0;
}

int
disk_check_chain (struct store *store, const char *name,
                  enum store_open_flags flags,
                  const struct operation *operation,
                  const struct chain_options *options,
                  struct check_result *result, struct vmdk_error *err)
{
  struct walk walk = {
    .operation = operation,
    .options = options,
    .result = result,
  };

  *result = (struct check_result){ 0 };
  if (look (&walk, store, name, flags, err) == -1)
    return -1;
  if (walk.mend && mend (&walk, store, name, flags, err) == -1)
    return -1;
  if (walk.first.kind == ERR_NONE)
    return 0;
  *err = walk.first;
  return -1;
}
