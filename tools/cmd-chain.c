/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit chain: the links of a folder as trees.  The work is done in
 * forest.h.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "checked.h"
#include "forest.h"
#include "tool.h"

/* -- For programs ------------------------------------------------------- */

static json_t *
cid_json (uint32_t cid)
{
  char text[9];

  snprintf (text, sizeof text, "%08" PRIx32, cid);
  return cid == CID_NONE ? json_null () : json_string (text);
}

static json_t *
link_json (const struct forest *forest, const struct forest_link *link)
{
  const struct descriptor *d = link->descriptor;
  const char *hint = d ? descriptor_parent_hint (d) : NULL;
  uint32_t cid = CID_NONE;

  if (!d)
    return json_pack ("{s:o, s:o}", "file", json_text (link->name), "error",
                      json_text (link->why ? link->why : "cannot be read"));
  descriptor_cid (d, &cid);
  return json_pack (
    "{s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:s, s:b}", "file",
    json_text (link->name), "type", json_text (descriptor_create_type (d)),
    "capacity", (json_int_t) sectors_to_bytes (descriptor_nr_sectors (d)),
    "cid", cid_json (cid), "parent-cid", cid_json (descriptor_parent_cid (d)),
    "parent-hint", hint ? json_text (hint) : json_null (), "parent",
    link->parent == FOREST_NONE ? json_null ()
                                : json_text (forest->links[link->parent].name),
    "parent-state", parent_state_name (link->state), "outside", link->outside);
}

static int
print_all_json (const struct forest *forest)
{
  json_t *links = json_array ();

  for (size_t i = 0; i < forest->nr_links; i++)
    json_array_append_new (links, link_json (forest, &forest->links[i]));
  return print_json (links);
}

/* -- For people --------------------------------------------------------- */

static const char *
remark (const struct forest_link *link)
{
  switch (link->state) {
  case PARENT_NONE:
  case PARENT_RIGHT:
    return "";
  case PARENT_CHANGED:
    return "  [its parent was changed after it was made]";
  case PARENT_MISSING:
    return "  [its parent is missing: ";
  case PARENT_ELSEWHERE:
    return "  [its parent is in another folder, see --allow-outside: ";
  case PARENT_IS_LOOP:
    return "  [its ancestors come back to it]";
  }
  return "";
}

static void
print_link (const struct forest_link *link, unsigned depth)
{
  const struct descriptor *d = link->descriptor;
  const bool names_parent =
    link->state == PARENT_MISSING || link->state == PARENT_ELSEWHERE;
  char size[32], line[ERROR_TEXT_SIZE], safe[ERROR_TEXT_SIZE];

  if (!d)
    snprintf (line, sizeof line, "%s  [%s]", NAME (link->name),
              link->why ? link->why : "cannot be read");
  else
    snprintf (line, sizeof line, "%s  %s, %s%s%s%s", NAME (link->name),
              NAME (descriptor_create_type (d)),
              size_text (sectors_to_bytes (descriptor_nr_sectors (d)), size,
                         sizeof size),
              remark (link),
              names_parent ? NAME (descriptor_parent_hint (d)) : "",
              names_parent ? "]" : "");
  text_escape (safe, sizeof safe, line);
  printf ("%*s%s%s\n", (int) depth * 2, "", depth ? "- " : "", safe);
}

/* Loops were cut.  No chain that can be opened is deeper. */
static void
print_tree (const struct forest *forest, size_t at, unsigned depth)
{
  print_link (&forest->links[at], depth);
  if (depth >= CHAIN_MAX_LINKS)
    return;
  for (size_t i = 0; forest->links[at].nr_children > 0 && i < forest->nr_links;
       i++)
    if (forest->links[i].parent == at)
      print_tree (forest, i, depth + 1);
}

static int
print_all (const struct forest *forest)
{
  if (settings.json)
    return print_all_json (forest);
  for (size_t i = 0; i < forest->nr_links; i++)
    if (forest->links[i].parent == FOREST_NONE)
      print_tree (forest, i, 0);
  return print_finish ();
}

static int
run (const char **arguments, struct operation *operation)
{
  struct vmdk_error err;
  CLEANUP_STORE struct store *store = store_dir_new (arguments[0], &err);
  struct forest forest;
  int status;

  if (!store || forest_read (store, operation, &forest, &err) == -1)
    return tell_failure (arguments[0], &err);
  status = print_all (&forest);
  forest_free (&forest);
  return status;
}

const struct command command_chain = {
  .name = "chain",
  .arguments = "FOLDER",
  .min = 1,
  .max = 1,
  .summary = "Show which disk of a folder is whose parent",
  .run = run,
};
