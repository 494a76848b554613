/* SPDX-License-Identifier: BSD-3-Clause */

/* Making and freeing what all disks share.  See resources.h. */

#include <config.h>

#include <stdlib.h>

#include "resources.h"

struct resources *
resources_new (size_t table_budget, size_t grain_budget,
               struct vmdk_error *err)
{
  struct resources *resources = calloc (1, sizeof *resources);

  if (!resources) {
    fail_memory (err);
    return NULL;
  }
  if (!(resources->tables = cache_new (table_budget, err))
      || !(resources->grains = cache_new (grain_budget, err))
      || !(resources->inflaters = inflater_pool_new (INFLATING_MEMORY, err))
      || !(resources->readahead = readahead_new (err))) {
    resources_free (resources);
    return NULL;
  }
  return resources;
}

void
resources_free (struct resources *resources)
{
  if (!resources)
    return;
  readahead_free (resources->readahead); /* first: it uses the others */
  inflater_pool_free (resources->inflaters);
  cache_free (resources->grains);
  cache_free (resources->tables);
  free (resources);
}
