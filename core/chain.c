/* SPDX-License-Identifier: BSD-3-Clause */

/* A chain of links.  See chain.h.
 *
 *  (1) A parent is accepted only if its CID is the one its child names,
 *      unless the caller insists.  CIDs are not unique, so they never tell
 *      whether two files are the same: device and inode do.
 *  (2) A link is seen from the top only as far as every link above it
 *      reaches: what lies beyond a parent's end reads as zeros, also if a
 *      grandparent is longer.
 *  (3) Nothing is served in place of a parent that cannot be had.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "checked.h"
#include "log.h"
#include "parent.h"
#include "siblings.h"

DEFINE_VECTOR (store_list, struct store *)

struct chain {
  struct open_rules rules;
  size_t nr_links;
  struct link *links[CHAIN_MAX_LINKS];
  uint64_t visible[CHAIN_MAX_LINKS]; /* invariant 2 */
  struct store_list stores;          /* parents' folders */

  /* Who answers, among the links from owners_from on, which do not change.
   * NULL for short chains.
   */
  struct owners *owners;
  size_t owners_from;
};

/* -- Opening ------------------------------------------------------------ */

static int
check_new_link (const struct chain *chain, const struct link *link,
                struct vmdk_error *err)
{
  const struct media_identity *id = &link->identity;

  for (size_t i = 0; i < chain->nr_links; i++) {
    const struct link *other = chain->links[i];
    const bool same =
      id->device != 0 || id->inode != 0
        ? id->device == other->identity.device
            && id->inode == other->identity.inode
            && id->offset == other->identity.offset
        : link->store == other->store && strcmp (link->name, other->name) == 0;

    if (same)
      return fail (err, ERR_CORRUPT,
                   "%s: the chain is a loop: it comes back to this link "
                   "after %zu links",
                   NAME (link->name), chain->nr_links - i);
  }
  if (link_has_parent (link) && !link_can_be_absent (link))
    return fail (err, ERR_CORRUPT,
                 "%s: has a parent, and only flat extents, which hide a "
                 "parent completely: the descriptor is damaged (pass "
                 "single-link=true to read this link alone)",
                 NAME (link->name));
  return 0;
}

/* Put LINK at the end, taking it over in every case. */
static int
add_link (struct chain *chain, struct link *link, struct vmdk_error *err)
{
  CLEANUP_LINK struct link *mine = link;
  const size_t n = chain->nr_links;

  if (n == CHAIN_MAX_LINKS)
    return fail (err, ERR_CORRUPT, "%s: the chain has more than %d links",
                 NAME (link->name), CHAIN_MAX_LINKS);
  if (n > 0 && link->size != chain->links[n - 1]->size)
    log_warning (&chain->rules.log,
                 "%s: has %" PRIu64 " bytes, and its child %s has %" PRIu64,
                 NAME (link->name), link->size,
                 NAME (chain->links[n - 1]->name), chain->links[n - 1]->size);
  chain->visible[n] =
    n == 0 ? link->size : min_u64 (chain->visible[n - 1], link->size);
  chain->links[chain->nr_links++] = steal_ptr (&mine);
  return 0;
}

/* Open the file at PLACE, seen from CHILD's folder.  *folder becomes the
 * parent's own folder, owned by the caller, if it is not the child's.
 */
static struct media *
open_place_media (const struct link *child, const struct parent_place *place,
                  struct store **folder, struct vmdk_error *err)
{
  const char *slash = strrchr (place->path, '/');
  CLEANUP_MEDIA struct media *media = NULL;

  *folder = NULL;
  if (place->outside)
    return link_open_outside (child->store, place->path, place->flags, folder,
                              err);
  media = store_open (child->store, place->path, place->flags, err);
  if (media && slash) {
    CLEANUP_FREE char *dir = strndup (place->path, slash - place->path);

    if (!dir) {
      fail_memory (err);
      return NULL;
    }
    *folder = store_folder (child->store, dir, err);
    if (!*folder)
      return NULL;
  }
  return steal_ptr (&media);
}

