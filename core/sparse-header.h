/* SPDX-License-Identifier: BSD-3-Clause */

/* The KDMV header of hosted sparse and streamOptimized extents: decode,
 * check, encode.
 *
 * Layout: VMware, "Virtual Disk Format 5.0", section "Hosted Sparse Extent
 * Header"; 512 bytes, little-endian, packed.
 */

#ifndef VMDKIT_SPARSE_HEADER_H
#define VMDKIT_SPARSE_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define SPARSE_HEADER_SIZE 512
#define SPARSE_UNCLEAN_AT 72 /* of one byte */
#define SPARSE_MAGIC UINT32_C (0x564d444b) /* "KDMV" */
#define SPARSE_MAGIC_UNFINISHED              \
  UINT32_C (0x766d646b) /* "kdmv": open-vmdk \
writes this until the file is complete */
#define SPARSE_GD_AT_END UINT64_C (0xffffffffffffffff)

enum sparse_flags {
  SPARSE_NEWLINE_TEST = UINT32_C (1) << 0,
  SPARSE_REDUNDANT_TABLES = UINT32_C (1) << 1,
  SPARSE_ZERO_GRAIN_ENTRY = UINT32_C (1) << 2,
  SPARSE_COMPRESSED = UINT32_C (1) << 16,
  SPARSE_MARKERS = UINT32_C (1) << 17,
  SPARSE_INCOMPATIBLE = UINT32_C (0xffff0000),
};

/* Host byte order; names are the specification's. */
struct sparse_header {
  uint32_t magic;
  uint32_t version;
  uint32_t flags;
  uint64_t capacity;          /* sectors */
  uint64_t grain_size;        /* sectors */
  uint64_t descriptor_offset; /* sector, 0 = none */
  uint64_t descriptor_size;   /* sectors */
  uint32_t nr_gtes_per_gt;
  uint64_t rgd_offset; /* sector */
  uint64_t gd_offset;  /* sector or SPARSE_GD_AT_END */
  uint64_t overhead;   /* sectors */
  uint8_t unclean_shutdown;
  uint8_t newline_test[4];
  uint16_t compress_algorithm; /* 0 none, 1 deflate */
  uint8_t pad[433];            /* kept as read */
};

/* Decode SPARSE_HEADER_SIZE bytes.  Cannot fail; says nothing about sense. */
extern void sparse_header_decode (const uint8_t *in, struct sparse_header *out)
  __attribute__ ((nonnull (1, 2)));

/* The mirror of decode. */
extern void sparse_header_encode (const struct sparse_header *in, uint8_t *out)
  __attribute__ ((nonnull (1, 2)));

/* Everything that can be checked against the file's SIZE in bytes without
 * reading more of it: magic, version, flags, sizes, that the directories and
 * the descriptor lie inside the file and apart.  A redundant directory that
 * cannot be where its offset says is no error: *use_redundant says whether
 * it may be relied on.
 * Errors do not name the file.
 */
extern int sparse_header_check (const struct sparse_header *h, uint64_t size,
                                bool *use_redundant, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));

/* The same for a header that only holds a descriptor (capacity 0), which
 * old products wrote for monolithicFlat.
 */
extern bool sparse_header_only_descriptor (const struct sparse_header *h)
  __attribute__ ((nonnull (1)));
extern int sparse_header_check_descriptor (const struct sparse_header *h,
                                           uint64_t size,
                                           struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3)));

/* Number of grain tables; the header was checked. */
extern uint64_t sparse_header_nr_tables (const struct sparse_header *h)
  __attribute__ ((nonnull (1)));

#endif /* VMDKIT_SPARSE_HEADER_H */
