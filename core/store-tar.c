/* SPDX-License-Identifier: BSD-3-Clause */

/* The members of a tar archive as a store.  See store.h; tar-index.h has how
 * archives are read.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cleanup.h"
#include "store.h"
#include "tar-index.h"

struct store_tar {
  struct store store;
  struct media *archive; /* owned */
  struct tar_index index;
};

/* Why is there no NAME?  OVF packages may cut a file into numbered chunks. */
static void
fail_missing (const struct store_tar *tar, const char *name,
              struct vmdk_error *err)
{
  CLEANUP_FREE char *chunk = NULL;

  if (asprintf (&chunk, "%s.000000000", name) == -1)
    chunk = NULL;
  if (chunk && tar_index_find (&tar->index, chunk))
    fail (err, ERR_UNSUPPORTED,
          "the member is cut into chunks (%s and so on); join them first",
          NAME (chunk));
  else
    fail (err, ERR_MISSING, "no such member in the archive");
}

static bool
has_gzip_name (const char *name)
{
  const size_t len = strlen (name);

  return len > 3 && strcasecmp (name + len - 3, ".gz") == 0;
}

/* OVF allows gzip for its files, and then their names may or may not tell. */
static int
check_member (const struct store_tar *tar, const struct tar_member *member,
              struct vmdk_error *err)
{
  uint8_t magic[2] = { 0, 0 };

  if (member->is_sparse)
    return fail (err, ERR_UNSUPPORTED,
                 "the member is stored as a sparse file; unpack it first");
  if (member->size >= sizeof magic
      && media_pread (tar->archive, magic, sizeof magic, member->offset, err)
           == -1)
    return -1;
  if (has_gzip_name (member->name) || (magic[0] == 0x1f && magic[1] == 0x8b))
    return fail (err, ERR_UNSUPPORTED,
                 "the member is compressed; unpack it first");
  return 0;
}

static struct media *
tar_open (struct store *store, const char *name, enum store_open_flags flags,
          struct vmdk_error *err)
{
  const struct store_tar *tar = (struct store_tar *) store;
  const struct tar_member *member = tar_index_find (&tar->index, name);

  (void) flags;
  if (!member) {
    fail_missing (tar, name, err);
    return NULL;
  }
  if (check_member (tar, member, err) == -1)
    return NULL;
  return media_slice_new (tar->archive, name, member->offset, member->size,
                          err);
}

static int
tar_list (struct store *store,
          int (*visit) (void *opaque, const char *name,
                        struct vmdk_error *err),
          void *opaque, struct vmdk_error *err)
{
  const struct store_tar *tar = (struct store_tar *) store;
  size_t i;

  for (i = 0; i < tar->index.members.len; i++)
    if (!tar->index.members.ptr[i].is_replaced
        && visit (opaque, tar->index.members.ptr[i].name, err) == -1)
      return -1;
  return 0;
}

static void
tar_close (struct store *store)
{
  struct store_tar *tar = (struct store_tar *) store;

  tar_index_reset (&tar->index);
  media_close (tar->archive);
  free (store->name);
  free (tar);
}

static const struct store_ops tar_ops = {
  .open = tar_open,
  .list = tar_list,
  .close = tar_close,
};

bool
store_tar_probe (struct media *media)
{
  uint8_t header[TAR_BLOCK_SIZE];
  struct vmdk_error ignored;

  return media->size >= sizeof header
         && media_pread (media, header, sizeof header, 0, &ignored) == 0
         && tar_header_probe (header);
}

struct store *
store_tar_new (struct media *archive, struct vmdk_error *err)
{
  CLEANUP_STORE struct store *store = NULL;
  struct store_tar *tar = calloc (1, sizeof *tar);

  if (!tar) {
    media_close (archive);
    fail_memory (err);
    return NULL;
  }
  store = &tar->store;
  store->ops = &tar_ops;
  tar->archive = archive;
  store->name = strdup (archive->name);
  if (!store->name) {
    fail_memory (err);
    return NULL;
  }
  if (tar_index_read (&tar->index, archive, err) == -1)
    return NULL;
  return steal_ptr (&store);
}