static struct link *
open_place (struct chain *chain, const struct chain_rules *rules,
            const struct link *child, const struct parent_place *place,
            struct store **folder, struct vmdk_error *err)
{
  const char *slash = strrchr (place->path, '/');
  struct link_source source = {
    .rules = &chain->rules,
    .names = &rules->names,
    .media = open_place_media (child, place, folder, err),
    .name = slash ? slash + 1 : place->path,
    .inspector = rules->inspector,
  };
  struct link *link;

  if (!source.media)
    return NULL;
  source.store = *folder ? *folder : child->store;
  link = link_open (&source, err);
  if (!link) {
    store_close (*folder);
    *folder = NULL;
  }
  return link;
}

static int
check_cid (struct link *child, const struct link *parent,
           struct vmdk_error *err)
{
  const uint32_t wanted = descriptor_parent_cid (child->descriptor);
  uint32_t cid;

  if (!descriptor_cid (parent->descriptor, &cid))
    return fail (err, ERR_MISMATCH,
                 "%s: has no CID, and its child %s was made on a parent with "
                 "CID %08" PRIx32,
                 NAME (parent->name), NAME (child->name), wanted);
  /* When the child is written, which gives it another ID, its parentCID
   * follows.
   */
  if (cid != wanted && parent_is_being_merged (child->descriptor, cid)) {
    log_warning (&child->rules->log,
                 "%s: a commit into its parent %s was interrupted: run it "
                 "again",
                 NAME (child->name), NAME (parent->name));
    child->changes.new_parent_cid = cid;
    return 0;
  }
  if (cid != wanted)
    return fail (err, ERR_MISMATCH,
                 "%s: CID is %08" PRIx32 ", and its child %s was made on a "
                 "parent with CID %08" PRIx32
                 ": the parent was modified since (ignore-cid=true reads it "
                 "all the same)",
                 NAME (parent->name), cid, NAME (child->name), wanted);
  return 0;
}

/* A parent that was found and has another CID than it should. */
struct second_choice {
  struct link *link;
  struct store *folder;
};

static void
drop_choice (struct second_choice *choice)
{
  link_close (choice->link);
  store_close (choice->folder);
  *choice = (struct second_choice){ 0 };
}

static int
accept_parent (struct chain *chain, struct link *link, struct store *folder,
               struct vmdk_error *err)
{
  if (folder && store_list_append (&chain->stores, folder) == -1) {
    link_close (link);
    store_close (folder);
    return fail_memory (err);
  }
  if (check_new_link (chain, link, err) == -1) {
    link_close (link);
    return -1;
  }
  return add_link (chain, link, err);
}

/* Try the places in turn.  The first whose CID is right wins (invariant 1);
 * the error, if none does, is the first one that is more than "not there".
 */
static int
try_places (struct chain *chain, const struct chain_rules *rules,
            struct link *child, const struct parent_places *places,
            struct vmdk_error *err)
{
  struct second_choice second = { 0 };
  struct vmdk_error first = { 0 };

  for (size_t i = 0; i < places->len; i++) {
    struct store *folder;
    struct link *link =
      open_place (chain, rules, child, &places->ptr[i], &folder, err);

    if (link && check_cid (child, link, err) == 0) {
      drop_choice (&second);
      return accept_parent (chain, link, folder, err);
    }
    if (first.kind == ERR_NONE || first.kind == ERR_MISSING)
      first = *err;
    if (!link)
      continue;
    if (second.link) {
      link_close (link);
      store_close (folder);
    }
    else
      second = (struct second_choice){ link, folder };
  }
  if (second.link && rules->ignore_cid && rules->writable && !rules->inspector)
    first.kind = ERR_READ_ONLY; /* nobody knows what would be copied up */
  else if (second.link && rules->ignore_cid) {
    log_warning (&chain->rules.log, "%s", first.text);
    return accept_parent (chain, second.link, second.folder, err);
  }
  drop_choice (&second);
  *err = first;
  return -1;
}

