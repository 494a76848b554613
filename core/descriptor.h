/* SPDX-License-Identifier: BSD-3-Clause */

/* The descriptor: text <-> model.
 *
 * A link is described by a small text: header keys, extent lines and a disk
 * database ("ddb." keys).  It is parsed to the model below, edited as a
 * model and printed from it.  Every line is kept, in order and byte for
 * byte, also those that we do not know; only edited lines are printed anew.
 *
 * Format facts: VMware's "Virtual Disk Format 5.0" and what real producers
 * write (the tolerance is listed in descriptor-parse.c).
 */

#ifndef VMDKIT_DESCRIPTOR_H
#define VMDKIT_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"
#include "error.h"
#include "log.h"

/* Bigger descriptors are refused.  A disk of 62 TiB in 2 GiB pieces has
 * 31744 extent lines of about 50 bytes; nobody writes comments by the MiB.
 */
#define DESCRIPTOR_MAX_SIZE ((size_t) 4 << 20)
#define DESCRIPTOR_MAX_LINE ((size_t) 64 << 10)
#define DESCRIPTOR_MAX_EXTENTS 32768
#define DESCRIPTOR_MAX_NAME 4096

/* Real descriptors have some thirty keys.  The limit bounds what a hostile
 * text can make of 4 MiB of "a=" lines.
 */
#define DESCRIPTOR_MAX_KEYS 16384

#define CID_NONE UINT32_C (0xffffffff) /* as parentCID: no parent */

enum extent_access { ACCESS_RW, ACCESS_RDONLY, ACCESS_NOACCESS };

enum extent_type {
  EXTENT_FLAT,
  EXTENT_VMFS,
  EXTENT_ZERO,
  EXTENT_SPARSE,
  EXTENT_VMFSSPARSE, /* COWD */
  EXTENT_SESPARSE,
  EXTENT_VMFSRDM,
  EXTENT_VMFSRAW,
  EXTENT_VSANSPARSE,
};

struct extent_line {
  enum extent_access access;
  enum extent_type type;
  uint64_t nr_sectors;    /* at least 1 */
  const char *name;       /* owned by the descriptor; NULL for ZERO */
  uint64_t offset_sector; /* of the data within the file; 0 if not given */
  bool has_offset;
  size_t line; /* 1-based line number in the text, for messages */
};

struct descriptor;

/* Whether the LEN bytes at TEXT look like the start of a text descriptor
 * (the first 4 KiB are enough).
 */
extern bool descriptor_probe (const char *text, size_t len)
  __attribute__ ((nonnull (1)));

/* Parse LEN bytes of text, which end at the first NUL.  What is odd but
 * served is told to LOG.  Errors and warnings name the line, not the file;
 * the caller does.
 *
 * ERR_UNSUPPORTED for what is well formed but not to be had from files:
 * encrypted disks, snapshots inside a storage array, object stores.  Raw
 * devices (VMFSRAW, VMFSRDM) and names outside the folder parse; whether
 * they may be followed is decided in link.c.
 */
extern struct descriptor *descriptor_parse (const char *text, size_t len,
                                            const struct vmdk_log *log,
                                            struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));

/* NULL is allowed. */
extern void descriptor_free (struct descriptor *descriptor);
DEFINE_CLEANUP (descriptor, struct descriptor *, descriptor_free)
#define CLEANUP_DESCRIPTOR CLEANUP (descriptor)

/* The whole text, NUL-terminated, owned by the caller; *len without NUL.
 * What followed a NUL in the text that was parsed is not part of it.
 */
