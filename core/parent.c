/* SPDX-License-Identifier: BSD-3-Clause */

/* Where could a link's parent be?  See parent.h. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parent.h"

int
parent_add_place (struct parent_places *places, const char *path, bool outside,
                  enum store_open_flags flags, struct vmdk_error *err)
{
  struct parent_place place = { .path = strdup (path),
                                .outside = outside,
                                .flags = flags };

  if (!place.path || parent_places_append (places, place) == -1) {
    free (place.path);
    return fail_memory (err);
  }
  return 0;
}

void
parent_places_free (struct parent_places *places)
{
  for (size_t i = 0; i < places->len; i++)
    free (places->ptr[i].path);
  parent_places_reset (places);
}

static bool
is_separator (char c)
{
  return c == '/' || c == '\\';
}

/* The last component of a hint of any form.  "[ds] a.vmdk" has no separator
 * between the datastore and the name.
 */
const char *
parent_last_component (const char *hint)
{
  const char *last = hint;

  if (hint[0] == '[') {
    const char *bracket = strchr (hint, ']');

    if (bracket) {
      last = bracket + 1;
      while (*last == ' ')
        last++;
    }
  }
  for (const char *p = last; *p; p++)
    if (is_separator (*p))
      last = p + 1;
  return last;
}

/* "../DIR/NAME" for a hint that ends in DIR/NAME: a folder that was moved
 * together with its neighbour.  NULL if there is no DIR.
 */
static char *
neighbour_path (const char *hint, const char *last)
{
  const char *end = last, *start;
  char *path;

  while (end > hint && is_separator (end[-1]))
    end--;
  start = end;
  while (start > hint && !is_separator (start[-1]) && start[-1] != ' ')
    start--;
  if (start == end || (end - start == 2 && memcmp (start, "..", 2) == 0)
      || (end - start == 1 && *start == '.') || start[0] == '[')
    return NULL;
  if (asprintf (&path, "../%.*s/%s", (int) (end - start), start, last) == -1)
    return NULL;
  return path;
}

static int
add_joined (struct parent_places *places, const char *folder, const char *name,
            struct vmdk_error *err)
{
  char *path;
  int r;

  if (asprintf (&path, "%s/%s", folder, name) == -1)
    return fail_memory (err);
  r = parent_add_place (places, path, true, STORE_FROM_USER, err);
  free (path);
  return r;
}

static bool
is_datastore_path (const char *hint)
{
  return hint[0] == '[' && strchr (hint, ']');
}

/* For a path of another host or folder: the path itself if that is allowed
 * and could mean something here, then its last component in the child's
 * folder, then the folder beside the child's that has the hint's name.
 */
static int
add_stale_places (const char *hint, const char *last, bool allow_outside,
                  struct parent_places *places, struct vmdk_error *err)
{
  const bool usable = store_name_is_inside (last);
  CLEANUP_FREE char *neighbour =
    allow_outside && usable ? neighbour_path (hint, last) : NULL;

  if (allow_outside && !strchr (hint, '\\') && !is_datastore_path (hint)
      && parent_add_place (places, hint, true, STORE_FROM_FILE, err) == -1)
    return -1;
  if (usable
      && parent_add_place (places, last, false, STORE_FROM_FILE, err) == -1)
    return -1;
  if (neighbour
      && parent_add_place (places, neighbour, true, STORE_FROM_FILE, err)
           == -1)
    return -1;
  return 0;
}

int
parent_find_places (const char *hint, bool allow_outside,
                    const char *const *search, size_t nr_search,
                    struct parent_places *places, struct vmdk_error *err)
{
  const char *plain = store_plain_name (hint);
  const char *last = parent_last_component (hint);

  if (store_name_is_inside (plain)
      && parent_add_place (places, plain, false, STORE_FROM_FILE, err) == -1)
    return -1;
  if ((!store_name_is_inside (plain) || is_datastore_path (plain))
      && add_stale_places (hint, last, allow_outside, places, err) == -1)
    return -1;
  for (size_t i = 0; store_name_is_inside (last) && i < nr_search; i++)
    if (add_joined (places, search[i], last, err) == -1)
      return -1;
  return 0;
}

bool
parent_is_being_merged (const struct descriptor *child, uint32_t cid)
{
  uint32_t own;

  return descriptor_parent_cid (child) != CID_NONE
         && descriptor_cid (child, &own) && own == cid;
}
