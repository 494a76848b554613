/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit meta: the disk database.  The work is done in metadata.h. */

#include <config.h>

#include <string.h>

#include "link-edit.h"
#include "metadata.h"
#include "tool.h"

static void
add_to_json (void *opaque, const char *key, const char *value)
{
  json_object_set_new_nocheck (opaque, key, json_text (value));
}

static void
print_line (void *opaque, const char *key, const char *value)
{
  char safe_key[512], safe_value[4 * 4096];

  (void) opaque;
  text_escape (safe_key, sizeof safe_key, key);
  text_escape (safe_value, sizeof safe_value, value);
  printf ("%s = %s\n", safe_key, safe_value);
}

static int
list (const struct descriptor *d)
{
  json_t *object;

  if (!settings.json) {
    metadata_each (d, print_line, NULL);
    return print_finish ();
  }
  object = json_object ();
  metadata_each (d, add_to_json, object);
  return print_json (object);
}

static int
get (const struct place *place, const struct descriptor *d, const char *key)
{
  const char *value = metadata_get (d, key);
  char safe[4 * 4096];
  struct vmdk_error err;

  if (!value) {
    fail (&err, ERR_MISSING, "%s: has no metadata of the key %s",
          NAME (place->name), NAME (key));
    return tell_failure (place->text, &err);
  }
  if (settings.json)
    return print_json (json_pack ("{s:o}", key, json_text (value)));
  text_escape (safe, sizeof safe, value);
  printf ("%s\n", safe);
  return print_finish ();
}

static int
look (const struct place *place, const char *key,
      const struct operation *operation)
{
  struct vmdk_error err;
  CLEANUP_DESCRIPTOR struct descriptor *d =
    link_look (place->store, place->name, place->flags, operation, NULL, &err);

  if (!d)
    return tell_failure (place->text, &err);
  return key ? get (place, d, key) : list (d);
}

static int
change (const struct place *place, const char *key, const char *value,
        const struct operation *operation)
{
  struct vmdk_error err;
  const int r = value ? metadata_set (place->store, place->name, place->flags,
                                      key, value, operation, &err)
                      : metadata_delete (place->store, place->name,
                                         place->flags, key, operation, &err);

  return r == -1 ? tell_failure (place->text, &err) : EXIT_DONE;
}

/* What comes behind the word. */
static const struct verb {
  const char *word;
  int nr_arguments;
  bool changes;
} verbs[] = {
  { "list", 1, false },
  { "get", 2, false },
  { "set", 3, true },
  { "delete", 2, true },
};

static const struct verb *
verb_find (const char *word)
{
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
    if (strcmp (verbs[i].word, word) == 0)
      return &verbs[i];
  return NULL;
}

static int
check (const char **arguments)
{
  const struct verb *verb = verb_find (arguments[0]);
  int nr = 0;

  if (!verb)
    return usage_error ("'%s' is not list, get, set or delete", arguments[0]);
  while (arguments[nr + 1])
    nr++;
  if (nr != verb->nr_arguments)
    return usage_error ("too %s arguments for %s",
                        nr < verb->nr_arguments ? "few" : "many", verb->word);
  return -1;
}

/* VERB DISK [KEY [VALUE]] */
static int
run (const char **arguments, struct operation *operation)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct vmdk_error err;

  if (place_find (&place, arguments[1], &err) == -1)
    return tell_failure (arguments[1], &err);
  return verb_find (arguments[0])->changes
           ? change (&place, arguments[2], arguments[3], operation)
           : look (&place, arguments[2], operation);
}

const struct command command_meta = {
  .name = "meta",
  .arguments = "list|get|set|delete DISK [KEY [VALUE]]",
  .min = 2,
  .max = 4,
  .summary = "Read and change the disk database",
  .check = check,
  .run = run,
};
