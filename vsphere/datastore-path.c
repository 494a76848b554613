/* SPDX-License-Identifier: BSD-3-Clause */

/* The grammar of "[datastore] path".  See datastore-path.h. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datastore-path.h"

#define MAX_PATH_BYTES 4096

bool
datastore_path_looks_so (const char *text)
{
  return text[0] == '[';
}

/* How long the name is that TEXT begins with, behind its bracket; 0: no
 * name.
 */
static size_t
name_length (const char *text, const char *const *names, size_t nr_names)
{
  size_t longest = 0;

  for (size_t i = 0; i < nr_names; i++) {
    const size_t len = strlen (names[i]);

    if (len > longest && strncmp (text, names[i], len) == 0
        && text[len] == ']')
      longest = len;
  }
  if (longest == 0 && nr_names == 0 && strchr (text, ']'))
    longest = strcspn (text, "]");
  return longest;
}

static int
check_path (const char *text, const char *path, struct vmdk_error *err)
{
  if (*path == '\0')
    return fail (err, ERR_ARGUMENT,
                 "\"%s\" names no file: write \"[datastore] folder/file\"",
                 NAME (text));
  if (*path == '/')
    return fail (err, ERR_ARGUMENT,
                 "\"%s\": the path begins with '/': paths within a datastore "
                 "do not",
                 NAME (text));
  while (*path) {
    const size_t len = strcspn (path, "/");

    if (len == 2 && memcmp (path, "..", 2) == 0)
      return fail (err, ERR_DENIED, "\"%s\" has \"..\" in it", NAME (text));
    path += len + (path[len] == '/');
  }
  return 0;
}

static int
check_bytes (const char *text, struct vmdk_error *err)
{
  if (strlen (text) > MAX_PATH_BYTES)
    return fail (err, ERR_ARGUMENT,
                 "a path in a datastore has %zu bytes, the limit is %d",
                 strlen (text), MAX_PATH_BYTES);
  for (const char *p = text; *p; p++)
    if ((unsigned char) *p < 0x20 || *p == 0x7f)
      return fail (err, ERR_ARGUMENT, "\"%s\" has control characters in it",
                   NAME (text));
  return 0;
}

int
datastore_path_parse (struct datastore_path *out, const char *text,
                      const char *const *names, size_t nr_names,
                      struct vmdk_error *err)
{
  const char *path;
  size_t len;

  *out = (struct datastore_path){ 0 };
  if (!datastore_path_looks_so (text))
    return fail (err, ERR_ARGUMENT,
                 "\"%s\" is not a path in a datastore: write "
                 "\"[datastore] folder/file\"",
                 NAME (text));
  if (check_bytes (text, err) == -1)
    return -1;
  len = name_length (text + 1, names, nr_names);
  if (len == 0)
    return fail (err, ERR_MISSING, "\"%s\" begins with no datastore's name",
                 NAME (text));
  path = text + 1 + len + 1;
  path += *path == ' ';
  if (check_path (text, path, err) == -1)
    return -1;
  out->datastore = strndup (text + 1, len);
  out->path = strdup (path);
  if (!out->datastore || !out->path) {
    datastore_path_reset (out);
    return fail_memory (err);
  }
  return 0;
}

void
datastore_path_reset (struct datastore_path *path)
{
  free (path->datastore);
  free (path->path);
  *path = (struct datastore_path){ 0 };
}

char *
datastore_path_text (const struct datastore_path *path, struct vmdk_error *err)
{
  char *text;

  if (asprintf (&text, "[%s] %s", path->datastore, path->path) == -1) {
    fail_memory (err);
    return NULL;
  }
  return text;
}
