/* SPDX-License-Identifier: BSD-3-Clause */

/* A new link over an open disk.
 *
 * What the disk database says of the parent is looked up as VMware does: in
 * the youngest link, then in its ancestors.  The values come from a file, so
 * only those that can be written again are taken over; the rest is made up
 * as for a new disk.  The uuid is left out: it is the serial number that the
 * guest sees, and looked up in the same way it stays what it was.
 */

#include <config.h>

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "checked.h"
#include "child.h"
#include "create-parts.h"
#include "descriptor-model.h"

#define MAX_ADAPTER_BYTES 255

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

static const char *
inherited_adapter (const struct chain *chain)
{
  const char *adapter = look_up (chain, "ddb.adapterType");

  return adapter && *adapter && strlen (adapter) <= MAX_ADAPTER_BYTES
             && !strchr (adapter, '"') && !text_has_control (adapter)
           ? adapter
           : "lsilogic";
}

static struct disk_geometry
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
  const uint64_t hw_version =
    look_up_number (chain, "ddb.virtualHWVersion", INT_MAX);
  struct new_link link = {
    .kind = disk_kind_of (rules->type),
    .nr_sectors = bytes_to_sectors (disk_size (parent)),
    .hint = hint,
    .adapter = inherited_adapter (chain),
    .hw_version = hw_version ? (unsigned) hw_version : 4,
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
