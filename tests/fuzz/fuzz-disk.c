/* SPDX-License-Identifier: BSD-3-Clause */

/* Whole disks: a folder of files, opened, mapped and read.
 *
 * The input is a byte of switches and then up to eight files, each a
 * little-endian 32-bit length and as many bytes.  They are called disk.vmdk,
 * a.vmdk, b.vmdk and so on, so that descriptors can name them.  The high
 * byte of a length says how many KiB of zeros follow the bytes.
 */

#include <config.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checked.h"
#include "disk.h"
#include "resources.h"
#include "store.h"

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define WINDOW (UINT64_C (1) << 20)
#define MAX_FILES 8

enum switches {
  SINGLE_LINK = 1,
  IGNORE_CID = 2,
  LONE_EXTENT = 4,
  RECOVER = 8,
  ACCEPT_JOURNAL = 16,
};

#define REQUIRE(condition) \
  do {                     \
    if (!(condition))      \
      abort ();            \
  } while (0)

static void
add_files (struct store *store, struct bytes *in)
{
  static const char *const names[MAX_FILES] = { "disk.vmdk", "a.vmdk",
                                                "b.vmdk",    "c.vmdk",
                                                "d.vmdk",    "e.vmdk",
                                                "f.vmdk",    "g.vmdk" };
  struct vmdk_error err;

  for (size_t i = 0; i < MAX_FILES && in->left > 4; i++) {
    const uint32_t word = bytes_take32 (in);
    const size_t length = min_u64 (word & 0xffffff, in->left);
    const size_t zeros = (size_t) (word >> 24) << 10;
    uint8_t *bytes = calloc (1, length + zeros + 1);

    REQUIRE (bytes);
    bytes_take (in, bytes, length);
    REQUIRE (store_memory_add (store, names[i], bytes, length + zeros, &err)
             == 0);
    free (bytes);
  }
}

/* What block status calls zero must read as zeros; what it calls data may be
 * damaged.
 */
static bool
check_piece (void *opaque, const struct disk_piece *piece)
{
  struct disk *disk = opaque;
  const size_t count = min_u64 (piece->length, 65536);
  struct vmdk_error err = { 0 };
  uint8_t *buf = malloc (count);

  REQUIRE (buf && piece->length > 0 && (!piece->hole || piece->zero));
  if (disk_read (disk, buf, count, piece->offset, &err) == -1)
    REQUIRE (!piece->zero && err.text[0]);
  else if (piece->zero)
    for (size_t i = 0; i < count; i++)
      REQUIRE (buf[i] == 0);
  free (buf);
  return true;
}

static void
check_window (struct disk *disk, uint64_t offset, uint64_t count)
{
  struct vmdk_error err;

  REQUIRE (disk_map (disk, offset, count, check_piece, disk, &err) == 0);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct bytes in = bytes_of ((uint8_t *) data, size);
  const uint8_t switches = bytes_take8 (&in);
  struct vmdk_error err = { 0 };
  struct store *store = store_memory_new ("fuzz", &err);
  struct resources *resources = resources_new (1 << 18, 1 << 18, &err);
  const struct chain_rules rules = {
    .open = {
      .resources = resources,
      .recover_stream = switches & RECOVER,
      .accept_journal = switches & ACCEPT_JOURNAL,
    },
    .single_link = switches & SINGLE_LINK,
    .ignore_cid = switches & IGNORE_CID,
    .lone_extent = switches & LONE_EXTENT,
  };
  struct disk *disk;

  REQUIRE (store && resources);
  add_files (store, &in);
  disk = disk_open (store, "disk.vmdk", STORE_FROM_FILE, &rules, &err);
  if (disk) {
    const uint64_t window = min_u64 (disk_size (disk), WINDOW);

    check_window (disk, 0, window);
    check_window (disk, disk_size (disk) - window, window);
  }
  else
    REQUIRE (err.kind != ERR_NONE && err.text[0]);
  disk_close (disk);
  store_close (store);
  resources_free (resources);
  return 0;
}
