/* SPDX-License-Identifier: BSD-3-Clause */

/* A new link over an open disk.
 *
 * It says of itself what its parent does (inherit.h).  The uuid is left out:
 * it is the serial number that the guest sees, and looked up in the same way
 * it stays what it was.
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "child.h"
#include "create-parts.h"
#include "inherit.h"

static int
check_parent (const struct link *parent, uint32_t *cid, struct vmdk_error *err)
{
  if (!descriptor_cid (parent->descriptor, cid))
    return fail (err, ERR_ARGUMENT,
                 "%s has no CID, so it cannot be anybody's parent",
                 NAME (parent->name));
  if (*cid == CID_NONE)
    return fail (err, ERR_ARGUMENT,
                 "%s has the CID %08" PRIx32
                 ", which means \"no parent\" in a child",
                 NAME (parent->name), *cid);
  return 0;
}

int
disk_create_child (struct store *store, const char *name, struct disk *parent,
                   const char *hint, const struct child_rules *rules,
                   struct vmdk_error *err)
{
  const struct chain *chain = disk_chain (parent);
  struct new_link link = {
    .kind = disk_kind_of (rules->type),
    .nr_sectors = bytes_to_sectors (disk_size (parent)),
    .hint = hint,
    .adapter = inherited_adapter (chain),
    .hw_version = inherited_hw_version (chain),
  };

  if (!link.kind->over_parent)
    return fail (err, ERR_ARGUMENT,
                 "a %s disk cannot have a parent, only monolithicSparse, "
                 "twoGbMaxExtentSparse and vmfsSparse ones can",
                 link.kind->name);
  if (check_parent (chain_link (chain, 0), &link.parent_cid, err) == -1
      || new_link_set_grain (&link, rules->grain_size, err) == -1)
    return -1;
  link.cid = random_cid (link.parent_cid);
  link.geometry = inherited_geometry (chain, link.nr_sectors, link.adapter);
  return new_link_make (store, name, &link, err);
}
