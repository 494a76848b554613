/* SPDX-License-Identifier: BSD-3-Clause */

/* The links of a folder.  See forest.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "forest.h"
#include "link-edit.h"
#include "link.h"
#include "parent.h"
#include "vector.h"

DEFINE_VECTOR (forest_list, struct forest_link)

/* A folder of strangers can name any number of parents elsewhere. */
#define MAX_LINKS 20000

static const char *const state_names[] = {
  [PARENT_NONE] = "none",           [PARENT_RIGHT] = "ok",
  [PARENT_CHANGED] = "mismatch",    [PARENT_MISSING] = "missing",
  [PARENT_ELSEWHERE] = "elsewhere", [PARENT_IS_LOOP] = "loop",
};

const char *
parent_state_name (enum parent_state state)
{
  return state_names[state];
}

/* That a descriptor cannot be read is the link's state. */
static int
add_link (struct forest_list *list, struct store *store, const char *name,
          const char *shown, enum store_open_flags flags,
          const struct operation *operation, struct vmdk_error *err)
{
  struct vmdk_error why;
  struct forest_link link = {
    .name = strdup (shown),
    .outside = shown != name,
    .descriptor = link_look (store, name, flags, operation, NULL, &why),
    .parent = FOREST_NONE,
  };

  if (!link.descriptor)
    link.why = strdup (why.text);
  if (!link.name || forest_list_append (list, link) == -1) {
    free (link.name);
    free (link.why);
    descriptor_free (link.descriptor);
    return fail_memory (err);
  }
  return 0;
}

static int
add_folder (struct forest_list *list, struct store *store,
            const struct operation *operation, struct vmdk_error *err)
{
  char **names;
  size_t count;
  int r = 0;

  if (disk_list (store, &names, &count, err) == -1)
    return -1;
  for (size_t i = 0; r == 0 && i < count; i++)
    r = add_link (list, store, names[i], names[i], STORE_FROM_FILE, operation,
                  err);
  disk_list_free (names, count);
  return r;
}

/* -- Parents ------------------------------------------------------------ */

static size_t
find_name (const struct forest_list *list, const char *name)
{
  for (size_t i = 0; i < list->len; i++)
    if (strcmp (list->ptr[i].name, name) == 0)
      return i;
  return FOREST_NONE;
}

static enum parent_state
compare_ids (const struct descriptor *child, const struct forest_link *parent)
{
  uint32_t cid;

  return parent->descriptor && descriptor_cid (parent->descriptor, &cid)
             && (cid == descriptor_parent_cid (child)
                 || parent_is_being_merged (child, cid))
           ? PARENT_RIGHT
           : PARENT_CHANGED;
}

/* The folder's links know their neighbours; a link outside is looked at
 * where it is.
 */
static int
try_place (struct forest_list *list, struct store *store,
           const struct parent_place *place, const struct operation *operation,
           size_t *found, struct vmdk_error *err)
{
  struct vmdk_error ignored;
  CLEANUP_STORE struct store *folder = NULL;
  CLEANUP_MEDIA struct media *media = NULL;
  const char *slash = strrchr (place->path, '/');

  *found = find_name (list, place->path);
  if (*found != FOREST_NONE || !place->outside || list->len > MAX_LINKS)
    return 0;
  media =
    link_open_outside (store, place->path, place->flags, &folder, &ignored);
  if (!media)
    return 0;
  *found = list->len;
  return add_link (list, folder, slash ? slash + 1 : place->path, place->path,
                   place->flags, operation, err);
}

static int
find_parent (struct forest_list *list, struct store *store, size_t i,
             const struct operation *operation, struct vmdk_error *err)
{
  const struct chain_rules *rules = &operation->rules;
  struct descriptor *d = list->ptr[i].descriptor;
  const char *hint = descriptor_parent_hint (d);
  struct parent_places places = VECTOR_EMPTY;
  enum parent_state state = PARENT_MISSING;
  size_t parent = FOREST_NONE;
  int r = parent_find_places (hint, rules->names.allow_outside, rules->search,
                              rules->nr_search, &places, err);

  for (size_t p = 0; r == 0 && p < places.len && state != PARENT_RIGHT; p++) {
    size_t found;

    r = try_place (list, store, &places.ptr[p], operation, &found, err);
    if (r == 0 && found != FOREST_NONE
        && (parent == FOREST_NONE
            || compare_ids (d, &list->ptr[found]) == PARENT_RIGHT)) {
      parent = found;
      state = compare_ids (d, &list->ptr[found]);
    }
  }
  parent_places_free (&places);
  if (parent == FOREST_NONE && !rules->names.allow_outside
      && !store_name_is_inside (store_plain_name (hint)))
    state = PARENT_ELSEWHERE;
  list->ptr[i].parent = parent;
  list->ptr[i].state = state;
  return r;
}

/* Links whose ancestors come back to them have no place in a tree. */
static void
cut_loops (struct forest_list *list)
{
  for (size_t i = 0; i < list->len; i++) {
    size_t at = list->ptr[i].parent;

    for (size_t n = 0; at != FOREST_NONE && n <= list->len && at != i; n++)
      at = list->ptr[at].parent;
    if (at == i) {
      list->ptr[i].parent = FOREST_NONE;
      list->ptr[i].state = PARENT_IS_LOOP;
    }
  }
}

/* Links that are found outside are looked at in their turn, but not for
 * parents of their own: where those are depends on another folder.
 */
static int
find_parents (struct forest_list *list, struct store *store,
              const struct operation *operation, struct vmdk_error *err)
{
  const size_t inside = list->len;

  for (size_t i = 0; i < inside; i++) {
    const struct descriptor *d = list->ptr[i].descriptor;

    if (d && descriptor_parent_cid (d) != CID_NONE
        && find_parent (list, store, i, operation, err) == -1)
      return -1;
  }
  cut_loops (list);
  for (size_t i = 0; i < list->len; i++)
    if (list->ptr[i].parent != FOREST_NONE)
      list->ptr[list->ptr[i].parent].nr_children++;
  return 0;
}

int
forest_read (struct store *store, const struct operation *operation,
             struct forest *forest, struct vmdk_error *err)
{
  struct forest_list list = VECTOR_EMPTY;
  const int r = add_folder (&list, store, operation, err) == -1
                    || find_parents (&list, store, operation, err) == -1
                  ? -1
                  : 0;

  *forest = (struct forest){ list.ptr, list.len };
  if (r == -1)
    forest_free (forest);
  return r;
}

void
forest_free (struct forest *forest)
{
  for (size_t i = 0; i < forest->nr_links; i++) {
    free (forest->links[i].name);
    free (forest->links[i].why);
    descriptor_free (forest->links[i].descriptor);
  }
  free (forest->links);
  *forest = (struct forest){ 0 };
}
