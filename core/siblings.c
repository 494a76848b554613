/* SPDX-License-Identifier: BSD-3-Clause */

/* Is a neighbour a link's child?  See siblings.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checked.h"
#include "link.h"
#include "parent.h"
#include "siblings.h"
#include "sparse-header.h"

struct search {
  struct store *store;
  const char *name; /* the possible parent */
  uint32_t cid;
  const char **own; /* sorted: the names of the link's extents */
  size_t nr_own;
  unsigned nr_files;
  bool too_many;
  char *child; /* owned; NULL as long as there is none */
};

/* Where the text of MEDIA is, which link_probe has taken. */
static int
find_text (struct media *media, uint64_t *offset, uint64_t *size,
           struct vmdk_error *err)
{
  uint8_t bytes[SPARSE_HEADER_SIZE] = { 0 };
  struct sparse_header h;

  *offset = 0;
  *size = media->size;
  if (media_pread (media, bytes, min_u64 (sizeof bytes, media->size), 0, err)
      == -1)
    return -1;
  sparse_header_decode (bytes, &h);
  if (h.magic != SPARSE_MAGIC && h.magic != SPARSE_MAGIC_UNFINISHED)
    return 0;
  if (sparse_header_check_descriptor (&h, media->size, err) == -1)
    return -1;
  *offset = sectors_to_bytes (h.descriptor_offset);
  *size = sectors_to_bytes (h.descriptor_size);
  return 0;
}

/* Of a long text its first lines.  NULL when it is none. */
static struct descriptor *
read_descriptor (struct media *media)
{
  const struct vmdk_log silent = { .sink = NULL };
  CLEANUP_FREE char *text = NULL;
  struct vmdk_error ignored;
  uint64_t offset, size;
  size_t len;

  if (!link_probe (media) || find_text (media, &offset, &size, &ignored) == -1)
    return NULL;
  len = min_u64 (size, SIBLINGS_MAX_TEXT);
  text = malloc (len + 1);
  if (!text || media_pread (media, text, len, offset, &ignored) == -1)
    return NULL;
  while (len < size && len > 0 && text[len - 1] != '\n')
    len--;
  return descriptor_parse (text, len, &silent, &ignored);
}

/* Whatever the case of the letters: the child may come from a host where
 * that means nothing.
 */
static bool
is_child (const struct search *search, const struct descriptor *d)
{
  const char *hint = descriptor_parent_hint (d);

  return hint
         && (descriptor_parent_cid (d) == search->cid
             || parent_is_being_merged (d, search->cid))
         && strcasecmp (parent_last_component (hint), search->name) == 0;
}

static int
compare_names (const void *a, const void *b)
{
  return strcmp (*(const char *const *) a, *(const char *const *) b);
}

/* The link itself and its extents are not opened.  There can be tens of
 * thousands, and each is a file of the folder, so that its name is looked up
 * and not compared with all of them.
 */
static int
find_own (struct search *search, const struct descriptor *d,
          const char *except, struct vmdk_error *err)
{
  const size_t nr_extents = descriptor_nr_extents (d);

  search->own = calloc (nr_extents + 2, sizeof search->own[0]);
  if (!search->own)
    return fail_memory (err);
  search->own[search->nr_own++] = search->name;
  if (except)
    search->own[search->nr_own++] = except;
  for (size_t i = 0; i < nr_extents; i++) {
    const struct extent_line *line = descriptor_extent (d, i);

    if (line->name)
      search->own[search->nr_own++] = store_plain_name (line->name);
  }
  qsort (search->own, search->nr_own, sizeof search->own[0], compare_names);
  return 0;
}

static bool
is_own (const struct search *search, const char *name)
{
  return bsearch (&name, search->own, search->nr_own, sizeof search->own[0],
                  compare_names)
         != NULL;
}

/* Returns -1 to end the list. */
static int
visit (void *opaque, const char *name, struct vmdk_error *err)
{
  struct search *search = opaque;
  CLEANUP_MEDIA struct media *media = NULL;
  CLEANUP_DESCRIPTOR struct descriptor *d = NULL;
  struct vmdk_error ignored;

  if (is_own (search, name))
    return 0;
  if (search->nr_files++ == SIBLINGS_MAX_FILES) {
    search->too_many = true;
    return -1;
  }
  media = store_open (search->store, name, STORE_FROM_FILE, &ignored);
  d = media ? read_descriptor (media) : NULL;
  if (!d || !is_child (search, d))
    return 0;
  search->child = strdup (name);
  return search->child ? -1 : fail_memory (err);
}

int
siblings_check_no_child (struct store *store, const char *name,
                         const struct descriptor *descriptor,
                         const char *except, const struct vmdk_log *log,
                         struct vmdk_error *err)
{
  const char *slash = strrchr (name, '/');
  struct search search = {
    .store = store,
    .name = slash ? slash + 1 : name,
  };
  CLEANUP_FREE const char **own = NULL;
  CLEANUP_FREE char *child = NULL;
  struct vmdk_error why = { 0 };

  if (!descriptor_cid (descriptor, &search.cid))
    return 0; /* nobody's parent */
  if (find_own (&search, descriptor, except, err) == -1)
    return -1;
  own = search.own;
  const int r = store_list (store, visit, &search, &why);
  child = search.child;
  if (child)
    return fail (err, ERR_READ_ONLY,
                 "has a child %s, which would no longer fit: write to that or "
                 "to another one (overlay=, vmdkit child), or commit or "
                 "rebase %s first",
                 NAME (child), NAME (child));
  if (search.too_many)
    log_warning (log,
                 "%s: its folder has more than %d files: not all were asked "
                 "whether they are its children, which must not be there when "
                 "it is written",
                 NAME (name), SIBLINGS_MAX_FILES);
  else if (r == -1)
    log_warning (log,
                 "%s: whether it has children, which must not be there when "
                 "it is written, cannot be seen: %s",
                 NAME (name), why.text);
  return 0;
}
