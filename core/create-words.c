/* SPDX-License-Identifier: BSD-3-Clause */

/* The words in which users say what a new disk is for.  See create.h; those
 * for types are with the types, in create.c.
 */

#include <config.h>

#include <string.h>
#include <strings.h>

#include "create.h"

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

const char *
disk_adapter_parse (const char *word)
{
  static const struct {
    const char *word, *adapter;
  } adapters[] = {
    { "ide", "ide" },
    { "buslogic", "buslogic" },
    { "lsilogic", "lsilogic" },
    { "legacyESX", "legacyESX" },
    { "scsi-buslogic", "buslogic" },
    { "scsi-lsilogic", "lsilogic" },
  };

  for (size_t i = 0; i < COUNT (adapters); i++)
    if (strcasecmp (word, adapters[i].word) == 0)
      return adapters[i].adapter;
  return NULL;
}

/* What no product comes near. */
#define MAX_HW_VERSION 9999

static unsigned
number_parse (const char *word)
{
  unsigned number = 0;

  for (; *word >= '0' && *word <= '9' && number <= MAX_HW_VERSION; word++)
    number = number * 10 + (unsigned) (*word - '0');
  return *word || number > MAX_HW_VERSION ? 0 : number;
}

unsigned
disk_hw_version_parse (const char *word)
{
  static const struct {
    const char *word;
    unsigned version;
  } versions[] = {
    { "workstation4", 3 }, { "workstation5", 4 }, { "workstation6", 6 },
    { "esx30", 4 },        { "esx4x", 7 },        { "esx50", 8 },
    { "esx51", 9 },        { "esx55", 10 },       { "esx60", 11 },
    { "esx65", 13 },
  };

  for (size_t i = 0; i < COUNT (versions); i++)
    if (strcasecmp (word, versions[i].word) == 0)
      return versions[i].version;
  return number_parse (word);
}