static int
fail_no_parent (const struct link *child, const char *hint,
                const struct chain_rules *rules, struct vmdk_error *err)
{
  if (err->kind != ERR_MISSING && err->kind != ERR_NONE)
    return fail_prefix (err, "%s: parent \"%s\"", NAME (child->name),
                        NAME (hint));
  if (!store_name_is_inside (store_plain_name (hint))
      && !rules->names.allow_outside && hint != rules->parent)
    return fail (err, ERR_DENIED,
                 "%s: its parent \"%s\" is outside the folder and no file of "
                 "that name is in it: say where it is with parent= or "
                 "search=, or follow the path with allow-outside=true",
                 NAME (child->name), NAME (hint));
  return fail (err, ERR_MISSING,
               "%s: its parent \"%s\" is missing: say where it is with "
               "parent= or search=, or read this link alone with "
               "single-link=true",
               NAME (child->name), NAME (hint));
}

static int
open_parent (struct chain *chain, const struct chain_rules *rules,
             struct vmdk_error *err)
{
  struct link *child = chain->links[chain->nr_links - 1];
  const char *hint = descriptor_parent_hint (child->descriptor);
  struct parent_places places = VECTOR_EMPTY;
  int r;

  err->kind = ERR_NONE;
  if (chain->nr_links == 1 && rules->parent) {
    hint = rules->parent;
    r = parent_add_place (&places, hint, true, STORE_FROM_USER, err);
  }
  else
    r = parent_find_places (hint, rules->names.allow_outside, rules->search,
                            rules->nr_search, &places, err);
  if (r == 0) {
    r = try_places (chain, rules, child, &places, err);
    if (r == -1)
      fail_no_parent (child, hint, rules, err);
  }
  parent_places_free (&places);
  return r;
}

/* A file that some link has as an extent. */
struct use {
  struct media_identity id;
  size_t link;
};

static int
compare_uses (const void *pa, const void *pb)
{
  const struct use *a = pa, *b = pb;
  const int c = memcmp (&a->id, &b->id, sizeof a->id);

  return c ? c : (a->link > b->link) - (a->link < b->link);
}

/* A file that is an extent of two links would be read as two things.  (Twice
 * in one link is link.c's matter.)
 */
static int
check_files_differ (const struct chain *chain, struct vmdk_error *err)
{
  size_t most = 0, n = 0;

  for (size_t i = 0; i < chain->nr_links; i++)
    most += chain->links[i]->nr_extents;

  CLEANUP_FREE struct use *uses = calloc (most, sizeof *uses);
  if (!uses)
    return fail_memory (err);
  for (size_t i = 0; i < chain->nr_links; i++)
    for (size_t j = 0; j < chain->links[i]->nr_extents; j++) {
      const struct extent *extent = chain->links[i]->extents[j];
      const struct media *media = extent ? extent->media : NULL;

      if (media && (media->identity.device || media->identity.inode))
        uses[n++] = (struct use){ media->identity, i };
    }
  qsort (uses, n, sizeof *uses, compare_uses);
  for (size_t i = 1; i < n; i++)
    if (memcmp (&uses[i - 1].id, &uses[i].id, sizeof uses[i].id) == 0
        && uses[i - 1].link != uses[i].link)
      return fail (err, ERR_CORRUPT,
                   "%s: the links %s and %s of its chain share an extent file",
                   NAME (chain->links[0]->name),
                   NAME (chain->links[uses[i - 1].link]->name),
                   NAME (chain->links[uses[i].link]->name));
  return 0;
}

/* Ways to read a disk that is not whole, in which nothing may be written: a
 * grain that is only partly covered by a write is completed from its parent.
 */
static int
check_writable (const struct chain_rules *rules, const struct link *top,
                struct vmdk_error *err)
{
  const char *why = rules->lone_extent  ? "lone-extent=true"
                    : !rules->open.lock ? "lock=off"
                    : rules->single_link && link_has_parent (top)
                      ? "single-link=true"
                      : NULL;

