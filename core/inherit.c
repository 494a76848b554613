/* SPDX-License-Identifier: BSD-3-Clause */

/* Values from a chain's disk databases.  See inherit.h. */

#include <config.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "checked.h"
#include "descriptor-model.h"
#include "inherit.h"

#define MAX_VALUE_BYTES 255

#define DEFAULT_ADAPTER "lsilogic"
#define DEFAULT_HW_VERSION 4

static const char *
look_up (const struct chain *chain, const char *key)
{
  for (size_t i = 0; i < chain_nr_links (chain); i++) {
    const char *value =
      descriptor_get (chain_link (chain, i)->descriptor, key);

    if (value)
      return value;
  }
  return NULL;
}

/* A number from 1 to MAX, or 0. */
static uint64_t
look_up_number (const struct chain *chain, const char *key, uint64_t max)
{
  const char *value = look_up (chain, key);
  uint64_t number;

  return value && decimal_parse (value, &number) && number <= max ? number : 0;
}

const char *
inherited_value (const struct chain *chain, const char *key)
{
  const char *value = look_up (chain, key);

  return value && *value && strlen (value) <= MAX_VALUE_BYTES
             && !strchr (value, '"') && !text_has_control (value)
           ? value
           : NULL;
}

const char *
inherited_adapter (const struct chain *chain)
{
  const char *adapter = inherited_value (chain, "ddb.adapterType");

  return adapter ? adapter : DEFAULT_ADAPTER;
}

unsigned
inherited_hw_version (const struct chain *chain)
{
  const uint64_t version =
    look_up_number (chain, "ddb.virtualHWVersion", INT_MAX);

  return version ? (unsigned) version : DEFAULT_HW_VERSION;
}

struct disk_geometry
inherited_geometry (const struct chain *chain, uint64_t nr_sectors,
                    const char *adapter)
{
  const struct disk_geometry g = {
    .cylinders = look_up_number (chain, "ddb.geometry.cylinders", MAX_SECTORS),
    .heads = (unsigned) look_up_number (chain, "ddb.geometry.heads", UINT_MAX),
    .sectors =
      (unsigned) look_up_number (chain, "ddb.geometry.sectors", UINT_MAX),
  };

  return g.cylinders && g.heads && g.sectors
           ? g
           : disk_geometry_for (nr_sectors, adapter);
}

/* -- The rest ----------------------------------------------------------- */

struct rest {
  const struct chain *chain;
  FILE *out;
};

static bool
is_of_old_files (const char *key)
{
  static const char *const keys[] = {
    "adapterType",      "geometry.cylinders", "geometry.heads",
    "geometry.sectors", "longContentID",      "thinProvisioned",
    "toolsVersion",     "uuid",               "virtualHWVersion",
    "encoding",         "grain",              "iofilters",
    "sidecars",         "objectParentUri",    "nativeParentHint",
    "nativeParentCID",
  };
  static const char virtualbox[] = "uuid.";

  key += strlen ("ddb.");
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
    if (strcasecmp (key, keys[i]) == 0)
      return true;
  return strncasecmp (key, virtualbox, strlen (virtualbox)) == 0;
}

/* The youngest link's value counts, and of one link's the last. */
static bool
print_line (void *opaque, const char *key, const char *value)
{
  const struct rest *rest = opaque;

  if (key_is_ddb (key) && !is_of_old_files (key)
      && look_up (rest->chain, key) == value
      && inherited_value (rest->chain, key))
    fprintf (rest->out, "%s = \"%s\"\n", key, value);
  return true;
}

char *
inherited_rest (const struct chain *chain, struct vmdk_error *err)
{
  CLEANUP_FREE char *text = NULL;
  size_t len;
  FILE *out = open_memstream (&text, &len);
  struct rest rest = { chain, out };
  bool failed;

  if (!out) {
    fail_memory (err);
    return NULL;
  }
  for (size_t i = 0; i < chain_nr_links (chain); i++)
    descriptor_each (chain_link (chain, i)->descriptor, print_line, &rest);
  failed = ferror (out) != 0;
  if (fclose (out) != 0 || failed) {
    fail_memory (err);
    return NULL;
  }
  return steal_ptr (&text);
}
