/* SPDX-License-Identifier: BSD-3-Clause */

/* What the commands on children and parents share.  See tool-chain.h. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "disk.h"
#include "tool-chain.h"

int
pair_find (struct pair *pair, const char *child, const char *parent)
{
  struct vmdk_error err;

  *pair = (struct pair){ 0 };
  if (place_find (&pair->child, child, &err) == -1) {
    tell_failure (child, &err);
    return -1;
  }
  if (!parent)
    return 0;
  if (place_find (&pair->parent, parent, &err) == -1
      || !(pair->hint = place_hint (&pair->child, &pair->parent, &err))) {
    tell_failure (parent, &err);
    return -1;
  }
  pair->new_parent = (struct new_parent){
    .store = pair->parent.store,
    .name = pair->parent.name,
    .flags = pair->parent.flags,
    .hint = pair->hint,
  };
  return 0;
}

void
pair_free (struct pair *pair)
{
  place_free (&pair->child);
  place_free (&pair->parent);
  free (pair->hint);
}

void
tell_outside (const char *child, const char *hint)
{
  if (hint && strchr (hint, '/') && !settings.dry_run)
    tell_note ("%s: its parent is in another folder, and is followed there "
               "only with --allow-outside",
               NAME (child));
}

/* -- New children ------------------------------------------------------- */

static char *type, *grain_size;
static struct child_rules rules; /* what they say */

const struct poptOption child_options[] = {
  { "type", 't', POPT_ARG_STRING, &type, 0,
    "monolithicSparse (default), split-sparse or vmfsSparse", "TYPE" },
  { "grain-size", 0, POPT_ARG_STRING, &grain_size, 0, "Unit of allocation",
    "SIZE" },
  POPT_TABLEEND
};

int
child_check (const char **arguments)
{
  struct vmdk_error err;
  const int found =
    type ? disk_type_parse (type) : (int) DISK_MONOLITHIC_SPARSE;

  (void) arguments;
  if (found == -1)
    return type_error (type, false);
  rules.type = (enum disk_type) found;
  if (grain_size && size_parse (grain_size, &rules.grain_size, &err) == -1)
    return usage_error ("%s", err.text);
  return -1;
}

/* The parent is only read. */
static int
create (const struct pair *pair, const struct operation *operation)
{
  CLEANUP_DISK struct disk *parent = NULL;
  struct vmdk_error err;

  parent = disk_open (pair->parent.store, pair->parent.name,
                      pair->parent.flags, &operation->rules, &err);
  if (!parent)
    return tell_failure (pair->parent.text, &err);
  if (disk_create_child (pair->child.store, pair->child.name, parent,
                         pair->hint, &rules, &err)
      == -1)
    return tell_failure (pair->child.text, &err);
  tell_outside (pair->child.text, pair->hint);
  if (settings.json)
    return print_json (json_pack (
      "{s:o, s:o, s:s, s:I}", "file", json_text (pair->child.text), "parent",
      json_text (pair->hint), "type", disk_type_name (rules.type), "capacity",
      (json_int_t) disk_size (parent)));
  return EXIT_DONE;
}

int
child_make (const char **arguments, struct operation *operation)
{
  CLEANUP_PAIR struct pair pair = { 0 };

  return pair_find (&pair, arguments[1], arguments[0]) == 0
           ? create (&pair, operation)
           : EXIT_FAILED;
}
