/* SPDX-License-Identifier: BSD-3-Clause */

/* New disks of each type.
 *
 * A failed creation leaves nothing behind, and nothing that exists is ever
 * overwritten: every file is created exclusively, the descriptor last, and
 * all of them are removed again if a later step fails.
 */

#ifndef VMDKIT_CREATE_H
#define VMDKIT_CREATE_H

#include <stdint.h>

#include "error.h"
#include "store.h"

/* The names are createType's; qemu-img and VMware's tools make the same. */
enum disk_type {
  DISK_MONOLITHIC_SPARSE,
  DISK_MONOLITHIC_FLAT, /* flat ones but for vmfs are files with holes */
  DISK_SPLIT_SPARSE,    /* twoGbMaxExtentSparse */
  DISK_SPLIT_FLAT,      /* twoGbMaxExtentFlat */
  DISK_VMFS_FLAT,       /* vmfs, space allocated */
  DISK_VMFS_THIN,       /* vmfs, marked as thin */
  DISK_VMFS_SPARSE,     /* vmfsSparse: COWD; only as a child makes sense */
  DISK_STREAM_OPTIMIZED,
};

struct create_rules {
  enum disk_type type;
  uint64_t size;       /* bytes, a multiple of 512, not 0 */
  uint64_t grain_size; /* bytes; 0: the type's usual one; must be for flat */
  const char *adapter; /* "ide", "buslogic", "lsilogic", "legacyESX"; NULL:
                          "lsilogic" */
  unsigned hw_version; /* ddb.virtualHWVersion; 0: 4 */
};

/* "monolithicSparse", ... and nbdkit's vddk plugin's names for them
 * ("monolithic-sparse", "vmfs-thin", ...), in any letter case.  -1 for an
 * unknown name.
 */
extern int disk_type_parse (const char *name) __attribute__ ((nonnull (1)));
extern const char *disk_type_name (enum disk_type type);

/* create_rules.adapter for a word that users write: "ide", "buslogic",
 * "lsilogic", "legacyESX", and nbdkit's vddk plugin's "scsi-buslogic" and
 * "scsi-lsilogic", in any letter case.  NULL for another.
 */
extern const char *disk_adapter_parse (const char *word)
  __attribute__ ((nonnull (1)));

/* create_rules.hw_version for the vddk plugin's words ("workstation5",
 * "esx65", ...) or a number.  0 for another.
 */
extern unsigned disk_hw_version_parse (const char *word)
  __attribute__ ((nonnull (1)));

/* Make the disk NAME in STORE and make it durable.  ERR_ARGUMENT for sizes
 * beyond what the type can hold (naming the limit), for a NAME that is no bare
 * one or cannot be written in a descriptor, and, with errnum EEXIST, for a
 * name that is taken.
 */
extern int disk_create (struct store *store, const char *name,
                        const struct create_rules *rules,
                        struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* Geometry as VMware's products write it: a field of the disk database, never
 * used to find a size.
 */
struct disk_geometry {
  uint64_t cylinders;
  unsigned heads, sectors;
};
extern struct disk_geometry disk_geometry_for (uint64_t nr_sectors,
                                               const char *adapter)
  __attribute__ ((nonnull (2)));

/* A random CID that is none of the reserved ones and not AVOID. */
extern uint32_t random_cid (uint32_t avoid);

#endif /* VMDKIT_CREATE_H */