extern char *descriptor_print (const struct descriptor *descriptor,
                               size_t *len, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Extents in the order of their addresses. */
extern size_t descriptor_nr_extents (const struct descriptor *descriptor)
  __attribute__ ((nonnull (1)));
extern const struct extent_line *
descriptor_extent (const struct descriptor *descriptor, size_t i)
  __attribute__ ((nonnull (1)));

/* Sum of the extent lines, checked to fit (below 2^54 sectors). */
extern uint64_t descriptor_nr_sectors (const struct descriptor *descriptor)
  __attribute__ ((nonnull (1)));

/* Content IDs.  Without a CID line *cid is not set and false is returned;
 * such a link cannot be anybody's parent.  The parent's is CID_NONE for a
 * base link.
 */
extern bool descriptor_cid (const struct descriptor *descriptor, uint32_t *cid)
  __attribute__ ((nonnull (1, 2)));
extern uint32_t descriptor_parent_cid (const struct descriptor *descriptor)
  __attribute__ ((nonnull (1)));

/* NULL when there is none or it is empty.  Never NULL for a parsed link with
 * a parent: then the hint was checked.  A base link may have a stale one.
 */
extern const char *descriptor_parent_hint (const struct descriptor *descriptor)
  __attribute__ ((nonnull (1)));

/* "" when there is none. */
extern const char *descriptor_create_type (const struct descriptor *descriptor)
  __attribute__ ((nonnull (1)));

/* The value of KEY (compared without case; "ddb." keys with their prefix),
 * without quotes; NULL when there is no such line.  Of several lines the
 * last counts for "ddb." keys, the first for others.
 */
extern const char *descriptor_get (const struct descriptor *descriptor,
                                   const char *key)
  __attribute__ ((nonnull (1, 2)));

/* Replace the value of KEY, or add a line for it in its canonical place
 * (header keys before the extents, "ddb." keys at the end).  Every other
 * line stays as it is, byte for byte, but for further lines of the same key,
 * which go, and for parentCID, which moves to the line after CID when one of
 * the two is set.  A text without a newline at its end stays one.
 *
 * The model's typed fields follow; that parentCID and hint agree is up to
 * the caller.  ERR_ARGUMENT for keys and values that a descriptor cannot
 * hold (a quote, control bytes, a key of more than 255 or a value of more
 * than 4095 bytes) or that do not parse as what they are.
 */
extern int descriptor_set (struct descriptor *descriptor, const char *key,
                           const char *value, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3, 4)));

/* Edit the line of extent I, or add one behind the last (its name is copied;
 * its line number is ignored).  Whether there is such a file is the caller's
 * affair.  ERR_ARGUMENT for names and sizes that a descriptor cannot hold.
 */
extern int descriptor_set_extent_name (struct descriptor *descriptor, size_t i,
                                       const char *name,
                                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 3, 4)));
extern int descriptor_set_extent_sectors (struct descriptor *descriptor,
                                          size_t i, uint64_t nr_sectors,
                                          struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 4)));
extern int descriptor_add_extent (struct descriptor *descriptor,
                                  const struct extent_line *extent,
                                  struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Remove every line of KEY.  Returns whether there was one.  Where that
 * would leave a blank line directly before an extent line (which qemu then
 * counts twice) a comment takes its place.
 */
extern bool descriptor_remove (struct descriptor *descriptor, const char *key)
  __attribute__ ((nonnull (1, 2)));

/* Forget VMware's change tracking, if it is on: its line, the comment over it,
 * and the version that says so.
 */
extern int descriptor_drop_tracking (struct descriptor *descriptor,
                                     bool *dropped, struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (1, 2, 3)));

/* Visit every key and value, in order, repeated keys too; stops when VISIT
 * returns false.  Their bytes are the file's: escape before printing.
 */
extern void descriptor_each (const struct descriptor *descriptor,
                             bool (*visit) (void *opaque, const char *key,
                                            const char *value),
                             void *opaque) __attribute__ ((nonnull (1, 2)));

/* "RW", "VMFSSPARSE", ... as a canonical descriptor spells them. */
extern const char *extent_access_name (enum extent_access access);
extern const char *extent_type_name (enum extent_type type);

#endif /* VMDKIT_DESCRIPTOR_H */
