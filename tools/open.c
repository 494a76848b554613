/* SPDX-License-Identifier: BSD-3-Clause */

/* What a user writes becomes a store and a name.  See place.h. */

#include <config.h>

#include <stdio.h>
#include <string.h>

#include "tool.h"

int
place_find (struct place *place, const char *text, struct vmdk_error *err)
{
  return place_open (place, text, settings.lock, err);
}

char *
file_path (const struct store *store, const char *name)
{
  const char *plain = store_plain_name (name);
  const bool here = plain[0] == '/' || strcmp (store->name, ".") == 0;
  char *path;

  if (asprintf (&path, "%s%s%s", here ? "" : store->name, here ? "" : "/",
                plain)
      == -1)
    return NULL;
  return path;
}