  return why ? fail (err, ERR_READ_ONLY, "%s: cannot be written with %s",
                     NAME (top->name), why)
             : 0;
}

static int
check_no_child (const struct link *top, const struct vmdk_log *log,
                struct vmdk_error *err)
{
  if (siblings_check_no_child (top->store, top->name, top->descriptor, NULL,
                               log, err)
      == 0)
    return 0;
  return fail_prefix (err, "%s", NAME (top->name));
}

/* Whether to go on although ERR is wrong with the chain from LINK on. */
static bool
is_only_told (const struct chain_rules *rules, const struct link *link,
              const struct vmdk_error *err)
{
  const struct inspector *inspector = rules->inspector;

  if (!inspector || !error_is_about_disk (err))
    return false;
  inspector->bad_chain (inspector->opaque, link->name, err);
  return true;
}

static int
open_parents (struct chain *chain, const struct chain_rules *rules,
              struct vmdk_error *err)
{
  while (link_has_parent (chain->links[chain->nr_links - 1]))
    if (open_parent (chain, rules, err) == -1) {
      if (!is_only_told (rules, chain->links[chain->nr_links - 1], err))
        return -1;
      break;
    }
  if (check_files_differ (chain, err) == -1
      && !is_only_told (rules, chain->links[0], err))
    return -1;
  return 0;
}

static int
open_links (struct chain *chain, struct store *store, const char *name,
            enum store_open_flags flags, const struct chain_rules *rules,
            struct vmdk_error *err)
{
  struct link_source source = {
    .rules = &chain->rules,
    .names = &rules->names,
    .store = store,
    .name = name,
    .media = store_open (store, name,
                         flags | (rules->writable ? STORE_WRITABLE : 0), err),
    .lone_extent = rules->lone_extent,
    .writable = rules->writable,
    .inspector = rules->inspector,
  };
  struct link *top;

  if (!source.media)
    return fail_prefix (err, "%s", NAME (name));
  top = link_open (&source, err);
  if (!top)
    return -1;
  if (!rules->single_link && check_new_link (chain, top, err) == -1
      && !is_only_told (rules, top, err)) {
    link_close (top);
    return -1;
  }
  if (add_link (chain, top, err) == -1)
    return -1;
  if (rules->writable && !rules->inspector
      && (check_writable (rules, top, err) == -1
          || (!rules->keep_cid
              && check_no_child (top, &chain->rules.log, err) == -1)))
    return -1;
  top->changes.begun = rules->keep_cid;

  if (!rules->single_link && open_parents (chain, rules, err) == -1)
    return -1;
  if (chain->nr_links >= CHAIN_WARN_LINKS)
    log_warning (&chain->rules.log,
                 "%s: the chain has %zu links; vSphere allows 32 snapshots",
                 NAME (name), chain->nr_links);
  return 0;
}

struct chain *
chain_open (struct store *store, const char *name, enum store_open_flags flags,
            const struct chain_rules *rules, struct vmdk_error *err)
{
  CLEANUP_CHAIN struct chain *chain = calloc (1, sizeof *chain);

  if (!chain) {
    fail_memory (err);
    return NULL;
  }
  chain->rules = rules->open;
  if (open_links (chain, store, name, flags, rules, err) == -1)
    return NULL;
  /* The first link of a writable chain is asked each time. */
  chain->owners_from = rules->writable ? 1 : 0;
  if (chain->nr_links - chain->owners_from > 2) {
    chain->owners = owners_new (chain->rules.resources->tables,
                                chain->links + chain->owners_from,
                                chain->visible + chain->owners_from,
                                chain->nr_links - chain->owners_from, err);
    if (!chain->owners)
      return NULL;
  }
  return steal_ptr (&chain);
}

void
chain_close (struct chain *chain)
{
  if (!chain)
    return;
  owners_free (chain->owners);
  for (size_t i = 0; i < chain->nr_links; i++)
    link_close (chain->links[i]);
  for (size_t i = 0; i < chain->stores.len; i++)
    store_close (chain->stores.ptr[i]);
  store_list_reset (&chain->stores);
  free (chain);
}

