/* SPDX-License-Identifier: BSD-3-Clause */

/* Packing and unpacking one fragment of a disk, in any of the kinds that hosts
 * know.  Each fragment stands alone.
 */

#ifndef VMDKIT_NFC_PACK_H
#define VMDKIT_NFC_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "nfc-frame.h"

/* "none", "zlib", "fastlz", "skipz"; -1 for another word. */
extern int nfc_compression_parse (enum nfc_compression *compression,
                                  const char *word)
  __attribute__ ((warn_unused_result, nonnull (1, 2)));
extern const char *nfc_compression_name (uint32_t compression);

/* How many bytes a fragment of SIZE bytes may take on the wire at most, made
 * by anybody: what does not shrink much is no reason for much more.
 */
static inline size_t
nfc_packed_bound (size_t size)
{
  return size + size / 16 + 64;
}

/* Unpack into exactly OUT_SIZE bytes. */
extern int nfc_unpack (uint32_t compression, uint8_t *out, size_t out_size,
                       const uint8_t *in, size_t in_size,
                       struct vmdk_error *err)
  __attribute__ ((warn_unused_result, nonnull (2, 4, 6)));

/* Pack IN into OUT, which has room for as many bytes; *COMPRESSION is what is
 * wanted, and set to NFC_PLAIN when IN does not shrink (OUT is then IN).
 * Returns how many bytes OUT has.
 */
extern size_t nfc_pack (enum nfc_compression *compression, uint8_t *out,
                        const uint8_t *in, size_t size)
  __attribute__ ((nonnull (1, 2, 3)));

#endif /* VMDKIT_NFC_PACK_H */
