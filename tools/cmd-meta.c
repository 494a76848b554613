/* SPDX-License-Identifier: BSD-3-Clause */

/* vmdkit meta: the disk database.  The work is done in metadata.h. */

#include <config.h>

#include <string.h>

#include "link-edit.h"
#include "metadata.h"
#include "tool.h"

static const struct poptOption options[] = { POPT_TABLEEND };

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
} verbs[] = { { "list", 1 }, { "get", 2 }, { "set", 3 }, { "delete", 2 } };

static const struct verb *
verb_find (const char *word)
{
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
    if (strcmp (verbs[i].word, word) == 0)
      return &verbs[i];
  return NULL;
}

static int
act (const struct verb *verb, const char **arguments,
     const struct operation *operation)
{
  CLEANUP_PLACE struct place place = { 0 };
  struct vmdk_error err;
  const bool changes =
    strcmp (verb->word, "set") == 0 || strcmp (verb->word, "delete") == 0;

  if (place_find (&place, arguments[0], &err) == -1)
    return tell_failure (arguments[0], &err);
  return changes ? change (&place, arguments[1], arguments[2], operation)
                 : look (&place, arguments[1], operation);
}

static int
run (const struct command *command, int argc, const char **argv)
{
  struct operation operation;
  struct vmdk_error err;
  const struct verb *verb;
  const char **arguments;
  int status = options_parse (command, options, argc, argv, 2, 4, &arguments);
  int nr = 0;

  if (status != -1)
    return status;
  verb = verb_find (arguments[0]);
  if (!verb)
    return usage_error (command, "'%s' is not list, get, set or delete",
                        arguments[0]);
  while (arguments[nr + 1])
    nr++;
  if (nr != verb->nr_arguments)
    return usage_error (command, "too %s arguments for %s",
                        nr < verb->nr_arguments ? "few" : "many", verb->word);
  if (operation_begin (&operation, NULL, &err) == -1)
    return tell_failure (NULL, &err);
  status = act (verb, arguments + 1, &operation);
  operation_end (&operation);
  return status;
}

const struct command command_meta = {
  .name = "meta",
  .arguments = "list|get|set|delete DISK [KEY [VALUE]]",
  .summary = "Read and change the disk database",
  .run = run,
};
