/* SPDX-License-Identifier: BSD-3-Clause */

/* What a user writes becomes a store and a name.  See place.h. */

#include <config.h>

#include "tool.h"

int
place_find (struct place *place, const char *text, struct vmdk_error *err)
{
  return place_open (place, text, settings.lock, err);
}
