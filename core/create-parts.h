/* SPDX-License-Identifier: BSD-3-Clause */

/* Private to the makers of new links: create.c (types, files, their order),
 * create-text.c (the descriptor), create-extent.c (the layouts of extents),
 * child.c (a link over another) and convert.c (a copy of a disk).
 *
 * A struct new_link is a whole plan: whoever fills it in decides everything,
 * and new_link_make either makes exactly that or leaves nothing behind.
 */

#ifndef VMDKIT_CREATE_PARTS_H
#define VMDKIT_CREATE_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "create.h"
#include "descriptor.h"
#include "error.h"
#include "media.h"
#include "store.h"

/* 20 sectors for the text: VMware, qemu, VirtualBox and open-vmdk agree. */
#define DESCRIPTOR_AREA_SECTORS 20

/* 2047 MiB, VMware's number: a full extent with its tables then stays below
 * 2 GiB, which qemu's 4194304 does not.
 */
#define PIECE_SECTORS UINT64_C (4192256)

enum layout {
  LAYOUT_SPARSE,
  LAYOUT_STREAM,
  LAYOUT_COWD,
  LAYOUT_HOLE,     /* flat, nothing allocated */
  LAYOUT_RESERVED, /* flat, space obtained */
};

struct disk_kind {
  const char *name;        /* what we call it, and read */
  const char *plugin_name; /* what nbdkit's vddk plugin calls it */
  const char *create_type;
  enum extent_type line;
  enum layout layout;
  const char *suffix; /* of extents, before the last dot; NULL: the
                         descriptor is embedded in the only extent */
  bool split;         /* a number follows the suffix */
  bool over_parent;   /* can be a child */
  bool thin;          /* says so in the disk database */
};
extern const struct disk_kind *disk_kind_of (enum disk_type type)
  __attribute__ ((returns_nonnull));

struct new_link {
  const struct disk_kind *kind;
  uint64_t nr_sectors;
  uint64_t grain; /* sectors; 0 for flat ones */
  uint32_t cid, parent_cid;
  const char *hint; /* NULL: no parent */
  const char *adapter;
  struct disk_geometry geometry;
  unsigned hw_version;
  const char *uuid;          /* NULL: a new one, or none for a child */
  const char *tools_version; /* NULL: none */
  const char *rest;          /* more lines of the disk database, or NULL */
};

/* Check GRAIN_SIZE in bytes and set link->grain; link->kind is set. */
extern int new_link_set_grain (struct new_link *link, uint64_t grain_size,
                               struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* Whether the type can hold as much; link->grain is set. */
extern int new_link_check_size (const struct new_link *link,
                                struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

/* Whether ADAPTER is one of those that descriptors name. */
extern int new_link_check_adapter (const char *adapter, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));

extern int new_link_make (struct store *store, const char *name,
                          const struct new_link *link, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* The extents of a link: how many, how large, what they are called for a
 * descriptor NAME.  The caller frees the name; NULL when there is no memory.
 */
extern size_t new_link_nr_extents (const struct new_link *link)
  __attribute__ ((nonnull (1)));
extern uint64_t new_link_extent_sectors (const struct new_link *link, size_t i)
  __attribute__ ((nonnull (1)));
extern char *new_link_extent_name (const struct new_link *link,
                                   const char *name, size_t i)
  __attribute__ ((nonnull (1, 2)));

/* create-text.c: the descriptor's text, checked by parsing it.  Owned by the
 * caller, terminated; *len without the NUL.  ERR_ARGUMENT for names and
 * hints that it cannot hold.
 */
extern char *new_link_text (const struct new_link *link, const char *name,
                            size_t *len, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* create-extent.c: fill MEDIA, a new and empty file, with an extent that
 * holds nothing yet.  TEXT, LEN bytes, is embedded; NULL: nothing is.
 */
struct new_extent {
  enum layout layout;
  uint64_t nr_sectors;
  uint64_t grain; /* sectors */
  const char *text;
  size_t len;
  const struct disk_geometry *geometry; /* in a COWD base's header, or NULL */
};
extern int new_extent_fill (struct media *media,
                            const struct new_extent *extent,
                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* The most sectors of an extent of which every grain can be allocated: the
 * formats number the sectors of a file with 32 bits.
 */
extern uint64_t layout_max_sectors (enum layout layout, uint64_t grain,
                                    bool embedded);

#endif /* VMDKIT_CREATE_PARTS_H */