uint64_t
chain_size (const struct chain *chain)
{
  return chain->visible[0];
}

size_t
chain_nr_links (const struct chain *chain)
{
  return chain->nr_links;
}

struct link *
chain_link (const struct chain *chain, size_t i)
{
  return chain->links[i];
}

/* -- Writing ------------------------------------------------------------ */

int
chain_read_below (struct chain *chain, void *buf, size_t count,
                  uint64_t offset, struct vmdk_error *err)
{
  uint8_t *out = buf;
  struct chain_walk walk;
  struct run run;
  int r;

  chain_walk_start (&walk, chain, offset, count, MAP_WHERE);
  walk.first = 1;
  while ((r = chain_walk_next (&walk, &run, err)) == 0 && run.length > 0) {
    if (run.state == RUN_DATA) {
      r = media_pread (run.media, out, run.length, run.media_offset, err);
      if (r == -1)
        fail_prefix (err, "%s", NAME (run.media->name));
    }
    else if (run.state == RUN_PACKED || run.state == RUN_DAMAGED)
      r = extent_read (run.extent, out, run.length, run.extent_offset, err);
    else
      memset (out, 0, run.length);
    if (r == -1)
      break;
    out += run.length;
  }
  chain_walk_finish (&walk);
  return r;
}

/* -- Walking ------------------------------------------------------------ */

void
chain_walk_start (struct chain_walk *walk, struct chain *chain,
                  uint64_t offset, uint64_t count, enum map_detail detail)
{
  walk->chain = chain;
  walk->offset = offset;
  walk->end = offset + count;
  walk->detail = detail;
  walk->first = 0;
  walk->owners.block = NULL;
  memset (walk->absent_to, 0, chain->nr_links * sizeof walk->absent_to[0]);
}

void
chain_walk_finish (struct chain_walk *walk)
{
  if (walk->owners.block)
    owners_view_finish (walk->chain->owners, &walk->owners);
}

/* Which link to ask first among those that have a map of owners, and up to
 * where that is the answer.
 */
static size_t
find_owner (struct chain_walk *walk, uint64_t *end)
{
  struct chain *chain = walk->chain;
  struct vmdk_error ignored;
  uint64_t length;
  int owner;

  owner = owners_find (chain->owners, &walk->owners, walk->offset,
                       *end - walk->offset, &length, &ignored);
  if (owner == -1)
    return chain->owners_from; /* the links themselves know */
  *end = walk->offset + length;
  return owner == OWNER_NONE ? chain->nr_links
                             : chain->owners_from + (size_t) owner;
}

static void
set_hole (struct run *run, uint64_t length)
{
  *run = (struct run){ .state = RUN_HOLE, .length = length };
}

int
chain_walk_next (struct chain_walk *walk, struct run *run,
                 struct vmdk_error *err)
{
  struct chain *chain = walk->chain;
  const bool use_owners = chain->owners && walk->detail == MAP_WHERE;
  const uint64_t offset = walk->offset;
  uint64_t end = walk->end;

  if (offset == end) {
    set_hole (run, 0);
    return 0;
  }
  for (size_t i = walk->first; i < chain->nr_links; i++) {
    if (use_owners && i == chain->owners_from) {
      i = find_owner (walk, &end);
      if (i == chain->nr_links)
        break;
    }
    if (offset >= chain->visible[i]) /* invariant 2 */
      break;
    if (walk->absent_to[i] > offset) {
      end = min_u64 (end, walk->absent_to[i]);
      continue;
    }
    end = min_u64 (end, chain->visible[i]);
    if (link_map (chain->links[i], offset, end - offset, walk->detail, run,
                  err)
        == -1)
      return -1;
    if (run->state != RUN_ABSENT) {
      walk->found = i;
      walk->offset += run->length;
      return 0;
    }
    end = offset + run->length;
    walk->absent_to[i] = end;
  }
  set_hole (run, end - offset);
  walk->found = chain->nr_links;
  walk->offset = end;
  return 0;
}
